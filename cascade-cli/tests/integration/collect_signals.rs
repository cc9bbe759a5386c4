//! Signals that take more than the answer, while collecting.

use crate::collect::{CALL_USD, COLLECT, config, prompts, rows};
use crate::project::Project;
use crate::server::Server;
use serde_json::{Value, json};
use std::time::Duration;

const JUDGE: &str = "
[routes.sums.signals.verdict]
kind = \"judge\"
tiers = [\"small\"]
tier = \"large\"
rubric = \"The right sum.\"
";

const AGREEMENT: &str = "
[routes.sums.signals.agreement]
kind = \"self_consistency\"
tiers = [\"small\"]
samples = 3
temperature = 0.7
";

const VERIFIER: &str = "
[routes.sums.signals.short]
kind = \"verifier\"
timeout_s = 5
";

fn project(server: &Server, words: &[&str], signals: &str) -> Project {
    let project = Project::new();
    project.write("cascade.toml", &(config(&server.url) + signals));
    project.write("prompts.jsonl", &prompts(words));
    project
}

fn collect(project: &Project, more: &[&str]) -> Value {
    project.run(&[&COLLECT[..], &["--format", "json"], more].concat()).expect_code(0).json()
}

#[test]
fn judges_and_samples_are_asked_and_their_cost_stands_in_the_log() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &["", "wrong", "unsure"], &format!("{JUDGE}{AGREEMENT}"));
    let summary = collect(&project, &[]);
    assert_eq!((&summary["complete"], &summary["unscored"]), (&json!(true), &json!(0)), "{summary}");
    assert_eq!((&summary["recorded"], &summary["scored"]), (&json!(6), &json!(6)), "{summary}");
    // Six answers, three verdicts, and two more samples of three answers.
    assert_eq!(server.calls(), 6 + 3 + 6);
    assert!((summary["spent_usd"].as_f64().unwrap() - 15.0 * CALL_USD).abs() < 1e-12, "{summary}");
    assert!((summary["signals_usd"].as_f64().unwrap() - 9.0 * CALL_USD).abs() < 1e-12, "{summary}");
    assert!(!project.exists("log.jsonl.journal"));
    let rows = rows(&project);
    let signal = |row: usize, tier: &str, name: &str| rows[row]["results"][tier]["signals"][name].clone();
    assert_eq!((signal(0, "small", "verdict"), signal(1, "small", "verdict")), (json!(0.9), json!(0.2)));
    assert_eq!((signal(0, "small", "agreement"), signal(1, "small", "agreement")), (json!(1.0), json!(1.0)));
    // Of two further samples one differs.
    assert_eq!(signal(2, "small", "agreement"), json!(2.0 / 3.0));
    assert!(signal(0, "large", "verdict").is_null() && signal(0, "large", "mean_logprob").is_number());
    let costs = &rows[0]["results"]["small"]["signal_cost_usd"];
    assert_eq!(costs, &json!({"agreement": 0.000_028, "verdict": 0.000_014}));
    assert_eq!(rows[0]["results"]["small"]["cost_usd"], json!(0.000_014), "the answer's own cost");
    // What is there is not asked for again.
    collect(&project, &[]);
    assert_eq!(server.calls(), 15);
}

#[test]
fn recorded_answers_get_the_signals_that_they_lack_and_changed_ones_on_request() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &["", "wrong"], "");
    collect(&project, &[]);
    let before = rows(&project);
    project.write("cascade.toml", &(config(&server.url) + JUDGE));
    let dry = collect(&project, &["--dry-run"]);
    assert_eq!(
        (&dry["signals"][0]["signal"], &dry["signals"][0]["calls"]),
        (&json!("verdict of small"), &json!(2))
    );
    collect(&project, &[]);
    assert_eq!(server.calls(), 4 + 2, "no answer is asked for again");
    let after = rows(&project);
    assert_eq!(after[1]["results"]["small"]["signals"]["verdict"], json!(0.2));
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before["results"]["large"], after["results"]["large"]);
        assert_eq!(before["results"]["small"]["output"], after["results"]["small"]["output"]);
    }
    collect(&project, &["--replace-signal", "verdict"]);
    assert_eq!(server.calls(), 4 + 4);
}

#[test]
fn the_cap_holds_for_signals_and_what_is_missing_is_computed_later() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &["", ""], "");
    collect(&project, &[]);
    project.write("cascade.toml", &(config(&server.url) + JUDGE));
    let ran = project.run(&[&COLLECT[..], &["--format", "json", "--max-spend", "0.0001"]].concat());
    let summary = ran.expect_code(1).json();
    assert_eq!(
        (&summary["unscored"], &summary["stopped"][0]["reason"]),
        (&json!(2), &json!("max_spend")),
        "{summary}"
    );
    assert_eq!(server.calls(), 4);
    assert_eq!(collect(&project, &[])["unscored"], 0);
    assert_eq!(server.calls(), 6);
}

#[test]
fn a_program_stands_in_for_the_application_s_verifier() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &["", "wrong"], VERIFIER);
    let refused = project.run(&COLLECT).expect_code(2);
    assert!(refused.stderr.contains("collect::verifier"), "{}", refused.stderr);
    assert_eq!(server.calls(), 0, "nothing is paid before all is there");
    let of_small = config(&server.url) + VERIFIER + "tiers = [\"small\"]\n";
    project.write("cascade.toml", &of_small);
    collect(&project, &["--tiers", "large"]);
    project.write("cascade.toml", &(config(&server.url) + VERIFIER));
    project.write(
        "verify.sh",
        "read line\ncase \"$line\" in *wrong*) exit 3;; *'\"answer\":\"It is'*) echo -0.5;; *) echo 7;; esac\n",
    );
    collect(&project, &["--verifier", "short=sh verify.sh"]);
    let rows = rows(&project);
    let signals = |row: usize| rows[row]["results"]["small"]["signals"]["short"].clone();
    assert_eq!(signals(0), json!(-0.5), "any number will do");
    // A verifier that cannot tell leaves a null, which escalates, and is not asked again.
    assert!(signals(1).is_null() && rows[1]["results"]["small"]["signals"].get("short").is_some());
    assert!(rows[0]["results"]["small"]["signal_cost_usd"].is_null());
    project.write("verify.sh", "echo 1\n");
    collect(&project, &["--verifier", "short=sh verify.sh"]);
    assert!(crate::collect::rows(&project)[1]["results"]["small"]["signals"]["short"].is_null());
    collect(&project, &["--verifier", "short=sh verify.sh", "--retry-failed"]);
    assert_eq!(crate::collect::rows(&project)[1]["results"]["small"]["signals"]["short"], json!(1.0));
}
