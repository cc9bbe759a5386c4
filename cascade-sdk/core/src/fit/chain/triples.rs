//! A set of three-stage cascades that is searched exactly.

use super::explore::{Explored, Roof, explore};
use super::optimum::Search;
use super::surface::{Surface, Triple, Vertex};
use super::units::{Columns, Units};
use super::{EXACT_ROWS, QUANTILES};
use crate::fit::operating::{CascadeRule, Operating, StageCut};
use crate::fit::ranking::Ranking;
use crate::fit::table::{QUALITY_ONE, Table, Totals};
use crate::fit::threads;

/// Three-stage cascades with finite cuts, and what is known of their hulls.
#[derive(Debug)]
pub(super) struct Triples<'t> {
    table: &'t Table,
    rows: Vec<u32>,
    columns: Columns,
    /// By tier and signal.
    rankings: Vec<Vec<Ranking>>,
    /// The group of each row of the table in each ranking.
    groups: Vec<Vec<Vec<u32>>>,
    members: Vec<(Triple, Explored)>,
    quantile_loss: f64,
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
    pub(super) fn new(
        table: &'t Table,
        rows: &[u32],
        mut rankings: Vec<Vec<Ranking>>,
        members: Vec<Triple>,
        roof: &[Totals],
        threads: usize,
    ) -> Self {
        let columns = Columns::new(table, if members.is_empty() { &[] } else { rows });
        let mut quantile_loss = 0.0;
        if members.is_empty() {
            rankings.clear();
        } else if rows.len() > EXACT_ROWS {
            rankings = rankings
                .iter()
                .map(|tier| tier.iter().map(|exact| exact.at_quantiles(QUANTILES)).collect())
                .collect();
            let losses =
                threads::map(threads, members.len(), |at| joined_loss(table, members[at], &rankings));
            let weight = table.total_weight(rows) as f64 * QUALITY_ONE as f64;
            quantile_loss = losses.into_iter().max().unwrap_or(0) as f64 / weight;
        }
        let groups = rankings
            .iter()
            .map(|tier| tier.iter().map(|ranking| groups_of(table, ranking)).collect())
            .collect();
        let mut triples = Self {
            table,
            rows: rows.to_vec(),
            columns,
            rankings,
            groups,
            members: Vec::new(),
            quantile_loss,
        };
        let roof = Roof::new(roof.iter().copied(), triples.units());
        let explored = threads::map(threads, members.len(), |at| {
            triples.surface(members[at]).map(|surface| explore(surface, &roof)).unwrap_or_default()
        });
        triples.members = members.into_iter().zip(explored).collect();
        triples
    }

    pub(super) fn units(&self) -> Units {
        self.columns.units
    }

    pub(super) fn quantile_loss(&self) -> f64 {
        self.quantile_loss
    }

    /// Policies among which are all vertices above the roof.
    pub(super) fn vertices(&self) -> impl Iterator<Item = Operating> {
        self.members.iter().flat_map(|(triple, explored)| {
            explored.vertices.iter().map(|&vertex| self.operating(*triple, vertex))
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
        let rankings = [&self.rankings[first][one], &self.rankings[second][two]];
        Surface::new(&self.columns, triple, rankings, &self.groups[second][two])
    }

    fn operating(&self, triple: Triple, vertex: Vertex) -> Operating {
        let cut = |stage: usize| {
            let signal = triple.signals[stage];
            let ranking = &self.rankings[triple.tiers[stage]][signal];
            StageCut { signal, at_least: ranking.scores[vertex.cuts[stage] as usize] }
        };
        let rule = CascadeRule { tiers: triple.tiers.to_vec(), cuts: vec![cut(0), cut(1)] };
        let totals = if self.units().exact {
            self.units().totals(vertex.sums)
        } else {
            rule.totals(self.table, &self.rows)
        };
        Operating { totals, rule }
    }
}

/// The group of each row of the table; rows outside the ranking have none that is used.
fn groups_of(table: &Table, ranking: &Ranking) -> Vec<u32> {
    let mut groups = vec![0; table.len()];
    for (group, number) in (0..ranking.groups()).zip(0_u32..) {
        for &row in ranking.group(group) {
            groups[row as usize] = number;
        }
    }
    groups
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
