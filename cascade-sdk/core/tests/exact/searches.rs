//! Singles, pairs, chains of three and full chains against brute force.

use crate::brute::{
    all_rows, assert_exact, best_within, chains, checked, everything, random_table, telling_table,
};
use cascade_sdk_core::fit::chain::{Chains, FullChain, Resolution, non_dominated};
use cascade_sdk_core::fit::frontier::operating::PolicyClass;
use cascade_sdk_core::fit::frontier::pair::{Pairs, Singles};
use cascade_sdk_core::fit::rows::table::QUALITY_ONE;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn singles_and_pairs_equal_brute_force(seed in any::<u64>()) {
        let table = random_table(seed, 12, 2);
        let rows = all_rows(&table);
        assert_exact(&table, &Singles::new(&table, &rows), &everything(&table, &chains(&table, 1)));
        assert_exact(&table, &Pairs::new(&table, &rows, 2), &everything(&table, &chains(&table, 2)));
    }

    #[test]
    fn chains_of_three_equal_brute_force(seed in any::<u64>()) {
        let table = random_table(seed, 12, 2);
        let rows = all_rows(&table);
        assert_exact(&table, &Chains::new(&table, &rows, 3, 2), &everything(&table, &chains(&table, 3)));
    }

    #[test]
    fn full_chains_of_three_equal_brute_force(seed in any::<u64>()) {
        let table = random_table(seed, 12, 2);
        let rows = all_rows(&table);
        let full = non_dominated(&table, &rows);
        if full.len() <= 3 {
            // Its own ends are policies of the shorter chains it starts with.
            let points = everything(&table, std::slice::from_ref(&full));
            assert_exact(&table, &FullChain::new(&table, &rows, 1), &points);
        }
    }
}

/// Larger logs, so that parts of surfaces are left out and joined on the way.
#[test]
fn chains_on_longer_logs_equal_brute_force() {
    for seed in 0..12 {
        let table = random_table(seed * 7 + 1, 60, 1);
        let rows = all_rows(&table);
        assert_exact(&table, &Chains::new(&table, &rows, 3, 2), &everything(&table, &chains(&table, 3)));
    }
}

/// Cuts at quantiles: every point is a true policy, and what is lost at any budget stays below the stated bound.
#[test]
fn quantiles_lose_no_more_than_they_say() {
    let (mut lost, mut coarser) = (0, 0);
    for seed in 0..150 {
        let table = random_table(seed, 60, 1);
        let rows = all_rows(&table);
        let exact = Chains::new(&table, &rows, 3, 1);
        let resolution = Resolution { exact_rows: 10, quantiles: 4 };
        let coarse = Chains::at_resolution(&table, &rows, 3, resolution, 2);
        assert!(exact.quantile_loss() <= 0.0);
        coarser += usize::from(coarse.quantile_loss() > 0.0);
        let allowed = coarse.quantile_loss() * QUALITY_ONE as f64 * table.total_weight(&rows) as f64;
        let top = exact.hull().last().unwrap().totals.cost;
        for step in 0..20 {
            let Some(best) = checked(&table, exact.at_budget(top * step / 20)) else { continue };
            let found = checked(&table, coarse.at_budget(top * step / 20)).unwrap();
            let loss = (best.quality - found.quality) as f64;
            assert!((0.0..=allowed + 1.0).contains(&loss), "seed {seed}: lost {loss}, allowed {allowed}");
            lost += usize::from(loss > 0.0);
        }
    }
    assert!(lost > 0 && coarser > 20, "the quantiles must matter: {lost}, {coarser}");
}

/// Four stages are a heuristic. It may miss, but rarely; it never falls behind three stages, and never says more than
/// is true.
#[test]
fn four_stages_rarely_miss_the_optimum() {
    let (mut budgets, mut helped, mut missed) = (0, 0, 0);
    for seed in 0..25 {
        let table = telling_table(seed, 30, 20.0, 0.2);
        let rows = all_rows(&table);
        let full = non_dominated(&table, &rows);
        if full.len() < 4 {
            continue;
        }
        let points = everything(&table, &[full]);
        let (three, four) = (Chains::new(&table, &rows, 3, 1), Chains::new(&table, &rows, 4, 2));
        let whole = FullChain::new(&table, &rows, 2);
        for vertex in four.hull().iter().chain(whole.hull()) {
            checked(&table, Some(vertex.clone()));
        }
        for &(cost, _) in points.iter().step_by(1 + points.len() / 20) {
            let best = best_within(&points, cost).unwrap().quality;
            let found = checked(&table, whole.at_budget(cost)).unwrap().quality;
            let short = checked(&table, three.at_budget(cost)).unwrap().quality;
            assert!(checked(&table, four.at_budget(cost)).unwrap().quality >= short.max(found));
            budgets += 1;
            helped += usize::from(best > short);
            missed += usize::from(found < best);
        }
    }
    assert!(budgets > 200 && helped > 5, "{helped} of {budgets}");
    assert!(missed * 100 < budgets, "missed {missed} of {budgets}");
}
