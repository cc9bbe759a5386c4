//! The fitting engine: from an eval log and an objective to a policy, its proof on held-out rows, and a verdict.
//!
//! | module | what it holds | MATH.md |
//! |---|---|---|
//! | [`rows`] | the log's numbers as exact integers, usable tiers, near-duplicates, production traffic as weights | 1, 11, 14 |
//! | [`objective`], [`limits`] | targets and multipliers; limits on latency and cost tails | 2, 6.2, 11.1 |
//! | [`frontier`] | two-model cascades, hulls, the envelope of pairs, mixtures, curves | 3 to 5, 11 |
//! | [`chain`] | three-stage cascades, exactly; longer ones by ascent | 6 |
//! | [`limited`] | cascades that keep limits, cascades that may abstain | 6.2, 6.4, 11.1 |
//! | [`router`], [`logistic`] | routers and their frontier over λ | 7, 14 |
//! | [`routed`] | plans chosen by the prompt | 8 |
//! | [`family`], [`families`] | what one family can do, whatever the family | |
//! | [`inference`] | folds, intervals over groups, bounds, certificates | 11 |
//! | [`guard`] | slices that are kept on a reference tier | 11 |
//! | [`analysis`] | signals, combined scores, structural cost, break-even, learning curves, a new tier, drift | 2.1, 9, 10 |
//! | `constraint` | what a guard and stops must keep | 2 |
//! | `early` | answers that are given up while they arrive | 2 |
//! | [`verdict`], [`held`] | is escalation worth it; does the objective hold on held-out rows | |
//! | `setup`, `selection`, `assurance`, `protocol`, `outcome` | the whole protocol, step by step | 11 |
//! | [`route`], [`report`] | what goes in, what comes out | |
//! | [`random`], `threads` | seeded numbers, work spread over threads in a fixed order | |

pub mod analysis;
mod assurance;
pub mod chain;
mod constraint;
mod early;
pub mod families;
pub mod family;
pub mod frontier;
pub mod guard;
pub mod held;
pub mod inference;
pub mod limited;
pub mod limits;
pub mod logistic;
pub mod objective;
mod outcome;
mod protocol;
pub mod random;
pub mod report;
pub mod route;
pub mod routed;
pub mod router;
pub mod rows;
mod selection;
mod setup;
pub(crate) mod threads;
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
