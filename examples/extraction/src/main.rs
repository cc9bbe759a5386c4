//! Reads orders out of messages, as a type of this program.
//!
//! Offline: the answers are those of the log. With `CASCADE_BASE_URL` set, the server there is asked.
#![expect(clippy::print_stdout, reason = "a program for people")]

use cascade_sdk::log::{EvalLog, LogFiles, ReadOptions};
use cascade_sdk::{Error, Request, Routed, TierName, client, route};
use extraction::{Order, StandsInMessage};
use std::path::Path;

/// Everything this program asks of language models.
#[client("cascade.toml")]
pub struct Llm;

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
    let builder = Llm::builder().verifier("stands_in_message", StandsInMessage);
    let llm = if online { builder.overrides_from_env() } else { builder.replay_own_logs() }.build()?;
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
    use cascade_sdk::provider::{Reply, Scripted};
    use cascade_sdk::signal::{Candidate, Verifier as _};

    const ORDER: &str = r#"{"city":"Oslo","item":"tent","quantity":4}"#;

    fn scripted(script: &Scripted) -> Llm {
        let builder = Llm::builder().verifier("stands_in_message", StandsInMessage);
        let builder = builder.provider("small-server", script.clone());
        builder.provider("large-server", script.clone()).build().unwrap()
    }

    /// An answer of which the model itself is as sure as any in the log.
    fn sure(text: &str) -> Reply {
        let signals = [
            ("mean_logprob", -0.44),
            ("mean_margin", 0.9),
            ("mean_negentropy", 0.9),
            ("min_logprob", -7.7),
            ("min_negentropy", 0.3),
            ("sequence_logprob", -11.0),
        ];
        signals.into_iter().fold(Reply::text(text), |reply, (name, value)| reply.with_signal(name, value))
    }

    #[tokio::test]
    async fn what_stands_in_the_message_is_kept_and_anything_else_is_asked_again() {
        for (quantity, tier) in [(4, ExtractTier::Small), (5, ExtractTier::Large)] {
            let small = format!(r#"{{"city":"Oslo","item":"tent","quantity":{quantity}}}"#);
            let script = Scripted::new().reply("small", sure(&small)).reply("large", ORDER);
            let routed = extract(&scripted(&script), "m-1", "Four tents to Oslo.").await.unwrap();
            assert_eq!((routed.tier, routed.answer.quantity), (tier, 4), "{quantity}");
        }
    }

    #[tokio::test]
    async fn without_its_verifier_there_is_no_client() {
        let script = Scripted::new();
        let builder = Llm::builder().provider("small-server", script.clone());
        let error = builder.provider("large-server", script).build().unwrap_err();
        assert!(error.is_config() && error.to_string().contains("stands_in_message"), "{error}");
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
    async fn the_log_holds_what_the_verifier_says() {
        let log = read_log().unwrap();
        let small = log.tier("small").unwrap();
        let logged = &small.signals["stands_in_message"];
        assert!(logged.cost.iter().all(|cost| *cost == cascade_sdk::money::Usd::ZERO));
        for (row, message) in log.rows.iter().enumerate() {
            let text = small.output.get(row).unwrap().as_deref().unwrap().to_owned();
            let value = serde_json::from_str(&text).unwrap();
            let request = Request::new(message.text.as_deref().unwrap());
            let value =
                StandsInMessage.verify(&Candidate::new("extract", "small", request, text, value)).await;
            assert!((value.unwrap() - logged.value[row]).abs() < 1e-12, "{}", message.id);
        }
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
