//! What a router can be expected to reach at each λ.
//!
//! The realised sums of some hundred rows are noisy, and the λ that looks best on them owes much of its lead to chance: on
//! real logs one to two points of quality. Predictions out of fold do not know what became of their row, so a frontier of
//! predicted sums does not favour the lucky; for every price it deploys the router at that price. Predictions may be off as
//! a whole, however. Therefore the sums are moved along a line between the two ends of the sweep, so that they meet the
//! realised sums at both, where nothing is chosen.

use super::sweep::{Prospect, SweepPoint, sweep};
use crate::fit::limited::Sums;
use crate::fit::limits::Over;
use crate::fit::rows::table::{QUALITY_ONE, Table, Totals};
use crate::money::PICO_PER_USD;
use std::ops::{Add, AddAssign, Sub};

/// Sums over the rows, as they were and as they were predicted.
#[derive(Clone, Copy, Debug, Default)]
struct Both {
    realised: Totals,
    predicted: Totals,
    /// What exceeds limits is as it was: a limit is kept or broken, and no forecast says it.
    over: Over,
}

fn each(a: Over, b: Over, of: impl Fn(i64, i64) -> i64) -> Over {
    std::array::from_fn(|limit| of(a[limit], b[limit]))
}

impl Add for Both {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            realised: self.realised + other.realised,
            predicted: self.predicted + other.predicted,
            over: each(self.over, other.over, |a, b| a + b),
        }
    }
}

impl Sub for Both {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self {
            realised: self.realised - other.realised,
            predicted: self.predicted - other.predicted,
            over: each(self.over, other.over, |a, b| a - b),
        }
    }
}

impl AddAssign for Both {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// The frontier over λ, from the highest λ to 0, with expected sums; `prospects` are out of fold, rows × tiers.
pub(super) fn frontier(table: &Table, rows: &[u32], prospects: &[Prospect]) -> Vec<SweepPoint> {
    let points = penalised(table, rows, prospects, &[], |_| Over::default());
    points
        .into_iter()
        .map(|point| SweepPoint { shadow_price: point.shadow_price, totals: point.totals.totals() })
        .collect()
}

/// The same where each tier's predicted quality is lowered by a penalty (no penalties: by nothing) when plans are chosen;
/// `over` has what exceeds limits, by the place of a row and a tier in `prospects`, and is summed as it was.
#[expect(clippy::cast_possible_truncation, reason = "a prediction in the integer units of the table")]
pub(super) fn penalised(
    table: &Table,
    rows: &[u32],
    prospects: &[Prospect],
    penalty: &[f64],
    over: impl Fn(usize) -> Over,
) -> Vec<SweepPoint<Sums>> {
    let tiers = table.tiers.len();
    let lowered: Vec<Prospect> = prospects
        .iter()
        .enumerate()
        .map(|(at, prospect)| {
            let by = penalty.get(at % tiers).copied().unwrap_or(0.0);
            Prospect { quality: prospect.quality - by, ..*prospect }
        })
        .collect();
    let both: Vec<Both> = rows
        .iter()
        .flat_map(|&row| table.tiers.iter().map(move |tier| (row, tier)))
        .zip(prospects)
        .enumerate()
        .map(|(at, ((row, tier), prospect))| Both {
            over: over(at),
            realised: table.totals(row, tier.quality[row as usize], tier.cost[row as usize]),
            predicted: table.totals(
                row,
                (prospect.quality * QUALITY_ONE as f64) as i64,
                (prospect.cost_usd * PICO_PER_USD as f64) as i64,
            ),
        })
        .collect();
    let points = sweep(tiers, &lowered, &both);
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Vec::new() };
    let off = |point: &SweepPoint<Both>| point.totals.realised - point.totals.predicted;
    let (at_first, at_last) = (off(first), off(last));
    let steps = points.len().saturating_sub(1).max(1) as f64;
    points
        .iter()
        .enumerate()
        .map(|(at, point)| {
            let share = at as f64 / steps;
            let between = |first: i128, last: i128| first + (share * (last - first) as f64) as i128;
            let level = Totals {
                quality: between(at_first.quality, at_last.quality),
                cost: between(at_first.cost, at_last.cost),
            };
            let Totals { quality, cost } = point.totals.predicted + level;
            let totals = Sums { quality, cost, over: point.totals.over };
            SweepPoint { shadow_price: point.shadow_price, totals }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::argmax;
    use crate::fit::random::SplitMix64;
    use crate::fit::rows::table::TierData;

    /// Rows of which the dear tier is better by what is predicted, give or take `off` for all.
    fn case(rows: u32, off: f64, seed: u64) -> (Table, Vec<u32>, Vec<Prospect>) {
        let mut random = SplitMix64::new(seed, 2);
        let [mut small, mut large] = [(); 2].map(|()| TierData::default());
        let mut prospects = Vec::new();
        for _ in 0..rows {
            let cheap = 0.2 + 0.5 * random.fraction();
            for (tier, good, cost) in [(&mut small, cheap, 1e-6), (&mut large, 0.8, 2e-5)] {
                let real = random.fraction() < good + off;
                tier.quality.push(if real { QUALITY_ONE } else { 0 });
                tier.cost.push(crate::money::Usd::from_f64(cost).unwrap().pico());
                prospects.push(Prospect { quality: good, cost_usd: cost });
            }
        }
        let table = Table {
            tiers: vec![small, large],
            log_row: (0..rows).collect(),
            group: (0..rows).collect(),
            groups: rows as usize,
            weight: vec![1; rows as usize],
            embedding_cost: Vec::new(),
            embedding_latency_ms: Vec::new(),
        };
        (table, (0..rows).collect(), prospects)
    }

    fn realised(table: &Table, rows: &[u32], prospects: &[Prospect], price: f64) -> Totals {
        rows.iter().zip(prospects.chunks_exact(2)).fold(Totals::default(), |sum, (&row, of_row)| {
            let tier = &table.tiers[argmax(price, of_row.iter().map(|p| (p.quality, p.cost_usd)))];
            sum + table.totals(row, tier.quality[row as usize], tier.cost[row as usize])
        })
    }

    #[test]
    fn both_ends_are_as_they_were() {
        for off in [-0.15, 0.0, 0.15] {
            let (table, rows, prospects) = case(300, off, 5);
            let points = frontier(&table, &rows, &prospects);
            for end in [points[0], points[points.len() - 1]] {
                assert_eq!(end.totals, realised(&table, &rows, &prospects, end.shadow_price));
            }
        }
    }

    #[test]
    fn at_every_price_the_router_at_that_price_is_best() {
        let (table, rows, prospects) = case(400, 0.1, 5);
        let points = frontier(&table, &rows, &prospects);
        assert!(points.len() > 100);
        let value =
            |point: &SweepPoint, price: f64| point.totals.quality as f64 - price * point.totals.cost as f64;
        for pair in points.windows(2).step_by(20) {
            let price = pair[1].shadow_price;
            let best = points
                .iter()
                .reduce(|best, next| if value(next, price) > value(best, price) { next } else { best })
                .unwrap();
            // The line between the ends turns prices a little.
            assert!((best.shadow_price / price).ln().abs() < 0.5, "{} for {price}", best.shadow_price);
        }
    }

    #[test]
    fn it_does_not_promise_more_than_it_keeps() {
        let (mut expected, mut happened) = (0.0, 0.0);
        for seed in 0..40 {
            let (table, rows, prospects) = case(200, 0.0, seed);
            let points = frontier(&table, &rows, &prospects);
            let price = points[points.len() / 2].shadow_price;
            let value = |totals: Totals| totals.quality as f64 - price * totals.cost as f64;
            // Qualities are as likely as is predicted, so what is predicted is the truth of a rule.
            let truth = |chosen: f64| {
                prospects.chunks_exact(2).fold(0.0, |sum, of_row| {
                    let p = of_row[argmax(chosen, of_row.iter().map(|p| (p.quality, p.cost_usd)))];
                    sum + QUALITY_ONE as f64 * (p.quality - price * p.cost_usd)
                })
            };
            let promise = |of: &dyn Fn(&SweepPoint) -> f64| {
                let best = points.iter().reduce(|a, b| if of(b) > of(a) { b } else { a }).unwrap();
                (of(best) - truth(best.shadow_price)) / (QUALITY_ONE as f64 * rows.len() as f64)
            };
            expected += promise(&|point| value(point.totals)) / 40.0;
            let luck = |point: &SweepPoint| value(realised(&table, &rows, &prospects, point.shadow_price));
            happened += promise(&luck) / 40.0;
        }
        assert!(happened > 0.01, "{happened}");
        assert!(expected.abs() < happened / 2.0, "{expected} against {happened}");
    }
}
