//! Self-consistency: how many of several samples of the same tier agree with the answer, which is the first of them. The
//! vote only scores the answer; it does not replace it.

use super::at_once::{Pending, at_once};
use super::{Answered, AskModel, SignalFailure};
use crate::answer::AnswerSchema;
use crate::money::Usd;
use crate::provider::{FinishReason, ModelCall, Response};
use crate::request::ToolCall;
use cascade_sdk_core::config::RequestSettings;
use serde_json::Value;

/// Largest seed that every provider takes.
const LARGEST_SEED: u64 = i64::MAX as u64;

#[derive(Clone, Debug)]
pub(super) struct Agreement {
    /// The answer included.
    pub(super) samples: u32,
    pub(super) temperature: f64,
    pub(super) concurrency: u32,
}

impl Agreement {
    /// The share of samples that agree with the answer. A sample that is refused or does not parse does not; one that
    /// could not be had leaves the signal missing, because a share of fewer samples is another quantity.
    pub(super) async fn score(
        &self,
        answered: Answered<'_>,
        models: &dyn AskModel,
    ) -> Result<f64, SignalFailure> {
        let Answered { tier, schema, request, text, tool_calls, .. } = answered;
        let Some(own) = vote(schema, text, tool_calls) else { return Ok(0.0) };
        let settings: Vec<RequestSettings> =
            (1..self.samples).map(|sample| self.settings(answered.settings, sample)).collect();
        let ask = |settings| {
            let future =
                async move { models.ask(tier, &ModelCall::new(tier, settings, schema, request)).await };
            Box::pin(future) as Pending<'_, Response, SignalFailure>
        };
        let limit = models.at_once(self.concurrency as usize);
        let others = at_once(settings.iter().map(ask).collect(), limit).await?;
        let agrees = |other: &&Response| {
            other.finish != FinishReason::Refused
                && vote(schema, &other.text, &other.tool_calls).as_ref() == Some(&own)
        };
        let agreeing = 1 + others.iter().filter(agrees).count();
        Ok(agreeing as f64 / f64::from(self.samples))
    }

    pub(super) fn worst_cases(&self, answered: Answered<'_>) -> Result<Vec<Usd>, String> {
        let Answered { tier, schema, request, .. } = answered;
        let settings = self.settings(answered.settings, 1);
        let worst = ModelCall::new(tier, &settings, schema, request).worst_case(tier)?;
        Ok(vec![worst; self.samples as usize - 1])
    }

    /// What shapes a further sample: as the answer's, but for temperature and seed. A server that honours a seed would
    /// give the same sample again and again.
    fn settings(&self, of_answer: &RequestSettings, sample: u32) -> RequestSettings {
        RequestSettings {
            temperature: Some(self.temperature),
            // Asking for them changes no token, and nothing reads them.
            top_logprobs: None,
            seed: of_answer.seed.map(|seed| seed.wrapping_add(u64::from(sample)) % LARGEST_SEED),
            ..of_answer.clone()
        }
    }
}

/// What is compared.
#[derive(Debug)]
enum Vote<'r> {
    /// The JSON value, or the words of a text.
    Answer(Value),
    /// What the model says beside its calls is no part of the vote.
    Calls(&'r [ToolCall]),
}

impl PartialEq for Vote<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Answer(own), Self::Answer(other)) => own == other,
            (Self::Calls(own), Self::Calls(other)) => same(own, other),
            _ => false,
        }
    }
}

/// Whether the same tools are called with the same arguments. Calls of one turn have no order, and ids are made up anew
/// for each sample.
fn same(own: &[ToolCall], other: &[ToolCall]) -> bool {
    let times = |calls: &[ToolCall], wanted: &ToolCall| {
        let alike = |call: &&ToolCall| call.name == wanted.name && call.arguments == wanted.arguments;
        calls.iter().filter(alike).count()
    };
    own.len() == other.len() && own.iter().all(|call| times(own, call) == times(other, call))
}

/// The vote of a turn; `None` for what is no answer.
fn vote<'r>(schema: &AnswerSchema, text: &str, tool_calls: &'r [ToolCall]) -> Option<Vote<'r>> {
    if !tool_calls.is_empty() {
        return Some(Vote::Calls(tool_calls));
    }
    Some(Vote::Answer(match schema.read(text).ok()? {
        Value::String(text) if schema.is_text() => {
            Value::String(text.split_whitespace().collect::<Vec<_>>().join(" "))
        }
        value => value,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn white_space_and_the_order_of_members_are_no_difference() {
        let text = |text| vote(&AnswerSchema::TEXT, text, &[]);
        assert_eq!(text(" a  b\n"), text("a b"));
        assert_ne!(text("a b"), text("A b"));
        let schema = AnswerSchema::from_json(r#"{"type":"object"}"#).unwrap();
        let json = |text| vote(&schema, text, &[]);
        assert_eq!(json(r#"{"a":1,"b":"x y"}"#), json("{ \"b\": \"x y\",\n\"a\": 1 }"));
        assert_ne!(json(r#"{"b":"x y"}"#), json(r#"{"b":"x  y"}"#));
        assert_eq!(json("{"), None);
    }

    #[test]
    fn calls_of_tools_agree_whatever_their_order_and_ids() {
        let call = |id: &str, name: &str, city: &str| ToolCall::new(id, name, json!({ "city": city }));
        let own = [call("1", "weather", "Oslo"), call("2", "weather", "Rome")];
        assert!(same(&own, &[call("x", "weather", "Rome"), call("y", "weather", "Oslo")]));
        for other in [
            &own[..1],
            &[call("1", "weather", "Oslo"), call("2", "weather", "Oslo")],
            &[call("1", "weather", "Oslo"), call("2", "time", "Rome")],
        ] {
            assert!(!same(&own, other) && !same(other, &own), "{other:?}");
        }
        // Not even where both are without a word.
        assert_ne!(vote(&AnswerSchema::TEXT, "", &own), vote(&AnswerSchema::TEXT, "", &[]));
    }

    #[test]
    fn seeds_differ_from_sample_to_sample() {
        let agreement = Agreement { samples: 3, temperature: 0.7, concurrency: 1 };
        let of = |seed| RequestSettings { seed, top_logprobs: Some(5), ..RequestSettings::default() };
        let seed = |seed, sample| agreement.settings(&of(seed), sample).seed;
        assert_eq!((seed(None, 1), seed(Some(7), 1), seed(Some(7), 2)), (None, Some(8), Some(9)));
        assert_eq!(seed(Some(LARGEST_SEED), 1), Some(1));
        assert_eq!(agreement.settings(&of(None), 1).temperature, Some(0.7));
    }
}
