//! What a pair that escalates by its expected gain can be expected to reach at each cut.
//!
//! As in a router's frontier, predictions out of fold take the place of what happened, which would favour the lucky among
//! many pairs and cuts; their sum over all kept answers is moved so that it agrees with what happened where everything is
//! kept and where everything escalates.

use super::Sample;
use crate::fit::frontier::operating::CascadeRule;
use crate::fit::frontier::pair::{self, Pair};
use crate::fit::frontier::ranking::Ranking;
use crate::fit::rows::table::{QUALITY_ONE, Table, Totals};

impl Sample<'_> {
    /// Every finite cut of a pair on its gain per dollar, a signal of `table`: realised costs, expected qualities.
    #[expect(clippy::cast_possible_truncation, reason = "quality in the integer units of the table")]
    pub(super) fn expected(&self, table: &Table, pair: Pair) -> Vec<(Totals, CascadeRule)> {
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
            if group > 0 {
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
