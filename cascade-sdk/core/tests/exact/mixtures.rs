//! Mixtures of two hull vertices meet budgets and floors exactly on average (MATH.md 4).

use crate::brute::{all_rows, chains, everything, random_table};
use cascade_sdk_core::fit::family::{Candidate, Cascades, Draft, FittedFamily};
use cascade_sdk_core::fit::frontier::mixture::Mixed;
use cascade_sdk_core::fit::frontier::pair::Pairs;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::collections::BTreeSet;

/// Cost and quality that a mixture has on average, from its two parts on the hull.
fn on_average(hull: &[Candidate], candidate: &Candidate) -> Option<(f64, f64)> {
    let Draft::Mixed(mixed) = &candidate.draft else { return None };
    let at = hull.iter().position(|vertex| vertex.draft == mixed.left).unwrap();
    assert_eq!(hull[at + 1].draft, mixed.right, "its parts are neighbours");
    assert!(mixed.share > 0.0 && mixed.share < 1.0);
    let mean = |left: i128, right: i128| left as f64 + mixed.share * (right - left) as f64;
    let (left, right) = (hull[at].totals, hull[at + 1].totals);
    Some((mean(left.cost, right.cost), mean(left.quality, right.quality)))
}

/// The best quality that two policies with the mean cost `budget` have, among all pairs of `points`.
fn best_chord(points: &BTreeSet<(i128, i128)>, budget: i128) -> f64 {
    let (below, above): (BTreeSet<_>, BTreeSet<_>) =
        points.iter().copied().partition(|point: &(i128, i128)| point.0 <= budget);
    let alone = below.iter().map(|point| point.1 as f64);
    let chords = below.iter().flat_map(|left| {
        above.iter().map(|right| {
            let share = (budget - left.0) as f64 / (right.0 - left.0) as f64;
            left.1 as f64 + share * (right.1 - left.1) as f64
        })
    });
    alone.chain(chords).fold(f64::NEG_INFINITY, f64::max)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 150,
        rng_seed: RngSeed::Fixed(17),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn budgets_and_floors_are_met_exactly(seed in any::<u64>(), steps in 1_i128..9) {
        let table = random_table(seed, 14, 2);
        let rows = all_rows(&table);
        let inner = Cascades::new(&table, Box::new(Pairs::new(&table, &rows, 1)));
        let family = Mixed::new(Box::new(Cascades::new(&table, Box::new(Pairs::new(&table, &rows, 1)))), 7);
        let points = everything(&table, &chains(&table, 2));
        let hull = family.hull();
        let (first, last) = (hull[0].totals, hull[hull.len() - 1].totals);
        for step in 0..=steps {
            let budget = first.cost + (last.cost - first.cost) * step / steps;
            let (single, found) = (inner.at_budget(budget).unwrap(), family.at_budget(budget).unwrap());
            prop_assert!(found.totals.cost <= budget && found.totals.quality >= single.totals.quality);
            prop_assert!((found.totals.quality as f64 - best_chord(&points, budget)).abs() < 1e4);
            if let Some((cost, quality)) = on_average(&hull, &found) {
                prop_assert!(found.totals.cost == budget && (cost - budget as f64).abs() <= 1e-6 * (1.0 + cost));
                prop_assert!((quality - found.totals.quality as f64).abs() < 1e3 && quality > single.totals.quality as f64);
            } else {
                prop_assert_eq!(found.draft, single.draft);
            }
            let floor = first.quality + (last.quality - first.quality) * step / steps;
            let (single, found) = (inner.at_floor(floor).unwrap(), family.at_floor(floor).unwrap());
            prop_assert!(found.totals.quality >= floor && found.totals.cost <= single.totals.cost);
            if let Some((cost, quality)) = on_average(&hull, &found) {
                prop_assert!((quality - floor as f64).abs() < 1e3 && (cost - found.totals.cost as f64).abs() <= 1.0 + 1e-6 * cost);
            }
        }
        prop_assert!(family.at_budget(first.cost - 1).is_none());
        prop_assert!(family.at_floor(last.quality + 1).is_none());
    }
}
