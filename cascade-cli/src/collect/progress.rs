//! How far a collecting job is: a bar on a terminal, a line now and then elsewhere.

use crate::money::dollars;
use cascade_sdk_core::money::Usd;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Shows calls done, money spent, rate and time left on standard error.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    on_terminal: bool,
    quiet: bool,
    last_line: Instant,
    started: Instant,
    calls: u64,
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
        Self { bar, on_terminal, quiet, last_line: Instant::now(), started: Instant::now(), calls }
    }

    /// After each call.
    pub(crate) fn step(&mut self, done: u64, spent: Usd) {
        let elapsed = self.started.elapsed().as_secs_f64().max(1e-3);
        let rate = done as f64 / elapsed;
        let left =
            Duration::from_secs_f64((self.calls.saturating_sub(done) as f64 / rate.max(1e-6)).min(1e9));
        let text = format!("{rate:.1} calls/s, {}, {} left", dollars(spent), words(left));
        self.bar.set_position(done);
        if self.on_terminal {
            self.bar.set_message(text);
        } else if !self.quiet && self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            anstream::eprintln!("{done}/{} calls, {text}", self.calls);
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
}
