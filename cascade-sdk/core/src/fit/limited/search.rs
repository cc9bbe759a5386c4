//! The exact optimum over both finite cuts of a three-stage cascade under limits.

use super::tree::{Prefix, Tree};
use super::{Arena, Sums, Used};
use crate::fit::frontier::operating::{CascadeRule, Operating, StageCut};
use crate::fit::frontier::ranking::Ranking;
use crate::fit::limits::MOST;
use crate::fit::objective::Target;
use crate::fit::rows::table::Totals;

/// What escalating a row at the first stage changes, and what it changes on top if it goes on from the second.
pub(super) struct Step {
    pub(super) change: Sums,
    /// The leaf and the change on top, where the row goes on from there.
    pub(super) further: Option<(u32, Sums)>,
}

/// One pass over the first cuts of a surface.
pub(super) struct OnePass<'r> {
    /// Sums if no row escalates at the first stage.
    pub(super) kept: Sums,
    pub(super) first: &'r Ranking,
    /// First cuts are groups from 1 to below this.
    pub(super) cuts: usize,
    pub(super) leaves: u32,
}

impl Arena<'_> {
    /// The optimum of one triple of tiers and one signal of each of the first two.
    pub(super) fn triple(&self, tiers: [usize; 3], signals: [usize; 2], target: Target) -> Option<Operating> {
        let [first, second] = [0, 1].map(|stage| &self.rankings[tiers[stage]][signals[stage]]);
        let group = groups(second, self.table.len());
        let [one, two, three] = tiers.map(|tier| &self.table.tiers[tier]);
        let read = |stage: usize, row: usize| {
            self.table.tiers[tiers[stage]].signals[signals[stage]].cost.get(row).copied().unwrap_or(0)
        };
        // Every exit of a row, all signals on the way read: at finite cuts nothing else happens.
        let exits = |row: u32| {
            let at = row as usize;
            let mut cost = one.cost[at] + read(0, at);
            // As in replay: a sum that starts from zero.
            let mut latency = 0.0 + f64::from(one.latency_ms[at]);
            let kept = self.sums(row, one.quality[at], cost, latency);
            cost += two.cost[at] + read(1, at);
            latency += f64::from(two.latency_ms[at]);
            let middle = self.sums(row, two.quality[at], cost, latency);
            cost += three.cost[at];
            latency += f64::from(three.latency_ms[at]);
            [kept, middle, self.sums(row, three.quality[at], cost, latency)]
        };
        let kept = self.rows.iter().fold(Sums::default(), |sum, &row| sum + exits(row)[0]);
        // The top group of the second ranking is kept at every finite cut.
        let leaves = u32::try_from(second.groups()).ok()?.checked_sub(1)?;
        let pass = OnePass { kept, first, cuts: first.groups(), leaves };
        let (cut, leaf) = self.optimum(&pass, target, |row| {
            let [kept, middle, last] = exits(row);
            let leaf = Some(group[row as usize]).filter(|&leaf| leaf < leaves);
            Step { change: middle - kept, further: leaf.map(|leaf| (leaf, last - middle)) }
        })?;
        let cuts = vec![
            StageCut { signal: signals[0], at_least: first.scores[cut] },
            StageCut { signal: signals[1], at_least: second.scores[leaf as usize + 1] },
        ];
        let rule = CascadeRule { tiers: tiers.to_vec(), cuts };
        Some(Operating { totals: self.total(&rule).totals(), rule })
    }

    /// The best first cut and the last leaf that goes on. O(n log n).
    pub(super) fn optimum(
        &self,
        pass: &OnePass<'_>,
        target: Target,
        step: impl Fn(u32) -> Step,
    ) -> Option<(usize, u32)> {
        if pass.leaves == 0 {
            return None;
        }
        let mut tree = Tree::new(pass.leaves as usize);
        let mut base = pass.kept;
        let mut best: Option<((i128, i128), usize, u32)> = None;
        for cut in 1..pass.cuts {
            for &row in pass.first.group(cut - 1) {
                let step = step(row);
                base += step.change;
                if let Some((leaf, further)) = step.further {
                    tree.add(leaf, further, target.gain(further.totals()));
                }
            }
            if let Some((rank, leaf)) = self.best_leaf(&tree, base, target)
                && best.is_none_or(|best| rank > best.0)
            {
                best = Some((rank, cut, leaf));
            }
        }
        best.map(|(_, cut, leaf)| (cut, leaf))
    }

    /// The best second cut after a first one, and how it ranks.
    fn best_leaf(&self, tree: &Tree, base: Sums, target: Target) -> Option<((i128, i128), u32)> {
        const NO_LIMIT: i128 = i128::MAX;
        let left = |cost: i128| Used { cost, over: self.allowed }.minus(base.used());
        let gain = target.gain(base.totals());
        let rank = |prefix: Prefix, gain_first: bool| {
            let (gain, cost) = (gain + prefix.gain, base.cost + prefix.used.cost);
            (if gain_first { (gain, -cost) } else { (-cost, gain) }, prefix.leaf)
        };
        match target {
            Target::Budget(limit) => Some(rank(tree.best_within(left(limit))?, true)),
            Target::Price(_) => Some(rank(tree.best_within(left(NO_LIMIT))?, true)),
            Target::Floor(floor) => {
                let cheapest = tree.first_reaching(floor - gain)?;
                // The shortest prefix exceeds the limits least.
                if !cheapest.used.within(left(NO_LIMIT)) {
                    return None;
                }
                // Rows that cost nothing may raise the quality further at the same cost.
                let limit = Used { cost: cheapest.used.cost, ..left(NO_LIMIT) };
                Some(rank(tree.best_within(limit)?, false))
            }
        }
    }
}

/// The group of each row of the table in a ranking; that of rows outside it is of no meaning.
pub(super) fn groups(ranking: &Ranking, rows: usize) -> Vec<u32> {
    let mut groups = vec![0; rows];
    for (group, number) in (0..ranking.groups()).zip(0_u32..) {
        for &row in ranking.group(group) {
            groups[row as usize] = number;
        }
    }
    groups
}

impl Target {
    /// What a search maximises: quality, or quality − λ · cost in whole units of 10⁻¹² a row.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "λ · cost of a row in units of 10⁻¹² stays far below 2¹²⁷"
    )]
    pub(in crate::fit) fn gain(self, totals: Totals) -> i128 {
        match self {
            Self::Price(price) => totals.quality - (price * totals.cost as f64).round_ties_even() as i128,
            Self::Budget(_) | Self::Floor(_) => totals.quality,
        }
    }

    /// Larger is better, among totals that keep the constraint.
    pub(in crate::fit) fn rank(self, totals: Totals) -> (i128, i128) {
        match self {
            Self::Floor(_) => (-totals.cost, totals.quality),
            Self::Budget(_) | Self::Price(_) => (self.gain(totals), -totals.cost),
        }
    }
}

const _: () = assert!(MOST == 2, "`Used` adds two tails");
