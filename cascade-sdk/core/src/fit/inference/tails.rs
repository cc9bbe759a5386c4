//! How often fitted policies exceed limits on tails, with intervals (MATH.md 11.1).

use crate::config::Family;
use crate::fit::families;
use crate::fit::inference::bounds::{binomial_lower, binomial_upper};
use crate::fit::inference::crossfit::{clustered_error, weighted_mean};
use crate::fit::inference::simulate::Outcomes;
use crate::fit::limits::Tail;
use crate::fit::protocol::Fit;
use crate::fit::report::TailReport;
use crate::fit::rows::table::Table;
use crate::fit::setup::Setup;
use crate::money::PICO_PER_USD;

/// z of a two-sided 95 % interval.
const Z: f64 = 1.959_963_985;

/// Every limit of the objective for one family's policy.
pub(in crate::fit) fn report(setup: &Setup<'_>, fit: &Fit<'_>) -> Vec<TailReport> {
    if setup.limits.is_empty() {
        return Vec::new();
    }
    let calibration = Outcomes::of(&fit.rules, setup.input.log, &setup.table, &setup.calibration).ok();
    let heuristic = families::is_heuristic(fit.family, &setup.route.fit, setup.table.tiers.len());
    let search = match fit.family {
        Family::Router => "λ exactly at each of a list of multipliers of the limits",
        Family::RoutedCascade => "chains as in `chain`, routers as in `router`, plans as they are",
        _ if setup.route.fit.abstain_loss.is_some() && heuristic => {
            "exact for pairs that abstain at one stage, stage by stage beyond"
        }
        _ if heuristic => "exact up to three stages, coordinate ascent beyond",
        _ => "exact",
    };
    let limits = setup.limits.list().iter();
    limits
        .map(|limit| {
            let exceeds = |outcomes: &Outcomes| -> Vec<f64> {
                let rows = outcomes.cost.iter().zip(&outcomes.latency_ms);
                rows.map(|(&cost, &latency)| f64::from(u8::from(limit.exceeded(cost, latency)))).collect()
            };
            let on_calibration = calibration
                .as_ref()
                .map(|known| weighted_mean(&setup.table, &setup.calibration, &exceeds(known)));
            let held_out = (!setup.test.is_empty()).then(|| exceeds(&fit.outcomes));
            let (bound, amounts): (f64, Vec<f64>) = match limit.tail {
                Tail::LatencyMs(bound) => (bound, fit.outcomes.latency_ms.clone()),
                Tail::Cost(bound) => {
                    let usd = |&cost: &i64| cost as f64 / PICO_PER_USD as f64;
                    (bound.to_f64(), fit.outcomes.cost.iter().map(usd).collect())
                }
            };
            TailReport {
                limit: limit.key(),
                bound,
                share_allowed: limit.share,
                calibration_share: on_calibration.unwrap_or(0.0),
                held_out_share: held_out.as_ref().map(|over| weighted_mean(&setup.table, &setup.test, over)),
                held_out_share_ci: held_out
                    .as_ref()
                    .and_then(|over| interval(&setup.table, &setup.test, over)),
                held_out_quantile: quantile(&setup.table, &setup.test, &amounts, limit.share),
                search,
            }
        })
        .collect()
}

/// The 95 % interval of a share of rows.
fn interval(table: &Table, rows: &[u32], over: &[f64]) -> Option<[f64; 2]> {
    let mut groups: Vec<u32> = rows.iter().map(|&row| table.group[row as usize]).collect();
    groups.sort_unstable();
    groups.dedup();
    let alone = groups.len() == rows.len() && rows.iter().all(|&row| table.weight[row as usize] == 1);
    if alone {
        let (count, rows) = (over.iter().filter(|&&over| over > 0.0).count() as u64, rows.len() as u64);
        return Some([binomial_lower(count, rows, 0.025), binomial_upper(count, rows, 0.025)]);
    }
    let (mean, error) = (weighted_mean(table, rows, over), clustered_error(table, rows, over));
    error.is_finite().then_some([(mean - Z * error).max(0.0), (mean + Z * error).min(1.0)])
}

/// The smallest amount that at most `share` of the weight of the rows exceeds; `None` if it is not known.
pub(in crate::fit) fn quantile(table: &Table, rows: &[u32], amounts: &[f64], share: f64) -> Option<f64> {
    // Unknown amounts count as larger than all others.
    let amount = |&amount: &f64| if amount.is_nan() { f64::INFINITY } else { amount };
    let mut sorted: Vec<(f64, i64)> =
        rows.iter().zip(amounts).map(|(&row, value)| (amount(value), table.weight[row as usize])).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total: i64 = sorted.iter().map(|row| row.1).sum();
    let mut above = total;
    sorted
        .into_iter()
        .find(|&(_, weight)| {
            above -= weight;
            above as f64 <= share * total as f64 + 1e-9
        })
        .map(|row| row.0)
        .filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_the_smallest_amount_that_few_exceed() {
        let table = Table { weight: vec![1; 20], group: (0..20).collect(), groups: 20, ..Table::default() };
        let rows: Vec<u32> = (0..20).collect();
        let amounts: Vec<f64> = (1_u8..=20).map(f64::from).collect();
        assert_eq!(quantile(&table, &rows, &amounts, 0.05), Some(19.0));
        assert_eq!(quantile(&table, &rows, &amounts, 0.1), Some(18.0));
        assert_eq!(quantile(&table, &rows, &amounts, 0.01), Some(20.0));
        let mut unknown = amounts.clone();
        unknown[3] = f64::NAN;
        assert_eq!(quantile(&table, &rows, &unknown, 0.05), Some(20.0));
        assert_eq!(quantile(&table, &rows, &unknown, 0.01), None);
        let heavy = Table { weight: (1..=20).map(|row| if row == 20 { 100 } else { 1 }).collect(), ..table };
        assert_eq!(quantile(&heavy, &rows, &amounts, 0.05), Some(20.0));
    }
}
