//! One call of one model, before any wire format.

use super::{Capabilities, ProviderError, ProviderErrorKind};
use crate::answer::AnswerSchema;
use crate::money::Usd;
use crate::request::{Bound, Part, Request, Role};
use cascade_sdk_core::config::{Api, RequestSettings, Tier};
use serde_json::Value;
use std::borrow::Cow;
use std::time::Duration;

/// Time allowed for a call whose tier sets no `timeout_s`.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

/// More than any known chat template adds to one message, tool or part.
const TEMPLATE_TOKENS: u64 = 32;

/// No known tokenizer has a token of more bytes; the longest are runs of blanks.
const LONGEST_TOKEN: u64 = 128;

/// One call of one model: everything that shapes the bytes that are sent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ModelCall<'a> {
    /// The tier's name.
    pub tier: &'a str,
    /// The model as the provider calls it.
    pub model: &'a str,
    /// The route's system prompt, then the request's own, then the schema of the answer where the model cannot be held to
    /// it.
    pub system: Option<Cow<'a, str>>,
    /// The request: its messages, its tools, its id.
    pub request: &'a Request,
    /// Sampling temperature.
    pub temperature: Option<f64>,
    /// Alternatives asked for per token; `None` asks for no log-probabilities.
    pub top_logprobs: Option<u8>,
    /// Sampling seed.
    pub seed: Option<u64>,
    /// How much to reason before answering, in the api's word.
    pub reasoning_effort: Option<&'a str>,
    /// Form of the answer.
    pub schema: &'a AnswerSchema,
    /// Whether the model can be held to the schema; where it cannot, [`ModelCall::system`] asks for it.
    pub json_schema: bool,
    /// Longest output in tokens.
    pub max_output_tokens: Option<u64>,
    /// Longest wait for the whole answer.
    pub timeout: Duration,
    /// What the model takes beside text.
    takes: Takes,
}

#[derive(Clone, Copy, Debug)]
struct Takes {
    tools: bool,
    images: bool,
}

impl<'a> ModelCall<'a> {
    /// The call that asks `tier` this `request` on a route with these settings. `collect` and the client both make
    /// their calls here, so that a policy meets the requests it was fitted on.
    pub fn new(
        tier: &'a Tier,
        settings: &'a RequestSettings,
        schema: &'a AnswerSchema,
        request: &'a Request,
    ) -> Self {
        let texts = [settings.system.as_deref(), request.system.as_deref()];
        let texts = texts.into_iter().flatten().map(Cow::Borrowed);
        let asked = schema.in_words().filter(|_| !tier.json_schema).map(Cow::Owned);
        let system = paragraphs(texts.chain(asked));
        Self {
            tier: &tier.name,
            model: &tier.model,
            system,
            request,
            temperature: settings.temperature.filter(|_| tier.takes_temperature),
            top_logprobs: settings.top_logprobs.filter(|_| tier.log_probabilities),
            seed: settings.seed,
            reasoning_effort: tier.reasoning_effort.as_deref(),
            schema,
            json_schema: tier.json_schema,
            max_output_tokens: tier.max_output_tokens,
            timeout: tier.timeout.unwrap_or(DEFAULT_TIMEOUT),
            takes: Takes { tools: tier.tools, images: tier.images },
        }
    }

    /// The schema that the model is to be held to by the provider's own means.
    pub fn native_schema(&self) -> Option<&'a Value> {
        self.schema.sent().filter(|_| self.json_schema)
    }

    /// The system prompt with the schema in it, for an answer that the provider's own means cannot be held to.
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "only wire formats write requests"))]
    pub(super) fn system_with_schema(&self) -> Option<Cow<'a, str>> {
        let asked = self.schema.in_words().filter(|_| self.json_schema).map(Cow::Owned);
        paragraphs(self.system.clone().into_iter().chain(asked))
    }

    /// Why a provider of these capabilities and this api cannot be sent this call; for [`super::Provider::check`].
    ///
    /// # Errors
    /// [`ProviderErrorKind::Unsupported`] with the reason.
    pub fn check(&self, capabilities: Capabilities, api: Option<Api>) -> Result<(), ProviderError> {
        let refuse = |reason: &str| Err(ProviderError::new(ProviderErrorKind::Unsupported, reason));
        let has_tools = capabilities.tools && self.takes.tools;
        if !has_tools && !self.request.tools.is_empty() {
            return refuse("it cannot call tools, and the request defines some");
        }
        for tool in &self.request.tools {
            tool.check().or_else(|reason| refuse(&reason))?;
        }
        let mut known = Vec::new();
        for message in &self.request.messages {
            for part in &message.parts {
                match part {
                    Part::Image(_) if !(capabilities.images && self.takes.images) => {
                        return refuse("it takes no images, and the request holds one");
                    }
                    Part::Image(_) if !matches!(message.role, Role::User) => {
                        return refuse("images belong into messages of the user");
                    }
                    Part::Bound(bound) => readable(bound, api)?,
                    Part::ToolCall(call) => {
                        if message.role != Role::Assistant {
                            return refuse("tool calls belong into messages of the assistant");
                        }
                        if let Some(bound) = &call.bound {
                            readable(bound, api)?;
                        }
                        known.push(call.id.as_str());
                    }
                    Part::ToolResult(result) if !known.contains(&result.call_id.as_str()) => {
                        return refuse("a tool result answers a call that no earlier message makes");
                    }
                    Part::Text(_) if message.role == Role::Tool => {
                        return refuse("messages of tools hold tool results, made with `Message::tool`");
                    }
                    Part::Text(_) | Part::Image(_) | Part::ToolResult(_) => {}
                }
            }
        }
        Ok(())
    }

    /// The most that the call can cost at its tier's prices. Without a longest output only its input counts.
    ///
    /// # Errors
    /// In words, why there is no bound.
    pub fn worst_case(&self, tier: &Tier) -> Result<Usd, String> {
        self.worst_case_of(tier, 0)
    }

    /// The same if its input were so many bytes longer.
    pub(crate) fn worst_case_of(&self, tier: &Tier, longer: u64) -> Result<Usd, String> {
        let input = self.most_input(tier, longer).ok_or_else(|| {
            format!(
                "the tokens of an image are not known beforehand: set `max_input_tokens` under [tiers.{}] so that the budget can reserve for it",
                tier.name
            )
        })?;
        self.cost_of(tier, input)
    }

    /// The most that the call can cost as long as its input keeps to the tier's `max_input_tokens`: what certificates rest on.
    /// [`ModelCall::worst_case`] is the bound that budgets reserve, which a text cannot break.
    ///
    /// # Errors
    /// As [`ModelCall::worst_case`].
    pub(crate) fn most_allowed(&self, tier: &Tier) -> Result<Usd, String> {
        match (self.most_input(tier, 0), tier.max_input_tokens) {
            (Some(input), Some(limit)) => self.cost_of(tier, input.min(limit)),
            _ => self.worst_case(tier),
        }
    }

    fn cost_of(&self, tier: &Tier, input: u64) -> Result<Usd, String> {
        let output = self.max_output_tokens.unwrap_or(0);
        let cost = tier.price.worst_case(input, output);
        cost.map_err(|error| format!("the worst case of a call to tier `{}`: {error}", tier.name))
    }

    /// The most tokens that the input can have if it were so many bytes longer. Where not all of it can be measured, the tier's
    /// `max_input_tokens`, but not less than the rest has; `None` if the tier states none.
    pub(crate) fn most_input(&self, tier: &Tier, longer: u64) -> Option<u64> {
        let InputSize { bound, is_whole, .. } = self.input_size();
        let bound = bound.saturating_add(longer);
        if is_whole { Some(bound) } else { tier.max_input_tokens.map(|limit| limit.max(bound)) }
    }

    /// Refuses an input that is certainly longer than the tier's `max_input_tokens`: one whose text has more than 128 bytes for each
    /// of them. What a text really has is known once the provider has counted it.
    ///
    /// # Errors
    /// [`ProviderErrorKind::TooLarge`], as from a server that refuses it: nothing was sent, and another tier may take it.
    pub fn check_length(&self, tier: &Tier) -> Result<(), ProviderError> {
        let least = self.input_size().texts.div_ceil(LONGEST_TOKEN);
        match tier.max_input_tokens.filter(|most| least > *most) {
            None => Ok(()),
            Some(most) => {
                let message = format!(
                    "the input is too long: it has at least {least} tokens, and `max_input_tokens` under [tiers.{}] is {most}",
                    tier.name
                );
                Err(ProviderError::new(ProviderErrorKind::TooLarge, message))
            }
        }
    }

    /// No tokenizer makes more tokens of the input than this: its UTF-8 bytes, plus room for what chat templates add to each
    /// message. `None` with images, whose tokens depend on the model, and with parts that only the provider can read.
    pub fn input_bound(&self) -> Option<u64> {
        let InputSize { bound, is_whole, .. } = self.input_size();
        is_whole.then_some(bound)
    }

    fn input_size(&self) -> InputSize {
        let mut size = InputSize { texts: 0, bound: 0, is_whole: true };
        size.add_part(&[]);
        if let Some(system) = &self.system {
            size.add_part(&[system.len()]);
        }
        for message in &self.request.messages {
            size.add_part(&[]);
            for part in &message.parts {
                match part {
                    Part::Text(text) => size.add(text.len()),
                    Part::ToolCall(call) if call.bound.is_none() => {
                        size.add_part(&[call.id.len(), call.name.len(), call.arguments.to_string().len()]);
                    }
                    Part::ToolResult(result) => {
                        size.add_part(&[result.call_id.len(), result.name.len(), result.content.len()]);
                    }
                    Part::Image(_) | Part::ToolCall(_) | Part::Bound(_) => size.is_whole = false,
                }
            }
        }
        for tool in &self.request.tools {
            size.add_part(&[tool.name.len(), tool.description.len(), tool.parameters.to_string().len()]);
        }
        // Servers without grammar support paste the schema into the prompt, and so does a format that cannot express it; others do
        // not, so it is no text that certainly counts.
        if let Some(words) = self.schema.in_words().filter(|_| self.json_schema) {
            let texts = size.texts;
            size.add_part(&[words.len()]);
            size.texts = texts;
        }
        size
    }
}

/// How long the input of a call is.
struct InputSize {
    /// Bytes of text that the model certainly reads.
    texts: u64,
    /// Most tokens of all that can be measured.
    bound: u64,
    /// Whether that is all there is.
    is_whole: bool,
}

impl InputSize {
    fn add(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.texts = self.texts.saturating_add(bytes);
        self.bound = self.bound.saturating_add(bytes);
    }

    /// A message, tool or part that a template frames.
    fn add_part(&mut self, texts: &[usize]) {
        self.bound = self.bound.saturating_add(TEMPLATE_TOKENS);
        for bytes in texts {
            self.add(*bytes);
        }
    }
}

fn paragraphs<'t>(texts: impl IntoIterator<Item = Cow<'t, str>>) -> Option<Cow<'t, str>> {
    texts.into_iter().reduce(|all, next| Cow::Owned(format!("{all}\n\n{next}")))
}

fn readable(bound: &Bound, api: Option<Api>) -> Result<(), ProviderError> {
    if api.is_some_and(|api| api.name() == bound.api()) {
        return Ok(());
    }
    let message = format!(
        "the conversation holds parts that only the api `{}` can read: continue it with a tier of that api, or leave them out",
        bound.api()
    );
    Err(ProviderError::new(ProviderErrorKind::Unsupported, message))
}
