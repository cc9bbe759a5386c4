//! What a search over cascades returns: an operating point and the rule that reaches it.

use crate::fit::rows::table::{Table, Totals};

/// A cascade as the searches see it: tiers in order and a cut on a signal of each but the last.
#[derive(Clone, Debug, PartialEq)]
pub struct CascadeRule {
    /// Indices into [`crate::fit::rows::table::Table::tiers`], in the order in which they run.
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
        rows.iter().fold(Totals::default(), |sum, &row| {
            let walk = self.walk(table, row);
            sum + table.totals(row, walk.quality, walk.cost)
        })
    }

    /// What the cascade does with a row.
    pub fn walk(&self, table: &Table, row: u32) -> Walk {
        self.walk_between(table, row, (0, self.tiers.len()), (0, 0.0)).unwrap_or_default()
    }

    /// From the first of `stages` on, after cost and latency were spent; the spent amounts as an error where the row
    /// gets to the end of `stages` without an answer that is kept.
    pub(in crate::fit) fn walk_between(
        &self,
        table: &Table,
        row: u32,
        stages: (usize, usize),
        (mut cost, mut latency_ms): (i64, f64),
    ) -> Result<Walk, (i64, f64)> {
        let at = row as usize;
        for stage in stages.0..stages.1 {
            let tier = &table.tiers[self.tiers[stage]];
            cost += tier.cost[at];
            latency_ms += f64::from(tier.latency_ms[at]);
            let keep = match self.cuts.get(stage) {
                None => true,
                Some(cut) if cut.at_least == f64::NEG_INFINITY => true,
                Some(cut) if cut.at_least == f64::INFINITY => false,
                Some(cut) => {
                    let signal = &tier.signals[cut.signal];
                    cost += signal.cost.get(at).copied().unwrap_or(0);
                    signal.value[at] >= cut.at_least
                }
            };
            if keep {
                return Ok(Walk { quality: tier.quality[at], cost, latency_ms });
            }
        }
        Err((cost, latency_ms))
    }

    /// The rule with another cut at one stage.
    #[must_use]
    pub fn with_cut(&self, stage: usize, cut: StageCut) -> Self {
        let mut rule = self.clone();
        if let Some(place) = rule.cuts.get_mut(stage) {
            *place = cut;
        }
        rule
    }
}

/// What a cascade does with one row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Walk {
    /// Quality of the kept answer, in units of 10⁻¹².
    pub quality: i64,
    /// Everything that is paid, in pico-dollars.
    pub cost: i64,
    /// Sum of the latencies of the stages that ran, in milliseconds; NaN if one is unknown.
    pub latency_ms: f64,
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
