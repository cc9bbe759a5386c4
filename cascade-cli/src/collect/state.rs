//! How far each lane of a run is, and whether it goes on.

use super::journal::Journal;
use super::progress::{Progress, Rate, Standing};
use super::run::Lane;
use super::spend::Ledger;
use super::summary::{Stop, Summary};
use crate::failure::Failure;
use cascade_sdk::provider::ProviderError;
use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

/// Failures in a row that say the server is wrong, not the prompts.
const FAILURES_IN_A_ROW: u32 = 5;
/// Attempts in a row after whose failure people are told, while the server gets more.
const TELLING_ATTEMPTS: u32 = 3;

/// What the lanes of a run share.
#[derive(Debug)]
pub(super) struct State {
    pub(super) journal: Journal,
    pub(super) ledger: Ledger,
    pub(super) progress: Progress,
    pub(super) lanes: Vec<LaneState>,
    pub(super) summary: Summary,
    /// The journal could not be written: nothing more may be asked.
    pub(super) broken: Option<Failure>,
}

impl State {
    pub(super) fn count_failure(&mut self, lane: usize, suspicious: bool, error: &impl fmt::Display) {
        let Some(own) = self.lanes.get_mut(lane) else { return };
        own.failures_in_a_row = if suspicious { own.failures_in_a_row + 1 } else { 0 };
        if own.failures_in_a_row >= FAILURES_IN_A_ROW {
            self.stop(lane, Stop::Provider(format!("{FAILURES_IN_A_ROW} calls in a row failed: {error}")));
        }
    }

    /// Gives a lane up, and says so at once: other lanes may go on for hours.
    pub(super) fn stop(&mut self, lane: usize, why: Stop) {
        if let Some(own) = self.lanes.get_mut(lane).filter(|own| own.stopped.is_none()) {
            // That money ends is said at the end.
            if why != Stop::Cap {
                self.progress.warn(&why.in_words(&own.name));
            }
            own.stopped = Some(why);
        }
    }

    /// Counts an attempt that failed in a way that another may not.
    pub(super) fn count_attempt(&mut self, lane: usize, error: &ProviderError) {
        let Some(own) = self.lanes.get_mut(lane) else { return };
        own.attempts_in_a_row += 1;
        // Once for each trouble, however long it lasts.
        if own.attempts_in_a_row == TELLING_ATTEMPTS && own.stopped.is_none() {
            let name = super::in_words(&own.name);
            self.progress
                .warn(&format!("{name}: {TELLING_ATTEMPTS} calls in a row failed, asking on: {error}"));
        }
    }

    /// Counts a call that came to its end.
    pub(super) fn ended(&mut self, lane: usize) {
        if let Some(own) = self.lanes.get_mut(lane) {
            own.ended += 1;
            own.rate.count(Instant::now());
        }
    }

    pub(super) fn standing(&self) -> Standing {
        let now = Instant::now();
        let done = self.lanes.iter().map(|lane| lane.ended).sum();
        let at_work = || self.lanes.iter().filter(|lane| lane.stopped.is_none() && lane.left() > 0);
        let seconds = at_work().map(|lane| Some(lane.left() as f64 / lane.rate.per_second(now)?));
        let rates = at_work().filter_map(|lane| lane.rate.per_second(now));
        Standing {
            done,
            calls: done + at_work().map(LaneState::left).sum::<u64>(),
            spent: self.ledger.spent(),
            rate: rates.reduce(|sum, rate| sum + rate),
            // Lanes work side by side, so the slowest one says when all is done.
            seconds_left: seconds
                .collect::<Option<Vec<f64>>>()
                .and_then(|all| all.into_iter().reduce(f64::max)),
        }
    }
}

/// One lane.
#[derive(Debug)]
pub(super) struct LaneState {
    name: String,
    pub(super) queue: VecDeque<usize>,
    /// Calls that it began with, and those of them that came to their end.
    calls: u64,
    ended: u64,
    rate: Rate,
    pub(super) attempts_in_a_row: u32,
    pub(super) failures_in_a_row: u32,
    pub(super) longest_output: u64,
    pub(super) stopped: Option<Stop>,
}

impl LaneState {
    /// Of a lane that begins now.
    pub(super) fn new(lane: &Lane, now: Instant) -> Self {
        Self {
            name: lane.tier.name.clone(),
            queue: lane.queue.clone(),
            calls: lane.queue.len() as u64,
            ended: 0,
            rate: Rate::new(now),
            attempts_in_a_row: 0,
            failures_in_a_row: 0,
            longest_output: 0,
            stopped: None,
        }
    }

    fn left(&self) -> u64 {
        self.calls.saturating_sub(self.ended)
    }
}
