//! The log's rows, ready for a fit: exact integers, near-duplicates, weights of production traffic, tiers that take part.

pub(super) mod affix;
pub(super) mod coverage;
pub mod near;
pub(super) mod pool;
pub mod table;
pub mod traffic;
