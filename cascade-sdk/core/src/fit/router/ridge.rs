//! Ridge regression with a free constant: one factorisation, any number of targets.

/// Rows of inputs, prepared for regressions on some of them.
#[derive(Debug)]
pub(in crate::fit) struct Ridge<'a> {
    inputs: &'a [f64],
    width: usize,
    weight: &'a [f64],
    rows: &'a [usize],
    total: f64,
    mean: Vec<f64>,
    /// Lower triangle of Cholesky's factor of Σ weight · x xᵀ + penalty · 1, x centred.
    factor: Vec<f64>,
}

/// constant + Σ weight · input.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::fit) struct Line {
    pub(in crate::fit) constant: f64,
    pub(in crate::fit) weights: Vec<f64>,
}

impl Line {
    pub(in crate::fit) fn value(&self, inputs: &[f64]) -> f64 {
        self.weights.iter().zip(inputs).fold(self.constant, |sum, (weight, input)| sum + weight * input)
    }
}

impl<'a> Ridge<'a> {
    /// `inputs` holds all rows, `width` inputs each; `rows` are those to regress on; `penalty` is in units of weight.
    pub(in crate::fit) fn new(
        inputs: &'a [f64],
        width: usize,
        weight: &'a [f64],
        rows: &'a [usize],
        penalty: f64,
    ) -> Self {
        let total: f64 = rows.iter().map(|&row| weight[row]).sum::<f64>().max(f64::MIN_POSITIVE);
        let mut mean = vec![0.0; width];
        for &row in rows {
            for (mean, input) in mean.iter_mut().zip(&inputs[row * width..]) {
                *mean += weight[row] * input / total;
            }
        }
        let mut matrix = vec![0.0; width * width];
        let mut centred = vec![0.0; width];
        for &row in rows {
            for ((centred, input), mean) in centred.iter_mut().zip(&inputs[row * width..]).zip(&mean) {
                *centred = input - mean;
            }
            for (i, &a) in centred.iter().enumerate() {
                for (cell, &b) in matrix[i * width..].iter_mut().zip(&centred[..=i]) {
                    *cell += weight[row] * a * b;
                }
            }
        }
        for at in 0..width {
            matrix[at * width + at] += penalty;
        }
        factorise(&mut matrix, width);
        Self { inputs, width, weight, rows, total, mean, factor: matrix }
    }

    /// Regresses one target.
    pub(in crate::fit) fn fit(&self, target: impl Fn(usize) -> f64) -> Line {
        let mean = self.rows.iter().map(|&row| self.weight[row] * target(row)).sum::<f64>() / self.total;
        let mut right = vec![0.0; self.width];
        for &row in self.rows {
            let off = self.weight[row] * (target(row) - mean);
            let inputs = &self.inputs[row * self.width..];
            for ((right, input), centre) in right.iter_mut().zip(inputs).zip(&self.mean) {
                *right += off * (input - centre);
            }
        }
        solve(&self.factor, &mut right);
        let used: f64 = right.iter().zip(&self.mean).map(|(weight, mean)| weight * mean).sum();
        Line { constant: mean - used, weights: right }
    }
}

/// Cholesky's factor of a symmetric positive definite matrix of which the lower triangle is given, in place.
fn factorise(matrix: &mut [f64], size: usize) {
    for i in 0..size {
        for j in 0..=i {
            let inner: f64 = (0..j).map(|k| matrix[i * size + k] * matrix[j * size + k]).sum();
            let rest = matrix[i * size + j] - inner;
            matrix[i * size + j] = if i == j { libm::sqrt(rest) } else { rest / matrix[j * size + j] };
        }
    }
}

fn solve(factor: &[f64], right: &mut [f64]) {
    let size = right.len();
    for i in 0..size {
        let inner: f64 = (0..i).map(|k| factor[i * size + k] * right[k]).sum();
        right[i] = (right[i] - inner) / factor[i * size + i];
    }
    for i in (0..size).rev() {
        let inner: f64 = (i + 1..size).map(|k| factor[k * size + i] * right[k]).sum();
        right[i] = (right[i] - inner) / factor[i * size + i];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plane_is_found_and_a_penalty_shrinks_it() {
        let rows: Vec<usize> = (0..60).collect();
        let inputs: Vec<f64> =
            rows.iter().flat_map(|&row| [(row % 7) as f64, (row * 5 % 11) as f64]).collect();
        let weight: Vec<f64> = rows.iter().map(|&row| 1.0 + (row % 3) as f64).collect();
        let target = |row: usize| 3.0 + 2.0 * inputs[row * 2] - 0.5 * inputs[row * 2 + 1];
        let exact = Ridge::new(&inputs, 2, &weight, &rows, 1e-9).fit(target);
        assert!((exact.constant - 3.0).abs() < 1e-6 && (exact.weights[0] - 2.0).abs() < 1e-6);
        assert!((exact.value(&[1.0, 2.0]) - 4.0).abs() < 1e-6);
        let shrunk = Ridge::new(&inputs, 2, &weight, &rows, 1e3).fit(target);
        assert!(shrunk.weights[0] < 1.0 && shrunk.weights[0] > 0.0);
        let constant = Ridge::new(&[], 0, &weight, &rows, 1.0).fit(|_| 4.0);
        assert_eq!(constant, Line { constant: 4.0, weights: Vec::new() });
    }
}
