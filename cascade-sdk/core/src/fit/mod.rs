//! The fitting engine: from an eval log and an objective to a policy, its proof on held-out rows, and a verdict.
//!
//! | module | what it holds | MATH.md |
//! |---|---|---|
//! | [`table`] | the log's numbers as exact integers | 1 |
//! | [`objective`] | targets and multipliers | 2 |
//! | [`hull`], [`pair`], [`point_set`] | frontiers of two-model cascades, hulls | 3, 4 |
//! | [`chain`] | three-stage cascades, exactly | 6 |
//! | [`limits`], [`limited`] | limits on latency and cost tails, and the cascades that keep them | 6.2, 11.1 |
//! | [`guard`] | slices that are kept on a reference tier | 11 |
//! | [`family`] | what one family can do, whatever the family | |
//! | [`crossfit`] | choosing a family on calibration rows | 11 |
//! | [`bootstrap`], [`compare`] | intervals over groups | 11 |
//! | [`curves`] | held-out curves and areas | 11, 12 |
//! | [`near`] | prompts that are nearly the same | 14 |
//! | [`router`], [`logistic`], [`sweep`] | routers and their frontier over λ | 7, 14 |
//! | [`drift`] | whether a log still looks like that of the fit | |
//! | [`traffic`] | weighing rows like production traffic | 11 |
//! | [`verdict`] | is escalation worth it | |
//! | `setup`, `protocol`, `outcome` | the whole protocol, step by step | 11 |
//! | [`route`] | what goes in, what comes out | |

mod affix;
pub mod bootstrap;
pub mod bounds;
pub mod break_even;
pub mod certify;
pub mod chain;
pub mod combined;
pub mod compare;
pub mod crossfit;
pub mod curves;
pub mod diagnostics;
pub mod drift;
pub mod envelope;
pub mod families;
pub mod family;
pub mod guard;
pub mod hull;
pub mod isotonic;
pub mod limited;
pub mod limits;
pub mod logistic;
pub mod near;
mod newcomer;
pub mod objective;
pub mod operating;
mod outcome;
pub mod pair;
mod pairs;
pub mod point_set;
mod pool;
mod protocol;
pub mod random;
pub mod ranking;
pub mod report;
mod ridge;
pub mod route;
pub mod routed;
pub mod router;
pub mod router_cost;
mod router_inputs;
mod router_pooling;
mod setup;
pub mod simulate;
pub mod slices;
pub mod structural;
pub mod sweep;
pub mod table;
mod tails;
pub(crate) mod threads;
pub mod traffic;
pub mod verdict;

use crate::replay::ReplayError;
use std::fmt;

/// Why a fit cannot go on although its inputs were accepted.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FitError {
    /// A policy could not be run over the log.
    Replay(ReplayError),
}

impl From<ReplayError> for FitError {
    fn from(error: ReplayError) -> Self {
        Self::Replay(error)
    }
}

impl fmt::Display for FitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replay(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FitError {}
