//! Collecting an eval log: ask every tier every prompt, grade the answers, write them down.
//!
//! ```text
//! prompts ─> run ─> journal ─> fold ─> log
//! ```
//!
//! [`run`] writes an intent into the journal before each call and the result after it; [`fold`] moves results from the
//! journal into the log at the end, and at the start of the next run where a run was killed. So the log is whole at any
//! moment, and nothing that is recorded is asked again. A [`lock`] keeps a second job away meanwhile.

pub(crate) mod appended;
pub(crate) mod fold;
pub(crate) mod grade;
pub(crate) mod grading;
pub(crate) mod journal;
pub(crate) mod judge;
pub(crate) mod lock;
pub(crate) mod pace;
pub(crate) mod program;
pub(crate) mod progress;
pub(crate) mod prompts;
mod prompts_csv;
pub(crate) mod record;
pub(crate) mod replacing;
pub(crate) mod report;
pub(crate) mod run;
mod scoring;
pub(crate) mod signals;
pub(crate) mod spend;
mod state;
mod summary;
pub(crate) mod tally;

use journal::Cell;

/// True for cells that hold a tier's answer, not a verdict on one or a signal of it.
pub(crate) fn is_answer(cell: &Cell) -> bool {
    !judge::is_verdict(cell) && !signals::is_signal(cell)
}

/// A lane's name in words: that of its tier, or what is asked about the answers of a tier.
pub(crate) fn in_words(lane: &str) -> String {
    signals::lane_in_words(lane).or_else(|| judge::lane_in_words(lane)).unwrap_or_else(|| lane.to_owned())
}
