//! A set of three-stage cascades that is searched exactly.

use super::explore::{Explored, Roof, explore};
use super::instance::{Instance, Pick};
use super::optimum::Search;
use super::surface::{Surface, Triple, Vertex};
use super::units::Units;
use crate::fit::frontier::operating::Operating;
use crate::fit::frontier::ranking::Ranking;
use crate::fit::rows::table::{QUALITY_ONE, Table, Totals};
use crate::fit::threads;

/// Three-stage cascades with finite cuts, and what is known of their hulls.
#[derive(Debug)]
pub(super) struct Triples<'t> {
    instance: Instance<'t>,
    members: Vec<(Triple, Explored)>,
}

/// All triples of tiers in order of cost, with every signal of the first two.
pub(super) fn all(table: &Table) -> Vec<Triple> {
    let tiers = table.tiers.len();
    let mut triples = Vec::new();
    for cheap in 0..tiers {
        for middle in cheap + 1..tiers {
            for dear in middle + 1..tiers {
                triples.extend(with_signals(table, [cheap, middle, dear]));
            }
        }
    }
    triples
}

/// One triple of tiers with every signal of the first two.
pub(super) fn with_signals(table: &Table, tiers: [usize; 3]) -> impl Iterator<Item = Triple> {
    let [first, second] = [tiers[0], tiers[1]].map(|tier| table.tiers[tier].signals.len());
    (0..first).flat_map(move |one| (0..second).map(move |two| Triple { tiers, signals: [one, two] }))
}

impl<'t> Triples<'t> {
    /// Explores the hulls of `members` where they rise above the hull `roof`.
    pub(super) fn new(instance: Instance<'t>, members: Vec<Triple>, roof: &[Totals], threads: usize) -> Self {
        let mut triples = Self { instance, members: Vec::new() };
        let roof = Roof::new(roof.iter().copied(), triples.units());
        let explored = threads::map(threads, members.len(), |at| {
            triples.surface(members[at]).map(|surface| explore(surface, &roof)).unwrap_or_default()
        });
        triples.members = members.into_iter().zip(explored).collect();
        triples
    }

    /// What is searched.
    pub(super) fn instance(&self) -> &Instance<'t> {
        &self.instance
    }

    pub(super) fn units(&self) -> Units {
        self.instance.columns.units
    }

    /// A bound on the mean quality that joining scores into quantiles can cost any member at any budget.
    pub(super) fn quantile_loss(&self) -> f64 {
        let Instance { table, rows, rankings, is_coarse, .. } = &self.instance;
        if !is_coarse {
            return 0.0;
        }
        let losses = self.members.iter().map(|member| joined_loss(table, member.0, rankings));
        losses.max().unwrap_or(0) as f64 / (table.total_weight(rows) as f64 * QUALITY_ONE as f64)
    }

    /// Policies among which are all vertices above the roof.
    pub(super) fn vertices(&self) -> impl Iterator<Item = Operating> {
        self.members.iter().flat_map(|(triple, explored)| {
            explored.vertices.iter().map(|&vertex| self.operating(*triple, vertex))
        })
    }

    /// Some policies of the members with these tiers, from cheap to dear.
    pub(super) fn picks_of(&self, tiers: &[usize]) -> impl Iterator<Item = Vec<Pick>> {
        self.members.iter().filter(move |member| member.0.tiers == tiers).flat_map(|(triple, explored)| {
            let mut vertices = explored.vertices.clone();
            vertices.sort_by_key(|vertex| (vertex.sums.cost, vertex.sums.quality));
            let step = vertices.len().div_ceil(3).max(1);
            vertices.into_iter().skip(step / 2).step_by(step).map(|vertex| picks(*triple, vertex).to_vec())
        })
    }

    /// The optimum of a constrained search if it is better than what the search knows.
    pub(super) fn solve(&self, mut search: Search) -> Option<Operating> {
        let mut open: Vec<_> = self
            .members
            .iter()
            .filter_map(|(triple, explored)| {
                search.tightest(explored).map(|(tangent, bound)| (bound, *triple, tangent))
            })
            .collect();
        // The most promising first; the sort is stable, so the order never depends on anything else.
        open.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut best = None;
        for (bound, triple, tangent) in open {
            if bound < search.reached() {
                break;
            }
            let found = self.surface(triple).and_then(|surface| search.solve(&surface, tangent));
            if let Some(found) = found.map(|vertex| self.operating(triple, vertex))
                && search.improves(found.totals)
            {
                search.known = Some(found.totals);
                best = Some(found);
            }
        }
        best
    }

    fn surface(&self, triple: Triple) -> Option<Surface> {
        let [first, second, _] = triple.tiers;
        let [one, two] = triple.signals;
        let Instance { columns, rankings, groups, .. } = &self.instance;
        let rankings = [&rankings[first][one], &rankings[second][two]];
        Surface::of_triple(columns, triple, rankings, &groups[second][two])
    }

    fn operating(&self, triple: Triple, vertex: Vertex) -> Operating {
        self.instance.operating(&triple.tiers, &picks(triple, vertex), vertex.sums)
    }
}

fn picks(triple: Triple, vertex: Vertex) -> [Pick; 2] {
    [0, 1].map(|stage| Pick { signal: triple.signals[stage], cut: vertex.cuts[stage] })
}

/// A bound on the total quality that joining scores into quantiles can cost at any budget.
///
/// Lower both cuts of a policy to the next quantile: no row goes further than before, so the cost does not rise. At the
/// first stage only rows of one joined group stop earlier, and each of them loses at most what the better one of the
/// later answers would have gained; likewise at the second.
fn joined_loss(table: &Table, triple: Triple, rankings: &[Vec<Ranking>]) -> i128 {
    let [cheap, middle, dear] = triple.tiers.map(|tier| &table.tiers[tier].quality);
    let worst = |stage: usize, loss: &dyn Fn(usize) -> i64| {
        let ranking = &rankings[triple.tiers[stage]][triple.signals[stage]];
        let group = |group| {
            ranking
                .group(group)
                .iter()
                .map(|&row| table.totals(row, loss(row as usize).max(0), 0).quality)
                .sum()
        };
        (0..ranking.groups()).map(group).max().unwrap_or(0)
    };
    let first: i128 = worst(0, &|row| middle[row].max(dear[row]) - cheap[row]);
    let second: i128 = worst(1, &|row| dear[row] - middle[row]);
    first + second
}
