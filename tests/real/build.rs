//! Makes the policies of the client under test, as a build script that refits would: into `OUT_DIR`, where the macro looks first.

#[path = "../src/policies.rs"]
#[allow(dead_code, unreachable_pub)]
mod policies;

use cascade_sdk_core::config::{AnswerForm, Config, Family, Route, policy_stem};
use cascade_sdk_core::feature::{CostHead, Heads, Inputs, Router, TagInput};
use cascade_sdk_core::policy::{
    AcceptRule, Cut, Estimate, Expected, Forecast, Linear, Plan, Policy, Rules, ScoreSource, Stage,
};
use std::path::Path;
use std::{env, fs, io};

/// The least likely token of a text that is kept, and the sum over a note that is; `integration/early.rs` knows them as well.
const LEAST: f64 = -1.5;
const SUM: f64 = -25.0;

fn main() -> io::Result<()> {
    for watched in ["cascade.toml", "schemas", "../src/policies.rs"] {
        println!("cargo::rerun-if-changed={watched}");
    }
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    let package = env::var("CARGO_PKG_NAME").map_err(io::Error::other)?;
    let out = Path::new(&out).join("policies");
    fs::create_dir_all(out.join(&package))?;
    let config = policies::config(&fs::read_to_string("cascade.toml")?);
    for route in policies::fitted_routes(&config) {
        let schema = match &route.request.answer {
            AnswerForm::Schema { path } => Some(fs::read_to_string(path)?),
            _ => None,
        };
        let policy = policy(&config, route, schema.as_deref());
        policies::write(&out.join(format!("{package}/{}.toml", policy_stem(&route.name))), &policy)?;
    }
    println!("cargo::rustc-env=CASCADE_POLICY_DIR={}", out.display());
    Ok(())
}

fn policy(config: &Config, route: &Route, schema: Option<&str>) -> Policy {
    let at_least = |tier: usize, cut: f64| Stage {
        tier,
        rule: Some(AcceptRule { score: ScoreSource::Signal(0), at_least: Cut(cut) }),
    };
    let last = |tier: usize| Stage { tier, rule: None };
    let (family, plans, signal, kinds) = match route.name.as_str() {
        "chain" => {
            (Family::Chain, vec![vec![at_least(0, -0.1), at_least(1, -0.05), last(2)]], "mean_logprob", 0)
        }
        "routed" | "routed_triage" => (Family::Router, vec![vec![last(0)], vec![last(1)]], "mean_logprob", 1),
        "mixed" => (
            Family::RoutedCascade,
            vec![vec![at_least(0, -0.1), last(1)], vec![at_least(1, -0.05), last(2)], vec![last(2)]],
            "mean_logprob",
            2,
        ),
        "triage" => (Family::Pair, vec![vec![at_least(0, -0.1), last(1)]], "mean_logprob", 0),
        "whole" | "watched" => (Family::Pair, vec![vec![at_least(0, LEAST), last(1)]], "min_logprob", 0),
        _ => (Family::Pair, vec![vec![at_least(0, SUM), last(1)]], "sequence_logprob", 0),
    };
    let mut plans: Vec<Plan> = plans.into_iter().map(Plan::new).collect();
    if kinds > 0 {
        for plan in plans.iter_mut().filter(|plan| plan.stages.len() > 1) {
            plan.forecast = Some(as_good_as_its_first(plan, route.tiers.len()));
        }
    }
    let pair = policies::pair(config, route, schema);
    let rules = Rules {
        tiers: route.tiers.clone(),
        signals: if family == Family::Router { Vec::new() } else { vec![signal.to_owned()] },
        router: (kinds > 0).then(|| router(route.tiers.len(), kinds)),
        plans,
        ..pair.rules
    };
    let share = vec![Estimate { value: 0.5, low: 0.4, high: 0.6 }; route.tiers.len()];
    Policy { family, expected: Expected { share, ..pair.expected }, rules, ..pair }
}

/// What the router expects of a plan of several stages follows what it expects of the first.
fn as_good_as_its_first(plan: &Plan, tiers: usize) -> Forecast {
    let mut log_odds = vec![0.0; tiers];
    if let Some(weight) = plan.stages.first().and_then(|stage| log_odds.get_mut(stage.tier)) {
        *weight = 0.1;
    }
    let none = Linear { constant: 0.0, log_odds: vec![0.0; tiers], cost_usd: vec![0.0; tiers] };
    Forecast { quality: Linear { constant: 0.5, log_odds, ..none.clone() }, cost_usd: none }
}

/// By the tag `kind`: `kind 0` to the plan that begins with the first tier, and so on; every other one to the last tier.
fn router(tiers: usize, kinds: usize) -> Router {
    let levels = (0..kinds).map(|kind| format!("kind {kind}")).collect();
    let inputs = Inputs {
        embedding: None,
        text: None,
        numbers: Vec::new(),
        tags: vec![TagInput { name: "kind".to_owned(), levels }],
    };
    let favoured = |input: usize| if input < kinds { input } else { tiers - 1 };
    let weight = |input: usize, tier: usize| if tier == favoured(input) { 4.0 } else { -4.0 };
    let dense = (0..inputs.dense_len()).flat_map(|input| (0..tiers).map(move |tier| weight(input, tier)));
    let heads = Heads {
        embedding: Vec::new(),
        intercept: vec![0.0; tiers],
        dense: dense.collect(),
        hashed: Vec::new(),
        step: vec![0.0; tiers],
        cost: vec![CostHead { high: 1.0, ..CostHead::default() }; tiers],
    };
    Router { shadow_price: 0.0, inputs, heads, awaits: None }
}
