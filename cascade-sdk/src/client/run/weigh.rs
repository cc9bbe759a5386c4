//! What came back from a tier, and what the policy makes of it.

use super::{Next, Run};
use crate::answer::AnswerError;
use crate::money::Usd;
use crate::observe;
use crate::provider::{FinishReason, ProviderError, Response};
use crate::routed::Failure;
use cascade_sdk_core::decide::{Decision, Observation, judge};
use cascade_sdk_core::feature::Predictions;
use cascade_sdk_core::policy::{AcceptRule, Cut, Rules};
use std::collections::BTreeMap;

/// The answer and its signals, or why there is none.
pub(super) struct Seen<T> {
    pub(super) failure: Option<Failure>,
    pub(super) answer: Option<T>,
    pub(super) signals: BTreeMap<String, f64>,
}

impl<'r> Run<'r> {
    /// Reads what a tier answered.
    pub(super) fn observe<T>(
        &self,
        result: &Result<Response, ProviderError>,
        read: &impl Fn(&Response) -> Result<T, AnswerError>,
    ) -> Seen<T> {
        let failed = |failure| Seen { failure: Some(failure), answer: None, signals: BTreeMap::new() };
        match result {
            Err(error) => failed(Failure::Call(error.clone())),
            Ok(response) if response.finish == FinishReason::Refused => failed(Failure::Refused),
            Ok(response) => match read(response) {
                Ok(answer) => Seen {
                    failure: None,
                    answer: Some(answer),
                    signals: observe::signals(response, self.schema),
                },
                Err(error) if response.finish == FinishReason::Length => {
                    failed(Failure::Answer(error.of_cut_off()))
                }
                Err(error) => failed(Failure::Answer(error)),
            },
        }
    }

    /// Of an answer that was given up nothing is read.
    pub(super) fn unread<T>() -> Seen<T> {
        Seen { failure: None, answer: None, signals: BTreeMap::new() }
    }

    /// What becomes of it.
    pub(super) fn decide<T>(
        &self,
        plan: usize,
        next: Next,
        seen: &Seen<T>,
        predictions: &Predictions,
    ) -> Decision {
        let rules = self.rules;
        let values = in_order(rules, &seen.signals);
        let observation =
            Observation { failed: seen.failure.is_some(), signals: &values, predictions: Some(predictions) };
        match next.judged {
            Some(stage) => judge(rules, plan, stage, &observation),
            None => judge(&Rules::default(), 0, 0, &observation),
        }
    }

    /// Whether the policy may refuse the answer of a stage, by escalating or by abstaining.
    pub(super) fn may_be_refused(&self, plan: usize, next: Next) -> bool {
        let Some((plan, stage)) = self.rules.plan(plan).zip(next.judged) else { return false };
        let escalates = |rule: AcceptRule| rule.at_least != Cut::KEEP_ALL;
        plan.stages.get(stage).and_then(|stage| stage.rule).is_some_and(escalates)
            || plan.abstain_rule(stage).is_some()
    }

    /// Names of the signals that the stage reads, to accept or to abstain; none where it reads no score.
    pub(super) fn signals_read(&self, plan: usize, next: Next) -> impl Iterator<Item = &'r String> + use<'r> {
        let rules: &'r Rules = self.rules;
        let read = next.judged.into_iter().flat_map(move |stage| rules.signals_read_at(plan, stage));
        read.filter_map(|signal| rules.signals.get(signal))
    }

    /// What those signals cost that the stage reads and whose cost the provider knows: the same rule as
    /// [`cascade_sdk_core::replay`] charges by.
    pub(super) fn known_signal_costs(
        &self,
        plan: usize,
        next: Next,
        result: &Result<Response, ProviderError>,
    ) -> Vec<(String, Usd)> {
        let Ok(response) = result else { return Vec::new() };
        let known = |name: &String| Some((name.clone(), *response.signal_costs.get(name)?));
        self.signals_read(plan, next).filter_map(known).collect()
    }
}

/// Signal values in the order of [`Rules::signals`], NaN where missing.
fn in_order(rules: &Rules, signals: &BTreeMap<String, f64>) -> Vec<f64> {
    rules.signals.iter().map(|name| signals.get(name).copied().unwrap_or(f64::NAN)).collect()
}
