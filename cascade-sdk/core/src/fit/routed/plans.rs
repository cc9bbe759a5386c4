//! A router over plans: around a cascade, its parts and its neighbours on the frontier, each forecast as a whole.

use super::super::limited::{Sums, row_sums};
use super::{Sample, cut_of_gain};
use crate::feature::argmax;
use crate::fit::frontier::operating::CascadeRule;
use crate::fit::inference::crossfit::{clustered_error, weighted_mean};
use crate::fit::router::ridge::{Line, Ridge};
use crate::fit::rows::table::{QUALITY_ONE, Table};
use crate::money::PICO_PER_USD;
use crate::policy::{Forecast, Linear};

/// Penalty of the forecasts in rows: what few rows say about a plan must not outweigh its mean.
const PENALTY: f64 = 20.0;

/// Standard errors of a router's lead over the cascade it is built around, and over the router over single tiers, that it
/// must have to take part. One tries as many routers as the hull has vertices, so one error would let chance through.
const CLEAR: f64 = 2.0;

/// Plans, their forecasts, and the λ at which they are weighed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlannedRouter {
    pub(super) plans: Vec<(CascadeRule, Forecast)>,
    pub(super) shadow_price: f64,
}

/// The plans to weigh at a vertex of a hull: its own, all parts of it that follow each other, and its neighbours'.
pub(super) fn around(hull: &[CascadeRule], vertex: usize) -> Vec<CascadeRule> {
    let mut plans = vec![hull[vertex].clone()];
    let own = &hull[vertex];
    let stages = own.tiers.len();
    for from in 0..stages {
        for to in from + 1..=stages {
            plans.push(CascadeRule {
                tiers: own.tiers[from..to].to_vec(),
                cuts: own.cuts[from..to - 1].to_vec(),
            });
        }
    }
    plans.extend(vertex.checked_sub(1).and_then(|before| hull.get(before)).cloned());
    plans.extend(hull.get(vertex + 1).cloned());
    let mut different: Vec<CascadeRule> = Vec::new();
    for plan in plans {
        if !different.contains(&plan) {
            different.push(plan);
        }
    }
    different
}

/// What a cascade does with a row: quality and cost in integer units.
pub(super) fn outcome(table: &Table, rule: &CascadeRule, row: u32) -> (i64, i64) {
    let walk = rule.walk(table, row);
    (walk.quality, walk.cost)
}

impl Sample<'_> {
    /// The router over `plans` at λ, and what it does out of fold; `None` if it does not clearly lead the first of
    /// them, and the plain router.
    pub(super) fn weigh(&self, plans: Vec<CascadeRule>, shadow_price: f64) -> Option<(Sums, PlannedRouter)> {
        let outcomes: Vec<Vec<(i64, i64)>> = plans
            .iter()
            .map(|plan| self.rows.iter().map(|&row| outcome(self.table, plan, row)).collect())
            .collect();
        let inputs = Inputs::new(self, &plans);
        // The router's embedding; the cascade alone pays for it only where its own scores rest on the router.
        let embedding = |row: u32| {
            let read = self.router.reads_embedding();
            self.table.embedding_cost.get(row as usize).copied().filter(|_| read).unwrap_or(0)
        };
        let embedding_latency_ms = |row: u32| {
            let read = self.router.reads_embedding();
            self.table
                .embedding_latency_ms
                .get(row as usize)
                .filter(|_| read)
                .map_or(0.0, |ms| f64::from(*ms))
        };
        let own_reads = cut_of_gain(self.table, &plans[0]).is_some();
        let places: Vec<usize> = (0..self.rows.len()).collect();
        let mut totals = Sums::default();
        let mut leads = [vec![0.0; self.rows.len()], vec![0.0; self.rows.len()]];
        for fold in 0..=self.folds.iter().copied().max().unwrap_or(0) {
            let (held, train): (Vec<usize>, Vec<usize>) =
                places.iter().partition(|&&place| self.folds[place] == fold);
            let lines = inputs.lines(self.weight, &train, &outcomes);
            for place in held {
                let row = inputs.row(place);
                let options = lines.iter().map(|(quality, cost)| (quality.value(row), cost.value(row)));
                let plan = argmax(shadow_price, options);
                let ((quality, cost), (own_quality, own_cost)) = (outcomes[plan][place], outcomes[0][place]);
                let row = self.rows[place];
                let extra = if own_reads { 0 } else { embedding(row) };
                let (plain_quality, plain_cost) = self.plain_pick(place, shadow_price);
                // Quality and cost share the unit 10⁻¹².
                let value = |quality: i64, cost: i64| {
                    (quality as f64 - shadow_price * cost as f64) / QUALITY_ONE as f64
                };
                leads[0][place] = value(quality - own_quality, cost + extra - own_cost);
                leads[1][place] = value(quality - plain_quality, cost - plain_cost);
                let mut walk = plans[plan].walk(self.table, row);
                walk.cost = walk.cost.saturating_add(embedding(row));
                walk.latency_ms += embedding_latency_ms(row);
                totals += row_sums(self.table, self.limits, row, walk);
            }
        }
        let clear = |lead: &Vec<f64>| {
            weighted_mean(self.table, self.rows, lead) > CLEAR * clustered_error(self.table, self.rows, lead)
        };
        if !leads.iter().all(clear) {
            return None;
        }
        let lines = inputs.lines(self.weight, &places, &outcomes);
        let forecasts = lines.into_iter().map(|(quality, cost)| Forecast {
            quality: inputs.linear(&quality, self.table.tiers.len()),
            cost_usd: inputs.linear(&cost, self.table.tiers.len()),
        });
        Some((totals, PlannedRouter { plans: plans.into_iter().zip(forecasts).collect(), shadow_price }))
    }
}

impl Sample<'_> {
    /// Quality and cost of the tier that the plain router picks at λ, by predictions out of fold; its embedding left out.
    fn plain_pick(&self, place: usize, shadow_price: f64) -> (i64, i64) {
        let predictions = self.predictions(place);
        let tier = &self.table.tiers[predictions.best(shadow_price)];
        let row = self.rows[place] as usize;
        (tier.quality[row], tier.cost[row])
    }
}

/// Standardised log-odds and costs of the tiers that some plans use.
struct Inputs {
    tiers: Vec<usize>,
    /// Mean and inverse deviation (0 where constant) of the log-odds of all tiers used, then of their costs.
    standards: Vec<(f64, f64)>,
    values: Vec<f64>,
}

impl Inputs {
    fn new(sample: &Sample<'_>, plans: &[CascadeRule]) -> Self {
        let mut tiers: Vec<usize> = plans.iter().flat_map(|plan| plan.tiers.iter().copied()).collect();
        tiers.sort_unstable();
        tiers.dedup();
        let all = sample.table.tiers.len();
        let columns: Vec<(&[f64], usize)> = [&sample.router.log_odds, &sample.router.cost_usd]
            .into_iter()
            .flat_map(|values| tiers.iter().map(move |&tier| (values.as_slice(), tier)))
            .collect();
        let places = sample.rows.len();
        let standards: Vec<(f64, f64)> = columns
            .iter()
            .map(|&(values, tier)| {
                let column = || (0..places).map(|place| values[place * all + tier]);
                let mean = column().sum::<f64>() / places.max(1) as f64;
                let square = column().map(|value| (value - mean) * (value - mean)).sum::<f64>();
                let deviation = libm::sqrt(square / places.max(1) as f64);
                (mean, if deviation > 1e-6 * mean.abs() { 1.0 / deviation } else { 0.0 })
            })
            .collect();
        let values = (0..places)
            .flat_map(|place| {
                columns
                    .iter()
                    .zip(&standards)
                    .map(move |(&(values, tier), &(mean, scale))| (values[place * all + tier] - mean) * scale)
            })
            .collect();
        Self { tiers, standards, values }
    }

    fn row(&self, place: usize) -> &[f64] {
        let width = self.standards.len();
        &self.values[place * width..(place + 1) * width]
    }

    /// Quality and cost of each plan, regressed on some places.
    fn lines(&self, weight: &[f64], places: &[usize], outcomes: &[Vec<(i64, i64)>]) -> Vec<(Line, Line)> {
        let ridge = Ridge::new(&self.values, self.standards.len(), weight, places, PENALTY);
        outcomes
            .iter()
            .map(|outcomes| {
                (
                    ridge.fit(|place| outcomes[place].0 as f64 / QUALITY_ONE as f64),
                    ridge.fit(|place| outcomes[place].1 as f64 / PICO_PER_USD as f64),
                )
            })
            .collect()
    }

    /// The line over plain predictions of all tiers.
    fn linear(&self, line: &Line, tiers: usize) -> Linear {
        let mut linear =
            Linear { constant: line.constant, log_odds: vec![0.0; tiers], cost_usd: vec![0.0; tiers] };
        for (at, (weight, &(mean, scale))) in line.weights.iter().zip(&self.standards).enumerate() {
            let weight = weight * scale;
            linear.constant -= weight * mean;
            match at.checked_sub(self.tiers.len()) {
                None => linear.log_odds[self.tiers[at]] = weight,
                Some(at) => linear.cost_usd[self.tiers[at]] = weight,
            }
        }
        linear
    }
}
