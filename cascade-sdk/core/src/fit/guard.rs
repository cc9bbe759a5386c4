//! Guards: slices of requests that lose too much against a reference tier are kept on that tier.
//!
//! A slice is the rows with one label of a tag. It is kept on the reference tier if its loss is beyond doubt and too
//! large: the lower end of its interval is above 0 and the loss itself above `max_loss`. The intervals are widened for
//! the number of slices (Bonferroni), so that with 95 % confidence no slice is kept that loses nothing.

use super::FitError;
use super::report::{GuardReport, GuardedSlice};
use crate::config::GuardSettings;
use crate::diag::Diagnostic;
use crate::fit::inference::bounds::normal_quantile;
use crate::fit::inference::crossfit::{clustered_error, weighted_mean};
use crate::fit::inference::simulate::Outcomes;
use crate::fit::rows::table::{QUALITY_ONE, Table};
use crate::log::EvalLog;
use crate::policy::{Guard, OperatingPoint, Rules, ScoreInput};
use crate::replay::KnownPredictions;
use std::collections::BTreeMap;

/// What a guard is judged with.
#[derive(Clone, Copy, Debug)]
pub struct Guarding<'a> {
    /// What the route asks for.
    pub settings: &'a GuardSettings,
    /// The log, for tags.
    pub log: &'a EvalLog,
    /// The numbers.
    pub table: &'a Table,
    /// The rows that choose.
    pub rows: &'a [u32],
    /// The reference tier: index into the table.
    pub reference: usize,
}

impl Guarding<'_> {
    /// Rules with their failing slices kept on the reference tier, and what became of each slice. `known` is what their
    /// router predicts of the rows out of fold.
    ///
    /// # Errors
    /// As [`Outcomes::of`].
    pub fn apply(&self, rules: Rules, known: &KnownPredictions) -> Result<(Rules, GuardReport), FitError> {
        let report = self.judge(&self.outcomes(&rules, known)?);
        Ok((self.guarded(rules, &report), report))
    }

    /// What rules do with the rows that choose.
    pub(super) fn outcomes(&self, rules: &Rules, known: &KnownPredictions) -> Result<Outcomes, FitError> {
        Ok(Outcomes::with_predictions(rules, self.log, self.table, self.rows, known)?)
    }

    /// Rules with the slices that a report keeps on the reference tier.
    pub(super) fn guarded(&self, mut rules: Rules, report: &GuardReport) -> Rules {
        let labels: Vec<String> = report.kept.iter().map(|slice| slice.label.clone()).collect();
        attach(&mut rules, &mut [], self.table, &self.settings.by, &labels, self.reference);
        rules
    }

    /// Compares every slice with the reference tier.
    pub(super) fn judge(&self, outcomes: &Outcomes) -> GuardReport {
        let reference = &self.table.tiers[self.reference];
        let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, &row) in self.rows.iter().enumerate() {
            if let Some(label) = label(self.log, self.table, row, &self.settings.by) {
                members.entry(label).or_default().push(place);
            }
        }
        let enough = |places: &Vec<usize>| places.len() as u64 >= self.settings.min_rows;
        let judged = members.values().filter(|places| enough(places)).count();
        let z = normal_quantile(1.0 - 0.025 / judged.max(1) as f64);
        let mut report = GuardReport {
            tag: self.settings.by.clone(),
            tier: reference.name.clone(),
            max_loss: self.settings.max_loss,
            min_rows: self.settings.min_rows,
            kept: Vec::new(),
            passed: Vec::new(),
            too_few: Vec::new(),
        };
        for (label, places) in members {
            let rows: Vec<u32> = places.iter().map(|&place| self.rows[place]).collect();
            let losses: Vec<f64> = places
                .iter()
                .map(|&place| {
                    let own = reference.quality[self.rows[place] as usize];
                    (own - outcomes.quality[place]) as f64 / QUALITY_ONE as f64
                })
                .collect();
            let loss = weighted_mean(self.table, &rows, &losses);
            let error = clustered_error(self.table, &rows, &losses);
            let interval = error.is_finite().then_some([loss - z * error, loss + z * error]);
            let slice = GuardedSlice { label: label.to_owned(), rows: rows.len(), loss, loss_ci: interval };
            if !enough(&places) {
                report.too_few.push(slice);
            } else if loss > self.settings.max_loss && interval.is_some_and(|[low, _]| low > 0.0) {
                report.kept.push(slice);
            } else {
                report.passed.push(slice);
            }
        }
        report
    }
}

fn label<'l>(log: &'l EvalLog, table: &Table, row: u32, tag: &str) -> Option<&'l str> {
    let tags = &log.rows[table.log_row[row as usize] as usize].tags;
    tags.iter().find(|(name, _)| **name == *tag).map(|(_, label)| &**label)
}

/// Every row must say to which slice it belongs, as every request will have to.
pub(super) fn check_tag(
    settings: &GuardSettings,
    log: &EvalLog,
    table: &Table,
    route: &str,
) -> Result<(), Vec<Diagnostic>> {
    let rows = u32::try_from(table.len()).unwrap_or(u32::MAX);
    let without = (0..rows).filter(|&row| label(log, table, row, &settings.by).is_none()).count();
    if without == 0 {
        return Ok(());
    }
    let message =
        format!("{without} of {rows} rows have no tag `{}`, by which the guard judges", settings.by);
    Err(vec![
        Diagnostic::error("fit::guard-tag-missing", message)
            .help(format!("give every row of the log `\"tags\": {{\"{}\": \"…\"}}`", settings.by))
            .help(format!("or remove `guard` from [routes.{route}]")),
    ])
}

/// Puts a guard into rules and the other points of their frontier, with its tier among theirs, in order of cost.
pub(super) fn attach(
    rules: &mut Rules,
    frontier: &mut [OperatingPoint],
    table: &Table,
    tag: &str,
    labels: &[String],
    tier: usize,
) {
    if labels.is_empty() {
        return;
    }
    let name = &table.tiers[tier].name;
    let rank = |name: &str| table.tiers.iter().position(|tier| tier.name == name);
    let place = if let Some(place) = rules.tiers.iter().position(|known| known == name) {
        place
    } else {
        let place = rules.tiers.iter().take_while(|known| rank(known) < Some(tier)).count();
        rules.tiers.insert(place, name.clone());
        let moved = |at: &mut usize| *at += usize::from(*at >= place);
        let plans = rules.plans.iter_mut().chain(frontier.iter_mut().flat_map(|point| &mut point.plans));
        plans.flat_map(|plan| &mut plan.stages).for_each(|stage| moved(&mut stage.tier));
        for score in &mut rules.scores {
            moved(&mut score.tier);
            score.per_cost_of.iter_mut().for_each(moved);
            for term in &mut score.terms {
                if let ScoreInput::Prediction(tier) = &mut term.input {
                    moved(tier);
                }
            }
        }
        place
    };
    rules.guard = Some(Guard::new(tag.to_owned(), labels.to_vec(), place));
}
