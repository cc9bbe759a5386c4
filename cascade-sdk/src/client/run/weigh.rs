//! What came back from a tier, and what the policy makes of it.

use super::{Next, Run};
use crate::answer::AnswerError;
use crate::money::Usd;
use crate::observe;
use crate::provider::{FinishReason, ProviderError, Response};
use crate::routed::Failure;
use cascade_sdk_core::decide::{Decision, Observation, judge};
use cascade_sdk_core::feature;
use cascade_sdk_core::policy::{AcceptRule, Rules};
use std::collections::BTreeMap;

/// The answer and its signals, or why there is none.
pub(super) struct Seen<T> {
    pub(super) failure: Option<Failure>,
    pub(super) answer: Option<T>,
    pub(super) signals: BTreeMap<String, f64>,
}

impl Run<'_> {
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
        scratch: &feature::Scratch,
    ) -> Decision {
        let rules = self.rules;
        let values = in_order(rules, &seen.signals);
        let observation = Observation {
            failed: seen.failure.is_some(),
            signals: &values,
            predictions: Some(scratch.predictions()),
        };
        match next.judged {
            Some(stage) => judge(rules, plan, stage, &observation),
            None => judge(&Rules::default(), 0, 0, &observation),
        }
    }

    /// The accept rule of a stage, if it has one.
    pub(super) fn rule(&self, plan: usize, next: Next) -> Option<AcceptRule> {
        self.rules.plan(plan)?.stages.get(next.judged?)?.rule
    }

    /// What the signals cost that the stage's rule reads: the same rule as [`cascade_sdk_core::replay`] charges by.
    pub(super) fn signal_cost(
        &self,
        plan: usize,
        next: Next,
        result: &Result<Response, ProviderError>,
    ) -> Usd {
        let rules = self.rules;
        let (Some(rule), Ok(response)) = (self.rule(plan, next), result) else { return Usd::ZERO };
        let costs = rules
            .signals_read(rule)
            .filter_map(|signal| response.signal_costs.get(rules.signals.get(signal)?).copied());
        costs.fold(Usd::ZERO, Usd::saturating_add)
    }
}

/// Signal values in the order of [`Rules::signals`], NaN where missing.
fn in_order(rules: &Rules, signals: &BTreeMap<String, f64>) -> Vec<f64> {
    rules.signals.iter().map(|name| signals.get(name).copied().unwrap_or(f64::NAN)).collect()
}
