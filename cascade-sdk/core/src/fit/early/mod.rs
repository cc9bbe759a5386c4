//! Fitted early escalation: which answers of a chosen policy are not worth taking in to their end, and what that does.
//!
//! Everything is chosen on calibration rows: how many lengths a rule scores on cross-fitted values, as families are chosen, and
//! the cuts on all of them. Held-out rows only report. A log tells how an answer arrived by its `token_logprobs`; an answer without
//! them comes to its end here. The latency of an answer that is given up is not known, so it counts with its whole latency.

mod effect;
mod search;

use super::FitError;
use super::objective::{Multipliers, Target};
use super::protocol::Fit;
use super::report::{EarlyReport, StopReport};
use super::setup::Setup;
use super::{limits::within, report};
use crate::config::{AnswerForm, EarlyEscalation, OnExceeded};
use crate::early::Watch;
use crate::feature::Predictions;
use crate::fit::inference::crossfit::{clustered_error, weighted_mean};
use crate::fit::inference::simulate::Outcomes;
use crate::fit::rows::table::{Totals, quality_units};
use crate::policy::{Cut, PrefixCut, Rules, Stop};
use crate::replay::{KnownPredictions, Replay};
use search::{Answer, LENGTHS};
use std::collections::BTreeMap;

/// Answers that a length must be reached by to be scored.
const FEWEST_ANSWERS: usize = 30;

/// How often quality (or cost) is weighed twice as much because the rule breaks the objective's constraint.
const MOST_TIGHTENINGS: usize = 12;

impl Setup<'_> {
    /// Adds rules for early escalation to the chosen policy, if the route asks for them and they can be fitted; else says why
    /// not.
    pub(super) fn stop_early(
        &self,
        fit: &mut Fit<'_>,
        folds: &[u8],
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
                    "early escalation is not fitted: the policy has no stage whose score comes from log-probabilities alone \
                     and whose tier has `token_logprobs` in most rows of the log"
                        .into(),
                );
            }
            return Ok(());
        }
        let hull: Vec<Totals> = fit.fitted.hull().iter().map(|vertex| vertex.totals).collect();
        let target = self.target(&self.calibration);
        let price = Multipliers::at(target, &hull);
        let (rules, found) = self.fit_stops(&fit.rules, (&self.calibration, folds), (target, price))?;
        let outcomes = Outcomes::of(&rules, self.input.log, &self.table, &self.calibration)?;
        fit.totals_with_stops = Some(outcomes.totals(&self.table, &self.calibration));
        fit.early = Some(EarlyReport {
            stages: found,
            bounds: self.effect(&without_cuts(&rules), &without_stops(&rules))?,
            fitted: self.effect(&rules, &without_stops(&rules))?,
        });
        fit.outcomes = Outcomes::of(&rules, self.input.log, &self.table, &self.test)?;
        fit.rules = rules;
        Ok(())
    }

    /// Gives the policy that is deployed, which lists more than the one that was chosen, the same stops.
    pub(super) fn copy_stops(from: &Rules, to: &mut Rules) {
        for (from, to) in from.plans.iter().zip(&mut to.plans) {
            to.stops.clone_from(&from.stops);
        }
    }

    /// Fits stops on all rows for a policy that was refitted on them.
    pub(super) fn refit_stops(
        &self,
        rules: &Rules,
        (rows, folds): (&[u32], &[u8]),
        hull: &[Totals],
    ) -> Result<Rules, FitError> {
        let target = self.target(rows);
        Ok(self.fit_stops(rules, (rows, folds), (target, Multipliers::at(target, hull)))?.0)
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
        } else if route.runtime.explore > 0.0 {
            Some("`explore` logs whole answers".into())
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
        can.map(|(plan, stage, _)| (plan, stage)).collect()
    }

    /// Rules with the bounds everywhere and the prefix rules that are worth it. Where they break the constraint of the objective,
    /// what it is about is weighed more until they keep it.
    fn fit_stops(
        &self,
        rules: &Rules,
        (rows, folds): (&[u32], &[u8]),
        (target, mut price): (Target, Multipliers),
    ) -> Result<(Rules, Vec<StopReport>), FitError> {
        let mut bounded = rules.clone();
        let stages = self.stoppable(rules);
        for &(plan, stage) in &stages {
            let name = &rules.tiers[rules.plans[plan].stages[stage].tier];
            let most_tokens = self.input.config.tier(name).and_then(|tier| tier.max_output_tokens);
            bounded.plans[plan].stops.insert(stage, Stop { most_tokens, cuts: Vec::new() });
        }
        let known = match &rules.router {
            Some(router) => {
                let log_rows = rows.iter().map(|&row| self.table.log_row[row as usize] as usize);
                Some(KnownPredictions::new(router, self.input.log, log_rows)?)
            }
            None => None,
        };
        for _ in 0..MOST_TIGHTENINGS {
            let (mut stopped, mut found) = (bounded.clone(), Vec::new());
            // Last stages first: what giving an answer up leads to depends on what comes after it.
            for &(plan, stage) in stages.iter().rev() {
                let answers = self.answers(&stopped, (plan, stage), rows, known.as_ref())?;
                let chosen = self.choose(&answers, rows, folds, price);
                found.push(stop_report(&stopped, (plan, stage), &chosen, answers.len()));
                if let Some(stop) = stopped.plans[plan].stops.get_mut(&stage) {
                    stop.cuts = chosen.cuts;
                }
            }
            found.reverse();
            let outcomes = Outcomes::of(&stopped, self.input.log, &self.table, rows)?;
            let over = outcomes.over(&self.table, rows, &self.limits);
            let allowed = self.limits.allowed(self.table.total_weight(rows));
            if target.is_met(outcomes.totals(&self.table, rows)) && within(over, allowed) {
                return Ok((stopped, found));
            }
            match target {
                Target::Budget(_) => price.cost = (2.0 * price.cost).max(f64::MIN_POSITIVE),
                Target::Floor(_) | Target::Price(_) => price.quality *= 2.0,
            }
        }
        let none = Choice { cuts: Vec::new(), value: 0.0, standard_error: 0.0 };
        let found = stages.iter().map(|&at| stop_report(&bounded, at, &none, 0)).collect();
        Ok((bounded, found))
    }

    /// The answers of a stage: what becomes of the request if they go on, and if they are given up.
    fn answers(
        &self,
        rules: &Rules,
        (plan, stage): (usize, usize),
        rows: &[u32],
        known: Option<&KnownPredictions>,
    ) -> Result<Vec<Answer>, FitError> {
        let mut refusing = rules.clone();
        let refused = &mut refusing.plans[plan];
        refused.stops.remove(&stage);
        if let Some(rule) = &mut refused.stages[stage].rule {
            rule.at_least = Cut::ESCALATE_ALL;
        }
        let with = |rules| -> Result<Replay<'_>, FitError> {
            let replay = Replay::new(rules, self.input.log)?;
            Ok(match known {
                Some(known) => replay.with_predictions(known),
                None => replay,
            })
        };
        let (going_on, giving_up) = (with(rules)?, with(&refusing)?);
        let (mut scratch, mut other) = (going_on.scratch(), giving_up.scratch());
        let name = &rules.tiers[rules.plans[plan].stages[stage].tier];
        let Some(columns) = self.input.log.tier(name) else { return Ok(Vec::new()) };
        let mut answers = Vec::new();
        for (place, &row) in rows.iter().enumerate() {
            let log_row = self.table.log_row[row as usize] as usize;
            let mut calls = 0;
            let whole = going_on.trace(log_row, &mut scratch, |_| calls += 1)?;
            if whole.plan != plan || calls <= stage {
                continue;
            }
            let given_up = giving_up.row(log_row, &mut other)?;
            let predictions = known.and_then(|known| known.of(log_row));
            let prefixes = prefixes(rules, (plan, stage), predictions, (columns, log_row));
            let totals = |quality: f64, cost: i64| self.table.totals(row, quality_units(quality), cost);
            let spent_before = given_up.cost.pico() - columns.cost[log_row].pico();
            let prefixes = prefixes
                .into_iter()
                .map(|(length, score, cost)| (length, score, totals(given_up.quality, spent_before + cost)));
            answers.push(Answer {
                place,
                whole: totals(whole.quality, whole.cost.pico()),
                prefixes: prefixes.collect(),
            });
        }
        Ok(answers)
    }

    /// Chooses among no rule, the best rule of one length and the rule of all lengths: the simplest within one standard error of
    /// the best on cross-fitted values.
    fn choose(&self, answers: &[Answer], rows: &[u32], folds: &[u8], price: Multipliers) -> Choice {
        let reached = |length: &u32| {
            let count = answers
                .iter()
                .filter(|answer| answer.prefixes.iter().any(|prefix| prefix.0 == *length))
                .count();
            count >= FEWEST_ANSWERS
        };
        let lengths: Vec<u32> = LENGTHS.into_iter().filter(reached).collect();
        let none = Choice { cuts: Vec::new(), value: 0.0, standard_error: 0.0 };
        let last_fold = folds.iter().copied().max().unwrap_or(0);
        if lengths.is_empty() || last_fold == 0 {
            return none;
        }
        let fitted = |kind: Kind, answers: &[&Answer]| match kind {
            Kind::One(length) => search::one_length(answers, length, price),
            Kind::All => search::all_lengths(answers, &lengths, price),
        };
        let crossfitted = |kind: Kind| {
            let mut values = vec![0.0; rows.len()];
            for fold in 0..=last_fold {
                let train: Vec<&Answer> =
                    answers.iter().filter(|answer| folds[answer.place] != fold).collect();
                let cuts = fitted(kind, &train);
                for answer in answers.iter().filter(|answer| folds[answer.place] == fold) {
                    let gained = answer.under(&cuts) - answer.whole;
                    let weight = self.table.weight[rows[answer.place] as usize] as f64;
                    values[answer.place] = price.value(gained.quality as f64, gained.cost as f64) / weight;
                }
            }
            values
        };
        let mean = |values: &[f64]| weighted_mean(&self.table, rows, values);
        let singles = lengths.iter().map(|&length| (Kind::One(length), crossfitted(Kind::One(length))));
        let single = singles.reduce(|best, next| if mean(&next.1) > mean(&best.1) { next } else { best });
        let ladder = (lengths.len() > 1).then(|| (Kind::All, crossfitted(Kind::All)));
        let kinds: Vec<(Kind, Vec<f64>)> = single.into_iter().chain(ladder).collect();
        let best = kinds.iter().fold(vec![0.0; rows.len()], |best, (_, values)| {
            if mean(values) > mean(&best) { values.clone() } else { best }
        });
        let behind = |values: &[f64]| {
            let difference: Vec<f64> = best.iter().zip(values).map(|(a, b)| a - b).collect();
            mean(&difference) <= clustered_error(&self.table, rows, &difference)
        };
        if behind(&vec![0.0; rows.len()]) {
            return none;
        }
        let Some((kind, values)) = kinds.into_iter().find(|(_, values)| behind(values)) else { return none };
        Choice {
            cuts: fitted(kind, &answers.iter().collect::<Vec<_>>()),
            value: mean(&values),
            standard_error: clustered_error(&self.table, rows, &values),
        }
    }
}

/// A rule and its cross-fitted worth.
struct Choice {
    cuts: Vec<PrefixCut>,
    /// Mean gain of the Lagrangian over the bounds alone, in quality per request.
    value: f64,
    standard_error: f64,
}

#[derive(Clone, Copy)]
enum Kind {
    One(u32),
    All,
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

/// The running scores of an answer, and what its call costs if it is given up there, in pico-dollars.
fn prefixes(
    rules: &Rules,
    (plan, stage): (usize, usize),
    predictions: Option<&Predictions>,
    (columns, row): (&crate::log::TierColumns, usize),
) -> Vec<(u32, f64, i64)> {
    let tokens = columns.tokens_of(row).filter(|_| !columns.failed[row]);
    let watch = Watch::new(rules, plan, stage, predictions, None);
    let (Some(tokens), Some(watch)) = (tokens, watch) else { return Vec::new() };
    let found = watch.prefixes(tokens, &LENGTHS).into_iter();
    found.map(|at| (at.after, at.score, columns.cost_until(row, at.tokens).pico())).collect()
}

fn stop_report(rules: &Rules, (plan, stage): (usize, usize), choice: &Choice, answers: usize) -> StopReport {
    let tiers = rules.plans[plan].stages.iter().map(|stage| rules.tiers[stage.tier].clone()).collect();
    StopReport {
        plan: tiers,
        tier: rules.tiers[rules.plans[plan].stages[stage].tier].clone(),
        answers,
        below: choice.cuts.iter().map(|cut| report::PrefixCutReport(cut.after, cut.below)).collect(),
        value: choice.value,
        standard_error: choice.standard_error,
    }
}
