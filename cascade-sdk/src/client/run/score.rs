//! The signals of an answer that take more than the answer: their money is set aside before the answer is asked for, and
//! they are computed once it is there.

use super::ask::{Full, NotAsked, Purpose};
use super::receive::{GRACE, Intake};
use super::{Next, Progress, Run};
use crate::client::budget::{Held, NotReserved};
use crate::client::retry;
use crate::client::route::TierSetup;
use crate::money::Usd;
use crate::provider::{ModelCall, Response};
use crate::request::ToolCall;
use crate::routed::Failure;
use crate::signal::{Answered, AskModel, Scorer, SignalCall, SignalFailure};
use async_trait::async_trait;
use cascade_sdk_core::config::Tier;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Money set aside for the calls of signals, by signal.
pub(super) type Holdings = BTreeMap<String, Vec<Held>>;

/// The signals of an answer and what they took.
#[derive(Debug, Default)]
pub(super) struct Scores {
    pub(super) values: BTreeMap<String, f64>,
    pub(super) failures: BTreeMap<String, SignalFailure>,
    pub(super) costs: BTreeMap<String, Usd>,
    pub(super) calls: Vec<SignalCall>,
    pub(super) latency: Duration,
}

impl Scores {
    /// What they cost together.
    pub(super) fn cost(&self) -> Usd {
        self.costs.values().copied().fold(Usd::ZERO, Usd::saturating_add)
    }
}

impl<'r> Run<'r> {
    /// The signals to compute that the stage's rule reads; none where it reads no score.
    pub(super) fn scorers(&self, plan: usize, next: Next) -> Vec<&'r Scorer> {
        self.signals_read(plan, next).filter_map(|name| self.scorer(name, next.tier)).collect()
    }

    /// The signal of that name, where the route computes it for the tier.
    fn scorer(&self, name: &str, tier: usize) -> Option<&'r Scorer> {
        let route: &'r _ = self.route;
        let setup = route.tiers.get(tier).filter(|setup| !setup.capabilities.replays)?;
        route.scorers.iter().find(|scorer| scorer.name() == name && scorer.covers(&setup.tier.name))
    }

    /// Every signal that the route computes for the tier.
    pub(super) fn scorers_of_tier(&self, tier: usize) -> Vec<&'r Scorer> {
        let route: &'r _ = self.route;
        route.scorers.iter().filter(|scorer| self.scorer(scorer.name(), tier).is_some()).collect()
    }

    fn answered<'a>(
        &'a self,
        setup: &'a TierSetup,
        text: &'a str,
        tool_calls: &'a [ToolCall],
    ) -> Answered<'a> {
        Answered {
            route: &self.route.name,
            tier: &setup.tier,
            settings: &self.route.settings,
            schema: self.schema,
            request: self.request,
            text,
            tool_calls,
        }
    }

    /// Sets aside what the signals of an answer can cost that is yet to be asked for: an answer that nobody could pay to
    /// judge is not asked for. A repeated call reserves anew, as it does for answers.
    pub(super) async fn hold(&self, tier: usize, scorers: &[&Scorer]) -> Result<Holdings, NotAsked> {
        let mut holdings = Holdings::new();
        let Some(budget) = self.budget else { return Ok(holdings) };
        let setup = &self.route.tiers[tier];
        // The answer comes first, then the signals, one after the other.
        let mut until_sent = self.longest(setup);
        for scorer in scorers {
            until_sent = until_sent.saturating_add(scorer.verifier_timeout());
            let asked = scorer.judge().map_or(setup, |judge| self.setup(setup, &judge.name));
            if asked.capabilities.free {
                continue;
            }
            let worst = scorer.worst_cases_of_any(self.answered(setup, "", &[]));
            let worst = worst.map_err(NotAsked::Unbounded)?;
            let calls = u32::try_from(worst.len()).unwrap_or(u32::MAX);
            until_sent = until_sent.saturating_add(self.longest(asked).saturating_mul(calls));
            let timeout = self.timeout(asked);
            let held = holdings.entry(scorer.name().to_owned()).or_default();
            for amount in worst {
                let lease = budget.hold(self.ledgers, amount, until_sent, timeout).await;
                held.push(lease.map_err(NotAsked::from)?);
            }
        }
        Ok(holdings)
    }

    pub(super) fn timeout(&self, setup: &TierSetup) -> Duration {
        self.route.call(setup, self.request, self.schema).timeout.saturating_add(GRACE)
    }

    /// The longest that a call takes with all its attempts.
    fn longest(&self, setup: &TierSetup) -> Duration {
        let again = self.timeout(setup).saturating_add(retry::MOST_BETWEEN);
        self.timeout(setup).saturating_add(again.saturating_mul(self.max_retries))
    }

    /// Who is asked in the name of a tier: the one that answered, or a judge.
    fn setup<'a>(&'a self, answered_by: &'a TierSetup, tier: &str) -> &'a TierSetup {
        let judge = || self.route.judges.iter().find(|setup| setup.tier.name == tier);
        if answered_by.tier.name == tier { answered_by } else { judge().unwrap_or(answered_by) }
    }

    /// Computes signals of an answer, one after the other. What the provider itself knows is not computed again.
    pub(super) async fn score(
        &self,
        tier: usize,
        response: &Response,
        scorers: &[&Scorer],
        mut holdings: Holdings,
        progress: &Progress,
    ) -> Scores {
        let started = Instant::now();
        let setup = &self.route.tiers[tier];
        let mut scores = Scores::default();
        for scorer in scorers.iter().filter(|scorer| !response.signals.contains_key(scorer.name())) {
            let name = scorer.name().to_owned();
            let models = Models {
                run: self,
                answered_by: setup,
                signal: &name,
                progress,
                held: Mutex::new(holdings.remove(&name).unwrap_or_default()),
                calls: Mutex::default(),
            };
            let value =
                scorer.score(self.answered(setup, &response.text, &response.tool_calls), &models).await;
            let calls = models.calls.into_inner().unwrap_or_else(PoisonError::into_inner);
            if !calls.is_empty() {
                let cost = calls.iter().fold(Usd::ZERO, |sum, call| sum.saturating_add(call.cost));
                scores.costs.insert(name.clone(), cost);
                scores.calls.extend(calls);
            }
            match value {
                Ok(value) => _ = scores.values.insert(name, value),
                Err(failure) => _ = scores.failures.insert(name, failure),
            }
        }
        scores.latency = if scorers.is_empty() { Duration::ZERO } else { started.elapsed() };
        scores
    }
}

/// Asks models for a signal as the run asks them for answers.
struct Models<'a> {
    run: &'a Run<'a>,
    answered_by: &'a TierSetup,
    signal: &'a str,
    progress: &'a Progress,
    held: Mutex<Vec<Held>>,
    calls: Mutex<Vec<SignalCall>>,
}

#[async_trait]
impl AskModel for Models<'_> {
    async fn ask(&self, tier: &Tier, call: &ModelCall<'_>) -> Result<Response, SignalFailure> {
        let setup = self.run.setup(self.answered_by, &tier.name);
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let purpose = Purpose::Signal(self.signal, held);
        let asked = self.run.attempts(setup, call, Intake::Whole, self.progress, purpose).await;
        let asked = asked.map_err(|refused| {
            // A full budget is an everyday thing; the others are for somebody to mend.
            let why = match refused {
                NotAsked::OverBudget(_) => return SignalFailure::Budget,
                NotAsked::Store(error) => error.to_string(),
                NotAsked::Unbounded(message) => message,
            };
            tracing::warn!(target: "cascade_sdk", signal = self.signal, why, "a signal cannot be paid for");
            SignalFailure::Budget
        })?;
        let (call, result) = asked.signal_call(self.signal, &setup.tier);
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
        result.map_err(|error| SignalFailure::Model(Failure::Call(error)))
    }
}

impl From<NotReserved> for NotAsked {
    fn from(refused: NotReserved) -> Self {
        match refused {
            NotReserved::Full { budget, retry_after } => Self::OverBudget(Full { budget, retry_after }),
            NotReserved::Store(error) => Self::Store(error),
        }
    }
}
