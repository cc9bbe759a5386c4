//! Policies: which tier answers a request, and when to escalate.
//!
//! [`Rules`] is the part that decides; [`Policy`] adds what it was fitted from, what it promises, and the other
//! operating points of the fitted frontier.

pub mod codes;
mod conflict;
mod fields;
mod forecast_text;
mod names;
mod plans;
mod read;
mod router_text;
mod rules;
mod schema;
mod sidecar;
mod signals;
mod staleness;
mod stop_text;
mod write;

pub use conflict::conflict_sides;
pub use read::read;
pub use rules::*;
pub use schema::json_schema;
pub use sidecar::complete;
#[cfg(feature = "fit")]
pub(crate) use signals::left_out;
pub use signals::{OwnSignals, Returns, SignalLack, signal_lack, unavailable_signals};
#[cfg(feature = "static-embedding")]
pub use staleness::other_vectors;
pub use staleness::{log_changed, missing, staleness};
pub use write::write;

use crate::config::{Family, Objective};

/// The schema this version writes and reads.
pub const SCHEMA: u32 = 1;

/// Version of the fitting algorithm; raised when the same inputs would give another policy.
pub const ALGORITHM: u32 = 1;

/// A policy file.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The route it belongs to.
    pub route: String,
    /// The family it was chosen from.
    pub family: Family,
    /// What it was fitted from.
    pub fitted: Fitted,
    /// What was optimised, as it stood in the configuration.
    pub objective: Objective,
    /// What it does on held-out rows.
    pub expected: Expected,
    /// What decides.
    pub rules: Rules,
    /// The other operating points of the fitted frontier, cheapest first.
    pub frontier: Vec<OperatingPoint>,
    /// The certificate, if one was asked for and obtained.
    pub certificate: Option<Certificate>,
}

/// `[fitted]`: enough to tell whether the policy still belongs to its configuration and log.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// SHA-256 over the sorted SHA-256 of the log's lines.
    pub log_hash: String,
    /// Fingerprint of the parts of the configuration that the fit depends on (DESIGN.md 6).
    pub config_hash: String,
    /// [`ALGORITHM`] at the time.
    pub algorithm: u32,
    /// Rows used for choosing.
    pub calibration_rows: usize,
    /// Rows used for reporting.
    pub test_rows: usize,
    /// Seed of every random choice.
    pub seed: u64,
    /// Whether thresholds were refitted on all rows after the report (`--refit-on-all`); the figures are then those of
    /// the fit on calibration rows.
    pub refit_on_all: bool,
    /// Whether costs are tokens × the configuration's prices even where the log states them (`--reprice`).
    pub repriced: bool,
    /// SHA-256 of the requests like which rows were weighed (`--traffic`).
    pub traffic_hash: Option<String>,
}

/// A figure and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// `[expected]`: figures on held-out rows.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Expected {
    /// Mean quality.
    pub quality: Estimate,
    /// Mean cost per request in US dollars.
    pub cost_usd: Estimate,
    /// Mean calls per request.
    pub calls: Estimate,
    /// Share of requests that each tier answers, in the order of [`Rules::tiers`].
    pub share: Vec<Estimate>,
    /// λ at the operating point in quality per US dollar (the slope to its right); `None` past the last vertex.
    pub shadow_price: Option<f64>,
    /// 95th percentile of path latency in milliseconds, without the load of production; only where the objective limits it.
    pub latency_ms_p95: Option<f64>,
    /// What early escalation does, where it was fitted; part of the other figures.
    pub early_escalation: Option<EarlyEffect>,
    /// What is answered "don't know"; `None` of a policy that never abstains.
    pub abstained: Option<Abstained>,
}

/// `[expected.early_escalation]`: the policy beside the same policy that takes every answer in to its end.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct EarlyEffect {
    /// 1 − cost / cost without.
    pub cost_saving: Estimate,
    /// Mean quality minus that without.
    pub quality_change: Estimate,
    /// Share of the output tokens of stages that may be given up which were not generated.
    pub tokens_spared: Estimate,
}

/// How often a policy answers "don't know", and how good it is where it answers (MATH.md 6.4).
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Abstained {
    /// Share of requests.
    pub share: Estimate,
    /// Mean quality of the other requests; 0 if there are none.
    pub quality_answered: Estimate,
}

/// `[[frontier]]`: another point at which the same policy may run.
#[derive(Clone, Debug, PartialEq)]
pub struct OperatingPoint {
    /// Mean quality on calibration rows.
    pub quality: f64,
    /// Mean cost per request in US dollars on calibration rows.
    pub cost_usd: f64,
    /// λ to the right of this point in quality per US dollar; `None` at the last.
    pub shadow_price: Option<f64>,
    /// The plans at this point; they use the tiers, signals, scores and router of the policy's [`Rules`]. Empty where they
    /// are the policy's own plans, chosen among at another λ.
    pub plans: Vec<Plan>,
    /// The router's λ at this point, where there is a router.
    pub router_shadow_price: Option<f64>,
}

impl OperatingPoint {
    /// The policy's rules as they are at this point.
    pub fn rules(&self, policy: &Rules) -> Rules {
        let mut rules = policy.clone();
        if !self.plans.is_empty() {
            rules.plans.clone_from(&self.plans);
            rules.mixture = None;
        }
        if let (Some(router), Some(price)) = (&mut rules.router, self.router_shadow_price) {
            router.shadow_price = price;
        }
        rules
    }
}

/// `[certificate]`: a constraint that holds on fresh data with a stated confidence (MATH.md 11.1).
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    /// What is promised, in words: `mean quality >= 0.92`.
    pub promise: String,
    /// Confidence, such as 0.95.
    pub confidence: f64,
    /// Name of the test, such as `clopper-pearson` or `betting`.
    pub method: String,
    /// Rows (or groups) the test was run on.
    pub rows: usize,
    /// What the promise rests on, one sentence each.
    pub assumptions: Vec<String>,
    /// Which attempt at a certificate this was; repeated attempts weaken the promise.
    pub attempt: u32,
}
