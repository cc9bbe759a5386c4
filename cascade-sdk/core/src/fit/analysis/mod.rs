//! What is said about a log beside the policy: how well signals work, where the cost of a cascade goes, what a new tier
//! would add, whether a log still looks like that of the fit (MATH.md 2.1, 9, 10).

pub mod break_even;
pub mod combined;
pub mod diagnostics;
pub mod drift;
pub(super) mod learning;
pub(super) mod newcomer;
pub mod structural;
