//! The error of a request that has no answer.

use super::{Progress, Run};
use crate::error::{Error, Kind};
use crate::routed::Failure;
use std::time::SystemTime;

impl Run<'_> {
    pub(super) fn over_budget(&self) -> Error {
        let (name, left) = self.route.budget.as_ref().map_or(("", None), |budget| {
            (budget.name.as_str(), Some(budget.ledger.time_left(SystemTime::now())))
        });
        let message = format!("budget `{name}` has no room for this request to route `{}`", self.route.name);
        Error::new(Kind::Budget, message).with_retry_after(left)
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
