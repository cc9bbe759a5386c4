//! The whole story of a request: which tiers were asked, what was decided and why, and what it cost.

use crate::embedding::EmbeddingUse;
use crate::money::{Usage, Usd};
use crate::provider::{FinishReason, ProviderError, ProviderErrorKind};
use crate::request::Message;
use crate::session::Session;
use crate::signal::{SignalCall, SignalFailure};
use cascade_sdk_core::decide::Decision;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Names of a route's tiers. The enums that `#[client]` generates implement it.
pub trait TierName: Copy + fmt::Debug + Send + Sync + 'static {
    /// Every tier of the route, in the order of the configuration.
    const ALL: &'static [Self];

    /// The tier's name in `cascade.toml`.
    fn name(self) -> &'static str;

    /// The tier of that name.
    fn from_name(name: &str) -> Option<Self>;
}

/// An answer and how it came about.
///
/// `T` is the answer's type, `Tier` the enum of the route's tiers. Answers do not belong in logs: `Debug` leaves it out.
#[derive(Clone)]
#[non_exhaustive]
pub struct Routed<T, Tier> {
    /// The answer.
    pub answer: T,
    /// The tier that gave it.
    pub tier: Tier,
    /// Every tier that was asked, in order; the last one gave the answer, unless [`Routed::kept_for_budget`].
    pub path: Vec<Step<Tier>>,
    /// The request's id: the caller's, or one that the client made.
    pub request_id: String,
    /// The plan that the policy chose: its position in the policy file, from 0.
    pub plan: usize,
    /// True if the caller named the tier, so that the policy decided nothing.
    pub forced: bool,
    /// True if the policy would have gone on, but the budget had no room for it.
    pub kept_for_budget: bool,
    /// The cheaper operating point that a hot budget moved the request to; `None` at the deployed point.
    pub paced: Option<Paced>,
    /// The embedding that the policy's router read; `None` where it reads none.
    pub embedding: Option<Box<EmbeddingUse>>,
    /// Where the conversation stands now: for the next turn. `None` for a request without a session.
    pub session: Option<Session>,
    /// SHA-256 of the policy file that decided; `None` for a route without one.
    pub policy_hash: Option<String>,
}

/// An operating point of the policy's frontier, below the deployed one.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Paced {
    /// Its position in the policy file's `[[frontier]]`, from 0.
    pub point: usize,
    /// λ there in quality per US dollar; `None` at the last point.
    pub shadow_price: Option<f64>,
}

impl<T, Tier> Routed<T, Tier> {
    /// What the request cost in US dollars: all calls, retries, signals and the embedding, the part that is only an upper bound
    /// ([`Routed::estimated`]) included.
    pub fn cost(&self) -> Usd {
        let embedding = self.embedding.as_ref().map_or(Usd::ZERO, |embedding| embedding.cost);
        total(&self.path, Step::total_cost).saturating_add(embedding)
    }

    /// The part of [`Routed::cost`] for which the provider gave no usage, counted at its upper bound.
    pub fn estimated(&self) -> Usd {
        let embedding = self.embedding.as_ref().map_or(Usd::ZERO, |used| used.estimated);
        total(&self.path, Step::total_estimated).saturating_add(embedding)
    }

    /// All tokens that providers reported, those of signals included.
    pub fn usage(&self) -> Usage {
        let of_signals = self.path.iter().flat_map(|step| &step.signal_calls).filter_map(|call| call.usage);
        let of_tiers = self.path.iter().filter_map(|step| step.usage);
        of_tiers.chain(of_signals).fold(Usage::default(), |sum, usage| Usage {
            input_tokens: sum.input_tokens.saturating_add(usage.input_tokens),
            cached_input_tokens: sum.cached_input_tokens.saturating_add(usage.cached_input_tokens),
            cache_write_tokens: sum.cache_write_tokens.saturating_add(usage.cache_write_tokens),
            output_tokens: sum.output_tokens.saturating_add(usage.output_tokens),
            reasoning_tokens: sum.reasoning_tokens.saturating_add(usage.reasoning_tokens),
        })
    }

    /// The time the embedding, all calls and signals took together, waits between retries included.
    pub fn latency(&self) -> Duration {
        let embedding = self.embedding.as_ref().map_or(Duration::ZERO, |embedding| embedding.latency);
        self.path.iter().map(|step| step.latency.saturating_add(step.signal_latency)).sum::<Duration>()
            + embedding
    }

    /// Whether the model ran into its length limit (`max_output_tokens`, or its own) before it was done, so that the answer is a part of
    /// what it would have said.
    ///
    /// The policy judges such an answer like any other, because it was fitted on answers that were cut off at the same limit. A typed
    /// answer that is cut off hardly ever follows its schema, and fails. Who cannot use half a text raises the limit, or asks
    /// again without one.
    pub fn is_cut_off(&self) -> bool {
        self.answering_step().is_some_and(Step::is_cut_off)
    }

    /// The turn of the model that the answer was read from, as a message for the next request, where it holds tool calls or
    /// parts that the api wants back. A turn of text alone is [`Message::assistant`] of that text.
    ///
    /// The parts are for tiers of the same api: the next request should name the tier, or go to a route of one api.
    pub fn turn(&self) -> Option<&Message> {
        self.answering_step()?.turn.as_ref()
    }

    /// The step that gave the answer: where the budget had no room for a better one it is not the last.
    fn answering_step(&self) -> Option<&Step<Tier>> {
        self.path.iter().rev().find(|step| step.failure.is_none() && step.given_up_after.is_none())
    }

    /// The answer alone.
    pub fn into_answer(self) -> T {
        self.answer
    }
}

impl<T, Tier: fmt::Debug> fmt::Debug for Routed<T, Tier> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routed")
            .field("answer", &format_args!("{}", std::any::type_name::<T>()))
            .field("tier", &self.tier)
            .field("path", &self.path)
            .field("request_id", &self.request_id)
            .field("plan", &self.plan)
            .field("forced", &self.forced)
            .field("kept_for_budget", &self.kept_for_budget)
            .field("paced", &self.paced)
            .field("embedding", &self.embedding)
            .field("session", &self.session)
            .field("policy_hash", &self.policy_hash)
            .finish()
    }
}

/// The sum of something over a path, stopping at the largest amount.
pub(crate) fn total<Tier>(path: &[Step<Tier>], amount: impl Fn(&Step<Tier>) -> Usd) -> Usd {
    path.iter().fold(Usd::ZERO, |sum, step| sum.saturating_add(amount(step)))
}

/// One tier that was asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Step<Tier> {
    /// The tier.
    pub tier: Tier,
    /// What the policy decided about its answer, and why.
    pub decision: Decision,
    /// Why there was no usable answer; `None` if there was one.
    pub failure: Option<Failure>,
    /// True if the call failed and another tier was asked because of that: a failover, which says nothing about the answer,
    /// as opposed to an escalation, which does.
    pub failover: bool,
    /// Why the model stopped; `None` where no whole answer came.
    pub finish: Option<FinishReason>,
    /// The answer as a message, where it holds tool calls or parts that the api wants back.
    pub turn: Option<Message>,
    /// The answer's signals by name; larger means more confident. Missing ones are absent.
    pub signals: BTreeMap<String, f64>,
    /// Tokens as the provider counted them; `None` if it did not say.
    pub usage: Option<Usage>,
    /// What the call cost in US dollars, the costs of signals left out and [`Step::estimated`] included.
    pub cost: Usd,
    /// What the signals that the policy read cost beyond the call, [`SignalCall::estimated`] included.
    pub signal_cost: Usd,
    /// The same by signal; free ones are absent.
    pub signal_costs: BTreeMap<String, Usd>,
    /// The calls of models that signals took.
    pub signal_calls: Vec<SignalCall>,
    /// Signals that the policy reads and that could not be had, and why.
    pub signal_failures: BTreeMap<String, SignalFailure>,
    /// The time that signals took after the answer was there.
    pub signal_latency: Duration,
    /// The part of [`Step::cost`] for which the provider gave no usage, counted at its upper bound.
    pub estimated: Usd,
    /// The part of [`Step::cost`] beyond what the limits of request and tier allow, as the provider reports it: more output than
    /// `max_output_tokens`, or more input than the text has bytes or than the tier's `max_input_tokens`, which certificates rest on.
    pub excess: Usd,
    /// From the first attempt to the end, waits between retries included.
    pub latency: Duration,
    /// The attempts that failed and were repeated.
    pub retries: Vec<Failure>,
    /// The model that answered, as the server names it.
    pub served_model: Option<String>,
    /// Set if the answer was given up while it arrived: after this many tokens.
    pub given_up_after: Option<u64>,
}

impl<Tier> Step<Tier> {
    /// Cost of the call and of the signals that were read.
    pub fn total_cost(&self) -> Usd {
        self.cost.saturating_add(self.signal_cost)
    }

    /// Whether the answer ran into its length limit; see [`Routed::is_cut_off`].
    pub fn is_cut_off(&self) -> bool {
        self.finish == Some(FinishReason::Length)
    }

    /// The part of [`Step::total_cost`] that is an upper bound, because a provider gave no usage.
    pub fn total_estimated(&self) -> Usd {
        let of_signals = self.signal_calls.iter().map(|call| call.estimated);
        of_signals.fold(self.estimated, Usd::saturating_add)
    }

    pub(crate) fn map_tier<Other>(self, tier: Other) -> Step<Other> {
        Step {
            tier,
            decision: self.decision,
            failure: self.failure,
            failover: self.failover,
            finish: self.finish,
            turn: self.turn,
            signals: self.signals,
            usage: self.usage,
            cost: self.cost,
            signal_cost: self.signal_cost,
            signal_costs: self.signal_costs,
            signal_calls: self.signal_calls,
            signal_failures: self.signal_failures,
            signal_latency: self.signal_latency,
            estimated: self.estimated,
            excess: self.excess,
            latency: self.latency,
            retries: self.retries,
            served_model: self.served_model,
            given_up_after: self.given_up_after,
        }
    }
}

/// Why a tier gave no usable answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// The call failed.
    Call(ProviderError),
    /// The model or a content filter refused to answer.
    Refused,
    /// The answer is not what was asked for.
    Answer(crate::answer::AnswerError),
}

impl Failure {
    /// The word for this failure in an eval log's `error` (DESIGN.md 5).
    pub fn log_word(&self) -> &'static str {
        match self {
            Self::Call(error) => error.log_word(),
            Self::Refused => "refused",
            Self::Answer(_) => "invalid_answer",
        }
    }

    /// True if no answer came in time.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Call(error) if error.kind() == ProviderErrorKind::Timeout)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(error) => error.fmt(f),
            Self::Refused => f.write_str("the model refused to answer"),
            Self::Answer(error) => error.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{StreamEvent, Turn};
    use crate::request::ToolCall;

    #[test]
    fn answers_are_not_in_debug_output() {
        let routed = Routed {
            answer: "SECRET".to_owned(),
            tier: "small",
            path: Vec::<Step<&str>>::new(),
            request_id: "q-1".to_owned(),
            plan: 0,
            forced: false,
            kept_for_budget: false,
            paced: None,
            embedding: None,
            session: None,
            policy_hash: None,
        };
        let turns = [
            Turn::Answer("SECRET".to_owned()),
            Turn::ToolCalls(vec![ToolCall::new("1", "weather", serde_json::json!({ "city": "SECRET" }))]),
        ];
        let events = [
            StreamEvent::Started { tier: "small" },
            StreamEvent::Delta("SECRET".to_owned()),
            StreamEvent::Finished(routed.clone()),
        ];
        let shown = format!("{routed:?} {turns:?} {events:#?}");
        assert!(!shown.contains("SECRET"), "{shown}");
        for told in ["q-1", "String", "weather", "Delta(6 bytes)", "Started"] {
            assert!(shown.contains(told), "{told}: {shown}");
        }
    }
}
