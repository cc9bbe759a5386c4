//! Computing a signal of an answer: its calls are those of the lane, its cost the job's.

use super::record;
use super::run::{ATTEMPTS, FIRST_WAIT, Fault, LONGEST_WAIT, Lane, Shared, Ticket};
use super::signals::{self, Signal};
use async_trait::async_trait;
use cascade_sdk::money::Usd;
use cascade_sdk::provider::{ModelCall, ProviderErrorKind, Response};
use cascade_sdk::signal::{AskModel, SignalFailure};
use cascade_sdk_core::config::Tier;
use cascade_sdk_core::log::RowRecord;
use std::sync::{Mutex, PoisonError};

impl Shared {
    /// Computes a signal of an answer, and writes down what it came to.
    pub(super) async fn score(&self, lane: &Lane, index: usize, ticket: &Ticket, signal: &Signal) {
        let (Some(answered), Some(hash)) =
            (signal.answered(&self.job, ticket.prompt), signal.hash_of(&self.job, ticket.prompt))
        else {
            return;
        };
        let models = Asking { shared: self, lane, calls: Mutex::default() };
        let value = signal.scorer.score(answered, &models).await;
        let calls = models.calls.into_inner().unwrap_or_else(PoisonError::into_inner);
        let cost = calls.into_iter().fold(Usd::ZERO, Usd::saturating_add);
        let mut state = self.lock();
        let value = match value {
            Ok(value) => Some(value),
            Err(failure) => {
                let why = signals::in_words(&failure);
                // An interrupt, or money that is wanting, is said elsewhere.
                let expected = matches!(failure, SignalFailure::Budget);
                if !expected {
                    state.summary.reasons.insert(ticket.cell.clone(), why.clone());
                }
                match signals::fault_of(&failure) {
                    Fault::Tier => {}
                    Fault::Server => {
                        state.summary.lost += 1;
                        state.ended(index);
                        self.lose(&mut state, ticket, cost, failure.log_word());
                        if !expected {
                            state.count_failure(index, true, &why);
                        }
                        return;
                    }
                    Fault::Setup => return self.give_up(&mut state, index, ticket, cost, &why),
                }
                let refused = matches!(&failure, SignalFailure::Model(cascade_sdk::Failure::Call(error))
                    if error.kind() == ProviderErrorKind::Status);
                state.count_failure(index, refused, &why);
                None
            }
        };
        state.ledger.settle(ticket.reserved, cost);
        if let Some(own) = state.lanes.get_mut(index).filter(|_| value.is_some()) {
            own.failures_in_a_row = 0;
        }
        let mut row = RowRecord::new(ticket.cell.0.clone());
        row.results.insert(ticket.cell.1.clone().into(), signal.result(value, cost));
        if let Err(failure) = state.journal.got(&ticket.cell, &hash, cost, &row) {
            state.broken = Some(failure);
        }
        state.summary.recorded += 1;
        state.summary.failed += u64::from(value.is_none());
        state.ended(index);
        self.settle(&mut state);
    }
}

/// Asks models for a signal.
struct Asking<'a> {
    shared: &'a Shared,
    lane: &'a Lane,
    /// What each call cost.
    calls: Mutex<Vec<Usd>>,
}

#[async_trait]
impl AskModel for Asking<'_> {
    async fn ask(&self, tier: &Tier, call: &ModelCall<'_>) -> Result<Response, SignalFailure> {
        let failed = |error| SignalFailure::Model(cascade_sdk::Failure::Call(error));
        call.check_length(tier).map_err(failed)?;
        let mut wait = FIRST_WAIT;
        let mut attempt = 1;
        loop {
            if (attempt > 1 || self.spent()) && !self.shared.turn(self.lane).await {
                return Err(SignalFailure::Budget);
            }
            let worst = call.worst_case(tier).unwrap_or(Usd::MAX);
            let error = match self.lane.provider.complete(call).await {
                Ok(response) => {
                    self.count(record::cost(&tier.price, &response).unwrap_or(worst));
                    return Ok(response);
                }
                Err(error) => error,
            };
            let pause = error.retry_after().unwrap_or(wait);
            if error.may_have_been_charged() {
                // Its money was set aside once: another attempt could go beyond the cap.
                self.count(worst);
                return Err(failed(error));
            }
            if !error.is_retryable() || attempt >= ATTEMPTS || pause > LONGEST_WAIT {
                return Err(failed(error));
            }
            wait *= 2;
            attempt += 1;
            self.shared.pause(pause).await;
        }
    }

    /// A worker has one place at the provider.
    fn at_once(&self, _: usize) -> usize {
        1
    }
}

impl Asking<'_> {
    fn count(&self, cost: Usd) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(cost);
    }

    fn spent(&self) -> bool {
        !self.calls.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}
