//! Mixtures from the configuration to the policy and its figures.

use crate::synthetic::{Recipe, config, fit};
use cascade_sdk_core::config::{Family, Goal};
use cascade_sdk_core::money::Usd;
use cascade_sdk_core::policy::Mixture;
use cascade_sdk_core::replay::Replay;

#[test]
fn a_mixture_uses_what_a_single_policy_leaves_unspent() {
    let log = Recipe { strength: 0.3, ..Recipe::default() }.log();
    let budget = 0.00003;
    let mut config = config(Goal::MaxCost(Usd::parse("0.00003").unwrap()), None);
    config.routes[0].fit.families = vec![Family::Single, Family::Pair];
    let plain = fit(&config, &log, 1);
    assert!(plain.policy.unwrap().rules.mixture.is_none() && plain.report.mixture.is_none());
    config.routes[0].fit.mixtures = true;
    let outcome = fit(&config, &log, 2);
    let policy = outcome.policy.unwrap();
    let mixture = policy.rules.mixture.unwrap();
    assert!(policy.rules.plans.len() == 2 && policy.rules.router.is_none());
    let report = outcome.report.mixture.unwrap();
    assert!(report.quality_gain > 0.0 && (report.share - mixture.share).abs() < 1e-15);
    let selected =
        outcome.report.families.iter().find(|family| Some(family.family) == outcome.report.selected).unwrap();
    assert!((selected.calibration.cost_usd - budget).abs() < 1e-12, "{:?}", selected.calibration);
    assert!(selected.plans.len() == 2 && selected.mixture_share == Some(mixture.share));
    for family in &outcome.report.families {
        let before = plain.report.families.iter().find(|other| other.family == family.family).unwrap();
        assert!(family.calibration.quality >= before.calibration.quality, "{}", family.family);
    }
    // The draws are the policy's own: replay serves about the stated share with the second plan.
    let replay = Replay::new(&policy.rules, &log).unwrap();
    let mut scratch = replay.scratch();
    let second = (0..log.rows.len()).filter(|&row| replay.row(row, &mut scratch).unwrap().plan == 1).count();
    let share = second as f64 / log.rows.len() as f64;
    assert!(
        (share - mixture.share).abs() < 4.0 * (0.25 / log.rows.len() as f64).sqrt(),
        "{share} {mixture:?}"
    );
    for point in &policy.frontier {
        assert_eq!(point.rules(&policy.rules).mixture, None);
    }
}

#[test]
fn draws_are_even_and_depend_on_id_and_seed_alone() {
    let drawn = |seed, share: f64| {
        let mixture = Mixture { share, seed };
        (0..4_000).map(|row| mixture.plan(Some(&format!("r{row}")))).collect::<Vec<_>>()
    };
    let one = drawn(1, 0.3);
    let share = one.iter().sum::<usize>() as f64 / 4_000.0;
    assert!((share - 0.3).abs() < 0.03, "{share}");
    assert_eq!(one, drawn(1, 0.3));
    assert_ne!(one, drawn(2, 0.3));
    // A larger share only adds requests.
    assert!(one.iter().zip(drawn(1, 0.4)).all(|(less, more)| *less <= more));
    let without_id = |share| Mixture { share, seed: 1 }.plan(None);
    assert_eq!((without_id(0.4), without_id(0.6)), (0, 1));
}
