//! Stops for one policy on the rows that choose: at every stage the rule that is worth most, and all of them together within
//! what the policy promises.

use super::search::{self, Answer, LENGTHS};
use crate::early::Watch;
use crate::feature::Predictions;
use crate::fit::FitError;
use crate::fit::constraint::Constraint;
use crate::fit::family::FittedFamily;
use crate::fit::frontier::operating::Walk;
use crate::fit::inference::crossfit::{clustered_error, weighted_mean};
use crate::fit::inference::simulate::Outcomes;
use crate::fit::limited::{Sums, row_sums};
use crate::fit::objective::Multipliers;
use crate::fit::report::{PrefixCutReport, StopReport};
use crate::fit::rows::table::{Totals, quality_units};
use crate::fit::setup::Setup;
use crate::log::TierColumns;
use crate::money::Usd;
use crate::policy::{Cut, Plan, PrefixCut, Rules, Stop};
use crate::replay::{KnownPredictions, Replay};
use std::collections::BTreeMap;

/// Answers that a length must be reached by to be scored.
const FEWEST_ANSWERS: usize = 30;

/// How often what a rule breaks is weighed more before there is none.
const MOST_TIGHTENINGS: usize = 12;

/// What stops are fitted with.
pub(super) struct Stopping<'s> {
    setup: &'s Setup<'s>,
    rows: &'s [u32],
    folds: &'s [u8],
    /// What a router predicts of the rows, out of fold.
    known: KnownPredictions,
    constraint: Constraint,
    price: Multipliers,
}

/// A policy with stops.
pub(super) struct Stopped {
    pub(super) rules: Rules,
    pub(super) stages: Vec<StopReport>,
    /// Its sums on the rows of the fit, as replayed.
    sums: Sums,
}

impl Stopped {
    /// Whether any stage has a prefix rule beside the bounds.
    pub(super) fn has_cuts(&self) -> bool {
        self.stages.iter().any(|stage| !stage.below.is_empty())
    }
}

/// Plan and stage.
type Place = (usize, usize);

impl<'s> Stopping<'s> {
    /// For a policy of a family that was fitted on `rows`, of which `promised` sums are promised.
    pub(super) fn new(
        setup: &'s Setup<'s>,
        (rows, folds): (&'s [u32], &'s [u8]),
        (family, promised): (&dyn FittedFamily, Totals),
        rules: &Rules,
    ) -> Result<Self, FitError> {
        let hull: Vec<Totals> = family.hull().iter().map(|vertex| vertex.totals).collect();
        let known = family.out_of_fold(rows);
        let price = setup.multipliers(&setup.table, rows, || hull.clone());
        let replayed = Outcomes::with_predictions(rules, setup.input.log, &setup.table, rows, &known)?;
        let before = replayed.sums(&setup.table, rows, &setup.limits);
        let allowed = setup.allowed(rows);
        let constraint = Constraint::new(setup.target(rows), (promised, before), allowed, &hull);
        Ok(Self { setup, rows, folds, known, constraint, price })
    }

    /// What the router predicts of the rows, out of fold.
    pub(super) fn known(&self) -> &KnownPredictions {
        &self.known
    }

    /// What is promised of the policy with stops.
    pub(super) fn promise(&self, stopped: &Stopped) -> Totals {
        self.constraint.promise(stopped.sums)
    }

    /// What a policy with stops is worth at the objective's own multipliers.
    pub(super) fn value(&self, stopped: &Stopped) -> f64 {
        self.price.value_of(stopped.sums)
    }

    /// Rules with the bounds everywhere and the prefix rules that are worth it. Where they break what the policy keeps, that
    /// is weighed more until they keep it.
    pub(super) fn fit(&self, rules: &Rules) -> Result<Stopped, FitError> {
        let bounded = self.with_bounds(rules);
        let stages = self.setup.stoppable(rules);
        let mut answers = AnswersOfStages::default();
        let mut price = self.price;
        let mut last = Vec::new();
        for _ in 0..MOST_TIGHTENINGS {
            let (mut stopped, mut found) = (bounded.clone(), Vec::new());
            // Last stages first: what giving an answer up leads to depends on what comes after it.
            for &at in stages.iter().rev() {
                let answers = answers.get(self, &stopped, at)?;
                let chosen = self.choose(answers, price);
                found.push(stop_report(&stopped, at, &chosen, answers.len()));
                if let Some(stop) = stopped.plans[at.0].stops.get_mut(&at.1) {
                    stop.cuts = chosen.cuts;
                }
            }
            found.reverse();
            let stopped = Stopped { sums: self.sums(&stopped)?, rules: stopped, stages: found };
            let broken = self.constraint.broken(stopped.sums);
            if broken.nothing() || !stopped.has_cuts() {
                return Ok(stopped);
            }
            price = self.constraint.tightened(price, broken);
            last = stopped.stages;
        }
        self.bounded(rules, last)
    }

    /// Rules with the bounds alone, which change no answer; `tried` is what became of the stages' rules.
    pub(super) fn bounded(&self, rules: &Rules, tried: Vec<StopReport>) -> Result<Stopped, FitError> {
        let without = |tried| StopReport { below: Vec::new(), value: 0.0, standard_error: 0.0, ..tried };
        let stages = tried.into_iter().map(without).collect();
        let rules = self.with_bounds(rules);
        Ok(Stopped { sums: self.sums(&rules)?, rules, stages })
    }

    fn with_bounds(&self, rules: &Rules) -> Rules {
        let mut bounded = rules.clone();
        for (plan, stage) in self.setup.stoppable(rules) {
            let name = &rules.tiers[rules.plans[plan].stages[stage].tier];
            let most_tokens = self.setup.input.config.tier(name).and_then(|tier| tier.max_output_tokens);
            bounded.plans[plan].stops.insert(stage, Stop { most_tokens, cuts: Vec::new() });
        }
        bounded
    }

    fn sums(&self, rules: &Rules) -> Result<Sums, FitError> {
        let (log, table) = (self.setup.input.log, &self.setup.table);
        let outcomes = Outcomes::with_predictions(rules, log, table, self.rows, &self.known)?;
        Ok(outcomes.sums(table, self.rows, &self.setup.limits))
    }

    /// The answers of a stage: what becomes of the request if they go on, and if they are given up.
    fn answers(&self, rules: &Rules, (plan, stage): Place) -> Result<Vec<Answer>, FitError> {
        let (log, table) = (self.setup.input.log, &self.setup.table);
        let mut refusing = rules.clone();
        let refused = &mut refusing.plans[plan];
        refused.stops.remove(&stage);
        if let Some(rule) = &mut refused.stages[stage].rule {
            rule.at_least = Cut::ESCALATE_ALL;
        }
        let going_on = Replay::new(rules, log)?.with_predictions(&self.known);
        let giving_up = Replay::new(&refusing, log)?.with_predictions(&self.known);
        let (mut scratch, mut other) = (going_on.scratch(), giving_up.scratch());
        let name = &rules.tiers[rules.plans[plan].stages[stage].tier];
        let Some(columns) = log.tier(name) else { return Ok(Vec::new()) };
        let mut answers = Vec::new();
        for (place, &row) in self.rows.iter().enumerate() {
            let log_row = table.log_row[row as usize] as usize;
            let mut calls = 0;
            let whole = going_on.trace(log_row, &mut scratch, |_| calls += 1)?;
            if whole.plan != plan || calls <= stage {
                continue;
            }
            let (mut calls, mut of_stage) = (0, Usd::ZERO);
            let given_up = giving_up.trace(log_row, &mut other, |step| {
                if calls == stage {
                    of_stage = step.cost.saturating_add(step.signal_cost);
                }
                calls += 1;
            })?;
            let sums = |quality: f64, cost: i64, latency_ms: f64| {
                let walk = Walk { quality: quality_units(quality), cost, latency_ms };
                row_sums(table, &self.setup.limits, row, walk)
            };
            let elsewhere = given_up.cost.pico() - of_stage.pico();
            let predictions = self.known.of(log_row);
            let prefixes = prefixes(rules, (plan, stage), predictions, (columns, log_row)).into_iter();
            let prefixes = prefixes.map(|(length, score, cost)| {
                (length, score, sums(given_up.quality, elsewhere + cost, given_up.latency_ms))
            });
            answers.push(Answer {
                place,
                whole: sums(whole.quality, whole.cost.pico(), whole.latency_ms),
                prefixes: prefixes.collect(),
            });
        }
        Ok(answers)
    }

    /// Chooses among no rule, the best rule of one length and the rule of all lengths: the simplest within one standard error of
    /// the best on cross-fitted values.
    fn choose(&self, answers: &[Answer], price: Multipliers) -> Choice {
        let (rows, table) = (self.rows, &self.setup.table);
        let reached = |length: &u32| {
            let count = answers
                .iter()
                .filter(|answer| answer.prefixes.iter().any(|prefix| prefix.0 == *length))
                .count();
            count >= FEWEST_ANSWERS
        };
        let lengths: Vec<u32> = LENGTHS.into_iter().filter(reached).collect();
        let last_fold = self.folds.iter().copied().max().unwrap_or(0);
        if lengths.is_empty() || last_fold == 0 {
            return Choice::default();
        }
        let singles = |answers: &[&Answer]| -> Vec<Vec<PrefixCut>> {
            lengths.iter().map(|&length| search::one_length(answers, length, price)).collect()
        };
        // The rule of each length, and last that of all, which with one length is the same.
        let mut values = vec![vec![0.0; rows.len()]; lengths.len() + usize::from(lengths.len() > 1)];
        for fold in 0..=last_fold {
            let (held, train): (Vec<&Answer>, Vec<&Answer>) =
                answers.iter().partition(|answer| self.folds[answer.place] == fold);
            let mut rules = singles(&train);
            if lengths.len() > 1 {
                rules.push(search::all_lengths(&train, &lengths, &rules, price));
            }
            for (values, cuts) in values.iter_mut().zip(&rules) {
                for answer in &held {
                    let gained = price.value_of(answer.under(cuts) - answer.whole);
                    values[answer.place] = gained / table.weight[rows[answer.place] as usize] as f64;
                }
            }
        }
        let mean = |values: &[f64]| weighted_mean(table, rows, values);
        let means: Vec<f64> = values.iter().map(|values| mean(values)).collect();
        let single =
            (0..lengths.len()).reduce(|best, next| if means[next] > means[best] { next } else { best });
        let kinds: Vec<usize> = single.into_iter().chain(lengths.len()..values.len()).collect();
        let none = vec![0.0; rows.len()];
        let (_, best) = kinds.iter().fold((0.0, &none), |best, &kind| {
            if means[kind] > best.0 { (means[kind], &values[kind]) } else { best }
        });
        let behind = |values: &[f64]| {
            let difference: Vec<f64> = best.iter().zip(values).map(|(a, b)| a - b).collect();
            mean(&difference) <= clustered_error(table, rows, &difference)
        };
        if behind(&none) {
            return Choice::default();
        }
        let Some(kind) = kinds.into_iter().find(|&kind| behind(&values[kind])) else {
            return Choice::default();
        };
        let all: Vec<&Answer> = answers.iter().collect();
        Choice {
            cuts: match lengths.get(kind) {
                Some(&length) => search::one_length(&all, length, price),
                None => search::all_lengths(&all, &lengths, &singles(&all), price),
            },
            value: means[kind],
            standard_error: clustered_error(table, rows, &values[kind]),
        }
    }
}

/// A rule and its cross-fitted worth.
#[derive(Debug, Default)]
struct Choice {
    cuts: Vec<PrefixCut>,
    /// Mean gain of the Lagrangian over the bounds alone.
    value: f64,
    standard_error: f64,
}

/// The answers of stages, each kept while what comes after the stage stays as it is.
#[derive(Debug, Default)]
struct AnswersOfStages {
    by_place: BTreeMap<Place, (Plan, Vec<Answer>)>,
}

impl AnswersOfStages {
    fn get(&mut self, stopping: &Stopping<'_>, rules: &Rules, at: Place) -> Result<&[Answer], FitError> {
        let plan = &rules.plans[at.0];
        if self.by_place.get(&at).is_none_or(|known| known.0 != *plan) {
            self.by_place.insert(at, (plan.clone(), stopping.answers(rules, at)?));
        }
        Ok(self.by_place.get(&at).map_or(&[], |known| &known.1))
    }
}

/// The running scores of an answer, and what its call costs if it is given up there, in pico-dollars.
fn prefixes(
    rules: &Rules,
    (plan, stage): Place,
    predictions: Option<&Predictions>,
    (columns, row): (&TierColumns, usize),
) -> Vec<(u32, f64, i64)> {
    let tokens = columns.tokens_of(row).filter(|_| !columns.failed[row]);
    let watch = Watch::new(rules, plan, stage, predictions, None);
    let (Some(tokens), Some(watch)) = (tokens, watch) else { return Vec::new() };
    let found = watch.prefixes(tokens, &LENGTHS).into_iter();
    found.map(|at| (at.after, at.score, columns.cost_until(row, at.tokens).pico())).collect()
}

fn stop_report(rules: &Rules, (plan, stage): Place, choice: &Choice, answers: usize) -> StopReport {
    let tiers = rules.plans[plan].stages.iter().map(|stage| rules.tiers[stage.tier].clone()).collect();
    StopReport {
        plan: tiers,
        tier: rules.tiers[rules.plans[plan].stages[stage].tier].clone(),
        answers,
        below: choice.cuts.iter().map(|cut| PrefixCutReport(cut.after, cut.below)).collect(),
        value: choice.value,
        standard_error: choice.standard_error,
    }
}
