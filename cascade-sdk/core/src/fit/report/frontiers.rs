//! Frontiers on calibration rows and curves on held-out rows.

use super::policies::CutReport;
use crate::fit::frontier::curves::{Curve, CurvePoint};
use serde::Serialize;

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
    /// Whether so many resamples agree that the change can be relied on (MATH.md 5).
    pub stable: bool,
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
