//! Reads orders out of messages, as a type of this program.
//!
//! Offline: the answers are those of the log. With `CASCADE_BASE_URL` set, the server there is asked.
#![expect(clippy::print_stdout, reason = "a program for people")]

use cascade_sdk::log::{EvalLog, LogFiles, ReadOptions};
use cascade_sdk::{Error, Request, Routed, TierName, client, route};
use std::path::Path;

/// Everything this program asks of language models.
#[client("cascade.toml")]
pub struct Llm;

// What a customer wants. `schemas/order.json` describes the same type; a route fitted on answers of another form refuses to
// work. This is no documentation comment: that would be a part of the schema.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, schemars::JsonSchema)]
struct Order {
    city: String,
    item: String,
    quantity: u32,
}

/// The order in a message.
#[route(Llm::extract)]
async fn extract(llm: &Llm, id: &str, message: &str) -> Result<Routed<Order, ExtractTier>, Error> {
    Request::new(message).with_id(id)
}

fn read_log() -> Result<EvalLog, String> {
    let files = LogFiles::find(Path::new(env!("CARGO_MANIFEST_DIR")), &["evals/orders.jsonl".to_owned()]);
    let reading = files.read(&ReadOptions::default()).map_err(|findings| format!("{findings:?}"))?;
    Ok(reading.log)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let online = std::env::var_os("CASCADE_BASE_URL").is_some();
    let llm = if online { Llm::from_env()? } else { Llm::builder().replay_own_logs().build()? };
    for row in read_log()?.rows.iter().step_by(9) {
        let message = row.text.as_deref().unwrap_or_default();
        println!("{}", message.lines().last().unwrap_or_default());
        match extract(&llm, &row.id, message).await {
            Ok(routed) => {
                let Order { city, item, quantity } = &routed.answer;
                println!(
                    "  {quantity} × {item} to {city}, says {} for ${}",
                    routed.tier.name(),
                    routed.cost()
                );
            }
            Err(error) if error.is_answer() => println!("  no order: {error}; that cost ${}", error.spent()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cascade_sdk::provider::Scripted;

    const ORDER: &str = r#"{"city":"Oslo","item":"tent","quantity":4}"#;

    fn scripted(script: &Scripted) -> Llm {
        let builder = Llm::builder().provider("small-server", script.clone());
        builder.provider("large-server", script.clone()).build().unwrap()
    }

    #[tokio::test]
    async fn what_does_not_parse_escalates_and_is_paid() {
        let script = Scripted::new().reply("small", "four tents").reply("large", ORDER);
        let routed = extract(&scripted(&script), "m-1", "Four tents to Oslo.").await.unwrap();
        assert_eq!(routed.answer, Order { city: "Oslo".into(), item: "tent".into(), quantity: 4 });
        assert_eq!((routed.tier, routed.path.len()), (ExtractTier::Large, 2));
        assert!(routed.path[0].failure.is_some() && routed.cost() > routed.path[1].total_cost());
    }

    #[tokio::test]
    async fn an_answer_that_nobody_can_read_is_an_error_with_its_cost() {
        let script = Scripted::new().reply("small", "?").reply("large", r#"{"city":"Oslo"}"#);
        let error = extract(&scripted(&script), "m-1", "Four tents to Oslo.").await.unwrap_err();
        assert!(error.is_answer() && error.spent() > cascade_sdk::money::Usd::ZERO, "{error:?}");
    }

    #[tokio::test]
    async fn the_policy_reads_most_orders_of_the_log_right() {
        let llm = Llm::builder().replay_own_logs().build().unwrap();
        let log = read_log().unwrap();
        let mut right = 0.0;
        for (row, message) in log.rows.iter().enumerate() {
            let routed = extract(&llm, &message.id, message.text.as_deref().unwrap()).await;
            let tier = routed.ok().and_then(|routed| log.tier(routed.tier.name()));
            right += tier.map_or(0.0, |tier| tier.quality[row]);
        }
        let best = log.tiers.iter().map(|tier| tier.quality.iter().sum::<f64>()).fold(0.0, f64::max);
        // A fifth cheaper than the better model, it may lose some of its quality.
        assert!(
            right >= best - 0.15 * log.rows.len() as f64,
            "{right} of {}, best model {best}",
            log.rows.len()
        );
    }
}
