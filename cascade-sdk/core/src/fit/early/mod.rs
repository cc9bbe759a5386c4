//! Fitted early escalation: which answers of a chosen policy are not worth taking in to their end, and what that does.
//!
//! Everything is chosen on calibration rows: how many lengths a rule scores on cross-fitted values, as families are chosen, and
//! the cuts on all of them. Held-out rows only report. A log tells how an answer arrived by its `token_logprobs`; an answer without
//! them comes to its end here. The latency of an answer that is given up is not known, so it counts with its whole latency.

mod effect;
mod search;
mod stopping;

use super::FitError;
use super::family::FittedFamily;
use super::protocol::Fit;
use super::report::{EarlyReport, GuardReport};
use super::setup::Setup;
use crate::config::{AnswerForm, EarlyEscalation, OnExceeded};
use crate::fit::inference::simulate::Outcomes;
use crate::fit::rows::table::Totals;
use crate::policy::Rules;
use std::collections::BTreeMap;
use stopping::{Stopped, Stopping};

impl Setup<'_> {
    /// Adds rules for early escalation to the chosen policy, if the route asks for them and they can be fitted; else says why
    /// not. Its guard is judged again with them.
    pub(super) fn stop_early(
        &self,
        fit: &mut Fit<'_>,
        folds: &[u8],
        guard: &mut Option<GuardReport>,
        warnings: &mut Vec<String>,
    ) -> Result<(), FitError> {
        if self.route.runtime.early_escalation != EarlyEscalation::Fitted {
            return Ok(());
        }
        if let Some(why) = self.obstacle() {
            warnings.push(format!("early escalation is not fitted: {why}"));
            return Ok(());
        }
        let stages = self.stoppable(&fit.rules);
        if stages.is_empty() {
            let asked = fit.rules.plans.iter().any(|plan| plan.stages.len() > 1);
            if asked {
                warnings.push(
                    "early escalation is not fitted: the policy has no stage whose score comes from log-probabilities alone, \
                     which never abstains, and whose tier has `token_logprobs` in most rows of the log"
                        .into(),
                );
            }
            return Ok(());
        }
        let chosen = (&*fit.fitted, fit.chosen.totals);
        let stopping = Stopping::new(self, (&self.calibration, folds), chosen, &fit.rules)?;
        let stopped = self.stop_beside_guard(&stopping, &fit.rules, guard)?;
        let whole = self.watched(&without_stops(&stopped.rules))?;
        fit.totals_with_stops = Some(stopping.promise(&stopped));
        let fitted = self.effect(&self.watched(&stopped.rules)?, &whole);
        let bounds = if stopped.has_cuts() {
            self.effect(&self.watched(&without_cuts(&stopped.rules))?, &whole)
        } else {
            fitted
        };
        fit.early = Some(EarlyReport { bounds, fitted, stages: stopped.stages });
        fit.outcomes = Outcomes::of(&stopped.rules, self.input.log, &self.table, &self.test)?;
        fit.rules = stopped.rules;
        Ok(())
    }

    /// Fits stops, and keeps the slices that fail with them as well, until no more do; bounds alone where that is worth more.
    fn stop_beside_guard(
        &self,
        stopping: &Stopping<'_>,
        rules: &Rules,
        report: &mut Option<GuardReport>,
    ) -> Result<Stopped, FitError> {
        let (Some(guarding), Some(report)) = (self.guarding(), report) else { return stopping.fit(rules) };
        let (mut guarded, mut widened) = (rules.clone(), report.clone());
        loop {
            let stopped = stopping.fit(&guarded)?;
            if !stopped.has_cuts() {
                // Bounds change no answer, so the guard stands as it was judged.
                return stopping.bounded(rules, stopped.stages);
            }
            let unguarded = Rules { guard: None, ..stopped.rules.clone() };
            let again = guarding.judge(&guarding.outcomes(&unguarded, stopping.known())?).keeping(&widened);
            let fails_more = again.kept.len() > widened.kept.len();
            widened = again;
            if fails_more {
                guarded = guarding.guarded(guarded, &widened);
                continue;
            }
            if widened.kept.len() > report.kept.len() {
                let bounded = stopping.bounded(rules, stopped.stages.clone())?;
                if stopping.value(&bounded) > stopping.value(&stopped) {
                    return Ok(bounded);
                }
            }
            *report = widened;
            return Ok(stopped);
        }
    }

    /// Gives the policy that is deployed, which lists more than the one that was chosen, the same stops.
    pub(super) fn copy_stops(from: &Rules, to: &mut Rules) {
        for (from, to) in from.plans.iter().zip(&mut to.plans) {
            to.stops.clone_from(&from.stops);
        }
    }

    /// Fits stops on all rows for a policy that was refitted on them; `refitted` is its family and what is promised of it.
    pub(super) fn refit_stops(
        &self,
        refitted: (&dyn FittedFamily, Totals),
        rules: Rules,
        on: (&[u32], &[u8]),
    ) -> Result<Rules, FitError> {
        if self.stoppable(&rules).is_empty() {
            return Ok(rules);
        }
        Ok(Stopping::new(self, on, refitted, &rules)?.fit(&rules)?.rules)
    }

    /// Why the client could not apply such a rule, or its promise would not hold.
    fn obstacle(&self) -> Option<String> {
        let route = self.route;
        let budget = route
            .budget
            .as_ref()
            .and_then(|name| self.input.config.budgets.iter().find(|budget| &budget.name == name));
        if route.request.answer != AnswerForm::Text {
            Some("the answer has a schema, and what of it is scored is known at its end only".into())
        } else if budget.is_some_and(|budget| budget.on_exceeded == OnExceeded::Cheapest) {
            Some("the budget's `on_exceeded = \"cheapest\"` falls back on whole answers".into())
        } else if !self.certification.is_empty() {
            Some(
                "a certificate belongs to the policy that was tested, which takes every answer in to its end"
                    .into(),
            )
        } else {
            None
        }
    }

    /// Plan and stage of everything that can be stopped.
    fn stoppable(&self, rules: &Rules) -> Vec<(usize, usize)> {
        let known = |tier: usize| {
            let columns = rules.tiers.get(tier).and_then(|name| self.input.log.tier(name));
            columns.is_some_and(|columns| {
                let rows = self.calibration.iter().map(|&row| self.table.log_row[row as usize] as usize);
                let answered: Vec<usize> = rows.filter(|&row| !columns.failed[row]).collect();
                let told = answered.iter().filter(|&&row| columns.tokens_of(row).is_some()).count();
                told * 2 > answered.len()
            })
        };
        let stages = rules.plans.iter().enumerate().flat_map(|(plan, stages)| {
            stages.stages.iter().enumerate().map(move |(stage, what)| (plan, stage, what))
        });
        let can = stages.filter(|(_, _, stage)| {
            stage.rule.is_some_and(|rule| rules.runs_with_the_tokens(rule)) && known(stage.tier)
        });
        // Which of two things becomes of a low score only the whole answer says.
        let can = can.filter(|&(plan, stage, _)| rules.plans[plan].abstain_rule(stage).is_none());
        can.map(|(plan, stage, _)| (plan, stage)).collect()
    }
}

/// The same policy, stopped by the bounds alone.
fn without_cuts(rules: &Rules) -> Rules {
    let mut rules = rules.clone();
    rules.plans.iter_mut().flat_map(|plan| plan.stops.values_mut()).for_each(|stop| stop.cuts.clear());
    rules
}

/// The same policy that takes every answer in to its end.
fn without_stops(rules: &Rules) -> Rules {
    let mut rules = rules.clone();
    rules.plans.iter_mut().for_each(|plan| plan.stops = BTreeMap::new());
    rules
}
