//! The error of a request that has no answer.

use super::ask::Full;
use super::{Progress, Run};
use crate::budget::StoreError;
use crate::error::{Error, Kind};
use crate::routed::Failure;
use cascade_sdk_core::decide::ShownScore;

impl Run<'_> {
    pub(super) fn over_budget(&self, full: Full) -> Error {
        let Full { budget, retry_after } = full;
        let message =
            format!("budget `{budget}` has no room for this request to route `{}`", self.route.name);
        Error::new(Kind::Budget, message).with_retry_after(Some(retry_after))
    }

    /// Without its ledgers nothing is sent.
    pub(super) fn no_ledger(&self, error: &StoreError) -> Error {
        Error::new(Kind::Budget, format!("route `{}`: {error}: nothing was sent", self.route.name))
    }

    /// The error of a request that the policy answers with "don't know".
    pub(super) fn abstained(&self, tier: usize, score: f64, below: f64) -> Error {
        let tier = &self.route.tiers[tier].tier.name;
        let message = format!(
            "route `{}`: the policy abstains: the score {} of tier `{tier}` is below {}",
            self.route.name,
            ShownScore(score),
            ShownScore(below)
        );
        Error::new(Kind::Abstained, message)
    }

    /// The error of a request whose last tier failed.
    pub(super) fn no_answer(&self, progress: &mut Progress) -> Error {
        let last = progress.path.last();
        let tier = last.and_then(|step| self.route.tiers.get(step.tier)).map_or("", |setup| &setup.tier.name);
        let (kind, message, retry_after) = match last.and_then(|step| step.failure.as_ref()) {
            Some(failure @ Failure::Call(error)) => {
                let kind = if failure.is_timeout() { Kind::Timeout } else { Kind::Provider };
                (kind, error.to_string(), error.retry_after())
            }
            Some(failure) => (Kind::Answer, failure.to_string(), None),
            None => {
                let message = "the policy escalates from its last stage: run `cascade fit` again".to_owned();
                (Kind::Config, message, None)
            }
        };
        let error = Error::new(kind, format!("route `{}`, tier `{tier}`: {message}", self.route.name));
        let raw = progress.raw_answer.take().filter(|_| kind == Kind::Answer);
        error.with_retry_after(retry_after).with_raw_answer(raw)
    }
}
