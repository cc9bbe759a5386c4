//! Forecasts of plans in a policy file.

use super::fields::Fields;
use super::{Forecast, Linear};
use crate::document::read::{Findings, Item};
use crate::document::write::{inline, list, number};

const FORECAST: &[&str] = &["quality", "cost_usd"];
const LINEAR: &[&str] = &["constant", "log_odds", "cost_usd"];

/// The value as an inline table.
pub(super) fn write(forecast: &Forecast) -> String {
    let linear = |linear: &Linear| {
        let numbers = |values: &[f64]| list(values.iter().map(|value| number(*value)));
        inline([
            ("constant", number(linear.constant)),
            ("log_odds", numbers(&linear.log_odds)),
            ("cost_usd", numbers(&linear.cost_usd)),
        ])
    };
    inline([("quality", linear(&forecast.quality)), ("cost_usd", linear(&forecast.cost_usd))])
}

/// Marks what is reported among the findings.
pub(super) struct Broken;

/// Reads a forecast with a weight for each of `tiers` tiers; an empty table is none.
pub(super) fn read(findings: &Findings, item: &Item<'_>, tiers: usize) -> Result<Option<Forecast>, Broken> {
    let fields = Fields { table: item.table(findings).ok_or(Broken)?, known: FORECAST };
    if FORECAST.iter().any(|key| fields.table.has(key)) {
        return forecast(fields, tiers).map(Some).ok_or(Broken);
    }
    fields.finish();
    Ok(None)
}

fn forecast(mut fields: Fields<'_>, tiers: usize) -> Option<Forecast> {
    let findings = fields.table.findings;
    let [quality, cost_usd] = FORECAST else { return None };
    let mut linear = |key: &str| {
        let mut fields = fields.table(key, LINEAR)?;
        let constant = fields.number("constant");
        let [log_odds, cost_usd] = ["log_odds", "cost_usd"].map(|key| {
            let item = fields.item(key)?;
            let weights: Option<Vec<f64>> =
                item.list(findings)?.iter().map(|item| item.number(findings)).collect();
            if weights.as_ref().is_some_and(|weights| weights.len() != tiers) {
                findings.push(item.out_of_range(findings, "must have one number for each tier"));
                return None;
            }
            weights
        });
        fields.finish();
        Some(Linear { constant: constant?, log_odds: log_odds?, cost_usd: cost_usd? })
    };
    let (quality, cost_usd) = (linear(quality), linear(cost_usd));
    fields.finish();
    Some(Forecast { quality: quality?, cost_usd: cost_usd? })
}
