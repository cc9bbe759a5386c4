//! Early escalation: an answer that cannot be kept any more is given up while it arrives, and only what was generated is paid
//! for.
//!
//! The rule is safe: an answer is given up once no way in which it can go on lets its score reach the threshold (bounds
//! in [`crate::signal`]'s `reach`), so the tier that answers is the one that [`judge`](crate::decide::judge) of the whole
//! answer would have led to.

use crate::decide::{Why, logistic, map};
use crate::feature::Predictions;
use crate::policy::{AcceptRule, Cut, Rules, ScoreInput, ScoreSource, Term};
use crate::signal::{Accumulator, BuiltIn, Reach, TokenLogprob};

/// Watches an answer while it arrives.
#[derive(Clone, Debug)]
pub struct Watch<'r> {
    rules: &'r Rules,
    rule: AcceptRule,
    predictions: Option<&'r Predictions>,
    /// The most tokens that the answer can have.
    limit: Option<u64>,
    sums: Accumulator,
    /// The newest token, which counts once another follows: the last one may spell the end of the sequence.
    newest: Option<TokenLogprob>,
}

impl<'r> Watch<'r> {
    /// Watches an answer of stage `stage` of plan `plan` that can have at most `limit` tokens. `None` where nothing can end
    /// it early: a stage that keeps everything, or a score that no log-probability bounds.
    pub fn new(
        rules: &'r Rules,
        plan: usize,
        stage: usize,
        predictions: Option<&'r Predictions>,
        limit: Option<u64>,
    ) -> Option<Self> {
        let rule = rules.plans.get(plan)?.stages.get(stage)?.rule?;
        let bounded =
            |signal: usize| rules.signals.get(signal).is_some_and(|name| BuiltIn::parse(name).is_some());
        let useful = rule.at_least != Cut::KEEP_ALL && rules.signals_read(rule).any(bounded);
        useful.then(|| Self { rules, rule, predictions, limit, sums: Accumulator::default(), newest: None })
    }

    /// Takes the next token, and says why the answer cannot be kept if that is certain by now.
    pub fn push(&mut self, token: &TokenLogprob) -> Option<Why> {
        if let Some(before) = self.newest.replace(token.clone()) {
            self.sums.push(&before);
        }
        self.hopeless()
    }

    fn hopeless(&self) -> Option<Why> {
        let at_least = self.rule.at_least.0;
        match self.reach_of_score() {
            Reach::Missing => Some(Why::MissingSignal),
            Reach::Between { most, .. } => {
                (most < at_least).then_some(Why::OutOfReach { at_most: most, at_least })
            }
        }
    }

    fn reach_of_score(&self) -> Reach {
        match self.rule.score {
            ScoreSource::Signal(signal) => self.reach(signal),
            ScoreSource::Score(score) => {
                let Some(score) = self.rules.scores.get(score) else { return Reach::Missing };
                let mut most = score.intercept;
                for term in &score.terms {
                    match self.largest(term) {
                        Some(value) => most += value,
                        None => return Reach::Missing,
                    }
                }
                // Wider than the rounding of the sum and of the exponential.
                most += 1e-9 * (1.0 + most.abs());
                let good = logistic(most) + 1e-12;
                let most = match score.per_cost_of {
                    None => good,
                    Some(tier) => {
                        let cost = self.prediction(|known| &known.cost_usd, tier);
                        let gain = 2.0 * good - 1.0;
                        // Of a price that is not positive nothing is concluded.
                        if cost > 0.0 { gain / cost + 1e-9 * (gain / cost).abs() } else { f64::INFINITY }
                    }
                };
                Reach::Between {
                    least: f64::NEG_INFINITY,
                    most: if most.is_nan() { f64::INFINITY } else { most },
                }
            }
        }
    }

    fn reach(&self, signal: usize) -> Reach {
        let built_in = self.rules.signals.get(signal).and_then(|name| BuiltIn::parse(name));
        built_in.map_or(Reach::ANYTHING, |signal| self.sums.reach(signal, self.limit))
    }

    fn prediction(&self, values: impl Fn(&Predictions) -> &Vec<f64>, tier: usize) -> f64 {
        self.predictions.and_then(|known| values(known).get(tier).copied()).unwrap_or(f64::NAN)
    }

    /// The largest value that a term can still take; `None` if its input will be missing. A piecewise-linear map takes its
    /// extremes at the ends of an interval or at knots within it.
    fn largest(&self, term: &Term) -> Option<f64> {
        let (least, most) = match term.input {
            ScoreInput::Prediction(tier) => {
                let value = self.prediction(|known| &known.log_odds, tier);
                (value, value)
            }
            ScoreInput::Signal(signal) => match self.reach(signal) {
                Reach::Missing => return None,
                Reach::Between { least, most } => (least, most),
            },
        };
        let knots = term.knots.iter().map(|knot| knot.0).filter(|x| least < *x && *x < most);
        let values = knots.chain([least, most]).map(|x| term.weight * map(term, x));
        // 0 · ∞ is no bound.
        Some(values.fold(
            f64::NEG_INFINITY,
            |most, value| if value.is_nan() { f64::INFINITY } else { most.max(value) },
        ))
    }
}
