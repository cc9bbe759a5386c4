//! Walks `config/` and `policy/`: every kind of mistake has a file that makes it, with the text that a person sees in its
//! trailing comments. `BLESS=1 cargo test` writes the texts anew.

// Clippy allows these in test functions by itself, but not in the functions that tests share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod config;
mod expect;
mod fingerprint;
mod policy;
mod reference;
mod signals;
