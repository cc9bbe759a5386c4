//! Sorts tickets: by rules where they are sure, else by a model.
//!
//! Offline: the model's answers are those of the log. With `CASCADE_BASE_URL` set, the server there is asked.
#![expect(clippy::print_stdout, reason = "a program for people")]

mod rules;

use cascade_sdk::log::LogFiles;
use cascade_sdk::money::Usd;
use cascade_sdk::{Error, Request, Routed, client, route};
use rules::Rules;
use std::path::Path;

/// Everything this program asks of language models.
#[client("cascade.toml")]
pub struct Llm;

/// The queue of a ticket.
#[route(Llm::sort)]
async fn sort(llm: &Llm, id: &str, ticket: &str) -> Result<Routed<String, SortTier>, Error> {
    Request::new(ticket).with_id(id)
}

/// A client whose provider `rules` is our own.
fn client() -> Result<Llm, Error> {
    let builder = Llm::builder().provider("rules", Rules);
    match std::env::var("CASCADE_BASE_URL") {
        Ok(url) => builder.base_url(url).build(),
        Err(_) => builder.replay_own_logs().build(),
    }
}

/// What all tickets of the log came to.
#[derive(Debug, Default)]
struct Totals {
    tickets: usize,
    by_rules: usize,
    right: f64,
    cost: Usd,
}

/// Sorts every ticket of the log.
async fn sort_all(llm: &Llm) -> Result<Totals, Box<dyn std::error::Error>> {
    let files = LogFiles::find(Path::new(env!("CARGO_MANIFEST_DIR")), &["evals/tickets.jsonl".to_owned()]);
    let log =
        files.read(&cascade_sdk::log::ReadOptions::default()).map_err(|found| format!("{found:?}"))?.log;
    let mut totals = Totals::default();
    for (row, ticket) in log.rows.iter().enumerate() {
        let routed = sort(llm, &ticket.id, ticket.text.as_deref().unwrap_or_default()).await?;
        totals.tickets += 1;
        totals.by_rules += usize::from(routed.tier == SortTier::Rules);
        totals.right += log.tier(tier_name(routed.tier)).map_or(0.0, |tier| tier.quality[row]);
        totals.cost = totals.cost.saturating_add(routed.cost());
    }
    Ok(totals)
}

fn tier_name(tier: SortTier) -> &'static str {
    cascade_sdk::TierName::name(tier)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let totals = sort_all(&client()?).await?;
    println!(
        "{} tickets, {} of them by rules; {:.1} % right, ${}",
        totals.tickets,
        totals.by_rules,
        100.0 * totals.right / totals.tickets as f64,
        totals.cost
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sure_rules_answer_and_the_model_does_the_rest() {
        let totals = sort_all(&client().unwrap()).await.unwrap();
        assert_eq!((totals.tickets, totals.by_rules), (140, 12));
        assert!(totals.right / 140.0 > 0.8, "{totals:?}");
        assert!(totals.cost > Usd::ZERO);
    }

    #[tokio::test]
    async fn the_rules_say_what_the_log_has_of_them() {
        let llm = client().unwrap();
        let files =
            LogFiles::find(Path::new(env!("CARGO_MANIFEST_DIR")), &["evals/tickets.jsonl".to_owned()]);
        let log = files.read(&cascade_sdk::log::ReadOptions::default()).unwrap().log;
        let replayed = Llm::builder().replay_own_logs().build().unwrap();
        for ticket in &log.rows {
            let text = ticket.text.as_deref().unwrap();
            let request = || Request::new(text).with_id(&*ticket.id);
            let now = llm.sort(request()).with_tier(SortTier::Rules).await.unwrap();
            let then = replayed.sort(request()).with_tier(SortTier::Rules).await.unwrap();
            assert_eq!(now.answer, then.answer, "{}", ticket.id);
            assert_eq!(now.path[0].signals, then.path[0].signals, "{}", ticket.id);
        }
    }
}
