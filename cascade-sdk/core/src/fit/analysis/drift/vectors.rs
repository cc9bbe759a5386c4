//! Embeddings of the prompts: the two sides' mean vectors are compared, each number in units of its own spread.

use super::Input;
use super::columns::{Family, Sides, bins};
use crate::log::EvalLog;

/// Numbers that a longer vector is folded into, by a sum with signs for each (a sparse random projection, which keeps
/// distances within a few per cent): the work for a permutation stays bounded.
const MOST_NUMBERS: usize = 512;

/// Steps of one: sums are of integers, so that they do not depend on the order of the rows.
const STEPS: f64 = 32_768.0;

/// The vectors of all rows, at length 1.
#[derive(Debug)]
pub(super) struct Vectors {
    /// Numbers of each.
    length: usize,
    /// In steps, row by row.
    values: Vec<i32>,
}

/// The family of these rows, all of which have a vector; `None` where the two logs' vectors are of different models.
pub(super) fn family(input: &Input<'_>, sides: Sides) -> Option<Family> {
    let of = |log: &EvalLog| {
        log.embeddings.as_ref().map(|all| (all.model.clone(), all.dimensions, all.sha256.clone()))
    };
    let (model, dimensions, _) = of(input.reference).filter(|kind| of(input.new).as_ref() == Some(kind))?;
    let length = dimensions.min(MOST_NUMBERS);
    let mut values = Vec::with_capacity(sides.rows.len() * length);
    let mut columns = vec![Vec::with_capacity(sides.rows.len()); length];
    for &(row, new) in &sides.rows {
        let log = if new { input.new } else { input.reference };
        let vector = log.embeddings.as_ref()?.get(row)?;
        let folded = folded(vector, length);
        for (column, value) in columns.iter_mut().zip(&folded) {
            column.push(*value);
        }
        #[expect(clippy::cast_possible_truncation, reason = "between -1 and 1, or a few where folded")]
        values.extend(folded.iter().map(|value| (value * STEPS).round() as i32));
    }
    let name = format!("embedding by {model}");
    // Its numbers have no names that would say anything.
    let bins = columns.iter().map(|column| (name.clone(), bins(column))).collect();
    let family = Family::of(name.as_str(), bins);
    Some(Family { some: Some(sides), vectors: Some(Vectors { length, values }), ..family })
}

/// A vector at length 1, with so many numbers at most.
fn folded(vector: &[f32], length: usize) -> Vec<f64> {
    let square: f64 = vector.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
    let factor = if square > 0.0 { 1.0 / libm::sqrt(square) } else { 0.0 };
    let mut folded = vec![0.0; length];
    for (at, &value) in vector.iter().enumerate() {
        // Bits of a multiple of 2⁶⁴ / φ look random.
        let sign = if at >= length && (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 63 == 1 {
            -1.0
        } else {
            1.0
        };
        folded[at % length] += sign * factor * f64::from(value);
    }
    folded
}

/// Sums of the vectors, group by group.
pub(super) struct Sums {
    length: usize,
    rows: Vec<u32>,
    /// Of each group.
    own: Vec<i64>,
    total: Vec<i64>,
    /// 1 / variance of each number over all rows, in steps; 0 for one that is constant.
    precision: Vec<f64>,
    all_rows: u32,
    /// Of the groups that are summed up.
    chosen: Vec<i64>,
}

impl Sums {
    pub(super) fn new(vectors: &Vectors, sides: &Sides) -> Self {
        let (length, groups) = (vectors.length, sides.is_new.len());
        let mut sums = Self {
            length,
            rows: vec![0; groups],
            own: vec![0; groups * length],
            total: vec![0; length],
            precision: Vec::new(),
            all_rows: 0,
            chosen: vec![0; length],
        };
        let mut squares = vec![0_i64; length];
        for (vector, &group) in vectors.values.chunks_exact(length.max(1)).zip(&sides.group) {
            let group = group as usize;
            sums.rows[group] += 1;
            sums.all_rows += 1;
            let own = &mut sums.own[group * length..(group + 1) * length];
            for (at, &value) in vector.iter().enumerate() {
                let value = i64::from(value);
                own[at] += value;
                sums.total[at] += value;
                squares[at] += value * value;
            }
        }
        let rows = f64::from(sums.all_rows.max(1));
        let precision = sums.total.iter().zip(&squares).map(|(&total, &square)| {
            let mean = total as f64 / rows;
            let variance = square as f64 / rows - mean * mean;
            // What differs only by rounding is constant.
            if variance > 0.5 { 1.0 / variance } else { 0.0 }
        });
        sums.precision = precision.collect();
        sums
    }

    /// Σ over the numbers of (mean of these groups − mean of the others)² / variance.
    pub(super) fn difference(&mut self, new: &[u32]) -> f64 {
        self.chosen.fill(0);
        let mut rows = 0;
        for &group in new {
            let group = group as usize;
            rows += self.rows[group];
            let own = &self.own[group * self.length..(group + 1) * self.length];
            for (sum, value) in self.chosen.iter_mut().zip(own) {
                *sum += value;
            }
        }
        let (new_rows, other_rows) = (f64::from(rows), f64::from(self.all_rows - rows));
        let numbers = self.chosen.iter().zip(&self.total).zip(&self.precision);
        numbers.fold(0.0, |all, ((&sum, &total), precision)| {
            let gap = sum as f64 / new_rows - (total - sum) as f64 / other_rows;
            all + gap * gap * precision
        })
    }
}
