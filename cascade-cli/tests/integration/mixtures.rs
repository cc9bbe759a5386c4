//! A mixture of two cascades, through every command that shows it.

use crate::fit::{CONFIG, log};
use crate::project::{Project, unwrapped};

#[test]
fn a_mixture_is_said_everywhere() {
    let project = Project::new();
    project.write("evals/triage.jsonl", &log(-0.5));
    // Between always small (0.0001) and what half of the answers need.
    project.write("cascade.toml", &CONFIG.replace("max_cost_usd = 0.0009", "max_cost_usd = 0.000333"));
    project.run(&["fit", "triage"]).expect_code(0);
    project.write("before.toml", &project.read("policies/triage.toml"));
    let families = "families = [\"single\", \"pair\"]";
    let config = project.read("cascade.toml").replace(families, &format!("{families}\nmixtures = true"));
    project.write("cascade.toml", &config);
    let fitted = unwrapped(&project.run(&["fit", "triage"]).expect_code(0).stdout);
    assert!(fitted.contains("a mixture: the request's id draws the first plan for "), "{fitted}");
    assert!(fitted.contains("mixture: against the best policy that is none"), "{fitted}");
    let policy = project.read("policies/triage.toml");
    assert!(policy.contains("[mixture]\nshare = 0.") && policy.matches("[[plans]]").count() == 2, "{policy}");
    let written = project.run(&["fit", "triage", "--format", "json"]).expect_code(0).json();
    let gain = written["mixture"]["quality_gain"].as_f64();
    assert!(gain.is_some_and(|gain| gain > 0.0), "{written}");
    project.run(&["fit", "triage", "--check"]).expect_code(0);
    project.run(&["eval", "triage"]).expect_code(0);
    let explained = unwrapped(&project.run(&["explain", "triage", "--row", "r2"]).expect_code(0).stdout);
    assert!(explained.contains("of 2, drawn by the id: plan 1 decides"), "{explained}");
    let explained = unwrapped(&project.run(&["explain", "triage", "a question"]).expect_code(0).stdout);
    assert!(explained.contains("the larger share, because a request without an id"), "{explained}");
    let differs =
        unwrapped(&project.run(&["diff", "before.toml", "policies/triage.toml"]).expect_code(0).stdout);
    assert!(differs.contains("a mixture now, drawn by the request's id: plan 1 decides"), "{differs}");
    let words =
        unwrapped(&project.run(&["diff", "--textconv", "policies/triage.toml"]).expect_code(0).stdout);
    assert!(words.contains("mixture: plan 1 decides"), "{words}");
    project.run(&["report", "triage", "-o", "report.html"]).expect_code(0);
    assert!(project.read("report.html").contains("mixture: small"));
}

#[test]
fn it_is_refused_where_it_cannot_be_kept_or_does_nothing() {
    let project = Project::new();
    project.write("evals/triage.jsonl", &log(-0.5));
    let config = CONFIG.replace("families = [", "mixtures = true\nfamilies = [");
    project.write("cascade.toml", &config.replace("0.0009", "0.0009\nconfidence = 0.9"));
    let refused = project.run(&["fit", "triage"]).expect_code(2).stderr;
    assert!(refused.contains("config::not-together"), "{refused}");
    project.write("cascade.toml", &config.replace("max_cost_usd = 0.0009", "shadow_price = 100.0"));
    let refused = project.run(&["fit", "triage"]).expect_code(2).stderr;
    assert!(refused.contains("config::key-unused"), "{refused}");
}
