//! The numbers of a log, ready to be searched: integers, cost order, groups.
//!
//! Qualities are integers of 10⁻¹², costs integers of pico-dollars and weights integers, so every sum is exact and does
//! not depend on the order of rows or the number of threads.

use crate::fit::rows::near;
use crate::log::EvalLog;
use crate::policy::Score;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Integer units in a quality of 1.
pub const QUALITY_ONE: i64 = 1_000_000_000_000;

/// Integer units in the largest weight where weights are no decimal fractions.
const WEIGHT_ONE: f64 = 1_000_000.0;

/// Rows that have a result from every tier of the pool.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The tiers; [`Table::order_by_cost`] puts them in increasing mean cost.
    pub tiers: Vec<TierData>,
    /// Index of each row in the log.
    pub log_row: Vec<u32>,
    /// Group of each row, numbered from 0 in order of first appearance; rows of a group are never separated.
    pub group: Vec<u32>,
    /// Number of groups.
    pub groups: usize,
    /// What the embedding of each row costs in pico-dollars; empty where there is none, or all are free.
    pub embedding_cost: Vec<i64>,
    /// How long the embedding of each row takes in milliseconds, NaN where that is unknown; empty where there is none, where the
    /// log does not say it, or where it takes no time.
    pub embedding_latency_ms: Vec<f32>,
    /// Integer weights without a common factor; all 1 where the log has no weights.
    pub weight: Vec<i64>,
}

/// One tier's results, one entry a row.
#[derive(Clone, Debug, Default)]
pub struct TierData {
    /// Its name.
    pub name: String,
    /// Quality in units of 10⁻¹².
    pub quality: Vec<i64>,
    /// Cost of the call in pico-dollars, without the costs of signals.
    pub cost: Vec<i64>,
    /// Whether the call failed.
    pub failed: Vec<bool>,
    /// Latency in milliseconds; NaN where unknown.
    pub latency_ms: Vec<f32>,
    /// Signals, sorted by name.
    pub signals: Vec<SignalData>,
}

/// One signal of one tier, one entry a row.
#[derive(Clone, Debug, Default)]
pub struct SignalData {
    /// Its name.
    pub name: String,
    /// Values; missing ones, and those of failed calls, are −∞, below every threshold.
    pub value: Vec<f64>,
    /// Cost of obtaining the value in pico-dollars; empty where free. A failed call has no answer to score, so it costs 0.
    pub cost: Vec<i64>,
    /// How to compute it from the tier's other signals, by their index; `None` for a signal of the log.
    pub combined: Option<Score>,
}

/// Exact weighted sums over some rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Totals {
    /// Σ weight · quality, in units of 10⁻¹².
    pub quality: i128,
    /// Σ weight · cost, in pico-dollars.
    pub cost: i128,
}

impl std::ops::Add for Totals {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { quality: self.quality + other.quality, cost: self.cost + other.cost }
    }
}

impl std::ops::Sub for Totals {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self { quality: self.quality - other.quality, cost: self.cost - other.cost }
    }
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Totals {
    /// Mean quality, for a total weight.
    pub fn mean_quality(self, weight: i128) -> f64 {
        self.quality as f64 / (weight as f64 * QUALITY_ONE as f64)
    }

    /// Mean cost in US dollars, for a total weight.
    pub fn mean_cost(self, weight: i128) -> f64 {
        self.cost as f64 / (weight as f64 * crate::money::PICO_PER_USD as f64)
    }
}

impl Table {
    /// Takes the rows that have all of `tiers`, in the log's order (sorted by id).
    ///
    /// `group_of` names the group of a log row; a row on its own is named by its id.
    pub fn new(log: &EvalLog, tiers: &[&str], group_of: impl Fn(usize) -> String) -> Self {
        let columns: Vec<_> = tiers.iter().filter_map(|name| log.tier(name)).collect();
        let rows: Vec<usize> = (0..log.rows.len())
            .filter(|&row| columns.len() == tiers.len() && columns.iter().all(|tier| tier.present[row]))
            .collect();
        let mut numbers = BTreeMap::new();
        let group = rows
            .iter()
            .map(|&row| {
                let next = numbers.len();
                u32::try_from(*numbers.entry(group_of(row)).or_insert(next)).unwrap_or(u32::MAX)
            })
            .collect();
        let tiers = columns
            .iter()
            .map(|tier| TierData {
                name: tier.name.clone(),
                quality: rows.iter().map(|&row| quality_units(tier.quality[row])).collect(),
                cost: rows.iter().map(|&row| tier.cost[row].pico()).collect(),
                failed: rows.iter().map(|&row| tier.failed[row]).collect(),
                latency_ms: rows.iter().map(|&row| tier.latency_ms[row]).collect(),
                signals: tier
                    .signals
                    .iter()
                    .map(|(name, signal)| SignalData {
                        name: name.clone(),
                        value: rows.iter().map(|&row| known(signal.value[row], tier.failed[row])).collect(),
                        cost: if signal.cost.is_empty() {
                            Vec::new()
                        } else {
                            rows.iter()
                                .map(|&row| if tier.failed[row] { 0 } else { signal.cost[row].pico() })
                                .collect()
                        },
                        combined: None,
                    })
                    .collect(),
            })
            .collect();
        let embedding_cost: Vec<i64> = match &log.embeddings {
            Some(embeddings) => rows.iter().map(|&row| embeddings.cost[row].pico()).collect(),
            None => Vec::new(),
        };
        let embedding_cost =
            if embedding_cost.iter().any(|&cost| cost != 0) { embedding_cost } else { Vec::new() };
        let timed = log.embeddings.as_ref().filter(|embeddings| embeddings.has_latencies());
        #[expect(clippy::cast_possible_truncation, reason = "single precision, as other latencies")]
        let embedding_latency_ms: Vec<f32> = timed.map_or_else(Vec::new, |embeddings| {
            rows.iter().map(|&row| embeddings.latency_ms(row) as f32).collect()
        });
        let takes_time = embedding_latency_ms.iter().any(|&latency| latency != 0.0);
        Self {
            tiers,
            embedding_cost,
            embedding_latency_ms: if takes_time { embedding_latency_ms } else { Vec::new() },
            group,
            groups: numbers.len(),
            weight: integer_weights(rows.iter().map(|&row| log.rows[row].weight)),
            log_row: rows.iter().map(|&row| u32::try_from(row).unwrap_or(u32::MAX)).collect(),
        }
    }

    /// As [`Table::new`], requests that are nearly the same in one group: the unit of every interval (MATH.md 11).
    pub fn grouped(log: &EvalLog, tiers: &[&str]) -> Self {
        let groups = near::group_keys(log);
        Self::new(log, tiers, |row| groups.get(row).cloned().unwrap_or_default())
    }

    /// The same with each row's embedding charged to every call of some tiers, in money and time: what a policy that reads it
    /// pays, where exactly one of them is called for each request.
    pub fn with_embeddings(&self, charged: impl Fn(usize) -> bool) -> Cow<'_, Self> {
        if self.embedding_cost.is_empty() && self.embedding_latency_ms.is_empty() {
            return Cow::Borrowed(self);
        }
        let mut table = self.clone();
        for (_, tier) in table.tiers.iter_mut().enumerate().filter(|(tier, _)| charged(*tier)) {
            for (cost, embedding) in tier.cost.iter_mut().zip(&self.embedding_cost) {
                *cost = cost.saturating_add(*embedding);
            }
            for (latency, embedding) in tier.latency_ms.iter_mut().zip(&self.embedding_latency_ms) {
                *latency += embedding;
            }
        }
        Cow::Owned(table)
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.weight.len()
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.weight.is_empty()
    }

    /// Puts the tiers in increasing mean cost over `rows`, ties by name (MATH.md 1).
    pub fn order_by_cost(&mut self, rows: &[u32]) {
        let mut keyed: Vec<(i128, TierData)> = std::mem::take(&mut self.tiers)
            .into_iter()
            .map(|tier| {
                let cost = rows.iter().map(|&row| self.weighted(row, tier.cost[row as usize])).sum();
                (cost, tier)
            })
            .collect();
        keyed.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.name.cmp(&b.1.name)));
        self.tiers = keyed.into_iter().map(|(_, tier)| tier).collect();
    }

    /// Σ weight over `rows`.
    pub fn total_weight(&self, rows: &[u32]) -> i128 {
        rows.iter().map(|&row| i128::from(self.weight[row as usize])).sum()
    }

    /// A tier used alone on `rows`.
    pub fn single(&self, tier: usize, rows: &[u32]) -> Totals {
        let tier = &self.tiers[tier];
        rows.iter().fold(Totals::default(), |sum, &row| {
            sum + self.totals(row, tier.quality[row as usize], tier.cost[row as usize])
        })
    }

    /// One row's contribution to the totals.
    pub fn totals(&self, row: u32, quality: i64, cost: i64) -> Totals {
        Totals { quality: self.weighted(row, quality), cost: self.weighted(row, cost) }
    }

    fn weighted(&self, row: u32, amount: i64) -> i128 {
        i128::from(self.weight[row as usize]) * i128::from(amount)
    }
}

/// A quality as an integer of 10⁻¹², rounded half to even.
#[expect(clippy::cast_possible_truncation, reason = "the reader keeps quality within [0, 1]")]
pub fn quality_units(quality: f64) -> i64 {
    (quality * QUALITY_ONE as f64).round_ties_even() as i64
}

fn known(value: f64, failed: bool) -> f64 {
    if failed || value.is_nan() { f64::NEG_INFINITY } else { value }
}

/// Weights as integers without a common factor; a log without weights has all ones. Decimal fractions are kept as they
/// are, other weights to six significant decimals.
#[expect(clippy::cast_possible_truncation, reason = "scaled to at most a thousand million")]
pub(in crate::fit) fn integer_weights(weights: impl Iterator<Item = f64> + Clone) -> Vec<i64> {
    let largest = weights.clone().fold(0.0_f64, f64::max);
    if largest <= 0.0 {
        return weights.map(|_| 1).collect();
    }
    let is_whole = |weight: f64| weight >= 0.5 && (weight - weight.round()).abs() <= 1e-12 * weight;
    let decimal = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6]
        .into_iter()
        .take_while(|scale| largest * scale <= 1e9)
        .find(|scale| weights.clone().all(|weight| is_whole(weight * scale)));
    let scale = decimal.unwrap_or(WEIGHT_ONE / largest);
    let units: Vec<i64> = weights.map(|weight| ((weight * scale).round_ties_even() as i64).max(1)).collect();
    let common = units.iter().fold(0, |a, &b| greatest_common_divisor(a, b)).max(1);
    units.into_iter().map(|unit| unit / common).collect()
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_weights_are_ones() {
        assert_eq!(integer_weights([0.3, 0.3].into_iter()), [1, 1]);
        assert_eq!(integer_weights([1.0, 2.0, 4.0].into_iter()), [1, 2, 4]);
        assert_eq!(integer_weights([1.0, 1e-30].into_iter()), [1_000_000, 1]);
        assert_eq!(integer_weights([0.25, 3.5, 0.29, 1.0].into_iter()), [25, 350, 29, 100]);
        assert_eq!(integer_weights([50.0, 1.0 / 0.3].into_iter()), [1_000_000, 66_667]);
    }

    #[test]
    fn quality_is_exact_to_twelve_decimals() {
        assert_eq!(quality_units(1.0), QUALITY_ONE);
        assert_eq!(quality_units(0.1), QUALITY_ONE / 10);
        assert_eq!(quality_units(0.0), 0);
    }
}
