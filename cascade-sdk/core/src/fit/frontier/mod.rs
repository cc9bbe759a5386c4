//! Frontiers of two-model cascades and what any frontier is made of: ranked rows, operating points, hulls, the envelope
//! of all pairs, held-out curves (MATH.md 3 to 5, 11).

pub mod curves;
pub mod envelope;
pub mod hull;
pub mod isotonic;
pub mod mixture;
pub mod operating;
pub mod pair;
pub(super) mod pairs;
pub mod point_set;
pub mod ranking;
