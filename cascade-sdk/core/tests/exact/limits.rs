//! Cascades under limits on latency and cost tails against brute force (MATH.md 11.1).

use crate::brute::{all_rows, assert_exact, chains, random_table, rules_of, telling_table};
use cascade_sdk_core::config::{CostTail, Goal, Objective};
use cascade_sdk_core::fit::chain::non_dominated;
use cascade_sdk_core::fit::frontier::operating::{CascadeRule, PolicyClass};
use cascade_sdk_core::fit::limited::{Limited, Members};
use cascade_sdk_core::fit::limits::Limits;
use cascade_sdk_core::fit::random::SplitMix64;
use cascade_sdk_core::fit::rows::table::Table;
use cascade_sdk_core::money::Usd;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Latencies of 0 to 3 ms; some are unknown.
fn with_latencies(mut table: Table, seed: u64) -> Table {
    let mut random = SplitMix64::new(seed, 7);
    let unknown = random.below(3) == 0;
    for tier in &mut table.tiers {
        for latency in &mut tier.latency_ms {
            *latency = match random.below(9) {
                8 if unknown => f32::NAN,
                level => (level % 4) as f32,
            };
        }
    }
    table
}

pub(crate) fn limits(latency: Option<f64>, tail: Option<(i64, f64)>) -> Limits {
    Limits::of(&Objective {
        goal: Goal::MaxQuality,
        max_latency_ms_p95: latency,
        max_cost_tail: tail.map(|(pico, share)| CostTail { usd: Usd::from_pico(pico), share }),
        confidence: None,
    })
}

/// Sums of a rule, written apart from the crate's own: quality, cost, weight of slow rows, weight of dear rows.
fn simulate(table: &Table, rule: &CascadeRule, latency: f64, dear: i64) -> [i128; 4] {
    let mut sums = [0; 4];
    for row in 0..table.len() {
        let (mut cost, mut slow, mut spent) = (0, 0.0, false);
        for (stage, &tier) in rule.tiers.iter().enumerate() {
            let tier = &table.tiers[tier];
            cost += tier.cost[row];
            slow += tier.latency_ms[row];
            spent |= tier.latency_ms[row].is_nan();
            let keep = match rule.cuts.get(stage) {
                None => true,
                Some(cut) if cut.at_least.is_infinite() => cut.at_least < 0.0,
                Some(cut) => {
                    cost += tier.signals[cut.signal].cost.get(row).unwrap_or(&0);
                    tier.signals[cut.signal].value[row] >= cut.at_least
                }
            };
            if keep {
                let weight = i128::from(table.weight[row]);
                sums[0] += weight * i128::from(tier.quality[row]);
                sums[1] += weight * i128::from(cost);
                sums[2] += weight * i128::from(spent || f64::from(slow) > latency);
                sums[3] += weight * i128::from(cost > dear);
                break;
            }
        }
    }
    sums
}

/// (cost, quality) of every policy of some chains that keeps both limits.
pub(crate) fn kept(
    table: &Table,
    chains: &[Vec<usize>],
    latency: Option<f64>,
    tail: Option<(i64, f64)>,
) -> BTreeSet<(i128, i128)> {
    let weight = table.total_weight(&all_rows(table)) as f64;
    let within = |over: i128, share: f64| over as f64 <= share * weight + 1e-9;
    chains
        .iter()
        .flat_map(|tiers| rules_of(table, tiers))
        .map(|rule| simulate(table, &rule, latency.unwrap_or(0.0), tail.map_or(0, |tail| tail.0)))
        .filter(|sums| latency.is_none() || within(sums[2], 0.05))
        .filter(|sums| tail.is_none_or(|tail| within(sums[3], tail.1)))
        .map(|sums| (sums[1], sums[0]))
        .collect()
}

fn check(table: &Table, latency: Option<f64>, tail: Option<(i64, f64)>) {
    let rows = all_rows(table);
    let limits = limits(latency, tail);
    for stages in 1..=3 {
        let points = kept(table, &chains(table, stages), latency, tail);
        let class = Limited::new(table, &rows, Members::UpTo(stages), &limits, 2);
        assert_exact(table, &class, &points);
        for vertex in class.hull() {
            let sums = simulate(table, &vertex.rule, latency.unwrap_or(0.0), tail.map_or(0, |tail| tail.0));
            let weight = table.total_weight(&rows) as f64;
            assert!(latency.is_none() || sums[2] as f64 <= 0.05 * weight + 1e-9);
            assert!(tail.is_none_or(|tail| sums[3] as f64 <= tail.1 * weight + 1e-9));
        }
    }
    let full = non_dominated(table, &rows);
    if full.len() <= 3 {
        let points = kept(table, std::slice::from_ref(&full), latency, tail);
        assert_exact(table, &Limited::new(table, &rows, Members::FullChain, &limits, 1), &points);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cascades_under_limits_equal_brute_force(
        seed in any::<u64>(),
        latency in prop::option::of(0_u8..8),
        tail in prop::option::of((0_i64..60_000, prop::sample::select(vec![0.1, 0.3, 0.5]))),
    ) {
        let table = with_latencies(random_table(seed, 12, 2), seed);
        let latency = latency.map(f64::from);
        if latency.is_some() || tail.is_some() {
            check(&table, latency, tail);
        }
    }
}

/// Twenty rows and more, so that one slow row is within the limit.
#[test]
fn longer_logs_under_limits_equal_brute_force() {
    for seed in 0..10 {
        let table = with_latencies(random_table(seed * 11 + 3, 50, 1), seed);
        check(&table, Some(3.0), Some((30_000, 0.3)));
    }
}

/// Four stages are climbed: never worse than three, and what is claimed is true.
#[test]
fn longer_chains_keep_limits_and_are_no_worse() {
    let mut deeper = 0;
    for seed in 0..6 {
        let table = with_latencies(telling_table(seed, 120, 12.0, 0.1), seed);
        let rows = all_rows(&table);
        let limits = limits(Some(9.0), None);
        let three = Limited::new(&table, &rows, Members::UpTo(3), &limits, 2);
        let four = Limited::new(&table, &rows, Members::UpTo(4), &limits, 2);
        let Some(top) = three.hull().last().map(|vertex| vertex.totals.cost) else { continue };
        for step in 1..10 {
            let budget = top * step / 10;
            let (Some(short), Some(long)) = (three.at_budget(budget), four.at_budget(budget)) else {
                continue;
            };
            assert!(long.totals.quality >= short.totals.quality && long.totals.cost <= budget);
            let sums = simulate(&table, &long.rule, 9.0, 0);
            assert!(sums[2] * 20 <= 120, "{sums:?}");
            assert_eq!((sums[0], sums[1]), (long.totals.quality, long.totals.cost));
            deeper += usize::from(long.rule.tiers.len() == 4);
        }
    }
    assert!(deeper > 0);
}

/// The longest chain's top lies to the right of every short cascade, and a vertex lies between.
#[test]
fn the_edge_to_the_top_of_longer_chains_is_explored() {
    let seed = 8_799_447_573_200_153_417;
    check(&with_latencies(random_table(seed, 12, 2), seed), None, Some((6_000, 0.5)));
}
