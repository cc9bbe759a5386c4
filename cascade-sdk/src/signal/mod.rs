//! Signals that need more than the answer itself: further samples, a judge, a schema, a verifier of the application.
//!
//! [`Scorer::score`] is the one place where such a signal is computed: the client comes here, and so does `cascade
//! collect`, so that a threshold fitted on one holds for the other. How a model is asked, and what that costs, is the
//! business of who comes: see [`AskModel`].
//!
//! A turn that asks for tools to be called is scored by its calls:
//!
//! | kind | value of such a turn |
//! |---|---|
//! | `verifier` | the application's: it sees [`Candidate::tool_calls`] |
//! | `schema_valid` | 1 if each call names a tool of the request and its arguments follow the tool's schema, else 0 |
//! | `self_consistency` | the share of samples that make the same calls, in any order |
//! | `judge` | the judge's: it reads names and arguments of the calls |

mod agreement;
mod at_once;
mod failure;
mod judge;
mod verifier;

pub use failure::SignalFailure;
pub(crate) use verifier::unless_it_panics;
pub use verifier::{Blocking, Candidate, Verifier, VerifierError, blocking};

use crate::answer::AnswerSchema;
use crate::money::{Usage, Usd};
use crate::provider::{ModelCall, Response};
use crate::request::{Request, ToolCall};
use crate::routed::Failure;
use agreement::Agreement;
use async_trait::async_trait;
use cascade_sdk_core::config::{RequestSettings, SignalKind, SignalSettings, Tier};
use judge::Judge;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// An answer that is to be scored. It was read already: what does not parse has no signals.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "it holds a prompt and an answer")]
#[non_exhaustive]
pub struct Answered<'a> {
    /// Name of the route.
    pub route: &'a str,
    /// The tier that answered.
    pub tier: &'a Tier,
    /// What shaped the request except its messages.
    pub settings: &'a RequestSettings,
    /// The form of the answer.
    pub schema: &'a AnswerSchema,
    /// The request.
    pub request: &'a Request,
    /// The answer as the model wrote it.
    pub text: &'a str,
    /// The tools that it asks to be called instead of answering, or beside it.
    pub tool_calls: &'a [ToolCall],
}

impl<'a> Answered<'a> {
    /// An answer in text, to a call that was made like this.
    pub fn new(
        (route, tier): (&'a str, &'a Tier),
        settings: &'a RequestSettings,
        schema: &'a AnswerSchema,
        request: &'a Request,
        text: &'a str,
    ) -> Self {
        Self { route, tier, settings, schema, request, text, tool_calls: &[] }
    }
}

/// Asks models on behalf of a signal: within a budget, with retries, and counting what it costs.
#[async_trait]
pub trait AskModel: Send + Sync {
    /// Makes one call of a tier: the one that answered, or the judge's.
    ///
    /// # Errors
    /// [`SignalFailure`] if there is no answer.
    async fn ask(&self, tier: &Tier, call: &ModelCall<'_>) -> Result<Response, SignalFailure>;

    /// How many calls may be under way at once, where the signal would make `wanted`.
    fn at_once(&self, wanted: usize) -> usize {
        wanted
    }
}

/// A signal of a route, ready to be computed.
#[derive(Clone)]
pub struct Scorer {
    settings: SignalSettings,
    work: Work,
}

#[derive(Clone)]
enum Work {
    Agreement(Agreement),
    Judge(Box<Judge>),
    /// The route's own schema where absent.
    Schema(Option<AnswerSchema>),
    Verifier {
        verifier: Arc<dyn Verifier>,
        timeout: Duration,
    },
}

impl Scorer {
    /// Makes a signal ready. `judge` is the tier that judges, where one does; `verifier` the application's, where the
    /// signal is one.
    ///
    /// # Errors
    /// In words, what is missing or cannot be used.
    pub fn new(
        settings: &SignalSettings,
        judge: Option<&Tier>,
        verifier: Option<Arc<dyn Verifier>>,
    ) -> Result<Self, String> {
        let name = &settings.name;
        let work = match &settings.kind {
            SignalKind::SelfConsistency { samples, temperature, concurrency } => Work::Agreement(Agreement {
                samples: *samples,
                temperature: *temperature,
                concurrency: *concurrency,
            }),
            SignalKind::Judge { tier, rubric } => {
                let tier = judge.ok_or_else(|| {
                    format!("the signal `{name}` is judged by `{tier}`, which is not there")
                })?;
                Work::Judge(Box::new(Judge::new(tier.clone(), rubric)))
            }
            SignalKind::SchemaValid { schema } => {
                let schema = schema.as_deref().map(AnswerSchema::from_json).transpose();
                Work::Schema(schema.map_err(|error| format!("the signal `{name}`: {error}"))?)
            }
            SignalKind::Verifier { timeout } => {
                let verifier = verifier
                    .ok_or_else(|| format!("the signal `{name}` is a verifier, which is not there"))?;
                Work::Verifier { verifier, timeout: *timeout }
            }
            _ => return Err(format!("the signal `{name}` is of a kind that this version does not know")),
        };
        Ok(Self { settings: settings.clone(), work })
    }

    /// The signal's name in logs and policies.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Whether answers of a tier get it.
    pub fn covers(&self, tier: &str) -> bool {
        self.settings.covers(tier)
    }

    /// Computes the signal of an answer; larger means more confident.
    ///
    /// # Errors
    /// [`SignalFailure`] if there is no value. The signal is then missing, and what is missing escalates.
    pub async fn score(&self, answered: Answered<'_>, models: &dyn AskModel) -> Result<f64, SignalFailure> {
        let value = match &self.work {
            Work::Agreement(agreement) => agreement.score(answered, models).await?,
            Work::Judge(judge) => judge.score(answered, models).await?,
            Work::Schema(_) if !answered.tool_calls.is_empty() => f64::from(u8::from(callable(answered))),
            Work::Schema(schema) => {
                let schema = schema.as_ref().unwrap_or(answered.schema);
                f64::from(u8::from(schema.describes(&value_of(answered))))
            }
            Work::Verifier { verifier, timeout } => {
                verifier::verify(verifier.as_ref(), candidate(answered), *timeout).await?
            }
        };
        if value.is_finite() { Ok(value) } else { Err(SignalFailure::NotANumber) }
    }

    /// The most that each call can cost which the signal of this answer takes; none for a signal without calls.
    ///
    /// # Errors
    /// In words, why there is no bound.
    pub fn worst_cases(&self, answered: Answered<'_>) -> Result<Vec<Usd>, String> {
        match &self.work {
            Work::Agreement(agreement) => agreement.worst_cases(answered),
            Work::Judge(judge) => Ok(vec![judge.worst_case(answered, 0)?]),
            Work::Schema(_) | Work::Verifier { .. } => Ok(Vec::new()),
        }
    }

    /// The same before there is an answer, for any that its tier may give; its text and its calls do not count. A verdict on
    /// an answer of uncommonly long tokens may cost more, so it is to be bounded anew once the answer is there.
    ///
    /// # Errors
    /// As [`Scorer::worst_cases`].
    pub fn worst_cases_of_any(&self, answered: Answered<'_>) -> Result<Vec<Usd>, String> {
        let answered = Answered { text: "", tool_calls: &[], ..answered };
        match &self.work {
            Work::Judge(judge) => {
                let longest = answered.tier.max_output_tokens.unwrap_or(0);
                Ok(vec![judge.worst_case(answered, longest.saturating_mul(judge::BYTES_OF_A_TOKEN))?])
            }
            _ => self.worst_cases(answered),
        }
    }

    /// The most that the application's own code may take; zero for other signals.
    pub(crate) fn verifier_timeout(&self) -> Duration {
        match &self.work {
            Work::Verifier { timeout, .. } => *timeout,
            _ => Duration::ZERO,
        }
    }

    /// The tier that judges, where one does.
    pub fn judge(&self) -> Option<&Tier> {
        match &self.work {
            Work::Judge(judge) => Some(&judge.tier),
            _ => None,
        }
    }
}

/// The answer as JSON. A text that was asked for as text may be JSON all the same.
fn value_of(answered: Answered<'_>) -> serde_json::Value {
    let read = answered.schema.read(answered.text);
    match read {
        Ok(serde_json::Value::String(text)) if answered.schema.is_text() => {
            serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text))
        }
        read => read.unwrap_or_default(),
    }
}

/// Whether the application can run each call: the tool is there, and takes these arguments.
fn callable(answered: Answered<'_>) -> bool {
    answered.tool_calls.iter().all(|call| {
        let tool = answered.request.tools.iter().find(|tool| tool.name == call.name);
        tool.is_some_and(|tool| AnswerSchema::describes_arguments(&tool.parameters, &call.arguments))
    })
}

fn candidate(answered: Answered<'_>) -> Candidate {
    let value = answered.schema.read(answered.text).unwrap_or_default();
    let Answered { route, tier, request, text, tool_calls, .. } = answered;
    Candidate::new(route, &tier.name, request.clone(), text.to_owned(), value)
        .with_tool_calls(tool_calls.to_vec())
}

impl fmt::Debug for Scorer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scorer")
            .field("name", &self.settings.name)
            .field("kind", &self.settings.kind.name())
            .finish_non_exhaustive()
    }
}

/// A call of a model that a signal took.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SignalCall {
    /// The signal.
    pub signal: String,
    /// The tier that was asked.
    pub tier: String,
    /// Its model.
    pub model: String,
    /// Tokens as the provider counted them; `None` if it did not say.
    pub usage: Option<Usage>,
    /// What the call cost in US dollars, retries and [`SignalCall::estimated`] included.
    pub cost: Usd,
    /// The part of the cost for which the provider gave no usage, counted at its upper bound.
    pub estimated: Usd,
    /// The part of the cost beyond the most that the call can have cost by its limits: the provider's fault.
    pub excess: Usd,
    /// From the first attempt to the end, waits between retries included.
    pub latency: Duration,
    /// Why there was no answer; `None` if there was one.
    pub failure: Option<Failure>,
    /// The attempts that failed and were repeated.
    pub retries: Vec<Failure>,
    /// The model that answered, as the server names it.
    pub served_model: Option<String>,
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the values are exact")]
mod tests;
