//! Early abstention (MATH.md 6.4): a stage may also answer "don't know", where its score lies below a second cut.
//!
//! An abstention counts as a quality of 1 − `abstain_loss` and costs what was spent so far, so it saves the stages that
//! would have failed as well. A missing score never abstains: it escalates, or is accepted at a last stage.
//!
//! Single tiers with a cut and pairs that abstain at one of their stages are searched exactly, at a budget, a floor or a
//! price, with limits or without (`search`). Pairs that abstain at both stages, and longer chains, get their second cuts
//! one stage after the other, the best of all cuts each time, until none helps: a heuristic, and labelled as such.

mod search;

use super::{Limited, Members, VERTICES};
use crate::fit::family::{Candidate, Draft, FittedFamily, RulesBuilder};
use crate::fit::frontier::operating::{CascadeRule, Operating, PolicyClass, StageCut, Walk};
use crate::fit::frontier::pair::{Pair, all_pairs};
use crate::fit::frontier::point_set::PointSet;
use crate::fit::limits::Limits;
use crate::fit::objective::Target;
use crate::fit::rows::table::{Table, Totals};
use crate::fit::threads;

/// A cascade with a second cut at some stages.
#[derive(Clone, Debug, PartialEq)]
pub struct AbstainingRule {
    /// Tiers and accept cuts.
    pub cascade: CascadeRule,
    /// For each stage, the last one included, the signal and the score below which it abstains.
    pub below: Vec<Option<StageCut>>,
}

impl AbstainingRule {
    /// What the rule does with a row, and whether it abstains; an abstention counts as quality `worth`.
    pub fn walk(&self, table: &Table, row: u32, worth: i64) -> (Walk, bool) {
        let (mut cost, mut latency_ms) = (0, 0.0);
        let at = row as usize;
        for stage in 0..self.cascade.tiers.len() {
            let tier = &table.tiers[self.cascade.tiers[stage]];
            cost += tier.cost[at];
            latency_ms += f64::from(tier.latency_ms[at]);
            let accept = self.cascade.cuts.get(stage);
            let below = self.below.get(stage).copied().flatten();
            let read = accept.filter(|cut| cut.at_least.is_finite()).map(|cut| cut.signal);
            if let Some(signal) = read.or(below.map(|cut| cut.signal)) {
                cost += tier.signals[signal].cost.get(at).copied().unwrap_or(0);
            }
            if let Some(cut) = below {
                let value = tier.signals[cut.signal].value[at];
                if value > f64::NEG_INFINITY && value < cut.at_least {
                    return (Walk { quality: worth, cost, latency_ms }, true);
                }
            }
            let keep = accept.is_none_or(|cut| {
                cut.at_least == f64::NEG_INFINITY
                    || cut.at_least < f64::INFINITY && tier.signals[cut.signal].value[at] >= cut.at_least
            });
            if keep {
                return (Walk { quality: tier.quality[at], cost, latency_ms }, false);
            }
        }
        (Walk::default(), false)
    }
}

/// The cascades of a family that may abstain; those that never do among them.
#[derive(Debug)]
pub struct Abstaining<'t> {
    inner: Limited<'t>,
    pairs: Vec<Pair>,
    /// Whether chains take part beyond the pairs.
    long: bool,
    worth: i64,
    points: PointSet<AbstainingRule>,
    threads: usize,
}

impl<'t> Abstaining<'t> {
    /// Searches as [`Limited::new`] does, with abstentions that count as quality `worth` (in units of 10⁻¹²).
    pub fn new(
        table: &'t Table,
        rows: &[u32],
        members: Members,
        limits: &Limits,
        worth: i64,
        threads: usize,
    ) -> Self {
        let inner = Limited::new(table, rows, members, limits, threads);
        let stages = match members {
            Members::UpTo(stages) => stages.min(table.tiers.len()),
            Members::FullChain => super::non_dominated(table, rows).len(),
        };
        // A full chain is that one chain: its second cuts are added to what is found without them.
        let whole = members != Members::FullChain;
        let pairs = if whole && stages > 1 { all_pairs(table) } else { Vec::new() };
        let mut points: Vec<Found> =
            inner.hull().iter().map(|vertex| (vertex.totals, plain(vertex.rule.clone()))).collect();
        if whole {
            for tier in 0..table.tiers.len() {
                points.extend(inner.arena.single_with_cut(tier, worth));
            }
        }
        let long = stages > if whole { 2 } else { 1 };
        let mut abstaining = Self { inner, pairs, long, worth, points: PointSet::new(points), threads };
        abstaining.explore();
        abstaining
    }

    fn explore(&mut self) {
        let points = self.points.staircase().to_vec();
        self.points = PointSet::explored(points, VERTICES, |price| {
            let target = Target::Price(price);
            let long = self.inner.longer(target, None);
            self.search(target, long.or_else(|| self.inner.hull().first().cloned()))
        });
    }

    /// The best rule with a second cut: the best of all pairs, and what it and the best plain chain come to when second
    /// cuts are added to them.
    fn search(&self, target: Target, chain: Option<Operating>) -> Option<Found> {
        let arena = &self.inner.arena;
        let pairs = threads::map(self.threads, self.pairs.len(), |at| {
            arena.abstaining_pair(self.pairs[at], self.worth, target)
        });
        let pair = pairs.into_iter().flatten().reduce(|best, next| better_of(target, best, next));
        let chain = chain.filter(|_| self.long).map(|chain| plain(chain.rule));
        let starts = pair.clone().map(|pair| pair.1).into_iter().chain(chain);
        let climbed = starts.filter_map(|rule| arena.add_cuts(rule, self.worth, target));
        pair.into_iter().chain(climbed).reduce(|best, next| better_of(target, best, next))
    }

    /// `short` is the best plain rule of up to two stages.
    fn best(
        &self,
        target: Target,
        known: Option<&Found>,
        short: Option<&(Totals, CascadeRule)>,
    ) -> Option<Candidate> {
        let short = short.map(|(totals, rule)| Operating { totals: *totals, rule: rule.clone() });
        let long = self.inner.longer(target, None);
        let found = self.search(target, long.clone().or_else(|| short.clone()));
        let never = [short, long].into_iter().flatten().map(|found| (found.totals, plain(found.rule)));
        let all = known.cloned().into_iter().chain(never).chain(found);
        all.reduce(|best, next| better_of(target, best, next)).map(candidate)
    }
}

/// A rule and its exact sums.
type Found = (Totals, AbstainingRule);

/// The better of two that keep the constraint; the first one if they are equal.
fn better_of(target: Target, best: Found, next: Found) -> Found {
    if target.rank(next.0) > target.rank(best.0) { next } else { best }
}

fn plain(cascade: CascadeRule) -> AbstainingRule {
    let below = vec![None; cascade.tiers.len()];
    AbstainingRule { cascade, below }
}

fn candidate((totals, rule): (Totals, AbstainingRule)) -> Candidate {
    let draft = if rule.below.iter().all(Option::is_none) {
        Draft::Cascade(rule.cascade)
    } else {
        Draft::Abstaining(rule)
    };
    Candidate { totals, draft }
}

impl FittedFamily for Abstaining<'_> {
    fn at_budget(&self, cost: i128) -> Option<Candidate> {
        self.best(Target::Budget(cost), self.points.at_budget(cost), self.inner.points.at_budget(cost))
    }

    fn at_floor(&self, quality: i128) -> Option<Candidate> {
        self.best(Target::Floor(quality), self.points.at_floor(quality), self.inner.points.at_floor(quality))
    }

    fn hull(&self) -> Vec<Candidate> {
        self.points.hull().cloned().map(candidate).collect()
    }

    fn table(&self) -> &Table {
        self.inner.arena.table
    }

    fn add_plans(&self, draft: &Draft, builder: &mut RulesBuilder<'_>) {
        builder.abstention(self.worth);
        match draft {
            Draft::Abstaining(rule) => builder.abstaining_plan(rule),
            Draft::Cascade(rule) => builder.plan(rule, None),
            Draft::Routed(_) | Draft::Penalised { .. } | Draft::Planned(_) | Draft::Mixed(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::rows::table::{QUALITY_ONE, SignalData, TierData};

    /// Low scores are lost causes for both tiers, middle ones are for the dear tier.
    fn table() -> Table {
        let scores = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8];
        let tier = |name: &str, right: [i64; 8], cost: i64, value: Vec<f64>| TierData {
            name: name.into(),
            quality: right.map(|right| right * QUALITY_ONE).to_vec(),
            cost: vec![cost; 8],
            failed: vec![false; 8],
            latency_ms: vec![1.0; 8],
            signals: vec![SignalData { name: "s".into(), value, cost: Vec::new(), combined: None }],
        };
        Table {
            tiers: vec![
                tier("small", [0, 0, 0, 0, 0, 1, 1, 1], 10, scores.to_vec()),
                tier("large", [0, 0, 0, 1, 1, 1, 1, 1], 100, scores.to_vec()),
            ],
            log_row: (0..8).collect(),
            group: (0..8).collect(),
            groups: 8,
            weight: vec![1; 8],
            embedding_cost: Vec::new(),
            embedding_latency_ms: Vec::new(),
        }
    }

    #[test]
    fn lost_causes_are_given_up_early() {
        let table = table();
        let rows: Vec<u32> = (0..8).collect();
        let worth = QUALITY_ONE / 4;
        let family = Abstaining::new(&table, &rows, Members::UpTo(2), &Limits::default(), worth, 1);
        // Two rows escalate, three abstain: 8 · 10 + 2 · 100.
        let best = family.at_budget(280).unwrap();
        assert_eq!(best.totals, Totals { quality: i128::from(5 * QUALITY_ONE + 3 * worth), cost: 280 });
        let Draft::Abstaining(rule) = &best.draft else { unreachable!("{best:?}") };
        assert_eq!(rule.cascade.cuts[0].at_least, 0.6);
        assert_eq!(rule.below[0].unwrap().at_least, 0.4);
        let rules = family.rules(&best);
        assert_eq!(rules.abstention, Some(0.25));
        let below: Vec<_> = rules.plans[0].abstain.iter().map(|rule| rule.map(|rule| rule.below)).collect();
        assert_eq!(below, [Some(0.4), None]);
    }
}
