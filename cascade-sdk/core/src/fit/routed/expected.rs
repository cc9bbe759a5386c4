//! What a pair that escalates by its expected gain can be expected to reach at each cut.
//!
//! As in a router's frontier, predictions out of fold take the place of what happened, which would favour the lucky among
//! many pairs and cuts; their sum over all kept answers is moved so that it agrees with what happened where everything is
//! kept and where everything escalates. What is expected of a cut counts only where what happened does not speak against it:
//! where, out of fold, it did no worse than the plain router at the same price.

use super::Sample;
use crate::fit::frontier::operating::CascadeRule;
use crate::fit::frontier::pair::{self, CutPoint, Pair};
use crate::fit::frontier::ranking::Ranking;
use crate::fit::router::sweep::{SweepPoint, sweep};
use crate::fit::rows::table::{QUALITY_ONE, Table, Totals};
use std::borrow::Cow;

impl Sample<'_> {
    /// What the router over single tiers did at each λ by its predictions out of fold, from the highest λ to 0.
    pub(super) fn plain(&self) -> Vec<SweepPoint> {
        let table = if self.router.reads_embedding() {
            self.table.with_embeddings(|_| true)
        } else {
            Cow::Borrowed(self.table)
        };
        let cells = self.rows.iter().flat_map(|&row| table.tiers.iter().map(move |tier| (row, tier)));
        let realised: Vec<Totals> = cells
            .map(|(row, tier)| table.totals(row, tier.quality[row as usize], tier.cost[row as usize]))
            .collect();
        sweep(table.tiers.len(), &self.router.prospects(), &realised)
    }

    /// The finite cuts of a pair on its gain per dollar, a signal of `table`, that did no worse than the `plain` router:
    /// realised costs, expected qualities.
    #[expect(clippy::cast_possible_truncation, reason = "quality in the integer units of the table")]
    pub(super) fn expected(
        &self,
        table: &Table,
        pair: Pair,
        plain: &[SweepPoint],
    ) -> Vec<(Totals, CascadeRule)> {
        let (cheap, dear) = (&table.tiers[pair.cheap], &table.tiers[pair.dear]);
        let values = &cheap.signals[pair.signal].value;
        let mut place = vec![0; table.len()];
        for (at, &row) in self.rows.iter().enumerate() {
            place[row as usize] = at;
        }
        // Of an answer whose score is known: its weight, and weight · gain as predicted (rounded, so that sums do not depend
        // on their order) and as it was.
        let part = |row: u32| {
            let (at, weight) = (row as usize, i128::from(table.weight[row as usize]));
            let per_dollar = values[at];
            if per_dollar == f64::NEG_INFINITY {
                return (0, 0, 0);
            }
            let predicted = per_dollar * self.cost_usd(place[at], pair.dear) * QUALITY_ONE as f64;
            let predicted = (weight as f64 * predicted).round() as i128;
            (weight, predicted, weight * i128::from(cheap.quality[at] - dear.quality[at]))
        };
        let ranking = Ranking::new(values, self.rows);
        let (mut kept, mut gain, mut realised) = (0, 0, 0);
        for &row in &ranking.order {
            let (weight, predicted, real) = part(row);
            kept += weight;
            gain += predicted;
            realised += real;
        }
        let (off, all) = (realised - gain, kept.max(1));
        let all_dear = table.single(pair.dear, self.rows).quality;
        let cuts = pair::frontier(table, &ranking, pair);
        let mut points = Vec::with_capacity(cuts.len());
        for (group, cut) in cuts.iter().enumerate().take(ranking.groups()) {
            if group > 0 && keeps_up(cut, plain) {
                let quality = all_dear + gain + (off * kept).div_euclid(all);
                points.push((Totals { quality, cost: cut.totals.cost }, pair.rule(cut.at_least)));
            }
            for &row in ranking.group(group) {
                let (weight, predicted, _) = part(row);
                kept -= weight;
                gain -= predicted;
            }
        }
        points
    }
}

/// Whether a cut, which is −λ, was worth at least as much at λ as the router.
fn keeps_up(cut: &CutPoint, plain: &[SweepPoint]) -> bool {
    let price = (-cut.at_least).max(0.0);
    let value = |totals: Totals| totals.quality as f64 - price * totals.cost as f64;
    let at = plain.partition_point(|point| point.shadow_price > price);
    plain.get(at).or(plain.last()).is_none_or(|router| value(cut.totals) >= value(router.totals))
}
