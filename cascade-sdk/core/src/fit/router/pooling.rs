//! How far the tiers of a router may differ (MATH.md 14: difficulty is shared, and few rows per tier must not overfit).
//!
//! What a router has learned of a request falls into two parts: the mean over the tiers, which is how difficult it finds
//! the request, and what is left, which is where it finds a tier better or worse than the others. A choice of tier rests on
//! the second part, which has less to learn from. Each part gets one factor, fitted out of fold: where tiers specialise the
//! second stays near 1, where its differences are noise it falls to 0 and the router chooses by difficulty alone.

use crate::decide::logistic;
use crate::fit::logistic::{Design, Labels, Weights, log_loss};

/// Weight, in squared units of the factors, of leaving both at 1.
const PRIOR: f64 = 4.0;

/// Newton steps at most.
const STEPS: usize = 30;

/// Log-odds are moved by no more than this.
const MOST_SHIFT: f64 = 40.0;

/// Factors of the two parts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pooling {
    /// Of what the tiers share.
    pub shared: f64,
    /// Of what is a tier's own.
    pub own: f64,
}

/// Log-odds out of fold without the intercepts, in two centred parts.
struct Parts {
    tiers: usize,
    /// Mean log-odds of each tier.
    offset: Vec<f64>,
    /// Mean probability of each tier, which factors do not change.
    mean: Vec<f64>,
    /// One a row.
    shared: Vec<f64>,
    /// Rows × tiers.
    own: Vec<f64>,
}

impl Pooling {
    /// Both parts as they are.
    pub const NONE: Self = Self { shared: 1.0, own: 1.0 };

    /// Fits the factors to log-odds out of fold (rows × tiers).
    pub(in crate::fit) fn fit(labels: &Labels, log_odds: &[f64], tiers: usize) -> Self {
        let parts = Parts::new(labels, log_odds, tiers);
        let mut factors = [1.0, 1.0];
        let mut offset = parts.offset.clone();
        let mut value = parts.value(labels, factors, &offset);
        for _ in 0..STEPS {
            let [step_shared, step_own] = parts.step(labels, factors, &offset);
            let mut length = 1.0;
            let mut next = factors;
            let mut next_offset = offset.clone();
            let mut lower = f64::INFINITY;
            while length > 1e-3 {
                next =
                    [(factors[0] + length * step_shared).max(0.0), (factors[1] + length * step_own).max(0.0)];
                next_offset = parts.level(labels, next);
                lower = parts.value(labels, next, &next_offset);
                if lower < value {
                    break;
                }
                length /= 2.0;
            }
            if lower >= value {
                break;
            }
            (factors, offset, value) = (next, next_offset, lower);
        }
        Self { shared: factors[0], own: factors[1] }
    }

    /// Scales both parts of all weights; the mean probability of each tier over some rows, of which `weight` is the weight,
    /// stays what it was. Mean log-odds would not do: what is drawn to their middle moves away from one half, each tier by an
    /// amount of its own, and a choice among them would tilt.
    pub(in crate::fit) fn apply(
        self,
        weights: &mut Weights,
        design: &Design,
        rows: &[usize],
        weight: &[f64],
    ) {
        let tiers = weights.tiers();
        let columns = |weights: &Weights| {
            let mut columns = vec![Vec::with_capacity(rows.len()); tiers];
            let mut of_row = Vec::new();
            for &row in rows {
                weights.log_odds(design, row, &mut of_row);
                columns.iter_mut().zip(&of_row).for_each(|(column, value)| column.push(*value));
            }
            columns
        };
        let weight: Vec<f64> = rows.iter().map(|&row| weight[row]).collect();
        let means: Vec<f64> =
            columns(weights).iter().map(|column| mean_probability(column, &weight, 0.0)).collect();
        let scaled = |row: &mut [f64]| {
            let shared = row.iter().sum::<f64>() / tiers as f64;
            for value in row {
                *value = self.own * (*value - shared) + self.shared * shared;
            }
        };
        weights.scale(scaled);
        let shifts: Vec<f64> =
            columns(weights).iter().zip(&means).map(|(column, &mean)| level(column, &weight, mean)).collect();
        weights.shift(shifts.into_iter());
    }
}

/// Weighted mean of the probabilities of log-odds, all moved by the same.
fn mean_probability(log_odds: &[f64], weight: &[f64], by: f64) -> f64 {
    let sum: f64 = log_odds.iter().zip(weight).map(|(odds, weight)| weight * logistic(odds + by)).sum();
    sum / weight.iter().sum::<f64>()
}

/// What all log-odds have to be moved by, so that the weighted mean of their probabilities is `mean`: Newton's method kept
/// within a bracket.
fn level(log_odds: &[f64], weight: &[f64], mean: f64) -> f64 {
    let total: f64 = weight.iter().sum();
    let (mut low, mut high) = (-MOST_SHIFT, MOST_SHIFT);
    let mut by = 0.0;
    for _ in 0..STEPS {
        let (mut sum, mut slope) = (0.0, 0.0);
        for (odds, weight) in log_odds.iter().zip(weight) {
            let good = logistic(odds + by);
            sum += weight * good;
            slope += weight * good * (1.0 - good);
        }
        let off = sum / total - mean;
        if off.abs() < 1e-12 {
            break;
        }
        if off > 0.0 {
            high = by;
        } else {
            low = by;
        }
        let next = by - off * total / slope;
        by = if next > low && next < high { next } else { f64::midpoint(low, high) };
    }
    by
}

impl Parts {
    fn new(labels: &Labels, log_odds: &[f64], tiers: usize) -> Self {
        let total: f64 = (0..labels.len()).map(|row| labels.weight(row)).sum();
        let mut offset = vec![0.0; tiers];
        for (row, values) in log_odds.chunks_exact(tiers).enumerate() {
            for (offset, value) in offset.iter_mut().zip(values) {
                *offset += labels.weight(row) * value / total;
            }
        }
        let (mut shared, mut own) = (Vec::new(), Vec::new());
        for values in log_odds.chunks_exact(tiers) {
            let mean =
                values.iter().zip(&offset).map(|(value, offset)| value - offset).sum::<f64>() / tiers as f64;
            shared.push(mean);
            own.extend(values.iter().zip(&offset).map(|(value, offset)| value - offset - mean));
        }
        let mean = (0..tiers)
            .map(|tier| {
                let good = |(row, values): (usize, &[f64])| labels.weight(row) * logistic(values[tier]);
                log_odds.chunks_exact(tiers).enumerate().map(good).sum::<f64>() / total
            })
            .collect();
        Self { tiers, offset, mean, shared, own }
    }

    /// The offsets at which each tier's mean probability is what it is without factors.
    fn level(&self, labels: &Labels, [shared, own]: [f64; 2]) -> Vec<f64> {
        let weight: Vec<f64> = (0..labels.len()).map(|row| labels.weight(row)).collect();
        (0..self.tiers)
            .map(|tier| {
                let own_of = self.own.iter().skip(tier).step_by(self.tiers);
                let moved: Vec<f64> = self
                    .shared
                    .iter()
                    .zip(own_of)
                    .map(|(s, o)| self.offset[tier] + shared * s + own * o)
                    .collect();
                self.offset[tier] + level(&moved, &weight, self.mean[tier])
            })
            .collect()
    }

    fn cells(&self) -> impl Iterator<Item = (usize, usize, f64, f64)> + '_ {
        let own = self.own.chunks_exact(self.tiers).enumerate();
        own.flat_map(move |(row, own)| {
            own.iter().enumerate().map(move |(tier, &own)| (row, tier, self.shared[row], own))
        })
    }

    fn value(&self, labels: &Labels, [shared, own]: [f64; 2], offset: &[f64]) -> f64 {
        let loss: f64 = self
            .cells()
            .map(|(row, tier, s, o)| {
                labels.weight(row) * log_loss(offset[tier] + shared * s + own * o, labels.get(row, tier))
            })
            .sum();
        loss + PRIOR / 2.0 * ((shared - 1.0) * (shared - 1.0) + (own - 1.0) * (own - 1.0))
    }

    /// Newton's step with the offsets as they are.
    fn step(&self, labels: &Labels, [shared, own]: [f64; 2], offset: &[f64]) -> [f64; 2] {
        let mut slope = [PRIOR * (shared - 1.0), PRIOR * (own - 1.0)];
        let mut curve = [PRIOR, 0.0, PRIOR];
        for (row, tier, s, o) in self.cells() {
            let good = logistic(offset[tier] + shared * s + own * o);
            let off = labels.weight(row) * (good - labels.get(row, tier));
            slope[0] += off * s;
            slope[1] += off * o;
            let bend = labels.weight(row) * good * (1.0 - good);
            curve[0] += bend * s * s;
            curve[1] += bend * s * o;
            curve[2] += bend * o * o;
        }
        let determinant = curve[0] * curve[2] - curve[1] * curve[1];
        [
            -(curve[2] * slope[0] - curve[1] * slope[1]) / determinant,
            -(curve[0] * slope[1] - curve[1] * slope[0]) / determinant,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::random::SplitMix64;

    /// Two tiers whose real log-odds are `difficulty` ± `special`; what is predicted of the difference is `seen`.
    fn case(rows: usize, special: f64, seen: f64) -> (Labels, Vec<f64>) {
        let mut random = SplitMix64::new(9, 1);
        let (mut log_odds, mut good) = (Vec::new(), Vec::new());
        for _ in 0..rows {
            let (shared, own) = (4.0 * random.fraction() - 2.0, 2.0 * random.fraction() - 1.0);
            for sign in [-1.0, 1.0] {
                good.push(random.fraction() < logistic(shared + sign * special * own));
                log_odds.push(0.3 + shared + sign * seen * own);
            }
        }
        let labels = Labels::new(2, &vec![1.0; rows], |row, tier| f64::from(u8::from(good[row * 2 + tier])));
        (labels, log_odds)
    }

    #[test]
    fn differences_that_are_noise_shrink_and_real_ones_stay() {
        let (labels, log_odds) = case(2000, 0.0, 1.0);
        let noise = Pooling::fit(&labels, &log_odds, 2);
        assert!(noise.own < 0.15 && (noise.shared - 1.0).abs() < 0.2, "{noise:?}");
        let (labels, log_odds) = case(2000, 1.0, 1.0);
        let real = Pooling::fit(&labels, &log_odds, 2);
        assert!((real.own - 1.0).abs() < 0.2 && (real.shared - 1.0).abs() < 0.2, "{real:?}");
        let (labels, log_odds) = case(2000, -1.0, 1.0);
        assert_eq!(
            Pooling::fit(&labels, &log_odds, 2).own,
            0.0,
            "what predicts the wrong way is not turned round"
        );
    }

    #[test]
    fn scaling_leaves_the_mean_prediction_where_it_was() {
        use crate::fit::logistic::{Part, ascend};
        let mut random = SplitMix64::new(3, 1);
        let design = Design {
            dense_len: 2,
            dense: (0..400).map(|_| crate::feature::single(random.fraction())).collect(),
            sparse_end: vec![0; 200],
            ..Design::default()
        };
        let labels = Labels::new(3, &[1.0; 200], |row, tier| {
            // Tiers of different skill: what is drawn together moves each of them by another amount.
            let skill = [0.3, 0.7, 0.9][tier] * (0.5 + f64::from(design.dense[row * 2]));
            f64::from(u8::from(skill > (row * 7919 % 101) as f64 / 101.0))
        });
        let rows: Vec<usize> = (0..200).collect();
        let part = Part { dense_from: 0, sparse: false };
        let mut weights = ascend(&design, &labels, &rows, part, 1.0, None).weights;
        let mean = |weights: &Weights| {
            let (mut sums, mut of_row) = (vec![0.0; 3], Vec::new());
            for row in 0..200 {
                weights.log_odds(&design, row, &mut of_row);
                sums.iter_mut().zip(&of_row).for_each(|(sum, value)| *sum += logistic(*value) / 200.0);
            }
            sums
        };
        let before = mean(&weights);
        Pooling { shared: 0.5, own: 0.0 }.apply(&mut weights, &design, &rows, &[1.0; 200]);
        for (tier, (before, after)) in before.iter().zip(mean(&weights)).enumerate() {
            assert!((before - after).abs() < 1e-9, "{before} {after}");
            assert!((weights.get(1, tier) - weights.get(1, 0)).abs() < 1e-12, "only what is shared is left");
        }
    }
}
