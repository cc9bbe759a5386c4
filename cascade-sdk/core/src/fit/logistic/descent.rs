//! L-BFGS for logistic regression of several tiers at once, in double precision.

use super::{Design, Labels, Part, Row, Weights, log_loss};
use std::collections::VecDeque;

/// Pairs of steps and gradient changes that L-BFGS remembers.
const MEMORY: usize = 8;

/// Most iterations.
const MOST_ITERATIONS: usize = 100;

/// Stops when the gradient is shorter than this times C · √(rows · tiers): one hundredth of what noise alone would make
/// it at the constant model.
const SMALL_GRADIENT: f64 = 0.01;

/// Minimises ½‖w‖² + C Σ weight · log loss for every tier, with free intercepts, over `rows`.
///
/// `start` is where to begin (it must not have seen rows that are to be predicted), else the constant model.
pub fn fit(
    design: &Design,
    labels: &Labels,
    rows: &[usize],
    part: Part,
    c: f64,
    start: Option<&Weights>,
) -> Weights {
    let tiers = labels.tiers;
    let inputs = 1 + design.dense_len + design.sparse_len;
    let mut weights = Weights { tiers, values: vec![0.0; inputs * tiers] };
    let mut first = 0;
    while first < tiers {
        // Four tiers, or the last one or two, at a time: fixed widths let the compiler unroll.
        if tiers - first > 2 {
            Problem::<4> { design, labels, rows, part, c, first }.solve(start, &mut weights);
            first += 4;
        } else {
            Problem::<2> { design, labels, rows, part, c, first }.solve(start, &mut weights);
            first += 2;
        }
    }
    weights
}

/// The problem of the tiers from `first` on, at most `WIDTH` of them; lanes without a tier stay zero.
struct Problem<'a, const WIDTH: usize> {
    design: &'a Design,
    labels: &'a Labels,
    rows: &'a [usize],
    part: Part,
    c: f64,
    first: usize,
}

/// Weights of all inputs for some tiers.
type Lanes<const WIDTH: usize> = Vec<[f64; WIDTH]>;

impl<const WIDTH: usize> Problem<'_, WIDTH> {
    fn tiers(&self) -> usize {
        (self.labels.tiers - self.first).min(WIDTH)
    }

    fn solve(&self, start: Option<&Weights>, weights: &mut Weights) {
        let all = self.labels.tiers;
        let mut values = match start {
            Some(start) => start
                .values
                .chunks_exact(all)
                .map(|row| std::array::from_fn(|lane| row.get(self.first + lane).copied().unwrap_or(0.0)))
                .collect(),
            None => self.constant(),
        };
        values = minimise(self, values);
        for (to, from) in weights.values.chunks_exact_mut(all).zip(&values) {
            to[self.first..].iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        }
    }

    fn label(&self, row: usize, tier: usize) -> f64 {
        self.labels.label[row * self.labels.tiers + self.first + tier]
    }

    /// The best model without inputs: log-odds of the mean label, kept finite where all labels agree.
    fn constant(&self) -> Lanes<WIDTH> {
        let mut values = vec![[0.0; WIDTH]; 1 + self.design.dense_len + self.design.sparse_len];
        let weight = &self.labels.weight;
        let total: f64 = self.rows.iter().map(|&row| weight[row]).sum();
        for (tier, intercept) in values[0].iter_mut().enumerate().take(self.tiers()) {
            let good: f64 = self.rows.iter().map(|&row| weight[row] * self.label(row, tier)).sum();
            let share = (good + 0.5) / (total + 1.0);
            *intercept = libm::log(share / (1.0 - share));
        }
        values
    }

    /// The objective, and its gradient into `gradient`.
    fn evaluate(&self, values: &[[f64; WIDTH]], gradient: &mut [[f64; WIDTH]]) -> f64 {
        let tiers = self.tiers();
        gradient.copy_from_slice(values);
        let mut value = 0.5 * dot(values[1..].as_flattened(), values[1..].as_flattened());
        // Intercepts carry no penalty but one observation, half good and half bad, that keeps them finite.
        gradient[0] = [0.0; WIDTH];
        for (slope, &intercept) in gradient[0].iter_mut().zip(&values[0]).take(tiers) {
            value += self.c * log_loss(intercept, 0.5);
            *slope = self.c * (crate::decide::logistic(intercept) - 0.5);
        }
        for &row in self.rows {
            let inputs = self.design.row(row, self.part);
            let mut residual = inputs.linear(values);
            let scale = self.c * self.labels.weight[row];
            for (tier, slot) in residual.iter_mut().enumerate() {
                if tier >= tiers {
                    *slot = 0.0;
                    continue;
                }
                let (z, label) = (*slot, self.label(row, tier));
                let small = libm::exp(-z.abs());
                value += scale * (z.max(0.0) + libm::log1p(small) - label * z);
                let probability = if z >= 0.0 { 1.0 } else { small } / (1.0 + small);
                *slot = scale * (probability - label);
            }
            inputs.add_to(gradient, residual);
        }
        value
    }
}

impl Row<'_> {
    /// Log-odds: intercept + Σ weight · input, for all lanes.
    fn linear<const WIDTH: usize>(self, values: &[[f64; WIDTH]]) -> [f64; WIDTH] {
        let mut sums = values[0];
        self.for_each(|input, value| {
            for (sum, weight) in sums.iter_mut().zip(&values[input]) {
                *sum += value * weight;
            }
        });
        sums
    }

    /// Adds residual · input to the gradient of every weight.
    fn add_to<const WIDTH: usize>(self, gradient: &mut [[f64; WIDTH]], residual: [f64; WIDTH]) {
        for (slope, residual) in gradient[0].iter_mut().zip(residual) {
            *slope += residual;
        }
        self.for_each(|input, value| {
            for (slope, residual) in gradient[input].iter_mut().zip(residual) {
                *slope += value * residual;
            }
        });
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Four running sums: the order of additions is fixed, and the processor can overlap them.
    let (a4, a_rest) = a.as_chunks::<4>();
    let (b4, b_rest) = b.as_chunks::<4>();
    let mut sums = [0.0; 4];
    for (a, b) in a4.iter().zip(b4) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

fn add_scaled<const WIDTH: usize>(to: &mut [[f64; WIDTH]], factor: f64, by: &[[f64; WIDTH]]) {
    for (to, by) in to.as_flattened_mut().iter_mut().zip(by.as_flattened()) {
        *to += factor * by;
    }
}

/// A step and the change of the gradient along it.
struct Memory<const WIDTH: usize> {
    step: Lanes<WIDTH>,
    change: Lanes<WIDTH>,
    /// step · change, positive.
    product: f64,
}

/// L-BFGS with backtracking (Nocedal and Wright, algorithm 7.4).
fn minimise<const WIDTH: usize>(problem: &Problem<'_, WIDTH>, mut values: Lanes<WIDTH>) -> Lanes<WIDTH> {
    let cells = (problem.rows.len() * problem.tiers()) as f64;
    let tolerance = SMALL_GRADIENT * problem.c * libm::sqrt(cells);
    let mut gradient = values.clone();
    let mut value = problem.evaluate(&values, &mut gradient);
    let (mut next, mut next_gradient) = (values.clone(), values.clone());
    let mut memory: VecDeque<Memory<WIDTH>> = VecDeque::with_capacity(MEMORY);
    for _ in 0..MOST_ITERATIONS {
        let steepness = libm::sqrt(dot(gradient.as_flattened(), gradient.as_flattened()));
        if steepness <= tolerance {
            break;
        }
        let direction = direction(&memory, &gradient);
        let slope = dot(direction.as_flattened(), gradient.as_flattened());
        // Without curvature known, a first step of length one is a safe guess.
        let mut length = if memory.is_empty() { (1.0 / steepness).min(1.0) } else { 1.0 };
        let mut accepted = None;
        for _ in 0..30 {
            next.copy_from_slice(&values);
            add_scaled(&mut next, length, &direction);
            let trial = problem.evaluate(&next, &mut next_gradient);
            if trial <= value + 1e-4 * length * slope {
                accepted = Some(trial);
                break;
            }
            length *= 0.5;
        }
        // No descent left within the precision of the sums.
        let Some(lower) = accepted else { break };
        // The oldest pair makes room; its memory is used again.
        let mut pair = if memory.len() == MEMORY { memory.pop_front() } else { None }
            .unwrap_or_else(|| Memory { step: values.clone(), change: values.clone(), product: 0.0 });
        difference(&next, &values, &mut pair.step);
        difference(&next_gradient, &gradient, &mut pair.change);
        pair.product = dot(pair.step.as_flattened(), pair.change.as_flattened());
        if pair.product > 0.0 {
            memory.push_back(pair);
        }
        std::mem::swap(&mut values, &mut next);
        std::mem::swap(&mut gradient, &mut next_gradient);
        value = lower;
    }
    values
}

fn difference<const WIDTH: usize>(a: &[[f64; WIDTH]], b: &[[f64; WIDTH]], out: &mut [[f64; WIDTH]]) {
    for ((out, a), b) in out.as_flattened_mut().iter_mut().zip(a.as_flattened()).zip(b.as_flattened()) {
        *out = a - b;
    }
}

/// The quasi-Newton direction of descent: two-loop recursion.
fn direction<const WIDTH: usize>(
    memory: &VecDeque<Memory<WIDTH>>,
    gradient: &[[f64; WIDTH]],
) -> Lanes<WIDTH> {
    let mut direction: Lanes<WIDTH> = gradient.iter().map(|slopes| slopes.map(|slope| -slope)).collect();
    let mut shares = Vec::with_capacity(memory.len());
    for pair in memory.iter().rev() {
        let share = dot(pair.step.as_flattened(), direction.as_flattened()) / pair.product;
        add_scaled(&mut direction, -share, &pair.change);
        shares.push(share);
    }
    if let Some(last) = memory.back() {
        let scale = last.product / dot(last.change.as_flattened(), last.change.as_flattened());
        for value in direction.as_flattened_mut() {
            *value *= scale;
        }
    }
    for (pair, share) in memory.iter().zip(shares.iter().rev()) {
        let correction = share - dot(pair.change.as_flattened(), direction.as_flattened()) / pair.product;
        add_scaled(&mut direction, correction, &pair.step);
    }
    direction
}
