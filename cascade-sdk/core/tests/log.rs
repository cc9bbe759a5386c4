//! Reading eval logs: good ones, bad ones, and the real ones where they are at hand.
#![cfg(feature = "log")]

#[path = "log/real.rs"]
mod real;
