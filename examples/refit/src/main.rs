//! Shows the policy that the build script fitted, and answers a request with it.
#![expect(clippy::print_stdout, reason = "a program for people")]

use cascade_sdk::diag::Source;
use cascade_sdk::policy::{self, Policy};
use cascade_sdk::{Error, Request, TierName, client};

/// Everything this program asks of language models.
#[client("cascade.toml")]
pub struct Llm;

/// The policy that was compiled in.
fn fitted() -> Result<Policy, String> {
    policy::read(&Source::new("sort.toml", Llm::SORT_POLICY)).map_err(|findings| format!("{findings:?}"))
}

/// Sorts a ticket of the log, offline.
async fn sort(id: &str) -> Result<(String, &'static str), Error> {
    let llm = Llm::builder().replay_own_logs().build()?;
    let routed = llm.sort(Request::new("found by its id").with_id(id)).await?;
    Ok((routed.answer, routed.tier.name()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let policy = fitted()?;
    println!(
        "This build fitted a {} policy on {} rows.",
        policy.family.name(),
        policy.fitted.calibration_rows
    );
    let (queue, tier) = sort("triage-001").await?;
    println!("triage-001 goes to {queue}, says {tier}.");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_policy_is_the_build_s_own() {
        let policy = fitted().unwrap();
        assert_eq!(policy.route, "sort");
        let out = Path::new(env!("CASCADE_POLICY_DIR")).join("refit/sort.toml");
        assert_eq!(std::fs::read_to_string(out).unwrap(), Llm::SORT_POLICY);
        assert!(!Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").exists());
    }

    #[tokio::test]
    async fn it_answers() {
        let (queue, _) = sort("triage-001").await.unwrap();
        assert!(["billing", "shipping", "account", "technical", "refund"].contains(&queue.trim()), "{queue}");
    }
}
