//! What a careful reader looks into: structural cost, slices, escalation benefit, reliability.

use serde::Serialize;
use std::collections::BTreeMap;

/// How well a router's predictions of a tier's quality fit: expected calibration error, Σ share · |mean prediction − mean
/// quality| over ten bins of predictions (MATH.md 10).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RouterCalibration {
    /// The tier.
    pub tier: String,
    /// On calibration rows, each predicted by the fit without its fold.
    pub out_of_fold: f64,
    /// On held-out rows; absent without such rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_out: Option<f64>,
}

/// Router minus cascade, taken apart (MATH.md 9), in quality averaged over the budgets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct StructuralCost {
    /// Best router − best pair cascade.
    pub total: f64,
    /// What not paying the cheap call first is worth.
    pub structural: f64,
    /// What deciding before rather than after the cheap call costs.
    pub signal: f64,
    /// What choosing among all tiers rather than two is worth.
    pub richness: f64,
    /// How far the first two depend on each other.
    pub interaction: f64,
    /// Share κ of the cheap call's cost, charged on escalation, at which the cascade ties with the router.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tie_at_share: Option<f64>,
}

/// A [`StructuralCost`] at one budget.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BudgetStructure {
    /// The budget, in US dollars per request.
    pub budget_usd: f64,
    /// The terms there.
    #[serde(flatten)]
    pub cost: StructuralCost,
}

/// The selected policy on the held-out rows with one label.
#[derive(Clone, Debug, Serialize)]
pub struct Slice {
    /// The tag.
    pub tag: String,
    /// Its label.
    pub label: String,
    /// Held-out rows with it.
    pub rows: usize,
    /// Mean quality.
    pub quality: f64,
    /// Mean cost in US dollars.
    pub cost_usd: f64,
    /// Mean quality minus that of the verdict's reference tier on the same rows.
    pub difference: f64,
    /// Its interval; 95 % for all slices at once. `None` where one group gives none.
    pub difference_ci: Option<[f64; 2]>,
    /// Share of the rows each tier answers.
    pub share: BTreeMap<String, f64>,
}

/// What `--traffic` changed: rows are weighed by how often requests like them come.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrafficReport {
    /// Requests in the file.
    pub requests: usize,
    /// What makes two requests alike.
    pub strata: String,
    /// Share of the requests that are like no row of the log, and so are not represented.
    pub uncovered_share: f64,
    /// (Σw)² / Σw² of the calibration rows: so many unweighted rows would say as much.
    pub effective_calibration_rows: f64,
    /// The same of the held-out rows.
    pub effective_test_rows: f64,
    /// The selected policy on held-out rows weighed as the log has them.
    pub as_logged: Option<TrafficMeans>,
    /// The same weighed like the traffic.
    pub on_traffic: Option<TrafficMeans>,
    /// Share of the requests themselves whose first call goes to each tier.
    pub asked_first: BTreeMap<String, f64>,
    /// Share of the requests that lack a feature or tag that the policy needs.
    pub undecided_share: f64,
}

/// Means of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TrafficMeans {
    /// Mean quality.
    pub quality: f64,
    /// Mean cost per request in US dollars.
    pub cost_usd: f64,
    /// Share of requests for which more than one tier is asked.
    pub escalated: f64,
}

/// Which slices a guard keeps on its reference tier, judged on calibration rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GuardReport {
    /// The tag.
    pub tag: String,
    /// The reference tier.
    pub tier: String,
    /// The loss that is tolerated, in quality.
    pub max_loss: f64,
    /// Rows that a slice needs to be judged.
    pub min_rows: u64,
    /// Slices that are kept on the reference tier.
    pub kept: Vec<GuardedSlice>,
    /// Slices that the policy serves.
    pub passed: Vec<GuardedSlice>,
    /// Slices with too few rows to be judged; the policy serves them.
    pub too_few: Vec<GuardedSlice>,
}

impl GuardReport {
    /// The same with every slice kept that `before` keeps, as it was judged then.
    #[must_use]
    pub(in crate::fit) fn keeping(mut self, before: &Self) -> Self {
        let kept = |of: &Self, label: &str| of.kept.iter().any(|slice| slice.label == label);
        let again: Vec<GuardedSlice> =
            before.kept.iter().filter(|slice| !kept(&self, &slice.label)).cloned().collect();
        self.kept.extend(again);
        self.kept.sort_by(|a, b| a.label.cmp(&b.label));
        self.passed.retain(|slice| !kept(before, &slice.label));
        self
    }
}

/// One slice before the guard.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GuardedSlice {
    /// Its label.
    pub label: String,
    /// Calibration rows with it.
    pub rows: usize,
    /// Mean quality of the reference tier minus that of the policy.
    pub loss: f64,
    /// Its interval, 95 % for all judged slices at once; `None` where one group gives none.
    pub loss_ci: Option<[f64; 2]>,
}

/// Escalation benefit b(t) = E[q_H − q_L | s = t] of a pair (MATH.md 2).
#[derive(Clone, Debug, Serialize)]
pub struct Benefit {
    /// Cheap and dear tier.
    pub tiers: [String; 2],
    /// Signal of the cheap tier.
    pub signal: String,
    /// The threshold in use.
    pub at_least: Option<f64>,
    /// Bins of equal frequency, in order of the signal.
    pub bins: Vec<BenefitBin>,
    /// The decreasing fit.
    pub isotonic: Vec<IsotonicStep>,
    /// The shadow price along the signal (MATH.md 3.1).
    pub shadow_prices: Vec<ShadowPriceStep>,
}

/// One step of the cost-weighted decreasing fit of a [`Benefit`]: what escalating the answers of the step buys.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ShadowPriceStep {
    /// Lowest signal of the step; `None` where answers without the signal are in it.
    pub signal: Option<f64>,
    /// λ: quality gained per US dollar.
    pub quality_per_usd: f64,
    /// μ = 1/λ; `None` where nothing is gained.
    pub usd_per_quality: Option<f64>,
}

/// One bin of a [`Benefit`].
#[derive(Clone, Copy, Debug, Serialize)]
pub struct BenefitBin {
    /// Mean signal.
    pub signal: f64,
    /// Mean q_H − q_L.
    pub benefit: f64,
    /// Its standard error.
    pub error: f64,
    /// Rows in the bin.
    pub rows: usize,
}

/// One step of the decreasing fit of a [`Benefit`].
#[derive(Clone, Copy, Debug, Serialize)]
pub struct IsotonicStep {
    /// Lowest signal of the step.
    pub signal: f64,
    /// Its level, in quality.
    pub benefit: f64,
}

/// A signal turned into a predicted quality on calibration rows, checked on held-out rows (MATH.md 10).
#[derive(Clone, Debug, Serialize)]
pub struct Reliability {
    /// The tier.
    pub tier: String,
    /// Its signal.
    pub signal: String,
    /// Mean absolute difference of predicted and observed quality over bins of equal frequency.
    pub expected_calibration_error: f64,
    /// P(a good answer scores higher than a bad one).
    pub auroc: f64,
    /// The bins.
    pub bins: Vec<ReliabilityBin>,
}

/// One bin of a [`Reliability`].
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ReliabilityBin {
    /// Mean predicted quality.
    pub predicted: f64,
    /// Mean observed quality.
    pub observed: f64,
    /// Standard error of the observed quality.
    pub error: f64,
    /// Rows in the bin.
    pub rows: usize,
}
