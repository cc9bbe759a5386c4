//! Effect sizes: how far inputs moved, and how well predictions fit.

use super::Input;
use super::columns::{Family, Sides};
use crate::decide::logistic;
use crate::fit::analysis::diagnostics::calibration_error;
use crate::log::EvalLog;
use crate::replay::KnownPredictions;
use serde::Serialize;

/// How far an input moved.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Moved {
    pub(super) name: String,
    pub(super) index: f64,
    pub(super) by_chance: f64,
}

/// The input of a family with the largest population stability index, Σ (a − e) · ln(a / e) over its bins; for words, over
/// the shares of prompts that use each of their columns.
pub(super) fn most_moved(family: &Family, sides: &Sides) -> Option<Moved> {
    let rows = sides.rows().map(|rows| rows as f64);
    let mut counts = vec![[0.0_f64; 2]; family.columns as usize];
    for (row, &(_, new)) in sides.rows.iter().enumerate() {
        for &column in family.row(row) {
            counts[column as usize][usize::from(new)] += 1.0;
        }
    }
    let ends = family.inputs.iter().skip(1).map(|input| input.1).chain([family.columns]);
    family
        .inputs
        .iter()
        .zip(ends)
        .map(|((name, start), end)| {
            let bins = &counts[*start as usize..end as usize];
            let used = bins.iter().filter(|[a, b]| a + b > 0.0).count() as f64;
            // Half a row in every bin keeps empty ones finite.
            let share = |count: f64, side: usize| (count + 0.5) / (rows[side] + 0.5 * used);
            let index = bins
                .iter()
                .filter(|[a, b]| a + b > 0.0)
                .map(|&[reference, new]| {
                    let (expected, actual) = (share(reference, 0), share(new, 1));
                    (actual - expected) * libm::log(actual / expected)
                })
                .sum();
            let by_chance = (used - 1.0).max(0.0) * (1.0 / rows[0] + 1.0 / rows[1]);
            Moved { name: name.clone(), index, by_chance }
        })
        .reduce(
            |most, next| if next.index - next.by_chance > most.index - most.by_chance { next } else { most },
        )
}

/// How well the router's predictions of a tier fit what was observed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// The tier.
    pub tier: String,
    /// Expected calibration error on rows held out from the fit: Σ share · |mean prediction − mean quality| over ten bins
    /// of predictions; `None` without such rows.
    pub error_at_fit: Option<f64>,
    /// The same on the new log.
    pub error: f64,
    /// Mean prediction minus mean quality on the new log.
    pub bias: f64,
}

/// One entry a tier that is graded in the new log.
pub(super) fn calibration(input: &Input<'_>) -> Vec<Calibration> {
    let Some(router) = input.router else { return Vec::new() };
    let known = |log: &EvalLog, rows: &[usize]| KnownPredictions::new(router, log, rows.iter().copied()).ok();
    let (Some(new), held_out) =
        (known(input.new, input.graded_rows), known(input.reference, input.held_out_rows))
    else {
        return Vec::new();
    };
    let pairs = |log: &EvalLog, rows: &[usize], known: &KnownPredictions, at: usize, tier: &str| {
        let results = log.tier(tier)?;
        let pair = |&row: &usize| {
            let log_odds = *known.of(row)?.log_odds.get(at)?;
            (results.present[row]).then(|| (logistic(log_odds), results.quality[row]))
        };
        Some(rows.iter().filter_map(pair).collect::<Vec<_>>()).filter(|pairs| !pairs.is_empty())
    };
    input
        .tiers
        .iter()
        .enumerate()
        .filter_map(|(at, tier)| {
            let (error, bias) = calibration_error(pairs(input.new, input.graded_rows, &new, at, tier)?);
            let before = held_out
                .as_ref()
                .and_then(|known| pairs(input.reference, input.held_out_rows, known, at, tier));
            Some(Calibration {
                tier: tier.clone(),
                error_at_fit: before.map(|pairs| calibration_error(pairs).0),
                error,
                bias,
            })
        })
        .collect()
}
