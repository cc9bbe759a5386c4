//! CSV in the long form.

use super::{gzip, read_files, show_all};
use cascade_sdk_core::log::{LogSource, ReadOptions, hash};

const TEXT: &str = "id,tier,quality,cost_usd,input_tokens,output_tokens,latency_ms,output,signal.mean_logprob,signal_cost.judge,feature.len,tag.subject,input,split,group\n\
q-1,small,1.0,0.0000133,132,1,206.3,billing,-0.78,,3,law,\"a, \"\"quoted\"\"\nprompt\",calibration,\n\
q-2,small,0,1e-5,132.0,1,,\"x\",,0.00002,,,b,test,g\n\
q-1,large,1,0.000172,132,1,890,billing,,,,,,,\n";

fn read(text: &str) -> Result<cascade_sdk_core::log::LogReading, Vec<cascade_sdk_core::diag::Diagnostic>> {
    read_files(&[("log.csv", text.as_bytes())], &ReadOptions::default())
}

#[test]
fn csv_and_json_are_the_same_log() {
    let json = concat!(
        r#"{"id":"q-1","input":"a, \"quoted\"\nprompt","split":"calibration","features":{"len":3},"tags":{"subject":"law"},"results":{"small":{"quality":1,"cost_usd":0.0000133,"input_tokens":132,"output_tokens":1,"latency_ms":206.3,"output":"billing","signals":{"mean_logprob":-0.78}},"large":{"quality":1,"cost_usd":0.000172,"input_tokens":132,"output_tokens":1,"latency_ms":890,"output":"billing"}}}"#,
        "\n",
        r#"{"id":"q-2","input":"b","split":"test","group":"g","results":{"small":{"quality":0,"cost_usd":1e-5,"input_tokens":132,"output_tokens":1,"output":"x","signal_cost_usd":{"judge":0.00002}}}}"#,
    );
    let strip = |reading: cascade_sdk_core::log::LogReading| {
        assert_eq!(show_all(&reading.diagnostics), "");
        let mut log = reading.log;
        log.hash.clear();
        log.rows.iter_mut().for_each(|row| row.place = (0, 0));
        format!("{log:#?}")
    };
    let from_json = strip(read_files(&[("log.jsonl", json.as_bytes())], &ReadOptions::default()).unwrap());
    assert_eq!(strip(read(TEXT).unwrap()), from_json);
    assert_eq!(
        strip(
            read(&format!(
                "\u{feff}{}",
                TEXT.replace('\n', "\r\n").replace("\"\"\r\nprompt", "\"\"\nprompt")
            ))
            .unwrap()
        ),
        from_json
    );
    let packed = gzip(TEXT.as_bytes());
    assert_eq!(strip(read_files(&[("log.csv.gz", &packed)], &ReadOptions::default()).unwrap()), from_json);
}

#[test]
fn the_hash_is_that_of_the_lines() {
    let expected = read(TEXT).unwrap().log.hash;
    assert_eq!(hash([LogSource::new("log.csv", TEXT.as_bytes())]).unwrap(), expected);
    assert_eq!(read(&format!("\u{feff}{TEXT}\n\n")).unwrap().log.hash, expected);
    let packed = gzip(TEXT.as_bytes());
    assert_eq!(hash([LogSource::new("log.csv.gz", &packed[..])]).unwrap(), expected);
}

#[test]
fn places_are_those_of_the_file() {
    let bad = TEXT.replace("0.000172", "-1").replace("q-2,small,0,", "q-2,small,nan,");
    let shown = show_all(&read(&bad).unwrap_err());
    assert!(shown.contains("log.csv:5: log::negative: row `q-1`: `results.large.cost_usd` is -1; a cost cannot be negative | cost_usd [cost_usd]"), "{shown}");
    assert!(
        shown.contains(
            "log.csv:4: log::quality-range: row `q-2`: `results.small.quality` is NaN, outside [0, 1]"
        ),
        "{shown}"
    );
}

#[test]
fn a_row_with_one_bad_line_is_not_used_in_part() {
    for (bad, expected) in [
        (
            "q-3,large,1,x,,,,,,,,,,,\n",
            "log.csv:7: log::type: row `q-3`: `results.large.cost_usd` should be a number",
        ),
        (
            "q-3,large,1\n",
            "log.csv:7: log::csv-fields: row `q-3`: `results.large` has 3 fields in line 7, but the header has 15",
        ),
        (
            "q-3,small,1,1,,,,,,,,,,,\n",
            "log.csv:7: log::duplicate-id: row `q-3`: `results.small` stands in lines 6 and 7",
        ),
        ("q-3,,1,1,,,,,,,,,,,\n", "log::missing: row `q-3`: `results.` has no `tier` in line 7"),
        ("q-3,large,1,1,-1,,,,,,,,,,\n", "`results.large.input_tokens` should be a whole number"),
        ("q-3,large,1,1,,,,,inf,,,,,,\n", "`results.large.signals.mean_logprob` is inf; it must be finite"),
        ("q-3,large,1,inf,,,,,,,,,,,\n", "`results.large.cost_usd` is inf: the amount is not a finite"),
        ("q-3,large,1,1,,,,,,,,,other prompt,,\n", "row `q-3`: `input` differs between the lines of the row"),
    ] {
        let reading = read(&format!("{TEXT}q-3,small,1,1,,,,,,,,,p,,\n{bad}")).unwrap();
        let shown = show_all(&reading.diagnostics);
        assert_eq!((reading.log.rows.len(), reading.skipped), (2, 1), "{shown}");
        assert!(shown.contains(expected), "{shown}");
    }
    let reading = read(&format!("{TEXT},small,1,1,,,,,,,,,p,,\n")).unwrap();
    assert_eq!(reading.skipped, 1);
    assert!(show_all(&reading.diagnostics).starts_with("log.csv:6: log::missing: the line has no `id`"));
}

#[test]
fn headers_must_make_sense() {
    for (text, expected) in [
        ("id;tier;quality\n", "the CSV has no column `id` and no column `tier`"),
        ("id,quality\n", "the CSV has no column `tier`"),
        ("id,tier,quality,quality\n", "the CSV has two columns `quality`"),
    ] {
        let shown = show_all(&read(text).unwrap_err());
        assert!(shown.contains(expected), "{shown}");
    }
    let reading = read(&TEXT.replace(",latency_ms,", ",latncy_ms,")).unwrap();
    assert!(
        show_all(&reading.diagnostics).contains("unknown key `latncy_ms`"),
        "{}",
        show_all(&reading.diagnostics)
    );
}

#[test]
fn an_unclosed_quote_does_not_eat_memory() {
    let text = format!("{TEXT}q-3,small,1,1,,,,\"{}", "line\n".repeat(100_000));
    let options = ReadOptions { longest_line: 10_000, ..ReadOptions::default() };
    let shown = show_all(&read_files(&[("log.csv", text.as_bytes())], &options).unwrap_err());
    assert!(
        shown.contains("the line is longer than 10000 bytes") && shown.contains("or a quote is never closed"),
        "{shown}"
    );
    // Within the bound the record is read, and found wanting.
    assert!(show_all(&read(&text).unwrap().diagnostics).contains("fields in line 6"));
}

#[test]
fn bytes_that_are_not_utf8() {
    let mut text = TEXT.as_bytes().to_vec();
    text.extend_from_slice(b"q-3,small,1,1,,,,caf\xE9,,,,,,,\n");
    let reading = read_files(&[("log.csv", &text)], &ReadOptions::default()).unwrap();
    let shown = show_all(&reading.diagnostics);
    assert!(
        reading.skipped == 1
            && shown.contains("log.csv:6: log::encoding: row `q-3`: `results.small.output` is not UTF-8"),
        "{shown}"
    );
    let packed = gzip(TEXT.as_bytes());
    let shown = show_all(&read_files(&[("log.csv", &packed)], &ReadOptions::default()).unwrap_err());
    assert!(shown.contains("name it `.gz`"), "{shown}");
}

#[test]
fn lines_are_counted_as_editors_count_them() {
    let twice = "id,tier,quality,cost_usd,input\nq-1,small,1,0.1,\"two\nlines\"\n\nq-1,small,1,0.1,x\nq-1,large,2,0.1,\n";
    for text in
        [twice.to_owned(), twice.replace('\n', "\r\n"), format!("\u{feff}{}", twice.replace('\n', "\r\n"))]
    {
        let shown = show_all(&read(&text).unwrap_err());
        assert!(shown.contains("stands in lines 2 and 5"), "{text:?}: {shown}");
        assert!(shown.contains("log.csv:6: "), "{text:?}: {shown}");
    }
    let cut = read("id,tier,quality,cost_usd\r\nq-1,small,7,0.1").unwrap_err();
    assert!(show_all(&cut).contains("log.csv:2: "), "{}", show_all(&cut));
}
