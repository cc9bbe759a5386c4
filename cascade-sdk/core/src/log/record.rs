//! One row as a plain struct: what JSON Lines, CSV and `cascade collect` exchange.

use crate::money::Usd;
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A row of an eval log. Writing it yields the keys in the order of the fields; what is `None` or empty is left out,
/// except `signals`, which says that there are none.
///
/// The lifetime is that of the line it was read from; rows that are made rather than read are `RowRecord<'static>`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RowRecord<'a> {
    /// Unique name.
    pub id: Cow<'a, str>,
    /// Text of the prompt; either this or `messages`, or neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Cow<'a, str>>,
    /// Chat messages, as JSON: an array of `{"role": …, "content": …}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<RawJson<'a>>,
    /// `calibration` or `test`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<Cow<'a, str>>,
    /// Rows that belong together share it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Cow<'a, str>>,
    /// Positive weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// Probability with which a production request became a row, in (0, 1]: divides the weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling_probability: Option<f64>,
    /// Numbers the application knows.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub features: BTreeMap<Cow<'a, str>, Option<f64>>,
    /// Labels the application knows.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<Cow<'a, str>, Option<Cow<'a, str>>>,
    /// Embedding of the routing text, as JSON: an array of numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding: Option<RawJson<'a>>,
    /// What made it; checked against the route's own model where both are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding_model: Option<Cow<'a, str>>,
    /// What making it cost.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "dollars")]
    pub embedding_cost_usd: Option<Usd>,
    /// How long the call took that made it, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding_latency_ms: Option<f64>,
    /// Conversation the row is part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Cow<'a, str>>,
    /// Position in the conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<u64>,
    /// What a grader compared the outputs with, as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<RawJson<'a>>,
    /// Results by tier.
    pub results: BTreeMap<Cow<'a, str>, ResultRecord<'a>>,
    /// Keys that this version does not know, as JSON; kept so that rewriting a log loses nothing.
    #[serde(flatten)]
    pub unknown: BTreeMap<Cow<'a, str>, RawJson<'a>>,
}

/// What one tier returned for a row.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ResultRecord<'a> {
    /// Quality in [0, 1]; may be absent where `error` is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<f64>,
    /// Cost of the call without the costs of signals.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "dollars")]
    pub cost_usd: Option<Usd>,
    /// All input tokens, cached ones included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Input tokens read from the provider's cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_input_tokens: Option<u64>,
    /// Input tokens written to the provider's cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_tokens: Option<u64>,
    /// All output tokens, hidden reasoning included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// Hidden reasoning tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_tokens: Option<u64>,
    /// Wall-clock time in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    /// Signals by name; `None` is missing.
    pub signals: BTreeMap<Cow<'a, str>, Option<f64>>,
    /// Price of signals that need an extra call.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", serialize_with = "dollars_by_name")]
    pub signal_cost_usd: BTreeMap<Cow<'a, str>, Option<Usd>>,
    /// What the model returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Cow<'a, str>>,
    /// Log-probabilities of the output's tokens, as JSON: an array of numbers, or of objects with `logprob` and,
    /// optionally, `token`, `bytes` and `top_logprobs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_logprobs: Option<RawJson<'a>>,
    /// Who graded the output: `exact`, `contains`, … or [`super::judge_name`] for a model's judgement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graded_by: Option<Cow<'a, str>>,
    /// The model that the provider says it served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served_model: Option<Cow<'a, str>>,
    /// Why the model stopped, where it was not simply done: `length` for an answer cut off at the tier's limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish: Option<Cow<'a, str>>,
    /// Fingerprint of model, request table and schema under which the request was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_hash: Option<Cow<'a, str>>,
    /// Why the call failed: `timeout`, `refused`, `too_long` and the like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Cow<'a, str>>,
    /// Keys that this version does not know, as JSON.
    #[serde(flatten)]
    pub unknown: BTreeMap<Cow<'a, str>, RawJson<'a>>,
}

impl RowRecord<'_> {
    /// A row of that name without results.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: Cow::Owned(id.into()), ..Self::default() }
    }

    /// The text that routers read of the row: `input`, or the user and tool texts of `messages`. `None` without either.
    pub fn routing_text(&self) -> Option<Cow<'_, str>> {
        if let Some(input) = &self.input {
            return Some(Cow::Borrowed(input));
        }
        super::nested::messages_text(self.messages.as_ref()?.get()).ok().map(Cow::Owned)
    }

    /// The same row on its own, apart from the line it was read from.
    pub fn into_owned(self) -> RowRecord<'static> {
        RowRecord {
            id: owned(self.id),
            input: self.input.map(owned),
            messages: self.messages.map(RawJson::into_owned),
            split: self.split.map(owned),
            group: self.group.map(owned),
            weight: self.weight,
            sampling_probability: self.sampling_probability,
            features: owned_keys(self.features, |value| value),
            tags: owned_keys(self.tags, |value| value.map(owned)),
            embedding: self.embedding.map(RawJson::into_owned),
            embedding_model: self.embedding_model.map(owned),
            embedding_cost_usd: self.embedding_cost_usd,
            embedding_latency_ms: self.embedding_latency_ms,
            session: self.session.map(owned),
            turn: self.turn,
            reference: self.reference.map(RawJson::into_owned),
            results: owned_keys(self.results, ResultRecord::into_owned),
            unknown: owned_keys(self.unknown, RawJson::into_owned),
        }
    }
}

impl ResultRecord<'_> {
    /// The same result on its own, apart from the line it was read from.
    pub fn into_owned(self) -> ResultRecord<'static> {
        ResultRecord {
            quality: self.quality,
            cost_usd: self.cost_usd,
            input_tokens: self.input_tokens,
            cached_input_tokens: self.cached_input_tokens,
            cache_write_tokens: self.cache_write_tokens,
            output_tokens: self.output_tokens,
            reasoning_tokens: self.reasoning_tokens,
            latency_ms: self.latency_ms,
            signals: owned_keys(self.signals, |value| value),
            signal_cost_usd: owned_keys(self.signal_cost_usd, |value| value),
            output: self.output.map(owned),
            token_logprobs: self.token_logprobs.map(RawJson::into_owned),
            graded_by: self.graded_by.map(owned),
            served_model: self.served_model.map(owned),
            finish: self.finish.map(owned),
            request_hash: self.request_hash.map(owned),
            error: self.error.map(owned),
            unknown: owned_keys(self.unknown, RawJson::into_owned),
        }
    }
}

fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

fn owned_keys<V, W>(
    map: BTreeMap<Cow<'_, str>, V>,
    value: impl Fn(V) -> W,
) -> BTreeMap<Cow<'static, str>, W> {
    map.into_iter().map(|(name, old)| (owned(name), value(old))).collect()
}

/// A piece of valid JSON that is passed through as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawJson<'a>(Cow<'a, str>);

impl<'a> RawJson<'a> {
    /// The JSON of a value.
    ///
    /// # Errors
    /// If the value cannot be JSON (a map whose keys are not strings).
    pub fn of(value: &impl Serialize) -> Result<RawJson<'static>, serde_json::Error> {
        serde_json::to_string(value).map(|text| RawJson(Cow::Owned(text)))
    }

    /// A JSON text as it stands in a cell of CSV; `None` if it is no JSON.
    pub(super) fn parse(text: &str) -> Option<RawJson<'static>> {
        let raw: Box<serde_json::value::RawValue> = serde_json::from_str(text).ok()?;
        Some(RawJson(Cow::Owned(raw.get().to_owned())))
    }

    pub(super) fn from_raw(raw: &'a serde_json::value::RawValue) -> Self {
        Self(Cow::Borrowed(raw.get()))
    }

    fn into_owned(self) -> RawJson<'static> {
        RawJson(owned(self.0))
    }

    /// Its text.
    pub fn get(&self) -> &str {
        &self.0
    }

    /// True for `null`.
    pub fn is_null(&self) -> bool {
        self.0 == "null"
    }
}

impl Serialize for RawJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &serde_json::value::RawValue =
            serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// Dollars as a JSON number, which reads back as the same amount.
#[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
fn dollars<S: Serializer>(amount: &Option<Usd>, serializer: S) -> Result<S::Ok, S::Error> {
    amount.map(Usd::to_f64).serialize(serializer)
}

fn dollars_by_name<S: Serializer>(
    amounts: &BTreeMap<Cow<'_, str>, Option<Usd>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(amounts.iter().map(|(name, amount)| (name, amount.map(Usd::to_f64))))
}
