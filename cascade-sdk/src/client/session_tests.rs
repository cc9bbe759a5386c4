//! What the turns of a session keep of each other with `sticky = "up"`.

use super::builder::Baked;
use super::policy::FittedPolicy;
use super::tests::{Tier, confident, config, doubtful, pair, status};
use super::*;
use crate::provider::Scripted;
use cascade_sdk_core::config::{Config, OnExceeded, Sticky};
use cascade_sdk_core::policy::{Plan, Rules, Stage};
use std::path::PathBuf;

fn client(script: &Scripted, mut config: Config, rules: Rules) -> Client {
    config.routes[0].runtime.sticky = Some(Sticky::Up);
    let policy = Some(FittedPolicy::bare(rules, "hash"));
    let baked = Baked { schema: AnswerSchema::TEXT, schema_text: None, policy };
    let builder = <Builder>::from_parts("test", PathBuf::new(), config, vec![baked]);
    builder.provider("local", script.clone()).max_retries(0).build().unwrap()
}

/// A session whose policy last came to this tier.
fn at(tier: &str) -> Session {
    serde_json::from_value(serde_json::json!({ "id": "chat", "turn": 1, "tier": tier })).unwrap()
}

/// One turn: who answered, and the tier that the session keeps, if any.
async fn turn(client: &Client, session: Session, forced: Option<Tier>) -> (Tier, String) {
    let call = client.call::<Tier>(0, Request::new("x").with_session(session));
    let call = match forced {
        Some(tier) => call.with_tier(tier),
        None => call,
    };
    let routed = call.await.unwrap();
    (routed.tier, routed.session.unwrap().tier().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_turn_keeps_the_tier_that_the_policy_escalated_to() {
    let script = Scripted::new().reply("small", doubtful("s")).reply_always("large", "l");
    let client = client(&script, config(None), pair());
    assert_eq!(turn(&client, Session::new("chat"), None).await, (Tier::Large, "large".to_owned()));
    assert_eq!(turn(&client, at("large"), None).await, (Tier::Large, "large".to_owned()));
}

#[tokio::test]
async fn a_forced_tier_moves_the_session_neither_down_nor_up() {
    let script = Scripted::new().reply_always("small", confident("s")).reply_always("large", "l");
    let client = client(&script, config(None), pair());
    assert_eq!(turn(&client, at("large"), Some(Tier::Small)).await, (Tier::Small, "large".to_owned()));
    assert_eq!(turn(&client, at("small"), Some(Tier::Large)).await, (Tier::Large, "small".to_owned()));
}

#[tokio::test]
async fn an_outage_of_one_turn_does_not_make_the_next_ones_dear() {
    let script =
        Scripted::new().reply("small", status(503)).reply("small", confident("s")).reply("large", "l");
    let client = client(&script, config(None), pair());
    assert_eq!(turn(&client, Session::new("chat"), None).await, (Tier::Large, "small".to_owned()));
    assert_eq!(turn(&client, at("small"), None).await, (Tier::Small, "small".to_owned()));
}

#[tokio::test]
async fn what_a_full_budget_leaves_does_not_take_the_session_down() {
    let script = Scripted::new().reply_always("small", doubtful("s")).reply_always("large", "l");
    // Room for the small tier only.
    let client = client(&script, config(Some((400_000_000, OnExceeded::Cheapest))), pair());
    assert_eq!(turn(&client, Session::new("chat"), None).await, (Tier::Small, String::new()));
    assert_eq!(turn(&client, at("large"), None).await, (Tier::Small, "large".to_owned()));
}

#[tokio::test]
async fn a_plan_without_the_tier_runs_where_it_is_dearer_and_not_where_it_is_cheaper() {
    let script = Scripted::new().reply_always("small", confident("s")).reply_always("large", "l");
    let only = |tier: usize| Rules { plans: vec![Plan::new(vec![Stage { tier, rule: None }])], ..pair() };
    let dear = client(&script, config(None), only(1));
    assert_eq!(turn(&dear, at("small"), None).await, (Tier::Large, "large".to_owned()));
    let cheap = client(&script, config(None), only(0));
    assert_eq!(turn(&cheap, at("large"), None).await, (Tier::Large, "large".to_owned()));
}
