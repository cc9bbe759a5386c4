//! Tiers, families and the policies they offer.

use crate::fit::inference::compare::{Comparison, Figures};
use crate::policy::{Cut, Estimate, Plan, Rules, ScoreSource};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

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
    /// Calibration rows that have it and all tiers that took part; the rest is on them.
    pub shared_rows: usize,
    /// Its mean cost in US dollars.
    pub cost_usd: Option<f64>,
    /// Its quality minus that of each tier that took part, paired row by row.
    pub difference: BTreeMap<String, Difference>,
    /// What adding it does to the frontier of single tiers and pairs; `None` with too few rows.
    pub frontier_gain: Option<FrontierGain>,
    /// The same in a sentence.
    pub text: String,
}

/// A paired difference in quality and its 95 % interval, by group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The mean.
    pub quality: f64,
    /// Its interval.
    pub quality_ci: [f64; 2],
}

/// Cross-fitted quality gained at equal cost, mean over the budgets, and its 95 % interval.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FrontierGain {
    /// The mean.
    pub quality: f64,
    /// Its interval.
    pub quality_ci: [f64; 2],
}

/// One family.
#[derive(Clone, Debug, Serialize)]
pub struct FamilyReport {
    /// Its name.
    pub family: &'static str,
    /// Its stages, where it has one plan; empty where a router chooses.
    pub plan: Vec<StageReport>,
    /// The plans among which its router chooses, or the two of a mixture.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<Vec<StageReport>>,
    /// The router's λ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router_shadow_price: Option<f64>,
    /// In a mixture, the share of requests that the second of its two plans decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixture_share: Option<f64>,
    /// Means on calibration rows; where a router was fitted, what its predictions out of fold expect.
    pub calibration: Means,
    /// Figures on held-out rows; `None` if nothing was held out.
    pub held_out: Option<HeldOut>,
    /// See [`Curve::area`](crate::fit::frontier::curves::Curve::area).
    pub area: Option<f64>,
    /// See [`Curve::area_hull`](crate::fit::frontier::curves::Curve::area_hull).
    pub area_hull: Option<f64>,
    /// Whether it keeps the constraint on calibration rows; if not, the plan is its cheapest (budget) or best (floor).
    pub feasible: bool,
    /// True if the search is a heuristic, so that a better member may exist.
    pub heuristic: bool,
    /// The most mean quality that cutting at quantiles of the scores instead of at every score can have cost at any
    /// budget; absent where every score was a cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantile_loss: Option<f64>,
    /// How often its policy exceeds each limit on a tail; empty without such limits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<TailReport>,
}

/// How often a policy exceeds a limit on a tail.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TailReport {
    /// The key of the objective that states the limit.
    pub limit: &'static str,
    /// The bound, in milliseconds or US dollars a request.
    pub bound: f64,
    /// Share of requests that may exceed it.
    pub share_allowed: f64,
    /// Share of calibration rows that exceed it.
    pub calibration_share: f64,
    /// Share of held-out rows that exceed it.
    pub held_out_share: Option<f64>,
    /// Its 95 % interval: exact binomial where each row is a group of its own, else by group.
    pub held_out_share_ci: Option<[f64; 2]>,
    /// The quantile of held-out path latency or cost that the limit bounds, in the unit of the bound; `None` if it is
    /// among rows of unknown latency.
    pub held_out_quantile: Option<f64>,
    /// How the family was searched under the limit.
    pub search: &'static str,
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
    /// The lowest score that does not abstain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abstain_below: Option<f64>,
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
    /// Share of requests that are answered "don't know"; absent where the policy never abstains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abstained: Option<f64>,
    /// Its interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abstained_ci: Option<[f64; 2]>,
    /// Mean quality of the requests that are answered; `quality` counts abstentions in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality_answered: Option<f64>,
    /// Its interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality_answered_ci: Option<[f64; 2]>,
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
            abstained: figures.abstained.map(|abstained| abstained.share.value),
            abstained_ci: figures.abstained.map(|abstained| ends(&abstained.share)),
            quality_answered: figures.abstained.map(|abstained| abstained.quality_answered.value),
            quality_answered_ci: figures.abstained.map(|abstained| ends(&abstained.quality_answered)),
        }
    }
}

/// A plan with names.
pub fn stages(rules: &Rules, plan: &Plan) -> Vec<StageReport> {
    let abstain = |place: usize| plan.abstain_rule(place);
    let name = |score: ScoreSource| match score {
        ScoreSource::Signal(signal) => rules.signals[signal].clone(),
        ScoreSource::Score(score) => rules.scores[score].name.clone(),
    };
    plan.stages
        .iter()
        .enumerate()
        .map(|(place, stage)| StageReport {
            tier: rules.tiers[stage.tier].clone(),
            signal: stage.rule.map(|rule| rule.score).or(abstain(place).map(|rule| rule.score)).map(name),
            at_least: stage.rule.map(|rule| CutReport(rule.at_least)),
            abstain_below: abstain(place).map(|rule| rule.below),
        })
        .collect()
}
