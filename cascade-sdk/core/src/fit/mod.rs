//! The fitting engine: from an eval log and an objective to a policy, its proof on held-out rows, and a verdict.

pub mod bootstrap;
pub mod hull;
pub mod objective;
pub mod operating;
pub mod random;
pub mod table;
