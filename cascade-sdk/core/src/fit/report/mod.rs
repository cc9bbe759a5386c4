//! The report of a fit: what `cascade fit --format json` prints (DESIGN.md 7). Numbers only; rendering is elsewhere.

mod detail;
mod early;
mod frontiers;
mod objective;
mod policies;
mod verdict;

pub use detail::*;
pub use early::*;
pub use frontiers::*;
pub use objective::ObjectiveReport;
pub use policies::*;
pub use verdict::{ApartReport, HeldReport, VerdictReport};

use crate::fit::analysis::break_even::{BreakEven, EqualBudget};
use crate::fit::analysis::diagnostics::SignalQuality;
use crate::fit::inference::crossfit::Standing;
use serde::Serialize;
use std::collections::BTreeMap;

/// The whole report.
#[derive(Clone, Debug, Serialize)]
pub struct FitReport {
    /// The route.
    pub route: String,
    /// What was asked for.
    pub objective: ObjectiveReport,
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
    /// The mixture of two operating points that was selected, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixture: Option<MixtureReport>,
    /// The limits on tails and their multipliers; empty without such limits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitReport>,
    /// What a certificate takes, known before the fit; absent without `confidence`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certification: Option<Certification>,
    /// What the traffic changed; absent without `--traffic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficReport>,
    /// What the guard found; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard: Option<GuardReport>,
    /// What fitted early escalation does; absent without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_escalation: Option<EarlyReport>,
    /// Is it worth it.
    pub verdict: VerdictReport,
    /// The same without the held-out rows that nearly repeat a calibration row; absent where there are none, or no others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without_near_duplicates: Option<ApartReport>,
    /// How well the router's predictions fit what was observed, tier by tier; empty without a router.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub router_calibration: Vec<RouterCalibration>,
    /// Every two-model frontier on calibration rows.
    pub pairs: Vec<PairReport>,
    /// The staircase of all pairs and single tiers on calibration rows.
    pub envelope: Vec<EnvelopePoint>,
    /// Costs at which the best pair changes.
    pub switching_points: Vec<SwitchingPoint>,
    /// Held-out curves by family.
    pub curves: BTreeMap<&'static str, Vec<CurveReport>>,
    /// The price of paying the cheap call first (MATH.md 9); null unless a router and a pair were fitted.
    pub structural_cost: Option<StructuralCost>,
    /// The same at each budget; empty without a router.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub structural_by_budget: Vec<BudgetStructure>,
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
    /// What fits on parts of the calibration rows are worth on held-out rows, fewest rows first; empty unless asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub learning_curve: Vec<LearningPoint>,
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

/// The families fitted on some number of calibration rows, measured on all held-out rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LearningPoint {
    /// Mean number of rows of a part.
    pub rows: usize,
    /// Parts of this size, which share no group.
    pub parts: usize,
    /// By family.
    pub areas: BTreeMap<&'static str, LearningArea>,
}

/// What one family is worth on held-out rows, as [`FamilyReport::area_hull`], over the parts of one size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LearningArea {
    /// Mean over parts.
    pub area_hull: f64,
    /// Lowest and highest part.
    pub range: [f64; 2],
}

/// A limit on a tail and its multiplier at the optimum over single tiers and pairs, mixtures included (MATH.md 11.1).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LimitReport {
    /// The key of the objective that states the limit.
    pub limit: &'static str,
    /// The bound, in milliseconds or US dollars a request.
    pub bound: f64,
    /// Share of requests that may exceed it.
    pub share: f64,
    /// Quality gained per unit of share that were allowed on top, at equal cost: 0 where the limit does not bind.
    pub quality_per_share: f64,
}

/// What certifying takes, before anything is fitted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Certification {
    /// Confidence asked for.
    pub confidence: f64,
    /// Rows set aside to test on.
    pub rows: usize,
    /// Groups among them.
    pub groups: usize,
    /// Each constraint that is to be certified.
    pub promises: Vec<PromiseOutlook>,
    /// The reference tier of a loss, where nothing cheaper passed and it was fallen back on; not known before the fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nothing_cheaper_than: Option<String>,
}

/// What one constraint takes to be certified.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PromiseOutlook {
    /// The constraint in words.
    pub promise: String,
    /// Its share of δ = 1 − confidence.
    pub delta: f64,
    /// Fewest rows with which any policy could pass; `None` if more than a million.
    pub least_rows: Option<u64>,
    /// Rows that a policy exactly as good as the reference needs, for a bound on the loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub least_rows_at_no_loss: Option<u64>,
    /// The most that a request to the cheapest tier alone can cost by its token limits, divided by the bound on the mean
    /// cost: the larger, the more rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most_to_bound: Option<f64>,
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

/// Two operating points, drawn by request, against the best single one under the same constraint, on calibration rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MixtureReport {
    /// Share of requests that the second plan decides.
    pub share: f64,
    /// Mean quality gained: the duality gap that mixing closes.
    pub quality_gain: f64,
    /// Mean cost saved, in US dollars; negative where the mixture spends what a single policy leaves unspent.
    pub cost_saving_usd: f64,
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
