//! Signals that take more than the answer: further samples, a judge, a program. Each is computed by the library, as the client
//! does it, and its calls are asked like any other of the job, so that cap, pace, interrupts and the journal hold for them.
//!
//! A signal of an answer has a cell of its own in the journal. It becomes a part of the answer when that goes into the log;
//! answers that stand in the log already get what they lack.

use super::fold::Rows;
use super::grading::Waiting;
use super::journal::{Cell, Past, Pending};
use super::program::Program;
use super::replacing::Replacing;
use super::run::{Fault, Job, Lane, fault};
use async_trait::async_trait;
use cascade_sdk::money::Usd;
use cascade_sdk::provider::{Capabilities, ModelCall, Provider, ProviderError, ProviderErrorKind, Response};
use cascade_sdk::signal::{Answered, Candidate, Scorer, SignalFailure, Verifier, VerifierError};
use cascade_sdk_core::config::{Config, Route, Tier, signal_fingerprint};
use cascade_sdk_core::hash::Hasher;
use cascade_sdk_core::log::ResultRecord;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const PREFIX: &str = "signal:";

/// True for cells that hold a signal, not an answer.
pub(crate) fn is_signal(cell: &Cell) -> bool {
    cell.1.starts_with(PREFIX)
}

/// Names the cell of a signal of an answer. Tiers of that name would be an odd choice.
pub(crate) fn lane_name(signal: &str, tier: &str) -> String {
    format!("{PREFIX}{signal}:{tier}")
}

/// The words for such a cell.
pub(crate) fn lane_in_words(lane: &str) -> Option<String> {
    let (signal, tier) = lane.strip_prefix(PREFIX)?.split_once(':')?;
    Some(words_of(signal, tier))
}

/// The words for a signal of the answers of a tier.
pub(crate) fn words_of(signal: &str, tier: &str) -> String {
    format!("{signal} of {tier}")
}

/// What the signal of an answer was made of: a cell of another text says nothing of it.
fn hash(fingerprint: &str, prompt_hash: &str, text: &str) -> String {
    Hasher::new().part(fingerprint).part(prompt_hash).part(text).hex()
}

/// A signal of the answers of one tier.
#[derive(Clone, Debug)]
pub(crate) struct Signal {
    pub(crate) scorer: Scorer,
    pub(crate) route: String,
    /// The tier that answered.
    pub(crate) tier: Tier,
    /// Whether it asks models.
    pub(crate) takes_calls: bool,
    /// What its values depend on beside the answers.
    pub(crate) fingerprint: String,
    /// The answers to score, by prompt.
    pub(crate) answers: BTreeMap<usize, String>,
}

impl Signal {
    /// The name of its cells.
    pub(crate) fn lane_name(&self) -> String {
        lane_name(self.scorer.name(), &self.tier.name)
    }

    /// The hash for a prompt's answer.
    pub(crate) fn hash_of(&self, job: &Job, prompt: usize) -> Option<String> {
        Some(hash(&self.fingerprint, job.prompt_hashes.get(prompt)?, self.answers.get(&prompt)?))
    }

    /// A prompt's answer as the library sees it.
    pub(crate) fn answered<'a>(&'a self, job: &'a Job, prompt: usize) -> Option<Answered<'a>> {
        Some(self.answer_of(job, prompt, self.answers.get(&prompt)?))
    }

    fn answer_of<'a>(&'a self, job: &'a Job, prompt: usize, text: &'a str) -> Answered<'a> {
        // Prompts of a file define no tools.
        let (from, request) = ((self.route.as_str(), &self.tier), &job.requests[prompt]);
        Answered::new(from, &job.settings, &job.schema, request, text)
    }

    /// The most that scoring a prompt's answer can cost before there is one.
    pub(crate) fn most_for_any(&self, job: &Job, prompt: usize) -> Result<Vec<Usd>, String> {
        self.scorer.worst_cases_of_any(self.answer_of(job, prompt, ""))
    }

    /// Takes the answers that lack the signal: those of this job, and those in the log.
    pub(crate) fn gather(&mut self, job: &Job, past: &Past, rows: &Rows, again: Again<'_>) {
        let name = self.scorer.name().to_owned();
        let lane = self.lane_name();
        let replaced = again.replacing.contains(&lane);
        for (index, prompt) in job.prompts.iter().enumerate() {
            let cell: Cell = (prompt.id.clone(), self.tier.name.clone());
            let pending = past.results.get(&cell).map(|pending| &pending.result);
            let Some(result) = pending.or_else(|| rows.result(&cell)) else { continue };
            let (None, Some(text)) = (&result.error, result.output.as_deref()) else { continue };
            let known = match result.signals.get(name.as_str()) {
                Some(value) => !replaced && (value.is_some() || !again.failed),
                None => false,
            };
            let hash = job.prompt_hashes.get(index).map(|prompt| hash(&self.fingerprint, prompt, text));
            let scored = past.results.get(&(cell.0, lane.clone())).is_some_and(|scored| {
                let has_value = scored.result.signals.values().any(Option::is_some);
                Some(&scored.prompt) == hash.as_ref() && (has_value || !again.failed)
            });
            if !known && !scored {
                self.answers.insert(index, text.to_owned());
            }
        }
    }

    /// The lane that scores them.
    pub(crate) fn lane(self, provider: Arc<dyn Provider>, limits: super::grading::LaneLimits) -> Lane {
        Lane {
            tier: Tier { name: self.lane_name(), ..self.tier.clone() },
            provider,
            gate: limits.gate,
            pace: limits.pace,
            concurrency: limits.concurrency,
            key_variable: limits.key_variable,
            request: self.fingerprint.clone(),
            queue: self.answers.keys().copied().collect(),
            signal: Some(self),
        }
    }

    /// The result that stands in the journal for a signal; `None` is a value that could not be had and will not be had.
    #[expect(
        clippy::field_reassign_with_default,
        reason = "the record is non-exhaustive: no struct expression"
    )]
    pub(crate) fn result(&self, value: Option<f64>, cost: Usd) -> ResultRecord<'static> {
        let name = self.scorer.name().to_owned();
        let mut result = ResultRecord::default();
        result.quality = Some(0.0);
        result.cost_usd = Some(cost);
        result.signals.insert(name.clone().into(), value);
        if cost > Usd::ZERO {
            result.signal_cost_usd.insert(name.into(), Some(cost));
        }
        result.graded_by = Some("signal".into());
        result.request_hash = Some(self.fingerprint.clone().into());
        result
    }
}

/// Where the values of a signal go: the answers of a tier.
#[derive(Debug)]
pub(crate) struct Column {
    signal: String,
    tier: String,
    fingerprint: String,
    /// Whether its values stay in the journal until all are there, so that the log never mixes two of one name.
    held_back: bool,
}

impl Column {
    /// Those of a route, not only of the tiers of this run: what an earlier run paid for must not be lost.
    pub(crate) fn all(config: &Config, route: &Route, held_back: &BTreeSet<String>) -> Vec<Self> {
        let mut columns = Vec::new();
        for signal in &route.signals {
            for tier in route.tiers.iter().filter(|tier| signal.covers(tier)) {
                columns.push(Self {
                    signal: signal.name.clone(),
                    tier: tier.clone(),
                    fingerprint: signal_fingerprint(config, signal),
                    held_back: held_back.contains(&lane_name(&signal.name, tier)),
                });
            }
        }
        columns
    }

    /// Puts the values that the journal has into their answers: those that are about to go into the log, and those that
    /// stand in it. Values that are held back, and those of answers that are kept back, stay for later.
    pub(crate) fn merge(
        &self,
        job: &Job,
        past: &Past,
        rows: &Rows,
        folded: &mut Waiting,
        kept: &mut Waiting,
    ) {
        for (prompt, prompt_hash) in job.prompts.iter().zip(&job.prompt_hashes) {
            let cell: Cell = (prompt.id.clone(), self.tier.clone());
            let own: Cell = (cell.0.clone(), lane_name(&self.signal, &cell.1));
            let Some(scored) = past.results.get(&own) else { continue };
            if self.held_back || kept.contains_key(&cell) {
                kept.insert(own, scored.clone());
                continue;
            }
            let recorded = || {
                rows.result(&cell)
                    .map(|result| Pending { prompt: prompt_hash.clone(), result: result.clone() })
            };
            let Some(mut pending) = folded.get(&cell).cloned().or_else(recorded) else { continue };
            let text = pending.result.output.as_deref().unwrap_or_default();
            if scored.prompt != hash(&self.fingerprint, prompt_hash, text) {
                continue;
            }
            let from = &scored.result;
            let name = self.signal.as_str();
            pending.result.signals.insert(name.to_owned().into(), from.signals.get(name).copied().flatten());
            pending.result.signal_cost_usd.remove(name);
            if let Some(cost) = from.signal_cost_usd.get(name) {
                pending.result.signal_cost_usd.insert(name.to_owned().into(), *cost);
            }
            folded.insert(cell, pending);
        }
    }
}

/// Signals that are computed although they are known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Again<'a> {
    /// Those that are being replaced.
    pub(crate) replacing: &'a Replacing,
    /// Those that could not be had.
    pub(crate) failed: bool,
}

/// What [`ByProgram`] says where the program said that it cannot tell.
const CANNOT_TELL: &str = "the program printed null: it cannot tell";

/// Whose fault it is that a signal could not be had, as [`fault`] says for answers. What was answered, and what a verifier
/// says of it, do not change by asking again; a program that broke is mended.
pub(super) fn fault_of(failure: &SignalFailure) -> Fault {
    match failure {
        SignalFailure::Model(cascade_sdk::Failure::Call(error)) => fault(error),
        SignalFailure::Budget => Fault::Server,
        SignalFailure::VerifierError(why) if **why != *CANNOT_TELL => Fault::Server,
        _ => Fault::Tier,
    }
}

/// A failure in words. What a verifier says is what [`ByProgram`] says, which quotes neither prompt nor answer.
pub(super) fn in_words(failure: &SignalFailure) -> String {
    failure.detail().map_or_else(|| failure.to_string(), str::to_owned)
}

/// Money spent on signals, as far as the journal knows.
pub(crate) fn spent_on_signals(past: &Past) -> Usd {
    let signals = past.results.iter().filter(|(cell, _)| is_signal(cell));
    signals.filter_map(|(_, pending)| pending.result.cost_usd).fold(Usd::ZERO, Usd::saturating_add)
}

/// Who is asked for signals without calls.
#[derive(Debug)]
pub(crate) struct Nobody;

#[async_trait]
impl Provider for Nobody {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn complete(&self, _: &ModelCall<'_>) -> Result<Response, ProviderError> {
        Err(ProviderError::new(ProviderErrorKind::Unsupported, "the signal asks no model"))
    }
}

/// A program in the place of the application's verifier.
#[derive(Debug)]
pub(crate) struct ByProgram(pub(crate) Program);

#[async_trait]
impl Verifier for ByProgram {
    async fn verify(&self, candidate: &Candidate) -> Result<f64, VerifierError> {
        let request = candidate.request();
        let input = json!({
            "route": candidate.route(), "tier": candidate.tier(), "id": request.id(),
            "input": request.routing_text(), "text": candidate.text(), "answer": candidate.value(),
        });
        self.0.number(&input).await?.ok_or_else(|| CANNOT_TELL.into())
    }
}
