//! A sign of life on a terminal for work that takes more than a second and cannot say how far it is.

use crate::terminal::Terminal;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Work that is done sooner needs no sign.
const SOON: Duration = Duration::from_secs(1);

/// How often the time is written anew: often enough to be seen moving, seldom enough for a screen reader.
const TICK: Duration = Duration::from_secs(1);

/// Shows what is being done and for how long, from a second after its start until it is dropped. On a terminal only, and on
/// standard error: pipes, files and tools see nothing of it.
#[derive(Debug)]
pub(crate) struct Busy(Option<(mpsc::Sender<()>, JoinHandle<()>)>);

impl Busy {
    /// Begins with `what`, such as `fitting triage`.
    pub(crate) fn with(what: String, terminal: Terminal) -> Self {
        if terminal.is_json() || !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let (done, is_done) = mpsc::channel::<()>();
        let show = move || {
            if is_done.recv_timeout(SOON) != Err(mpsc::RecvTimeoutError::Timeout) {
                return;
            }
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
                .with_message(what)
                .with_elapsed(SOON);
            // A template that does not parse is a mistake of ours; the default will do.
            if let Ok(style) = ProgressStyle::with_template("{msg}, {elapsed}") {
                bar.set_style(style);
            }
            while is_done.recv_timeout(TICK) == Err(mpsc::RecvTimeoutError::Timeout) {
                bar.tick();
            }
            bar.finish_and_clear();
        };
        // Without a thread there is only nothing to see.
        Self(thread::Builder::new().spawn(show).ok().map(|thread| (done, thread)))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some((done, thread)) = self.0.take() {
            drop(done);
            // What is printed next must not meet the line.
            let _ = thread.join();
        }
    }
}
