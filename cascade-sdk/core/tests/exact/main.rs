//! Exact searches against brute force: every policy of a small log, run row by row.
#![cfg(feature = "fit")]
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "small logs")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod abstain;
mod brute;
mod invariants;
mod limits;
mod mixtures;
mod searches;
mod vectors;
