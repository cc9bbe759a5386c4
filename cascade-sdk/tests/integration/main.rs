//! The client against a server that misbehaves on purpose, and against a log.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod apis;
mod budgets;
mod decisions;
mod early;
mod early_fitted;
mod embedding_money;
mod embeddings;
mod fault_table;
mod faults;
mod policies;
mod real;
mod replay;
mod secrets;
mod served_embeddings;
mod server;
mod setup;
mod signal_faults;
mod spans;
#[cfg(feature = "static-embedding")]
mod static_embedding;
