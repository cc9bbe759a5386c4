//! Two policies run over the route's log: which rows change tier, and the paired difference on held-out rows.

use super::changes;
use super::versions::Version;
use cascade_sdk_core::config::Route;
use cascade_sdk_core::fit::inference::compare::Comparison;
use cascade_sdk_core::fit::inference::simulate::{NOBODY, Outcomes};
use cascade_sdk_core::fit::rows::table::Table;
use cascade_sdk_core::log::{EvalLog, Split, half};
use cascade_sdk_core::policy::{Estimate, Policy};
use serde::Serialize;

/// What the log says of the two.
#[derive(Debug, Serialize)]
pub(crate) struct RowsDiff {
    /// Rows that have results of all tiers of both.
    pub(crate) compared: usize,
    /// The others.
    pub(crate) left_out: usize,
    /// Rows that another tier answers now, in the order of their ids.
    pub(crate) changed: Vec<RowChange>,
    /// On held-out rows; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) held_out: Option<HeldOut>,
}

/// A row that another tier answers, or that one of the two policies abstains from.
#[derive(Debug, Serialize)]
pub(crate) struct RowChange {
    pub(crate) id: String,
    pub(crate) from: String,
    pub(crate) to: String,
}

/// New minus old on the same held-out rows, with 95 % intervals resampled over groups.
#[derive(Debug, Serialize)]
pub(crate) struct HeldOut {
    pub(crate) rows: usize,
    pub(crate) quality_change: f64,
    pub(crate) quality_change_ci: [f64; 2],
    pub(crate) cost_change_usd: f64,
    pub(crate) cost_change_usd_ci: [f64; 2],
    /// New over old cost, minus one; absent where the old one is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cost_change: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cost_change_ci: Option<[f64; 2]>,
}

/// Runs both over the log.
///
/// # Errors
/// In words, why the rows cannot be compared.
pub(crate) fn compare(
    log: &EvalLog,
    route: &Route,
    old: &Version,
    new: &Version,
) -> Result<RowsDiff, String> {
    let (Some(before), Some(now)) = (&old.policy, &new.policy) else {
        return Err("there is only one policy".into());
    };
    if let Some(without) = [old, new].into_iter().find(|version| version.lacks_weights) {
        return Err(format!("the weights of the router of `{}` are not at hand", without.name));
    }
    let tiers = changes::tiers(Some(before), Some(now));
    if let Some(absent) = tiers.iter().find(|name| log.tier(name).is_none()) {
        return Err(format!("the log has no results of tier `{absent}`"));
    }
    let table = Table::grouped(log, &tiers);
    let rows: Vec<u32> = (0_u32..).take(table.len()).collect();
    if rows.is_empty() {
        return Err("no row of the log has results of all tiers".into());
    }
    let run = |policy: &Policy, rows: &[u32]| {
        Outcomes::of(&policy.rules, log, &table, rows).map_err(|error| error.to_string())
    };
    let (old_outcomes, new_outcomes) = (run(before, &rows)?, run(now, &rows)?);
    let mut changed = Vec::new();
    for ((row, from), to) in rows.iter().zip(&old_outcomes.tier).zip(&new_outcomes.tier) {
        let name = |policy: &Policy, tier: u32| match tier {
            NOBODY => Some("nobody (abstains)".to_owned()),
            tier => policy.rules.tiers.get(tier as usize).cloned(),
        };
        let (Some(from), Some(to)) = (name(before, *from), name(now, *to)) else { continue };
        if from != to {
            let id = log_row(&table, *row).and_then(|row| log.rows.get(row)).map(|row| row.id.to_string());
            changed.push(RowChange { id: id.unwrap_or_default(), from, to });
        }
    }
    let held: Vec<u32> = rows
        .iter()
        .copied()
        .filter(|row| {
            log_row(&table, *row)
                .and_then(|row| log.rows.get(row))
                .is_some_and(|row| half(row, route.fit.seed, route.fit.held_out) == Split::Test)
        })
        .collect();
    let held_out = if held.is_empty() {
        None
    } else {
        Some(paired(&table, &held, route.fit.seed, [&run(before, &held)?, &run(now, &held)?]))
    };
    Ok(RowsDiff { compared: rows.len(), left_out: log.rows.len() - rows.len(), changed, held_out })
}

fn log_row(table: &Table, row: u32) -> Option<usize> {
    table.log_row.get(row as usize).map(|row| *row as usize)
}

fn paired(table: &Table, rows: &[u32], seed: u64, [old, new]: [&Outcomes; 2]) -> HeldOut {
    let comparison = Comparison::new(table, rows, &[(old, 0), (new, 0)], seed, 1);
    let quality = comparison.paired(|means| means(1).quality - means(0).quality);
    let cost = comparison.paired(|means| means(1).cost - means(0).cost);
    let free = old.cost.iter().all(|cost| *cost == 0);
    let share = (!free).then(|| comparison.paired(|means| means(1).cost / means(0).cost - 1.0));
    let ci = |estimate: &Estimate| [estimate.low, estimate.high];
    HeldOut {
        rows: rows.len(),
        quality_change: quality.value,
        quality_change_ci: ci(&quality),
        cost_change_usd: cost.value,
        cost_change_usd_ci: ci(&cost),
        cost_change: share.map(|share| share.value),
        cost_change_ci: share.as_ref().map(ci),
    }
}
