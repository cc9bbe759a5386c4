//! The generated client against real models: docs/benchmarks.md says how to serve them.
//!
//! ```sh
//! cargo test -p cascade-real -- --ignored --nocapture --test-threads 1
//! ```
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]
#![allow(clippy::print_stdout, reason = "what is measured is shown")]

mod early;
mod ledger;
mod plans;

use cascade_sdk::money::{Usage, Usd};
use cascade_sdk::{AnswerStream, Error, Routed, StreamEvent, TierName, client};
use ledger::Counting;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[client("cascade.toml")]
struct Llm;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Team {
    Billing,
    Technical,
    Sales,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
struct Note {
    answer: String,
    explanation: String,
}

/// Tokens and money of each tier, as the test itself counts them.
#[derive(Debug, Default)]
struct Tally {
    requests: u64,
    tiers: BTreeMap<&'static str, Usage>,
    cost: Usd,
}

/// US dollars · 10⁻¹² for a token of input, of cached input and of output: the prices of `cascade.toml`, per million.
fn price(tier: &str) -> [i64; 3] {
    match tier {
        "tiny" => [10_003, 2_501, 40_007],
        "small" => [100_013, 25_003, 400_009],
        _ => [2_000_017, 500_021, 8_000_033],
    }
}

/// Tokens × price, in integers.
fn tokens_times_price(tier: &str, usage: &Usage) -> Usd {
    let [input, cached, output] = price(tier);
    let count = |tokens: u64| i64::try_from(tokens).unwrap();
    let fresh = count(usage.input_tokens) - count(usage.cached_input_tokens);
    Usd::from_pico(
        fresh * input + count(usage.cached_input_tokens) * cached + count(usage.output_tokens) * output,
    )
}

impl Tally {
    /// Counts a request that came to its end at every tier; each must cost its tokens times their price to the last unit.
    fn add<T, Tier: TierName>(&mut self, routed: &Routed<T, Tier>) {
        let mut cost = Usd::ZERO;
        for step in &routed.path {
            let (name, usage) = (step.tier.name(), step.usage.unwrap());
            assert!(usage.input_tokens > 5 && usage.output_tokens > 0, "{usage:?}");
            assert!(step.retries.is_empty(), "{name}: {:?}", step.retries);
            assert_eq!((step.cost, step.estimated), (tokens_times_price(name, &usage), Usd::ZERO), "{name}");
            cost = cost.checked_add(step.cost).unwrap();
            let sum = self.tiers.entry(name).or_default();
            sum.input_tokens += usage.input_tokens;
            sum.cached_input_tokens += usage.cached_input_tokens;
            sum.output_tokens += usage.output_tokens;
        }
        assert_eq!(routed.cost(), cost);
        self.cost = self.cost.checked_add(cost).unwrap();
        self.requests += 1;
    }

    /// The sums of tokens times the price come to the same.
    fn check(&self) {
        let of_tiers = self.tiers.iter().map(|(tier, usage)| tokens_times_price(tier, usage));
        let total = of_tiers.fold(Usd::ZERO, |sum, cost| sum.checked_add(cost).unwrap());
        assert_eq!(total, self.cost);
    }
}

fn llm(store: &Counting, log: &Path) -> Llm {
    Llm::builder().budget_store(store.clone()).decision_log(log).build().unwrap()
}

/// Everything that a stream shows, and what it ends with; `Finished` or an error is the last event.
async fn drained<Tier: TierName, T>(
    mut stream: AnswerStream<Tier, T>,
) -> (String, Vec<StreamEvent<Tier>>, Result<Routed<T, Tier>, Error>) {
    let (mut shown, mut events) = (String::new(), Vec::new());
    while let Some(event) = stream.next().await {
        match event {
            Ok(StreamEvent::Delta(text)) => shown.push_str(&text),
            Ok(StreamEvent::Started { tier }) => events.push(StreamEvent::Started { tier }),
            Ok(StreamEvent::Escalated { from, to, why }) => {
                assert!(shown.is_empty(), "shown and then taken back");
                events.push(StreamEvent::Escalated { from, to, why });
            }
            Ok(StreamEvent::Finished(routed)) => {
                assert!(stream.next().await.is_none());
                return (shown, events, Ok(routed));
            }
            Ok(_) => {}
            Err(error) => {
                assert!(stream.next().await.is_none());
                return (shown, events, Err(error));
            }
        }
    }
    panic!("a stream without an end")
}

/// The tokens that the server at a port has generated since it started, by its own count.
async fn generated(port: u16) -> u64 {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let count = text.lines().find_map(|line| line.strip_prefix("llamacpp:tokens_predicted_total "));
    count.unwrap().trim().parse().unwrap()
}

#[test]
fn the_schemas_beside_the_configuration_are_those_of_the_types() {
    assert_eq!(include_str!("../schemas/team.json"), cascade_sdk::AnswerSchema::of::<Team>().to_json());
    assert_eq!(include_str!("../schemas/note.json"), cascade_sdk::AnswerSchema::of::<Note>().to_json());
}
