//! Abstention from the configuration to the policy and its figures.

use crate::synthetic::{Recipe, config, fit};
use cascade_sdk_core::config::{Family, Goal};
use cascade_sdk_core::money::Usd;
use cascade_sdk_core::replay::Replay;

#[test]
fn lost_causes_are_given_up_and_figures_say_so() {
    let log = Recipe { accuracies: [0.35, 0.45, 0.55], ..Recipe::default() }.log();
    let mut config = config(Goal::MaxCost(Usd::parse("0.00009").unwrap()), None);
    config.routes[0].fit.families = vec![Family::Single, Family::Pair, Family::Chain];
    let plain = fit(&config, &log, 2);
    config.routes[0].fit.abstain_loss = Some(0.5);
    let outcome = fit(&config, &log, 2);
    let policy = outcome.policy.unwrap();
    assert_eq!(policy.rules.abstention, Some(0.5));
    let selected =
        outcome.report.families.iter().find(|f| Some(f.family) == outcome.report.selected).unwrap();
    let held_out = selected.held_out.as_ref().unwrap();
    let share: f64 = held_out.share.values().sum();
    let abstained = held_out.abstained.unwrap();
    assert!(abstained > 0.05 && (share + abstained - 1.0).abs() < 1e-9, "{abstained} {share}");
    assert!(selected.plan.iter().any(|stage| stage.abstain_below.is_some()));
    let before = plain.policy.unwrap().expected.quality.value;
    assert!(policy.expected.quality.value > before + 0.05, "{before} {}", policy.expected.quality.value);
    // The replayed policy counts the same.
    let replay = Replay::new(&policy.rules, &log).unwrap();
    let mut scratch = replay.scratch();
    let outcomes: Vec<_> = (0..log.rows.len()).map(|row| replay.row(row, &mut scratch).unwrap()).collect();
    let abstentions = outcomes.iter().filter(|outcome| outcome.abstained);
    assert!(abstentions.clone().count() > 20);
    assert!(
        abstentions
            .into_iter()
            .all(|outcome| outcome.quality.to_bits() == 0.5_f64.to_bits() && !outcome.failed)
    );
}

/// What may be done with abstentions includes what is done without: on calibration rows no family gets worse.
#[test]
fn to_be_allowed_to_abstain_never_costs_on_calibration_rows() {
    let log = Recipe::default().log();
    let mut config = config(Goal::MinQuality(0.75), None);
    let plain = fit(&config, &log, 1).report;
    for loss in [0.3, 1.0] {
        config.routes[0].fit.abstain_loss = Some(loss);
        let report = fit(&config, &log, 2).report;
        for (family, before) in report.families.iter().zip(&plain.families) {
            assert_eq!(family.family, before.family);
            assert!(family.calibration.cost_usd <= before.calibration.cost_usd + 1e-15, "{}", family.family);
            assert!(family.calibration.quality >= 0.75 && family.heuristic == (family.family != "single"));
        }
    }
}

#[test]
fn limits_are_kept_by_policies_that_abstain() {
    let log = Recipe { latencies: true, accuracies: [0.35, 0.45, 0.55], ..Recipe::default() }.log();
    let mut config = config(Goal::MaxCost(Usd::parse("0.00009").unwrap()), None);
    config.routes[0].fit.abstain_loss = Some(0.5);
    config.routes[0].objective.as_mut().unwrap().max_latency_ms_p95 = Some(900.0);
    let report = fit(&config, &log, 2).report;
    assert!(report.families.iter().any(|family| {
        let abstains = family.plan.iter().any(|stage| stage.abstain_below.is_some());
        abstains && family.limits.iter().all(|limit| limit.calibration_share <= limit.share_allowed)
    }));
}
