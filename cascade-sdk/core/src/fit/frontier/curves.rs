//! Held-out curves and areas (DESIGN.md 7): all is chosen on calibration rows, then measured on held-out rows.

use crate::fit::FitError;
use crate::fit::family::{Candidate, FittedFamily};
use crate::fit::frontier::hull::bracket;
use crate::fit::inference::crossfit::clustered_error;
use crate::fit::inference::simulate::Outcomes;
use crate::fit::objective::Target;
use crate::fit::rows::table::{QUALITY_ONE, Table, Totals};
use crate::log::EvalLog;
use crate::money::PICO_PER_USD;
use crate::replay::KnownPredictions;
use std::collections::BTreeMap;

/// Number of budgets between the cheapest tier's cost and the most accurate tier's cost.
const STEPS: i128 = 20;

/// The budgets B = c_low + f · (c_best − c_low), f = 1/20 … 20/20, as total costs on calibration rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Budgets {
    totals: Vec<i128>,
    weight: i128,
}

impl Budgets {
    /// From the tiers on calibration rows: c_low is the cheapest tier's cost, c_best the most accurate tier's (of
    /// equally accurate ones the cheapest).
    pub fn new(table: &Table, calibration: &[u32]) -> Self {
        let singles: Vec<Totals> =
            (0..table.tiers.len()).map(|tier| table.single(tier, calibration)).collect();
        let low = singles.iter().map(|totals| totals.cost).min().unwrap_or(0);
        let best = singles
            .iter()
            .max_by(|a, b| a.quality.cmp(&b.quality).then(b.cost.cmp(&a.cost)))
            .map_or(low, |totals| totals.cost);
        let totals = (1..=STEPS).map(|step| low + (best - low) * step / STEPS).collect();
        Self { totals, weight: table.total_weight(calibration) }
    }

    /// The same budgets a request, as total costs on other rows.
    #[must_use]
    pub fn on(&self, table: &Table, rows: &[u32]) -> Self {
        let weight = table.total_weight(rows);
        let whole = self.weight.max(1);
        Self { totals: self.totals.iter().map(|total| total * weight / whole).collect(), weight }
    }

    /// The budgets, as total costs on calibration rows.
    pub fn totals(&self) -> &[i128] {
        &self.totals
    }

    /// A total cost on calibration rows as US dollars per request.
    pub fn mean_usd(&self, total: i128) -> f64 {
        Totals { cost: total, quality: 0 }.mean_cost(self.weight)
    }
}

/// One point of a held-out curve.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CurvePoint {
    /// The budget, in US dollars per request.
    pub budget_usd: f64,
    /// Mean quality on held-out rows.
    pub quality: f64,
    /// Standard error of that quality, by group.
    pub quality_error: f64,
    /// Mean cost on held-out rows, in US dollars per request.
    pub cost_usd: f64,
    /// Q_test − λ(B) · (C_test − B) of the mixture of the two hull vertices that bracket the budget.
    pub adjusted: f64,
}

/// A family over the whole range of budgets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// The deterministic optimum at each budget.
    pub points: Vec<CurvePoint>,
    /// Mean of Q_test − λ(B) · max(0, C_test − B) over those points; never to be quoted alone.
    pub area: f64,
    /// Mean of Q_test − λ(B) · (C_test − B) over the mixtures of the two hull vertices that bracket each budget.
    pub area_hull: f64,
}

/// A policy's figures on held-out rows.
#[derive(Clone, Copy, Debug)]
struct HeldOut {
    quality: f64,
    cost: f64,
    /// Standard error of the quality; infinite where one group gives none.
    error: f64,
}

/// Measures a family fitted on calibration rows on the held-out `test` rows.
///
/// # Errors
/// As [`Outcomes::of`].
pub fn measure(
    family: &dyn FittedFamily,
    log: &EvalLog,
    table: &Table,
    test: &[u32],
    budgets: &Budgets,
) -> Result<Curve, FitError> {
    let weight = table.total_weight(test);
    // All points share one router, which is asked once about each row.
    let log_rows = test.iter().map(|&row| table.log_row[row as usize] as usize);
    let known = family.router().map(|router| KnownPredictions::new(router, log, log_rows)).transpose()?;
    let known = known.unwrap_or_default();
    let held_out = |candidate: &Candidate| -> Result<HeldOut, FitError> {
        let outcomes = Outcomes::with_predictions(&family.rules(candidate), log, table, test, &known)?;
        let totals = outcomes.totals(table, test);
        let qualities: Vec<f64> = outcomes.quality.iter().map(|&q| q as f64 / QUALITY_ONE as f64).collect();
        let error = clustered_error(table, test, &qualities);
        Ok(HeldOut { quality: totals.mean_quality(weight), cost: totals.mean_cost(weight), error })
    };
    let hull = family.hull();
    let sums: Vec<Totals> = hull.iter().map(|vertex| vertex.totals).collect();
    let mut vertices: BTreeMap<usize, HeldOut> = BTreeMap::new();
    let mut curve = Curve::default();
    let mut last: Option<(Candidate, HeldOut)> = None;
    for &budget in &budgets.totals {
        let budget_usd = budgets.mean_usd(budget);
        let (left, share, price) = bracket(&sums, budget);
        for vertex in [left, left + 1] {
            if let (Some(candidate), false) = (hull.get(vertex), vertices.contains_key(&vertex)) {
                vertices.insert(vertex, held_out(candidate)?);
            }
        }
        let Some(&at_left) = vertices.get(&left) else { continue };
        let at_right = vertices.get(&(left + 1)).copied().unwrap_or(at_left);
        let mixed = |a: f64, b: f64| a + share * (b - a);
        let adjusted = mixed(at_left.quality, at_right.quality)
            - price * (mixed(at_left.cost, at_right.cost) - budget_usd);
        curve.area_hull += adjusted;
        // Below the cheapest member there is nothing to choose: the cheapest stands in and pays for its overspending.
        let Some(chosen) = family.unmixed(Target::Budget(budget)).or_else(|| hull.first().cloned()) else {
            continue;
        };
        let figures = match &last {
            Some((candidate, figures)) if candidate.draft == chosen.draft => *figures,
            _ => held_out(&chosen)?,
        };
        last = Some((chosen, figures));
        let HeldOut { quality, cost: cost_usd, error } = figures;
        curve.area += quality - price * (cost_usd - budget_usd).max(0.0);
        let quality_error = if error.is_finite() { error } else { 0.0 };
        curve.points.push(CurvePoint { budget_usd, quality, quality_error, cost_usd, adjusted });
    }
    let steps = budgets.totals.len().max(1) as f64;
    curve.area /= steps;
    curve.area_hull /= steps;
    Ok(curve)
}

/// What each of `rows` contributes to the `area_hull` of `hull`, the hull of a family or a part of it: its mean over the
/// budgets of Q − λ(B) · (C − B). `known` are predictions of the family's router about the rows.
///
/// # Errors
/// As [`Outcomes::of`].
pub fn contributions(
    family: &dyn FittedFamily,
    hull: &[Candidate],
    log: &EvalLog,
    table: &Table,
    rows: &[u32],
    budgets: &Budgets,
    known: &KnownPredictions,
) -> Result<Vec<f64>, FitError> {
    let sums: Vec<Totals> = hull.iter().map(|vertex| vertex.totals).collect();
    // For each vertex the mean over budgets of its share, and of its share times λ; then the mean of λ · B.
    let mut weights = vec![(0.0, 0.0); hull.len()];
    let (mut allowance, steps) = (0.0, budgets.totals.len().max(1) as f64);
    for &budget in &budgets.totals {
        let (left, share, price) = bracket(&sums, budget);
        for (vertex, share) in [(left, 1.0 - share), (left + 1, share)] {
            if let Some(weight) = weights.get_mut(vertex).filter(|_| share > 0.0) {
                *weight = (weight.0 + share / steps, weight.1 + share * price / steps);
            }
        }
        allowance += price * budgets.mean_usd(budget) / steps;
    }
    let mut values = vec![allowance; rows.len()];
    for (vertex, weight) in hull.iter().zip(weights).filter(|(_, weight)| weight.0 > 0.0) {
        let outcomes = Outcomes::with_predictions(&family.rules(vertex), log, table, rows, known)?;
        for (value, (&quality, &cost)) in values.iter_mut().zip(outcomes.quality.iter().zip(&outcomes.cost)) {
            *value +=
                weight.0 * quality as f64 / QUALITY_ONE as f64 - weight.1 * cost as f64 / PICO_PER_USD as f64;
        }
    }
    Ok(values)
}
