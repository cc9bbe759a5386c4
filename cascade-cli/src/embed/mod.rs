//! Completing a log with embeddings: ask for those that rows lack, write them down as they come, put them into the log.
//!
//! ```text
//! log ─> run ─> journal ─> log
//! ```
//!
//! [`run`] writes an intent into the journal before each call and the vectors after it, so that a run which is killed loses no
//! more than the calls in flight, and these are counted at the most they can have cost. The end of a run moves the vectors
//! from the journal into the log; so does the next run where one was killed.

pub(crate) mod journal;
pub(crate) mod logs;
pub(crate) mod run;
