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
        let (mut layout, mut abstentions) = (Vec::new(), Vec::new());
        for (outcomes, tiers) in policies {
            layout.push((columns.len(), *tiers));
            columns.push(scaled(&mut outcomes.quality.iter().map(|&q| q as f64 / QUALITY_ONE as f64)));
            columns.push(scaled(&mut outcomes.cost.iter().map(|&c| c as f64 / PICO_PER_USD as f64)));
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
        let blocks = Blocks::new(table, rows, &columns, seed).with_products(&products);
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
            quality: ratio(QUALITY),
            cost_usd: self.resamples.ratio_t(
                first + COST,
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
            let quality = sums[first + QUALITY] - worth * sums[column];
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
        Means { quality: sums[first + QUALITY] / sums[WEIGHT], cost: sums[first + COST] / sums[WEIGHT] }
    }
}
