//! Paired bootstrap over groups: every interval of a report comes from the same resamples (MATH.md 11).
//!
//! Groups are the unit of resampling: samples of one prompt, near-duplicates and sessions stay together. Above
//! [`MOST_BLOCKS`] groups, groups are joined into that many blocks at random; blocks are as independent as groups, so
//! the intervals stay valid while the work stays bounded.

use crate::fit::random::SplitMix64;
use crate::fit::rows::table::Table;
use crate::policy::Estimate;

/// Number of resamples.
pub const RESAMPLES: usize = 2_000;

/// Most units that are resampled.
pub const MOST_BLOCKS: usize = 4_096;

/// One number a row, to be summed: weighted qualities, costs, calls, indicator variables.
pub type Column = Vec<f64>;

/// Sums per block of the columns of a comparison.
#[derive(Debug)]
pub struct Blocks {
    columns: usize,
    /// `blocks × columns`, row-major.
    sums: Vec<f64>,
    /// The sums on the rows themselves.
    observed: Vec<f64>,
}

/// Sums of every column in every resample.
#[derive(Debug)]
pub struct Resamples {
    columns: usize,
    /// The sums on the rows themselves.
    observed: Vec<f64>,
    /// `RESAMPLES × columns`, row-major.
    replicates: Vec<f64>,
}

impl Blocks {
    /// Sums columns (one entry for each of `rows`) by group.
    pub fn new(table: &Table, rows: &[u32], columns: &[Column], seed: u64) -> Self {
        let mut block_of = vec![usize::MAX; table.groups];
        let mut order: Vec<u32> = Vec::new();
        for &row in rows {
            let group = table.group[row as usize];
            if block_of[group as usize] == usize::MAX {
                block_of[group as usize] = order.len();
                order.push(group);
            }
        }
        let blocks = order.len().min(MOST_BLOCKS);
        if order.len() > MOST_BLOCKS {
            // A random deal keeps the blocks equally large and independent of the order of ids.
            let mut random = SplitMix64::new(seed, 0xB10C);
            for last in (1..order.len()).rev() {
                order.swap(last, random.below(last + 1));
            }
            for (position, &group) in order.iter().enumerate() {
                block_of[group as usize] = position % blocks;
            }
        }
        let mut sums = vec![0.0; blocks * columns.len()];
        for (position, &row) in rows.iter().enumerate() {
            let block = block_of[table.group[row as usize] as usize];
            let into = &mut sums[block * columns.len()..(block + 1) * columns.len()];
            for (sum, column) in into.iter_mut().zip(columns) {
                *sum += column[position];
            }
        }
        Self::of(columns.len(), sums)
    }

    fn of(columns: usize, sums: Vec<f64>) -> Self {
        let mut observed = vec![0.0; columns];
        for block in sums.chunks_exact(columns.max(1)) {
            for (sum, value) in observed.iter_mut().zip(block) {
                *sum += value;
            }
        }
        Self { columns, sums, observed }
    }

    /// Replaces what was summed in floating point by sums that are known exactly, so that whoever forms the same ratio of
    /// them gets the same number to the last bit.
    #[must_use]
    pub fn with_exact(mut self, exact: impl IntoIterator<Item = (usize, i128)>) -> Self {
        for (column, sum) in exact {
            self.observed[column] = sum as f64;
        }
        self
    }

    /// Number of units that are resampled.
    pub fn len(&self) -> usize {
        self.sums.len().checked_div(self.columns).unwrap_or(0)
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Squares and products of two columns' block sums, appended as columns: what a standard error of a ratio needs.
    #[must_use]
    pub fn with_products(&self, products: &[(usize, usize)]) -> Self {
        let columns = self.columns + products.len();
        let mut sums = Vec::with_capacity(self.len() * columns);
        for block in self.sums.chunks_exact(self.columns) {
            sums.extend_from_slice(block);
            sums.extend(products.iter().map(|&(a, b)| block[a] * block[b]));
        }
        let products = Self::of(columns, sums);
        let known = self.observed.iter().chain(&products.observed[self.columns..]).copied().collect();
        Self { observed: known, ..products }
    }

    /// Draws the resamples. Each has a random stream of its own, so the result does not depend on `threads`.
    pub fn resample(&self, seed: u64, threads: usize) -> Resamples {
        let (blocks, columns) = (self.len(), self.columns);
        let mut replicates = vec![0.0; RESAMPLES * columns];
        if blocks > 0 && columns > 0 {
            let share = RESAMPLES.div_ceil(threads.max(1));
            std::thread::scope(|scope| {
                for (worker, chunk) in replicates.chunks_mut(share * columns).enumerate() {
                    scope.spawn(move || {
                        let mut counts = vec![0.0_f64; blocks];
                        for (index, into) in chunk.chunks_exact_mut(columns).enumerate() {
                            let stream = (worker * share + index) as u64;
                            self.draw(&mut SplitMix64::new(seed, stream + 1), &mut counts, into);
                        }
                    });
                }
            });
        }
        Resamples { columns, observed: self.observed.clone(), replicates }
    }

    fn draw(&self, random: &mut SplitMix64, counts: &mut [f64], into: &mut [f64]) {
        counts.fill(0.0);
        for _ in 0..counts.len() {
            counts[random.below(counts.len())] += 1.0;
        }
        for (count, block) in counts.iter().zip(self.sums.chunks_exact(self.columns)) {
            if *count > 0.0 {
                for (sum, value) in into.iter_mut().zip(block) {
                    *sum += count * value;
                }
            }
        }
    }
}

impl Resamples {
    /// A statistic of the column sums with its 95 % percentile interval.
    pub fn estimate(&self, statistic: impl Fn(&[f64]) -> f64) -> Estimate {
        let value = statistic(&self.observed);
        let mut values = self.values(statistic);
        let (low, high) = (quantile(&mut values, 0.025), quantile(&mut values, 0.975));
        Estimate { value, low, high }
    }

    /// A ratio of two column sums, the first in parts of which `unit` make one, with its 95 % bootstrap-t interval, which
    /// heavy tails do not mislead as they do the percentile interval. `squares` are the columns Σx², Σxw and Σw² over blocks.
    pub fn ratio_t(
        &self,
        (numerator, unit): (usize, f64),
        weight: usize,
        squares: (usize, usize, usize),
        blocks: usize,
    ) -> Estimate {
        let ratio = |sums: &[f64]| sums[numerator] / (sums[weight] * unit);
        let error = |sums: &[f64]| {
            let mean = sums[numerator] / sums[weight];
            let spread = sums[squares.0] - 2.0 * mean * sums[squares.1] + mean * mean * sums[squares.2];
            let correction = blocks as f64 / (blocks as f64 - 1.0).max(1.0);
            libm::sqrt(spread.max(0.0) * correction) / (sums[weight] * unit)
        };
        let (value, own) = (ratio(&self.observed), error(&self.observed));
        let mut studentised: Vec<f64> = self
            .replicates
            .chunks_exact(self.columns)
            .map(|sums| (ratio(sums) - value) / error(sums))
            .filter(|t| t.is_finite())
            .collect();
        if studentised.len() < RESAMPLES / 2 {
            // Constant costs: there is no spread to studentise by.
            return self.estimate(ratio);
        }
        let (low, high) = (quantile(&mut studentised, 0.975), quantile(&mut studentised, 0.025));
        Estimate { value, low: (value - low * own).max(0.0), high: value - high * own }
    }

    /// Standard error of a statistic: its spread over the resamples.
    pub fn standard_error(&self, statistic: impl Fn(&[f64]) -> f64) -> f64 {
        let values = self.values(statistic);
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        let spread: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        libm::sqrt(spread / (values.len().max(2) - 1) as f64)
    }

    /// The statistic in every resample in which it is defined.
    fn values(&self, statistic: impl Fn(&[f64]) -> f64) -> Vec<f64> {
        self.replicates
            .chunks_exact(self.columns.max(1))
            .map(statistic)
            .filter(|value| value.is_finite())
            .collect()
    }
}

/// The `p`-quantile by linear interpolation; sorts the values. NaN without values.
pub fn quantile(values: &mut [f64], p: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let Some(last) = values.len().checked_sub(1) else { return f64::NAN };
    let position = p * last as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 <= position <= last")]
    let below = position.floor() as usize;
    let above = (below + 1).min(last);
    values[below] + (values[above] - values[below]) * (position - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(group: Vec<u32>) -> Table {
        let groups = group.iter().max().map_or(0, |&last| last as usize + 1);
        Table {
            weight: vec![1; group.len()],
            log_row: (0..group.len() as u32).collect(),
            group,
            groups,
            tiers: Vec::new(),
            embedding_cost: Vec::new(),
            embedding_latency_ms: Vec::new(),
        }
    }

    fn mean_and_interval(table: &Table, values: &[f64], threads: usize) -> Estimate {
        let rows: Vec<u32> = (0..values.len() as u32).collect();
        let columns = vec![values.to_vec(), vec![1.0; values.len()]];
        Blocks::new(table, &rows, &columns, 1).resample(7, threads).estimate(|sums| sums[0] / sums[1])
    }

    /// Uniform values with a mean that each group of `size` shares in part.
    fn grouped(random: &mut SplitMix64, groups: usize, size: usize) -> Vec<f64> {
        (0..groups)
            .flat_map(|_| {
                let shared = random.fraction();
                (0..size).map(|_| shared + random.fraction()).collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn intervals_do_not_depend_on_threads() {
        let values: Vec<f64> = (0..101).map(|i| f64::from(i % 7)).collect();
        let table = table((0..101).collect());
        assert_eq!(mean_and_interval(&table, &values, 1), mean_and_interval(&table, &values, 3));
    }

    /// 300 simulated data sets: a nominal 95 % interval must cover the true mean of 1 at least as often as
    /// 0.95 less three standard errors and the small-sample shortfall of 60 groups.
    #[test]
    fn intervals_cover_when_groups_are_the_unit() {
        let mut random = SplitMix64::new(3, 0);
        let (mut by_group, mut by_row) = (0, 0);
        for _ in 0..300 {
            let values = grouped(&mut random, 60, 5);
            let covers = |estimate: Estimate| i32::from(estimate.low <= 1.0 && 1.0 <= estimate.high);
            by_group += covers(mean_and_interval(&table((0..300).map(|row| row / 5).collect()), &values, 2));
            by_row += covers(mean_and_interval(&table((0..300).collect()), &values, 2));
        }
        assert!(by_group >= 270, "groups: {by_group} of 300");
        assert!(by_row < 255, "rows as units should cover too rarely: {by_row} of 300");
    }

    #[test]
    fn many_groups_are_dealt_into_blocks() {
        let rows = 3 * MOST_BLOCKS;
        let table = table((0..rows as u32).collect());
        let all: Vec<u32> = (0..rows as u32).collect();
        let blocks = Blocks::new(&table, &all, &[vec![1.0; rows]], 1);
        assert_eq!(blocks.len(), MOST_BLOCKS);
        assert!(blocks.sums.iter().all(|&sum| (sum - 3.0).abs() < 1e-12));
    }

    #[test]
    fn exact_sums_take_the_place_of_those_in_floating_point() {
        let table = table((0..10).collect());
        let rows: Vec<u32> = (0..10).collect();
        let tenths = Blocks::new(&table, &rows, &[vec![0.1; 10], vec![1.0; 10]], 1).with_products(&[(1, 1)]);
        assert!((tenths.observed[0] - 1.0).abs() > 0.0, "ten times 0.1 is not 1 in floating point");
        let exact = tenths.with_exact([(0, 1)]).resample(7, 1).estimate(|sums| sums[0] / sums[1]);
        assert_eq!(exact.value.to_bits(), 0.1_f64.to_bits());
    }

    #[test]
    fn constant_costs_have_a_point_interval() {
        let table = table((0..50).collect());
        let rows: Vec<u32> = (0..50).collect();
        let blocks = Blocks::new(&table, &rows, &[vec![2.0; 50], vec![1.0; 50]], 1);
        let squared = blocks.with_products(&[(0, 0), (0, 1), (1, 1)]);
        let estimate = squared.resample(7, 1).ratio_t((0, 1.0), 1, (2, 3, 4), 50);
        assert_eq!(estimate, Estimate { value: 2.0, low: 2.0, high: 2.0 });
    }
}
