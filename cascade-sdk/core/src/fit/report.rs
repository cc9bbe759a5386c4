//! The report of a fit: what `cascade fit --format json` prints (DESIGN.md 7). Numbers only; rendering is elsewhere.

use super::break_even::{BreakEven, EqualBudget};
use super::compare::{Comparison, Figures};
use super::crossfit::Standing;
use super::curves::{Curve, CurvePoint};
use super::diagnostics::SignalQuality;
use super::verdict::Verdict;
use crate::policy::{Cut, Estimate, Plan, Rules, ScoreSource};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// The whole report.
#[derive(Clone, Debug, Serialize)]
pub struct FitReport {
    /// The route.
    pub route: String,
    /// Counts of rows.
    pub rows: Rows,
    /// The single tiers on calibration rows, cheapest first.
    pub tiers: Vec<TierReport>,
    /// Tiers of the route that took no part because too few rows have them.
    pub left_out: Vec<LeftOut>,
    /// Every family that was tried.
    pub families: Vec<FamilyReport>,
    /// The chosen family; `None` if no family keeps the constraint on calibration rows.
    pub selected: Option<&'static str>,
    /// How the families compared on cross-fitted calibration values.
    pub selection: Vec<StandingReport>,
    /// λ at the selected operating point.
    pub shadow_price: ShadowPrice,
    /// What drawing between two policies by request would add to the selected one at its budget, in quality; absent
    /// where the objective is no budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duality_gap: Option<f64>,
    /// Is it worth it.
    pub verdict: VerdictReport,
    /// Every two-model frontier on calibration rows.
    pub pairs: Vec<PairReport>,
    /// The staircase of all pairs and single tiers on calibration rows.
    pub envelope: Vec<EnvelopePoint>,
    /// Costs at which the best pair changes.
    pub switching_points: Vec<SwitchingPoint>,
    /// Held-out curves by family.
    pub curves: BTreeMap<&'static str, Vec<CurveReport>>,
    /// The price of paying the cheap call first, if a router was fitted (MATH.md 9).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub structural_cost: Option<StructuralCost>,
    /// The selected policy on held-out rows that share a label, beside the best single tier.
    pub slices: Vec<Slice>,
    /// What escalation gains along the signal of the shown pair, on calibration rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub benefit: Option<Benefit>,
    /// Whether that signal can be believed, on held-out rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reliability: Option<Reliability>,
    /// Every signal, combined ones included, on held-out rows.
    pub signals: Vec<SignalQuality>,
    /// When the shown pair pays, on held-out rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub break_even: Option<BreakEven>,
    /// The shown pair and the router at equal budgets, on held-out rows; empty without a router.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub equal_budgets: Vec<EqualBudget>,
    /// Share of missing values per tier and signal, where any is missing.
    pub missing_signals: Vec<MissingSignal>,
    /// What a careful reader should know about these figures.
    pub warnings: Vec<String>,
}

/// Counts of rows.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Rows {
    /// Rows the fit and the report used.
    pub used: usize,
    /// Rows left out: unreadable, or without a result of some tier.
    pub skipped: usize,
    /// Rows used for choosing.
    pub calibration: usize,
    /// Rows used for reporting.
    pub test: usize,
}

/// A single tier on calibration rows.
#[derive(Clone, Debug, Serialize)]
pub struct TierReport {
    /// Its name.
    pub name: String,
    /// Mean quality.
    pub quality: f64,
    /// Mean cost per call in US dollars.
    pub cost_usd: f64,
    /// True if another tier is cheaper and better.
    pub dominated: bool,
    /// Always using this tier on held-out rows, and what the selected policy gains over that.
    pub held_out: Option<AlwaysTier>,
}

/// One tier for every held-out row, and the selected policy beside it (paired, 95 % intervals).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AlwaysTier {
    /// Mean quality of the tier.
    pub quality: f64,
    /// Mean cost of the tier per call in US dollars.
    pub cost_usd: f64,
    /// Quality of the selected policy minus that of the tier; `None` if no policy was selected.
    pub quality_gain: Option<f64>,
    /// Its interval.
    pub quality_gain_ci: Option<[f64; 2]>,
    /// 1 − cost of the selected policy / cost of the tier; `None` where the tier is free.
    pub cost_saving: Option<f64>,
    /// Its interval.
    pub cost_saving_ci: Option<[f64; 2]>,
}

impl AlwaysTier {
    /// Compares a policy with a tier, both by their positions in a comparison.
    pub fn new(comparison: &Comparison, tier: usize, policy: Option<usize>) -> Self {
        let own = comparison.figures(tier);
        let gain = policy.map(|policy| comparison.paired(|m| m(policy).quality - m(tier).quality));
        let saving = policy
            .filter(|_| own.cost_usd.value > 0.0)
            .map(|policy| comparison.paired(|m| 1.0 - m(policy).cost / m(tier).cost));
        let ends = |estimate: Estimate| [estimate.low, estimate.high];
        Self {
            quality: own.quality.value,
            cost_usd: own.cost_usd.value,
            quality_gain: gain.map(|gain| gain.value),
            quality_gain_ci: gain.map(ends),
            cost_saving: saving.map(|saving| saving.value),
            cost_saving_ci: saving.map(ends),
        }
    }
}

/// A tier that took no part.
#[derive(Clone, Debug, Serialize)]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// Rows that have it.
    pub rows: usize,
    /// Its mean quality on them.
    pub quality: f64,
    /// Mean quality on the same rows of the tiers that took part, by name.
    pub others: BTreeMap<String, f64>,
}

/// One family.
#[derive(Clone, Debug, Serialize)]
pub struct FamilyReport {
    /// Its name.
    pub family: &'static str,
    /// Its stages, where it has one plan; empty where a router chooses.
    pub plan: Vec<StageReport>,
    /// The plans among which its router chooses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<Vec<StageReport>>,
    /// The router's λ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router_shadow_price: Option<f64>,
    /// Means on calibration rows, out-of-fold where a router was fitted.
    pub calibration: Means,
    /// Figures on held-out rows; `None` if nothing was held out.
    pub held_out: Option<HeldOut>,
    /// See [`Curve::area`].
    pub area: Option<f64>,
    /// See [`Curve::area_hull`].
    pub area_hull: Option<f64>,
    /// Whether it keeps the constraint on calibration rows; if not, the plan is its cheapest (budget) or best (floor).
    pub feasible: bool,
    /// True if the search is a heuristic, so that a better member may exist.
    pub heuristic: bool,
}

/// One stage of a plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageReport {
    /// The tier.
    pub tier: String,
    /// The signal or score of its rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// The lowest kept score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<CutReport>,
}

/// A cut as JSON: a number, `null` (keeps every answer) or `"inf"` (always escalates).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CutReport(pub Cut);

impl Serialize for CutReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == Cut::KEEP_ALL {
            serializer.serialize_none()
        } else if self.0 == Cut::ESCALATE_ALL {
            serializer.serialize_str("inf")
        } else {
            serializer.serialize_f64(self.0.0)
        }
    }
}

/// Mean quality and cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Means {
    /// Mean quality.
    pub quality: f64,
    /// Mean cost in US dollars.
    pub cost_usd: f64,
}

/// Figures on held-out rows with 95 % intervals.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeldOut {
    /// Mean quality.
    pub quality: f64,
    /// Its interval.
    pub quality_ci: [f64; 2],
    /// Mean cost in US dollars.
    pub cost_usd: f64,
    /// Its interval.
    pub cost_usd_ci: [f64; 2],
    /// Mean calls per request.
    pub calls: f64,
    /// Its interval.
    pub calls_ci: [f64; 2],
    /// Share of requests each tier answers.
    pub share: BTreeMap<String, f64>,
    /// Their intervals.
    pub share_ci: BTreeMap<String, [f64; 2]>,
    /// Share of the cost in the dearest 1 % of rows.
    pub cost_in_dearest_percent: f64,
}

impl HeldOut {
    /// From the figures of a policy whose tiers have these names.
    pub fn new(figures: &Figures, tiers: &[String], cost_in_dearest_percent: f64) -> Self {
        let named = |value: &dyn Fn(&Estimate) -> f64| {
            tiers.iter().zip(&figures.share).map(|(name, share)| (name.clone(), value(share))).collect()
        };
        let ends = |estimate: &Estimate| [estimate.low, estimate.high];
        Self {
            quality: figures.quality.value,
            quality_ci: ends(&figures.quality),
            cost_usd: figures.cost_usd.value,
            cost_usd_ci: ends(&figures.cost_usd),
            calls: figures.calls.value,
            calls_ci: ends(&figures.calls),
            share: named(&|share| share.value),
            share_ci: tiers
                .iter()
                .zip(&figures.share)
                .map(|(name, share)| (name.clone(), ends(share)))
                .collect(),
            cost_in_dearest_percent,
        }
    }
}

/// A family's standing on calibration rows.
#[derive(Clone, Debug, Serialize)]
pub struct StandingReport {
    /// The family.
    pub family: &'static str,
    /// Mean cross-fitted Lagrangian value, in quality.
    pub value: f64,
    /// Mean paired shortfall from the best family.
    pub behind: f64,
    /// Standard error of the shortfall; `None` where one group gives none.
    pub standard_error: Option<f64>,
}

impl From<&Standing> for StandingReport {
    fn from(standing: &Standing) -> Self {
        Self {
            family: standing.family.name(),
            value: standing.value,
            behind: standing.behind,
            standard_error: standing.standard_error.is_finite().then_some(standing.standard_error),
        }
    }
}

/// λ and its reciprocal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ShadowPrice {
    /// λ to the right of the operating point; `None` past the last vertex.
    pub quality_per_usd: Option<f64>,
    /// μ = 1/λ.
    pub usd_per_quality: Option<f64>,
    /// At a vertex [right, left]: every λ in between supports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<[Option<f64>; 2]>,
}

/// The verdict as JSON.
#[derive(Clone, Debug, Serialize)]
pub struct VerdictReport {
    /// See [`Verdict::worth_it`].
    pub worth_it: bool,
    /// `single` where the reference is a single tier.
    pub versus: Option<&'static str>,
    /// The reference tier.
    pub versus_tier: Option<String>,
    /// Held-out quality minus the reference's.
    pub quality_gain: Option<f64>,
    /// Its interval.
    pub quality_gain_ci: Option<[f64; 2]>,
    /// 1 − cost / the reference's cost.
    pub cost_saving: Option<f64>,
    /// Its interval.
    pub cost_saving_ci: Option<[f64; 2]>,
    /// Gain over the random mixture of single tiers at equal calibration cost.
    pub gain_over_mixture: Option<f64>,
    /// Its interval.
    pub gain_over_mixture_ci: Option<[f64; 2]>,
    /// See [`Verdict::smallest_visible_gain`].
    pub smallest_visible_gain: Option<f64>,
    /// See [`Verdict::rows_needed`].
    pub rows_needed: Option<u64>,
    /// In plain words.
    pub text: String,
}

impl From<&Verdict> for VerdictReport {
    fn from(verdict: &Verdict) -> Self {
        let value = |estimate: &Option<Estimate>| estimate.map(|e| e.value).filter(|value| value.is_finite());
        let ends = |estimate: &Option<Estimate>| estimate.map(|e| [e.low, e.high]);
        Self {
            worth_it: verdict.worth_it,
            versus: verdict.versus.is_some().then_some("single"),
            versus_tier: verdict.versus.clone(),
            quality_gain: value(&verdict.quality_gain),
            quality_gain_ci: ends(&verdict.quality_gain),
            cost_saving: value(&verdict.cost_saving),
            cost_saving_ci: ends(&verdict.cost_saving),
            gain_over_mixture: value(&verdict.gain_over_mixture),
            gain_over_mixture_ci: ends(&verdict.gain_over_mixture),
            smallest_visible_gain: verdict.smallest_visible_gain,
            rows_needed: verdict.rows_needed,
            text: verdict.text.clone(),
        }
    }
}

/// One two-model frontier on calibration rows.
#[derive(Clone, Debug, Serialize)]
pub struct PairReport {
    /// Cheap and dear tier.
    pub tiers: [String; 2],
    /// Signal of the cheap tier; `None` where it has none.
    pub signal: Option<String>,
    /// Every distinct cut, or as many as were asked for, cheapest first.
    pub frontier: Vec<FrontierPoint>,
}

/// One cut of a frontier.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct FrontierPoint {
    /// The lowest kept score.
    pub at_least: CutReport,
    /// Mean cost in US dollars.
    pub cost_usd: f64,
    /// Mean quality.
    pub quality: f64,
}

/// One step of the envelope.
#[derive(Clone, Debug, Serialize)]
pub struct EnvelopePoint {
    /// Mean cost in US dollars.
    pub cost_usd: f64,
    /// Mean quality.
    pub quality: f64,
    /// Names of the tiers that reach it.
    pub plan: Vec<String>,
}

/// A cost at which the best pair or tier changes.
#[derive(Clone, Debug, Serialize)]
pub struct SwitchingPoint {
    /// Mean cost in US dollars.
    pub cost_usd: f64,
    /// Best below.
    pub from: Vec<String>,
    /// Best from here on.
    pub to: Vec<String>,
    /// Share of bootstrap resamples whose envelope holds the same change nearby.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency: Option<f64>,
}

/// One point of a held-out curve.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CurveReport {
    /// The budget.
    pub budget_usd: f64,
    /// Held-out quality.
    pub quality: f64,
    /// Its standard error, by group.
    pub quality_error: f64,
    /// Held-out cost.
    pub cost_usd: f64,
}

impl From<&CurvePoint> for CurveReport {
    fn from(point: &CurvePoint) -> Self {
        Self {
            budget_usd: point.budget_usd,
            quality: point.quality,
            quality_error: point.quality_error,
            cost_usd: point.cost_usd,
        }
    }
}

/// The curve of a family as JSON.
pub fn curve(curve: &Curve) -> Vec<CurveReport> {
    curve.points.iter().map(CurveReport::from).collect()
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

/// Values of a signal that are missing.
#[derive(Clone, Debug, Serialize)]
pub struct MissingSignal {
    /// The tier.
    pub tier: String,
    /// The signal.
    pub signal: String,
    /// Share of rows without it.
    pub share: f64,
}

/// A plan with names.
pub fn stages(rules: &Rules, plan: &Plan) -> Vec<StageReport> {
    plan.stages
        .iter()
        .map(|stage| StageReport {
            tier: rules.tiers[stage.tier].clone(),
            signal: stage.rule.map(|rule| match rule.score {
                ScoreSource::Signal(signal) => rules.signals[signal].clone(),
                ScoreSource::Score(score) => rules.scores[score].name.clone(),
            }),
            at_least: stage.rule.map(|rule| CutReport(rule.at_least)),
        })
        .collect()
}
