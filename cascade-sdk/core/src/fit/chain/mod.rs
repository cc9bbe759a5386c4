//! Cascades of three and more stages (MATH.md 6).
//!
//! Three stages are exact: the optimum at any price, budget or quality floor over both cuts and all signals. Four and
//! more are a heuristic.

mod explore;
mod full;
mod optimum;
mod surface;
mod tree;
mod triples;
mod units;

pub use full::{FullChain, non_dominated};

use super::operating::{CascadeRule, Operating, PolicyClass};
use super::pair::{self, Member, Pairs};
use super::point_set::PointSet;
use super::table::{Table, Totals};
use optimum::{Constraint, Search};
use triples::Triples;

/// Above this many rows, three-stage searches cut at quantiles of the scores only.
pub const EXACT_ROWS: usize = 20_000;

/// Number of quantiles then.
pub const QUANTILES: usize = 4_096;

/// S_r: cascades of tiers in order of cost, up to r stages, with every signal of each tier; holds S₂ and S₁.
#[derive(Debug)]
pub struct Chains<'t> {
    table: &'t Table,
    points: PointSet<Reached>,
    hull: Vec<Operating>,
    triples: Triples<'t>,
}

/// What reaches a point.
#[derive(Clone, Debug)]
enum Reached {
    Short(Member),
    Long(CascadeRule),
}

impl Reached {
    fn rule(&self) -> CascadeRule {
        match self {
            Self::Short(member) => member.rule(),
            Self::Long(rule) => rule.clone(),
        }
    }
}

impl<'t> Chains<'t> {
    /// Searches the table's tiers, which must be in order of cost, on `rows`.
    pub fn new(table: &'t Table, rows: &[u32], max_stages: usize, threads: usize) -> Self {
        let rankings = pair::rankings(table, rows, threads);
        let pairs = Pairs::from_rankings(table, rows, &rankings, threads);
        let roof: Vec<Totals> = pairs.hull().iter().map(|vertex| vertex.totals).collect();
        let members = if max_stages < 3 { Vec::new() } else { triples::all(table) };
        let triples = Triples::new(table, rows, rankings, members, &roof, threads);
        let mut points: Vec<(Totals, Reached)> =
            pairs.staircase().iter().map(|&(totals, member)| (totals, Reached::Short(member))).collect();
        points.extend(triples.vertices().map(|found| (found.totals, Reached::Long(found.rule))));
        let points = PointSet::new(points);
        let hull = points.hull().map(operating).collect();
        Self { table, points, hull, triples }
    }

    /// The most mean quality that cutting at quantiles can have cost at any budget (0 if all cuts were searched).
    pub fn quantile_loss(&self) -> f64 {
        self.triples.quantile_loss()
    }

    fn solve(&self, constraint: Constraint) -> Option<Operating> {
        let known = match constraint {
            Constraint::Budget(limit) => self.points.at_budget(limit),
            Constraint::Floor(floor) => self.points.at_floor(floor),
        };
        let search = Search { units: self.triples.units(), constraint, known: known.map(|known| known.0) };
        self.triples.solve(search).or_else(|| known.map(operating))
    }

    /// The table that was searched.
    pub fn table(&self) -> &'t Table {
        self.table
    }
}

fn operating((totals, reached): &(Totals, Reached)) -> Operating {
    Operating { totals: *totals, rule: reached.rule() }
}

impl PolicyClass for Chains<'_> {
    fn at_budget(&self, cost: i128) -> Option<Operating> {
        self.solve(Constraint::Budget(cost))
    }

    fn at_floor(&self, quality: i128) -> Option<Operating> {
        self.solve(Constraint::Floor(quality))
    }

    fn hull(&self) -> &[Operating] {
        &self.hull
    }
}
