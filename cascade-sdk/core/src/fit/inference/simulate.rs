//! Frozen policies on rows of the table: the figures that are reported and promised.

use crate::fit::limited::Sums;
use crate::fit::limits::{Limits, Over};
use crate::fit::rows::table::{Table, Totals, quality_units};
use crate::log::EvalLog;
use crate::policy::Rules;
use crate::replay::{DecidedRow, KnownPredictions, Replay, ReplayError};

/// What a policy did on some rows, one entry for each of them.
#[derive(Clone, Debug, Default)]
pub struct Outcomes {
    /// Quality in units of 10⁻¹².
    pub quality: Vec<i64>,
    /// Cost in pico-dollars.
    pub cost: Vec<i64>,
    /// Stages that ran.
    pub calls: Vec<u32>,
    /// The tier that answered: index into [`Rules::tiers`]; [`NOBODY`] where the policy abstained.
    pub tier: Vec<u32>,
    /// Sum of the stages' latencies in milliseconds; NaN where unknown.
    pub latency_ms: Vec<f64>,
    /// What an abstention counts as, in quality; `None` of a policy that never abstains.
    pub abstention: Option<f64>,
}

/// In place of a tier, where a policy answers "don't know".
pub const NOBODY: u32 = u32::MAX;

impl Outcomes {
    /// Runs a policy on rows of the table.
    ///
    /// # Errors
    /// As [`Replay::row`].
    pub fn of(rules: &Rules, log: &EvalLog, table: &Table, rows: &[u32]) -> Result<Self, ReplayError> {
        Self::run(rules, &Replay::new(rules, log)?, table, rows)
    }

    /// The same with predictions of the policy's router made before.
    ///
    /// # Errors
    /// As [`Replay::row`].
    pub fn with_predictions(
        rules: &Rules,
        log: &EvalLog,
        table: &Table,
        rows: &[u32],
        known: &KnownPredictions,
    ) -> Result<Self, ReplayError> {
        Self::run(rules, &Replay::new(rules, log)?.with_predictions(known), table, rows)
    }

    /// The same from decisions that were replayed before.
    pub fn of_decisions(rules: &Rules, decisions: &[DecidedRow<'_>]) -> Self {
        let mut outcomes = Self { abstention: rules.abstention, ..Self::default() };
        for row in decisions {
            outcomes.quality.push(quality_units(row.quality));
            outcomes.cost.push(row.cost.pico());
            outcomes.calls.push(u32::try_from(row.stages.len()).unwrap_or(u32::MAX));
            let last = row.stages.last().filter(|_| !row.abstained);
            let tier = last.and_then(|last| rules.tiers.iter().position(|tier| tier == last.tier));
            outcomes.tier.push(tier.and_then(|tier| u32::try_from(tier).ok()).unwrap_or(NOBODY));
            outcomes.latency_ms.push(row.latency_ms);
        }
        outcomes
    }

    fn run(rules: &Rules, replay: &Replay<'_>, table: &Table, rows: &[u32]) -> Result<Self, ReplayError> {
        let mut scratch = replay.scratch();
        let mut outcomes = Self { abstention: rules.abstention, ..Self::default() };
        for &row in rows {
            let outcome = replay.row(table.log_row[row as usize] as usize, &mut scratch)?;
            outcomes.quality.push(quality_units(outcome.quality));
            outcomes.cost.push(outcome.cost.pico());
            outcomes.calls.push(u32::try_from(outcome.calls).unwrap_or(u32::MAX));
            let tier = if outcome.abstained { None } else { u32::try_from(outcome.tier).ok() };
            outcomes.tier.push(tier.unwrap_or(NOBODY));
            outcomes.latency_ms.push(outcome.latency_ms);
        }
        Ok(outcomes)
    }

    /// A single tier of the table on its rows.
    pub fn single(table: &Table, tier: usize, rows: &[u32]) -> Self {
        let tier = &table.tiers[tier];
        Self {
            quality: rows.iter().map(|&row| tier.quality[row as usize]).collect(),
            cost: rows.iter().map(|&row| tier.cost[row as usize]).collect(),
            calls: vec![1; rows.len()],
            tier: vec![0; rows.len()],
            latency_ms: rows.iter().map(|&row| f64::from(tier.latency_ms[row as usize])).collect(),
            abstention: None,
        }
    }

    /// What it did on some of its rows, by their place.
    #[must_use]
    pub fn at(&self, places: &[usize]) -> Self {
        fn pick<T: Copy>(all: &[T], places: &[usize]) -> Vec<T> {
            places.iter().filter_map(|&place| all.get(place).copied()).collect()
        }
        Self {
            quality: pick(&self.quality, places),
            cost: pick(&self.cost, places),
            calls: pick(&self.calls, places),
            tier: pick(&self.tier, places),
            latency_ms: pick(&self.latency_ms, places),
            abstention: self.abstention,
        }
    }

    /// Share of the total cost in the dearest 1 % of rows (at least one row): above a fifth, means rest on few rows.
    pub fn cost_in_dearest_percent(&self) -> f64 {
        let mut sorted = self.cost.clone();
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        let sum = |costs: &[i64]| costs.iter().map(|&cost| i128::from(cost)).sum::<i128>() as f64;
        let total = sum(&sorted);
        if total > 0.0 { sum(&sorted[..sorted.len().div_ceil(100)]) / total } else { 0.0 }
    }

    /// Total weight of the rows that exceed each limit.
    pub fn over(&self, table: &Table, rows: &[u32], limits: &Limits) -> Over {
        let mut sum = Over::default();
        for (position, &row) in rows.iter().enumerate() {
            let over = limits.over(self.cost[position], self.latency_ms[position]);
            for (sum, over) in sum.iter_mut().zip(over) {
                *sum += over * table.weight[row as usize];
            }
        }
        sum
    }

    /// Exact weighted sums, of what exceeds limits too.
    pub fn sums(&self, table: &Table, rows: &[u32], limits: &Limits) -> Sums {
        let Totals { quality, cost } = self.totals(table, rows);
        Sums { quality, cost, over: self.over(table, rows, limits) }
    }

    /// Exact weighted sums.
    pub fn totals(&self, table: &Table, rows: &[u32]) -> Totals {
        let mut sum = Totals::default();
        for (position, &row) in rows.iter().enumerate() {
            sum += table.totals(row, self.quality[position], self.cost[position]);
        }
        sum
    }
}
