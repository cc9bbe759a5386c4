//! Several frozen policies on the same held-out rows: one bootstrap for all their figures and differences.

use crate::fit::inference::bootstrap::{Blocks, Resamples};
use crate::fit::inference::simulate::{NOBODY, Outcomes};
use crate::fit::rows::table::{QUALITY_ONE, Table};
use crate::money::PICO_PER_USD;
use crate::policy::{Abstained, Estimate};

/// Columns of each policy: weighted quality, cost, calls; then the share of each of its tiers.
const QUALITY: usize = 0;
const COST: usize = 1;
const CALLS: usize = 2;
const SHARES: usize = 3;
/// The first column of all: Σ weight.
const WEIGHT: usize = 0;

/// Policies compared on the same rows.
#[derive(Debug)]
pub struct Comparison {
    resamples: Resamples,
    /// First column of each policy and its number of tiers.
    layout: Vec<(usize, usize)>,
    /// Of each policy that may abstain, the column of what does and what an abstention counts as.
    abstentions: Vec<Option<(usize, f64)>>,
    /// Columns of Σ cost², Σ cost · weight of each policy's blocks, and Σ weight².
    squares: (Vec<(usize, usize)>, usize),
    blocks: usize,
}

/// A policy's means in one resample.
#[derive(Clone, Copy, Debug)]
pub struct Means {
    /// Mean quality.
    pub quality: f64,
    /// Mean cost in US dollars.
    pub cost: f64,
}

/// One policy's figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// Mean quality, percentile interval.
    pub quality: Estimate,
    /// Mean cost in US dollars, bootstrap-t interval.
    pub cost_usd: Estimate,
    /// Mean calls per request.
    pub calls: Estimate,
    /// Share of requests that each of the policy's tiers answers.
    pub share: Vec<Estimate>,
    /// What is answered "don't know"; `None` of a policy that never abstains.
    pub abstained: Option<Abstained>,
}

impl Comparison {
    /// Resamples the groups of `rows`. Each policy comes with its number of tiers.
    pub fn new(
        table: &Table,
        rows: &[u32],
        policies: &[(&Outcomes, usize)],
        seed: u64,
        threads: usize,
    ) -> Self {
        let weight: Vec<f64> = rows.iter().map(|&row| table.weight[row as usize] as f64).collect();
        let scaled = |values: &mut dyn Iterator<Item = f64>| {
            values.zip(&weight).map(|(v, w)| v * w).collect::<Vec<_>>()
        };
        let mut columns = vec![weight.clone()];
        let mut exact = vec![(WEIGHT, table.total_weight(rows))];
        let (mut layout, mut abstentions) = (Vec::new(), Vec::new());
        for (outcomes, tiers) in policies {
            layout.push((columns.len(), *tiers));
            let totals = outcomes.totals(table, rows);
            exact.extend([(columns.len() + QUALITY, totals.quality), (columns.len() + COST, totals.cost)]);
            // In the units of `Totals`.
            columns.push(scaled(&mut outcomes.quality.iter().map(|&quality| quality as f64)));
            columns.push(scaled(&mut outcomes.cost.iter().map(|&cost| cost as f64)));
            columns.push(scaled(&mut outcomes.calls.iter().map(|&calls| f64::from(calls))));
            for tier in 0..*tiers {
                columns.push(scaled(
                    &mut outcomes.tier.iter().map(|&t| f64::from(u8::from(t as usize == tier))),
                ));
            }
            abstentions.push(outcomes.abstention.map(|worth| (columns.len(), worth)));
            if outcomes.abstention.is_some() {
                columns
                    .push(scaled(&mut outcomes.tier.iter().map(|&tier| f64::from(u8::from(tier == NOBODY)))));
            }
        }
        let plain = columns.len();
        let mut products = vec![(WEIGHT, WEIGHT)];
        let mut squares = Vec::new();
        for &(first, _) in &layout {
            squares.push((plain + products.len(), plain + products.len() + 1));
            products.extend([(first + COST, first + COST), (first + COST, WEIGHT)]);
        }
        let blocks = Blocks::new(table, rows, &columns, seed).with_products(&products).with_exact(exact);
        Self {
            blocks: blocks.len(),
            resamples: blocks.resample(seed, threads),
            layout,
            abstentions,
            squares: (squares, plain),
        }
    }

    /// A policy's figures with their intervals.
    pub fn figures(&self, policy: usize) -> Figures {
        let (first, tiers) = self.layout[policy];
        let ratio = |column: usize| self.resamples.estimate(|sums| sums[first + column] / sums[WEIGHT]);
        let (square, product) = self.squares.0[policy];
        Figures {
            quality: self.resamples.estimate(|sums| self.means(sums, policy).quality),
            cost_usd: self.resamples.ratio_t(
                (first + COST, PICO_PER_USD as f64),
                WEIGHT,
                (square, product, self.squares.1),
                self.blocks,
            ),
            calls: ratio(CALLS),
            share: (0..tiers).map(|tier| ratio(SHARES + tier)).collect(),
            abstained: self.abstained(policy).map(|(abstained, _)| abstained),
        }
    }

    /// How often a policy abstains, and what an abstention counts as; `None` of a policy that never does.
    pub fn abstained(&self, policy: usize) -> Option<(Abstained, f64)> {
        let first = self.layout[policy].0;
        let (column, worth) = self.abstentions[policy]?;
        let share = self.resamples.estimate(|sums| sums[column] / sums[WEIGHT]);
        let quality_answered = self.resamples.estimate(|sums| {
            let answered = sums[WEIGHT] - sums[column];
            let quality = sums[first + QUALITY] / QUALITY_ONE as f64 - worth * sums[column];
            if answered > 0.0 { quality / answered } else { 0.0 }
        });
        Some((Abstained { share, quality_answered }, worth))
    }

    /// A statistic of several policies' means, with its paired interval.
    pub fn paired(&self, statistic: impl Fn(&dyn Fn(usize) -> Means) -> f64) -> Estimate {
        self.resamples.estimate(|sums| statistic(&|policy| self.means(sums, policy)))
    }

    /// The standard error of such a statistic.
    pub fn standard_error(&self, statistic: impl Fn(&dyn Fn(usize) -> Means) -> f64) -> f64 {
        self.resamples.standard_error(|sums| statistic(&|policy| self.means(sums, policy)))
    }

    fn means(&self, sums: &[f64], policy: usize) -> Means {
        let first = self.layout[policy].0;
        // The expressions of `Totals`, so that equal sums give equal means to the last bit.
        Means {
            quality: sums[first + QUALITY] / (sums[WEIGHT] * QUALITY_ONE as f64),
            cost: sums[first + COST] / (sums[WEIGHT] * PICO_PER_USD as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::random::SplitMix64;
    use crate::fit::rows::table::TierData;

    /// Whoever reports a mean of the same rows reports the same number: sums are exact, and divided once.
    #[test]
    fn means_are_those_of_exact_sums() {
        let mut random = SplitMix64::new(5, 0);
        let rows = 1_000;
        let mut column = |most: f64| -> Vec<i64> {
            #[expect(clippy::cast_possible_truncation, reason = "within the range of quality")]
            (0..rows).map(|_| (random.fraction() * most) as i64).collect()
        };
        let table = Table {
            tiers: vec![TierData {
                name: "one".into(),
                quality: column(QUALITY_ONE as f64),
                cost: column(1e8),
                failed: vec![false; rows],
                latency_ms: vec![f32::NAN; rows],
                signals: Vec::new(),
            }],
            log_row: (0_u32..).take(rows).collect(),
            group: (0_u32..).take(rows).collect(),
            groups: rows,
            weight: column(9.0).iter().map(|weight| weight + 1).collect(),
            embedding_cost: Vec::new(),
            embedding_latency_ms: Vec::new(),
        };
        let all: Vec<u32> = (0_u32..).take(rows).collect();
        let single = Outcomes::single(&table, 0, &all);
        let figures = Comparison::new(&table, &all, &[(&single, 0)], 1, 1).figures(0);
        let (totals, weight) = (table.single(0, &all), table.total_weight(&all));
        assert_eq!(figures.quality.value.to_bits(), totals.mean_quality(weight).to_bits());
        assert_eq!(figures.cost_usd.value.to_bits(), totals.mean_cost(weight).to_bits());
    }
}
