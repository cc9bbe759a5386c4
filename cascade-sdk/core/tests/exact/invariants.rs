//! The invariants of MATH.md 13 that concern searches (numbers as there).

use crate::brute::{
    all_rows, best_within, cheapest_above, checked, random_table, simulate, surface, telling_table,
};
use cascade_sdk_core::fit::chain::{Chains, FullChain};
use cascade_sdk_core::fit::frontier::hull::concave;
use cascade_sdk_core::fit::frontier::operating::PolicyClass;
use cascade_sdk_core::fit::frontier::pair::{self, Pair, Pairs, Singles};
use cascade_sdk_core::fit::frontier::ranking::Ranking;
use cascade_sdk_core::fit::rows::table::{Table, Totals};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Budgets that spread over all that the tiers of a table can cost.
fn budgets(table: &Table) -> Vec<i128> {
    let rows = all_rows(table);
    let dearest: i128 = (0..table.tiers.len()).map(|tier| table.single(tier, &rows).cost).sum();
    (0..=12).map(|step| dearest * step / 12).collect()
}

fn hull_of(class: &dyn PolicyClass) -> Vec<Totals> {
    class.hull().iter().map(|vertex| vertex.totals).collect()
}

fn answers(table: &Table, class: &dyn PolicyClass, budgets: &[i128]) -> Vec<Option<Totals>> {
    let answers = budgets.iter().map(|&budget| class.at_budget(budget).map(|found| found.totals)).collect();
    assert!(class.hull().iter().all(|vertex| simulate(table, &vertex.rule) == vertex.totals));
    answers
}

/// The same rows more than once.
fn repeated(table: &Table, times: usize) -> Table {
    fn again<T: Clone>(column: &mut Vec<T>, times: usize) {
        let once = column.clone();
        *column = (0..times).flat_map(|_| once.iter().cloned()).collect();
    }
    let mut copy = table.clone();
    again(&mut copy.weight, times);
    again(&mut copy.group, times);
    again(&mut copy.log_row, times);
    for tier in &mut copy.tiers {
        again(&mut tier.quality, times);
        again(&mut tier.cost, times);
        again(&mut tier.failed, times);
        again(&mut tier.latency_ms, times);
        for signal in &mut tier.signals {
            again(&mut signal.value, times);
            again(&mut signal.cost, times);
        }
    }
    copy
}

fn scaled(totals: &[Totals], quality: i128, cost: i128) -> Vec<Totals> {
    totals.iter().map(|t| Totals { quality: t.quality * quality, cost: t.cost * cost }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, failure_persistence: None, ..ProptestConfig::default() })]

    /// 1: S₁ ⊂ S₂ ⊂ S₃ ⊂ S₄ at every budget and on every hull.
    #[test]
    fn larger_classes_are_never_worse(seed in any::<u64>()) {
        let table = random_table(seed, 30, 2);
        let rows = all_rows(&table);
        let classes: [Box<dyn PolicyClass + '_>; 5] = [
            Box::new(Singles::new(&table, &rows)),
            Box::new(Pairs::new(&table, &rows, 1)),
            Box::new(Chains::new(&table, &rows, 2, 1)),
            Box::new(Chains::new(&table, &rows, 3, 1)),
            Box::new(Chains::new(&table, &rows, 4, 1)),
        ];
        for budget in budgets(&table) {
            let quality: Vec<_> =
                classes.iter().map(|class| class.at_budget(budget).map(|found| found.totals.quality)).collect();
            prop_assert!(quality.windows(2).all(|pair| pair[0] <= pair[1]), "{quality:?}");
            // 6: no policy within a budget is above the hull's height there. Four stages are climbed anew at each budget,
            // so that they may find what their hull, climbed at a few prices, has missed.
            for (class, quality) in classes[..4].iter().zip(quality) {
                prop_assert!(quality.is_none_or(|quality| quality as f64 <= height(&hull_of(&**class), budget) + 1.0));
            }
        }
    }

    /// 2: keeping all is the cheap tier; escalating all is the dear tier's quality at both prices.
    #[test]
    fn ends_of_a_pair_are_single_tiers(seed in any::<u64>()) {
        let table = random_table(seed, 30, 2);
        let rows = all_rows(&table);
        for pair in pair::all_pairs(&table) {
            let Pair { cheap, signal, dear } = pair;
            let ranking = Ranking::new(&table.tiers[cheap].signals[signal].value, &rows);
            let frontier = pair::frontier(&table, &ranking, pair);
            let (low, high) = (table.single(cheap, &rows), table.single(dear, &rows));
            prop_assert_eq!(frontier.first().map(|point| point.totals), Some(low));
            let both = Totals { quality: high.quality, cost: low.cost + high.cost };
            prop_assert_eq!(frontier.last().map(|point| point.totals), Some(both));
            prop_assert!(frontier.iter().all(|point| simulate(&table, &pair.rule(point.at_least)) == point.totals));
            // 11: a constant score leaves the two ends only.
            if ranking.groups() == 1 {
                prop_assert_eq!(frontier.len(), 2);
            }
            let few = pair::thinned(&frontier, 5);
            prop_assert_eq!((few.first(), few.last()), (frontier.first(), frontier.last()));
        }
    }

    /// 3 and 4: repeating all rows, reordering them, and monotone transforms of the scores change nothing.
    #[test]
    fn only_the_order_of_scores_counts(seed in any::<u64>(), times in 2_usize..4) {
        let table = random_table(seed, 20, 2);
        let rows = all_rows(&table);
        let budgets = budgets(&table);
        let chains = Chains::new(&table, &rows, 3, 1);
        let expected = answers(&table, &chains, &budgets);

        let more = repeated(&table, times);
        let all = all_rows(&more);
        let chains_of_more = Chains::new(&more, &all, 3, 2);
        let factor = times as i128;
        prop_assert_eq!(hull_of(&chains_of_more), scaled(&hull_of(&chains), factor, factor));
        let larger: Vec<i128> = budgets.iter().map(|budget| budget * factor).collect();
        for (more, once) in answers(&more, &chains_of_more, &larger).into_iter().zip(&expected) {
            prop_assert_eq!(more, once.map(|once| scaled(&[once], factor, factor)[0]));
        }

        let backwards: Vec<u32> = rows.iter().rev().copied().collect();
        let reordered = Chains::new(&table, &backwards, 3, 3);
        prop_assert_eq!(reordered.hull(), chains.hull());
        prop_assert_eq!(answers(&table, &reordered, &budgets), expected.clone());

        let mut curved = table.clone();
        for value in curved.tiers.iter_mut().flat_map(|tier| &mut tier.signals).flat_map(|signal| &mut signal.value) {
            *value = (*value * 1.7).exp() - 3.0 + if *value == f64::NEG_INFINITY { f64::NEG_INFINITY } else { 0.0 };
        }
        prop_assert_eq!(answers(&curved, &Chains::new(&curved, &rows, 3, 1), &budgets), expected);
    }

    /// 5: costs a times as high, slopes a times as low. Weights as repetitions.
    #[test]
    fn costs_scale_and_weights_repeat(seed in any::<u64>(), times in 2_i64..6) {
        let table = random_table(seed, 20, 1);
        let rows = all_rows(&table);
        let hull = hull_of(&Chains::new(&table, &rows, 3, 1));

        let mut dearer = table.clone();
        for tier in &mut dearer.tiers {
            let signals = tier.signals.iter_mut().map(|signal| &mut signal.cost);
            for cost in signals.chain([&mut tier.cost]).flatten() {
                *cost *= times;
            }
        }
        prop_assert_eq!(hull_of(&Chains::new(&dearer, &rows, 3, 1)), scaled(&hull, 1, times.into()));

        let mut heavier = table.clone();
        heavier.weight.iter_mut().for_each(|weight| *weight *= times);
        prop_assert_eq!(hull_of(&Chains::new(&heavier, &rows, 3, 1)), scaled(&hull, times.into(), times.into()));
    }

    /// 6 and 7: at its vertices the hull is the staircase, both there and from the side of quality.
    #[test]
    fn the_hull_touches_the_staircase_at_its_vertices(seed in any::<u64>()) {
        let table = random_table(seed, 30, 2);
        let rows = all_rows(&table);
        let chains = Chains::new(&table, &rows, 3, 1);
        for vertex in hull_of(&chains) {
            prop_assert_eq!(chains.at_budget(vertex.cost).map(|found| found.totals), Some(vertex));
            prop_assert_eq!(chains.at_floor(vertex.quality).map(|found| found.totals), Some(vertex));
        }
    }
}

/// Height of a hull at a cost; flat past its last vertex.
fn height(hull: &[Totals], cost: i128) -> f64 {
    let right = hull.partition_point(|vertex| vertex.cost <= cost);
    match (right.checked_sub(1).map(|left| hull[left]), hull.get(right)) {
        (None, _) => f64::NEG_INFINITY,
        (Some(last), None) => last.quality as f64,
        (Some(left), Some(right)) => {
            let share = (cost - left.cost) as f64 / (right.cost - left.cost) as f64;
            left.quality as f64 + share * (right.quality - left.quality) as f64
        }
    }
}

/// 14: the hull is that of the whole surface, on logs with enough rows and scores for many parts to be left out; and so
/// is the optimum at budgets and floors.
#[test]
fn optima_are_those_of_the_whole_surface() {
    for seed in 0..10 {
        let table = telling_table(seed, 600, if seed % 2 == 0 { 1e6 } else { 60.0 }, 1.0);
        let rows = all_rows(&table);
        let tiers = [0, 1, 2 + seed as usize % 2];
        let class = FullChain::of(&table, &rows, &tiers, 2);
        let mut points = surface(&table, tiers);
        points.sort_by_key(|totals| (totals.cost, -totals.quality));
        points.dedup();
        let expected: Vec<Totals> = concave(&points).into_iter().map(|at| points[at]).collect();
        assert_eq!(hull_of(&class), expected, "seed {seed}");
        let points: BTreeSet<(i128, i128)> =
            points.iter().map(|totals| (totals.cost, totals.quality)).collect();
        for &(cost, quality) in points.iter().step_by(points.len() / 15) {
            let budget = checked(&table, class.at_budget(cost));
            assert_eq!(budget, best_within(&points, cost), "seed {seed}, budget {cost}");
            let floor = checked(&table, class.at_floor(quality));
            assert_eq!(floor, cheapest_above(&points, quality), "seed {seed}, floor {quality}");
        }
    }
}
