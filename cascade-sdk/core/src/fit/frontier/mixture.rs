//! Mixtures of two neighbouring vertices of a family's hull, drawn by request (MATH.md 4): a budget or a floor that no single
//! policy meets exactly is met on average, and what a staircase leaves unspent (the duality gap) is used.

use super::hull::bracket;
use crate::feature::Router;
use crate::fit::family::{Candidate, Draft, FittedFamily, MixedDraft, RulesBuilder};
use crate::fit::objective::Target;
use crate::fit::router::RouterFit;
use crate::fit::rows::table::{Table, Totals};
use crate::policy::Mixture;

/// A family without a router, and the mixtures of its hull.
pub struct Mixed<'t> {
    inner: Box<dyn FittedFamily + 't>,
    hull: Vec<Candidate>,
    totals: Vec<Totals>,
    seed: u64,
}

impl std::fmt::Debug for Mixed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mixed").field("seed", &self.seed).finish_non_exhaustive()
    }
}

impl<'t> Mixed<'t> {
    /// Adds mixtures to a family; `seed` is that of their draws.
    pub fn new(inner: Box<dyn FittedFamily + 't>, seed: u64) -> Self {
        let hull = inner.hull();
        let totals = hull.iter().map(|vertex| vertex.totals).collect();
        Self { inner, hull, totals, seed }
    }
}

/// Part of a difference, rounded down: what is claimed of a mixture is never more than it reaches.
#[expect(clippy::cast_possible_truncation, reason = "a part of a difference of two sums")]
fn part(share: f64, difference: i128) -> i128 {
    (share * difference as f64).floor() as i128
}

fn mixed(left: &Candidate, right: &Candidate, share: f64, totals: Totals) -> Candidate {
    let draft = MixedDraft { left: left.draft.clone(), right: right.draft.clone(), share };
    Candidate { totals, draft: Draft::Mixed(Box::new(draft)) }
}

impl FittedFamily for Mixed<'_> {
    /// The mixture that costs `cost` on average, unless a single policy is as good.
    fn at_budget(&self, cost: i128) -> Option<Candidate> {
        let single = self.inner.at_budget(cost)?;
        let (at, share, _) = bracket(&self.totals, cost);
        let (Some(left), Some(right)) = (self.hull.get(at), self.hull.get(at + 1)) else {
            return Some(single);
        };
        let quality = left.totals.quality + part(share, right.totals.quality - left.totals.quality);
        if left.totals.cost > cost || share <= 0.0 || quality <= single.totals.quality {
            return Some(single);
        }
        Some(mixed(left, right, share, Totals { quality, cost }))
    }

    /// The mixture whose quality is `quality` on average, unless a single policy is as cheap.
    fn at_floor(&self, quality: i128) -> Option<Candidate> {
        let single = self.inner.at_floor(quality)?;
        let right = self.totals.partition_point(|vertex| vertex.quality < quality);
        let left = right.checked_sub(1).and_then(|left| self.hull.get(left));
        let (Some(left), Some(right)) = (left, self.hull.get(right)) else {
            return Some(single);
        };
        let (rise, run) = (right.totals.quality - left.totals.quality, right.totals.cost - left.totals.cost);
        let share = (quality - left.totals.quality) as f64 / rise as f64;
        let cost = right.totals.cost - part(1.0 - share, run);
        if cost >= single.totals.cost || share >= 1.0 {
            return Some(single);
        }
        Some(mixed(left, right, share, Totals { quality, cost }))
    }

    fn hull(&self) -> Vec<Candidate> {
        self.hull.clone()
    }

    fn table(&self) -> &Table {
        self.inner.table()
    }

    fn router(&self) -> Option<&Router> {
        self.inner.router()
    }

    fn router_price(&self, draft: &Draft) -> Option<f64> {
        self.inner.router_price(draft)
    }

    fn add_plans(&self, draft: &Draft, builder: &mut RulesBuilder<'_>) {
        let Draft::Mixed(draft) = draft else { return self.inner.add_plans(draft, builder) };
        self.inner.add_plans(&draft.left, builder);
        self.inner.add_plans(&draft.right, builder);
        builder.mix(Mixture { share: draft.share, seed: self.seed });
    }

    fn quantile_loss(&self) -> f64 {
        self.inner.quantile_loss()
    }

    fn unmixed(&self, target: Target) -> Option<Candidate> {
        self.inner.unmixed(target)
    }

    fn router_fit(&self) -> Option<&RouterFit> {
        self.inner.router_fit()
    }
}
