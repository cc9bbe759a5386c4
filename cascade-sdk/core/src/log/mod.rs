//! Eval logs: what each tier answered to each request, how good that was and what it cost.

mod columns;

pub use columns::*;
