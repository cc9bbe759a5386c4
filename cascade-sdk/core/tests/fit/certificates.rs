//! Certificates keep their promise on fresh data (DESIGN.md 9, invariant 6).

use crate::synthetic::{Recipe, config, fit_policy};
use cascade_sdk_core::config::{Family, Goal};
use cascade_sdk_core::log::EvalLog;
use cascade_sdk_core::money::Usd;
use cascade_sdk_core::policy::Policy;
use cascade_sdk_core::replay::Replay;

/// Mean quality and cost of a policy on a log large enough to stand for the truth.
fn truth(policy: &Policy, fresh: &EvalLog) -> (f64, f64) {
    let replay = Replay::new(&policy.rules, fresh).unwrap();
    let mut scratch = replay.scratch();
    let (mut quality, mut cost) = (0.0, 0.0);
    for row in 0..fresh.rows.len() {
        let outcome = replay.row(row, &mut scratch).unwrap();
        quality += outcome.quality;
        cost += outcome.cost.to_f64();
    }
    (quality / fresh.rows.len() as f64, cost / fresh.rows.len() as f64)
}

/// Share of simulated fits whose promise fails on fresh rows, and the share that certified at all.
fn simulate(goal: &Goal, confidence: Option<f64>, recipe: Recipe, fits: u64) -> (f64, f64) {
    let fresh = Recipe { rows: 20_000, seed: 999_999, ..recipe }.log();
    let mut config = config(goal.clone(), confidence);
    config.routes[0].fit.families = vec![Family::Single, Family::Pair];
    let best = fresh.tier("c").unwrap().quality.iter().sum::<f64>() / fresh.rows.len() as f64;
    let (mut broken, mut certified) = (0, 0);
    for seed in 0..fits {
        let outcome = fit_policy(&config, &Recipe { seed: seed + 1, ..recipe }.log());
        let Some(policy) = outcome.policy else { continue };
        certified += 1;
        assert_eq!(policy.certificate.is_some(), confidence.is_some());
        let (quality, cost) = truth(&policy, &fresh);
        let fails = match goal {
            Goal::MinQuality(floor) => quality < *floor,
            Goal::MaxCost(limit) => cost > limit.to_f64(),
            Goal::MaxQualityLoss { by, .. } => quality < best - by,
            _ => unreachable!("only these are simulated"),
        };
        broken += u32::from(fails);
    }
    (f64::from(broken) / fits as f64, f64::from(certified) / fits as f64)
}

/// δ plus the noise of a simulation of this size (MATH.md 11.1).
fn allowed(delta: f64, fits: u64) -> f64 {
    delta + 2.0 * (delta * (1.0 - delta) / fits as f64).sqrt()
}

/// Fits of each simulation. `examples/certificates.rs` runs 2,000 of many more settings.
const FITS: u64 = 200;

#[test]
fn certified_floors_hold_where_plug_in_floors_fail() {
    let recipe = Recipe { rows: 500, ..Recipe::default() };
    let goal = Goal::MinQuality(0.8);
    let (plug_in, _) = simulate(&goal, None, recipe, 60);
    let (broken, certified) = simulate(&goal, Some(0.9), recipe, FITS);
    assert!(plug_in > 0.25, "plug-in thresholds should fail often: {plug_in}");
    assert!(broken <= allowed(0.1, FITS), "{broken}");
    assert!(certified > 0.5, "{certified}");
}

#[test]
fn certified_real_valued_floors_hold() {
    let real = Recipe { rows: 600, real_valued: true, ..Recipe::default() };
    let (broken, certified) = simulate(&Goal::MinQuality(0.6), Some(0.9), real, FITS);
    assert!(broken <= allowed(0.1, FITS) && certified > 0.3, "{broken} {certified}");
}

#[test]
fn certified_budgets_hold() {
    let goal = Goal::MaxCost(Usd::parse("0.00016").unwrap());
    let (broken, certified) = simulate(&goal, Some(0.9), Recipe::default(), FITS);
    assert!(broken <= allowed(0.1, FITS) && certified > 0.3, "{broken} {certified}");
}

#[test]
fn certified_losses_hold() {
    let goal = Goal::MaxQualityLoss { versus: "c".into(), by: 0.06 };
    let (broken, certified) = simulate(&goal, Some(0.9), Recipe { rows: 800, ..Recipe::default() }, FITS);
    assert!(broken <= allowed(0.1, FITS) && certified > 0.3, "{broken} {certified}");
}

/// Groups of five that share their difficulty: a test that took rows for independent would fail its promise.
#[test]
fn certified_floors_hold_on_groups() {
    let recipe = Recipe { rows: 1_000, group_size: 5, ..Recipe::default() };
    let (broken, certified) = simulate(&Goal::MinQuality(0.8), Some(0.9), recipe, FITS);
    assert!(broken <= allowed(0.1, FITS) && certified > 0.3, "{broken} {certified}");
}

/// Where nothing cheaper passes, the reference tier does: it loses nothing against itself and needs no test.
#[test]
fn a_loss_that_few_rows_cannot_certify_falls_back_on_the_reference() {
    let config = config(Goal::MaxQualityLoss { versus: "c".into(), by: 0.01 }, Some(0.95));
    let outcome = fit_policy(&config, &Recipe { rows: 150, ..Recipe::default() }.log());
    let policy = outcome.policy.expect("the reference keeps its own quality");
    let [plan] = policy.rules.plans.as_slice() else { panic!("{:?}", policy.rules.plans) };
    let asked: Vec<&str> = plan.stages.iter().map(|stage| policy.rules.tiers[stage.tier].as_str()).collect();
    assert_eq!((policy.family, asked), (Family::Single, vec!["c"]));
    let certificate = policy.certificate.expect("it is certified");
    assert_eq!(certificate.method, "identity");
    let report = outcome.report;
    let said = format!("nothing cheaper than `c` could be certified on {} rows", certificate.rows);
    assert!(report.warnings.contains(&said), "{:?}", report.warnings);
    assert_eq!(report.certification.unwrap().nothing_cheaper_than.as_deref(), Some("c"));
    assert_eq!(report.selected, Some("single"));
    assert!(
        report.verdict.text.starts_with("Use one model: `c`. Nothing cheaper"),
        "{}",
        report.verdict.text
    );
    assert_eq!(report.verdict.objective.unwrap().holds, "yes");
    // A floor has no such policy.
    let floor = crate::synthetic::config(Goal::MinQuality(0.89), Some(0.95));
    let outcome = fit_policy(&floor, &Recipe { rows: 150, ..Recipe::default() }.log());
    assert!(outcome.policy.is_none());
    assert!(outcome.report.verdict.text.contains("loosen `min_quality`"), "{}", outcome.report.verdict.text);
}

/// The reference as a way out spends no δ: every fit is certified, and the promise holds as before.
#[test]
fn certified_losses_with_a_way_out_hold() {
    let goal = Goal::MaxQualityLoss { versus: "c".into(), by: 0.02 };
    let (broken, certified) = simulate(&goal, Some(0.9), Recipe { rows: 400, ..Recipe::default() }, FITS);
    assert!(broken <= allowed(0.1, FITS), "{broken}");
    assert!((certified - 1.0).abs() < 1e-12, "{certified}");
}
