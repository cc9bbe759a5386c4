//! One stage of a cascade at a time: all its cuts with the others as they are, and coordinate ascent for chains of four
//! and more stages (MATH.md 6.3), a heuristic.

use super::{Arena, Sums};
use crate::fit::frontier::operating::{CascadeRule, Operating, StageCut};
use crate::fit::limits::within;
use crate::fit::objective::Target;

/// Rounds over all stages.
const ROUNDS: usize = 6;

/// Ranks at which all stages start.
const STARTS: [(usize, usize); 3] = [(1, 4), (2, 4), (3, 4)];

const KEEP: StageCut = StageCut { signal: 0, at_least: f64::NEG_INFINITY };
const ESCALATE: StageCut = StageCut { signal: 0, at_least: f64::INFINITY };

impl Arena<'_> {
    /// Visits every cut of a stage, the two ends included, with the exact sums of the rule then. O(rows · signals).
    pub(super) fn slice(&self, rule: &CascadeRule, stage: usize, mut visit: impl FnMut(StageCut, Sums)) {
        let Some(&at_stage) = rule.tiers.get(stage) else { return };
        let tier = &self.table.tiers[at_stage];
        let mut fixed = Sums::default();
        let mut arrived: Vec<Option<(i64, f64)>> = vec![None; self.table.len()];
        for &row in &self.rows {
            match rule.walk_between(self.table, row, (0, stage), (0, 0.0)) {
                Ok(walk) => fixed += self.sums(row, walk.quality, walk.cost, walk.latency_ms),
                Err(spent) => arrived[row as usize] = Some(spent),
            }
        }
        // Kept and escalated, with the price of a signal.
        let both = |row: u32, signal: i64| {
            let at = row as usize;
            let (cost, latency) = arrived[at]?;
            let cost = cost + tier.cost[at] + signal;
            let latency = latency + f64::from(tier.latency_ms[at]);
            let kept = self.sums(row, tier.quality[at], cost, latency);
            let walk =
                rule.walk_between(self.table, row, (stage + 1, rule.tiers.len()), (cost, latency)).ok()?;
            Some([kept, self.sums(row, walk.quality, walk.cost, walk.latency_ms)])
        };
        let ends = self.rows.iter().filter_map(|&row| both(row, 0));
        let [kept, escalated] = ends.fold([fixed; 2], |sums, ends| [sums[0] + ends[0], sums[1] + ends[1]]);
        visit(KEEP, kept);
        if tier.signals.is_empty() {
            return;
        }
        for (signal, ranking) in self.rankings[at_stage].iter().enumerate() {
            let price = |row: u32| tier.signals[signal].cost.get(row as usize).copied().unwrap_or(0);
            let paid = self.rows.iter().filter_map(|&row| both(row, price(row)));
            let mut sums = paid.fold(fixed, |sum, ends| sum + ends[0]);
            for group in 1..ranking.groups() {
                for &row in ranking.group(group - 1) {
                    if let Some([kept, escalated]) = both(row, price(row)) {
                        sums += escalated - kept;
                    }
                }
                visit(StageCut { signal, at_least: ranking.scores[group] }, sums);
            }
        }
        visit(ESCALATE, escalated);
    }

    /// The best cascade found over one chain; `None` if none that was seen keeps the constraint and the limits.
    pub(super) fn climb(&self, tiers: &[usize], target: Target) -> Option<Operating> {
        let stages = tiers.len().saturating_sub(1);
        let start = |cut: &dyn Fn(usize) -> StageCut| CascadeRule {
            tiers: tiers.to_vec(),
            cuts: (0..stages).map(cut).collect(),
        };
        let at_rank = |stage: usize, (numerator, denominator): (usize, usize)| {
            let scores = self.rankings[tiers[stage]].first().map_or(&[][..], |ranking| &ranking.scores);
            let group = (scores.len() * numerator / denominator).max(1);
            scores.get(group).map_or(KEEP, |&at_least| StageCut { signal: 0, at_least })
        };
        let mut starts: Vec<CascadeRule> =
            STARTS.into_iter().map(|rank| start(&|stage| at_rank(stage, rank))).collect();
        starts.push(start(&|_| KEEP));
        let best = starts
            .into_iter()
            .map(|rule| self.ascend(rule, target))
            .reduce(|best, next| if next.0 > best.0 { next } else { best })?;
        let ((violation, _), rule) = best;
        (violation >= 0.0).then(|| Operating { totals: self.total(&rule).totals(), rule })
    }

    fn ascend(&self, mut rule: CascadeRule, target: Target) -> ((f64, (i128, i128)), CascadeRule) {
        let mut standing = self.standing(self.total(&rule), target);
        for _ in 0..ROUNDS {
            let before = standing;
            for stage in 0..rule.cuts.len() {
                let mut better = None;
                self.slice(&rule, stage, |cut, sums| {
                    let next = self.standing(sums, target);
                    if next > standing {
                        standing = next;
                        better = Some(cut);
                    }
                });
                if let Some(cut) = better {
                    rule = rule.with_cut(stage, cut);
                }
            }
            if standing == before {
                break;
            }
        }
        (standing, rule)
    }

    /// Larger is better: first what is missing to keep everything (0 or negative), then the rank.
    fn standing(&self, sums: Sums, target: Target) -> (f64, (i128, i128)) {
        let missing = |excess: i128, scale: i128| {
            if excess > 0 { -(excess as f64) / (scale.unsigned_abs() as f64 + 1.0) } else { 0.0 }
        };
        let constraint = match target {
            Target::Budget(limit) => missing(sums.cost - limit, limit),
            Target::Floor(floor) => missing(floor - sums.quality, floor),
            Target::Price(_) => 0.0,
        };
        let tails = if within(sums.over, self.allowed) {
            0.0
        } else {
            sums.over
                .iter()
                .zip(&self.allowed)
                .map(|(&over, &allowed)| missing(i128::from(over) - i128::from(allowed), allowed.into()))
                .sum()
        };
        (constraint + tails, target.rank(sums.totals()))
    }
}
