//! Everything that is fixed before the first family is fitted: rows, halves, order of tiers, usable signals.

use super::certify::{self, Promise};
use super::combined;
use super::crossfit;
use super::families::Pool;
use super::objective::Target;
use super::pool::refuse_sparse_signals;
use super::report::MissingSignal;
use super::route::FitInput;
use super::table::Table;
use crate::config::{Goal, Objective, Route};
use crate::diag::Diagnostic;
use crate::log::Split;

/// Everything that is fixed before the first family is fitted.
pub(super) struct Setup<'a> {
    pub(super) input: &'a FitInput<'a>,
    pub(super) route: &'a Route,
    pub(super) objective: &'a Objective,
    pub(super) table: Table,
    pub(super) group_names: Vec<String>,
    pub(super) calibration: Vec<u32>,
    /// Rows set aside to test the constraint; empty without `confidence`.
    pub(super) certification: Vec<u32>,
    pub(super) test: Vec<u32>,
    pub(super) missing: Vec<MissingSignal>,
    pub(super) warnings: Vec<String>,
}

impl<'a> Setup<'a> {
    pub(super) fn new(
        input: &'a FitInput<'a>,
        route: &'a Route,
        objective: &'a Objective,
        pool: &[&str],
        halves: &[Split],
    ) -> Result<Self, Vec<Diagnostic>> {
        let log = input.log;
        let key = |row: usize| crate::log::group_key(&log.rows[row]);
        let mut table = Table::new(log, pool, key);
        let (mut calibration, mut test) = (Vec::new(), Vec::new());
        for (row, &log_row) in (0_u32..).zip(&table.log_row) {
            match halves[log_row as usize] {
                Split::Calibration => calibration.push(row),
                Split::Test => test.push(row),
            }
        }
        if calibration.is_empty() {
            return Err(vec![
                Diagnostic::error(
                    "fit::no-rows",
                    format!(
                        "route `{}` has no calibration row with results of all of {}",
                        route.name,
                        pool.join(", ")
                    ),
                )
                .help(format!("{} rows were read, {} are held out", log.rows.len(), test.len()))
                .help(format!("run `cascade collect {}`, or lower held_out in [routes.{0}.fit]", route.name)),
            ]);
        }
        table.order_by_cost(&calibration);
        let mut group_names = vec![String::new(); table.groups];
        for (&group, &log_row) in table.group.iter().zip(&table.log_row) {
            if group_names[group as usize].is_empty() {
                group_names[group as usize] = key(log_row as usize);
            }
        }
        let (missing, mut warnings) = refuse_sparse_signals(&mut table, &calibration);
        if let Goal::MaxQualityLoss { versus, .. } = &objective.goal
            && !table.tiers.iter().any(|tier| &tier.name == versus)
        {
            return Err(vec![
                Diagnostic::error(
                    "fit::reference-left-out",
                    format!("the objective refers to tier `{versus}`, which has too few rows to take part"),
                )
                .help(format!("run `cascade collect {} --tiers {versus}`", route.name)),
            ]);
        }
        let mut certification = Vec::new();
        if let Some(confidence) = objective.confidence {
            match Promise::of(&objective.goal, &table) {
                Some(promise) => {
                    (calibration, certification) =
                        certify::halves(&table, &calibration, &group_names, route.fit.seed);
                    let rows = certification.len() as u64;
                    if let Some(fewest) =
                        promise.fewest_rows(1.0 - confidence).filter(|fewest| *fewest > rows)
                    {
                        warnings.push(format!(
                            "{rows} rows are set aside to certify; no policy can pass with fewer than {fewest}"
                        ));
                    }
                }
                None => warnings.push("this objective bounds nothing that `confidence` could certify".into()),
            }
        }
        let folds = crossfit::folds(&table, &calibration, &group_names, route.fit.seed);
        combined::add(&mut table, &calibration, &folds);
        Ok(Self {
            input,
            route,
            objective,
            table,
            group_names,
            calibration,
            certification,
            test,
            missing,
            warnings,
        })
    }

    pub(super) fn pool(&self) -> Pool<'_> {
        Pool {
            table: &self.table,
            log: self.input.log,
            settings: &self.route.fit,
            threads: self.input.options.threads,
        }
    }

    pub(super) fn target(&self, rows: &[u32]) -> Target {
        // The reference tier was checked when the setup was made.
        Target::on(&self.objective.goal, &self.table, rows).unwrap_or(Target::Price(0.0))
    }
}
