//! What a good log becomes.

use super::{good, gzip, read_files, read_lines, show_all};
use cascade_sdk_core::log::{
    Index, LogSource, LookupError, RawJson, ReadOptions, ResultRecord, RowRecord, Split, hash, records,
    write_row,
};
use cascade_sdk_core::money::{Price, Rates, TokenPrice, Usd};
use std::borrow::Cow;
use std::collections::BTreeMap;

const FULL: &str = r#"{"id":"q-17","input":"text","split":"test","group":"g","weight":2.0,"sampling_probability":0.5,"features":{"len":4.0},"tags":{"subject":"law"},"session":"s","turn":3,"reference":"billing","results":{"large":{"quality":0.0,"cost_usd":0.25,"signals":{},"error":"timeout"},"small":{"quality":1.0,"cost_usd":0.0000133,"input_tokens":132,"cached_input_tokens":100,"cache_write_tokens":7,"output_tokens":1,"reasoning_tokens":0,"latency_ms":206.3,"signals":{"judge":0.5,"mean_logprob":-0.7797},"signal_cost_usd":{"judge":0.000021},"output":"billing","token_logprobs":[-0.7797],"graded_by":"exact","served_model":"small-2024","finish":"length","request_hash":"abc"}}}"#;

#[test]
fn every_key_arrives() {
    let reading = read_lines(FULL).unwrap();
    assert_eq!(show_all(&reading.diagnostics), "");
    let log = &reading.log;
    let row = &log.rows[0];
    assert_eq!((&*row.id, row.text.as_deref(), row.split), ("q-17", Some("text"), Some(Split::Test)));
    assert_eq!((row.group.as_deref(), row.session.as_deref(), row.turn), (Some("g"), Some("s"), Some(3)));
    // A row sampled with probability one half stands for two.
    assert_eq!(row.weight, 4.0);
    assert_eq!((&*row.features[0].0, row.features[0].1), ("len", 4.0));
    assert_eq!((&*row.tags[0].0, &*row.tags[0].1), ("subject", "law"));

    let small = log.tier("small").unwrap();
    assert!(small.present[0] && !small.failed[0]);
    assert_eq!((small.quality[0], small.cost[0]), (1.0, Usd::parse("0.0000133").unwrap()));
    assert_eq!((small.input_tokens[0], small.output_tokens[0], small.latency_ms[0]), (132, 1, 206.3));
    assert_eq!(small.cached_input_tokens.get(0), Some(100));
    assert_eq!(small.cache_write_tokens.get(0), Some(7));
    assert_eq!(small.reasoning_tokens.get(0), Some(0));
    assert_eq!(small.signals["judge"].value, [0.5]);
    assert_eq!(small.signals["judge"].cost, [Usd::parse("0.000021").unwrap()]);
    assert_eq!(small.signals["mean_logprob"].value, [-0.7797]);
    assert!(small.signals["mean_logprob"].cost.is_empty());
    assert_eq!(small.output[0].as_deref(), Some("billing"));
    assert_eq!(small.graded_by.get(0), Some("exact"));
    assert_eq!(small.served_model.get(0), Some("small-2024"));
    assert_eq!(small.finish.get(0), Some("length"));
    assert_eq!(small.request_hash.get(0), Some("abc"));

    let large = log.tier("large").unwrap();
    assert!(large.failed[0] && large.signals.is_empty());
    assert_eq!((large.quality[0], large.cost[0]), (0.0, Usd::parse("0.25").unwrap()));
    assert_eq!(large.error.get(0), Some("timeout"));
}

#[test]
fn a_row_written_again_is_the_same_line() {
    let reading = records([LogSource::new("log.jsonl", FULL.as_bytes())], &ReadOptions::default()).unwrap();
    let mut out = Vec::new();
    write_row(&mut out, &reading.rows[0]).unwrap();
    let written = String::from_utf8(out).unwrap();
    assert_eq!(written, format!("{FULL}\n"));
}

#[test]
fn unknown_keys_survive_being_read_and_written() {
    let line = r#"{"id":"a","results":{"s":{"quality":1.0,"cost_usd":0.0,"signals":{},"extra":[1, {"b":2}]}},"note":{"x":null}}"#;
    let reading = records([LogSource::new("log.jsonl", line.as_bytes())], &ReadOptions::default()).unwrap();
    assert_eq!(reading.diagnostics.len(), 2);
    let mut out = Vec::new();
    write_row(&mut out, &reading.rows[0]).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), format!("{line}\n"));
}

#[test]
fn a_made_row_reads_back() {
    let result = ResultRecord {
        quality: Some(0.1 + 0.2),
        cost_usd: Some(Usd::from_pico(123_456_789_012)),
        signals: BTreeMap::from([
            (Cow::Borrowed("s"), Some(-1.0 / 3.0)),
            (Cow::Borrowed("missing"), Some(f64::NAN)),
        ]),
        output: Some("line\nbreak \u{1F600}".into()),
        ..ResultRecord::default()
    };
    let row = RowRecord {
        messages: Some(RawJson::of(&serde_json::json!([{"role": "user", "content": "hi"}])).unwrap()),
        results: BTreeMap::from([(Cow::Borrowed("small"), result)]),
        ..RowRecord::new("made")
    };
    let mut out = Vec::new();
    write_row(&mut out, &row).unwrap();
    assert_eq!(out.iter().position(|byte| *byte == b'\n'), Some(out.len() - 1));
    let log = read_files(&[("log.jsonl", &out)], &ReadOptions::default()).unwrap().log;
    let small = log.tier("small").unwrap();
    assert_eq!(small.quality[0].to_bits(), (0.1_f64 + 0.2).to_bits());
    assert_eq!(small.cost[0], Usd::from_pico(123_456_789_012));
    assert_eq!(small.signals["s"].value[0].to_bits(), (-1.0_f64 / 3.0).to_bits());
    assert!(small.signals["missing"].value[0].is_nan());
    assert_eq!(small.output[0].as_deref(), Some("line\nbreak \u{1F600}"));
    assert_eq!(log.rows[0].text.as_deref(), Some("hi"));
}

#[test]
fn order_of_lines_and_files_does_not_matter() {
    let lines: Vec<String> = (0..50)
        .map(|i| {
            let tiers = ["b", "a", "c"].map(|tier| format!(r#""{tier}{}":{{"quality":0.5,"cost_usd":{i},"served_model":"m{}","signals":{{"s{}":{i}}}}}"#, i % 3, i % 7, i % 2));
            format!(r#"{{"id":"q-{i}","results":{{{}}}}}"#, tiers.join(","))
        })
        .collect();
    let place_free = |text: &str| {
        let mut log = read_lines(text).unwrap().log;
        for row in &mut log.rows {
            row.place = (0, 0);
        }
        // NaN is unequal to itself, so the texts are compared.
        format!("{log:?}")
    };
    let forwards = place_free(&lines.join("\n"));
    let backwards = place_free(&lines.iter().rev().cloned().collect::<Vec<_>>().join("\n"));
    assert_eq!(forwards, backwards);
}

#[test]
fn line_ends_marks_and_packing_do_not_change_the_hash() {
    let plain = format!("{}\n{}\n", good("a"), good("b"));
    let expected = read_lines(&plain).unwrap().log.hash;
    let twisted = format!("\u{feff}{}\r\n\r\n  \n{}", good("b"), good("a"));
    assert_eq!(read_lines(&twisted).unwrap().log.hash, expected);
    let mut members = gzip(good("a").as_bytes());
    members.extend(gzip(format!("\n{}\n", good("b")).as_bytes()));
    let packed = read_files(&[("x.jsonl.gz", &members)], &ReadOptions::default()).unwrap();
    assert_eq!((packed.log.rows.len(), packed.log.hash.as_str()), (2, expected.as_str()));
    let parts = [("1.jsonl", good("b")), ("2.jsonl", good("a"))];
    let parts = parts.each_ref().map(|(name, text)| (*name, text.as_bytes()));
    assert_eq!(read_files(&parts, &ReadOptions::default()).unwrap().log.hash, expected);
    assert_eq!(hash(parts.map(|(name, bytes)| LogSource::new(name, bytes))).unwrap(), expected);
    assert_ne!(read_lines(&good("a")).unwrap().log.hash, expected);
    // SHA-256 over the sorted SHA-256 of the lines, by another implementation.
    assert_eq!(expected, "3d4f0ba50568fb3bfaa127ec9b7663a8417b9bf3f64b1d6b49c04b41a671ba30");
}

#[test]
fn messages_become_routing_text() {
    let line = r#"{"id":"a","messages":[{"role":"system","content":"no"},{"role":"user","content":[{"type":"text","text":"one"},{"type":"image_url","image_url":{"url":"data:"}}]},{"role":"assistant","content":null,"tool_calls":[]},{"role":"tool","content":"two"},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"three \ud83d"}]}]}],"results":{"s":{"quality":1,"cost_usd":0}}}"#;
    let log = read_lines(line).unwrap().log;
    assert_eq!(log.rows[0].text.as_deref(), Some("one\ntwo\nthree \u{fffd}"));
}

#[test]
fn nulls_are_missing_values() {
    let line = r#"{"id":7,"input":null,"split":null,"group":null,"weight":null,"features":null,"tags":{"t":null},"session":null,"turn":null,"results":{"absent":null,"s":{"quality":1,"cost_usd":0,"input_tokens":null,"latency_ms":null,"signals":{"x":null},"signal_cost_usd":null,"output":null,"token_logprobs":null,"error":null}}}"#;
    let reading = read_lines(line).unwrap();
    assert_eq!(show_all(&reading.diagnostics), "");
    let log = reading.log;
    assert_eq!((&*log.rows[0].id, log.rows[0].weight, log.tiers.len()), ("7", 1.0, 1));
    assert!(log.tiers[0].signals["x"].value[0].is_nan() && log.tiers[0].latency_ms[0].is_nan());
    assert_eq!(log.tiers[0].input_tokens[0], cascade_sdk_core::log::UNKNOWN_TOKENS);
}

#[test]
fn signals_are_worked_out_from_token_logprobs() {
    let line = r#"{"id":"a","results":{"s":{"quality":1,"cost_usd":0,"signals":{"mean_logprob":-9.0},"token_logprobs":[{"token":"x","logprob":-0.25,"top_logprobs":[{"token":"x","logprob":-0.25},{"token":"\ud800","logprob":-2.0}]},{"token":"y","bytes":[121],"logprob":-0.75,"top_logprobs":[{"logprob":-0.75},{"logprob":-1.0}]},{"token":"","bytes":[],"logprob":-5}]},"t":{"quality":1,"cost_usd":0,"token_logprobs":[-0.5,-1.5]}}}"#;
    let log = read_lines(line).unwrap().log;
    let signals = &log.tier("s").unwrap().signals;
    // The log's own value wins.
    assert_eq!(signals["mean_logprob"].value, [-9.0]);
    assert_eq!(signals["sequence_logprob"].value, [-1.0]);
    assert_eq!(signals["min_logprob"].value, [-0.75]);
    assert!(signals["mean_margin"].value[0] > 0.0 && signals.len() == 6);
    let bare = &log.tier("t").unwrap().signals;
    assert_eq!(bare.keys().collect::<Vec<_>>(), ["mean_logprob", "min_logprob", "sequence_logprob"]);
    assert_eq!(bare["mean_logprob"].value, [-1.0]);
}

fn prices() -> BTreeMap<String, Price> {
    let rates = Rates {
        input: TokenPrice::parse_per_million("0.10").unwrap(),
        output: TokenPrice::parse_per_million("0.40").unwrap(),
        ..Rates::default()
    };
    BTreeMap::from([("small".to_owned(), Price { rates, ..Price::default() })])
}

#[test]
fn costs_come_from_tokens_where_the_log_has_none() {
    let options = ReadOptions { prices: prices(), ..ReadOptions::default() };
    let line = r#"{"id":"a","results":{"small":{"quality":1,"input_tokens":132,"output_tokens":1.0}}}"#;
    let log = read_files(&[("log.jsonl", line.as_bytes())], &options).unwrap().log;
    assert_eq!(log.tiers[0].cost[0], Usd::parse("0.0000136").unwrap());

    let line =
        r#"{"id":"a","results":{"small":{"quality":1,"cost_usd":5,"input_tokens":132,"output_tokens":1}}}"#;
    let repriced = ReadOptions { reprice: true, ..options.clone() };
    let reading = read_files(&[("log.jsonl", line.as_bytes())], &repriced).unwrap();
    assert_eq!(reading.log.tiers[0].cost[0], Usd::parse("0.0000136").unwrap());
    assert_eq!(show_all(&reading.diagnostics), "");
}

#[test]
fn only_the_tiers_asked_for_are_read() {
    let text = format!(
        "{}\n{}\n",
        r#"{"id":"a","results":{"small":{"quality":1,"cost_usd":1},"other":{"quality":"ungraded"}}}"#,
        r#"{"id":"b","results":{"other":{"quality":1,"cost_usd":1}}}"#
    );
    let options =
        ReadOptions { tiers: Some(["small".to_owned()].into()), strict: true, ..ReadOptions::default() };
    let reading = read_files(&[("log.jsonl", text.as_bytes())], &options).unwrap();
    assert_eq!((reading.log.rows.len(), reading.log.tiers.len(), reading.skipped), (1, 1, 0));
    assert!(show_all(&reading.diagnostics).contains("log::no-tier"));
}

#[test]
fn outputs_are_kept_or_not() {
    let options = ReadOptions { keep_outputs: false, ..ReadOptions::default() };
    let log = read_files(&[("log.jsonl", FULL.as_bytes())], &options).unwrap().log;
    assert_eq!(log.tier("small").unwrap().output, [None]);
}

#[test]
fn requests_find_their_row() {
    let same = good("b").replace("prompt of b", "prompt of a");
    let log = read_lines(&format!("{}\n{same}\n{}\n", good("a"), good("c"))).unwrap().log;
    let index = Index::new(&log);
    assert_eq!(index.find(&log, Some("b"), "anything"), Ok(1));
    assert_eq!(index.find(&log, None, "prompt of c"), Ok(2));
    // An id that is no row's, such as a trace's, leaves the prompt to find the row.
    assert_eq!(index.find(&log, Some("d"), "prompt of c"), Ok(2));
    assert_eq!(index.find(&log, Some("d"), "prompt of d"), Err(LookupError::UnknownId("d".to_owned())));
    assert_eq!(index.find(&log, Some("d"), "prompt of a"), Err(LookupError::AmbiguousText { rows: 2 }));
    assert_eq!(index.find(&log, None, "Prompt of c"), Err(LookupError::UnknownText));
    assert_eq!(index.find(&log, None, "prompt of a"), Err(LookupError::AmbiguousText { rows: 2 }));
}
