//! Monotone regression by pooling adjacent violators: shadow prices as a step function of the signal (MATH.md 3.1) and
//! calibrated confidence (MATH.md 10).

use crate::fit::frontier::pair::Pair;
use crate::fit::frontier::ranking::Ranking;
use crate::fit::rows::table::{QUALITY_ONE, Table};

/// What one group of equal scores contributes: Σ response and Σ weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// The score.
    pub score: f64,
    /// Σ response.
    pub response: f64,
    /// Σ weight; may be 0, and then the group is pooled with its neighbour.
    pub weight: f64,
}

/// A level that holds from `score` up to the next step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Lowest score of the step.
    pub score: f64,
    /// Its level: Σ response / Σ weight of the pooled groups.
    pub level: f64,
    /// Σ weight of the pooled groups.
    pub weight: f64,
}

/// Direction of a monotone fit along increasing scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Levels may not fall.
    Increasing,
    /// Levels may not rise.
    Decreasing,
}

/// The weighted least-squares monotone fit to Σ response / Σ weight, groups in increasing order of score. O(n).
pub fn fit(groups: impl IntoIterator<Item = Group>, direction: Direction) -> Vec<Step> {
    let mut blocks: Vec<Group> = Vec::new();
    for group in groups {
        let mut block = group;
        while let Some(last) = blocks.last() {
            // Compared across without dividing, so that groups of no weight pool too.
            let (before, after) = (last.response * block.weight, block.response * last.weight);
            let violates = match direction {
                Direction::Increasing => before >= after,
                Direction::Decreasing => before <= after,
            };
            if !violates && last.weight > 0.0 && block.weight > 0.0 {
                break;
            }
            block = Group {
                score: last.score,
                response: last.response + block.response,
                weight: last.weight + block.weight,
            };
            blocks.pop();
        }
        blocks.push(block);
    }
    blocks
        .into_iter()
        .filter(|block| block.weight > 0.0)
        .map(|block| Step { score: block.score, level: block.response / block.weight, weight: block.weight })
        .collect()
}

/// The level of a step function at a score; the first step holds below its own score too. NaN without steps.
///
/// Nothing is interpolated between steps. Levels describe confidence in a report, never decide: any increasing map leaves
/// a threshold on one score where it was (MATH.md 10). On the rows of the fit both ways agree.
pub fn level_at(steps: &[Step], score: f64) -> f64 {
    let after = steps.partition_point(|step| step.score <= score);
    steps.get(after.saturating_sub(1)).map_or(f64::NAN, |step| step.level)
}

/// λ̂ as a decreasing step function of the cheap tier's signal, in quality per US dollar: the cost-weighted fit of
/// (q_H − q_L) / c_H. Its levels are the slopes of the least concave majorant of the pair's frontier (MATH.md 3.1).
pub fn shadow_prices(table: &Table, ranking: &Ranking, pair: Pair) -> Vec<Step> {
    let (cheap, dear) = (&table.tiers[pair.cheap], &table.tiers[pair.dear]);
    let groups = (0..ranking.groups()).map(|group| {
        let rows = ranking.group(group);
        let sum = |value: &dyn Fn(usize) -> i64| -> f64 {
            let exact: i128 = rows
                .iter()
                .map(|&row| i128::from(table.weight[row as usize]) * i128::from(value(row as usize)))
                .sum();
            exact as f64
        };
        Group {
            score: ranking.scores[group],
            response: sum(&|row| dear.quality[row] - cheap.quality[row]),
            weight: sum(&|row| dear.cost[row]),
        }
    });
    fit(groups, Direction::Decreasing)
}

/// φ(s) = P(correct | signal): the increasing fit of a tier's quality to one of its signals, on rows that have it.
pub fn calibration(table: &Table, ranking: &Ranking, tier: usize) -> Vec<Step> {
    let quality = &table.tiers[tier].quality;
    let groups =
        (0..ranking.groups()).filter(|&group| ranking.scores[group] > f64::NEG_INFINITY).map(|group| {
            let (mut response, mut weight) = (0.0, 0.0);
            for &row in ranking.group(group) {
                let own = table.weight[row as usize] as f64;
                response += own * quality[row as usize] as f64 / QUALITY_ONE as f64;
                weight += own;
            }
            Group { score: ranking.scores[group], response, weight }
        });
    fit(groups, Direction::Increasing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::frontier::hull::concave;
    use crate::fit::frontier::pair::frontier;
    use crate::fit::rows::table::{SignalData, TierData, Totals};
    use proptest::prelude::*;

    fn groups(values: &[(f64, f64)]) -> Vec<Group> {
        values
            .iter()
            .enumerate()
            .map(|(at, &(level, weight))| Group { score: at as f64, response: level * weight, weight })
            .collect()
    }

    /// Two tiers; the cheap one has a signal and is never right.
    fn table(rows: &[(u8, bool, i64)]) -> Table {
        let tier = |quality: Vec<i64>, cost: Vec<i64>, signals: Vec<SignalData>| TierData {
            name: String::new(),
            failed: vec![false; cost.len()],
            latency_ms: vec![f32::NAN; cost.len()],
            quality,
            cost,
            signals,
        };
        let value = rows.iter().map(|row| f64::from(row.0)).collect();
        let signal = SignalData { name: "s".into(), value, cost: Vec::new(), combined: None };
        let count = u32::try_from(rows.len()).unwrap();
        let gain = |row: &(u8, bool, i64)| if row.1 { QUALITY_ONE } else { 0 };
        // Some of the cheap tier's answers are right where the dear tier's are wrong, so that escalation harms.
        let own = |row: &(u8, bool, i64)| if row.1 || row.2 % 2 == 0 { 0 } else { QUALITY_ONE };
        Table {
            tiers: vec![
                tier(rows.iter().map(own).collect(), vec![1; rows.len()], vec![signal]),
                tier(rows.iter().map(gain).collect(), rows.iter().map(|row| row.2).collect(), Vec::new()),
            ],
            log_row: (0..count).collect(),
            group: (0..count).collect(),
            groups: rows.len(),
            weight: vec![1; rows.len()],
            embedding_cost: Vec::new(),
            embedding_latency_ms: Vec::new(),
        }
    }

    #[test]
    fn violators_are_pooled_by_weight() {
        let steps = fit(groups(&[(1.0, 1.0), (3.0, 1.0), (2.0, 3.0), (5.0, 1.0)]), Direction::Increasing);
        let levels: Vec<(f64, f64)> = steps.iter().map(|step| (step.score, step.level)).collect();
        assert_eq!(levels, [(0.0, 1.0), (1.0, 2.25), (3.0, 5.0)]);
        assert_eq!((level_at(&steps, -9.0), level_at(&steps, 2.9), level_at(&steps, 99.0)), (1.0, 2.25, 5.0));
    }

    #[test]
    fn groups_without_weight_join_a_neighbour() {
        let mut data = groups(&[(1.0, 1.0), (0.0, 0.0), (0.5, 1.0)]);
        data[1].response = 4.0;
        let steps = fit(data, Direction::Decreasing);
        assert!(steps.iter().all(|step| step.level.is_finite()));
        assert!((steps.iter().map(|step| step.level * step.weight).sum::<f64>() - 5.5).abs() < 1e-12);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// MATH.md 3.1: the levels are the slopes of the least concave majorant of the pair's frontier.
        #[test]
        fn shadow_prices_are_the_slopes_of_the_frontier(
            rows in prop::collection::vec((0..12_u8, any::<bool>(), 1..1_000_i64), 1..60),
        ) {
            let table = table(&rows);
            let all: Vec<u32> = (0_u32..).take(rows.len()).collect();
            let ranking = Ranking::new(&table.tiers[0].signals[0].value, &all);
            let pair = Pair { cheap: 0, signal: 0, dear: 1 };
            let cuts: Vec<Totals> = frontier(&table, &ranking, pair).iter().map(|cut| cut.totals).collect();
            let vertices: Vec<Totals> = concave(&cuts).into_iter().map(|at| cuts[at]).collect();
            let slopes = vertices.windows(2).map(|edge| {
                (edge[1].quality - edge[0].quality) as f64 / (edge[1].cost - edge[0].cost) as f64
            });
            let prices = shadow_prices(&table, &ranking, pair).into_iter().map(|step| step.level);
            let (slopes, prices): (Vec<f64>, Vec<f64>) = (slopes.collect(), prices.filter(|level| *level > 0.0).collect());
            prop_assert_eq!(slopes.len(), prices.len(), "{:?} {:?}", slopes, prices);
            for (slope, price) in slopes.iter().zip(&prices) {
                prop_assert!((slope - price).abs() <= 1e-9 * slope, "{} {}", slope, price);
            }
        }

        #[test]
        fn fits_are_monotone_keep_the_mean_and_change_nothing_twice(
            values in prop::collection::vec((-5.0..5.0_f64, 0.1..3.0_f64), 1..40),
        ) {
            for direction in [Direction::Increasing, Direction::Decreasing] {
                let data = groups(&values);
                let steps = fit(data.clone(), direction);
                for pair in steps.windows(2) {
                    let rises = pair[1].level > pair[0].level;
                    prop_assert_eq!(rises, direction == Direction::Increasing);
                }
                let total = |sums: &mut dyn Iterator<Item = f64>| sums.sum::<f64>();
                let before = total(&mut data.iter().map(|group| group.response));
                let after = total(&mut steps.iter().map(|step| step.level * step.weight));
                prop_assert!((before - after).abs() < 1e-9);
                let again = fit(
                    steps.iter().map(|s| Group { score: s.score, response: s.level * s.weight, weight: s.weight }),
                    direction,
                );
                prop_assert_eq!(steps.len(), again.len());
            }
        }
    }
}
