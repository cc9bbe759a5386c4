//! How a run of a collecting job went.

use super::journal::Cell;
use cascade_sdk::money::Usd;
use std::collections::BTreeMap;

/// How a run went.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// Calls that were answered or failed as the tier's own answer.
    pub(crate) recorded: u64,
    /// Those among them that failed.
    pub(crate) failed: u64,
    /// Calls that failed for reasons that say nothing of the tier, after all attempts.
    pub(crate) lost: u64,
    /// Prompts that were not asked, over all tiers.
    pub(crate) left: u64,
    /// Why a tier was given up, by tier.
    pub(crate) stopped: Vec<(String, Stop)>,
    /// True after Ctrl-C.
    pub(crate) interrupted: bool,
    /// Money of this run.
    pub(crate) spent: Usd,
    /// Answers that nobody has graded yet.
    pub(crate) ungraded: u64,
    /// Signals of answers that have a value now.
    pub(crate) scored: u64,
    /// Signals of answers that have none and will have none.
    pub(crate) without_value: u64,
    /// Why signals have no value, by cell.
    pub(crate) reasons: BTreeMap<Cell, String>,
    /// Signals that answers lack yet.
    pub(crate) unscored: u64,
}

impl Summary {
    /// True if every prompt has its answers, graded.
    pub(crate) fn is_complete(&self) -> bool {
        let all_there = self.left == 0 && self.lost == 0 && self.ungraded == 0 && self.unscored == 0;
        all_there && self.stopped.is_empty() && !self.interrupted
    }

    /// Adds a further run of the same job, whose results are signals of answers.
    pub(crate) fn add_signals(&mut self, mut other: Self) {
        self.scored += other.recorded - other.failed;
        self.without_value += other.failed;
        self.unscored += other.left + other.lost;
        self.reasons.append(&mut other.reasons);
        self.add(other);
    }

    /// Adds a further run of the same job, whose results are no answers but verdicts on them.
    pub(crate) fn add(&mut self, other: Self) {
        self.stopped.extend(other.stopped);
        self.interrupted |= other.interrupted;
        self.spent = self.spent.saturating_add(other.spent);
    }
}

/// Why a tier was given up.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stop {
    /// The next call might exceed the cap.
    Cap,
    /// The provider fails whatever it is asked.
    Provider(String),
}

impl Stop {
    /// That a lane was given up, and why.
    pub(crate) fn in_words(&self, lane: &str) -> String {
        let lane = super::in_words(lane);
        match self {
            Self::Cap => format!("{lane}: stopped, the next call could exceed --max-spend"),
            Self::Provider(problem) => format!("{lane}: stopped, {problem}"),
        }
    }
}
