//! Predicted cost of a call: the mean, or more if more is known before it (MATH.md 7).

use crate::feature::{CostHead, single};
use crate::fit::inference::crossfit::{clustered_error, weighted_mean};
use crate::fit::router::inputs::Encoding;
use crate::fit::router::ridge::Ridge;
use crate::fit::rows::table::Table;

/// Penalty in rows, beside the length in standard deviations and dense inputs that share one unit of variance.
const PENALTY: f64 = 1.0;

/// What a cost may be predicted from; each includes the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CostBasis {
    /// Nothing: the mean.
    Mean,
    /// The prompt's length.
    Length,
    /// All dense inputs beside an embedding.
    Inputs,
}

impl CostBasis {
    const ALL: [Self; 3] = [Self::Mean, Self::Length, Self::Inputs];
}

/// Rows of inputs and the costs of one tier in US dollars.
pub(in crate::fit) struct Costs<'a> {
    pub(in crate::fit) encoding: &'a Encoding,
    pub(in crate::fit) weight: &'a [f64],
    pub(in crate::fit) cost: &'a [f64],
    /// The table and its rows, whose groups are the unit of an error.
    pub(in crate::fit) table: &'a Table,
    pub(in crate::fit) rows: &'a [u32],
}

impl Costs<'_> {
    /// The simplest basis whose squared error out of fold is not above that of a richer one by more than a standard error
    /// of the difference, by group: costs have heavy tails, and a mean cannot go wrong by much.
    pub(in crate::fit) fn choose(&self, folds: &[u8]) -> CostBasis {
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
            let error = clustered_error(self.table, self.rows, &gain);
            if weighted_mean(self.table, self.rows, &gain) > error {
                chosen = basis;
            }
        }
        chosen
    }

    /// Predictions of each row by the fit without its fold.
    pub(in crate::fit) fn out_of_fold(&self, basis: CostBasis, folds: &[u8]) -> Vec<f64> {
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
        &self.encoding.design.dense[row * length + self.encoding.design.embedding_len..(row + 1) * length]
    }

    /// Ridge regression on `rows` with a free constant.
    pub(in crate::fit) fn fit(&self, basis: CostBasis, rows: &[usize]) -> CostHead {
        let all = self.encoding.design.dense_len - self.encoding.design.embedding_len;
        let dense_len = if basis == CostBasis::Inputs { all } else { 0 };
        let width = if basis == CostBasis::Mean { 0 } else { 1 + dense_len };
        let scale = self.length_scale();
        let inputs: Vec<f64> = (0..self.cost.len())
            .flat_map(|row| {
                let dense = self.dense(row)[..dense_len].iter().map(|&value| f64::from(value));
                std::iter::once(self.encoding.bytes[row] / scale).chain(dense).take(width)
            })
            .collect();
        let line = Ridge::new(&inputs, width, self.weight, rows, PENALTY).fit(|row| self.cost[row]);
        let seen = rows.iter().map(|&row| self.cost[row]);
        CostHead {
            base: line.constant,
            per_byte: line.weights.first().map_or(0.0, |weight| weight / scale),
            dense: line.weights.iter().skip(1).map(|&weight| single(weight)).collect(),
            low: seen.clone().reduce(f64::min).unwrap_or(0.0),
            high: seen.reduce(f64::max).unwrap_or(0.0),
        }
    }

    /// Standard deviation of the length in bytes; infinite, which switches it off, where all are equally long.
    fn length_scale(&self) -> f64 {
        let bytes = &self.encoding.bytes;
        let rows = bytes.len().max(1) as f64;
        let mean = bytes.iter().sum::<f64>() / rows;
        let variance = bytes.iter().map(|bytes| (bytes - mean) * (bytes - mean)).sum::<f64>() / rows;
        if variance > 0.0 { libm::sqrt(variance) } else { f64::INFINITY }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::logistic::Design;

    fn encoding(rows: usize) -> Encoding {
        Encoding {
            design: Design { sparse_end: vec![0; rows], ..Design::default() },
            bytes: (0..rows).map(|row| (row * 37 % 101) as f64).collect(),
            bucket: Vec::new(),
        }
    }

    fn table(rows: u32, group_of: impl Fn(u32) -> u32) -> Table {
        Table {
            tiers: Vec::new(),
            log_row: (0..rows).collect(),
            group: (0..rows).map(group_of).collect(),
            groups: rows as usize,
            weight: vec![1; rows as usize],
            embedding_cost: Vec::new(),
            embedding_latency_ms: Vec::new(),
        }
    }

    #[test]
    fn rows_of_one_group_are_one_observation() {
        // Forty groups of ten equal rows; costs rise with length a little, which forty observations do not show.
        let mut random = crate::fit::random::SplitMix64::new(5, 0);
        let costs: Vec<(f64, f64)> = (0..40)
            .map(|_| {
                let bytes = random.fraction();
                (100.0 * bytes, 1e-5 * (2.0 + 0.5 * bytes + random.fraction()))
            })
            .collect();
        let encoding = Encoding { bytes: (0..400).map(|row| costs[row / 10].0).collect(), ..encoding(400) };
        let cost: Vec<f64> = (0..400).map(|row| costs[row / 10].1).collect();
        let (weight, rows): (Vec<f64>, Vec<u32>) = (vec![1.0; 400], (0..400).collect());
        let folds: Vec<u8> = (0..400).map(|row| (row / 10 % 5) as u8).collect();
        let choose = |table: &Table| {
            Costs { encoding: &encoding, weight: &weight, cost: &cost, table, rows: &rows }.choose(&folds)
        };
        assert_eq!(choose(&table(400, |row| row)), CostBasis::Length, "rows one by one");
        assert_eq!(choose(&table(400, |row| row / 10)), CostBasis::Mean);
    }

    #[test]
    fn a_cost_that_follows_length_is_predicted_from_it_and_noise_is_not() {
        let encoding = encoding(200);
        let (table, rows): (Table, Vec<u32>) = (table(200, |row| row), (0..200).collect());
        let weight = vec![1.0; 200];
        let folds: Vec<u8> = (0..200).map(|row| row % 5).collect();
        let linear: Vec<f64> = encoding.bytes.iter().map(|bytes| 1e-5 + 2e-7 * bytes).collect();
        let costs = Costs { encoding: &encoding, weight: &weight, cost: &linear, table: &table, rows: &rows };
        assert_eq!(costs.choose(&folds), CostBasis::Length);
        let head = costs.fit(CostBasis::Length, &(0..200).collect::<Vec<_>>());
        assert!((head.predict(50.0, &[]) - 2e-5).abs() < 1e-7);
        assert!(head.predict(1e9, &[]) <= 1e-5 + 2e-7 * 100.0 + 1e-18, "kept within the range seen");
        let noise: Vec<f64> = (0..200).map(|row: u32| f64::from(row * 7919 % 13) * 1e-6).collect();
        let costs = Costs { encoding: &encoding, weight: &weight, cost: &noise, table: &table, rows: &rows };
        assert_eq!(costs.choose(&folds), CostBasis::Mean);
    }
}
