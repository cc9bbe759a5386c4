//! Token log-probabilities and chat messages as they stand in a log.

use super::parse::{Fault, mend_surrogates};
use crate::prompt::{Role, routing_text};
use crate::signal::TokenLogprob;
use serde_json::Value;

/// The tokens of `token_logprobs`: an array of numbers, or of objects as OpenAI-compatible servers return them.
pub(super) fn tokens(json: &str) -> Result<Vec<TokenLogprob>, Fault> {
    let fault = |message: String| Fault::new("log::type", "token_logprobs", message);
    let Value::Array(entries) = parse(json, "token_logprobs")? else {
        return Err(fault("should be an array".to_owned()));
    };
    entries
        .iter()
        .enumerate()
        .map(|(index, entry)| {
            token(entry).ok_or_else(|| {
                fault(format!("has entry {index} that is neither a number nor an object with `logprob`"))
            })
        })
        .collect()
}

fn token(entry: &Value) -> Option<TokenLogprob> {
    let logprob = match entry {
        Value::Null => f64::NAN,
        Value::Number(number) => number.as_f64()?,
        Value::Object(members) => match members.get("logprob")? {
            Value::Null => f64::NAN,
            value => value.as_f64()?,
        },
        _ => return None,
    };
    let alternatives = match entry.get("top_logprobs") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(alternatives)) => alternatives
            .iter()
            .map(|alternative| alternative.get("logprob").unwrap_or(alternative).as_f64())
            .collect::<Option<Vec<_>>>()?,
        Some(_) => return None,
    };
    Some(TokenLogprob { bytes: token_bytes(entry), logprob, alternatives })
}

/// `bytes` where given, for tokens that are parts of characters; else the token's text.
fn token_bytes(entry: &Value) -> Option<Box<[u8]>> {
    if let Some(Value::Array(bytes)) = entry.get("bytes") {
        return bytes.iter().map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok())).collect();
    }
    Some(entry.get("token")?.as_str()?.as_bytes().into())
}

/// An array of finite numbers in single precision.
#[expect(clippy::cast_possible_truncation, reason = "vectors are kept in single precision")]
pub(super) fn numbers(json: &str, key: &str) -> Result<Vec<f32>, Fault> {
    let fault = |message: String| Fault::new("log::type", key, message);
    if let Ok(values) = serde_json::from_str::<Vec<f64>>(json) {
        let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
        return match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(fault(format!("has entry {at} that is too large"))),
            None => Ok(values),
        };
    }
    let Value::Array(entries) = parse(json, key)? else {
        return Err(fault("should be an array of numbers".to_owned()));
    };
    let at = entries.iter().position(|entry| !entry.is_number()).unwrap_or_default();
    Err(fault(format!("has entry {at} that is no number")))
}

/// The routing text of chat `messages`.
///
/// `content` is a string, null, or an array of parts, of which those with `text` count, and tool results with their own
/// `content`.
pub(super) fn messages_text(json: &str) -> Result<String, Fault> {
    let fault = |message: String| Fault::new("log::type", "messages", message);
    let Value::Array(messages) = parse(json, "messages")? else {
        return Err(fault("should be an array of messages".to_owned()));
    };
    text_of(&messages).map_err(fault)
}

/// The same of parsed messages; else what is wrong with them, without their text.
pub(crate) fn text_of(messages: &[Value]) -> Result<String, String> {
    let mut parts = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let role = message.get("role").and_then(Value::as_str).and_then(Role::parse);
        let Some(role) = role else {
            return Err(format!("has message {index} without a known `role`"));
        };
        let understood =
            message.get("content").is_none_or(|content| content_parts(content, role, &mut parts));
        if !understood {
            return Err(format!("has message {index} whose `content` is neither text nor an array of parts"));
        }
    }
    Ok(routing_text(parts).into_owned())
}

fn content_parts<'v>(content: &'v Value, role: Role, parts: &mut Vec<(Role, &'v str)>) -> bool {
    match content {
        Value::Null => true,
        Value::String(text) => {
            parts.push((role, text));
            true
        }
        Value::Array(items) => items.iter().all(|item| match item {
            Value::String(text) => {
                parts.push((role, text));
                true
            }
            Value::Object(part) => {
                if let Some(Value::String(text)) = part.get("text") {
                    parts.push((role, text));
                }
                // Results of tools come as parts of a user message in some wire formats.
                part.get("content").is_none_or(|content| content_parts(content, Role::Tool, parts))
            }
            _ => false,
        }),
        _ => false,
    }
}

fn parse(json: &str, key: &str) -> Result<Value, Fault> {
    let parsed = match serde_json::from_str(json) {
        Err(_) if let Some(mended) = mend_surrogates(json) => serde_json::from_str(&mended),
        parsed => parsed,
    };
    parsed.map_err(|_| Fault::new("log::json", key, "is not valid JSON"))
}
