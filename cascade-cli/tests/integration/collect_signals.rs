//! Signals that take more than the answer, while collecting.

use crate::collect::{CALL_USD, COLLECT, config, prompts, rows};
use crate::project::{Project, unwrapped};
use crate::server::Server;
use serde_json::{Value, json};
use std::time::Duration;

pub(crate) const JUDGE: &str = "
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

/// A signal of a row as the log has it: `None` where it is not there, null where it could not be had.
fn signal(project: &Project, row: usize, tier: &str, name: &str) -> Option<Value> {
    rows(project)[row]["results"][tier]["signals"].get(name).cloned()
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
fn the_cap_is_never_exceeded_by_verdicts_and_covers_interrupted_runs() {
    let server = Server::start(Duration::from_millis(5));
    let project = project(&server, &[""; 20], JUDGE);
    let dry = collect(&project, &["--tiers", "small", "--dry-run"]);
    let verdict = dry["signals"][0]["most_usd"].as_f64().unwrap() / 20.0;
    // All answers, and verdicts as long as the next one can be paid whatever it comes to.
    let cap = format!("{:.9}", 40.0 * CALL_USD + verdict + 6.5 * CALL_USD);
    let capped = [&COLLECT[..], &["--format", "json", "--max-spend", &cap]].concat();
    let first = project.run(&capped).expect_code(1).json();
    let scored = first["scored"].as_u64().unwrap();
    assert_eq!(
        (&first["recorded"], scored + first["unscored"].as_u64().unwrap()),
        (&json!(40), 20),
        "{first}"
    );
    assert!((1..20).contains(&scored), "{first}");
    assert_eq!(first["stopped"], json!([{"tier": "verdict of small", "reason": "max_spend"}]));
    let spent = first["spent_usd"].as_f64().unwrap();
    assert!(
        spent <= cap.parse().unwrap() && (f64::from(server.calls()) * CALL_USD - spent).abs() < 1e-12,
        "{first}"
    );
    let calls = server.calls();
    let again = project.run(&capped).expect_code(1).json();
    assert_eq!(
        (&again["spent_usd"], server.calls()),
        (&first["spent_usd"], calls),
        "nothing is left of the cap"
    );
    let rest = collect(&project, &["--max-spend", "1"]);
    assert!((rest["spent_usd"].as_f64().unwrap() - 60.0 * CALL_USD).abs() < 1e-12, "{rest}");
    assert_eq!(server.calls(), 60);
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
        "read line\ncase \"$line\" in *wrong*) echo null;; *'\"answer\":\"It is'*) echo -0.5;; *) echo 7;; esac\n",
    );
    let verify = ["--verifier", "short=sh verify.sh"];
    let summary = collect(&project, &verify);
    assert_eq!((&summary["scored"], &summary["signals_without_value"]), (&json!(2), &json!(2)), "{summary}");
    let short = |row: usize| signal(&project, row, "small", "short");
    assert_eq!(short(0), Some(json!(-0.5)), "any number will do");
    // A verifier that cannot tell leaves a null, which escalates, and is not asked again.
    assert_eq!(short(1), Some(Value::Null));
    assert!(rows(&project)[0]["results"]["small"]["signal_cost_usd"].is_null());
    project.write("verify.sh", "echo 1\n");
    collect(&project, &verify);
    assert_eq!(short(1), Some(Value::Null));
    collect(&project, &[&verify[..], &["--retry-failed"]].concat());
    assert_eq!((short(0), short(1)), (Some(json!(-0.5)), Some(json!(1.0))));
}

#[cfg(unix)]
#[test]
fn a_verifier_that_breaks_is_said_and_runs_again_next_time() {
    let server = Server::start(Duration::ZERO);
    let project =
        project(&server, &["", "wrong", "slow"], &VERIFIER.replace("= 5", "= 0.5\ntiers = [\"small\"]"));
    project.write(
        "verify.sh",
        "read line\ncase \"$line\" in *wrong*) exit 3;; *slow*) sleep 30;; *) echo 1;; esac\n",
    );
    let verify = [&COLLECT[..], &["--verifier", "short=sh verify.sh"]].concat();
    let json = [&verify[..], &["--format", "json"]].concat();
    let ran = project.run(&json).expect_code(1);
    let summary = ran.json();
    assert_eq!((&summary["complete"], &summary["unscored"]), (&json!(false), &json!(1)), "{summary}");
    assert_eq!((&summary["scored"], &summary["signals_without_value"]), (&json!(1), &json!(1)), "{summary}");
    for said in [
        "`short of small` has no value for `q1`: it ended with exit status: 3",
        "for `q2`: the verifier took too long",
    ] {
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
    assert!(!ran.stderr.contains("It is"), "answers are not shown: {}", ran.stderr);
    let short = |row: usize| signal(&project, row, "small", "short");
    // Too slow a verifier is too slow in the client as well.
    assert_eq!((short(0), short(1), short(2)), (Some(json!(1.0)), None, Some(Value::Null)));
    let told = unwrapped(&project.run(&verify).expect_code(1).stdout);
    assert!(told.contains("1 signals of answers are missing yet"), "{told}");
    project.write("verify.sh", "echo 2\n");
    let summary = project.run(&json).expect_code(0).json();
    assert_eq!((&summary["scored"], &summary["unscored"]), (&json!(1), &json!(0)), "{summary}");
    assert_eq!((short(0), short(1), short(2)), (Some(json!(1.0)), Some(json!(2.0)), Some(Value::Null)));
    assert_eq!(server.calls(), 6);
}

#[cfg(unix)]
#[test]
fn a_verifier_that_never_runs_is_given_up() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &[""; 20], VERIFIER);
    let none = [&COLLECT[..], &["--verifier", "short=./no-such-program", "--concurrency", "1"]].concat();
    let ran = project.run(&none).expect_code(1);
    let told = unwrapped(&ran.stdout);
    assert!(told.contains("short of small: stopped, 5 calls in a row failed"), "{told}");
    assert_eq!(ran.stderr.matches("[collect::signal]").count(), 5, "{}", ran.stderr);
    for told in [&ran.stdout, &ran.stderr] {
        assert!(!told.contains("signal:"), "{told}");
    }
    let empty = project.run(&[&COLLECT[..], &["--verifier", "short="]].concat()).expect_code(2).stderr;
    assert!(
        empty.contains("--verifier short= is empty") && empty.contains("--verifier short='python3"),
        "{empty}"
    );
}

#[cfg(unix)]
#[test]
fn a_signal_is_replaced_as_a_whole_whatever_interrupts_it() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &["", "wrong", ""], VERIFIER);
    let verify = ["--verifier", "short=sh verify.sh"];
    let again = |more: &[&str], code: i32| {
        let arguments = [&COLLECT[..], &["--format", "json"], &verify, more].concat();
        project.run(&arguments).expect_code(code).json()
    };
    let small = || (0..3).map(|row| signal(&project, row, "small", "short").unwrap()).collect::<Vec<_>>();
    project.write("verify.sh", "if grep -q wrong; then echo null; else echo 1; fi\n");
    again(&[], 0);
    assert_eq!(small(), [json!(1.0), json!(null), json!(1.0)]);
    let before = rows(&project);
    project.write("verify.sh", "if grep -q 2+1; then exit 3; else echo 2; fi\n");
    let summary = again(&["--replace-signal", "short"], 1);
    assert_eq!((&summary["scored"], &summary["unscored"]), (&json!(4), &json!(2)), "{summary}");
    assert_eq!(summary["being_replaced"], json!(["short of large", "short of small"]));
    assert_eq!(rows(&project), before, "the log never mixes two signals of one name");
    let refused = project.run(&[&COLLECT[..], &["--regrade"]].concat()).expect_code(2).stderr;
    assert!(refused.contains("collect::unfinished"), "{refused}");
    // Whatever the next run is about, what was begun is not forgotten.
    project.write("verify.sh", "echo 3\n");
    let of_large = again(&["--tiers", "large"], 0);
    assert_eq!((&of_large["scored"], &of_large["being_replaced"]), (&json!(1), &json!(["short of small"])));
    assert_eq!(small(), [json!(1.0), json!(null), json!(1.0)]);
    assert_eq!(signal(&project, 2, "large", "short"), Some(json!(3.0)));
    let rest = again(&[], 0);
    assert_eq!((&rest["scored"], &rest["being_replaced"]), (&json!(1), &json!([])), "{rest}");
    assert_eq!(small(), [json!(2.0), json!(2.0), json!(3.0)], "it went on where it stopped");
    assert!(!project.exists("log.jsonl.journal"));
}

#[cfg(unix)]
#[test]
fn what_a_run_of_other_tiers_finds_computed_is_kept() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &["", ""], JUDGE);
    project.write("prompts.jsonl", &prompts(&["", ""]).replace("\"numeric\"", "\"command\""));
    project.write("broken.sh", "exit 1\n");
    project.write("good.sh", "echo 1\n");
    let broken = [&COLLECT[..], &["--grader-command", "sh broken.sh"]].concat();
    project.run(&broken).expect_code(1);
    assert_eq!(server.calls(), 4 + 2);
    let large = [&COLLECT[..], &["--grader-command", "sh good.sh", "--tiers", "large"]].concat();
    project.run(&large).expect_code(0);
    assert_eq!(signal(&project, 1, "small", "verdict"), Some(json!(0.9)));
    project.run(&[&COLLECT[..], &["--grader-command", "sh good.sh"]].concat()).expect_code(0);
    assert_eq!(server.calls(), 4 + 2, "what was paid for is not asked for again");
}
