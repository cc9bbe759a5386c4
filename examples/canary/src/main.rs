//! Answers every ticket of the log and shows which policy decided how many, at what price.
#![expect(clippy::print_stdout, reason = "a program for people")]

use cascade_sdk::log::{EvalLog, LogFiles, ReadOptions};
use cascade_sdk::money::Usd;
use cascade_sdk::{Request, TierName, client};
use std::collections::BTreeMap;
use std::path::Path;

/// Everything this program asks of language models.
#[client("cascade.toml")]
pub struct Llm;

/// What the requests of one policy came to.
#[derive(Clone, Debug, Default, PartialEq)]
struct Totals {
    requests: usize,
    right: f64,
    cost: Usd,
}

/// Answers every ticket; totals by the hash of the policy that decided.
async fn run(llm: &Llm) -> Result<BTreeMap<String, Totals>, Box<dyn std::error::Error>> {
    let log = read_log()?;
    let mut totals: BTreeMap<String, Totals> = BTreeMap::new();
    for (row, ticket) in log.rows.iter().enumerate() {
        let request = Request::new(ticket.text.as_deref().unwrap_or_default()).with_id(&*ticket.id);
        let routed = llm.sort(request).await?;
        let sum = totals.entry(routed.policy_hash.clone().unwrap_or_default()).or_default();
        sum.requests += 1;
        sum.right += log.tier(routed.tier.name()).map_or(0.0, |tier| tier.quality[row]);
        sum.cost = sum.cost.saturating_add(routed.cost());
    }
    Ok(totals)
}

fn read_log() -> Result<EvalLog, String> {
    let pattern = "../own-provider/evals/tickets.jsonl".to_owned();
    let files = LogFiles::find(Path::new(env!("CARGO_MANIFEST_DIR")), &[pattern]);
    let reading = files.read(&ReadOptions::default()).map_err(|findings| format!("{findings:?}"))?;
    Ok(reading.log)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let llm = Llm::builder().replay_own_logs().build()?;
    for (policy, sum) in run(&llm).await? {
        println!(
            "policy {}…: {} requests, {:.1} % right, ${}",
            policy.get(..8).unwrap_or_default(),
            sum.requests,
            100.0 * sum.right / sum.requests as f64,
            sum.cost
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cascade_sdk::PolicySource;
    use std::fs;

    fn llm() -> Llm {
        Llm::builder().replay_own_logs().build().unwrap()
    }

    #[tokio::test]
    async fn a_share_of_the_requests_is_decided_by_the_canary() {
        let totals = run(&llm()).await.unwrap();
        let requests: Vec<usize> = totals.values().map(|sum| sum.requests).collect();
        assert_eq!((requests.len(), requests.iter().sum::<usize>()), (2, 140));
        // A quarter of 140, give or take what hashing does.
        let canary = requests.iter().min().unwrap();
        assert!((20..50).contains(canary), "{requests:?}");
        // The same request meets the same policy again.
        assert_eq!(run(&llm()).await.unwrap(), totals);
    }

    #[tokio::test]
    async fn a_file_takes_over_and_is_rolled_back_without_a_build() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("sort.toml");
        let llm = Llm::builder().replay_own_logs().policy_file("sort", &file).build().unwrap();
        assert_eq!(llm.policy_source("sort"), Some(PolicySource::BakedIn));

        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("canary/sort.toml"), &file).unwrap();
        llm.reload_policies().unwrap();
        assert_eq!(llm.policy_source("sort"), Some(PolicySource::File));
        // Both halves of the traffic follow the new policy now.
        assert_eq!(run(&llm).await.unwrap().len(), 1);

        fs::write(&file, "this is no policy").unwrap();
        assert!(llm.reload_policies().unwrap_err().is_config());
        assert_eq!(llm.policy_source("sort"), Some(PolicySource::File));
        assert!(llm.policy_rejection("sort").is_some());

        fs::remove_file(&file).unwrap();
        llm.reload_policies().unwrap();
        assert_eq!(llm.policy_source("sort"), Some(PolicySource::BakedIn));
    }
}
