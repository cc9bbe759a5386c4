//! One tier is asked, again where that may help, and never without room in the budget.

use super::bill::{bill, excess};
use super::receive::{GRACE, Intake, Refused, receive};
use super::score::Scores;
use super::{Next, Progress, Run};
use crate::budget::StoreError;
use crate::client::budget::{Held, Reservation};
use crate::client::retry;
use crate::client::route::TierSetup;
use crate::client::telemetry;
use crate::money::{Usage, Usd};
use crate::provider::{ModelCall, ProviderError, ProviderErrorKind, Response};
use crate::routed::{Failure, Step};
use crate::signal::SignalCall;
use cascade_sdk_core::config::{OnExceeded, Tier};
use cascade_sdk_core::decide::Decision;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tracing::Instrument as _;

/// A tier was asked, whatever came of it.
pub(super) struct Asked {
    pub(super) result: Result<Response, ProviderError>,
    usage: Option<Usage>,
    cost: Usd,
    estimated: Usd,
    excess: Usd,
    latency: Duration,
    retries: Vec<Failure>,
    /// Whether any of the answer was shown already.
    pub(super) shown: bool,
    /// Set if the answer was refused while it arrived.
    pub(super) refused: Option<Refused>,
}

/// Why a tier could not even be asked.
pub(super) enum NotAsked {
    /// Its worst case does not fit into the budget.
    OverBudget(Full),
    /// The ledgers cannot be asked.
    Store(StoreError),
    /// What it would cost is not known.
    Unbounded(String),
}

/// The budget that has no room.
pub(super) struct Full {
    pub(super) budget: String,
    /// Until its window ends.
    pub(super) retry_after: Duration,
}

/// What a model is asked for.
pub(super) enum Purpose<'a> {
    /// The answer of a stage, with money that was set aside for the call.
    Stage(Next, Option<Held>),
    /// A signal, with money that was set aside for the call.
    Signal(&'a str, Option<Held>),
}

impl Run<'_> {
    /// Asks one tier for its answer, again where that may help.
    pub(super) async fn ask(
        &self,
        next: Next,
        held: Option<Held>,
        intake: Intake<'_>,
        progress: &Progress,
    ) -> Result<Asked, NotAsked> {
        let setup = &self.route.tiers[next.tier];
        let call = self.route.call(setup, self.request, self.schema);
        self.attempts(setup, &call, intake, progress, Purpose::Stage(next, held)).await
    }

    /// Makes one call, again where that may help.
    pub(super) async fn attempts(
        &self,
        setup: &TierSetup,
        call: &ModelCall<'_>,
        intake: Intake<'_>,
        progress: &Progress,
        purpose: Purpose<'_>,
    ) -> Result<Asked, NotAsked> {
        let started = Instant::now();
        let worst = call.worst_case(&setup.tier);
        let (next, signal, mut held) = match purpose {
            Purpose::Stage(next, held) => (Some(next), None, held),
            Purpose::Signal(signal, held) => (None, Some(signal), held),
        };
        let announce = || next.into_iter().for_each(|next| self.announce(progress, next));
        let mut asked = Asked {
            result: Err(ProviderError::new(ProviderErrorKind::Connection, "not sent")),
            usage: None,
            cost: Usd::ZERO,
            estimated: Usd::ZERO,
            excess: Usd::ZERO,
            latency: Duration::ZERO,
            retries: Vec::new(),
            shown: false,
            refused: None,
        };
        if !setup.capabilities.replays
            && let Err(error) = call.check_length(&setup.tier)
        {
            announce();
            return Ok(Asked { result: Err(error), ..asked });
        }
        loop {
            let mut admitted = match setup.circuit.admit(&setup.tier.name, Instant::now()) {
                Ok(admitted) => admitted,
                Err(wait) => {
                    // The circuit opened between two attempts: the failure before it says more.
                    if asked.retries.pop().is_none() {
                        announce();
                        asked.result = Err(circuit_open(setup, wait));
                    }
                    break;
                }
            };
            let reservation = match self.reserve(setup, call, worst.as_ref(), held.take()).await {
                Ok(reservation) => reservation,
                Err(refused) if asked.retries.is_empty() => return Err(refused),
                // No room for another attempt: the tier has failed.
                Err(_) => {
                    asked.retries.pop();
                    break;
                }
            };
            if asked.retries.is_empty() {
                announce();
            }
            let most = worst.clone().unwrap_or_default();
            progress.in_flight.replace(Usd::ZERO, most);
            admitted.send(self.deadline, Instant::now());
            let span = telemetry::span(self.route, setup, call, signal);
            let received = receive(setup, call, intake.clone()).instrument(span.clone()).await;
            let result = received.result;
            admitted.end(result.as_ref().err(), Instant::now());
            let bill = bill(setup, call, &result, received.refused);
            telemetry::complete(&span, &result, bill.usage, bill.cost);
            if let Some(reservation) = reservation {
                reservation.settle(bill.cost);
            }
            asked.excess = asked.excess.saturating_add(excess(&bill, setup, call));
            asked.cost = asked.cost.saturating_add(bill.cost);
            asked.estimated = asked.estimated.saturating_add(bill.estimated);
            asked.usage = bill.usage;
            asked.latency = bill.latency.unwrap_or_else(|| started.elapsed());
            progress.in_flight.replace(most, bill.cost);
            let retries = u32::try_from(asked.retries.len()).unwrap_or(u32::MAX);
            asked.shown = received.shown;
            asked.refused = received.refused;
            let wait = match &result {
                // A second attempt would tell the beginning again.
                Err(_) if asked.shown => None,
                Err(error) => retry::wait(error, retries, self.max_retries, retry::random())
                    .map(|wait| (wait, error.clone())),
                Ok(_) => None,
            };
            asked.result = result;
            let Some((wait, error)) = wait else { break };
            asked.retries.push(Failure::Call(error));
            tokio::time::sleep(wait).await;
        }
        Ok(asked)
    }

    /// Sets the worst case aside for a call that goes out now.
    async fn reserve(
        &self,
        setup: &TierSetup,
        call: &ModelCall<'_>,
        worst: Result<&Usd, &String>,
        held: Option<Held>,
    ) -> Result<Option<Reservation>, NotAsked> {
        let Some(budget) = self.budget.filter(|_| !setup.capabilities.free) else {
            return Ok(None);
        };
        let worst = worst.map_err(|message| NotAsked::Unbounded(message.clone()))?;
        if let Some(held) = held
            && let Some(reservation) = held.send(*worst).await.map_err(NotAsked::Store)?
        {
            return Ok(Some(reservation));
        }
        let timeout = call.timeout.saturating_add(GRACE);
        let reserved = budget.reserve_and_send(self.ledgers, *worst, timeout).await;
        Ok(Some(reserved?))
    }

    /// Whether a request that does not fit into the budget may be answered by a cheaper tier.
    pub(super) fn may_fall_back(&self) -> bool {
        self.budget.is_some_and(|budget| budget.on_exceeded == OnExceeded::Cheapest)
    }
}

impl Asked {
    /// What is told of the stage, and the text that it answered with.
    pub(super) fn step(
        self,
        tier: usize,
        decision: Decision,
        failure: Option<Failure>,
        signals: BTreeMap<String, f64>,
        scores: Scores,
    ) -> (Step<usize>, Option<String>) {
        let (turn, finish, text, served_model) = match self.result {
            Ok(response) => {
                let turn = response.turn();
                let given_up = self.refused.is_some_and(|refused| refused.given_up_after.is_some());
                let finish = Some(response.finish).filter(|_| !given_up);
                (turn, finish, Some(response.text), response.served_model)
            }
            Err(_) => (None, None, None, None),
        };
        let step = Step {
            tier,
            decision,
            failover: matches!((decision, &failure), (Decision::Escalate(_), Some(Failure::Call(_)))),
            failure,
            finish,
            turn,
            signals,
            usage: self.usage,
            cost: self.cost,
            signal_cost: scores.cost(),
            signal_costs: scores.costs,
            signal_calls: scores.calls,
            signal_failures: scores.failures,
            signal_latency: scores.latency,
            estimated: self.estimated,
            excess: self.excess,
            latency: self.latency,
            retries: self.retries,
            served_model,
            given_up_after: self.refused.and_then(|refused| refused.given_up_after),
        };
        (step, text)
    }

    /// What is told of a call that a signal took, and what came back.
    pub(super) fn signal_call(
        self,
        signal: &str,
        tier: &Tier,
    ) -> (SignalCall, Result<Response, ProviderError>) {
        let call = SignalCall {
            signal: signal.to_owned(),
            tier: tier.name.clone(),
            model: tier.model.clone(),
            usage: self.usage,
            cost: self.cost,
            estimated: self.estimated,
            excess: self.excess,
            latency: self.latency,
            failure: self.result.as_ref().err().cloned().map(Failure::Call),
            retries: self.retries,
            served_model: self.result.as_ref().ok().and_then(|response| response.served_model.clone()),
        };
        (call, self.result)
    }
}

/// The failure of a tier that is left alone. Nothing was sent.
fn circuit_open(setup: &TierSetup, wait: Duration) -> ProviderError {
    let message = format!("tier `{}` keeps failing and is left alone for {wait:.1?}", setup.tier.name);
    ProviderError::new(ProviderErrorKind::CircuitOpen, message).with_retry_after(Some(wait))
}
