//! Runs the built `cascade` the way people do.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy.toml allows both in test functions only, not in their helpers"
)]

mod check;
mod collect;
mod command_line;
mod documents;
mod fit;
mod init;
mod project;
mod server;
