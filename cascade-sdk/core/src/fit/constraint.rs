//! What may be added to a chosen policy, a guard or stops: whatever keeps the objective's constraint and its limits, as far as
//! the policy alone keeps them.
//!
//! A policy promises sums that its replay does not realise to the last unit: a mixture is drawn, a router's sums are those
//! that its predictions expect. What is added is therefore judged by what it changes.

use crate::fit::limited::Sums;
use crate::fit::limits::{MOST, Over};
use crate::fit::objective::{Multipliers, Target};
use crate::fit::rows::table::Totals;

/// What it counts at first to exceed a limit that did not count before, in quality.
const FIRST_OVER: f64 = 0.02;

/// What is to be kept on some rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Constraint {
    target: Target,
    /// Sums that are promised of the policy alone.
    promised: Totals,
    /// Sums that its replay comes to.
    before: Sums,
    /// Weights that may exceed each limit.
    allowed: Over,
    /// λ of the first edge of the family's hull, and of the last.
    steepest: f64,
    flattest: f64,
}

/// What an addition breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    target: bool,
    over: [bool; MOST],
}

impl Broken {
    pub(super) fn nothing(self) -> bool {
        !self.target && self.over == [false; MOST]
    }
}

impl Constraint {
    /// `hull` is that of the family: it gives the scale of prices that are not known.
    pub(super) fn new(
        target: Target,
        (promised, before): (Totals, Sums),
        allowed: Over,
        hull: &[Totals],
    ) -> Self {
        let slope = |edge: &[Totals]| {
            (edge[1].quality - edge[0].quality) as f64 / (edge[1].cost - edge[0].cost) as f64
        };
        let all_quality = promised.quality.max(1) as f64 / promised.cost.max(1) as f64;
        let steepest = hull.windows(2).next().map_or(all_quality, slope);
        let flattest = hull.windows(2).last().map_or(all_quality, slope);
        Self { target, promised, before, allowed, steepest, flattest }
    }

    /// What is promised of the policy whose replay comes to `now`.
    pub(super) fn promise(&self, now: Sums) -> Totals {
        self.promised + now.totals() - self.before.totals()
    }

    /// What a policy breaks whose replay comes to `now`, and that the policy alone does not.
    pub(super) fn broken(&self, now: Sums) -> Broken {
        let missing = |totals| self.target.missing(totals).max(0);
        let mut over = [false; MOST];
        for (at, over) in over.iter_mut().enumerate() {
            *over = now.over[at] > self.allowed[at].max(self.before.over[at]);
        }
        Broken { target: missing(self.promise(now)) > missing(self.promised), over }
    }

    /// Multipliers at which what is broken counts twice as much; where it counted for nothing, as little as makes sense.
    pub(super) fn tightened(&self, mut price: Multipliers, broken: Broken) -> Multipliers {
        match self.target {
            Target::Budget(_) if broken.target => {
                price.cost = if price.cost > 0.0 { 2.0 * price.cost } else { self.flattest };
            }
            // The floor was slack, so that cost was all that counted, in US dollars.
            Target::Floor(_) if broken.target && price.quality <= 0.0 => {
                let cost = self.steepest;
                price = Multipliers { quality: 1.0, cost, over: price.over.map(|over| over * cost) };
            }
            Target::Floor(_) if broken.target => price.cost /= 2.0,
            _ => {}
        }
        let first = if price.quality > 0.0 { FIRST_OVER } else { FIRST_OVER / self.steepest };
        for (over, broken) in price.over.iter_mut().zip(broken.over) {
            if broken {
                *over = (2.0 * *over).max(first);
            }
        }
        price
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HULL: [Totals; 3] =
        [Totals { cost: 0, quality: 0 }, Totals { cost: 10, quality: 40 }, Totals { cost: 30, quality: 60 }];

    fn sums(quality: i128, cost: i128, over: i64) -> Sums {
        Sums { quality, cost, over: [over, 0] }
    }

    fn constraint(target: Target) -> Constraint {
        // The replay costs 2 more than is promised and is over a limit once more than it may be.
        Constraint::new(target, (Totals { quality: 50, cost: 20 }, sums(50, 22, 3)), [2, i64::MAX], &HULL)
    }

    #[test]
    fn additions_are_judged_by_what_they_change() {
        let budget = constraint(Target::Budget(20));
        assert!(budget.broken(sums(40, 22, 3)).nothing());
        assert!(budget.broken(sums(40, 23, 3)).target);
        assert_eq!(budget.broken(sums(40, 1, 4)).over, [true, false]);
        assert_eq!(budget.promise(sums(45, 12, 0)), Totals { quality: 45, cost: 10 });
        let floor = constraint(Target::Floor(50));
        assert!(floor.broken(sums(50, 99, 3)).nothing() && floor.broken(sums(49, 0, 3)).target);
        assert!(constraint(Target::Floor(45)).broken(sums(45, 99, 0)).nothing());
        // What misses the constraint by itself may not miss it by more.
        let missed = constraint(Target::Budget(15));
        assert!(missed.broken(sums(0, 22, 0)).nothing() && missed.broken(sums(0, 23, 0)).target);
        assert!(constraint(Target::Price(1.0)).broken(sums(0, 999, 0)).nothing());
    }

    #[test]
    fn what_is_broken_counts_more() {
        let at = |quality, cost, over| Multipliers { quality, cost, over: [over, 0.0] };
        let target = Broken { target: true, over: [false; MOST] };
        let tail = Broken { target: false, over: [true, false] };
        let budget = constraint(Target::Budget(20));
        assert_eq!(budget.tightened(at(1.0, 3.0, 0.5), target), at(1.0, 6.0, 0.5));
        assert_eq!(budget.tightened(at(1.0, 0.0, 0.0), target), at(1.0, 1.0, 0.0), "a slack budget");
        assert_eq!(budget.tightened(at(1.0, 3.0, 0.0), tail), at(1.0, 3.0, FIRST_OVER));
        assert_eq!(budget.tightened(at(1.0, 3.0, 0.5), tail), at(1.0, 3.0, 1.0));
        let floor = constraint(Target::Floor(50));
        assert_eq!(floor.tightened(at(1.0, 3.0, 0.5), target), at(1.0, 1.5, 0.5));
        assert_eq!(floor.tightened(at(0.0, 1.0, 0.5), target), at(1.0, 4.0, 2.0), "a slack floor");
        assert_eq!(floor.tightened(at(0.0, 1.0, 0.0), tail), at(0.0, 1.0, FIRST_OVER / 4.0));
        let price = constraint(Target::Price(3.0));
        assert_eq!(price.tightened(at(1.0, 3.0, 0.0), tail), at(1.0, 3.0, FIRST_OVER));
    }
}
