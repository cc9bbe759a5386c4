//! Fitted early escalation.

use crate::policy::{EarlyEffect, Estimate};
use serde::{Serialize, Serializer};

/// What fitted early escalation gives up, and what that does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EarlyReport {
    /// Every stage whose answers may be given up.
    pub stages: Vec<StopReport>,
    /// What the safe bounds alone do on held-out rows; they change no answer.
    pub bounds: Option<EarlyEffectReport>,
    /// What bounds and prefix rules do together.
    pub fitted: Option<EarlyEffectReport>,
}

/// The prefix rule of one stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StopReport {
    /// The tiers of its plan.
    pub plan: Vec<String>,
    /// Its tier.
    pub tier: String,
    /// Calibration rows that reach it.
    pub answers: usize,
    /// The rule; empty where none was worth it.
    pub below: Vec<PrefixCutReport>,
    /// Mean cross-fitted gain of the Lagrangian over the bounds alone, in quality per request (in US dollars where a quality
    /// floor is slack).
    pub value: f64,
    /// Its standard error, by group.
    pub standard_error: f64,
}

/// `[tokens, lowest score that goes on]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrefixCutReport(pub u32, pub f64);

impl Serialize for PrefixCutReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.0, self.1).serialize(serializer)
    }
}

/// A policy with early escalation beside the same policy without, on held-out rows, with paired 95 % intervals by group.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EarlyEffectReport {
    /// 1 − cost / cost without.
    pub cost_saving: f64,
    /// Its interval.
    pub cost_saving_ci: [f64; 2],
    /// Mean quality minus that without.
    pub quality_change: f64,
    /// Its interval.
    pub quality_change_ci: [f64; 2],
    /// Share of the output tokens of the stages that may be given up which were not generated.
    pub tokens_spared: f64,
    /// Its interval.
    pub tokens_spared_ci: [f64; 2],
    /// Answers given up per request.
    pub given_up: f64,
    /// Its interval.
    pub given_up_ci: [f64; 2],
}

impl EarlyEffectReport {
    /// From estimates.
    pub fn new(saving: &Estimate, quality: &Estimate, tokens: &Estimate, given_up: &Estimate) -> Self {
        let ends = |estimate: &Estimate| [estimate.low, estimate.high];
        Self {
            cost_saving: saving.value,
            cost_saving_ci: ends(saving),
            quality_change: quality.value,
            quality_change_ci: ends(quality),
            tokens_spared: tokens.value,
            tokens_spared_ci: ends(tokens),
            given_up: given_up.value,
            given_up_ci: ends(given_up),
        }
    }
}

impl From<&EarlyEffectReport> for EarlyEffect {
    fn from(report: &EarlyEffectReport) -> Self {
        let estimate = |value: f64, [low, high]: [f64; 2]| Estimate { value, low, high };
        Self {
            cost_saving: estimate(report.cost_saving, report.cost_saving_ci),
            quality_change: estimate(report.quality_change, report.quality_change_ci),
            tokens_spared: estimate(report.tokens_spared, report.tokens_spared_ci),
        }
    }
}
