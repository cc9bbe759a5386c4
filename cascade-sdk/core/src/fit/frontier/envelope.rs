//! The envelope of pairs and single tiers: where the best plan changes, how sure that is, and what mixing two vertices
//! at random would add (MATH.md 4 and 5).

use crate::fit::frontier::hull::bracket;
use crate::fit::frontier::operating::Operating;
use crate::fit::frontier::pair::{self, Member, Pairs};
use crate::fit::frontier::ranking::Ranking;
use crate::fit::random::SplitMix64;
use crate::fit::rows::table::{QUALITY_ONE, SignalData, Table, TierData, Totals};
use crate::fit::threads;

/// A change counts as the same if it comes within this share of the range of costs.
const NEARBY: f64 = 0.025;

/// Row visits that resampling may take; bounds the number of resamples on large logs.
const MOST_VISITS: usize = 20_000_000;

/// A cost from which another plan is best.
#[derive(Clone, Debug, PartialEq)]
pub struct Switch {
    /// Mean cost in pico-dollars per request, as a float.
    pub cost: f64,
    /// Best below: tiers in the order in which they run.
    pub from: Vec<usize>,
    /// Best from here on.
    pub to: Vec<usize>,
}

/// Every change of plan along the envelope, whatever the signals and cuts: an exact sweep over the union of all
/// staircases.
pub fn switches(pairs: &Pairs, weight: i128) -> Vec<Switch> {
    let plan = |member: &Member| member.rule().tiers;
    pairs
        .staircase()
        .windows(2)
        .filter(|steps| plan(&steps[0].1) != plan(&steps[1].1))
        .map(|steps| Switch {
            cost: steps[1].0.cost as f64 / weight as f64,
            from: plan(&steps[0].1),
            to: plan(&steps[1].1),
        })
        .collect()
}

/// For each change, the share of resamples (of groups) whose own envelope has the same change nearby.
pub fn frequencies(table: &Table, rows: &[u32], switches: &[Switch], seed: u64, threads: usize) -> Vec<f64> {
    let rankings = pair::rankings(table, rows, threads);
    let visits = rows.len() * pair::all_pairs(table).len();
    let resamples = (MOST_VISITS / visits.max(1)).clamp(20, 200);
    let costs = (0..table.tiers.len()).map(|tier| table.single(tier, rows).cost);
    let (low, high) = costs.fold((i128::MAX, 0), |(low, high), cost| (low.min(cost), high.max(cost)));
    let near = NEARBY * (high - low.min(high)) as f64 / table.total_weight(rows) as f64;
    let held = threads::map(threads, resamples, |number| {
        let table = resampled(table, rows, &mut SplitMix64::new(seed, 0x5E1E_C700 + number as u64));
        let own = own_switches(&table, rows, &rankings);
        let holds = |switch: &Switch| {
            own.iter().any(|own| {
                own.from == switch.from && own.to == switch.to && (own.cost - switch.cost).abs() <= near
            })
        };
        switches.iter().map(holds).collect::<Vec<bool>>()
    });
    (0..switches.len())
        .map(|at| held.iter().filter(|held| held[at]).count() as f64 / resamples as f64)
        .collect()
}

fn own_switches(table: &Table, rows: &[u32], rankings: &[Vec<Ranking>]) -> Vec<Switch> {
    switches(&Pairs::from_rankings(table, rows, rankings, 1), table.total_weight(rows).max(1))
}

/// The same rows with weights drawn by group, with replacement.
fn resampled(table: &Table, rows: &[u32], random: &mut SplitMix64) -> Table {
    let mut present: Vec<u32> = rows.iter().map(|&row| table.group[row as usize]).collect();
    present.sort_unstable();
    present.dedup();
    let mut count = vec![0_i64; table.groups];
    for _ in 0..present.len() {
        count[present[random.below(present.len())] as usize] += 1;
    }
    // Scores are in the rankings already; what else a search over pairs does not read is left out.
    let tiers = table.tiers.iter().map(|tier| TierData {
        name: tier.name.clone(),
        quality: tier.quality.clone(),
        cost: tier.cost.clone(),
        signals: tier
            .signals
            .iter()
            .map(|signal| SignalData { cost: signal.cost.clone(), ..SignalData::default() })
            .collect(),
        ..TierData::default()
    });
    let mut drawn = Table { tiers: tiers.collect(), weight: table.weight.clone(), ..Table::default() };
    for (weight, &group) in drawn.weight.iter_mut().zip(&table.group) {
        *weight *= count[group as usize];
    }
    drawn
}

/// Two vertices of a hull, drawn by request so that a budget is met on average.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixture {
    /// The cheaper vertex.
    pub left: Operating,
    /// The dearer one.
    pub right: Operating,
    /// Share of requests that the dearer one serves.
    pub share: f64,
}

/// The mixture of the two vertices that bracket a total cost; `None` if no edge of the hull lies over it.
pub fn mixture(hull: &[Operating], cost: i128) -> Option<Mixture> {
    let totals: Vec<Totals> = hull.iter().map(|vertex| vertex.totals).collect();
    if totals.first().is_none_or(|cheapest| cost < cheapest.cost) {
        return None;
    }
    let (left, share, _) = bracket(&totals, cost);
    Some(Mixture { left: hull[left].clone(), right: hull.get(left + 1)?.clone(), share })
}

/// What mixing would add to a deterministic policy within a budget: height of the hull − total quality of the policy, as
/// mean quality for a total weight.
pub fn duality_gap(hull: &[Totals], reached: Totals, cost: i128, weight: i128) -> f64 {
    let (left, share, _) = bracket(hull, cost);
    let Some(from) = hull.get(left).filter(|vertex| vertex.cost <= cost) else { return 0.0 };
    let to = hull.get(left + 1).unwrap_or(from);
    let more = (from.quality - reached.quality) as f64 + share * (to.quality - from.quality) as f64;
    more.max(0.0) / (weight as f64 * QUALITY_ONE as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::frontier::hull::concave;
    use crate::fit::frontier::operating::PolicyClass;
    use crate::fit::frontier::point_set::PointSet;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        /// MATH.md 4: a budget between two cuts leaves no more unspent than one tie group gains, and what a frontier that is
        /// not concave lies below its hull.
        #[test]
        fn the_duality_gap_is_at_most_a_tie_group(
            groups in prop::collection::vec((1..50_i128, -20..60_i128), 1..30),
            sorted in any::<bool>(),
            share in 0.0..1.2_f64,
        ) {
            let mut groups = groups;
            if sorted {
                // Benefit per cost falls along the signal, so that the frontier is concave.
                groups.sort_by_key(|&(cost, gain)| std::cmp::Reverse(gain * 1_000_000 / cost));
            }
            let mut cuts = vec![Totals { cost: 100, quality: 100 }];
            for &(cost, gain) in &groups {
                let last = cuts[cuts.len() - 1];
                cuts.push(last + Totals { cost, quality: gain });
            }
            let hull: Vec<Totals> = concave(&cuts).into_iter().map(|at| cuts[at]).collect();
            let above = |at: Totals| duality_gap(&hull, at, at.cost, 1) * QUALITY_ONE as f64;
            let jump = groups.iter().map(|group| group.1).max().unwrap_or(0).max(0) as f64;
            let depth = cuts.iter().map(|&cut| above(cut)).fold(0.0, f64::max);
            #[expect(clippy::cast_possible_truncation, reason = "small numbers")]
            let budget = 100 + (share * (cuts[cuts.len() - 1].cost - 100) as f64) as i128;
            let set = PointSet::new(cuts.iter().map(|&cut| (cut, ())).collect());
            let reached = set.at_budget(budget).unwrap().0;
            let gap = duality_gap(&hull, reached, budget, 1) * QUALITY_ONE as f64;
            prop_assert!(gap <= jump + depth + 1e-6, "{gap} {jump} {depth}");
            if sorted {
                let best = cuts.iter().map(|cut| cut.quality).max().unwrap();
                let rising = cuts.iter().take_while(|cut| cut.quality < best).map(|&cut| above(cut));
                prop_assert!(rising.fold(0.0, f64::max) < 1e-3, "concave up to its top");
                prop_assert!(gap <= jump + 1e-3, "{gap} {jump}");
            }
        }
    }

    /// Three tiers at constant costs; scores rank the answers, the middle tier masters the middle.
    fn table(rows: usize, sharp: bool) -> (Table, Vec<u32>) {
        let mut random = SplitMix64::new(3, 0);
        let hard: Vec<f64> = (0..rows).map(|_| random.fraction()).collect();
        let tiers = [("small", 0.5, 1_000), ("mid", 0.8, 5_000), ("large", 0.95, 60_000)]
            .into_iter()
            .map(|(name, skill, cost)| TierData {
                name: name.into(),
                quality: hard.iter().map(|&hard| if hard < skill { QUALITY_ONE } else { 0 }).collect(),
                cost: vec![cost; rows],
                failed: vec![false; rows],
                latency_ms: vec![0.0; rows],
                signals: vec![SignalData {
                    name: "s".into(),
                    value: hard.iter().map(|hard| if sharp { -hard } else { random.fraction() }).collect(),
                    ..SignalData::default()
                }],
            })
            .collect();
        let all: Vec<u32> = (0..rows as u32).collect();
        let table = Table {
            tiers,
            log_row: all.clone(),
            group: all.iter().map(|row| row / 2).collect(),
            groups: rows.div_ceil(2),
            weight: vec![1; rows],
            embedding_cost: Vec::new(),
            embedding_latency_ms: Vec::new(),
        };
        (table, all)
    }

    #[test]
    fn plain_changes_of_plan_are_found_again_in_resamples() {
        let (table, rows) = table(1000, true);
        let pairs = Pairs::new(&table, &rows, 1);
        let found = switches(&pairs, 1000);
        let plans: Vec<(&[usize], &[usize])> =
            found.iter().map(|switch| (&switch.from[..], &switch.to[..])).collect();
        assert_eq!(plans.first(), Some(&(&[0][..], &[0, 1][..])));
        assert!(plans.contains(&(&[0, 1], &[1, 2])) || plans.contains(&(&[0, 1], &[0, 2])), "{plans:?}");
        let one = frequencies(&table, &rows, &found, 7, 1);
        assert_eq!(one, frequencies(&table, &rows, &found, 7, 3));
        assert!(one[0] > 0.95, "{one:?}");
        assert!(found.windows(2).all(|pair| pair[0].to == pair[1].from && pair[0].cost <= pair[1].cost));
    }

    #[test]
    fn resamples_keep_groups_together() {
        let (table, rows) = table(100, true);
        let drawn = resampled(&table, &rows, &mut SplitMix64::new(1, 2));
        assert!(drawn.weight.chunks(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(drawn.weight.iter().sum::<i64>(), 100);
        assert!(drawn.weight.contains(&0) && drawn.weight.iter().any(|&weight| weight > 1));
    }

    #[test]
    fn mixtures_meet_the_budget_and_close_the_gap() {
        let (table, rows) = table(60, false);
        let pairs = Pairs::new(&table, &rows, 1);
        let hull = pairs.hull();
        let totals: Vec<Totals> = hull.iter().map(|vertex| vertex.totals).collect();
        for cost in (hull[0].totals.cost..hull[hull.len() - 1].totals.cost).step_by(50_021) {
            let mixed = mixture(hull, cost).unwrap();
            let at = |of: fn(Totals) -> i128| {
                let (left, right) = (of(mixed.left.totals) as f64, of(mixed.right.totals) as f64);
                left + mixed.share * (right - left)
            };
            assert!((at(|totals| totals.cost) - cost as f64).abs() < 1e-3);
            let reached = pairs.at_budget(cost).unwrap().totals;
            let gap = duality_gap(&totals, reached, cost, 60);
            let mixed = at(|totals| totals.quality) - reached.quality as f64;
            assert!((mixed / 60e12 - gap).abs() < 1e-9 && mixed > -1.0);
        }
        for &vertex in &totals {
            assert!(duality_gap(&totals, vertex, vertex.cost, 60) < 1e-12);
        }
        let best = totals[totals.len() - 1];
        assert!(duality_gap(&totals, best, best.cost * 2, 60) < 1e-12);
        assert_eq!(mixture(hull, hull[0].totals.cost - 1), None);
    }
}
