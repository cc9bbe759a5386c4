//! Policies that come at run time: from a file instead of the one compiled in, and as a canary beside it.

use crate::setup::{CONFIG, Tier, builder, policy_of, rules};
use async_trait::async_trait;
use cascade_sdk::provider::{Capabilities, ModelCall, Provider, ProviderError, Response};
use cascade_sdk::{Client, PolicySource, Request, Routed};
use cascade_sdk_core::policy::{Cut, Rules};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Answers with a mean log-probability of −0.9: the compiled-in policy escalates that.
#[derive(Debug)]
struct Doubtful;

#[async_trait]
impl Provider for Doubtful {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.own_signals = true;
        capabilities.free = true;
        capabilities
    }

    async fn complete(&self, call: &ModelCall<'_>) -> Result<Response, ProviderError> {
        Ok(Response::text(call.tier).with_signal("mean_logprob", -0.9))
    }
}

/// Rules that keep the small tier's doubtful answer.
fn lenient() -> Rules {
    let mut rules = rules();
    for rule in
        rules.plans.iter_mut().flat_map(|plan| &mut plan.stages).filter_map(|stage| stage.rule.as_mut())
    {
        rule.at_least = Cut(-2.0);
    }
    rules
}

fn client(directory: &Path, config: &str) -> Client {
    builder(directory, config).provider("local", Doubtful).build().unwrap()
}

async fn ask(client: &Client, id: &str) -> Routed<String, Tier> {
    client.call::<Tier>(1, Request::new("x").with_id(id)).await.unwrap()
}

fn with_runtime(keys: &str) -> String {
    format!("{CONFIG}\n[routes.two.runtime]\n{keys}\n")
}

#[tokio::test]
async fn a_valid_file_decides_and_is_rolled_back_by_removing_it() {
    let directory = tempfile::tempdir().unwrap();
    let config = with_runtime("policy_file = 'newer.toml'");
    let file = directory.path().join("newer.toml");
    let client = client(directory.path(), &config);
    assert_eq!(client.policy_source("two"), Some(PolicySource::BakedIn));
    let before = ask(&client, "a").await;
    assert_eq!(before.tier, Tier::Large);

    fs::write(&file, policy_of(&config, lenient())).unwrap();
    client.reload_policies().unwrap();
    assert_eq!(client.policy_source("two"), Some(PolicySource::File));
    let after = ask(&client, "a").await;
    assert_eq!(after.tier, Tier::Small);
    assert_ne!(after.policy_hash, before.policy_hash);

    fs::remove_file(&file).unwrap();
    client.reload_policies().unwrap();
    assert_eq!(client.policy_source("two"), Some(PolicySource::BakedIn));
    assert_eq!(ask(&client, "a").await.policy_hash, before.policy_hash);
}

#[tokio::test]
async fn a_file_that_was_there_at_start_decides_from_the_first_call() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("own.toml"), policy_of(CONFIG, lenient())).unwrap();
    let client = builder(directory.path(), CONFIG)
        .provider("local", Doubtful)
        .policy_file("two", directory.path().join("own.toml"))
        .build()
        .unwrap();
    assert_eq!(ask(&client, "a").await.tier, Tier::Small);
}

#[tokio::test]
async fn a_file_that_does_not_belong_is_rejected_with_its_reason() {
    let directory = tempfile::tempdir().unwrap();
    let config = with_runtime("policy_file = 'newer.toml'");
    let file = directory.path().join("newer.toml");
    // Fitted when a call could cost twice as much.
    let other = config.replace("max_cost_usd = 0.001", "max_cost_usd = 0.002");
    fs::write(&file, policy_of(&other, lenient())).unwrap();
    let client = client(directory.path(), &config);
    assert_eq!(client.policy_source("two"), Some(PolicySource::BakedIn));
    assert!(client.policy_rejection("two").unwrap().contains("policy::stale"));
    assert_eq!(ask(&client, "a").await.tier, Tier::Large);

    for (broken, reason) in [("family = 7", "policy::"), ("[[plans", "policy::syntax")] {
        fs::write(&file, broken).unwrap();
        let error = client.reload_policies().unwrap_err();
        assert!(error.is_config() && error.to_string().contains(reason), "{error}");
        assert_eq!(client.policy_source("two"), Some(PolicySource::BakedIn));
    }
    // A broken file does not throw out a good one that decides.
    fs::write(&file, policy_of(&config, lenient())).unwrap();
    client.reload_policies().unwrap();
    fs::write(&file, "family = 7").unwrap();
    client.reload_policies().unwrap_err();
    assert_eq!(client.policy_source("two"), Some(PolicySource::File));
    assert_eq!(ask(&client, "a").await.tier, Tier::Small);
}

#[tokio::test]
async fn calls_notice_a_changed_file_themselves() {
    let directory = tempfile::tempdir().unwrap();
    let config = with_runtime("policy_file = 'newer.toml'\npolicy_reload_s = 0.000001");
    let client = client(directory.path(), &config);
    assert_eq!(ask(&client, "a").await.tier, Tier::Large);
    fs::write(directory.path().join("newer.toml"), policy_of(&config, lenient())).unwrap();
    while ask(&client, "a").await.tier != Tier::Small {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(client.policy_source("two"), Some(PolicySource::File));
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_is_slow_to_read_holds_no_request_up() {
    let directory = tempfile::tempdir().unwrap();
    let config = with_runtime("policy_file = 'newer.toml'\npolicy_reload_s = 0.000001");
    let client = client(directory.path(), &config);
    // Reading a pipe waits for somebody to write.
    let pipe = directory.path().join("newer.toml");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_eq!(ask(&client, "a").await.tier, Tier::Large);
    // Lets the reader go, which the runtime waits for at its end.
    drop(fs::OpenOptions::new().write(true).open(&pipe).unwrap());
}

#[tokio::test]
async fn a_rejected_file_is_read_again_though_it_looks_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let config = with_runtime("policy_file = 'newer.toml'\npolicy_reload_s = 0.000001");
    let path = directory.path().join("newer.toml");
    let good = policy_of(&config, lenient());
    let write = |text: &str| {
        fs::write(&path, text).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap();
    };
    write(&good.replace("pair", "pear"));
    let client = client(directory.path(), &config);
    assert!(client.policy_rejection("two").is_some());
    // The same length and the same time: as if what it lacked had come.
    write(&good);
    while ask(&client, "a").await.tier != Tier::Small {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(client.policy_rejection("two"), None);
    // Who asks for it gets what the file says now, whatever it looks like.
    write(&good.replace("pair", "pear"));
    assert!(client.reload_policies().unwrap_err().is_config());
    assert_eq!(ask(&client, "a").await.tier, Tier::Small);
}

#[tokio::test]
async fn a_canary_decides_its_share_and_the_same_requests_each_time() {
    let directory = tempfile::tempdir().unwrap();
    let config = with_runtime("canary = { policy = 'canary.toml', share = 0.25 }");
    let text = policy_of(&config, lenient());
    fs::write(directory.path().join("canary.toml"), &text).unwrap();
    let client = client(directory.path(), &config);
    let mut chosen = 0;
    for index in 0..400 {
        let id = format!("q-{index}");
        let routed = ask(&client, &id).await;
        chosen += u32::from(routed.tier == Tier::Small);
        assert_eq!(ask(&client, &id).await.policy_hash, routed.policy_hash);
    }
    assert!((70..=130).contains(&chosen), "{chosen} of 400");
    assert_eq!(client.policy_source("two"), Some(PolicySource::BakedIn));

    fs::write(directory.path().join("canary.toml"), "family = 7").unwrap();
    let error = builder(directory.path(), &config).provider("local", Doubtful).build().unwrap_err();
    assert!(error.is_config() && error.to_string().contains("canary"), "{error}");
}
