//! Near-duplicates: one observation in intervals and certificates, and no proof of what was fitted on their twins.

use crate::synthetic::{Recipe, config, fit, log_of};
use cascade_sdk_core::config::Goal;
use cascade_sdk_core::fit::report::FitReport;
use cascade_sdk_core::money::Usd;

/// Rows of groups of five; without the group's name their prompts are variants of one text instead.
fn lines(half: impl Fn(usize) -> &'static str, named: bool) -> Vec<String> {
    let recipe = Recipe { group_size: 5, rows: 1000, ..Recipe::default() };
    let lines = recipe.lines(|row| Some(half(row)));
    let vary = |(row, line): (usize, String)| {
        let group = row / 5;
        if named {
            return line;
        }
        let words: Vec<String> =
            (0..20).map(|at| format!("w{}", (group * 131 + at * 17) % 100_003)).collect();
        line.replace(&format!(r#","group":"g{group}""#), "")
            .replace(&format!("prompt number {row}"), &format!("{}, question {row}", words.join(" ")))
    };
    lines.into_iter().enumerate().map(vary).collect()
}

fn report(goal: &str, lines: &[String]) -> FitReport {
    fit(&config(Goal::MaxCost(Usd::parse(goal).unwrap()), None), &log_of(lines), 1).report
}

#[test]
fn intervals_are_those_of_named_groups() {
    let half = |row: usize| if (row / 5).is_multiple_of(2) { "test" } else { "calibration" };
    let intervals = |report: &FitReport| {
        let single = report.families.iter().find(|family| family.family == "single").unwrap();
        single.held_out.as_ref().map(|held_out| (held_out.quality_ci, held_out.cost_usd_ci)).unwrap()
    };
    let named = report("0.0001", &lines(half, true));
    let alike = report("0.0001", &lines(half, false));
    assert_eq!(intervals(&named), intervals(&alike));
    assert!(alike.without_near_duplicates.is_none(), "no stem stands in both halves");
}

#[test]
fn a_certificate_bets_on_groups_of_variants() {
    let half = |row: usize| if (row / 5).is_multiple_of(5) { "test" } else { "calibration" };
    let certificate = |lines: &[String]| {
        let outcome = fit(&config(Goal::MinQuality(0.6), Some(0.9)), &log_of(lines), 1);
        outcome.policy.and_then(|policy| policy.certificate).unwrap().method
    };
    assert_eq!(certificate(&lines(half, false)), "betting");
    let alone = Recipe { rows: 1000, ..Recipe::default() };
    assert_eq!(certificate(&alone.lines(|row| Some(half(row)))), "clopper-pearson");
}

/// Three stems of four stand in both halves. On the others nothing is gained.
#[test]
fn what_only_twins_of_fitted_rows_show_is_not_worth_it() {
    let is_apart = |row: usize| (row / 5).is_multiple_of(4);
    let half = |row: usize| if is_apart(row) || row % 5 < 2 { "test" } else { "calibration" };
    let lines = lines(half, false);
    let honest = report("0.0001", &lines);
    let apart = honest.without_near_duplicates.as_ref().unwrap();
    assert_eq!((apart.rows, honest.rows.test), (250, 550));
    assert!(honest.verdict.worth_it && apart.verdict.worth_it, "{}", honest.verdict.text);
    assert!(honest.verdict.text.contains("On the 250 of 550 held-out rows"), "{}", honest.verdict.text);
    let spoil = |(row, line): (usize, &String)| {
        if is_apart(row) { line.replace(r#""quality":1"#, r#""quality":0"#) } else { line.clone() }
    };
    let spoiled: Vec<String> = lines.iter().enumerate().map(spoil).collect();
    let report = report("0.0001", &spoiled);
    let (gain, text) = (report.verdict.quality_gain_ci.unwrap(), &report.verdict.text);
    assert!(gain[0] > 0.0 && !report.verdict.worth_it, "{text}");
    assert!(text.contains("undecided") && text.contains("prove nothing"), "{text}");
    assert!(!report.without_near_duplicates.unwrap().verdict.worth_it);
}
