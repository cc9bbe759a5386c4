//! Fitted early escalation, from the log that `collect` writes to what `fit`, `explain`, `diff` and `eval` say.

use crate::collect::{self, COLLECT, rows};
use crate::project::{Project, unwrapped};
use crate::server::Server;
use serde_json::{Value, json};
use std::time::Duration;

const FITTED: &str = "\n[routes.answer.runtime]\nearly_escalation = \"fitted\"\n";

const CONFIG: &str = r#"schema = 1

[providers.local]
api = "openai"
base_url = "http://127.0.0.1:9/v1"

[tiers.small]
provider = "local"
model = "s"
price = { input = 0.1, output = 1.0 }
max_output_tokens = 100

[tiers.large]
provider = "local"
model = "l"
price = { input = 1.0, output = 4.0 }
max_output_tokens = 100

[routes.answer]
tiers = ["small", "large"]
log = ["log.jsonl"]

[routes.answer.objective]
shadow_price = 3000.0

[routes.answer.request]
top_logprobs = 2

[routes.answer.fit]
families = ["single", "pair"]
"#;

/// Answers of 40 tokens; half of them are wrong, and unlikely from the first token on.
fn log() -> String {
    let row = |row: usize| {
        let right = row * 37 % 100 < 50;
        let token = |at: usize| {
            let wobble = ((row * 31 + at * 17) % 23) as f64 / 23.0;
            json!(-(if right { 0.1 } else { 0.8 }) * (0.5 + wobble))
        };
        let tokens: Vec<Value> = (0..40).map(token).collect();
        let small = json!({"quality": u8::from(right), "input_tokens": 20, "output_tokens": 41, "token_logprobs": tokens});
        let large = json!({"quality": 1, "input_tokens": 20, "output_tokens": 30});
        json!({"id": format!("r{row:03}"), "input": format!("question {row}"),
            "results": {"small": small, "large": large}})
        .to_string()
    };
    (0..500).map(row).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_given_up_is_said_by_every_command() {
    let project = Project::new();
    project.write("log.jsonl", &log());
    project.write("cascade.toml", CONFIG);
    project.run(&["fit", "answer"]).expect_code(0);
    project.write("before.toml", &project.read("policies/answer.toml"));
    project.write("cascade.toml", &format!("{CONFIG}{FITTED}"));
    let fit = project.run(&["fit", "answer"]).expect_code(0);
    let said = "early: answers of small are given up once they cannot be kept, or are below";
    assert!(
        fit.stdout.contains(said) && fit.stdout.contains("held out, against whole answers"),
        "{}",
        fit.stdout
    );
    let report = project.run(&["fit", "answer", "--format", "json"]).expect_code(0).json();
    let early = &report["early_escalation"];
    let [spared, saved, changed] =
        ["tokens_spared", "cost_saving", "quality_change"].map(|key| early["fitted"][key].as_f64().unwrap());
    assert!(spared > 0.3 && saved > 0.05 && changed == 0.0, "{early}");
    assert!(
        early["bounds"]["tokens_spared"].as_f64().unwrap() < spared && !early["stages"][0]["below"].is_null()
    );
    // `eval` on the same rows gives the promised figures.
    let eval = project.run(&["eval", "answer", "--split", "test", "--format", "json"]).expect_code(0).json();
    let family =
        report["families"].as_array().unwrap().iter().find(|family| family["family"] == "pair").unwrap();
    assert_eq!(eval["figures"]["cost_usd"], family["held_out"]["cost_usd"]);
    // Row 100 · 37 % 100 < 50 is right, row 2 · 37 % 100 = 74 is not.
    let wrong = unwrapped(&project.run(&["explain", "answer", "--row", "r002"]).expect_code(0).stdout);
    assert!(wrong.contains("escalated: the score of its first"), "{wrong}");
    let json = project.run(&["explain", "answer", "--row", "r002", "--format", "json"]).expect_code(0).json();
    assert!(json["stages"][0]["given_up_after"].as_u64().unwrap() < 40, "{json}");
    let right = project.run(&["explain", "answer", "--row", "r100"]).expect_code(0).stdout;
    assert!(right.contains("kept: the score is"), "{right}");
    let diff = unwrapped(&project.run(&["diff", "before.toml", "policies/answer.toml"]).stdout);
    assert!(diff.contains("answers of small are given up early now"), "{diff}");
}

#[test]
fn collect_keeps_what_a_fitted_rule_needs() {
    let server = Server::start(Duration::ZERO);
    let project = collect::project(&server, &[""]);
    let config = project.read("cascade.toml") + &FITTED.replace("answer", "sums");
    project.write("cascade.toml", &config);
    project.run(&COLLECT).expect_code(0);
    let tokens = rows(&project)[0]["results"]["small"]["token_logprobs"].clone();
    assert_eq!(tokens[0]["logprob"], -0.25);
    assert!(tokens[0]["top_logprobs"].as_array().unwrap().len() == 2, "{tokens}");
}
