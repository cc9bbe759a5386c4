//! What the wire formats share: bodies that are not answers, errors in one wording.

use super::error::{ProviderError, ProviderErrorKind};
use super::http::HttpResponse;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;

/// The body of a successful answer. `name` completes `is not …`.
pub(super) fn read<T: DeserializeOwned>(answer: &HttpResponse, name: &str) -> Result<T, ProviderError> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        // serde's own text quotes the body.
        let what = if error.is_data() { name } else { "JSON" };
        let place = format!("is not {what} (line {}, column {})", error.line(), error.column());
        bad_body(answer.status, &place)
    })
}

/// An answer that was paid for and cannot be used. `what` completes `the server's answer …`.
pub(super) fn bad_body(status: u16, what: &str) -> ProviderError {
    ProviderError::new(ProviderErrorKind::BadBody, format!("the server's answer {what}"))
        .with_status(status)
        .after_sending()
}

/// A JSON body that may be none.
pub(super) fn loose_json(answer: &HttpResponse) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or(Value::Null)
}

/// An error as a server reports it, the parts that every wire format has.
#[derive(Debug, Default)]
pub(super) struct Fault<'a> {
    pub(super) status: u16,
    /// The server's name for it, made safe with [`word`].
    pub(super) name: Option<String>,
    /// Whether the input is too long for the model.
    pub(super) too_long: bool,
    /// Whether the key is refused, where the status does not say it.
    pub(super) bad_key: bool,
    /// Tokens of the input, and how many the model takes.
    pub(super) sizes: Option<(u64, u64)>,
    /// What the server wrote. It may quote the prompt.
    pub(super) detail: Option<&'a str>,
    pub(super) retry_after: Option<Duration>,
}

impl Fault<'_> {
    pub(super) fn into_error(self) -> ProviderError {
        let status = self.status;
        let name = self.name.map_or(String::new(), |name| format!(" ({name})"));
        let (kind, message) = match status {
            _ if self.too_long => {
                let sizes = self.sizes.map_or(String::new(), |(prompt, context)| {
                    format!(": {prompt} tokens, room for {context}")
                });
                (ProviderErrorKind::TooLarge, format!("the input is too long for the model{sizes}"))
            }
            413 => (ProviderErrorKind::TooLarge, "the server refuses a request of this size".to_owned()),
            _ if self.bad_key || matches!(status, 401 | 403) => (
                ProviderErrorKind::Auth,
                format!(
                    "the server refuses the key with status {status}{name}: check the provider's `api_key_env`"
                ),
            ),
            300..=399 => (
                ProviderErrorKind::Status,
                format!(
                    "the server redirects (status {status}), which is not followed: set `base_url` to the final address"
                ),
            ),
            404 => (
                ProviderErrorKind::Status,
                format!("the server answers 404{name}: check the provider's `base_url` and the `model`"),
            ),
            429 => (ProviderErrorKind::Status, format!("the server limits the rate (status 429){name}")),
            _ => (ProviderErrorKind::Status, format!("the server answers with status {status}{name}")),
        };
        let failed = ProviderError::new(kind, message).with_status(status).with_retry_after(self.retry_after);
        match self.detail {
            Some(detail) => failed.with_detail(detail),
            None => failed,
        }
    }
}

/// Longest word with digits: a status or a number of the server's own. Keys are longer.
const LONGEST_WITH_DIGITS: usize = 8;

/// A server's word, safe to show: a short identifier, never free text that could quote a prompt or a key. A key is of the same
/// letters as a name, but hardly without a digit.
pub(super) fn word(text: &str) -> String {
    let identifier = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let most = if text.contains(|c: char| c.is_ascii_digit()) { LONGEST_WITH_DIGITS } else { 64 };
    if text.len() <= most && text.chars().all(identifier) { text.to_owned() } else { "unnamed".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_a_name_and_neither_text_nor_key() {
        for name in ["rate_limit_error", "RESOURCE_EXHAUSTED", "DeploymentNotFound", "429", "E1234"] {
            assert_eq!(word(name), name);
        }
        for other in ["two words", "sk-proj-8fT3", "0123456789abcdef", "schlüssel", &"x".repeat(65)] {
            assert_eq!(word(other), "unnamed", "{other}");
        }
    }
}
