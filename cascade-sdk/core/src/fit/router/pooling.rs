//! How far the tiers of a router may differ (MATH.md 14: difficulty is shared, and few rows per tier must not overfit).
//!
//! What a router has learned of a request falls into two parts: the mean over the tiers, which is how difficult it finds
//! the request, and what is left, which is where it finds a tier better or worse than the others. A choice of tier rests on
//! the second part, which has less to learn from. Each part gets one factor, fitted out of fold: where tiers specialise the
//! second stays near 1, where its differences are noise it falls to 0 and the router chooses by difficulty alone.

use crate::decide::logistic;
use crate::fit::logistic::{Labels, Weights, log_loss};

/// Weight, in squared units of the factors, of leaving both at 1.
const PRIOR: f64 = 4.0;

/// Newton steps at most.
const STEPS: usize = 30;

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
    /// Log-odds of each tier with both parts at their means.
    offset: Vec<f64>,
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
        let mut value = parts.value(labels, factors);
        for _ in 0..STEPS {
            let [step_shared, step_own] = parts.step(labels, factors);
            let mut length = 1.0;
            let mut next = factors;
            let mut lower = f64::INFINITY;
            while length > 1e-3 {
                next =
                    [(factors[0] + length * step_shared).max(0.0), (factors[1] + length * step_own).max(0.0)];
                lower = parts.value(labels, next);
                if lower < value {
                    break;
                }
                length /= 2.0;
            }
            if lower >= value {
                break;
            }
            (factors, value) = (next, lower);
        }
        Self { shared: factors[0], own: factors[1] }
    }

    /// Scales both parts of all weights. `means` are the mean log-odds of each tier without its intercept, which stay.
    pub(in crate::fit) fn apply(self, weights: &mut Weights, means: &[f64]) {
        let tiers = means.len();
        let scaled = |row: &mut [f64]| {
            let shared = row.iter().sum::<f64>() / tiers as f64;
            for value in row {
                *value = self.own * (*value - shared) + self.shared * shared;
            }
        };
        let mut after = means.to_vec();
        scaled(&mut after);
        weights.scale(scaled);
        weights.shift(means.iter().zip(&after).map(|(before, after)| before - after));
    }
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
        Self { tiers, offset, shared, own }
    }

    fn cells(&self) -> impl Iterator<Item = (usize, usize, f64, f64)> + '_ {
        let own = self.own.chunks_exact(self.tiers).enumerate();
        own.flat_map(move |(row, own)| {
            own.iter().enumerate().map(move |(tier, &own)| (row, tier, self.shared[row], own))
        })
    }

    fn value(&self, labels: &Labels, [shared, own]: [f64; 2]) -> f64 {
        let loss: f64 = self
            .cells()
            .map(|(row, tier, s, o)| {
                labels.weight(row) * log_loss(self.offset[tier] + shared * s + own * o, labels.get(row, tier))
            })
            .sum();
        loss + PRIOR / 2.0 * ((shared - 1.0) * (shared - 1.0) + (own - 1.0) * (own - 1.0))
    }

    /// Newton's step.
    fn step(&self, labels: &Labels, [shared, own]: [f64; 2]) -> [f64; 2] {
        let mut slope = [PRIOR * (shared - 1.0), PRIOR * (own - 1.0)];
        let mut curve = [PRIOR, 0.0, PRIOR];
        for (row, tier, s, o) in self.cells() {
            let good = logistic(self.offset[tier] + shared * s + own * o);
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
        use crate::fit::logistic::{Design, Part, ascend};
        let mut random = SplitMix64::new(3, 1);
        let design = Design {
            dense_len: 2,
            dense: (0..400).map(|_| crate::feature::single(random.fraction())).collect(),
            sparse_end: vec![0; 200],
            ..Design::default()
        };
        let labels = Labels::new(3, &[1.0; 200], |row, tier| {
            f64::from(u8::from(f64::from(design.dense[row * 2]) * (tier as f64 - 1.0) > 0.1))
        });
        let rows: Vec<usize> = (0..200).collect();
        let part = Part { dense_from: 0, sparse: false };
        let mut weights = ascend(&design, &labels, &rows, part, 1.0, None).weights;
        let mean = |weights: &Weights| {
            let (mut sums, mut of_row) = (vec![0.0; 3], Vec::new());
            for row in 0..200 {
                weights.log_odds(&design, row, &mut of_row);
                sums.iter_mut().zip(&of_row).for_each(|(sum, value)| *sum += value / 200.0);
            }
            sums
        };
        let before = mean(&weights);
        let means: Vec<f64> =
            before.iter().enumerate().map(|(tier, mean)| mean - weights.get(0, tier)).collect();
        Pooling { shared: 0.5, own: 0.0 }.apply(&mut weights, &means);
        for (tier, (before, after)) in before.iter().zip(mean(&weights)).enumerate() {
            assert!((before - after).abs() < 1e-9, "{before} {after}");
            assert!((weights.get(1, tier) - weights.get(1, 0)).abs() < 1e-12, "only what is shared is left");
        }
    }
}
