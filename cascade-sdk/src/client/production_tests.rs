//! What keeps a client running when money, servers or people get in the way.

use super::builder::Baked;
use super::policy::FittedPolicy;
use super::tests::{Tier, config, doubtful, pair, status};
use super::*;
use crate::money::Usd;
use crate::provider::{Reply, Scripted};
use crate::routed::Failure;
use cascade_sdk_core::config::{Config, OnExceeded};
use cascade_sdk_core::policy::{Cut, OperatingPoint};
use std::path::PathBuf;

fn builder(script: &Scripted, config: Config, policy: FittedPolicy) -> Builder {
    let baked = Baked { schema: AnswerSchema::TEXT, schema_text: None, policy: Some(policy) };
    <Builder>::from_parts("test", PathBuf::new(), config, vec![baked]).provider("local", script.clone())
}

fn bare() -> FittedPolicy {
    FittedPolicy::bare(pair(), "hash")
}

fn doubting() -> Scripted {
    Scripted::new().reply_always("small", doubtful("s")).reply_always("large", Reply::text("l"))
}

#[tokio::test]
async fn a_hot_budget_moves_to_a_cheaper_point_before_it_refuses() {
    // The same plan at the point that keeps whatever the small tier says.
    let mut plans = pair().plans;
    plans[0].stages.truncate(1);
    plans[0].stages[0].rule = None;
    let point = |cost_usd, plans| OperatingPoint {
        quality: 0.5,
        cost_usd,
        shadow_price: Some(300.0),
        plans,
        router_shadow_price: None,
    };
    let mut stricter = pair().plans;
    for rule in stricter[0].stages.iter_mut().filter_map(|stage| stage.rule.as_mut()) {
        rule.at_least = Cut(-0.1);
    }
    // The second costs more than the deployed point: no place to move to.
    let frontier = vec![point(2e-5, plans), point(3e-4, stricter)];
    let mut config = config(Some((4_000_000_000, OnExceeded::Reject)));
    config.routes[0].runtime.pace = true;
    let policy = bare().with_frontier(1.6e-4, frontier);
    let client = builder(&doubting(), config, policy).build().unwrap();
    // The window has passed to a twentieth; each request spends a twenty-fifth of the limit.
    let mut paced = Vec::new();
    for _ in 0..4 {
        let routed = client.call::<Tier>(0, "x").await.unwrap();
        assert_eq!(routed.path.len(), if routed.paced.is_some() { 1 } else { 2 });
        paced.push(routed.paced.map(|paced| (paced.point, paced.shadow_price)));
    }
    assert_eq!(paced, [None, None, Some((0, Some(300.0))), Some((0, Some(300.0)))]);
}

#[tokio::test]
async fn the_environment_forces_a_tier_and_it_is_recorded() {
    let with = |forced: &str| {
        let env = |name: &str| (name == "CASCADE_FORCE_TIER").then(|| forced.to_owned());
        builder(&doubting(), config(None), bare()).overrides_from(env).build()
    };
    let routed = with("triage:large").unwrap().call::<Tier>(0, "x").await.unwrap();
    assert_eq!((routed.tier, routed.forced, routed.path.len()), (Tier::Large, true, 1));
    for wrong in ["triage", "triage:huge", "other:large", "triage:large, other:large"] {
        let error = with(wrong).unwrap_err();
        assert!(error.is_config() && error.to_string().contains("CASCADE_FORCE_TIER"), "{error}");
    }
}

#[tokio::test]
async fn a_tier_that_keeps_failing_is_left_alone() {
    let script = Scripted::new().reply_always("small", status(503)).reply_always("large", Reply::text("l"));
    let mut config = config(None);
    config.tiers[0].circuit.failures = 2;
    let client = builder(&script, config, bare()).max_retries(0).build().unwrap();
    let mut words = Vec::new();
    for _ in 0..4 {
        let routed = client.call::<Tier>(0, "x").await.unwrap();
        assert_eq!(routed.tier, Tier::Large);
        let small = &routed.path[0];
        assert_eq!(small.total_cost(), Usd::ZERO);
        words.push(small.failure.as_ref().map(Failure::log_word));
    }
    assert_eq!(words, [Some("status"), Some("status"), Some("circuit_open"), Some("circuit_open")]);
    let asked = script.asked().iter().filter(|asked| asked.tier == "small").count();
    assert_eq!(asked, 2);
}
