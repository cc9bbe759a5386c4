//! Room in the budget for the stage after the one that runs, for a budget that falls back on answers at hand: one that arrives is
//! given up only once it is sure that there will be a better one to pay for.

use super::score::Holdings;
use super::{Next, Run};
use crate::client::budget::Held;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Room for one stage, if it is looked for and found.
pub(super) struct Room<'r> {
    run: &'r Run<'r>,
    plan: usize,
    next: Next,
    found: Mutex<Option<Set>>,
}

/// Money that was set aside for a stage: for its call, where that costs any, and for its signals.
#[derive(Default)]
pub(super) struct Set {
    pub(super) call: Option<Held>,
    pub(super) signals: Holdings,
}

impl<'r> Room<'r> {
    pub(super) fn new(run: &'r Run<'r>, plan: usize, next: Next) -> Self {
        Self { run, plan, next, found: Mutex::default() }
    }

    /// Looks for room now. What is found is kept for the stage, and goes back if it does not come to that.
    pub(super) async fn find(&self) -> bool {
        let found = self.set_aside().await;
        let is_found = found.is_some();
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = found;
        is_found
    }

    /// What was found.
    pub(super) fn take(&self) -> Option<Set> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn set_aside(&self) -> Option<Set> {
        let run = self.run;
        let signals = run.hold(self.next.tier, &run.scorers(self.plan, self.next)).await.ok()?;
        let setup = run.route.tiers.get(self.next.tier)?;
        let Some(budget) = run.budget.filter(|_| !setup.capabilities.free) else {
            return Some(Set { call: None, signals });
        };
        let call = run.route.call(setup, run.request, run.schema);
        let worst = call.worst_case(&setup.tier).ok()?;
        // The call goes out next.
        let held = budget.hold(run.ledgers, worst, Duration::ZERO, run.timeout(setup)).await.ok()?;
        Some(Set { call: Some(held), signals })
    }
}
