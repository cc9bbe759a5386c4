//! Guards: a slice that a cascade would serve badly stays on the reference tier, in the fit as in every request.

use crate::synthetic::{config, fit, log_of};
use cascade_sdk_core::config::{Config, Family, Goal, GuardSettings};
use cascade_sdk_core::feature::{
    CostHead, Heads, Inputs, MissingInput, RequestView, Router, Scratch, choose_plan,
};
use cascade_sdk_core::fit::random::SplitMix64;
use cascade_sdk_core::fit::route::{FitInput, FitOptions, fit_route};
use cascade_sdk_core::log::EvalLog;
use cascade_sdk_core::policy::{Guard, Plan, Rules, Stage};
use cascade_sdk_core::replay::{KnownPredictions, Outcome, Replay};
use std::collections::BTreeSet;

/// Three tenants. For `odd` the cheap tier is always sure and mostly wrong; `tiny` has few rows.
fn lines(rows: usize, tagged: bool) -> Vec<String> {
    let mut random = SplitMix64::new(5, 0);
    (0..rows)
        .map(|row| {
            let tenant = match row % 25 {
                0 => "tiny",
                at if at % 4 == 1 => "odd",
                _ => "acme",
            };
            let sure = random.fraction();
            let (signal, right) =
                if tenant == "odd" { (0.99, random.fraction() < 0.3) } else { (sure, random.fraction() < sure) };
            let dear = random.fraction() < 0.93;
            let middle = random.fraction() < 0.6;
            let tags = if tagged { format!(r#""tags":{{"tenant":"{tenant}"}},"#) } else { String::new() };
            format!(
                r#"{{"id":"r{row:05}",{tags}"input":"prompt {row}","results":{{"a":{{"quality":{},"cost_usd":0.00001,"signals":{{"confidence":{signal:.3}}}}},"b":{{"quality":{},"cost_usd":0.00015}},"c":{{"quality":{},"cost_usd":0.0002}}}}}}"#,
                u8::from(right), u8::from(middle), u8::from(dear)
            )
        })
        .collect()
}

fn guarded(goal: Goal, confidence: Option<f64>) -> Config {
    let mut config = config(goal, confidence);
    config.routes[0].fit.families = vec![Family::Single, Family::Pair];
    let tier = Some("c".to_owned());
    config.routes[0].guard = Some(GuardSettings { by: "tenant".into(), max_loss: 0.35, min_rows: 60, tier });
    config
}

/// Mean quality of the rows of a tenant, and whether each of them took one call to `c`.
fn of_tenant(log: &EvalLog, rules: &Rules, tenant: &str) -> (f64, bool) {
    let replay = Replay::new(rules, log).unwrap();
    let mut scratch = replay.scratch();
    let (mut quality, mut count, mut alone) = (0.0, 0.0, true);
    for (row, entry) in
        log.rows.iter().enumerate().filter(|(_, row)| row.tags.iter().any(|tag| &*tag.1 == tenant))
    {
        let outcome = replay.row(row, &mut scratch).unwrap();
        quality += outcome.quality;
        count += 1.0;
        alone &= outcome.calls == 1 && rules.tiers[outcome.tier] == "c";
        assert!(!entry.id.is_empty());
    }
    (quality / count, alone)
}

#[test]
fn a_failing_slice_stays_on_the_reference_tier() {
    let log = log_of(&lines(1_500, true));
    let outcome = fit(&guarded(Goal::MinQuality(0.7), None), &log, 1);
    let report = outcome.report.guard.as_ref().unwrap();
    let labels = |slices: &[cascade_sdk_core::fit::report::GuardedSlice]| {
        slices.iter().map(|slice| slice.label.clone()).collect::<Vec<_>>()
    };
    assert_eq!(labels(&report.kept), ["odd"]);
    assert_eq!(labels(&report.passed), ["acme"]);
    assert_eq!(labels(&report.too_few), ["tiny"]);
    assert!(report.kept[0].loss > 0.35 && report.kept[0].loss_ci.unwrap()[0] > 0.0);
    let policy = outcome.policy.unwrap();
    let guard = policy.rules.guard.as_ref().unwrap();
    assert_eq!((guard.tag.as_str(), guard.labels.as_slice()), ("tenant", &["odd".to_owned()][..]));
    let (quality, alone) = of_tenant(&log, &policy.rules, "odd");
    assert!(alone && quality > 0.88, "{quality}");
    assert!(!of_tenant(&log, &policy.rules, "acme").1);
    // What is reported is what is deployed.
    let selected =
        outcome.report.families.iter().find(|f| Some(f.family) == outcome.report.selected).unwrap();
    assert!((policy.expected.quality.value - selected.held_out.as_ref().unwrap().quality).abs() < 1e-12);
    let without = {
        let mut config = guarded(Goal::MinQuality(0.7), None);
        config.routes[0].guard = None;
        fit(&config, &log, 1).policy.unwrap()
    };
    assert!(of_tenant(&log, &without.rules, "odd").0 < 0.6);
}

/// The guard costs money; the rest of the policy must then do with less.
#[test]
fn a_budget_holds_with_the_guard() {
    let log = log_of(&lines(1_500, true));
    let limit = cascade_sdk_core::money::Usd::parse("0.00012").unwrap();
    let outcome = fit(&guarded(Goal::MaxCost(limit), None), &log, 1);
    let guard = outcome.report.guard.as_ref();
    assert_eq!(guard.map(|guard| guard.kept.len()), Some(1), "{:?}", outcome.report.warnings);
    let selected =
        outcome.report.families.iter().find(|f| Some(f.family) == outcome.report.selected).unwrap();
    assert!(selected.calibration.cost_usd <= 0.00012 + 1e-15, "{}", selected.calibration.cost_usd);
}

#[test]
fn certified_policies_are_tested_with_their_guard() {
    let log = log_of(&lines(2_500, true));
    let outcome = fit(&guarded(Goal::MinQuality(0.75), Some(0.9)), &log, 1);
    let policy = outcome.policy.unwrap_or_else(|| panic!("{:?}", outcome.report.warnings));
    assert!(policy.certificate.is_some());
    assert_eq!(policy.rules.guard.unwrap().labels, ["odd"]);
}

/// The guard goes before the router also where its predictions are known.
#[test]
fn known_predictions_change_no_plan() {
    let log = log_of(&lines(60, true));
    let cost = |tier: usize| CostHead {
        base: 1e-5 * (tier + 1) as f64,
        per_byte: 0.0,
        dense: Vec::new(),
        low: 0.0,
        high: 1.0,
    };
    let heads = Heads {
        embedding: Vec::new(),
        intercept: vec![0.0, 1.0, 2.0],
        dense: Vec::new(),
        hashed: Vec::new(),
        step: vec![0.01; 3],
        cost: (0..3).map(cost).collect(),
    };
    let router = Router { shadow_price: 0.0, inputs: Inputs::default(), heads, awaits: None };
    let known = KnownPredictions::new(&router, &log, 0..log.rows.len()).unwrap();
    let rules = Rules {
        tiers: ["a", "b", "c"].map(str::to_owned).into(),
        plans: (0..3).map(|tier| Plan::new(vec![Stage { tier, rule: None }])).collect(),
        router: Some(router),
        guard: Some(Guard::new("tenant".into(), vec!["odd".into()], 0)),
        ..Rules::default()
    };
    let asked = Replay::new(&rules, &log).unwrap();
    let told = Replay::new(&rules, &log).unwrap().with_predictions(&known);
    let (mut scratch, mut other) = (asked.scratch(), told.scratch());
    let mut plans = BTreeSet::new();
    for row in 0..log.rows.len() {
        let (asked, told) = (asked.row(row, &mut scratch).unwrap(), told.row(row, &mut other).unwrap());
        // The log knows no latencies, and NaN equals nothing.
        let [asked, told] = [asked, told].map(|outcome| Outcome { latency_ms: 0.0, ..outcome });
        assert_eq!(asked, told);
        plans.insert(asked.plan);
    }
    assert_eq!(Vec::from_iter(plans), [2, 3], "the router's and the guard's");
}

#[test]
fn every_row_and_every_request_needs_the_tag() {
    let config = guarded(Goal::MinQuality(0.7), None);
    let log = log_of(&lines(200, false));
    let options = FitOptions::default();
    let input =
        FitInput { config: &config, route: "answer", log: &log, unreadable_rows: 0, schema: None, options };
    let errors = fit_route(&input).unwrap_err();
    assert_eq!(errors[0].code, "fit::guard-tag-missing");
    let rules = fit(&config, &log_of(&lines(1_500, true)), 1).policy.unwrap().rules;
    let plan = |tags: &[(&str, &str)]| {
        choose_plan(
            &rules,
            &RequestView { text: "x", tags, ..RequestView::default() },
            &mut Scratch::default(),
        )
    };
    assert_eq!(plan(&[("tenant", "acme")]), Ok(0));
    assert_eq!(plan(&[("tenant", "new")]), Ok(0), "a label that the fit never saw");
    assert_eq!(plan(&[("tenant", "odd")]), Ok(rules.plans.len()));
    assert_eq!(plan(&[]), Err(MissingInput::GuardTag("tenant".into())));
}
