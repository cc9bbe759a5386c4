//! Rows of the decision log (docs/decision-log.md).

use super::policy::ActivePolicy;
use super::record_result::{ResultRow, dollars, is_false, is_zero, milliseconds};
use super::route::Route;
use crate::embedding::{EmbeddingFailure, EmbeddingUse};
use crate::money::Usd;
use crate::request::Request;
use crate::routed::{Paced, Step};
use crate::session::Session;
use cascade_sdk_core::config::Mode;
use cascade_sdk_core::decide::{Decision, Why};
use cascade_sdk_core::hash::{hex, sha256};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// The version of the format.
const SCHEMA: u32 = 1;

/// What is known of a request whatever its row is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    pub(super) route: &'a Route,
    pub(super) request: &'a Request,
    pub(super) id: &'a str,
    pub(super) policy: &'a ActivePolicy,
}

#[derive(Serialize)]
struct Common<'a> {
    schema: u32,
    kind: &'static str,
    time: String,
    id: &'a str,
    route: &'a str,
    mode: &'static str,
    policy: PolicyRow<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<CanaryRow<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    features: BTreeMap<&'a str, f64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<&'a str, &'a str>,
    prompt_hash: String,
    prompt_bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
struct PolicyRow<'a> {
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<&'a str>,
}

#[derive(Serialize)]
struct CanaryRow<'a> {
    share: f64,
    main: Option<String>,
    canary: Option<&'a str>,
}

impl<'a> Common<'a> {
    fn new(kind: &'static str, about: About<'a>) -> Self {
        let About { route, request, id, policy } = about;
        let text = request.routing_text();
        Self {
            schema: SCHEMA,
            kind,
            time: rfc3339(SystemTime::now()),
            id,
            route: &route.name,
            mode: match route.runtime.mode {
                Mode::Shadow => "shadow",
                _ => "policy",
            },
            policy: PolicyRow { source: policy.source.name(), hash: policy.hash.as_deref() },
            canary: route.policies.canary().map(|canary| CanaryRow {
                share: canary.share,
                main: route.policies.main().hash.clone(),
                canary: canary.policy.hash.as_deref(),
            }),
            tenant: request.tenant.as_deref(),
            session: request.session.as_ref().map(Session::id),
            turn: request.session.as_ref().map(Session::turn),
            features: request.features.iter().map(|(name, value)| (name.as_str(), *value)).collect(),
            tags: request.tags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            prompt_hash: hex(&sha256(text.as_bytes())),
            prompt_bytes: text.len(),
            input: route.runtime.log_prompts.then_some(text),
        }
    }
}

#[derive(Serialize)]
struct StepRow<'a> {
    tier: &'a str,
    model: &'a str,
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    abstain_below: Option<f64>,
    #[serde(flatten)]
    result: ResultRow<'a>,
}

impl<'a> StepRow<'a> {
    fn new(route: &'a Route, step: &'a Step<usize>, text: Option<&'a str>) -> Self {
        let (decision, why, score, at_least) = match step.decision {
            Decision::Accept { score } => ("accept", None, score, None),
            Decision::Abstain { score, .. } => ("abstain", None, Some(score), None),
            Decision::Escalate(why) => match why {
                Why::BelowThreshold { score, at_least } => {
                    ("escalate", Some("below_threshold"), Some(score), Some(at_least))
                }
                Why::OutOfReach { at_most, at_least } => {
                    ("escalate", Some("out_of_reach"), Some(at_most), Some(at_least))
                }
                Why::Unpromising { score, below, .. } => {
                    ("escalate", Some("unpromising"), Some(score), Some(below))
                }
                Why::MissingSignal => ("escalate", Some("missing_signal"), None, None),
                Why::Failed => ("escalate", Some("failed"), None, None),
                Why::Always => ("escalate", Some("always"), None, None),
                // Named here when the decision function learns another.
                _ => ("escalate", None, None, None),
            },
            _ => ("fail", None, None, None),
        };
        let (tier, model) = route
            .tiers
            .get(step.tier)
            .map_or(("", ""), |setup| (setup.tier.name.as_str(), setup.tier.model.as_str()));
        let abstain_below = match step.decision {
            Decision::Abstain { below, .. } => Some(below),
            _ => None,
        };
        let result = ResultRow::new(route, step, text);
        Self { tier, model, decision, why, score, at_least, abstain_below, result }
    }
}

/// How a request ended.
#[derive(Debug)]
pub(super) struct Ending<'a> {
    pub(super) package: &'a str,
    pub(super) plan: Option<usize>,
    pub(super) path: &'a [Step<usize>],
    pub(super) embedding: Option<&'a EmbeddingUse>,
    /// The texts of the answers, where they are logged.
    pub(super) texts: &'a [Option<String>],
    /// `answered`, or why there is no answer.
    pub(super) outcome: &'static str,
    pub(super) answered_by: Option<usize>,
    pub(super) cost: Usd,
    pub(super) estimated: Usd,
    pub(super) latency: Duration,
    pub(super) forced: Option<&'static str>,
    pub(super) kept_for_budget: bool,
    pub(super) paced: Option<Paced>,
    pub(super) explored: bool,
}

#[derive(Serialize)]
struct DecisionRow<'a> {
    #[serde(flatten)]
    common: Common<'a>,
    package: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    plan_tiers: Vec<&'a str>,
    path: Vec<StepRow<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding: Option<EmbeddingRow<'a>>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_by: Option<&'a str>,
    #[serde(serialize_with = "dollars")]
    cost_usd: Usd,
    #[serde(skip_serializing_if = "is_zero", serialize_with = "dollars")]
    estimated_usd: Usd,
    latency_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    forced: Option<&'static str>,
    #[serde(skip_serializing_if = "is_false")]
    failover: bool,
    #[serde(skip_serializing_if = "is_false")]
    kept_for_budget: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    paced: Option<PacedRow>,
    #[serde(skip_serializing_if = "is_false")]
    explored: bool,
}

#[derive(Serialize)]
struct EmbeddingRow<'a> {
    model: &'a str,
    #[serde(serialize_with = "dollars")]
    cost_usd: Usd,
    latency_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'static str>,
}

impl<'a> EmbeddingRow<'a> {
    fn new(route: &'a Route, used: &EmbeddingUse) -> Self {
        Self {
            model: route.embeddings.as_ref().map_or("", |setup| &setup.settings.model),
            cost_usd: used.cost,
            latency_ms: milliseconds(used.latency),
            failure: used.failure.as_ref().map(EmbeddingFailure::log_word),
        }
    }
}

#[derive(Serialize)]
struct PacedRow {
    point: usize,
    shadow_price: Option<f64>,
}

/// A `decision` row.
pub(super) fn decision(about: About<'_>, ending: &Ending<'_>) -> Vec<u8> {
    let About { route, policy, .. } = about;
    let name = |tier: usize| route.tiers.get(tier).map(|setup| setup.tier.name.as_str());
    let plan = ending.plan.and_then(|plan| policy.rules.plan(plan));
    let text = |index: usize| ending.texts.get(index).and_then(Option::as_deref);
    line(&DecisionRow {
        common: Common::new("decision", about),
        package: ending.package,
        plan: ending.plan,
        plan_tiers: plan
            .map(|plan| plan.stages.iter().filter_map(|stage| name(policy.tier_of(stage))).collect())
            .unwrap_or_default(),
        path: ending
            .path
            .iter()
            .enumerate()
            .map(|(index, step)| StepRow::new(route, step, text(index)))
            .collect(),
        embedding: ending.embedding.map(|used| EmbeddingRow::new(route, used)),
        outcome: ending.outcome,
        answered_by: ending.answered_by.and_then(name),
        cost_usd: ending.cost,
        estimated_usd: ending.estimated,
        latency_ms: milliseconds(ending.latency),
        forced: ending.forced,
        failover: ending.path.iter().any(|step| step.failover),
        kept_for_budget: ending.kept_for_budget,
        paced: ending.paced.map(|Paced { point, shadow_price }| PacedRow { point, shadow_price }),
        explored: ending.explored,
    })
}

/// What a policy would have done.
#[derive(Debug)]
pub(super) struct Would {
    pub(super) plan: usize,
    pub(super) path: Vec<usize>,
    pub(super) answered_by: Option<usize>,
    pub(super) abstained: bool,
    pub(super) cost: Usd,
}

/// A request that was run on all tiers.
#[derive(Debug)]
pub(super) struct Explored<'a> {
    pub(super) probability: f64,
    pub(super) answered_by: Option<usize>,
    pub(super) on_path: usize,
    /// Those on the caller's path, then the others.
    pub(super) steps: &'a [Step<usize>],
    pub(super) texts: &'a [Option<String>],
    pub(super) incomplete: Option<&'static str>,
    pub(super) would: Option<Would>,
}

#[derive(Serialize)]
struct ExplorationRow<'a> {
    #[serde(flatten)]
    common: Common<'a>,
    probability: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_by: Option<&'a str>,
    on_path: Vec<&'a str>,
    results: BTreeMap<&'a str, ResultRow<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incomplete: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    would: Option<WouldRow<'a>>,
}

#[derive(Serialize)]
struct WouldRow<'a> {
    plan: usize,
    path: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_by: Option<&'a str>,
    #[serde(skip_serializing_if = "is_false")]
    abstained: bool,
    #[serde(serialize_with = "dollars")]
    cost_usd: Usd,
}

/// An `exploration` row.
pub(super) fn exploration(about: About<'_>, explored: &Explored<'_>) -> Vec<u8> {
    let route = about.route;
    let name = |tier: usize| route.tiers.get(tier).map_or("", |setup| setup.tier.name.as_str());
    let results = explored.steps.iter().enumerate().map(|(index, step)| {
        let text = explored.texts.get(index).and_then(Option::as_deref);
        (name(step.tier), ResultRow::new(route, step, text))
    });
    line(&ExplorationRow {
        common: Common::new("exploration", about),
        probability: explored.probability,
        answered_by: explored.answered_by.map(name),
        on_path: explored.steps.iter().take(explored.on_path).map(|step| name(step.tier)).collect(),
        results: results.collect(),
        incomplete: explored.incomplete,
        would: explored.would.as_ref().map(|would| WouldRow {
            plan: would.plan,
            path: would.path.iter().map(|tier| name(*tier)).collect(),
            answered_by: would.answered_by.map(name),
            abstained: would.abstained,
            cost_usd: would.cost,
        }),
    })
}

/// A `feedback` row.
pub(super) fn feedback(id: &str, tier: Option<&str>, score: f64) -> Vec<u8> {
    #[derive(Serialize)]
    struct Row<'a> {
        schema: u32,
        kind: &'static str,
        time: String,
        id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        tier: Option<&'a str>,
        score: f64,
    }
    let time = rfc3339(SystemTime::now());
    line(&Row { schema: SCHEMA, kind: "feedback", time, id, tier, score })
}

/// A `dropped` row, with its newline.
pub(super) fn dropped(rows: u64) -> Vec<u8> {
    #[derive(Serialize)]
    struct Row {
        schema: u32,
        kind: &'static str,
        time: String,
        rows: u64,
    }
    let mut row = line(&Row { schema: SCHEMA, kind: "dropped", time: rfc3339(SystemTime::now()), rows });
    row.push(b'\n');
    row
}

/// Only numbers, strings and maps with string keys are written, so there is nothing that JSON cannot hold.
fn line(row: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(row).unwrap_or_default()
}

/// `2026-01-31T23:59:59.123Z`.
fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // The civil calendar, with years that start in March so that the leap day comes last.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    format!(
        "{:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        era * 400 + year,
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60,
        since.subsec_millis()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (milliseconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (784_111_777_123, "1994-11-06T08:49:37.123Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_709_251_200_000, "2024-03-01T00:00:00.000Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
        ] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds);
            assert_eq!(rfc3339(time), text);
        }
    }

    #[test]
    fn amounts_are_numbers_that_read_back() {
        let row = String::from_utf8(feedback("q-1", Some("small"), 0.5)).unwrap();
        assert!(row.ends_with(r#""id":"q-1","tier":"small","score":0.5}"#), "{row}");
    }
}
