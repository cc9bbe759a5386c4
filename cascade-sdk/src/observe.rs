//! From a response to its signals. `collect` and the client both come here, so that a threshold fitted on one holds
//! for the other.

use crate::answer::AnswerSchema;
use crate::provider::Response;
use cascade_sdk_core::signal::{BuiltInValues, answer_span, built_in, built_in_of_span};
use std::collections::BTreeMap;

/// The signals of an answer by name, larger meaning more confident; missing ones are absent.
///
/// With a schema the log-probabilities cover the tokens of the value only: not the wrapper, and not a code fence that the
/// server listed but cut from the content. Where tokens and text cannot be aligned those signals are missing. Signals
/// that the provider itself knows come first.
pub fn signals(response: &Response, schema: &AnswerSchema) -> BTreeMap<String, f64> {
    let mut signals = response.signals.clone();
    let values = match &response.token_logprobs {
        Some(tokens) if schema.is_text() => built_in(tokens),
        Some(tokens) => {
            let span =
                if schema.is_wrapped() { answer_span(&response.text) } else { Some(0..response.text.len()) };
            span.map_or(BuiltInValues::MISSING, |span| built_in_of_span(tokens, &response.text, span))
        }
        None => BuiltInValues::MISSING,
    };
    for (signal, value) in values.iter() {
        if !value.is_nan() {
            signals.entry(signal.name().to_owned()).or_insert(value);
        }
    }
    signals
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::TokenLogprob;

    fn response(text: &str, tokens: &[(&str, f64)]) -> Response {
        let tokens = tokens.iter().map(|(token, logprob)| TokenLogprob {
            bytes: Some(token.as_bytes().into()),
            logprob: *logprob,
            alternatives: Vec::new(),
        });
        Response { token_logprobs: Some(tokens.collect()), ..Response::text(text) }
    }

    #[test]
    fn text_uses_every_token_and_json_the_value_s() {
        let choice = AnswerSchema::from_json(r#"{"type":"string","enum":["ab"]}"#).unwrap();
        let fenced = response(
            r#"{"answer":"ab"}"#,
            &[("```", -9.0), (r#"{"answer":""#, -1.0), ("ab", -0.25), (r#""}"#, -2.0)],
        );
        assert_eq!(signals(&fenced, &choice).get("mean_logprob"), Some(&-0.25));
        let object = AnswerSchema::from_json(r#"{"type":"object"}"#).unwrap();
        let whole = response("{}", &[("```", -9.0), ("{}", -0.5)]);
        assert_eq!(signals(&whole, &object).get("min_logprob"), Some(&-0.5));
        let plain = response("ab", &[("a", -0.5), ("b", -1.5)]);
        assert_eq!(signals(&plain, &AnswerSchema::TEXT).get("sequence_logprob"), Some(&-2.0));
        // No alternatives, no margin: absent, not zero.
        assert!(!signals(&plain, &AnswerSchema::TEXT).contains_key("mean_margin"));
    }

    #[test]
    fn the_provider_s_own_signals_win() {
        let own = response("a", &[("a", -0.5)]).with_signal("mean_logprob", -0.125).with_signal("judge", 0.5);
        let found = signals(&own, &AnswerSchema::TEXT);
        assert_eq!((found["mean_logprob"], found["judge"]), (-0.125, 0.5));
        assert!(signals(&Response::text("a"), &AnswerSchema::TEXT).is_empty());
    }
}
