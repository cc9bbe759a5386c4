//! How far a collecting job is: a bar on a terminal, a line now and then elsewhere.

use crate::money::dollars;
use cascade_sdk_core::money::Usd;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);
/// Calls of a lane over which its rate is taken: servers grow slower and faster.
const RECENT_CALLS: usize = 32;
/// Fewest calls that tell a rate.
const FEWEST_CALLS: usize = 5;

/// How fast the calls of a lane come to an end.
#[derive(Debug)]
pub(crate) struct Rate {
    /// When the recent calls ended; before them the end of the one before, or the beginning.
    times: VecDeque<Instant>,
}

impl Rate {
    /// Of a lane that begins now.
    pub(crate) fn new(now: Instant) -> Self {
        Self { times: VecDeque::from([now]) }
    }

    /// Counts a call that ended.
    pub(crate) fn count(&mut self, now: Instant) {
        self.times.push_back(now);
        if self.times.len() > RECENT_CALLS + 1 {
            self.times.pop_front();
        }
    }

    /// Calls in a second; `None` before that can be told.
    pub(crate) fn per_second(&self, now: Instant) -> Option<f64> {
        let calls = self.times.len() - 1;
        let time = now.duration_since(*self.times.front()?).as_secs_f64();
        (calls >= FEWEST_CALLS).then(|| calls as f64 / time.max(1e-3))
    }
}

/// Where a job stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    /// Calls that ended.
    pub(crate) done: u64,
    /// All calls but those of lanes that were stopped.
    pub(crate) calls: u64,
    pub(crate) spent: Usd,
    /// Calls in a second over all lanes, where known.
    pub(crate) rate: Option<f64>,
    /// Seconds until the slowest lane is done, where known.
    pub(crate) seconds_left: Option<f64>,
}

impl Standing {
    /// Rate, money and time left, as far as they are known.
    fn words(self) -> String {
        let rate = self.rate.map(|rate| format!("{rate:.1} calls/s"));
        let left = self.seconds_left.map(|seconds| {
            format!("{} left", words(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)))
        });
        rate.into_iter().chain([dollars(self.spent)]).chain(left).collect::<Vec<_>>().join(", ")
    }
}

/// Shows calls done, money spent, rate and time left on standard error.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    on_terminal: bool,
    quiet: bool,
    last_line: Instant,
}

impl Progress {
    /// For a job of so many calls. `quiet` shows nothing but the bar: in JSON format, lines are for machines.
    pub(crate) fn new(calls: u64, quiet: bool) -> Self {
        let on_terminal = std::io::stderr().is_terminal();
        let target = if on_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(calls), target);
        // A template that does not parse is a mistake of ours; the default bar will do.
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len}  {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar, on_terminal, quiet, last_line: Instant::now() }
    }

    /// After each call.
    pub(crate) fn step(&mut self, standing: Standing) {
        self.bar.set_length(standing.calls);
        self.bar.set_position(standing.done);
        if self.on_terminal {
            self.bar.set_message(standing.words());
        } else if !self.quiet && self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            anstream::eprintln!("{}/{} calls, {}", standing.done, standing.calls, standing.words());
        }
    }

    /// Shows a line above the bar, but not where lines are for machines.
    pub(crate) fn warn(&self, text: &str) {
        if !self.quiet {
            self.say(text);
        }
    }

    /// Shows a line above the bar.
    pub(crate) fn say(&self, text: &str) {
        self.bar.suspend(|| anstream::eprintln!("{text}"));
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// A duration for people.
fn words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..5400 => format!("{} min", (seconds + 30) / 60),
        _ => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!(words(Duration::from_secs(59)), "59 s");
        assert_eq!(words(Duration::from_secs(95)), "2 min");
        assert_eq!(words(Duration::from_secs(7200)), "2.0 h");
    }

    #[test]
    fn a_rate_is_that_of_the_recent_calls() {
        let begun = Instant::now();
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        let mut rate = Rate::new(begun);
        for second in 1..5 {
            rate.count(at(second));
            assert_eq!(rate.per_second(at(second)), None, "too few");
        }
        rate.count(at(5));
        assert_eq!(rate.per_second(at(5)), Some(1.0));
        // A server that hangs grows slower without an answer.
        assert_eq!(rate.per_second(at(50)), Some(0.1));
        for call in 0..40 {
            rate.count(at(100 + 10 * call));
        }
        assert_eq!(rate.per_second(at(490)), Some(0.1));
    }

    #[test]
    fn what_is_not_known_yet_is_not_said() {
        let first = Standing { done: 1, calls: 9, spent: Usd::ZERO, rate: None, seconds_left: None };
        assert_eq!(first.words(), "$0.00");
        let later = Standing { rate: Some(0.5), seconds_left: Some(90.0), ..first };
        assert_eq!(later.words(), "0.5 calls/s, $0.00, 2 min left");
    }
}
