//! The pictures of the report.

mod learning;
mod plane;
pub(super) use plane::Bound;
mod signal;
mod structure;

pub(crate) use learning::last_doubling;

use super::Picture;
use cascade_sdk_core::fit::report::FitReport;

/// z of a two-sided 95 % interval.
const Z: f64 = 1.96;

/// Costs of single calls are tiny; per this many calls they can be read.
const CALLS: f64 = 1_000.0;

/// Every picture that there is data for.
pub(super) fn all(report: &FitReport) -> Vec<Picture> {
    let mut pictures = vec![plane::plane(report)];
    let held_out = report.families.iter().any(|family| family.held_out.is_some());
    pictures.extend(held_out.then(|| plane::tier_shares(report)));
    pictures.extend(report.benefit.as_ref().map(signal::benefit));
    pictures.extend(report.benefit.as_ref().and_then(signal::shadow_prices));
    pictures.extend(report.reliability.as_ref().map(signal::reliability));
    pictures.extend(report.structural_cost.as_ref().map(structure::waterfall));
    pictures.extend((!report.structural_by_budget.is_empty()).then(|| structure::by_budget(report)));
    pictures.extend((!report.equal_budgets.is_empty()).then(|| structure::equal_budgets(report)));
    pictures.extend((report.learning_curve.len() > 1).then(|| learning::curve(report)));
    pictures
}

/// The colour class of a family, the same in every picture.
fn colour(report: &FitReport, family: &str) -> String {
    let place = report.curves.keys().position(|name| *name == family).unwrap_or(0);
    format!("c{}", place % 8)
}

fn header<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(String::from).to_vec()
}
