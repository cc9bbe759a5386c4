//! What can be certified: an objective's constraints as statements about the mean of bounded values (MATH.md 11.1).

use crate::config::{Goal, Objective};
use crate::fit::inference::bounds::{bets_needed, fewest_rows};
use crate::fit::inference::crossfit::{clustered_error, weighted_mean};
use crate::fit::inference::simulate::Outcomes;
use crate::fit::limits::{Limits, TailLimit};
use crate::fit::rows::table::{QUALITY_ONE, Table};
use crate::money::{PICO_PER_USD, Usd};

/// A constraint that is to be certified, as "the mean of values in [0, 1] exceeds a level".
#[derive(Clone, Debug, PartialEq)]
pub enum Promise {
    /// Mean quality of at least this.
    Quality(f64),
    /// Mean quality of at most `by` below that of tier `versus` (index into the table).
    Loss {
        /// The reference tier.
        versus: usize,
        /// The loss allowed, in quality.
        by: f64,
    },
    /// Mean cost of at most this.
    Cost(Usd),
    /// At most a share of requests exceeds a bound.
    Tail(TailLimit),
}

/// Rows beyond which nobody collects to certify.
const MOST_ROWS: u64 = 1_000_000;

impl Promise {
    /// Everything an objective constrains; empty where it constrains nothing.
    pub fn all(objective: &Objective, table: &Table) -> Vec<Self> {
        let goal = match &objective.goal {
            Goal::MaxCost(limit) => Some(Self::Cost(*limit)),
            Goal::MinQuality(floor) => Some(Self::Quality(*floor)),
            Goal::MaxQualityLoss { versus, by } => table
                .tiers
                .iter()
                .position(|tier| &tier.name == versus)
                .map(|versus| Self::Loss { versus, by: *by }),
            Goal::ShadowPrice(_) | Goal::MaxQuality => None,
        };
        let tails = Limits::of(objective).list().iter().copied().map(Self::Tail).collect::<Vec<_>>();
        goal.into_iter().chain(tails).collect()
    }

    /// In words.
    pub fn words(&self, table: &Table) -> String {
        match self {
            Self::Quality(floor) => format!("mean quality is at least {floor}"),
            Self::Loss { versus, by } => {
                format!("mean quality is at most {by} below that of `{}`", table.tiers[*versus].name)
            }
            Self::Cost(limit) => format!("mean cost is at most {limit} USD a request"),
            Self::Tail(limit) => limit.words(),
        }
    }

    /// The fewest rows, each a group of its own, with which any policy could pass at level δ.
    pub fn fewest_rows(&self, delta: f64) -> Option<u64> {
        match self {
            Self::Quality(floor) => Some(fewest_rows(*floor, delta)),
            // Nothing is lost anywhere and the reference is always wrong: no policy can do better.
            Self::Loss { by, .. } => fewest_bets(1.0, (1.0 - by) / 2.0, delta),
            Self::Tail(limit) => Some(fewest_rows(1.0 - limit.share, delta)),
            Self::Cost(_) => None,
        }
        .filter(|rows| *rows <= MOST_ROWS)
    }

    /// How risky a policy is by its outcomes on the rows that choose: the excess over the level in standard errors.
    pub(super) fn risk(&self, table: &Table, outcomes: &Outcomes, rows: &[u32]) -> f64 {
        let each = |value: &dyn Fn(usize) -> f64| (0..rows.len()).map(value).collect::<Vec<f64>>();
        let quality = |at: usize| outcomes.quality[at] as f64 / QUALITY_ONE as f64;
        let excess = match self {
            Self::Quality(floor) => each(&|at| floor - quality(at)),
            Self::Loss { versus, by } => {
                let reference = &table.tiers[*versus].quality;
                each(&|at| reference[rows[at] as usize] as f64 / QUALITY_ONE as f64 - quality(at) - by)
            }
            Self::Cost(limit) => each(&|at| (outcomes.cost[at] - limit.pico()) as f64 / PICO_PER_USD as f64),
            Self::Tail(limit) => each(&|at| {
                f64::from(u8::from(limit.exceeded(outcomes.cost[at], outcomes.latency_ms[at]))) - limit.share
            }),
        };
        let (mean, error) = (weighted_mean(table, rows, &excess), clustered_error(table, rows, &excess));
        if error > 0.0 && error.is_finite() { mean / error } else { mean * 1e9 }
    }
}

/// Rows after which bets on a constant value pass.
pub(super) fn fewest_bets(value: f64, level: f64, delta: f64) -> Option<u64> {
    bets_needed(value, level, delta, MOST_ROWS)
}
