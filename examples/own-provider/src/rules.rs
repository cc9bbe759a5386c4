//! A provider that needs no model: it counts words.

use async_trait::async_trait;
use cascade_sdk::money::{Usage, Usd};
use cascade_sdk::provider::{Capabilities, ModelCall, Provider, ProviderError, Response};
use std::time::Duration;

/// Words that speak for each queue.
const WORDS: [(&str, &[&str]); 5] = [
    (
        "billing",
        &["charge", "invoice", "bill", "payment", "price", "card", "vat", "discount", "subscription"],
    ),
    ("shipping", &["parcel", "deliver", "tracking", "courier", "shipped", "arriv", "package", "address"]),
    (
        "account",
        &[
            "password",
            "log in",
            "login",
            "profile",
            "e-mail",
            "account",
            "username",
            "sign in",
            "personal data",
        ],
    ),
    (
        "technical",
        &[
            "error", "crash", "broken", "does not", "doesn't", "won't", "screen", "setup", "install",
            "connect", "blink", "battery",
        ],
    ),
    ("refund", &["refund", "money back", "return", "send back", "sending back", "sent back"]),
];

/// Sorts a message by the words in it. Its signal `rule_margin` is by how many words the best queue is ahead of the
/// second: 0 is a guess.
#[derive(Debug)]
pub(crate) struct Rules;

impl Rules {
    /// The queue of a prompt's message, and the margin.
    pub(crate) fn sort(prompt: &str) -> (&'static str, usize) {
        let message = prompt.rsplit("Message:").next().unwrap_or(prompt);
        let message = message.split("\nQueue:").next().unwrap_or(message).to_lowercase();
        let count = |words: &[&str]| words.iter().filter(|word| message.contains(**word)).count();
        let (mut best, mut second) = (("billing", 0), 0);
        for (queue, words) in WORDS {
            let found = count(words);
            if found > best.1 {
                second = best.1;
                best = (queue, found);
            } else {
                second = second.max(found);
            }
        }
        (best.0, best.1 - second)
    }
}

#[async_trait]
impl Provider for Rules {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.own_signals = true;
        // A budget has nothing to reserve for it.
        capabilities.free = true;
        capabilities
    }

    async fn complete(&self, call: &ModelCall<'_>) -> Result<Response, ProviderError> {
        let (queue, margin) = Self::sort(&call.request.routing_text());
        let margin = f64::from(u32::try_from(margin).unwrap_or(u32::MAX));
        let mut response =
            Response::text(queue).with_usage(Usage::default()).with_signal("rule_margin", margin);
        response.cost = Some(Usd::ZERO);
        response.latency = Some(Duration::ZERO);
        Ok(response)
    }
}
