//! L2-regularised logistic regression for several tiers at once (MATH.md 14).
//!
//! Tiers share the inputs, so one pass over the rows serves several of them. Labels may lie anywhere in [0, 1]. The
//! optimiser is L-BFGS in f64 over fixed row order; it stops on a count or when the gradient has become small, both of
//! which depend on nothing but the data.

mod ascent;
mod descent;

pub use ascent::{Solution, ascend};
pub use descent::fit;

/// Rows of inputs.
#[derive(Clone, Debug, Default)]
pub struct Design {
    /// Number of dense inputs.
    pub dense_len: usize,
    /// Number of those dense inputs, the first ones, that are an embedding: so many that the work is in them.
    pub embedding_len: usize,
    /// Number of sparse inputs.
    pub sparse_len: usize,
    /// Dense inputs, rows × `dense_len`.
    pub dense: Vec<f32>,
    /// Sparse entries (input, value) of all rows.
    pub sparse: Vec<(u32, f32)>,
    /// End of each row in `sparse`.
    pub sparse_end: Vec<usize>,
}

impl Design {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.sparse_end.len()
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.sparse_end.is_empty()
    }

    fn row(&self, row: usize, part: Part) -> Row<'_> {
        let start = row.checked_sub(1).map_or(0, |before| self.sparse_end[before]);
        let dense = &self.dense[row * self.dense_len + part.dense_from..(row + 1) * self.dense_len];
        let (embedding, dense) = dense.split_at(self.embedding_len.saturating_sub(part.dense_from));
        Row {
            embedding,
            dense,
            dense_start: 1 + part.dense_from,
            sparse: if part.sparse { &self.sparse[start..self.sparse_end[row]] } else { &[] },
            sparse_start: 1 + self.dense_len,
        }
    }
}

/// Which inputs a model may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Dense inputs from this one on.
    pub dense_from: usize,
    /// Whether it uses the sparse inputs.
    pub sparse: bool,
}

/// What is to be predicted: one label a row and tier.
#[derive(Clone, Debug)]
pub struct Labels {
    tiers: usize,
    /// Labels in [0, 1], rows × tiers.
    label: Vec<f64>,
    /// Weight of each row, 1 on average.
    weight: Vec<f64>,
}

impl Labels {
    /// From a function of row and tier and the rows' weights, which are scaled to a mean of 1.
    pub fn new(tiers: usize, weights: &[f64], label: impl Fn(usize, usize) -> f64) -> Self {
        let mean = weights.iter().sum::<f64>() / weights.len().max(1) as f64;
        let weight: Vec<f64> = weights.iter().map(|weight| weight / mean).collect();
        let cells = (0..weight.len()).flat_map(|row| (0..tiers).map(move |tier| (row, tier)));
        Self { tiers, label: cells.map(|(row, tier)| label(row, tier)).collect(), weight }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.weight.len()
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.weight.is_empty()
    }

    /// The weight of a row.
    pub fn weight(&self, row: usize) -> f64 {
        self.weight[row]
    }

    /// The label of a row and tier.
    pub fn get(&self, row: usize, tier: usize) -> f64 {
        self.label[row * self.tiers + tier]
    }

    /// Sum over the tiers of the log loss of a row, in nats.
    pub fn loss(&self, row: usize, log_odds: &[f64]) -> f64 {
        log_odds.iter().zip(&self.label[row * self.tiers..]).map(|(&z, &label)| log_loss(z, label)).sum()
    }
}

/// Weights of all inputs (intercept, dense, sparse) for all tiers, input-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    tiers: usize,
    values: Vec<f64>,
}

impl Weights {
    /// The weight of an input for a tier; input 0 is the intercept.
    pub fn get(&self, input: usize, tier: usize) -> f64 {
        self.values[input * self.tiers + tier]
    }

    /// Number of tiers.
    pub(super) fn tiers(&self) -> usize {
        self.tiers
    }

    /// Changes the weights of each input but the intercept; they stand together, one a tier.
    pub(super) fn scale(&mut self, f: impl FnMut(&mut [f64])) {
        self.values.chunks_exact_mut(self.tiers).skip(1).for_each(f);
    }

    /// Adds to the intercepts.
    pub(super) fn shift(&mut self, by: impl Iterator<Item = f64>) {
        self.values.iter_mut().zip(by).take(self.tiers).for_each(|(intercept, by)| *intercept += by);
    }

    /// Log-odds of a row of the design, one a tier, into `out`.
    pub fn log_odds(&self, design: &Design, row: usize, out: &mut Vec<f64>) {
        out.clear();
        out.extend_from_slice(&self.values[..self.tiers]);
        design.row(row, Part { dense_from: 0, sparse: true }).for_each(|input, value| {
            for (sum, weight) in out.iter_mut().zip(&self.values[input * self.tiers..]) {
                *sum += value * weight;
            }
        });
    }
}

/// ln(1 + e^z) − y·z: the log loss of log-odds z against a label y, in nats.
pub fn log_loss(log_odds: f64, label: f64) -> f64 {
    log_odds.max(0.0) + libm::log1p(libm::exp(-log_odds.abs())) - label * log_odds
}

/// One row of a design, as far as a problem uses it.
#[derive(Clone, Copy)]
struct Row<'a> {
    embedding: &'a [f32],
    dense: &'a [f32],
    /// Index of the first dense input (of the embedding, if there is one) among all inputs.
    dense_start: usize,
    sparse: &'a [(u32, f32)],
    /// Index of the first sparse input among all inputs.
    sparse_start: usize,
}

impl Row<'_> {
    /// Calls `f` with every input but the intercept, in order.
    #[inline]
    fn for_each(self, mut f: impl FnMut(usize, f64)) {
        self.for_each_single(|input, value| f(input, f64::from(value)));
    }

    /// The same in single precision.
    #[inline]
    fn for_each_single(self, mut f: impl FnMut(usize, f32)) {
        for (input, &value) in self.embedding.iter().chain(self.dense).enumerate() {
            f(self.dense_start + input, value);
        }
        for &(input, value) in self.sparse {
            f(self.sparse_start + input as usize, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::random::SplitMix64;

    /// Rows with dense inputs in ±1 and one sparse input each.
    fn design(rows: usize, seed: u64) -> Design {
        let mut random = SplitMix64::new(seed, 1);
        let mut design = Design { dense_len: 2, sparse_len: 3, ..Design::default() };
        for _ in 0..rows {
            design.dense.extend([random.fraction() as f32 * 2.0 - 1.0, random.fraction() as f32 * 2.0 - 1.0]);
            design.sparse.push((random.below(3) as u32, 1.0));
            design.sparse_end.push(design.sparse.len());
        }
        design
    }

    fn value(design: &Design, labels: &Labels, rows: &[usize], c: f64, weights: &Weights) -> f64 {
        let penalty: f64 = weights.values[weights.tiers..].iter().map(|w| w * w).sum::<f64>() / 2.0;
        let mut log_odds = Vec::new();
        let loss: f64 = rows
            .iter()
            .map(|&row| {
                weights.log_odds(design, row, &mut log_odds);
                labels.weight[row] * labels.loss(row, &log_odds)
            })
            .sum();
        let prior: f64 = weights.values[..weights.tiers].iter().map(|&b| log_loss(b, 0.5)).sum();
        penalty + c * (loss + prior)
    }

    #[test]
    fn no_nearby_model_is_better_whatever_the_number_of_tiers() {
        let design = design(200, 3);
        let rows: Vec<usize> = (0..150).collect();
        let part = Part { dense_from: 0, sparse: true };
        for tiers in 1..=7 {
            let weights: Vec<f64> = (0..200).map(|row| 1.0 + f64::from(row % 3)).collect();
            let labels = Labels::new(tiers, &weights, |row, tier| {
                let x = f64::from(design.dense[row * 2]) * (tier as f64 - 2.0)
                    + f64::from(design.sparse[row].0)
                    - 1.0;
                if tier == 1 { (x + 4.0) / 8.0 } else { f64::from(u8::from(x > 0.0)) }
            });
            let fitted = fit(&design, &labels, &rows, part, 1.0, None);
            let best = value(&design, &labels, &rows, 1.0, &fitted);
            for at in 0..fitted.values.len() {
                for change in [-0.05, 0.05] {
                    let mut other = fitted.clone();
                    other.values[at] += change;
                    assert!(value(&design, &labels, &rows, 1.0, &other) > best, "{tiers} tiers, weight {at}");
                }
            }
            let warm =
                fit(&design, &labels, &rows, part, 1.0, Some(&fit(&design, &labels, &rows, part, 0.1, None)));
            assert!((value(&design, &labels, &rows, 1.0, &warm) - best).abs() < 1e-3 * best);
        }
    }

    #[test]
    fn unused_inputs_keep_no_weight_and_the_constant_is_the_mean() {
        let design = design(100, 5);
        let rows: Vec<usize> = (0..100).collect();
        let labels = Labels::new(1, &[1.0; 100], |row, _| f64::from(u8::from(row % 4 == 0)));
        let part = Part { dense_from: 2, sparse: false };
        let fitted = fit(&design, &labels, &rows, part, 1.0, None);
        assert!(fitted.values[1..].iter().all(|&weight| weight == 0.0));
        let share = 25.5_f64 / 101.0;
        assert!((fitted.values[0] - (share / (1.0 - share)).ln()).abs() < 1e-2);
    }

    #[test]
    fn labels_that_all_agree_stay_finite() {
        let design = design(30, 7);
        let labels = Labels::new(2, &[1.0; 30], |_, tier| tier as f64);
        let fitted = fit(
            &design,
            &labels,
            &(0..30).collect::<Vec<_>>(),
            Part { dense_from: 0, sparse: true },
            3.0,
            None,
        );
        assert!(fitted.values.iter().all(|weight| weight.is_finite() && weight.abs() < 10.0));
    }

    #[test]
    fn both_ways_of_solving_agree() {
        let design = design(400, 11);
        let rows: Vec<usize> = (0..300).collect();
        for (tiers, c, part) in [
            (1, 0.1, Part { dense_from: 0, sparse: true }),
            (3, 1.0, Part { dense_from: 1, sparse: true }),
            (6, 3.0, Part { dense_from: 0, sparse: false }),
            (9, 0.3, Part { dense_from: 2, sparse: false }),
        ] {
            let weights: Vec<f64> = (0..400).map(|row| 1.0 + f64::from(row % 3)).collect();
            let labels = Labels::new(tiers, &weights, |row, tier| {
                let x =
                    f64::from(design.dense[row * 2]) * (tier as f64 - 1.5) + f64::from(design.sparse[row].0);
                if tier == 1 { (x + 4.0) / 9.0 } else { f64::from(u8::from(x > 0.7)) }
            });
            let descended = fit(&design, &labels, &rows, part, c, None);
            let ascended = ascend(&design, &labels, &rows, part, c, None);
            let (a, b) = (
                value(&design, &labels, &rows, c, &descended),
                value(&design, &labels, &rows, c, &ascended.weights),
            );
            assert!((a - b).abs() < 1e-3 * a, "{tiers} tiers: {a} {b}");
            let other = ascend(&design, &labels, &rows, Part { sparse: !part.sparse, ..part }, c / 3.0, None);
            let warm = ascend(&design, &labels, &rows, part, c, Some(&other));
            let warm = value(&design, &labels, &rows, c, &warm.weights);
            assert!((a - warm).abs() < 1e-3 * a, "{tiers} tiers: {a} {warm}");
        }
    }
}
