//! Dual coordinate ascent for logistic regression on very many inputs (Yu, Huang and Lin 2011; Shalev-Shwartz and
//! Zhang 2013).
//!
//! It minimises the same sum as [`super::fit`], but walks over rows: each has a dual variable α = C · weight · (y − σ(z)),
//! and the weights are Σ α · x. A step solves one row exactly and touches only its own inputs, so that the work does not
//! depend on how many inputs there are, and the strongly shrunk models of a router need about ten passes. Weights are in
//! single precision, four tiers to a register.

use super::{Design, Labels, Part, Row, Weights};
use crate::decide::logistic;
use crate::fit::random::SplitMix64;

/// Most passes over the rows.
const MOST_PASSES: u64 = 40;

/// Stops after a pass that moves fitted probabilities by less than this (root of the mean square), a tenth of what two
/// hundred rows could tell from nothing.
const SMALL_MOVE: f64 = 0.003;

/// Newton steps per row: its equation is nearly linear, and later passes solve it again.
const NEWTON_STEPS: usize = 2;

/// Seed of the order of rows, which differs from pass to pass.
const SEED: u64 = 0x00A5_CE27;

/// Weights and the dual variables they are made of.
#[derive(Clone, Debug)]
pub struct Solution {
    /// The weights.
    pub weights: Weights,
    /// α / (C · weight) = y − σ(z) of each fitted row: rows × tiers.
    residual: Vec<f64>,
}

/// As [`super::fit`], for designs with many sparse inputs. `start` is a solution on the same rows for another part or
/// penalty.
pub fn ascend(
    design: &Design,
    labels: &Labels,
    rows: &[usize],
    part: Part,
    c: f64,
    start: Option<&Solution>,
) -> Solution {
    let tiers = labels.tiers;
    let inputs = 1 + design.dense_len + design.sparse_len;
    let mut solution = Solution {
        weights: Weights { tiers, values: vec![0.0; inputs * tiers] },
        residual: vec![0.0; rows.len() * tiers],
    };
    let mut first = 0;
    while first < tiers {
        let left = tiers - first;
        first += if left > 4 {
            Ascent::<8> { design, labels, rows, part, c, first }.solve(start, &mut solution)
        } else if left > 2 {
            Ascent::<4> { design, labels, rows, part, c, first }.solve(start, &mut solution)
        } else {
            Ascent::<2> { design, labels, rows, part, c, first }.solve(start, &mut solution)
        };
    }
    solution
}

/// The problem of at most `WIDTH` tiers from `first` on; lanes without a tier stay zero.
struct Ascent<'a, const WIDTH: usize> {
    design: &'a Design,
    labels: &'a Labels,
    rows: &'a [usize],
    part: Part,
    c: f64,
    first: usize,
}

impl<const WIDTH: usize> Ascent<'_, WIDTH> {
    /// Solves for its tiers and returns how many lanes it took care of.
    fn solve(&self, start: Option<&Solution>, solution: &mut Solution) -> usize {
        let all = self.labels.tiers;
        let tiers = (all - self.first).min(WIDTH);
        let mut weights = vec![[0.0_f32; WIDTH]; 1 + self.design.dense_len + self.design.sparse_len];
        let mut residual = vec![[0.0_f64; WIDTH]; self.rows.len()];
        let mut intercept = self.constant(tiers);
        if let Some(start) = start {
            for (lane, intercept) in intercept.iter_mut().enumerate().take(tiers) {
                *intercept = start.weights.values[self.first + lane];
            }
            for (place, &row) in self.rows.iter().enumerate() {
                let known = &start.residual[place * all + self.first..];
                residual[place].iter_mut().zip(known).take(tiers).for_each(|(to, from)| *to = *from);
                let scale = self.c * self.labels.weight[row];
                add(self.design.row(row, self.part), &mut weights, residual[place].map(|r| scale * r));
            }
        }
        let norms: Vec<f64> = self.rows.iter().map(|&row| square(self.design.row(row, self.part))).collect();
        // Without inputs the constant is the solution.
        let passes = if norms.iter().all(|&norm| norm == 0.0) { 0 } else { MOST_PASSES };
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        for pass in 0..passes {
            SplitMix64::new(SEED, pass).shuffle(&mut order);
            let moved = self.pass(&order, &norms, tiers, &mut weights, &mut residual, &mut intercept);
            if moved <= SMALL_MOVE {
                break;
            }
        }
        for (lane, &intercept) in intercept.iter().enumerate().take(tiers) {
            solution.weights.values[self.first + lane] = intercept;
        }
        for (to, from) in solution.weights.values.chunks_exact_mut(all).zip(&weights).skip(1) {
            to[self.first..].iter_mut().zip(from).for_each(|(to, &from)| *to = f64::from(from));
        }
        for (to, from) in solution.residual.chunks_exact_mut(all).zip(&residual) {
            to[self.first..].iter_mut().zip(from).for_each(|(to, &from)| *to = from);
        }
        WIDTH
    }

    fn label(&self, row: usize, lane: usize) -> f64 {
        self.labels.label[row * self.labels.tiers + self.first + lane]
    }

    /// Log-odds of the mean label, with one observation more that is half good and half bad.
    fn constant(&self, tiers: usize) -> [f64; WIDTH] {
        let weight = &self.labels.weight;
        let total: f64 = self.rows.iter().map(|&row| weight[row]).sum();
        std::array::from_fn(|lane| {
            if lane >= tiers {
                return 0.0;
            }
            let good: f64 = self.rows.iter().map(|&row| weight[row] * self.label(row, lane)).sum();
            let share = (good + 0.5) / (total + 1.0);
            libm::log(share / (1.0 - share))
        })
    }

    /// Solves every row once, then the intercepts. Returns how far probabilities moved: the root of the mean square.
    fn pass(
        &self,
        order: &[usize],
        norms: &[f64],
        tiers: usize,
        weights: &mut [[f32; WIDTH]],
        residual: &mut [[f64; WIDTH]],
        intercept: &mut [f64; WIDTH],
    ) -> f64 {
        let mut moved = 0.0;
        // Gradient and curvature of the loss along each intercept, begun with the observation that keeps it finite.
        let mut slope = intercept.map(|b| 0.5 - logistic(b));
        let mut curvature = [0.25; WIDTH];
        for &place in order {
            let row = self.rows[place];
            let inputs = self.design.row(row, self.part);
            let sums = linear(inputs, weights);
            let (weight, norm) = (self.labels.weight[row], norms[place]);
            // z moves by `pull` for a change of the residual by one.
            let pull = self.c * weight * norm;
            let mut step = [0.0; WIDTH];
            for lane in 0..tiers {
                let (z, label, old) =
                    (intercept[lane] + f64::from(sums[lane]), self.label(row, lane), residual[place][lane]);
                let mut solved = z;
                let mut good = logistic(z);
                for _ in 0..NEWTON_STEPS {
                    let excess = solved - z - pull * (label - good - old);
                    solved -= excess / (1.0 + pull * good * (1.0 - good));
                    good = logistic(solved);
                }
                let new = label - good;
                let change = new - old;
                residual[place][lane] = new;
                step[lane] = self.c * weight * change;
                moved += change * change;
                slope[lane] += weight * new;
                curvature[lane] += weight * good * (1.0 - good);
            }
            add(inputs, weights, step);
        }
        for ((intercept, slope), curvature) in intercept.iter_mut().zip(slope).zip(curvature).take(tiers) {
            *intercept += (slope / curvature).clamp(-1.0, 1.0);
        }
        libm::sqrt(moved / (order.len() * tiers).max(1) as f64)
    }
}

/// Σ weight · input without the intercept, for all lanes.
fn linear<const WIDTH: usize>(row: Row<'_>, weights: &[[f32; WIDTH]]) -> [f32; WIDTH] {
    let (embedding, rest) = split(row);
    let mut sums = embedded(embedding, &weights[row.dense_start..]);
    rest.for_each_single(|input, value| {
        for (sum, weight) in sums.iter_mut().zip(&weights[input]) {
            *sum += value * weight;
        }
    });
    sums
}

/// The part of the embedding in [`linear`]. Inputs go to four sums in turn, so that no addition waits for the one before.
fn embedded<const WIDTH: usize>(embedding: &[f32], weights: &[[f32; WIDTH]]) -> [f32; WIDTH] {
    let mut turns = [[0.0_f32; WIDTH]; 4];
    let (fours, rest) = embedding.as_chunks::<4>();
    let (weights, weights_of_rest) = weights[..embedding.len()].as_chunks::<4>();
    for (values, weights) in fours.iter().zip(weights) {
        for ((sums, value), weights) in turns.iter_mut().zip(values).zip(weights) {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += value * weight;
            }
        }
    }
    for ((sums, value), weights) in turns.iter_mut().zip(rest).zip(weights_of_rest) {
        for (sum, weight) in sums.iter_mut().zip(weights) {
            *sum += value * weight;
        }
    }
    std::array::from_fn(|lane| (turns[0][lane] + turns[1][lane]) + (turns[2][lane] + turns[3][lane]))
}

/// Adds step · input to all weights.
#[expect(clippy::cast_possible_truncation, reason = "weights are kept in single precision")]
fn add<const WIDTH: usize>(row: Row<'_>, weights: &mut [[f32; WIDTH]], step: [f64; WIDTH]) {
    let step = step.map(|step| step as f32);
    let (embedding, rest) = split(row);
    for (weights, &value) in weights[row.dense_start..].iter_mut().zip(embedding) {
        for (weight, step) in weights.iter_mut().zip(step) {
            *weight += value * step;
        }
    }
    rest.for_each_single(|input, value| {
        for (weight, step) in weights[input].iter_mut().zip(step) {
            *weight += value * step;
        }
    });
}

/// The embedding, and the row without it.
fn split(row: Row<'_>) -> (&[f32], Row<'_>) {
    (row.embedding, Row { embedding: &[], dense_start: row.dense_start + row.embedding.len(), ..row })
}

fn square(row: Row<'_>) -> f64 {
    let mut sum = 0.0;
    row.for_each_single(|_, value| sum += f64::from(value) * f64::from(value));
    sum
}
