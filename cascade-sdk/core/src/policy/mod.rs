//! Policies: which tier answers a request, and when to escalate.

mod rules;

pub use rules::*;
