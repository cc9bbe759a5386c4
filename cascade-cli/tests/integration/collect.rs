//! `cascade collect` against a server on loopback.

use crate::project::Project;
use crate::server::Server;
use serde_json::{Value, json};
use std::time::Duration;

/// Input price 1, output price 2 USD per million tokens; the server counts 10 and 2 tokens: 14 millionths a call.
pub(crate) const CALL_USD: f64 = 14e-6;

pub(crate) const COLLECT: [&str; 4] = ["collect", "sums", "--prompts", "prompts.jsonl"];

pub(crate) fn config(url: &str) -> String {
    format!(
        r#"schema = 1

[providers.local]
api = "openai"
base_url = "{url}"

[tiers.small]
provider = "local"
model = "s"
price = {{ input = 1.0, output = 2.0 }}
max_output_tokens = 5

[tiers.large]
provider = "local"
model = "l"
price = {{ input = 1.0, output = 2.0 }}
max_output_tokens = 5

[routes.sums]
tiers = ["small", "large"]
log = ["log.jsonl"]

[routes.sums.objective]
min_quality = 0.9

[routes.sums.request]
system = "Add."
temperature = 0.0
top_logprobs = 2
"#
    )
}

pub(crate) fn prompts(words: &[&str]) -> String {
    let line = |(index, word): (usize, &&str)| {
        json!({"id": format!("q{index}"), "input": format!("{word} {index}+1"),
            "reference": (index + 1).to_string(), "grader": "numeric", "tags": {"word": word}})
        .to_string()
    };
    words.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
}

pub(crate) fn project(server: &Server, words: &[&str]) -> Project {
    let project = Project::new();
    project.write("cascade.toml", &config(&server.url));
    project.write("prompts.jsonl", &prompts(words));
    project
}

pub(crate) fn rows(project: &Project) -> Vec<Value> {
    project.read("log.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The log without what a clock decides.
pub(crate) fn timeless(project: &Project) -> Vec<Value> {
    let mut rows = rows(project);
    for row in &mut rows {
        for (_, result) in row["results"].as_object_mut().unwrap() {
            result.as_object_mut().unwrap().remove("latency_ms");
        }
    }
    rows
}

#[test]
fn asks_every_tier_grades_and_records_everything() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &["", "wrong", ""]);
    let ran = project.run(&[&COLLECT[..], &["--keep-logprobs", "--format", "json"]].concat()).expect_code(0);
    let summary = ran.json();
    assert_eq!(summary["recorded"], 6, "{summary}");
    assert_eq!(summary["complete"], true);
    assert!((summary["spent_usd"].as_f64().unwrap() - 6.0 * CALL_USD).abs() < 1e-12);
    assert!(!project.exists("log.jsonl.journal"));

    let rows = rows(&project);
    let ids: Vec<&str> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["q0", "q1", "q2"]);
    assert_eq!(rows[1]["tags"]["word"], "wrong");
    let small = &rows[0]["results"]["small"];
    assert_eq!(small["quality"], 1.0);
    assert_eq!(rows[1]["results"]["large"]["quality"], 0.0);
    assert_eq!(small["output"], "It is 1.");
    assert_eq!((&small["input_tokens"], &small["output_tokens"]), (&json!(10), &json!(2)));
    assert_eq!(small["cost_usd"], json!(0.000_014));
    assert_eq!(small["graded_by"], "numeric");
    assert_eq!(small["served_model"], "s-2026");
    assert_eq!(small["token_logprobs"], json!([-0.25, -0.75]));
    assert_eq!(small["signals"]["mean_logprob"], -0.5);
    for signal in ["min_logprob", "sequence_logprob", "mean_margin", "mean_negentropy", "min_negentropy"] {
        assert!(small["signals"][signal].is_number(), "{signal}");
    }
    let (small, large) = (&small["request_hash"], &rows[0]["results"]["large"]["request_hash"]);
    assert_eq!(small.as_str().map(str::len), Some(64));
    assert_ne!(small, large);

    let sent = server.seen().last.clone();
    assert_eq!(sent["messages"][0], json!({"role": "system", "content": "Add."}));
    assert_eq!((&sent["temperature"], &sent["max_tokens"]), (&json!(0.0), &json!(5)));
}

#[test]
fn what_is_recorded_is_never_asked_again() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &["", ""]);
    project.run(&COLLECT).expect_code(0);
    let log = project.read("log.jsonl");
    project.run(&COLLECT).expect_code(0);
    assert_eq!(server.calls(), 4);
    assert_eq!(project.read("log.jsonl"), log);
    // New prompts and other rows of the log stand side by side.
    project.write("prompts.jsonl", &prompts(&["", "", ""]).lines().skip(1).collect::<Vec<_>>().join("\n"));
    project.run(&[&COLLECT[..], &["--tiers", "large"]].concat()).expect_code(0);
    assert_eq!(server.calls(), 5);
    let rows = rows(&project);
    assert_eq!(rows.len(), 3);
    assert!(rows[2]["results"]["small"].is_null() && rows[2]["results"]["large"].is_object());
}

#[test]
fn a_torn_last_line_of_the_journal_is_dropped() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &[""]);
    project.write(
        "log.jsonl.journal",
        "{\"job\":{\"version\":1,\"route\":\"sums\"}}\n{\"ask\":{\"id\":\"q0\",\"tier\":\"small\",\"pro",
    );
    let summary = project.run(&[&COLLECT[..], &["--format", "json"]].concat()).expect_code(0).json();
    assert_eq!(summary["recorded"], 2);
    assert_eq!(summary["may_have_been_charged"], json!([]));
}

#[test]
fn the_cap_is_never_exceeded_and_covers_interrupted_runs() {
    let server = Server::start(Duration::from_millis(5));
    let project = project(&server, &[""; 30]);
    let cap = |usd: &'static str| [&COLLECT[..], &["--format", "json", "--max-spend", usd]].concat();
    let first = project.run(&cap("0.0004")).expect_code(1).json();
    assert_eq!(first["complete"], false);
    assert_eq!(first["stopped"][0]["reason"], "max_spend", "{first}");
    let spent = first["spent_usd"].as_f64().unwrap();
    assert!(spent <= 0.0004 && spent > 0.0002, "{first}");
    let calls = server.calls();
    assert!((f64::from(calls) * CALL_USD - spent).abs() < 1e-12, "{calls} calls, {first}");
    // The same cap again: nothing is left of it.
    let again = project.run(&cap("0.0004")).expect_code(1).json();
    assert_eq!(again["spent_usd"], first["spent_usd"]);
    assert_eq!(server.calls(), calls);
    let rest = project.run(&cap("1")).expect_code(0).json();
    assert!((rest["spent_usd"].as_f64().unwrap() - 60.0 * CALL_USD).abs() < 1e-12, "{rest}");
    assert_eq!(server.calls(), 60);
}

#[test]
fn failures_of_the_tier_count_and_those_of_the_server_do_not() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &["reject", "flaky", "refuse", ""]);
    let arguments = [&COLLECT[..], &["--tiers", "small", "--format", "json"]].concat();
    let summary = project.run(&arguments).expect_code(0).json();
    assert_eq!((&summary["recorded"], &summary["failed"]), (&json!(4), &json!(2)), "{summary}");
    let rows = rows(&project);
    let result = |row: usize| &rows[row]["results"]["small"];
    assert_eq!(result(0)["error"], "status");
    assert_eq!((&result(0)["quality"], &result(0)["cost_usd"]), (&json!(0.0), &json!(0.0)));
    assert_eq!(result(1)["quality"], 1.0);
    assert_eq!(result(2)["error"], "refused");
    assert_eq!(result(2)["cost_usd"], json!(0.000_014));
    assert_eq!(result(2)["signals"], json!({}));
    assert_eq!(server.calls(), 5);
    project.run(&arguments).expect_code(0);
    assert_eq!(server.calls(), 5);
    project.run(&[&arguments[..], &["--retry-failed"]].concat()).expect_code(0);
    assert_eq!(server.calls(), 7);
}

#[test]
fn a_server_that_is_down_records_nothing() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &[""; 9]);
    project.write("cascade.toml", &config("http://127.0.0.1:9/v1"));
    let arguments = [&COLLECT[..], &["--tiers", "small", "--concurrency", "8", "--format", "json"]].concat();
    let summary = project.run(&arguments).expect_code(1).json();
    assert_eq!((&summary["recorded"], &summary["spent_usd"]), (&json!(0), &json!(0.0)), "{summary}");
    assert_eq!(summary["stopped"][0]["reason"], "provider");
    assert!(!project.exists("log.jsonl"));
    project.write("cascade.toml", &config(&server.url));
    assert_eq!(project.run(&arguments).expect_code(0).json()["recorded"], 9);
}

#[test]
fn a_server_that_goes_away_is_told_of_while_the_other_tier_goes_on() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &[""; 9]);
    let gone = config(&server.url)
        .replace("[tiers.small]\nprovider = \"local\"", "[tiers.small]\nprovider = \"gone\"")
        + "\n[providers.gone]\napi = \"openai\"\nbase_url = \"http://127.0.0.1:9/v1\"\n";
    project.write("cascade.toml", &gone);
    let ran = project.run(&[&COLLECT[..], &["--concurrency", "8"]].concat()).expect_code(1);
    for told in ["small: 3 calls in a row failed, asking on: ", "small: stopped, 5 calls in a row failed: "] {
        assert_eq!(ran.stderr.matches(told).count(), 1, "{told}: {}", ran.stderr);
    }
    // The end says what is there, and what is not.
    let grades: Vec<&str> = ran.stdout.lines().filter(|line| line.contains("numeric")).collect();
    assert_eq!(grades, ["large  numeric        9  100.0 %       0         0"], "{}", ran.stdout);
    assert!(ran.stdout.contains("9 calls are left; run the same command again to go on"), "{}", ran.stdout);
    project.write("cascade.toml", &config(&server.url));
    let rest = project.run(&COLLECT).expect_code(0);
    assert!(rest.stderr.contains("going on after 9 recorded answers"), "{}", rest.stderr);
}

#[test]
fn a_call_whose_answer_was_lost_and_that_was_asked_again_has_an_answer() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &["", ""]);
    let ask = |id: &str, tier: &str| {
        json!({"ask": {"id": id, "tier": tier, "prompt": "", "reserved_pico_usd": 1000}}).to_string()
    };
    let journal = [
        json!({"job": {"version": 1, "route": "sums"}}).to_string(),
        ask("q0", "small"),
        ask("gone", "small"),
    ];
    project.write("log.jsonl.journal", &(journal.join("\n") + "\n"));
    let ran = project.run(&COLLECT).expect_code(0);
    let text = crate::project::unwrapped(&ran.stdout);
    assert!(text.contains("the answer of the first call was lost: `q0 on small`; may"), "{text}");
    assert!(text.contains("without an answer: `gone on small`; may"), "{text}");
}

#[test]
fn a_cap_that_was_reached_has_to_be_raised() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &[""; 30]);
    let ran = project.run(&[&COLLECT[..], &["--max-spend", "0.0004"]].concat()).expect_code(1);
    let text = crate::project::unwrapped(&ran.stdout);
    assert!(text.contains("raise --max-spend") && !text.contains("run the same"), "{text}");
}

#[test]
fn concurrency_is_limited_per_tier() {
    let server = Server::start(Duration::from_millis(20));
    let project = project(&server, &[""; 8]);
    project.run(&[&COLLECT[..], &["--concurrency", "3", "--tiers", "small"]].concat()).expect_code(0);
    assert_eq!(server.seen().most_in_flight, 3);
}

#[test]
fn a_dry_run_prices_the_job_and_asks_nothing() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &["", ""]);
    let ran = project.run(&[&COLLECT[..], &["--dry-run"]].concat()).expect_code(0);
    assert!(ran.stdout.contains("altogether at most $"), "{}", ran.stdout);
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
    assert_eq!(server.calls(), 0);
    assert!(!project.exists("log.jsonl") && !project.exists("log.jsonl.journal"));
}

#[test]
fn mixed_questions_and_mixed_requests_are_refused() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &["", ""]);
    project.run(&COLLECT).expect_code(0);
    project.write("prompts.jsonl", &prompts(&["", "wrong"]));
    let ran = project.run(&COLLECT).expect_code(2);
    assert!(ran.stderr.contains("`q1` was asked with another text"), "{}", ran.stderr);
    project.write("prompts.jsonl", &prompts(&["", ""]));
    project.write("cascade.toml", &config(&server.url).replace("Add.", "Sum."));
    let ran = project.run(&COLLECT).expect_code(2);
    assert!(ran.stderr.contains("another request"), "{}", ran.stderr);
    assert_eq!(server.calls(), 4);
}

#[test]
fn answers_can_be_graded_again_without_asking() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &["", ""]);
    project.run(&COLLECT).expect_code(0);
    project.write("prompts.jsonl", &prompts(&["", ""]).replace("\"reference\":\"2\"", "\"reference\":\"3\""));
    let ran = project.run(&[&COLLECT[..], &["--regrade"]].concat()).expect_code(0);
    assert!(ran.stdout.starts_with("2 answers are graded differently"), "{}", ran.stdout);
    assert_eq!(rows(&project)[1]["results"]["small"]["quality"], 0.0);
    assert_eq!(server.calls(), 4);
}

#[cfg(unix)]
#[test]
fn an_interrupt_lets_the_calls_in_flight_come_home() {
    let server = Server::start(Duration::from_millis(100));
    let project = project(&server, &[""; 40]);
    let child = project.command(&[&COLLECT[..], &["--format", "json"]].concat()).spawn().unwrap();
    while server.calls() < 3 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let ran = crate::project::Ran::from(child.wait_with_output().unwrap()).expect_code(1);
    let summary = ran.json();
    assert_eq!(summary["interrupted"], true);
    assert_eq!(summary["may_have_been_charged"], json!([]));
    assert_eq!(summary["recorded"], server.calls());
    let recorded: usize = rows(&project).iter().map(|row| row["results"].as_object().unwrap().len()).sum();
    assert_eq!(recorded, server.calls() as usize);
}
