//! What is said once however often it occurs, and what makes a log unusable as a whole.

use super::{good, read_files, read_lines, show_all};
use cascade_sdk_core::log::{ReadOptions, judge_name};
use cascade_sdk_core::money::{Price, Rates, TokenPrice};
use std::collections::BTreeMap;

fn rows(result: &str) -> String {
    (0..3).map(|i| format!(r#"{{"id":"q-{i}","results":{{"small":{result}}}}}"#) + "\n").collect()
}

#[test]
fn unknown_keys_are_named_once_with_a_guess() {
    let text = rows(
        r#"{"quality":1,"cost_usd":1,"latency":3,"signals":{}},"t":{"quality":1,"cost_usd":1,"latency":3}"#,
    )
    .replace("\"results\"", "\"wieght\":2,\"results\"");
    let reading = read_lines(&text).unwrap();
    assert_eq!((reading.log.rows.len(), reading.skipped), (3, 0));
    assert_eq!(
        show_all(&reading.diagnostics),
        "log.jsonl:1: log::unknown-key: unknown key `results.*.latency` is not used (in 6 places; the first is shown) | \
         …t\":2,\"results\":{\"small\":{\"quality\":1,\"cost_usd\":1,\"latency\":3 … [3] \
         = numbers the application knows go into `features`, labels into `tags`\n\
         log.jsonl:1: log::unknown-key: unknown key `wieght` is not used (in 3 places; the first is shown) | \
         {\"id\":\"…\",\"wieght\":2 … [2] = did you mean `weight`?"
    );
}

#[test]
fn costs_that_differ_from_the_prices() {
    let rates = Rates { input: TokenPrice::parse_per_million("1").unwrap(), ..Rates::default() };
    let prices = BTreeMap::from([("small".to_owned(), Price { rates, ..Price::default() })]);
    let options = ReadOptions { prices, ..ReadOptions::default() };
    let shown = |cost: &str, options: &ReadOptions| {
        let text =
            rows(&format!(r#"{{"quality":1,"cost_usd":{cost},"input_tokens":100,"output_tokens":1}}"#));
        show_all(&read_files(&[("log.jsonl", text.as_bytes())], options).unwrap().diagnostics)
    };
    assert_eq!(shown("0.0001009", &options), "");
    let differs = shown("0.000102", &options);
    assert!(
        differs.starts_with(
            "log.jsonl:1: log::cost-differs: `cost_usd` of tier `small` differs from tokens × price by over 1 %: \
             0.000102 recorded, 0.0001 by price (in 3 places; the first is shown)"
        ),
        "{differs}"
    );
    let repriced = ReadOptions { reprice: true, ..options };
    assert_eq!(shown("0.000102", &repriced), "");
    let text = rows(r#"{"quality":1,"cost_usd":1}"#);
    let kept = read_files(&[("log.jsonl", text.as_bytes())], &repriced).unwrap();
    assert!(show_all(&kept.diagnostics).contains("tier `small` cannot be re-priced without token counts"));
}

#[test]
fn a_failed_call_is_worth_nothing() {
    let reading =
        read_lines(&rows(r#"{"quality":1,"cost_usd":1,"error":"refused","signals":{"s":1}}"#)).unwrap();
    assert!(show_all(&reading.diagnostics).contains("log::failed-quality: tier `small` has both"));
    let small = &reading.log.tiers[0];
    assert!(small.quality == [0.0; 3] && small.failed == [true; 3] && small.signals.is_empty());
}

#[test]
fn half_characters_do_not_cost_a_row() {
    let text = good("a").replace("prompt of a", r"x \ud83d y \uDE00 z \ud83d\ude00 \\ud83d");
    let reading = read_lines(&text).unwrap();
    assert_eq!(reading.log.rows[0].text.as_deref(), Some("x \u{fffd} y \u{fffd} z \u{1F600} \\ud83d"));
    assert!(show_all(&reading.diagnostics).contains("log::surrogate"));
}

#[test]
fn a_judge_cannot_be_tested_by_its_own_grades() {
    let grader = judge_name("large", "helpful");
    let text = rows(&format!(
        r#"{{"quality":1,"cost_usd":1,"signals":{{"second_look":0.5}},"graded_by":"{grader}"}}"#
    ));
    let judge = ("large".to_owned(), "helpful".to_owned());
    let judges = BTreeMap::from([("second_look".to_owned(), judge)]);
    let options = ReadOptions { judges, ..ReadOptions::default() };
    let refused = show_all(&read_files(&[("log.jsonl", text.as_bytes())], &options).unwrap_err());
    assert!(refused.contains("log::self-graded: signal `second_look` comes from `judge large: helpful`, which also graded the row (in 3 places"), "{refused}");
    for (name, is_same) in [
        ("second_look", true),
        ("large", true),
        ("judge:large", true),
        ("large/helpful", true),
        ("large: helpful", true),
        ("judge large: correct", false),
        ("larger", false),
        ("judge", false),
        ("exact", false),
    ] {
        let spelled = text.replace(&judge_name("large", "helpful"), name);
        assert_eq!(read_files(&[("log.jsonl", spelled.as_bytes())], &options).is_err(), is_same, "{name}");
    }
    // Another judge is fine.
    assert!(read_lines(&text).is_ok());
    let same_name = rows(r#"{"quality":1,"cost_usd":1,"signals":{"judge":0.5},"graded_by":"judge"}"#);
    assert!(read_lines(&same_name).is_err());
}
