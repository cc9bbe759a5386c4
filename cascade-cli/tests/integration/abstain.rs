//! A policy that may answer "don't know", through every command that shows it.

use crate::fit::CONFIG;
use crate::project::{Project, unwrapped};
use serde_json::json;

/// Below −0.7 both models are wrong, up to −0.5 only the large one is right.
fn log() -> String {
    let row = |row: i32| {
        let signal = -f64::from((row * 37) % 100) / 100.0;
        let right = |from: f64| f64::from(u8::from(signal > from));
        json!({"id": format!("r{row:03}"), "input": format!("question {row}"), "results": {
            "small": {"quality": right(-0.5), "cost_usd": 0.0001, "signals": {"mean_logprob": signal}},
            "large": {"quality": right(-0.7), "cost_usd": 0.001, "signals": {}}}})
        .to_string()
    };
    (0..400).map(row).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_given_up_is_said_everywhere() {
    let project = Project::new();
    project.write("evals/triage.jsonl", &log());
    project.write("cascade.toml", &CONFIG.replace("max_cost_usd = 0.0009", "max_cost_usd = 0.0004"));
    project.run(&["fit", "triage"]).expect_code(0);
    project.write("before.toml", &project.read("policies/triage.toml"));
    let families = "families = [\"single\", \"pair\"]";
    let config = project.read("cascade.toml").replace(families, &format!("{families}\nabstain_loss = 0.75"));
    project.write("cascade.toml", &config);

    let fitted = unwrapped(&project.run(&["fit", "triage"]).expect_code(0).stdout);
    assert!(fitted.contains("small (abstains if mean_logprob < -0.69"), "{fitted}");
    assert!(fitted.contains("abstains: ") && fitted.contains("quality where it answers: 100.0"), "{fitted}");
    assert!(fitted.contains("which counts as a quality of 0.25"), "{fitted}");
    let policy = project.read("policies/triage.toml");
    assert!(policy.contains("abstain_below = -0.69") && policy.contains("[abstention]\nquality = 0.25"));
    project.run(&["fit", "triage", "--check"]).expect_code(0);

    let evaluated = project.run(&["eval", "triage", "--format", "json"]).expect_code(0).json();
    let figures = &evaluated["figures"];
    let (abstained, answered) =
        (figures["abstained"].as_f64().unwrap(), figures["quality_answered"].as_f64());
    assert!((0.2..0.4).contains(&abstained) && answered == Some(1.0), "{figures}");
    let shares: f64 =
        figures["share"].as_object().unwrap().values().filter_map(serde_json::Value::as_f64).sum();
    assert!((shares + abstained - 1.0).abs() < 1e-9);
    assert!(project.run(&["eval", "triage"]).stdout.contains("\nabstained %  "));

    // Signal −0.74: row 2.
    let explained = project.run(&["explain", "triage", "--row", "r002"]).expect_code(0).stdout;
    let explained = unwrapped(&explained);
    assert!(explained.contains("abstained: score -0.7400 is below -0.69"), "{explained}");
    assert!(explained.contains("answered by nobody, the policy abstains: quality 0.25"), "{explained}");
    let explained = project.run(&["explain", "triage", "--row", "r002", "--format", "json"]).json();
    assert_eq!(
        (&explained["outcome"]["abstained"], &explained["outcome"]["answered_by"]),
        (&json!(true), &json!(null))
    );

    let differs = project.run(&["diff", "before.toml", "policies/triage.toml"]).expect_code(0).stdout;
    let differs = unwrapped(&differs);
    assert!(differs.contains("small abstains if mean_logprob < -0.69"), "{differs}");
    assert!(differs.contains("it may abstain now: an abstention counts as a quality of 0.25"), "{differs}");
    assert!(differs.contains("abstained %") && differs.contains("nobody (abstains)"), "{differs}");
    let words = project.run(&["diff", "--textconv", "policies/triage.toml"]).expect_code(0).stdout;
    assert!(words.contains("plan: small abstains if mean_logprob < -0.69"), "{words}");

    project.run(&["report", "triage", "-o", "report.html"]).expect_code(0);
    let page = project.read("report.html");
    assert!(page.contains("nobody (abstains)") && page.contains(", abstains "), "shares and the plan");
}

#[test]
fn certificates_are_refused_beside_it() {
    let project = Project::new();
    project.write("evals/triage.jsonl", &log());
    let config = CONFIG.replace("max_cost_usd = 0.0009", "max_cost_usd = 0.0009\nconfidence = 0.9");
    project.write("cascade.toml", &config.replace("families = [", "abstain_loss = 0.5\nfamilies = ["));
    let refused = project.run(&["fit", "triage"]).expect_code(2).stderr;
    assert!(refused.contains("config::not-together"), "{refused}");
}
