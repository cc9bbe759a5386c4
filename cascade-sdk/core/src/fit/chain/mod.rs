//! Cascades of three and more stages (MATH.md 6).
//!
//! Three stages are exact: the optimum at any price, budget or quality floor over both cuts and all signals. Four and
//! more are a heuristic.

mod ascent;
mod explore;
mod frontier;
mod full;
mod instance;
mod optimum;
mod surface;
mod tree;
mod triples;
mod units;

pub use full::{FullChain, non_dominated};
pub use instance::Resolution;

use crate::fit::frontier::operating::{Operating, PolicyClass};
use crate::fit::frontier::pair::{self, Pairs};
use crate::fit::rows::table::Table;
use frontier::{Frontier, Reached};
use instance::Instance;
use optimum::Constraint;

/// S_r: cascades of tiers in order of cost, up to r stages, with every signal of each tier; holds S₂ and S₁.
#[derive(Debug)]
pub struct Chains<'t>(Frontier<'t>);

impl<'t> Chains<'t> {
    /// Searches the table's tiers, which must be in order of cost, on `rows`.
    pub fn new(table: &'t Table, rows: &[u32], max_stages: usize, threads: usize) -> Self {
        Self::at_resolution(table, rows, max_stages, Resolution::default(), threads)
    }

    /// As [`Chains::new`], with other limits to the number of cuts.
    pub fn at_resolution(
        table: &'t Table,
        rows: &[u32],
        max_stages: usize,
        resolution: Resolution,
        threads: usize,
    ) -> Self {
        let rankings = pair::rankings(table, rows, threads);
        let pairs = Pairs::from_rankings(table, rows, &rankings, threads);
        let short =
            pairs.staircase().iter().map(|&(totals, member)| (totals, Reached::Short(member))).collect();
        let longest = max_stages.min(table.tiers.len());
        let (instance, members) = if longest < 3 {
            (Instance::empty(table), Vec::new())
        } else {
            (Instance::new(table, rows, rankings, resolution), triples::all(table))
        };
        let long: Vec<Vec<usize>> =
            (4..=longest).flat_map(|stages| subsequences(table.tiers.len(), stages)).collect();
        Self(Frontier::new(short, instance, members, &long, threads))
    }
}

/// The ascending sequences of `length` numbers below `count`.
fn subsequences(count: usize, length: usize) -> Vec<Vec<usize>> {
    let mut found = vec![Vec::new()];
    for _ in 0..length {
        found = found
            .into_iter()
            .flat_map(|start: Vec<usize>| {
                let next = start.last().map_or(0, |last| last + 1);
                (next..count).map(move |number| [&start[..], &[number]].concat())
            })
            .collect();
    }
    found
}

impl PolicyClass for Chains<'_> {
    fn at_budget(&self, cost: i128) -> Option<Operating> {
        self.0.solve(Constraint::Budget(cost))
    }

    fn at_floor(&self, quality: i128) -> Option<Operating> {
        self.0.solve(Constraint::Floor(quality))
    }

    fn hull(&self) -> &[Operating] {
        self.0.hull()
    }

    fn quantile_loss(&self) -> f64 {
        self.0.quantile_loss()
    }
}
