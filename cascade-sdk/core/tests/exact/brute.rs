//! Small random logs, and every policy on them by plain enumeration.

use cascade_sdk_core::fit::frontier::operating::{CascadeRule, Operating, PolicyClass, StageCut};
use cascade_sdk_core::fit::random::SplitMix64;
use cascade_sdk_core::fit::rows::table::{QUALITY_ONE, SignalData, Table, TierData, Totals};
use std::collections::BTreeSet;

pub(crate) fn all_rows(table: &Table) -> Vec<u32> {
    (0..table.len() as u32).collect()
}

/// A table from tiers in any order, put in order of cost.
pub(crate) fn table(tiers: Vec<TierData>, weight: Vec<i64>) -> Table {
    let rows = weight.len();
    let mut table = Table {
        tiers,
        log_row: (0..rows as u32).collect(),
        group: (0..rows as u32).collect(),
        groups: rows,
        weight,
        embedding_cost: Vec::new(),
        embedding_latency_ms: Vec::new(),
    };
    table.order_by_cost(&all_rows(&table));
    table
}

/// Up to `most_rows` rows and 4 tiers: ties everywhere, zero costs, weights, signals that cost extra or are missing,
/// real-valued quality and dear tiers that answer worse.
pub(crate) fn random_table(seed: u64, most_rows: usize, most_signals: usize) -> Table {
    let mut random = SplitMix64::new(seed, 0);
    let rows = 1 + random.below(most_rows);
    let tiers = 1 + random.below(4);
    let (graded, priced, weighted, missing, free) = (
        random.below(2) == 0,
        random.below(3) == 0,
        random.below(3) == 0,
        random.below(3) == 0,
        random.below(3) == 0,
    );
    let levels = [1, 3, 4, 12][random.below(4)];
    let column = |random: &mut SplitMix64, most: usize, unit: i64| -> Vec<i64> {
        (0..rows).map(|_| random.below(most + 1) as i64 * unit).collect()
    };
    let tiers = (0..tiers)
        .map(|tier| {
            let signals = if most_signals == 0 { 0 } else { 1 + random.below(most_signals) };
            let signals = (0..signals)
                .map(|signal| SignalData {
                    name: format!("s{signal}"),
                    value: (0..rows)
                        .map(|_| match random.below(levels + 1) {
                            0 if missing => f64::NEG_INFINITY,
                            level => level as f64 / 4.0 - 0.5,
                        })
                        .collect(),
                    cost: if priced { column(&mut random, 4, 500) } else { Vec::new() },
                    combined: None,
                })
                .collect();
            let unit = [1_000, 3_000, 7_000, 20_000][tier];
            let quality_unit = if graded { QUALITY_ONE / 4 } else { QUALITY_ONE };
            TierData {
                name: format!("t{tier}"),
                quality: column(&mut random, if graded { 4 } else { 1 }, quality_unit),
                cost: column(&mut random, if free && tier < 2 { 1 } else { 3 }, unit),
                failed: vec![false; rows],
                latency_ms: vec![0.0; rows],
                signals,
            }
        })
        .collect();
    let weight = (0..rows).map(|_| if weighted { 1 + random.below(5) as i64 } else { 1 }).collect();
    table(tiers, weight)
}

/// Four tiers of rising skill and price whose scores mostly know whether they are right, so that depth pays. Scores are
/// rounded to multiples of 1 / `levels`, after noise of a width of `noise`.
pub(crate) fn telling_table(seed: u64, rows: usize, levels: f64, noise: f64) -> Table {
    let mut random = SplitMix64::new(seed, 1);
    let difficulty: Vec<f64> = (0..rows).map(|_| random.fraction()).collect();
    let tiers = (0_u8..4)
        .map(|tier| {
            let skill = 0.35 + 0.2 * f64::from(tier);
            let margin: Vec<f64> =
                difficulty.iter().map(|level| skill - level + 0.1 * (random.fraction() - 0.5)).collect();
            let value =
                margin.iter().map(|margin| ((margin + noise * (random.fraction() - 0.5)) * levels).round());
            let value = value.collect();
            TierData {
                name: format!("t{tier}"),
                quality: margin.iter().map(|&margin| if margin > 0.0 { QUALITY_ONE } else { 0 }).collect(),
                cost: (0..rows)
                    .map(|_| 1_000 * 5_i64.pow(u32::from(tier)) + random.below(500) as i64)
                    .collect(),
                failed: vec![false; rows],
                latency_ms: vec![0.0; rows],
                signals: vec![SignalData { name: "s".into(), value, cost: Vec::new(), combined: None }],
            }
        })
        .collect();
    table(tiers, vec![1; rows])
}

/// Quality and cost of a rule on one row, written apart from the crate's own.
fn run(table: &Table, rule: &CascadeRule, row: usize) -> (i64, i64) {
    let mut cost = 0;
    for (stage, &tier) in rule.tiers.iter().enumerate() {
        let tier = &table.tiers[tier];
        cost += tier.cost[row];
        let keep = match rule.cuts.get(stage) {
            None => true,
            Some(cut) if cut.at_least.is_infinite() => cut.at_least < 0.0,
            Some(cut) => {
                let signal = &tier.signals[cut.signal];
                if !signal.cost.is_empty() {
                    cost += signal.cost[row];
                }
                signal.value[row] >= cut.at_least
            }
        };
        if keep {
            return (tier.quality[row], cost);
        }
    }
    unreachable!("the last stage keeps everything")
}

pub(crate) fn simulate(table: &Table, rule: &CascadeRule) -> Totals {
    let mut sum = Totals::default();
    for row in 0..table.len() {
        let (quality, cost) = run(table, rule, row);
        let weight = i128::from(table.weight[row]);
        sum += Totals { quality: weight * i128::from(quality), cost: weight * i128::from(cost) };
    }
    sum
}

/// −∞, every distinct score but the smallest, +∞.
pub(crate) fn cuts(values: &[f64]) -> Vec<f64> {
    let mut distinct: Vec<f64> = values.to_vec();
    distinct.sort_by(f64::total_cmp);
    distinct.dedup();
    distinct.remove(0);
    distinct.insert(0, f64::NEG_INFINITY);
    distinct.push(f64::INFINITY);
    distinct
}

/// Every rule over one chain of tiers.
pub(crate) fn rules_of(table: &Table, tiers: &[usize]) -> Vec<CascadeRule> {
    let mut rules = vec![Vec::new()];
    for &tier in &tiers[..tiers.len() - 1] {
        let choices: Vec<StageCut> = table.tiers[tier]
            .signals
            .iter()
            .enumerate()
            .flat_map(|(signal, data)| {
                cuts(&data.value).into_iter().map(move |at_least| StageCut { signal, at_least })
            })
            .collect();
        rules = rules
            .into_iter()
            .flat_map(|cuts: Vec<StageCut>| {
                choices.iter().map(move |&choice| [&cuts[..], &[choice]].concat())
            })
            .collect();
    }
    rules.into_iter().map(|cuts| CascadeRule { tiers: tiers.to_vec(), cuts }).collect()
}

/// Every policy of a chain of three tiers with one free signal each and weights of 1: for each first cut, prefix sums
/// over the rows that escalate, in the order of the second score (MATH.md 6.2).
pub(crate) fn surface(table: &Table, tiers: [usize; 3]) -> Vec<Totals> {
    let [cheap, middle, dear] = tiers.map(|tier| &table.tiers[tier]);
    let by_score = |values: &[f64]| {
        let mut order: Vec<usize> = (0..table.len()).collect();
        order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
        order
    };
    let (one, two) = (&cheap.signals[0].value, &middle.signals[0].value);
    let second = by_score(two);
    let mut points = Vec::new();
    for cut in cuts(one) {
        let stays = |row: usize| one[row] >= cut && cut < f64::INFINITY;
        let mut sum = Totals::default();
        for row in 0..table.len() {
            let (quality, more) =
                if stays(row) { (cheap.quality[row], 0) } else { (middle.quality[row], middle.cost[row]) };
            sum += Totals { quality: quality.into(), cost: (cheap.cost[row] + more).into() };
        }
        points.push(sum);
        for (place, &row) in second.iter().enumerate() {
            if !stays(row) {
                sum += Totals {
                    quality: (dear.quality[row] - middle.quality[row]).into(),
                    cost: dear.cost[row].into(),
                };
            }
            if second.get(place + 1).is_none_or(|&next| two[next] > two[row]) {
                points.push(sum);
            }
        }
    }
    points
}

/// Every cost-ordered chain of up to `stages` tiers.
pub(crate) fn chains(table: &Table, stages: usize) -> Vec<Vec<usize>> {
    (1_u32..1 << table.tiers.len())
        .filter(|set| set.count_ones() as usize <= stages)
        .map(|set| (0..table.tiers.len()).filter(|tier| set >> tier & 1 == 1).collect())
        .collect()
}

/// The totals of every policy of some chains.
pub(crate) fn everything(table: &Table, chains: &[Vec<usize>]) -> BTreeSet<(i128, i128)> {
    chains
        .iter()
        .flat_map(|tiers| rules_of(table, tiers))
        .map(|rule| simulate(table, &rule))
        .map(|totals| (totals.cost, totals.quality))
        .collect()
}

/// The best of `points` (cost, quality) within a budget.
pub(crate) fn best_within(points: &BTreeSet<(i128, i128)>, limit: i128) -> Option<Totals> {
    let best = points.iter().filter(|point| point.0 <= limit).max_by_key(|point| (point.1, -point.0));
    best.map(|&(cost, quality)| Totals { quality, cost })
}

/// The cheapest of `points` above a floor.
pub(crate) fn cheapest_above(points: &BTreeSet<(i128, i128)>, floor: i128) -> Option<Totals> {
    let best = points.iter().filter(|point| point.1 >= floor).max_by_key(|point| (-point.0, point.1));
    best.map(|&(cost, quality)| Totals { quality, cost })
}

/// The vertices of the least concave majorant by definition: a point is one iff no other dominates it and no segment
/// between two others reaches it.
pub(crate) fn vertices(points: &BTreeSet<(i128, i128)>) -> Vec<Totals> {
    let undominated: Vec<(i128, i128)> = points
        .iter()
        .copied()
        .filter(|&a| !points.iter().any(|&b| b != a && b.0 <= a.0 && b.1 >= a.1))
        .collect();
    let covered = |point: (i128, i128)| {
        undominated.iter().filter(|left| left.0 < point.0).any(|left| {
            undominated.iter().filter(|right| right.0 > point.0).any(|right| {
                (point.1 - left.1) * (right.0 - left.0) <= (right.1 - left.1) * (point.0 - left.0)
            })
        })
    };
    undominated
        .iter()
        .filter(|&&point| !covered(point))
        .map(|&(cost, quality)| Totals { quality, cost })
        .collect()
}

/// The totals of an operating point, after checking that its rule reaches them.
pub(crate) fn checked(table: &Table, operating: Option<Operating>) -> Option<Totals> {
    let operating = operating?;
    assert_eq!(simulate(table, &operating.rule), operating.totals, "{:?}", operating.rule);
    assert_eq!(operating.rule.totals(table, &all_rows(table)), operating.totals);
    Some(operating.totals)
}

/// Compares a class with all its policies: hull, and budgets and floors at, below and above every point.
pub(crate) fn assert_exact(table: &Table, class: &dyn PolicyClass, points: &BTreeSet<(i128, i128)>) {
    let hull: Vec<Totals> =
        class.hull().iter().cloned().map(|vertex| checked(table, Some(vertex)).unwrap()).collect();
    assert_eq!(hull, vertices(points), "hull");
    let step = (points.len() / 60).max(1);
    for &(cost, quality) in points.iter().step_by(step) {
        for shift in -1..=1 {
            let (limit, floor) = (cost + shift, quality + shift);
            assert_eq!(checked(table, class.at_budget(limit)), best_within(points, limit), "budget {limit}");
            assert_eq!(checked(table, class.at_floor(floor)), cheapest_above(points, floor), "floor {floor}");
        }
    }
}
