//! The verdict as JSON.

use super::super::held::Held;
use super::super::verdict::Verdict;
use super::HeldOut;
use crate::policy::Estimate;
use serde::Serialize;

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
    /// See [`Verdict::monthly_saving_usd`].
    pub monthly_saving_usd: Option<f64>,
    /// Its interval.
    pub monthly_saving_usd_ci: Option<[f64; 2]>,
    /// Gain over the random mixture of single tiers at equal calibration cost.
    pub gain_over_mixture: Option<f64>,
    /// Its interval.
    pub gain_over_mixture_ci: Option<[f64; 2]>,
    /// See [`Verdict::smallest_visible_gain`].
    pub smallest_visible_gain: Option<f64>,
    /// See [`Verdict::rows_needed`].
    pub rows_needed: Option<u64>,
    /// Whether the objective's bound holds on held-out rows; absent where it bounds no mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective: Option<HeldReport>,
    /// In plain words.
    pub text: String,
}

/// The selected policy on the held-out rows that repeat no calibration row, not even nearly.
#[derive(Clone, Debug, Serialize)]
pub struct ApartReport {
    /// How many rows these are.
    pub rows: usize,
    /// The policy's figures on them.
    pub held_out: HeldOut,
    /// What they say.
    pub verdict: VerdictReport,
}

/// The figure that the objective bounds, on held-out rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeldReport {
    /// The objective's key in the configuration.
    pub key: &'static str,
    /// The bound: quality, loss in quality, or US dollars a request.
    pub bound: f64,
    /// The figure.
    pub held_out: f64,
    /// Its 95 % interval.
    pub held_out_ci: [f64; 2],
    /// `yes`, `no`, or `unclear` where the interval holds the bound.
    pub holds: &'static str,
    /// The same in a sentence that ends without a full stop.
    pub text: String,
}

impl From<&Held> for HeldReport {
    fn from(held: &Held) -> Self {
        Self {
            key: held.key,
            bound: held.bound,
            held_out: held.figure.value,
            held_out_ci: [held.figure.low, held.figure.high],
            holds: held.holds.name(),
            text: held.text.clone(),
        }
    }
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
            monthly_saving_usd: value(&verdict.monthly_saving_usd),
            monthly_saving_usd_ci: ends(&verdict.monthly_saving_usd),
            gain_over_mixture: value(&verdict.gain_over_mixture),
            gain_over_mixture_ci: ends(&verdict.gain_over_mixture),
            smallest_visible_gain: verdict.smallest_visible_gain,
            rows_needed: verdict.rows_needed,
            objective: verdict.objective.as_ref().map(Into::into),
            text: verdict.text.clone(),
        }
    }
}
