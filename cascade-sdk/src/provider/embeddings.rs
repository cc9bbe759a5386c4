//! The OpenAI embeddings format: texts to vectors, spoken by many servers.

use super::error::{ProviderError, SetupError};
use super::http::{HttpClient, HttpResponse};
use super::openai::error_of;
use super::{setup, wire};
use crate::client::retry;
use crate::money::Usd;
use cascade_sdk_core::config::{self, EmbeddingSettings};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// The `/embeddings` endpoint of a provider, with its address, key and headers.
#[derive(Clone, Debug)]
pub struct EmbeddingServer {
    http: HttpClient,
}

/// Texts to embed, as `[routes.ROUTE.embedding]` says. The client and `cascade embed` both make their calls here, so that a
/// policy meets the vectors that it was fitted on.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddingCall<'a> {
    settings: &'a EmbeddingSettings,
    texts: &'a [&'a str],
}

/// What a server made of some texts.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EmbeddingReply {
    /// A vector for each text, in their order.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens of all the texts, where the server counts them.
    pub tokens: Option<u64>,
}

/// What a call cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EmbeddingBill {
    /// In US dollars.
    pub cost: Usd,
    /// The part of it that is an upper bound, because the server does not say.
    pub estimated: Usd,
}

impl EmbeddingServer {
    /// The endpoint of a provider: reads its key from the environment through `env`, checks its URL, opens no connection yet.
    /// `base_url` replaces the provider's own, as in [`connect`](super::connect).
    ///
    /// # Errors
    /// [`SetupError`] if the key is missing, the URL unusable, or the wire format has no embeddings.
    pub fn connect(
        provider: &config::Provider,
        base_url: Option<&str>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, SetupError> {
        if !provider.api.gives_embeddings() {
            let (name, api) = (&provider.name, provider.api.name());
            let message =
                format!("provider `{name}`: the api `{api}` gives no embeddings that are read here");
            return Err(SetupError::new(message));
        }
        Ok(Self { http: setup::http(provider, base_url, env)? })
    }

    /// Asks for the vectors of some texts within the route's `timeout_s`, and again up to `max_retries` times where that may
    /// help and nothing was charged for.
    ///
    /// # Errors
    /// [`ProviderError`] if there are no vectors.
    pub async fn embed(
        &self,
        call: &EmbeddingCall<'_>,
        max_retries: u32,
    ) -> Result<EmbeddingReply, ProviderError> {
        let body = call.body().to_string().into_bytes();
        let started = Instant::now();
        let mut retries = 0;
        loop {
            let left = call.settings.timeout.saturating_sub(started.elapsed());
            let answered = self.http.post(&["embeddings"], body.clone(), left).await;
            let error = match answered.and_then(|answer| read(&answer, call.texts.len())) {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            // Only the cost of one call was set aside for it.
            let wait = retry::wait(&error, retries, max_retries, retry::random()).filter(|wait| {
                !error.may_have_been_charged() && started.elapsed() + *wait < call.settings.timeout
            });
            let Some(wait) = wait else { return Err(error) };
            retries += 1;
            sleep(wait).await;
        }
    }
}

impl<'a> EmbeddingCall<'a> {
    /// A call for these texts, none of which is empty: servers refuse those.
    pub fn new(settings: &'a EmbeddingSettings, texts: &'a [&'a str]) -> Self {
        Self { settings, texts }
    }

    /// The most that it can cost.
    pub fn most_cost(&self) -> Usd {
        let costs = self.texts.iter().map(|text| self.settings.most_cost(text.len()));
        costs.fold(Usd::ZERO, Usd::saturating_add)
    }

    /// What it cost: tokens × price where the server counts them, else the most that it can have been.
    pub fn bill(&self, result: &Result<EmbeddingReply, ProviderError>) -> EmbeddingBill {
        let guess = || EmbeddingBill { cost: self.most_cost(), estimated: self.most_cost() };
        match result {
            Err(error) if error.may_have_been_charged() => guess(),
            Err(_) => EmbeddingBill::default(),
            Ok(reply) => match reply.tokens.map(|tokens| self.settings.cost_of(tokens)) {
                Some(Some(cost)) => EmbeddingBill { cost, estimated: Usd::ZERO },
                // A price for each text, which needs no count of tokens.
                _ if self.settings.cost_of(0).is_none() => {
                    EmbeddingBill { cost: self.most_cost(), estimated: Usd::ZERO }
                }
                _ => guess(),
            },
        }
    }

    /// Numbers as JSON: `base64` is the default of some client libraries, never of a server.
    fn body(&self) -> Value {
        let input = match self.texts {
            [one] => json!(one),
            several => json!(several),
        };
        let mut body = json!({ "model": self.settings.model, "input": input, "encoding_format": "float" });
        if self.settings.served.as_ref().is_some_and(|served| served.send_dimensions) {
            body["dimensions"] = json!(self.settings.dimensions);
        }
        body
    }
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    data: Vec<Entry>,
    usage: Option<WireUsage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Entry {
    index: Option<usize>,
    embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct WireUsage {
    prompt_tokens: Option<u64>,
    total_tokens: Option<u64>,
}

fn read(answer: &HttpResponse, texts: usize) -> Result<EmbeddingReply, ProviderError> {
    if answer.status >= 300 {
        let body = wire::loose_json(answer);
        return Err(error_of(body.get("error").unwrap_or(&body), Some(answer.status), answer));
    }
    let mut reply: Reply = wire::read(answer, "a list of embeddings")?;
    if let Some(error) = reply.error.filter(|error| !error.is_null()) {
        // Gateways report an upstream's failure with status 200.
        return Err(error_of(&error, None, answer));
    }
    if reply.data.len() != texts {
        let what = format!("holds {} embeddings of {texts} texts", reply.data.len());
        return Err(wire::bad_body(answer.status, &what));
    }
    // Where the server numbers them, each number must be there once.
    if reply.data.iter().any(|entry| entry.index.is_some()) {
        reply.data.sort_by_key(|entry| entry.index);
        if reply.data.iter().enumerate().any(|(at, entry)| entry.index != Some(at)) {
            return Err(wire::bad_body(answer.status, "does not say which embedding is whose"));
        }
    }
    let tokens = reply.usage.and_then(|usage| usage.prompt_tokens.or(usage.total_tokens));
    Ok(EmbeddingReply { vectors: reply.data.into_iter().map(|entry| entry.embedding).collect(), tokens })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::ProviderErrorKind;
    use crate::provider::testing::answered;
    use cascade_sdk_core::config::ServedEmbedding;
    use cascade_sdk_core::money::TokenPrice;
    use std::time::Duration;

    fn settings(price: Option<&str>, send_dimensions: bool) -> EmbeddingSettings {
        EmbeddingSettings {
            model: "tiny".into(),
            dimensions: 2,
            cost: Usd::from_pico(5),
            timeout: Duration::from_secs(1),
            on_failure: None,
            served: Some(ServedEmbedding {
                provider: "p".into(),
                price: price.map(|price| TokenPrice::parse_per_million(price).unwrap()),
                send_dimensions,
            }),
            file: None,
        }
    }

    #[test]
    fn nothing_is_sent_that_was_not_asked_for() {
        let body = |settings: &EmbeddingSettings, texts: &[&str]| EmbeddingCall::new(settings, texts).body();
        assert_eq!(
            body(&settings(None, false), &["one"]),
            json!({"model": "tiny", "input": "one", "encoding_format": "float"})
        );
        assert_eq!(
            body(&settings(None, true), &["one", "two"]),
            json!({"model": "tiny", "input": ["one", "two"], "encoding_format": "float", "dimensions": 2})
        );
    }

    #[test]
    fn vectors_come_in_the_order_of_their_texts() {
        let body = r#"{"object":"list","model":"m","data":[
            {"object":"embedding","index":1,"embedding":[0.5,-1]},{"index":0,"embedding":[2e-3,0]}],
            "usage":{"prompt_tokens":7,"total_tokens":9}}"#;
        let reply = read(&answered(200, body), 2).unwrap();
        assert_eq!((reply.vectors, reply.tokens), (vec![vec![0.002, 0.0], vec![0.5, -1.0]], Some(7)));
        let bare =
            read(&answered(200, r#"{"data":[{"embedding":[1]}],"usage":{"total_tokens":3}}"#), 1).unwrap();
        assert_eq!((bare.vectors, bare.tokens), (vec![vec![1.0]], Some(3)));
    }

    #[test]
    fn what_is_no_answer_is_an_error_that_quotes_nothing() {
        for (status, body, kind) in [
            (200, r#"{"data":[{"index":0,"embedding":"AACAPw=="}]}"#, ProviderErrorKind::BadBody),
            (200, r#"{"data":[{"index":0,"embedding":[1,"secret"]}]}"#, ProviderErrorKind::BadBody),
            (200, r#"{"data":[]}"#, ProviderErrorKind::BadBody),
            (200, r#"{"data":[{"index":1,"embedding":[1]}]}"#, ProviderErrorKind::BadBody),
            (200, r#"{"data":[{"index":0,"embed"#, ProviderErrorKind::BadBody),
            (200, r#"[{"index":0,"embedding":[[1]]}]"#, ProviderErrorKind::BadBody),
            (200, r#"{"error":{"message":"secret","code":503}}"#, ProviderErrorKind::Status),
            (401, r#"{"error":{"message":"secret"}}"#, ProviderErrorKind::Auth),
            (500, "secret", ProviderErrorKind::Status),
        ] {
            let error = read(&answered(status, body), 1).unwrap_err();
            assert_eq!(
                (error.kind(), error.may_have_been_charged()),
                (kind, kind == ProviderErrorKind::BadBody),
                "{body}"
            );
            assert!(!format!("{error} {error:?}").contains("secret"));
        }
    }

    #[test]
    fn a_bill_is_tokens_times_price_or_the_most_that_it_can_be() {
        let texts = ["abcd", "ef"];
        let cost = |price, result| {
            let settings = settings(price, false);
            let bill = EmbeddingCall::new(&settings, &texts).bill(&result);
            (bill.cost.pico(), bill.estimated.pico())
        };
        let reply = |tokens| Ok(EmbeddingReply { vectors: Vec::new(), tokens });
        assert_eq!(cost(Some("0.020001"), reply(Some(7))), (7 * 20_001, 0));
        let most = (32 + 4 + 32 + 2) * 20_001;
        assert_eq!(cost(Some("0.020001"), reply(None)), (most, most));
        assert_eq!(cost(Some("0.020001"), Err(wire::bad_body(200, "is broken"))), (most, most));
        let refused = ProviderError::new(ProviderErrorKind::Status, "refused");
        assert_eq!(cost(Some("0.020001"), Err(refused)), (0, 0));
        assert_eq!(cost(None, reply(Some(7))), (10, 0), "a price for each text");
    }
}
