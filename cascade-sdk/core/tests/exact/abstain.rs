//! Cascades that may abstain against brute force (MATH.md 6.4).

use crate::brute::{all_rows, best_within, chains, cheapest_above, random_table, simulate, vertices};
use crate::limits::{kept, limits};
use cascade_sdk_core::fit::chain::Chains;
use cascade_sdk_core::fit::family::{Candidate, Draft, FittedFamily};
use cascade_sdk_core::fit::frontier::operating::PolicyClass;
use cascade_sdk_core::fit::limited::{Abstaining, Members};
use cascade_sdk_core::fit::limits::Limits;
use cascade_sdk_core::fit::rows::table::{QUALITY_ONE, Table, Totals};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::collections::BTreeSet;

/// A bound on the cost of a request and the share of requests that may exceed it.
type Tail = Option<(i64, f64)>;

/// (cost, quality) of what is paid and answered row by row, if it keeps the limit.
fn sums(table: &Table, tail: Tail, outcome: impl Fn(usize) -> (i64, i64)) -> Option<(i128, i128)> {
    let (mut cost, mut quality, mut over) = (0, 0, 0);
    for row in 0..table.len() {
        let weight = i128::from(table.weight[row]);
        let (spent, answer) = outcome(row);
        cost += weight * i128::from(spent);
        quality += weight * i128::from(answer);
        over += weight * i128::from(tail.is_some_and(|(bound, _)| spent > bound));
    }
    let weight = table.total_weight(&all_rows(table)) as f64;
    tail.is_none_or(|(_, share)| over as f64 <= share * weight + 1e-9).then_some((cost, quality))
}

/// One tier, or a pair, that abstains below `below` on a signal of its first tier and keeps from `keep` on.
fn two_cuts(
    table: &Table,
    tiers: &[usize],
    signal: usize,
    (below, keep): (f64, f64),
    (worth, tail): (i64, Tail),
) -> Option<(i128, i128)> {
    let cheap = &table.tiers[tiers[0]];
    sums(table, tail, |row| {
        let score = cheap.signals[signal].value[row];
        let spent = cheap.cost[row] + cheap.signals[signal].cost.get(row).unwrap_or(&0);
        if score > f64::NEG_INFINITY && score < below {
            (spent, worth)
        } else if score >= keep || tiers.len() == 1 {
            (spent, cheap.quality[row])
        } else {
            (spent + table.tiers[tiers[1]].cost[row], table.tiers[tiers[1]].quality[row])
        }
    })
}

/// A pair that keeps from `keep` on at its first stage and abstains below `below` on a signal of its second.
fn abstains_last(
    table: &Table,
    (cheap, signal, keep): (usize, usize, f64),
    (dear, second, below): (usize, usize, f64),
    (worth, tail): (i64, Tail),
) -> Option<(i128, i128)> {
    let [first, last] = [(cheap, signal), (dear, second)].map(|(tier, signal)| {
        let tier = &table.tiers[tier];
        (tier, &tier.signals[signal])
    });
    sums(table, tail, |row| {
        let spent = first.0.cost[row] + first.1.cost.get(row).unwrap_or(&0);
        if first.1.value[row] >= keep {
            return (spent, first.0.quality[row]);
        }
        let score = last.1.value[row];
        let spent = spent + last.0.cost[row] + last.1.cost.get(row).unwrap_or(&0);
        (spent, if score > f64::NEG_INFINITY && score < below { worth } else { last.0.quality[row] })
    })
}

fn scores_of(table: &Table, tier: usize, signal: usize) -> Vec<f64> {
    let mut scores: Vec<f64> = table.tiers[tier].signals[signal].value.clone();
    scores.sort_by(f64::total_cmp);
    scores.dedup();
    scores
}

/// (cost, quality) of every single tier and pair that keeps the limit, with and without abstaining at one stage.
fn everything(table: &Table, (worth, tail): (i64, Tail)) -> BTreeSet<(i128, i128)> {
    let mut points = kept(table, &chains(table, 2), None, tail);
    for tiers in chains(table, 2) {
        for signal in 0..table.tiers[tiers[0]].signals.len() {
            let scores = scores_of(table, tiers[0], signal);
            for &below in &scores {
                for &keep in scores.iter().chain(&[f64::INFINITY]).filter(|&&keep| keep >= below) {
                    points.extend(two_cuts(table, &tiers, signal, (below, keep), (worth, tail)));
                }
            }
            let &[cheap, dear] = &tiers[..] else { continue };
            for &keep in scores.iter().skip(1) {
                for second in 0..table.tiers[dear].signals.len() {
                    for &below in &scores_of(table, dear, second) {
                        let (first, last) = ((cheap, signal, keep), (dear, second, below));
                        points.extend(abstains_last(table, first, last, (worth, tail)));
                    }
                }
            }
        }
    }
    points
}

/// (cost, quality) of every single tier that keeps the limit, with and without abstaining.
fn single_tiers(table: &Table, (worth, tail): (i64, Tail)) -> BTreeSet<(i128, i128)> {
    let mut points = kept(table, &chains(table, 1), None, tail);
    for tier in 0..table.tiers.len() {
        for signal in 0..table.tiers[tier].signals.len() {
            for &below in &scores_of(table, tier, signal) {
                points.extend(two_cuts(table, &[tier], signal, (below, f64::INFINITY), (worth, tail)));
            }
        }
    }
    points
}

fn totals(table: &Table, family: &Abstaining<'_>, found: Option<Candidate>, worth: i64) -> Option<Totals> {
    let found = found?;
    let sums = match &found.draft {
        Draft::Cascade(rule) => simulate(table, rule),
        Draft::Abstaining(rule) => all_rows(table).iter().fold(Totals::default(), |sum, &row| {
            let (walk, _) = rule.walk(table, row, worth);
            sum + table.totals(row, walk.quality, walk.cost)
        }),
        other => unreachable!("{other:?}"),
    };
    assert_eq!(sums, found.totals, "{:?}", found.draft);
    // What is deployed names at most one score a stage and orders the cuts.
    let rules = family.rules(&found);
    for plan in &rules.plans {
        for (stage, abstain) in plan.stages.iter().zip(&plan.abstain) {
            if let (Some(rule), Some(abstain)) = (stage.rule, abstain) {
                assert!(rule.score == abstain.score && abstain.below <= rule.at_least.0);
            }
        }
    }
    Some(sums)
}

/// How many stages of a candidate abstain.
fn abstaining_stages(candidate: &Candidate) -> usize {
    match &candidate.draft {
        Draft::Abstaining(rule) => rule.below.iter().flatten().count(),
        _ => 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100,
        rng_seed: RngSeed::Fixed(11),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Exact where at most one stage abstains; where more do, which is a heuristic, never worse.
    #[test]
    fn singles_and_pairs_that_abstain_equal_brute_force(
        seed in any::<u64>(),
        share in 0_i64..5,
        tail in prop::option::of((0_i64..60_000, prop::sample::select(vec![0.1, 0.3, 0.5]))),
    ) {
        let table = random_table(seed, 12, 2);
        let rows = all_rows(&table);
        let worth = share * QUALITY_ONE / 4;
        let everything = [single_tiers(&table, (worth, tail)), everything(&table, (worth, tail))];
        let limits = limits(None, tail);
        for (points, members) in everything.iter().zip([Members::UpTo(1), Members::UpTo(2)]) {
            let step = (points.len() / 30).max(1);
            let family = Abstaining::new(&table, &rows, members, &limits, worth, 2);
            for &(cost, quality) in points.iter().step_by(step) {
                for shift in -1..=1 {
                    let (limit, floor) = (cost + shift, quality + shift);
                    let found = family.at_budget(limit);
                    let more = found.as_ref().map_or(0, abstaining_stages) > 1;
                    let (own, best) = (totals(&table, &family, found, worth), best_within(points, limit));
                    let order = |found: Option<Totals>| found.map(|found| (found.quality, -found.cost));
                    prop_assert!(own == best || more && order(own) > order(best), "{:?} {:?}", own, best);
                    prop_assert!(own.is_none_or(|own| own.cost <= limit));
                    let found = family.at_floor(floor);
                    let more = found.as_ref().map_or(0, abstaining_stages) > 1;
                    let (own, best) = (totals(&table, &family, found, worth), cheapest_above(points, floor));
                    // A floor that no policy with one second cut reaches may be within reach of two.
                    let order = |found: Option<Totals>| found.map(|found| (-found.cost, found.quality));
                    prop_assert!(own == best || more && order(own) > order(best), "{:?} {:?}", own, best);
                    prop_assert!(own.is_none_or(|own| own.quality >= floor));
                }
            }
            // No policy that abstains at one stage lies above the hull.
            let hull: Vec<Totals> = family
                .hull()
                .into_iter()
                .map(|vertex| totals(&table, &family, Some(vertex), worth).unwrap())
                .collect();
            let known: BTreeSet<(i128, i128)> = hull.iter().map(|at| (at.cost, at.quality)).collect();
            let all: BTreeSet<(i128, i128)> = points.union(&known).copied().collect();
            prop_assert_eq!(hull, vertices(&all));
        }
    }

    /// Chains only gain by being allowed to abstain, and what is claimed of them is true.
    #[test]
    fn chains_that_may_abstain_are_no_worse(seed in any::<u64>()) {
        let table = random_table(seed, 25, 1);
        let rows = all_rows(&table);
        let worth = QUALITY_ONE / 2;
        let without = Chains::new(&table, &rows, 3, 2);
        let pairs = Abstaining::new(&table, &rows, Members::UpTo(2), &Limits::default(), worth, 2);
        let family = Abstaining::new(&table, &rows, Members::UpTo(3), &Limits::default(), worth, 2);
        let top = without.hull().last().unwrap().totals.cost;
        for step in 0..8 {
            let budget = top * step / 7;
            let Some(plain) = without.at_budget(budget) else { continue };
            let found = totals(&table, &family, family.at_budget(budget), worth).unwrap();
            let pair = pairs.at_budget(budget).unwrap().totals;
            prop_assert!(found.cost <= budget);
            prop_assert!(found.quality >= plain.totals.quality && found.quality >= pair.quality);
        }
    }
}
