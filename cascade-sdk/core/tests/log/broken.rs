//! Every kind of bad input gives a clear error at its place, and the good rows stay.

use super::{good, gzip, read_files, read_lines, show, show_all};
use cascade_sdk_core::diag::Diagnostic;
use cascade_sdk_core::log::ReadOptions;

/// A row with one tier's result given as JSON.
fn row(result: &str) -> String {
    format!(r#"{{"id":"bad","input":"secret","results":{{"small":{result}}}}}"#)
}

/// Reads the bad line between two good ones; yields what is said about it.
fn complaint(bad: &str) -> String {
    let text = format!("{}\n{bad}\n{}\n", good("a"), good("z"));
    let reading = read_lines(&text).unwrap_or_else(|found| panic!("{bad}: {}", show_all(&found)));
    assert_eq!(reading.log.rows.len(), 2, "{bad}");
    assert_eq!(reading.skipped, 1, "{bad}");
    let shown = show_all(&reading.diagnostics);
    assert!(reading.diagnostics.iter().all(Diagnostic::is_error), "{shown}");
    assert!(shown.lines().all(|line| line.starts_with("log.jsonl:2: ")), "{shown}");
    assert!(!shown.contains("secret"), "shows a prompt: {shown}");

    let strict = ReadOptions { strict: true, ..ReadOptions::default() };
    let refused = read_files(&[("log.jsonl", text.as_bytes())], &strict).unwrap_err();
    assert_eq!(show_all(&refused), shown);
    shown.replace("log.jsonl:2: ", "")
}

#[test]
fn values_outside_their_range() {
    for (result, expected) in [
        (
            r#"{"quality":1.7,"cost_usd":1e-5}"#,
            r#"log::quality-range: row `bad`: `results.small.quality` is 1.7, outside [0, 1] | {"id":"…","input":"…","results":{"small":{"quality":1.7 … [1.7] = divide by the best possible score"#,
        ),
        (r#"{"quality":-0.1,"cost_usd":1e-5}"#, "`results.small.quality` is -0.1, outside [0, 1]"),
        (
            r#"{"quality":1,"cost_usd":-1e-5}"#,
            "`results.small.cost_usd` is -0.00001; a cost cannot be negative",
        ),
        (r#"{"quality":1,"cost_usd":1e300}"#, "the amount is larger than 9.2 million dollars"),
        (r#"{"quality":1,"cost_usd":1,"latency_ms":-3}"#, "`results.small.latency_ms` is -3"),
        (
            r#"{"quality":1,"cost_usd":1,"input_tokens":-3}"#,
            "should be a whole number, zero or more but is the number -3",
        ),
        (r#"{"quality":1,"cost_usd":1,"input_tokens":1.5}"#, "but is the number 1.5"),
        (r#"{"quality":1,"cost_usd":1,"input_tokens":4294967295}"#, "more than any call can use"),
        (
            r#"{"quality":1,"cost_usd":1,"signal_cost_usd":{"judge":-1}}"#,
            "`results.small.signal_cost_usd.judge` is -1",
        ),
    ] {
        let shown = complaint(&row(result));
        assert!(shown.contains(expected), "{result}\n{shown}");
    }
}

#[test]
fn not_a_number_and_infinities() {
    for (result, word) in [
        (r#"{"quality":NaN,"cost_usd":1e-5}"#, "NaN"),
        (r#"{"quality":1,"cost_usd":Infinity}"#, "Infinity"),
        (r#"{"quality":1,"cost_usd":1,"signals":{"s":-Infinity}}"#, "-Infinity"),
        (r#"{"quality":None,"cost_usd":1}"#, "None"),
    ] {
        let shown = complaint(&row(result));
        assert!(shown.starts_with(&format!("log::json: `{word}` is not JSON | ")), "{shown}");
        assert!(shown.contains(&format!("[{word}] = write numbers as digits")), "{shown}");
    }
    assert!(complaint(&row(r#"{"quality":1e999,"cost_usd":1}"#)).contains("number out of range"));
}

#[test]
fn wrong_types_name_their_key_and_hide_texts() {
    for (result, expected) in [
        (r#"{"quality":"good","cost_usd":1}"#, "`results.small.quality` should be a number but is a string"),
        (r#"{"quality":true,"cost_usd":1}"#, "`results.small.quality` should be a number but is true"),
        (
            r#"{"quality":1,"cost_usd":1,"output":["secret"]}"#,
            "`results.small.output` should be a string but is an array",
        ),
        (
            r#"{"quality":1,"cost_usd":1,"signals":[1]}"#,
            "`results.small.signals` should be an object but is an array",
        ),
        (r#"{"quality":1,"cost_usd":1,"signals":{"s":"x"}}"#, "`results.small.signals.s` should be a number"),
        ("7", "`results.small` should be an object but is the number 7"),
        (r#"{"quality":1,"quality":0,"cost_usd":1}"#, "`results.small.quality` stands twice"),
        (r#"{"quality":1,"cost_usd":1},"small":{"quality":0,"cost_usd":1}"#, "`results.small` stands twice"),
        (
            r#"{"quality":1,"cost_usd":1,"token_logprobs":{}}"#,
            "`results.small.token_logprobs` should be an array",
        ),
        (r#"{"quality":1,"cost_usd":1,"token_logprobs":[-1,"secret"]}"#, "has entry 1 that is neither"),
    ] {
        let shown = complaint(&row(result));
        assert!(shown.contains(expected), "{result}\n{shown}");
    }
    for (bad, expected) in [
        (r#"{"input":"secret","results":{"s":{"quality":1,"cost_usd":1}}}"#, "`id` is missing"),
        (
            r#"{"id":["secret"],"results":{"s":{"quality":1,"cost_usd":1}}}"#,
            "`id` should be a string but is an array",
        ),
        (r#"{"id":"b","results":[]}"#, "`results` should be an object but is an array"),
        (r#"{"id":"b","results":{}}"#, "`results` holds no result of any tier"),
        (r#"{"id":"b","results":{"s":null}}"#, "`results` holds no result of any tier"),
        (r#"{"id":"b","input":"secret"}"#, "`results` holds no result of any tier"),
        (r#"{"id":"b","weight":0,"results":{"s":{"quality":1,"cost_usd":1}}}"#, "`weight` is 0"),
        (r#"{"id":"b","sampling_probability":1.5,"results":{"s":{"quality":1,"cost_usd":1}}}"#, "at most 1"),
        (
            r#"{"id":"b","split":"train","results":{"s":{"quality":1,"cost_usd":1}}}"#,
            "neither `calibration` nor `test`",
        ),
        (
            r#"{"id":"b","tags":{"t":3},"results":{"s":{"quality":1,"cost_usd":1}}}"#,
            "`tags.t` should be a string",
        ),
        (
            r#"{"id":"b","input":"x","messages":[],"results":{"s":{"quality":1,"cost_usd":1}}}"#,
            "beside `input`",
        ),
        (
            r#"{"id":"b","messages":[{"role":"secret"}],"results":{"s":{"quality":1,"cost_usd":1}}}"#,
            "known `role`",
        ),
        (r#"{"id":"b","results":{"\u0007":{"quality":1,"cost_usd":1}}}"#, "control characters"),
        ("[1]", "log::type: should be an object but is an array"),
        ("\"secret\"", "should be an object but is a string"),
    ] {
        let shown = complaint(bad);
        assert!(shown.contains(expected), "{bad}\n{shown}");
    }
}

#[test]
fn all_faults_of_a_row_are_reported_at_once() {
    let shown = complaint(&row(r#"{"quality":2,"cost_usd":-1,"latency_ms":"slow"}"#));
    assert_eq!(shown.lines().count(), 3, "{shown}");
}

#[test]
fn missing_values_say_what_would_do() {
    assert!(complaint(&row(r#"{"cost_usd":1}"#)).contains("`results.small.quality` is missing"));
    let shown = complaint(&row(r#"{"quality":1}"#));
    assert!(
        shown.contains("`results.small.cost_usd` is missing, and the configuration has no price"),
        "{shown}"
    );
    assert!(complaint(&row(r#"{"error":"timeout"}"#)).contains("`results.small.cost_usd` is missing"));
}

#[test]
fn broken_json_and_encoding() {
    for (bad, expected) in [
        ("{", "the line ends in the middle of its JSON object"),
        (r#"{"id":"b","input":"cut off secr"#, "the line ends in the middle"),
        (r#"{"id":"b" "input":"secret"}"#, "not valid JSON: expected `,` or `}`"),
        (r#"{"id":"b","input":"He said "secret" twice"}"#, "not valid JSON: expected `,` or `}`"),
        (r#"{"id":"b"} trailing"#, "not valid JSON: trailing characters"),
        ("null", "log::type: should be an object but is null"),
    ] {
        let shown = complaint(bad);
        assert!(shown.contains(expected), "{bad}\n{shown}");
    }
    let mut text = good("a").into_bytes();
    text.extend_from_slice(b"\n{\"id\":\"b\",\"input\":\"caf\xE9\"}\n");
    let reading = read_files(&[("log.jsonl", &text)], &ReadOptions::default()).unwrap();
    assert_eq!((reading.log.rows.len(), reading.skipped), (1, 1));
    assert!(
        show(&reading.diagnostics[0])
            .starts_with("log.jsonl:2: log::encoding: byte 23 of the line is not UTF-8 (E9 22 7D)")
    );
}

#[test]
fn nested_beyond_reason() {
    let deep = format!(r#"{{"id":"b","x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let result = read_lines(&format!("{}\n{deep}\n", good("a"))).unwrap();
    assert_eq!(result.skipped, 1);
    let deep = format!(
        r#"{{"id":"b","messages":{}{},"results":{{"s":{{"quality":1,"cost_usd":1}}}}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert_eq!(read_lines(&format!("{}\n{deep}\n", good("a"))).unwrap().skipped, 1);
}

#[test]
fn duplicate_ids_name_every_line_and_no_row_wins() {
    let one = format!("{}\n{}\n", good("a"), good("twice"));
    let two = format!("\n{}\n{}\n", good("b"), good("twice"));
    let files = [("one.jsonl", one.as_bytes()), ("two.jsonl", two.as_bytes())];
    let forwards = read_files(&files, &ReadOptions::default()).unwrap();
    assert_eq!(
        show_all(&forwards.diagnostics),
        "one.jsonl:2: log::duplicate-id: id `twice` stands in 2 rows; none of them is used | \
         \"id\":\"twice\" [\"id\":\"twice\"] | \"id\":\"twice\" [\"id\":\"twice\"] = ids must be unique over all files \
         of a log; repeated samples of a prompt share a `group`"
    );
    assert_eq!(forwards.diagnostics[0].labels[1].source.name, "two.jsonl");
    assert_eq!(forwards.diagnostics[0].labels[1].source.first_line, 3);
    assert_eq!((forwards.log.rows.len(), forwards.skipped), (2, 2));
    let strict = ReadOptions { strict: true, ..ReadOptions::default() };
    assert_eq!(read_files(&files, &strict).unwrap_err().len(), 1);
}

#[test]
fn empty_logs() {
    let none: [(&str, &[u8]); 0] = [];
    let shown = |files: &[(&str, &[u8])]| show_all(&read_files(files, &ReadOptions::default()).unwrap_err());
    assert!(shown(&none).starts_with("log::empty: the log has no files"));
    assert!(shown(&[("log.jsonl", b"")]).starts_with("log::empty: the log `log.jsonl` has no rows"));
    assert!(shown(&[("log.jsonl", b"\n \r\n\n")]).starts_with("log::empty"));
    assert!(shown(&[("log.jsonl.gz", &gzip(b""))]).starts_with("log::empty"));
    assert!(shown(&[("log.csv", b"")]).starts_with("log::empty"));
    let broken = shown(&[("log.jsonl", b"x\ny\n")]);
    assert!(broken.ends_with("log::empty: none of the 2 rows of the log `log.jsonl` can be used = collect one with `cascade collect`"), "{broken}");
}

#[test]
fn one_row_and_one_tier_are_a_log() {
    let reading = read_lines(&good("a")).unwrap();
    assert_eq!((reading.log.rows.len(), reading.log.tiers.len()), (1, 1));
}

#[test]
fn damaged_gzip() {
    let text: String = (0..2000).map(|i| good(&format!("q-{i}")) + "\n").collect();
    let whole = gzip(text.as_bytes());
    let shown =
        |name, bytes: &[u8]| show_all(&read_files(&[(name, bytes)], &ReadOptions::default()).unwrap_err());
    let cut = shown("log.jsonl.gz", &whole[..whole.len() / 2]);
    assert!(
        cut.contains("log::unreadable: `log.jsonl.gz` is a gzip file that ends too early, after line "),
        "{cut}"
    );
    // Cut within the checksum: every row was read, but it cannot be known that these are all.
    assert!(shown("log.jsonl.gz", &whole[..whole.len() - 3]).contains("ends too early, after line 2000"));
    let text: String = (0..2000).map(|i| format!("q-{i},small,1,1e-5\n")).collect();
    let csv = gzip(format!("id,tier,quality,cost_usd\n{text}").as_bytes());
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 8].copy_from_slice(&[0xFF; 8]);
    assert!(shown("log.jsonl.gz", &damaged).contains("log::unreadable"));
    assert!(shown("log.jsonl.gz", good("a").as_bytes()).contains("is not a valid gzip file"));
    assert!(shown("log.jsonl.gz", b"hello\n").contains("must not be named `.gz`"));
    assert!(shown("log.jsonl", &whole).contains("this is a gzip file: name it `.gz`"));
    assert!(shown("log.csv.gz", &csv[..csv.len() / 2]).contains("ends too early"));
}

#[test]
fn names_say_the_format() {
    let shown =
        |name| show_all(&read_files(&[(name, good("a").as_bytes())], &ReadOptions::default()).unwrap_err());
    assert!(shown("log.json").contains("log::format: `log.json` is not a log by its name"));
    assert!(
        shown("log.parquet")
            .contains("run `cascade import table log.parquet --map id=COLUMN … --out LOG.jsonl` first")
    );
}

#[test]
fn long_lines_are_read_and_longer_ones_passed_over() {
    let long = format!(
        r#"{{"id":"long","input":"{}","results":{{"s":{{"quality":1,"cost_usd":1}}}}}}"#,
        "x".repeat(10 << 20)
    );
    let text = format!("{}\n{long}\n{}\n", good("a"), good("z"));
    assert_eq!(read_lines(&text).unwrap().log.rows.len(), 3);

    let options = ReadOptions { longest_line: 1 << 20, ..ReadOptions::default() };
    let reading = read_files(&[("log.jsonl", text.as_bytes())], &options).unwrap();
    assert_eq!((reading.log.rows.len(), reading.skipped), (2, 1));
    assert!(
        show(&reading.diagnostics[0])
            .starts_with("log.jsonl:2: log::line-length: the line is longer than 1048576 bytes")
    );
    // It still counts in the hash: another log is another hash.
    assert_eq!(reading.log.hash, read_lines(&text).unwrap().log.hash);
}

#[test]
fn many_errors_are_counted_not_listed() {
    let text: String = (0..500).map(|_| "x\n".to_owned()).chain([good("a")]).collect();
    let reading = read_lines(&text).unwrap();
    assert_eq!((reading.skipped, reading.diagnostics.len()), (500, 21));
    assert!(show(&reading.diagnostics[20]).starts_with("log::more-errors: 480 more errors are not shown"));
}

#[test]
fn whatever_the_bytes_nothing_panics() {
    // Every prefix, and every byte replaced by ones that matter to a parser.
    let text = format!("{}\n", good("ä\\ud83d\\ude00"));
    let bytes = text.as_bytes();
    for at in 0..bytes.len() {
        let _ = read_files(&[("log.jsonl", &bytes[..at])], &ReadOptions::default());
        for other in *b"\"\\{}[]:,-0eE\0\n\xFF\xC3" {
            let mut changed = bytes.to_vec();
            changed[at] = other;
            let _ = read_files(&[("log.jsonl", &changed)], &ReadOptions::default());
            let _ = read_files(&[("log.csv", &changed)], &ReadOptions::default());
        }
    }
}

#[test]
fn rows_of_a_decision_log_are_no_evidence() {
    for row in [
        r#"{"schema":1,"kind":"decision","id":"bad","route":"r","path":[]}"#,
        r#"{"schema":1,"kind":"exploration","id":"bad","route":"r","results":{"small":{"cost_usd":1e-5}}}"#,
        r#"{"schema":1,"kind":"feedback","id":"bad","score":1.0}"#,
    ] {
        let shown = complaint(row);
        assert!(shown.contains("log::decision-row") && shown.contains("cascade import decisions"), "{shown}");
    }
}
