//! Routers between two tiers by the share of calls to the dear one, as RouteLLM (arXiv 2406.18665) reports them.

use cascade_sdk_core::fit::rows::table::{QUALITY_ONE, Table};

/// How many dear calls a router needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallShares {
    /// Share of dear calls at which half of the gap in quality is closed.
    pub(crate) half: f64,
    /// The same for four fifths of the gap.
    pub(crate) most: f64,
    /// Mean share of the gap that is closed, over all shares of dear calls (APGR).
    pub(crate) mean: f64,
}

/// Sends rows to the dear tier in order of the predicted gain, `predictions` being log-odds by tier and row of the
/// table. `None` unless there are two tiers and the dear one is better.
pub(crate) fn shares(table: &Table, test: &[u32], predictions: &[Vec<f64>]) -> Option<CallShares> {
    let ([cheap, dear], [low, high]) = (&table.tiers[..], predictions) else { return None };
    let chance = |log_odds: f64| 1.0 / (1.0 + libm::exp(-log_odds));
    let mut order: Vec<(f64, u32)> =
        test.iter().map(|&row| (chance(low[row as usize]) - chance(high[row as usize]), row)).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let gain =
        |row: u32| (dear.quality[row as usize] - cheap.quality[row as usize]) as f64 / QUALITY_ONE as f64;
    let gap: f64 = test.iter().map(|&row| gain(row)).sum();
    if gap <= 0.0 {
        return None;
    }
    let (mut closed, mut area, mut half, mut most) = (0.0, 0.0, None, None);
    let rows = order.len() as f64;
    for (sent, &(_, row)) in (1_u32..).zip(&order) {
        let before = closed;
        closed += gain(row) / gap;
        area += f64::midpoint(before, closed) / rows;
        let share = f64::from(sent) / rows;
        half = half.or((closed >= 0.5).then_some(share));
        most = most.or((closed >= 0.8).then_some(share));
    }
    Some(CallShares { half: half?, most: most?, mean: area })
}
