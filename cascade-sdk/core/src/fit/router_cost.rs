//! Predicted cost of a call: the mean, or more if more is known before it (MATH.md 7).

use super::router_inputs::Encoding;
use crate::feature::{CostHead, single};

/// Ridge penalty, in rows: dense inputs are scaled to share one unit of variance.
const RIDGE: f64 = 1.0;

/// What a cost may be predicted from; each includes the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CostBasis {
    /// Nothing: the mean.
    Mean,
    /// The prompt's length.
    Length,
    /// All dense inputs.
    Inputs,
}

impl CostBasis {
    const ALL: [Self; 3] = [Self::Mean, Self::Length, Self::Inputs];
}

/// Rows of inputs and the costs of one tier in US dollars.
pub(super) struct Costs<'a> {
    pub(super) encoding: &'a Encoding,
    pub(super) weight: &'a [f64],
    pub(super) cost: &'a [f64],
}

impl Costs<'_> {
    /// The simplest basis whose squared error out of fold is not above that of a richer one by more than a standard error
    /// of the difference: costs have heavy tails, and a mean cannot go wrong by much.
    pub(super) fn choose(&self, folds: &[u8]) -> CostBasis {
        let errors: Vec<Vec<f64>> = CostBasis::ALL
            .iter()
            .map(|&basis| {
                let predicted = self.out_of_fold(basis, folds);
                predicted.iter().zip(self.cost).map(|(p, c)| (p - c) * (p - c)).collect()
            })
            .collect();
        let mut chosen = CostBasis::Mean;
        for &basis in &CostBasis::ALL[1..] {
            let gain: Vec<f64> =
                errors[chosen as usize].iter().zip(&errors[basis as usize]).map(|(a, b)| a - b).collect();
            let rows = gain.len() as f64;
            let mean = gain.iter().sum::<f64>() / rows;
            let spread = gain.iter().map(|g| (g - mean) * (g - mean)).sum::<f64>();
            if mean > libm::sqrt(spread) / rows {
                chosen = basis;
            }
        }
        chosen
    }

    /// Predictions of each row by the fit without its fold.
    pub(super) fn out_of_fold(&self, basis: CostBasis, folds: &[u8]) -> Vec<f64> {
        let mut predicted = vec![0.0; self.cost.len()];
        let last = folds.iter().copied().max().unwrap_or(0);
        for fold in 0..=last {
            let train: Vec<usize> = (0..folds.len()).filter(|&row| folds[row] != fold).collect();
            let head = self.fit(basis, &train);
            for row in (0..folds.len()).filter(|&row| folds[row] == fold) {
                predicted[row] = head.predict(self.encoding.bytes[row], self.dense(row));
            }
        }
        predicted
    }

    fn dense(&self, row: usize) -> &[f32] {
        let length = self.encoding.design.dense_len;
        &self.encoding.design.dense[row * length..(row + 1) * length]
    }

    /// Ridge regression on `rows` with a free constant.
    pub(super) fn fit(&self, basis: CostBasis, rows: &[usize]) -> CostHead {
        let dense_len = if basis == CostBasis::Inputs { self.encoding.design.dense_len } else { 0 };
        let size = match basis {
            CostBasis::Mean => 0,
            CostBasis::Length | CostBasis::Inputs => 1 + dense_len,
        };
        let total: f64 = rows.iter().map(|&row| self.weight[row]).sum();
        let mean_of = |value: &dyn Fn(usize) -> f64| {
            rows.iter().map(|&row| self.weight[row] * value(row)).sum::<f64>() / total.max(f64::MIN_POSITIVE)
        };
        let mean_cost = mean_of(&|row| self.cost[row]);
        let mean_bytes = mean_of(&|row| self.encoding.bytes[row]);
        let bytes_scale = {
            let variance = mean_of(&|row| {
                let off = self.encoding.bytes[row] - mean_bytes;
                off * off
            });
            if variance > 0.0 { libm::sqrt(variance) } else { f64::INFINITY }
        };
        // Centred inputs: the constant is then the mean, without penalty.
        let dense_mean: Vec<f64> =
            (0..dense_len).map(|at| mean_of(&|row| f64::from(self.dense(row)[at]))).collect();
        let mut matrix = vec![0.0; size * size];
        let mut right = vec![0.0; size];
        let mut input = vec![0.0; size];
        for &row in rows {
            if size > 0 {
                input[0] = (self.encoding.bytes[row] - mean_bytes) / bytes_scale;
            }
            for ((slot, &value), mean) in input.iter_mut().skip(1).zip(self.dense(row)).zip(&dense_mean) {
                *slot = f64::from(value) - mean;
            }
            let (weight, off) = (self.weight[row], self.cost[row] - mean_cost);
            for (i, &a) in input.iter().enumerate() {
                right[i] += weight * a * off;
                for (slot, &b) in matrix[i * size..].iter_mut().zip(&input[..=i]) {
                    *slot += weight * a * b;
                }
            }
        }
        for at in 0..size {
            matrix[at * size + at] += RIDGE;
        }
        let solution = solve(&mut matrix, right);
        let per_byte = solution.first().map_or(0.0, |weight| weight / bytes_scale);
        let dense: Vec<f32> = solution.iter().skip(1).map(|&weight| single(weight)).collect();
        let used: f64 = dense.iter().zip(&dense_mean).map(|(&weight, mean)| f64::from(weight) * mean).sum();
        let bounds = rows.iter().map(|&row| self.cost[row]);
        CostHead {
            base: mean_cost - per_byte * mean_bytes - used,
            per_byte,
            dense,
            low: bounds.clone().fold(f64::INFINITY, f64::min).min(mean_cost),
            high: bounds.fold(0.0, f64::max),
        }
    }
}

/// Solves a symmetric positive definite system, of which the lower triangle is given, by Cholesky's method.
fn solve(matrix: &mut [f64], mut right: Vec<f64>) -> Vec<f64> {
    let size = right.len();
    for i in 0..size {
        for j in 0..=i {
            let inner: f64 = (0..j).map(|k| matrix[i * size + k] * matrix[j * size + k]).sum();
            let rest = matrix[i * size + j] - inner;
            matrix[i * size + j] = if i == j { libm::sqrt(rest) } else { rest / matrix[j * size + j] };
        }
        let inner: f64 = (0..i).map(|k| matrix[i * size + k] * right[k]).sum();
        right[i] = (right[i] - inner) / matrix[i * size + i];
    }
    for i in (0..size).rev() {
        let inner: f64 = (i + 1..size).map(|k| matrix[k * size + i] * right[k]).sum();
        right[i] = (right[i] - inner) / matrix[i * size + i];
    }
    right
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::logistic::Design;

    #[test]
    fn cholesky_solves() {
        // Lower triangle of [[4, 2], [2, 3]].
        let mut matrix = vec![4.0, 0.0, 2.0, 3.0];
        let x = solve(&mut matrix, vec![10.0, 9.0]);
        assert!((x[0] - 1.5).abs() < 1e-12 && (x[1] - 2.0).abs() < 1e-12, "{x:?}");
    }

    fn encoding(rows: usize) -> Encoding {
        Encoding {
            design: Design { sparse_end: vec![0; rows], ..Design::default() },
            bytes: (0..rows).map(|row| (row * 37 % 101) as f64).collect(),
            bucket: Vec::new(),
        }
    }

    #[test]
    fn a_cost_that_follows_length_is_predicted_from_it_and_noise_is_not() {
        let encoding = encoding(200);
        let weight = vec![1.0; 200];
        let folds: Vec<u8> = (0..200).map(|row| row % 5).collect();
        let linear: Vec<f64> = encoding.bytes.iter().map(|bytes| 1e-5 + 2e-7 * bytes).collect();
        let costs = Costs { encoding: &encoding, weight: &weight, cost: &linear };
        assert_eq!(costs.choose(&folds), CostBasis::Length);
        let head = costs.fit(CostBasis::Length, &(0..200).collect::<Vec<_>>());
        assert!((head.predict(50.0, &[]) - 2e-5).abs() < 1e-7);
        assert!(head.predict(1e9, &[]) <= 1e-5 + 2e-7 * 100.0 + 1e-18, "kept within the range seen");
        let noise: Vec<f64> = (0..200).map(|row: u32| f64::from(row * 7919 % 13) * 1e-6).collect();
        let costs = Costs { encoding: &encoding, weight: &weight, cost: &noise };
        assert_eq!(costs.choose(&folds), CostBasis::Mean);
    }
}
