//! What all searches over long chains share: columns of small integers, rankings, and the group of each row in them.

use super::surface::Sums;
use super::units::Columns;
use crate::fit::frontier::operating::{CascadeRule, Operating, StageCut};
use crate::fit::frontier::ranking::Ranking;
use crate::fit::rows::table::Table;

/// How finely scores are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// Up to this many rows, every distinct score is a cut.
    pub exact_rows: usize,
    /// Above, about this many quantiles of the scores are.
    pub quantiles: usize,
}

impl Default for Resolution {
    fn default() -> Self {
        // Beyond, the trees over all cuts no longer fit the processor's caches and the search grows faster than n log n;
        // what quantiles can cost at that size is below any interval, and is reported.
        Self { exact_rows: 32_768, quantiles: 16_384 }
    }
}

/// The numbers of a search.
#[derive(Debug)]
pub(super) struct Instance<'t> {
    pub(super) table: &'t Table,
    pub(super) rows: Vec<u32>,
    pub(super) columns: Columns,
    /// Whether scores were joined into quantiles.
    pub(super) is_coarse: bool,
    /// By tier and signal.
    pub(super) rankings: Vec<Vec<Ranking>>,
    /// The group of each row of the table in each ranking; that of rows outside the search is of no meaning.
    pub(super) groups: Vec<Vec<Vec<u32>>>,
}

/// A stage's signal and cut. Rows of groups below `cut` escalate: 0 keeps all, the number of groups escalates all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pick {
    pub(super) signal: usize,
    pub(super) cut: u32,
}

impl<'t> Instance<'t> {
    pub(super) fn new(
        table: &'t Table,
        rows: &[u32],
        mut rankings: Vec<Vec<Ranking>>,
        resolution: Resolution,
    ) -> Self {
        let is_coarse = rows.len() > resolution.exact_rows;
        if is_coarse {
            for ranking in rankings.iter_mut().flatten() {
                *ranking = ranking.at_quantiles(resolution.quantiles);
            }
        }
        let groups = rankings
            .iter()
            .map(|tier| tier.iter().map(|ranking| groups_of(table, ranking)).collect())
            .collect();
        Self { table, rows: rows.to_vec(), columns: Columns::new(table, rows), is_coarse, rankings, groups }
    }

    /// An instance of no rows, where there is nothing to search.
    pub(super) fn empty(table: &'t Table) -> Self {
        Self::new(table, &[], vec![Vec::new(); table.tiers.len()], Resolution::default())
    }

    /// Where a pick's rule reads its signal.
    pub(super) fn reads(&self, tier: usize, pick: Pick) -> bool {
        pick.cut > 0 && (pick.cut as usize) < self.rankings[tier][pick.signal].groups()
    }

    /// The operating point of a chain whose sums are known.
    pub(super) fn operating(&self, tiers: &[usize], picks: &[Pick], sums: Sums) -> Operating {
        let cuts = tiers.iter().zip(picks).map(|(&tier, &Pick { signal, cut })| {
            let at_least = match self.rankings[tier][signal].scores.get(cut as usize) {
                _ if cut == 0 => f64::NEG_INFINITY,
                Some(&score) => score,
                None => f64::INFINITY,
            };
            StageCut { signal, at_least }
        });
        let rule = CascadeRule { tiers: tiers.to_vec(), cuts: cuts.collect() };
        let units = self.columns.units;
        let totals = if units.exact { units.totals(sums) } else { rule.totals(self.table, &self.rows) };
        Operating { totals, rule }
    }

    /// The picks of a rule whose cuts are scores of this instance.
    pub(super) fn picks(&self, rule: &CascadeRule) -> Vec<Pick> {
        let cut = |scores: &[f64], at_least: f64| {
            let below = match at_least {
                f64::NEG_INFINITY => 0,
                _ => scores.partition_point(|&score| score < at_least),
            };
            u32::try_from(below).unwrap_or(u32::MAX)
        };
        rule.tiers
            .iter()
            .zip(&rule.cuts)
            .map(|(&tier, &StageCut { signal, at_least })| Pick {
                signal,
                cut: cut(&self.rankings[tier][signal].scores, at_least),
            })
            .collect()
    }
}

fn groups_of(table: &Table, ranking: &Ranking) -> Vec<u32> {
    let mut groups = vec![0; table.len()];
    for (group, number) in (0..ranking.groups()).zip(0_u32..) {
        for &row in ranking.group(group) {
            groups[row as usize] = number;
        }
    }
    groups
}
