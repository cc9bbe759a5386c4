//! The exact searches for second cuts, and the heuristic that adds them one stage after the other.

use super::{AbstainingRule, Found, better_of, plain};
use crate::fit::frontier::operating::{CascadeRule, StageCut};
use crate::fit::frontier::pair::Pair;
use crate::fit::limited::search::{OnePass, Step, groups};
use crate::fit::limited::{Arena, Sums};
use crate::fit::limits::within;
use crate::fit::objective::Target;

/// Rounds over the stages of a rule whose second cuts are added one after the other.
const ROUNDS: usize = 4;

impl Arena<'_> {
    pub(super) fn total_of(&self, rule: &AbstainingRule, worth: i64) -> Sums {
        self.rows.iter().fold(Sums::default(), |sum, &row| {
            let (walk, _) = rule.walk(self.table, row, worth);
            sum + self.sums(row, walk.quality, walk.cost, walk.latency_ms)
        })
    }

    /// One tier that abstains below a cut, at every cut of every signal, where the limits are kept.
    pub(super) fn single_with_cut(&self, tier: usize, worth: i64) -> Vec<Found> {
        let mut found = Vec::new();
        let start = plain(CascadeRule { tiers: vec![tier], cuts: Vec::new() });
        for signal in 0..self.table.tiers[tier].signals.len() {
            self.second_cuts(&start, 0, signal, worth, &mut |rule: &AbstainingRule, sums: Sums| {
                if within(sums.over, self.allowed) {
                    found.push((sums.totals(), rule.clone()));
                }
            });
        }
        found
    }

    /// Visits every second cut of one stage on one signal, up to the accept cut, with the others as they are.
    fn second_cuts(
        &self,
        rule: &AbstainingRule,
        stage: usize,
        signal: usize,
        worth: i64,
        visit: &mut dyn FnMut(&AbstainingRule, Sums),
    ) {
        let tier = rule.cascade.tiers[stage];
        let ranking = &self.rankings[tier][signal];
        let accept = rule.cascade.cuts.get(stage).map_or(f64::INFINITY, |cut| cut.at_least);
        let mut with_cut = rule.clone();
        // Nobody abstains yet, but everybody who gets here pays for the score.
        with_cut.below[stage] = Some(StageCut { signal, at_least: f64::NEG_INFINITY });
        let mut sums = self.total_of(&with_cut, worth);
        let always = StageCut { signal, at_least: f64::INFINITY };
        let mut abstaining = with_cut.clone();
        abstaining.below[stage] = Some(always);
        for group in 1..ranking.groups() {
            for &row in ranking.group(group - 1) {
                let part = |rule: &AbstainingRule| {
                    let (walk, _) = rule.walk(self.table, row, worth);
                    self.sums(row, walk.quality, walk.cost, walk.latency_ms)
                };
                sums += part(&abstaining) - part(&with_cut);
            }
            let at_least = ranking.scores[group];
            if at_least > accept {
                break;
            }
            with_cut.below[stage] = Some(StageCut { signal, at_least });
            let mut shown = rule.clone();
            shown.below[stage] = with_cut.below[stage];
            visit(&shown, sums);
            // Differences are taken against a rule that does not abstain.
            with_cut.below[stage] = Some(StageCut { signal, at_least: f64::NEG_INFINITY });
        }
    }

    /// The best pair that abstains at one of its stages; its cuts are exact.
    pub(super) fn abstaining_pair(&self, pair: Pair, worth: i64, target: Target) -> Option<Found> {
        let second = (0..self.table.tiers[pair.dear].signals.len())
            .filter_map(|signal| self.abstain_last(pair, signal, worth, target));
        let first = self.abstain_first(pair, None, worth, target);
        first.into_iter().chain(second).reduce(|best, next| better_of(target, best, next))
    }

    /// The best two cuts on the first stage of a pair whose second stage abstains as `last` says. O(n log n).
    ///
    /// Of the rows that the accept cut does not keep, those with the highest scores go on and the others abstain: those
    /// that go on are a prefix of the descending scores, so the tree of three-stage chains finds the best.
    fn abstain_first(&self, pair: Pair, last: Option<StageCut>, worth: i64, target: Target) -> Option<Found> {
        let ranking = &self.rankings[pair.cheap][pair.signal];
        let cheap = &self.table.tiers[pair.cheap];
        let cuts = ranking.groups();
        let top = u32::try_from(cuts).ok()?.checked_sub(1)?;
        let group_of = groups(ranking, self.table.len());
        let rule = |at_least: f64, below: f64| AbstainingRule {
            cascade: pair.rule(at_least),
            below: vec![Some(StageCut { signal: pair.signal, at_least: below }), last],
        };
        let onward = rule(f64::INFINITY, f64::NEG_INFINITY);
        // Kept, abstained, escalated: the price of the signal is paid in each case.
        let ends = |row: u32| {
            let at = row as usize;
            let cost = cheap.cost[at] + cheap.signals[pair.signal].cost.get(at).copied().unwrap_or(0);
            let latency = 0.0 + f64::from(cheap.latency_ms[at]);
            let (walk, _) = onward.walk(self.table, row, worth);
            [
                self.sums(row, cheap.quality[at], cost, latency),
                self.sums(row, worth, cost, latency),
                self.sums(row, walk.quality, walk.cost, walk.latency_ms),
            ]
        };
        let kept = self.rows.iter().fold(Sums::default(), |sum, &row| sum + ends(row)[0]);
        let pass = OnePass { kept, first: ranking, cuts: cuts + 1, leaves: top + 1 };
        let (cut, leaf) = self.optimum(&pass, target, |row| {
            let [kept, abstained, escalated] = ends(row);
            let group = group_of[row as usize];
            if ranking.scores[group as usize] == f64::NEG_INFINITY {
                return Step { change: escalated - kept, further: None };
            }
            Step { change: abstained - kept, further: Some((top - group, escalated - abstained)) }
        })?;
        let at_least = ranking.scores.get(cut).copied().unwrap_or(f64::INFINITY);
        // The lowest score that goes on; not above the accept cut, where nobody is left to abstain.
        let below = ranking.scores[(top - leaf) as usize].min(at_least);
        let rule = rule(at_least, below);
        Some((self.total_of(&rule, worth).totals(), rule))
    }

    /// The best cuts of a pair whose second stage abstains on one of its signals. O(n log n): an abstention is a third tier
    /// that costs nothing.
    fn abstain_last(&self, pair: Pair, signal: usize, worth: i64, target: Target) -> Option<Found> {
        let first = &self.rankings[pair.cheap][pair.signal];
        let second = &self.rankings[pair.dear][signal];
        let [cheap, dear] = [pair.cheap, pair.dear].map(|tier| &self.table.tiers[tier]);
        let group_of = groups(second, self.table.len());
        let leaves = u32::try_from(second.groups()).ok()?.checked_sub(1)?;
        let ends = |row: u32| {
            let at = row as usize;
            let cost = cheap.cost[at] + cheap.signals[pair.signal].cost.get(at).copied().unwrap_or(0);
            let latency = 0.0 + f64::from(cheap.latency_ms[at]);
            let further = cost + dear.cost[at] + dear.signals[signal].cost.get(at).copied().unwrap_or(0);
            let both = latency + f64::from(dear.latency_ms[at]);
            [
                self.sums(row, cheap.quality[at], cost, latency),
                self.sums(row, dear.quality[at], further, both),
                self.sums(row, worth, further, both),
            ]
        };
        let kept = self.rows.iter().fold(Sums::default(), |sum, &row| sum + ends(row)[0]);
        let pass = OnePass { kept, first, cuts: first.groups(), leaves };
        let (cut, leaf) = self.optimum(&pass, target, |row| {
            let [kept, answered, abstained] = ends(row);
            let group = group_of[row as usize];
            // The top group answers at every finite cut, and a missing score never abstains.
            let abstains = group < leaves && second.scores[group as usize] > f64::NEG_INFINITY;
            Step { change: answered - kept, further: abstains.then_some((group, abstained - answered)) }
        })?;
        let rule = AbstainingRule {
            cascade: pair.rule(first.scores[cut]),
            below: vec![None, Some(StageCut { signal, at_least: second.scores[leaf as usize + 1] })],
        };
        Some((self.total_of(&rule, worth).totals(), rule))
    }

    /// Second cuts added to a rule, and moved, one stage after the other; `None` if none helps.
    pub(super) fn add_cuts(&self, mut rule: AbstainingRule, worth: i64, target: Target) -> Option<Found> {
        let start = self.total_of(&rule, worth);
        let keeps = |sums: Sums| within(sums.over, self.allowed) && target.is_met(sums.totals());
        let mut best = keeps(start).then(|| start.totals());
        let before = best;
        for _ in 0..ROUNDS {
            let round = best;
            for stage in 0..rule.cascade.tiers.len() {
                let mut better = None;
                let mut offer = |next: &AbstainingRule, sums: Sums| {
                    if keeps(sums) && best.is_none_or(|best| target.rank(sums.totals()) > target.rank(best)) {
                        best = Some(sums.totals());
                        better = Some(next.clone());
                    }
                };
                for signal in self.signals_for_cut(&rule, stage) {
                    self.second_cuts(&rule, stage, signal, worth, &mut offer);
                }
                // Both cuts of a pair's first stage move together.
                if let (0, &[cheap, dear], &[StageCut { signal, at_least }]) =
                    (stage, &rule.cascade.tiers[..], &rule.cascade.cuts[..])
                    && at_least > f64::NEG_INFINITY
                    && let Some((_, next)) =
                        self.abstain_first(Pair { cheap, signal, dear }, rule.below[1], worth, target)
                {
                    offer(&next, self.total_of(&next, worth));
                }
                if let Some(better) = better {
                    rule = better;
                }
            }
            if best == round {
                break;
            }
        }
        best.filter(|_| best != before).map(|totals| (totals, rule))
    }

    /// The signals on which a stage may abstain: that of its accept rule, any signal of a last stage.
    fn signals_for_cut(&self, rule: &AbstainingRule, stage: usize) -> Vec<usize> {
        match rule.cascade.cuts.get(stage) {
            // It keeps everything, so that no stage after it is ever asked.
            Some(cut) if cut.at_least == f64::NEG_INFINITY => Vec::new(),
            Some(cut) => vec![cut.signal],
            None => (0..self.table.tiers[rule.cascade.tiers[stage]].signals.len()).collect(),
        }
    }
}
