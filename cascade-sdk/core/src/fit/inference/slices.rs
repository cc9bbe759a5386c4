//! Slices: the selected policy on parts of the held-out rows that share a label, with intervals that hold for all slices
//! at once.

use crate::fit::inference::bounds::normal_quantile;
use crate::fit::inference::crossfit::clustered_error;
use crate::fit::inference::simulate::Outcomes;
use crate::fit::report::Slice;
use crate::fit::rows::table::{QUALITY_ONE, Table};
use crate::log::EvalLog;
use crate::money::PICO_PER_USD;
use std::collections::BTreeMap;

/// Fewest held-out rows of a slice that is reported.
pub const FEWEST_ROWS: usize = 30;

/// Every label of every tag with at least [`FEWEST_ROWS`] held-out rows, by tag and label.
///
/// `policy` and `reference` are outcomes on `rows`. The interval of each difference is widened for the number of slices
/// (Bonferroni), so that with 95 % confidence all of them hold at once.
pub fn report(
    log: &EvalLog,
    table: &Table,
    rows: &[u32],
    (policy, tiers): (&Outcomes, &[String]),
    reference: &Outcomes,
) -> Vec<Slice> {
    let mut members: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (position, &row) in rows.iter().enumerate() {
        for (tag, label) in &log.rows[table.log_row[row as usize] as usize].tags {
            members.entry((tag, label)).or_default().push(position);
        }
    }
    // A tag with one label says nothing that the whole does not.
    let labels = |tag: &str| members.keys().filter(|(other, _)| *other == tag).count();
    let shown: Vec<_> = members
        .iter()
        .filter(|((tag, _), positions)| positions.len() >= FEWEST_ROWS && labels(tag) > 1)
        .collect();
    let z = normal_quantile(1.0 - 0.025 / shown.len().max(1) as f64);
    shown
        .into_iter()
        .map(|((tag, label), positions)| {
            let own: Vec<u32> = positions.iter().map(|&position| rows[position]).collect();
            let weights: Vec<f64> = own.iter().map(|&row| table.weight[row as usize] as f64).collect();
            let total: f64 = weights.iter().sum();
            let mean = |value: &dyn Fn(usize) -> f64| {
                positions.iter().zip(&weights).map(|(&at, weight)| weight * value(at)).sum::<f64>() / total
            };
            let gain = |at: usize| (policy.quality[at] - reference.quality[at]) as f64 / QUALITY_ONE as f64;
            let gains: Vec<f64> = positions.iter().map(|&at| gain(at)).collect();
            let (difference, error) = (mean(&gain), clustered_error(table, &own, &gains));
            Slice {
                tag: (*tag).to_owned(),
                label: (*label).to_owned(),
                rows: positions.len(),
                quality: mean(&|at| policy.quality[at] as f64 / QUALITY_ONE as f64),
                cost_usd: mean(&|at| policy.cost[at] as f64 / PICO_PER_USD as f64),
                difference,
                difference_ci: error.is_finite().then_some([difference - z * error, difference + z * error]),
                share: tiers
                    .iter()
                    .enumerate()
                    .map(|(tier, name)| {
                        (name.clone(), mean(&|at| f64::from(u8::from(policy.tier[at] as usize == tier))))
                    })
                    .collect(),
            }
        })
        .collect()
}
