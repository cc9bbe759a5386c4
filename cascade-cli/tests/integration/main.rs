//! Runs the built `cascade` the way people do.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy.toml allows both in test functions only, not in their helpers"
)]

mod abstain;
mod check;
mod codes;
mod codes_collect;
mod collect;
mod collect_kill;
mod collect_lock;
mod collect_signals;
mod command_line;
mod diff;
mod documents;
mod early;
mod embed;
mod fit;
mod grading;
mod import;
mod init;
mod mixtures;
mod outputs;
mod price;
mod project;
mod report;
mod schema;
mod server;
mod static_embedding;
