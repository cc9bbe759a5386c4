//! What rows can prove: choosing on folds, intervals over groups, bounds and certificates (MATH.md 11).

pub mod bootstrap;
pub mod bounds;
pub mod certify;
pub mod compare;
pub mod crossfit;
pub mod promises;
pub mod simulate;
pub mod slices;
pub(super) mod tails;
