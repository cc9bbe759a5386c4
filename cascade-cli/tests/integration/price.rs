//! `cascade price`, and what `cascade check` says of prices, models and promises.

use crate::fit::{CONFIG, log, project};
use crate::project::{Project, Ran, unwrapped};

/// 2026-12-01T00:00:00Z.
const TODAY: &str = "1796083200";

fn run(project: &Project, arguments: &[&str]) -> Ran {
    project.command(arguments).env("SOURCE_DATE_EPOCH", TODAY).output().unwrap().into()
}

fn with_tier_lines(lines: &str) -> Project {
    let project = project();
    project.write("cascade.toml", &CONFIG.replace("model = \"l\"\n", &format!("model = \"l\"\n{lines}")));
    project
}

#[test]
fn old_prices_and_models_that_retire_are_told() {
    let project = with_tier_lines("price_as_of = \"2026-11-01\"\nretires = \"2027-01-01\"\n");
    project.run(&["fit", "triage"]).expect_code(0);
    let ran = run(&project, &["check"]).expect_code(0);
    assert!(
        ran.stderr.contains("price::retires") && ran.stderr.contains("retires in 31 days"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("price::old"), "{}", ran.stderr);
    let ran = run(&project, &["check", "--max-price-age", "29"]).expect_code(0);
    assert!(unwrapped(&ran.stderr).contains("was compared 30 days ago, on 2026-11-01"), "{}", ran.stderr);
    assert!(ran.stderr.contains("nothing says how old the price of tier `small` is"), "{}", ran.stderr);
    run(&project, &["check", "--max-price-age", "29", "--strict"]).expect_code(1);
    let late = with_tier_lines("retires = \"2026-11-30\"\n");
    let ran = run(&late, &["price", "triage"]).expect_code(1);
    assert!(ran.stderr.contains("price::retired"), "{}", ran.stderr);
}

#[test]
fn new_prices_are_tried_on_the_log_without_asking_again() {
    let project = project();
    // Calls of 100 input and no output tokens cost what the log states at the prices it was made with.
    let rows = log(-0.6)
        .replace("\"cost_usd\":0.0001,", "\"cost_usd\":0.0001,\"input_tokens\":100,\"output_tokens\":0,");
    let rows =
        rows.replace("\"cost_usd\":0.001,", "\"cost_usd\":0.001,\"input_tokens\":100,\"output_tokens\":0,");
    project.write("evals/a.jsonl", &rows);
    project.run(&["fit", "triage"]).expect_code(0);
    project
        .write("cascade.toml", &CONFIG.replace("input = 10.0, output = 20.0", "input = 5.0, output = 20.0"));
    let ran = run(&project, &["price", "triage", "--refit"]).expect_code(0);
    insta::assert_snapshot!(ran.stdout);
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
    let json = run(&project, &["price", "triage", "--refit", "--format", "json"]).expect_code(0).json();
    assert_eq!(json["tiers"][1]["logged_cost_usd"], 0.001);
    assert_eq!(json["tiers"][1]["cost_usd"], 0.0005);
    assert_eq!(json["refit"]["differ"], true);
    let before = project.read("policies/triage.toml");
    assert!(before.contains("max_cost_usd = 0.0009"), "nothing was written");
    // What is stale says which fit follows the price, and every command goes on with it.
    let stale = run(&project, &["fit", "triage", "--check"]).expect_code(1);
    assert!(stale.stderr.contains("policy"), "{}", stale.stderr);
    let stale = run(&project, &["check"]).expect_code(1);
    assert!(stale.stderr.contains("if a price has changed, with `--reprice`"), "{}", stale.stderr);
    run(&project, &["fit", "triage", "--reprice"]).expect_code(0);
    assert!(project.read("policies/triage.toml").contains("repriced = true"));
    run(&project, &["fit", "triage", "--check"]).expect_code(0);
    let fine = run(&project, &["check", "--strict"]).expect_code(0);
    assert!(!fine.stderr.contains("cost-differs"), "{}", fine.stderr);
    let cost = |arguments: &[&str]| run(&project, arguments).expect_code(0).json();
    let tiers = &cost(&["eval", "triage", "--format", "json"])["tiers"];
    let of_large = tiers[1]["cost_usd"].as_f64().unwrap();
    assert!((of_large - 0.0005).abs() < 1e-12, "{tiers}");
    let back = run(&project, &["fit", "triage"]).expect_code(0);
    assert!(back.stderr.contains("was fitted with --reprice"), "{}", back.stderr);
    assert!(!project.read("policies/triage.toml").contains("repriced"));
}

#[test]
fn models_that_answered_under_one_name_are_told_apart() {
    let project = project();
    let mut rows: Vec<String> = log(-0.6).lines().map(str::to_owned).collect();
    for (place, row) in rows.iter_mut().enumerate() {
        let model = if place < 100 { "l-2025" } else { "l-2026" };
        *row =
            row.replace("\"cost_usd\":0.001,", &format!("\"cost_usd\":0.001,\"served_model\":\"{model}\","));
    }
    project.write("evals/a.jsonl", &rows.join("\n"));
    project.run(&["fit", "triage"]).expect_code(0);
    let ran = run(&project, &["check"]).expect_code(0);
    assert!(ran.stderr.contains("2 models answered for tier `large`"), "{}", ran.stderr);
    assert!(
        unwrapped(&ran.stderr).contains("l-2025 (100 rows)") && ran.stderr.contains("--replace-tier large"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_model_that_answers_under_another_name_is_an_alias() {
    let project = project();
    let dated = "\"cost_usd\":0.001,\"served_model\":\"l-2026\",";
    project.write("evals/a.jsonl", &log(-0.6).replace("\"cost_usd\":0.001,", dated));
    project.run(&["fit", "triage"]).expect_code(0);
    for command in [&["check"][..], &["price", "triage"]] {
        let ran = run(&project, command).expect_code(0);
        assert!(ran.stderr.contains("price::alias"), "{}", ran.stderr);
        assert!(ran.stderr.contains("pin it with model = \"l-2026\""), "{}", ran.stderr);
    }
}

#[test]
fn the_tier_that_judges_has_a_price_that_ages_too() {
    let project = project();
    let config = project.read("cascade.toml");
    let judge = "\n[tiers.judge]\nprovider = \"local\"\nmodel = \"j\"\nprice = { input = 1, output = 2 }\nretires = \"2020-01-01\"\n\n[routes.triage.signals.good]\nkind = \"judge\"\ntier = \"judge\"\nrubric = \"Is it right?\"\n";
    project.write("cascade.toml", &format!("{config}{judge}"));
    let ran = run(&project, &["price", "triage"]).expect_code(1);
    assert!(ran.stderr.contains("price::retired"), "{}", ran.stderr);
    assert!(ran.stderr.contains("of tier `judge` retired"), "{}", ran.stderr);
}

#[test]
fn a_promise_that_new_rows_break_fails_the_check() {
    let project = project();
    project.run(&["fit", "triage"]).expect_code(0);
    run(&project, &["check"]).expect_code(0);
    // Signals fall, so that far more is escalated than the budget allows.
    project.write("evals/a.jsonl", &log(-0.6).replace("\"mean_logprob\":-0.", "\"mean_logprob\":-3."));
    let ran = run(&project, &["check"]).expect_code(1);
    assert!(
        ran.stderr.contains("check::promise") && ran.stderr.contains("it does not hold there"),
        "{}",
        ran.stderr
    );
}

#[test]
fn the_doctor_looks_at_tiers_signals_and_rows() {
    let project = project();
    project.run(&["fit", "triage"]).expect_code(0);
    let json = run(&project, &["check", "--format", "json"]).expect_code(0).json();
    let doctor = json["routes"][0]["doctor"].as_array().unwrap();
    let of = |about: &str| doctor.iter().find(|advice| advice["about"] == about).unwrap();
    assert_eq!(of("tiers")["ok"], true, "{doctor:?}");
    assert_eq!(of("signal")["ok"], true, "{doctor:?}");
    assert!(of("signal")["text"].as_str().unwrap().contains("AUROC 1.00"), "{doctor:?}");
    // Two tiers that are one.
    let same = log(-2.0);
    project.write("evals/a.jsonl", &same);
    let json = run(&project, &["check", "--format", "json"]).json();
    let doctor = json["routes"][0]["doctor"].as_array().unwrap();
    assert!(
        doctor[0]["ok"] == false && doctor[0]["text"].as_str().unwrap().starts_with("no difference shows"),
        "{doctor:?}"
    );
}

#[test]
fn findings_are_annotations_for_github() {
    let project = with_tier_lines("retires = \"2026-11-30\"\n");
    let ran = run(&project, &["check", "--format", "github"]).expect_code(1);
    let first = ran.stdout.lines().find(|line| line.starts_with("::error")).unwrap();
    assert!(first.starts_with("::error file=cascade.toml,line="), "{first}");
    assert!(
        ran.stdout.contains("title=price%3A%3Aretired::the model `l` of tier `large` retired"),
        "{}",
        ran.stdout
    );
    assert_eq!(ran.stderr, "");
}
