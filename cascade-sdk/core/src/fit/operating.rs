//! What a search over cascades returns: an operating point and the rule that reaches it.

use super::table::{Table, Totals};

/// A cascade as the searches see it: tiers in order and a cut on a signal of each but the last.
#[derive(Clone, Debug, PartialEq)]
pub struct CascadeRule {
    /// Indices into [`super::table::Table::tiers`], in the order in which they run.
    pub tiers: Vec<usize>,
    /// One cut for each tier but the last.
    pub cuts: Vec<StageCut>,
}

/// Keep the answer iff the tier's signal is at least the cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StageCut {
    /// Index into the tier's signals.
    pub signal: usize,
    /// The lowest kept score; −∞ keeps everything, +∞ escalates everything.
    pub at_least: f64,
}

impl CascadeRule {
    /// Exact sums over `rows`: every stage that ran is paid, and a signal of its own price where a finite cut reads it.
    pub fn totals(&self, table: &Table, rows: &[u32]) -> Totals {
        rows.iter().fold(Totals::default(), |sum, &row| sum + self.row(table, row))
    }

    fn row(&self, table: &Table, row: u32) -> Totals {
        let (at, mut cost) = (row as usize, 0);
        for (stage, &tier) in self.tiers.iter().enumerate() {
            let tier = &table.tiers[tier];
            cost += tier.cost[at];
            let Some(cut) = self.cuts.get(stage) else { return table.totals(row, tier.quality[at], cost) };
            let keep = match cut.at_least {
                f64::NEG_INFINITY => true,
                f64::INFINITY => false,
                at_least => {
                    let signal = &tier.signals[cut.signal];
                    cost += signal.cost.get(at).copied().unwrap_or(0);
                    signal.value[at] >= at_least
                }
            };
            if keep {
                return table.totals(row, tier.quality[at], cost);
            }
        }
        Totals::default()
    }
}

/// A rule and its exact totals on the rows it was searched on.
#[derive(Clone, Debug, PartialEq)]
pub struct Operating {
    /// Sums over those rows.
    pub totals: Totals,
    /// The rule.
    pub rule: CascadeRule,
}

/// A set of cascades that can be searched exactly (or, where documented, heuristically).
pub trait PolicyClass: Sync {
    /// The best total quality whose total cost is at most `cost`; ties go to the lower cost. `None` if even the
    /// cheapest member costs more.
    fn at_budget(&self, cost: i128) -> Option<Operating>;

    /// The lowest total cost whose total quality is at least `quality`; ties go to the higher quality.
    fn at_floor(&self, quality: i128) -> Option<Operating>;

    /// The vertices of the least concave majorant of (cost, quality), cheapest first, slopes strictly decreasing and
    /// positive (MATH.md 4).
    fn hull(&self) -> &[Operating];

    /// The most mean quality that cutting at quantiles of the scores instead of at every score can have cost at any
    /// budget; 0 if all cuts were searched.
    fn quantile_loss(&self) -> f64 {
        0.0
    }
}
