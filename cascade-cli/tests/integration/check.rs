//! `cascade check`.

use crate::fit::{CONFIG, log, project};
use crate::project::{Project, unwrapped};
use serde_json::json;

#[test]
fn everything_in_order() {
    let project = project();
    project.run(&["fit", "triage"]).expect_code(0);
    let ran = project.run(&["check"]).expect_code(0);
    insta::assert_snapshot!(ran.stdout);
    assert_eq!(ran.stderr, "");
    let found = project.run(&["check", "--format", "json"]).expect_code(0).json();
    assert_eq!((&found["ok"], &found["findings"]), (&json!(true), &json!([])));
    let signals = found["routes"][0]["outlook"]["tiers"][0]["signals"].as_array().unwrap();
    assert_eq!(signals.len(), 6);
    // 100 input and 10 output tokens on each tier: 0.00012 + 0.0012 dollars a row.
    assert_eq!(found["routes"][0]["outlook"]["collecting"][0]["most_usd"], json!(1.32));
}

#[test]
fn mistakes_are_an_answer_and_all_are_told() {
    let project = project();
    project
        .write("cascade.toml", &CONFIG.replace("max_cost_usd", "max_cots_usd").replace("api = ", "apo = "));
    let ran = project.run(&["check"]).expect_code(1);
    assert!(ran.stderr.contains("max_cots_usd") && ran.stderr.contains("apo"), "{}", ran.stderr);
    let found = project.run(&["check", "--format", "json"]).expect_code(1).json();
    assert_eq!(found["ok"], false);
    assert!(found["findings"].as_array().unwrap().len() >= 2);
    assert_eq!(Project::new().run(&["check"]).code, Some(2));
}

#[test]
fn a_missing_policy_is_an_error_and_a_changed_log_a_warning() {
    let project = project();
    let ran = project.run(&["check"]).expect_code(1);
    assert!(ran.stderr.contains("policy::missing"), "{}", ran.stderr);
    project.run(&["fit", "triage"]).expect_code(0);
    project.write("evals/b.jsonl", &log(-0.6).replace("\"id\":\"r", "\"id\":\"more"));
    let ran = project.run(&["check"]).expect_code(0);
    assert!(ran.stderr.contains("policy::log-changed"), "{}", ran.stderr);
    project.run(&["check", "--strict"]).expect_code(1);
    let output = project.command(&["check"]).env("CASCADE_STRICT", "1").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_an_api_cannot_give_limits_the_families() {
    let project = project();
    let config = CONFIG
        .replace(
            "api = \"openai\"\nbase_url = \"http://127.0.0.1:9/v1\"",
            "api = \"anthropic\"\napi_key_env = \"KEY\"",
        )
        .replace("top_logprobs = 2", "temperature = 0.0");
    project.write("cascade.toml", &config);
    let found = project.run(&["check", "--format", "json"]).json();
    let families = found["routes"][0]["outlook"]["families"].as_array().unwrap();
    let pair = families.iter().find(|family| family["family"] == "pair").unwrap();
    assert_eq!(pair["possible"], false, "{found}");
    assert_eq!(found["routes"][0]["outlook"]["tiers"][0]["signals"], json!([]));
}

#[test]
fn a_signal_that_no_client_could_have_is_told_by_fit_and_check() {
    // The log has `mean_logprob`, but the requests of this route would not ask for log-probabilities.
    let project = project();
    let config = CONFIG.replace("top_logprobs = 2", "temperature = 0.0");
    project.write("cascade.toml", &config);
    let ran = project.run(&["fit", "triage"]).expect_code(0);
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let told =
        "reads the signal `mean_logprob` of the tier `small`, but requests do not ask for log-probabilities";
    assert!(words(&ran.stdout).contains(told), "{}", ran.stdout);
    assert!(
        words(&ran.stdout).contains("set `top_logprobs` under [routes.triage.request]"),
        "{}",
        ran.stdout
    );
    // A warning: one line mends it, and what is replayed needs no log-probabilities.
    let ran = project.run(&["check"]).expect_code(0);
    assert!(
        ran.stderr.contains("warning[policy::signal-unavailable]") && words(&ran.stderr).contains(told),
        "{}",
        ran.stderr
    );
    project.run(&["check", "--strict"]).expect_code(1);

    // An api that returns none: the fit leaves the signal out, and what it writes can be applied.
    let config = config.replace(
        "api = \"openai\"\nbase_url = \"http://127.0.0.1:9/v1\"",
        "api = \"anthropic\"\napi_key_env = \"KEY\"",
    );
    project.write("cascade.toml", &config);
    let ran = project.run(&["fit", "triage"]).expect_code(0);
    assert!(
        words(&ran.stdout).contains("whose api `anthropic` returns no log-probabilities"),
        "{}",
        ran.stdout
    );
    assert!(!project.read("policies/triage.toml").contains("mean_logprob"));
    project.run(&["check"]).expect_code(0);

    // A score of the application's own, which nothing computes; then its provider returns it.
    let log = project.read("evals/a.jsonl").replace("mean_logprob", "my_score");
    project.write("evals/a.jsonl", &log);
    project.write("cascade.toml", CONFIG);
    project.run(&["fit", "triage"]).expect_code(0);
    let ran = project.run(&["check"]).expect_code(0);
    assert!(
        words(&ran.stderr).contains("`my_score` of the tier `small`, which nobody computes"),
        "{}",
        ran.stderr
    );
    let own = CONFIG.replace("api = \"openai\"\n", "api = \"openai\"\nsignals = [\"my_score\"]\n");
    project.write("cascade.toml", &own);
    let ran = project.run(&["check"]).expect_code(0);
    assert!(!unwrapped(&ran.stderr).contains("signal-unavailable"), "{}", ran.stderr);
}

#[test]
fn policies_that_a_client_reads_at_run_time_are_held_to_the_same() {
    let project = project();
    let runtime = "\n[routes.triage.runtime]\npolicy_file = \"live/triage.toml\"\ncanary = { policy = \"live/canary.toml\", share = 0.1 }\n";
    project.write("cascade.toml", &format!("{CONFIG}{runtime}"));
    project.run(&["fit", "triage"]).expect_code(0);
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    // They are rolled out later.
    let ran = project.run(&["check"]).expect_code(0);
    assert!(!ran.stdout.contains("canary:"), "{}", ran.stdout);
    let policy = project.read("policies/triage.toml");
    project.write("live/canary.toml", &policy);
    project.write("live/triage.toml", &policy.replace("mean_logprob", "my_score"));
    let ran = project.run(&["check"]).expect_code(0);
    assert!(ran.stdout.contains("  canary: fresh: pair fitted on"), "{}", ran.stdout);
    let told = "reads the signal `my_score` of the tier `small`, which nobody computes";
    assert!(words(&ran.stderr).contains(told), "{}", ran.stderr);
    assert!(unwrapped(&ran.stderr).contains("`policy_file`, live/triage.toml: the policy"), "{}", ran.stderr);
    let found = project.run(&["check", "--format", "json"]).expect_code(0).json();
    let states = &found["routes"][0]["runtime_policies"];
    assert!(states["policy_file"].as_str().unwrap().starts_with("fresh: pair"), "{found}");
    // One of another configuration, and one that is no policy.
    project.write("live/canary.toml", &policy.replace("route = \"triage\"", "route = \"other\""));
    project.write("live/triage.toml", "schema = 1\n");
    let found = project.run(&["check", "--format", "json"]).expect_code(1).json();
    let states = &found["routes"][0]["runtime_policies"];
    assert_eq!(states["policy_file"], "cannot be used");
    let files: Vec<_> = found["findings"].as_array().unwrap().iter().map(ToString::to_string).collect();
    for file in ["live/canary.toml", "live/triage.toml"] {
        assert!(files.iter().any(|one| one.contains(file)), "{file}: {files:?}");
    }
}

#[test]
fn what_is_odd_about_a_log_is_told() {
    let project = project();
    let declared = "\n[routes.triage.signals.agreement]\nkind = \"schema_valid\"\ntiers = [\"small\"]\n\
                    schema = \"{\\\"type\\\":\\\"object\\\"}\"\n";
    project.write("cascade.toml", &(CONFIG.to_owned() + declared));
    let row = |row: i32| {
        let failed = row < 2;
        let small = if failed {
            json!({"quality": 0, "cost_usd": 0.0001, "signals": {}, "error": "timeout"})
        } else {
            json!({"quality": 1, "cost_usd": 0.0001, "signals": {}, "graded_by": "numeric"})
        };
        let text = if row % 2 == 0 { "```json\n{\"secret\": 1}\n```" } else { "{}" };
        json!({"id": format!("r{row:02}"), "input": format!("question {row}"), "results": {
            "small": small,
            "large": {"quality": 0, "cost_usd": 0.001, "signals": {}, "output": text, "graded_by": "json_schema"}}})
        .to_string()
    };
    let rows = |fenced: &str| (0..20).map(row).collect::<Vec<_>>().join("\n").replace("```json", fenced);
    project.write("evals/a.jsonl", &rows("```json"));
    project.write("evals/a.jsonl.journal", "");
    let told = |project: &Project| {
        let found = project.run(&["check", "--format", "json"]).json();
        let advice = found["routes"][0]["doctor"].as_array().unwrap().clone();
        advice.iter().map(|advice| advice["text"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let begins = [
        "`evals/a.jsonl.journal` is that of a job that is at work or was interrupted",
        "2 results of `small` failed (`timeout`) and count as quality 0; `cascade collect triage --prompts FILE --retry",
        "signal `agreement` of tier `small` is in 0 of 18 answers; `cascade collect triage",
        "`large` is never right on 20 rows graded json_schema; in 10 of them a code fence (```) stands around",
    ];
    let texts = told(&project);
    for (text, begin) in texts.iter().zip(begins) {
        assert!(text.starts_with(begin), "{texts:#?}");
    }
    // Without a fence the reason is for people to find: a row is named, and no answer shown.
    project.write("evals/a.jsonl", &rows("```json ").replace("\\n```", ""));
    let texts = told(&project);
    assert!(texts[3].contains("The first is that of row `r00`"), "{texts:#?}");
    assert!(!texts.concat().contains("secret"), "{texts:#?}");
    let ran = project.run(&["fit", "triage"]);
    assert!(
        unwrapped(&ran.stderr).contains("note: `evals/a.jsonl.journal` is that of a job"),
        "{}",
        ran.stderr
    );
}
