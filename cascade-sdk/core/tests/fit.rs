//! The fit from log to policy: protocol, certificates, and what happens to poor inputs.
#![cfg(feature = "fit")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests, outside of test functions"
)]

#[path = "fit/abstain.rs"]
mod abstain;
#[path = "fit/certificates.rs"]
mod certificates;
#[path = "fit/early.rs"]
mod early;
#[path = "fit/embeddings.rs"]
mod embeddings;
#[path = "fit/guard.rs"]
mod guard;
#[path = "fit/invariants.rs"]
mod invariants;
#[path = "fit/limits.rs"]
mod limits;
#[path = "fit/mixtures.rs"]
mod mixtures;
#[path = "fit/poor_inputs.rs"]
mod poor_inputs;
#[path = "fit/protocol.rs"]
mod protocol;
#[path = "fit/synthetic.rs"]
mod synthetic;
#[path = "fit/traffic.rs"]
mod traffic;
#[path = "fit/variants.rs"]
mod variants;
