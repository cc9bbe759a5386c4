//! Multipliers of a constraint and of limits together, from the dual over single tiers and pairs (MATH.md 2, 11.1).
//!
//! D(y) = max over policies of objective − Σ y_k · excess_k is convex in y ≥ 0; its minimiser holds one multiplier for
//! each constraint: λ for cost (or μ for quality) and one for each limit. The ellipsoid method finds it with a fixed
//! number of steps, so the result is the same on every system.

use super::{Arena, Sums, subsequences};
use crate::fit::frontier::operating::CascadeRule;
use crate::fit::frontier::pair::rankings;
use crate::fit::limits::{Limits, MOST};
use crate::fit::objective::{Multipliers, Target};
use crate::fit::rows::table::{QUALITY_ONE, Table};
use crate::fit::threads;
use crate::money::PICO_PER_USD;

/// The method starts anew around the best point with half the radius this often: one run from the largest radius would
/// lose the optimum to rounding.
const ROUNDS: usize = 40;

/// Steps of one run: each shrinks the volume by e^(−1/(2m + 2)) for m multipliers.
const STEPS: usize = 30;

/// No multiplier is larger, with cost in units of the dearest single tier's.
const LARGEST: f64 = 1e5;

/// Means of one policy: quality, cost in units of the dearest tier's, share over each limit.
#[derive(Clone, Copy, Debug)]
struct Point {
    quality: f64,
    cost: f64,
    over: [f64; MOST],
}

/// The multipliers at a target under limits, from all single tiers and pairs on `rows`.
pub fn multipliers(
    table: &Table,
    rows: &[u32],
    limits: &Limits,
    target: Target,
    threads: usize,
) -> Multipliers {
    let arena = Arena {
        table,
        rows: rows.to_vec(),
        rankings: rankings(table, rows, threads),
        limits: limits.clone(),
        allowed: limits.allowed(table.total_weight(rows)),
    };
    let weight = table.total_weight(rows) as f64;
    let chains: Vec<Vec<usize>> =
        (1..=2).flat_map(|stages| subsequences(table.tiers.len(), stages)).collect();
    let sums: Vec<Sums> =
        threads::map(threads, chains.len(), |at| arena.frontier(&chains[at])).into_iter().flatten().collect();
    let dearest = (0..table.tiers.len()).map(|tier| table.single(tier, rows).cost).max().unwrap_or(0).max(1);
    let scale = dearest as f64;
    let points: Vec<Point> = sums
        .iter()
        .map(|sums| Point {
            quality: sums.quality as f64 / (weight * QUALITY_ONE as f64),
            cost: sums.cost as f64 / scale,
            over: sums.over.map(|over| over as f64 / weight),
        })
        .collect();
    // λ in quality per dollar from λ in quality per dearest mean cost.
    let usd = scale / (weight * PICO_PER_USD as f64);
    let shares: Vec<f64> = limits.list().iter().map(|limit| limit.share).collect();
    let over = |multipliers: &[f64]| {
        let mut over = [0.0; MOST];
        for (over, multiplier) in over.iter_mut().zip(multipliers) {
            *over = *multiplier;
        }
        over
    };
    match target {
        Target::Price(price) => {
            let dual = Dual { points, shares, first: First::None, price: price * usd };
            Multipliers { quality: 1.0, cost: price, over: over(&dual.minimise()) }
        }
        Target::Budget(limit) => {
            let first = First::Cost(limit as f64 / scale);
            let found = Dual { points, shares, first, price: 0.0 }.minimise();
            Multipliers { quality: 1.0, cost: found[0] / usd, over: over(&found[1..]) }
        }
        Target::Floor(floor) => {
            let first = First::Quality(floor as f64 / (weight * QUALITY_ONE as f64));
            let found = Dual { points, shares, first, price: 0.0 }.minimise();
            let (per_quality, tails) = (found[0], over(&found[1..]));
            if per_quality > 1e-9 {
                // In units of quality, as everywhere else.
                let cost = 1.0 / (per_quality * usd);
                Multipliers { quality: 1.0, cost, over: tails.map(|tail| tail / per_quality) }
            } else {
                Multipliers { quality: 0.0, cost: 1.0, over: tails.map(|tail| tail * usd) }
            }
        }
    }
}

impl Arena<'_> {
    /// The policies of a single tier or a pair, whether or not they keep the limits, without those that another one of
    /// the same signal dominates.
    fn frontier(&self, tiers: &[usize]) -> Vec<Sums> {
        let rule = CascadeRule {
            tiers: tiers.to_vec(),
            cuts: tiers[1..]
                .iter()
                .map(|_| crate::fit::frontier::operating::StageCut { signal: 0, at_least: f64::NEG_INFINITY })
                .collect(),
        };
        if tiers.len() == 1 {
            return vec![self.total(&rule)];
        }
        let mut found: Vec<Sums> = Vec::new();
        let mut best: Option<(usize, i128)> = None;
        self.slice(&rule, 0, |cut, sums| {
            let known = best.filter(|best| best.0 == cut.signal);
            if cut.at_least.is_finite() && known.is_none_or(|best| sums.quality > best.1) {
                best = Some((cut.signal, sums.quality));
                found.push(sums);
            }
        });
        found
    }
}

/// The constraint beside the limits.
#[derive(Clone, Copy, Debug)]
enum First {
    None,
    Cost(f64),
    Quality(f64),
}

#[derive(Debug)]
struct Dual {
    points: Vec<Point>,
    shares: Vec<f64>,
    first: First,
    /// λ, where it is given.
    price: f64,
}

impl Dual {
    /// Objective and excess over each constraint.
    fn forms(&self, point: &Point) -> (f64, [f64; 1 + MOST]) {
        let mut excess = [0.0; 1 + MOST];
        let (objective, start) = match self.first {
            First::None => (point.quality - self.price * point.cost, 0),
            First::Cost(limit) => {
                excess[0] = point.cost - limit;
                (point.quality, 1)
            }
            First::Quality(floor) => {
                excess[0] = floor - point.quality;
                (-point.cost, 1)
            }
        };
        for ((excess, over), share) in excess[start..].iter_mut().zip(point.over).zip(&self.shares) {
            *excess = over - share;
        }
        (objective, excess)
    }

    fn count(&self) -> usize {
        self.shares.len() + usize::from(!matches!(self.first, First::None))
    }

    /// D(y) and a subgradient.
    fn value(&self, y: &[f64]) -> (f64, [f64; 1 + MOST]) {
        let mut best = (f64::NEG_INFINITY, [0.0; 1 + MOST]);
        for point in &self.points {
            let (objective, excess) = self.forms(point);
            let value = y.iter().zip(&excess).fold(objective, |value, (y, excess)| value - y * excess);
            if value > best.0 {
                best = (value, excess);
            }
        }
        (best.0, best.1.map(|excess| -excess))
    }

    /// The minimiser over y ≥ 0.
    fn minimise(&self) -> Vec<f64> {
        let count = self.count();
        if count == 1 {
            let (mut low, mut high) = (0.0, LARGEST);
            for _ in 0..100 {
                let middle = f64::midpoint(low, high);
                if self.value(&[middle]).1[0] < 0.0 { low = middle } else { high = middle }
            }
            return vec![if low > 0.0 { f64::midpoint(low, high) } else { 0.0 }];
        }
        let n = count as f64;
        let mut best = (self.value(&vec![0.0; count]).0, vec![0.0; count]);
        let mut radius = LARGEST;
        for _ in 0..ROUNDS {
            let mut center = best.1.clone();
            let mut shape = vec![vec![0.0; count]; count];
            for (at, row) in shape.iter_mut().enumerate() {
                row[at] = n * radius * radius;
            }
            for _ in 0..STEPS {
                let negative = center.iter().position(|&y| y < 0.0);
                let cut: Vec<f64> = if let Some(at) = negative {
                    (0..count).map(|other| if other == at { -1.0 } else { 0.0 }).collect()
                } else {
                    let (value, gradient) = self.value(&center);
                    if value < best.0 {
                        best = (value, center.clone());
                    }
                    gradient[..count].to_vec()
                };
                let along: Vec<f64> =
                    shape.iter().map(|row| row.iter().zip(&cut).map(|(a, b)| a * b).sum()).collect();
                let length: f64 = along.iter().zip(&cut).map(|(a, b)| a * b).sum();
                // The gradient is 0 at a minimum; below that rounding has eaten the ellipsoid.
                if length <= 0.0 {
                    break;
                }
                let root = libm::sqrt(length);
                for (y, step) in center.iter_mut().zip(&along) {
                    *y -= step / root / (n + 1.0);
                }
                let grow = n * n / (n * n - 1.0);
                for (row, a) in shape.iter_mut().zip(&along) {
                    for (entry, b) in row.iter_mut().zip(&along) {
                        *entry = grow * (*entry - 2.0 / (n + 1.0) * a * b / length);
                    }
                }
            }
            radius /= 2.0;
        }
        best.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(quality: f64, cost: f64, over: f64) -> Point {
        Point { quality, cost, over: [over, 0.0] }
    }

    /// Corners whose multipliers can be worked out by hand.
    fn points() -> Vec<Point> {
        vec![point(0.0, 0.0, 0.0), point(0.6, 0.2, 0.0), point(0.8, 0.6, 0.0), point(0.9, 0.6, 0.2)]
    }

    #[test]
    fn one_multiplier_is_the_slope_of_the_edge() {
        let dual = Dual { points: points(), shares: vec![0.1], first: First::None, price: 0.25 };
        // Between (.8, .6, 0) and (.9, .6, .2): 0.1 of quality for 0.2 of the share.
        assert!((dual.minimise()[0] - 0.5).abs() < 1e-6);
        let slack = Dual { shares: vec![0.3], ..dual };
        assert!(slack.minimise()[0] < 1e-6);
    }

    #[test]
    fn two_multipliers_support_the_face() {
        let dual = Dual { points: points(), shares: vec![0.05], first: First::Cost(0.4), price: 0.0 };
        let found = dual.minimise();
        // The face through (.6, .2, 0), (.8, .6, 0) and (.9, .6, .2).
        assert!((found[0] - 0.5).abs() < 1e-4 && (found[1] - 0.5).abs() < 1e-4, "{found:?}");
        let (value, _) = dual.value(&found);
        assert!((value - 0.725).abs() < 1e-6, "0.6 + 0.5 · 0.2 + 0.5 · 0.05 = {value}");
    }

    #[test]
    fn a_floor_prices_quality() {
        let dual = Dual { points: points(), shares: vec![0.5], first: First::Quality(0.7), price: 0.0 };
        let found = dual.minimise();
        // From (.6, .2) to (.9, .6): 4/3 of cost a unit of quality; the limit is slack.
        assert!((found[0] - 4.0 / 3.0).abs() < 1e-4 && found[1].abs() < 1e-4, "{found:?}");
    }
}
