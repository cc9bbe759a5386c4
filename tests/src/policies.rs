//! Policies for configurations that are in no fit: fresh by construction, so that no committed file goes stale when the
//! fingerprint of configurations changes. The build script of this package uses the file as well.

use cascade_sdk_core::config::{self, Config, Family, Goal, Objective, Route};
use cascade_sdk_core::diag::Source;
use cascade_sdk_core::feature::{CostHead, Heads, Inputs, NumberInput, Router, Standard, TagInput};
use cascade_sdk_core::policy::{
    self, ALGORITHM, AcceptRule, Cut, Estimate, Expected, Fitted, Plan, Policy, Rules, ScoreSource, Stage,
};
use std::path::Path;
use std::{fs, io};

/// The lowest `mean_logprob` of the first tier's answers that [`pair`] keeps.
pub const CUT: f64 = -0.5;

/// Reads a configuration that has no mistakes.
///
/// # Panics
/// If it has some.
#[allow(clippy::panic)]
pub fn config(text: &str) -> Config {
    let (config, findings) = config::read(&Source::new("cascade.toml", text));
    config.unwrap_or_else(|| panic!("{findings:#?}"))
}

/// The routes that need a policy.
pub fn fitted_routes(config: &Config) -> impl Iterator<Item = &Route> {
    config.routes.iter().filter(|route| route.tiers.len() > 1 && route.until_fitted.is_none())
}

/// The policy for a route: one with a router for names that begin with `by_`, else a pair. `schema` is the text of the file
/// that the route's `request.answer` names.
pub fn policy(config: &Config, route: &Route, schema: Option<&str>) -> Policy {
    match route.name.as_str() {
        "by_subject" | "by_first_subject" => routed(config, route, schema, 1),
        // Enough weights for a file of their own.
        "by_many_subjects" => routed(config, route, schema, 1000),
        _ => pair(config, route, schema),
    }
}

/// Writes a policy, and its weights beside it where they are in a file of their own.
///
/// # Errors
/// Those of the file system.
pub fn write(path: &Path, policy: &Policy) -> io::Result<()> {
    if let Some(weights) = policy.rules.router.as_ref().and_then(Router::sidecar) {
        fs::write(path.with_file_name(weights.file), weights.bytes)?;
    }
    fs::write(path, policy::write(policy))
}

/// A policy that asks a route's first tier, and the second where [`CUT`] says so.
pub fn pair(config: &Config, route: &Route, schema: Option<&str>) -> Policy {
    let rule = AcceptRule { score: ScoreSource::Signal(0), at_least: Cut(CUT) };
    Policy {
        route: route.name.clone(),
        family: Family::Pair,
        fitted: Fitted {
            log_hash: "0".repeat(64),
            config_hash: config::fingerprint(config, &route.name, schema).unwrap_or_default(),
            algorithm: ALGORITHM,
            calibration_rows: 285,
            test_rows: 1531,
            seed: 7,
            refit_on_all: false,
            repriced: false,
            traffic_hash: None,
        },
        objective: route.objective.clone().unwrap_or(Objective {
            goal: Goal::MaxQuality,
            max_latency_ms_p95: None,
            max_cost_tail: None,
            confidence: None,
        }),
        expected: Expected {
            quality: estimate(0.79, 0.77, 0.81),
            cost_usd: estimate(1.1e-4, 1.0e-4, 1.2e-4),
            calls: estimate(1.4, 1.38, 1.42),
            share: vec![estimate(0.6, 0.58, 0.62), estimate(0.4, 0.38, 0.42)],
            shadow_price: Some(212.0),
            latency_ms_p95: None,
            early_escalation: None,
            abstained: None,
        },
        rules: Rules {
            tiers: route.tiers.iter().take(2).cloned().collect(),
            signals: vec!["mean_logprob".to_owned()],
            scores: Vec::new(),
            plans: vec![Plan::new(vec![Stage { tier: 0, rule: Some(rule) }, Stage { tier: 1, rule: None }])],
            router: None,
            guard: None,
            abstention: None,
            mixture: None,
        },
        frontier: Vec::new(),
        certificate: None,
    }
}

/// A policy that asks the second tier where the tag `subject` is `law` and the feature `length` is above 100.
fn routed(config: &Config, route: &Route, schema: Option<&str>, levels: usize) -> Policy {
    let standard = Standard { mean: 100.0, deviation: 100.0 };
    let mut subjects: Vec<String> = (1..levels).map(|level| format!("subject {level:04}")).collect();
    subjects.insert(0, "law".to_owned());
    let inputs = Inputs {
        embedding: None,
        text: None,
        numbers: vec![NumberInput { name: "length".to_owned(), standard }],
        tags: vec![TagInput { name: "subject".to_owned(), levels: subjects }],
    };
    // Of the second tier: the length counts for it, and every subject but law against it.
    let mut dense = vec![0.0, 4.0, 0.0, 0.0];
    dense.extend([0.0, -20.0].repeat(inputs.dense_len() - 2));
    let heads = Heads {
        embedding: Vec::new(),
        intercept: vec![0.0; 2],
        dense,
        hashed: Vec::new(),
        step: vec![0.0; 2],
        cost: vec![CostHead { high: 1.0, ..CostHead::default() }; 2],
    };
    let stage = |tier| Plan::new(vec![Stage { tier, rule: None }]);
    let pair = pair(config, route, schema);
    Policy {
        family: Family::Router,
        rules: Rules {
            signals: Vec::new(),
            plans: vec![stage(0), stage(1)],
            router: Some(Router { shadow_price: 0.0, inputs, heads, awaits: None }),
            ..pair.rules
        },
        ..pair
    }
}

fn estimate(value: f64, low: f64, high: f64) -> Estimate {
    Estimate { value, low, high }
}
