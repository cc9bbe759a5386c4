//! The family `router`: one fitted router at every λ, beside the single tiers.

use super::RouterFit;
use super::expected;
use crate::feature::Router;
use crate::fit::family::{Candidate, Draft, FittedFamily};
use crate::fit::frontier::operating::CascadeRule;
use crate::fit::frontier::point_set::{MOST_VERTICES, PointSet};
use crate::fit::limited::{self, Sums};
use crate::fit::limits::{Limits, within};
use crate::fit::rows::table::{Table, Totals};
use std::borrow::Cow;

/// Budgets at which routers are compared.
const BUDGETS: u32 = 20;

/// What a request costs that the router decides: the call of one tier, and the embedding that the router reads.
fn paying<'t>(table: &'t Table, fit: &RouterFit) -> Cow<'t, Table> {
    if fit.reads_embedding() { table.with_embeddings(|_| true) } else { Cow::Borrowed(table) }
}

/// The family `router`: single tiers and everything one fitted router can do by its λ, at what it is expected to reach.
#[derive(Debug)]
pub struct RouterFamily<'t> {
    table: &'t Table,
    fit: RouterFit,
    points: PointSet<Draft>,
}

impl<'t> RouterFamily<'t> {
    /// Everything `fit`, made on `rows`, can do.
    pub fn new(table: &'t Table, rows: &[u32], fit: RouterFit) -> Self {
        Self::within(table, rows, fit, &Limits::default())
    }

    /// What `fit` can do that keeps limits on tails out of fold: the λ-sweep, exactly, at each of some multipliers of
    /// the limits, at what it is expected to reach. A multiplier takes from each tier's predicted quality in proportion to
    /// how often the tier exceeds them.
    pub fn within(table: &'t Table, rows: &[u32], fit: RouterFit, limits: &Limits) -> Self {
        if limits.is_empty() {
            return Self::without_limits(table, rows, fit);
        }
        let tiers = table.tiers.len();
        let allowed = limits.allowed(table.total_weight(rows));
        let alone = limited::realised(table, rows, limits);
        let paying = paying(table, &fit);
        let realised = limited::realised(&paying, rows, limits);
        let singles: Vec<Sums> = (0..tiers)
            .map(|tier| alone.iter().skip(tier).step_by(tiers).fold(Sums::default(), |sum, row| sum + *row))
            .collect();
        let weight = table.total_weight(rows).max(1) as f64;
        let exceeds: Vec<f64> =
            singles.iter().map(|sums| sums.over.iter().sum::<i64>() as f64 / weight).collect();
        let mut points: Vec<(Totals, Draft)> = Vec::new();
        for (tier, sums) in singles.iter().enumerate().filter(|(_, sums)| within(sums.over, allowed)) {
            let rule = CascadeRule { tiers: vec![tier], cuts: Vec::new() };
            points.push((sums.totals(), Draft::Cascade(rule)));
        }
        let prospects = fit.prospects();
        for multiplier in limited::MULTIPLIERS {
            let penalty: Vec<f64> = exceeds.iter().map(|share| multiplier * share).collect();
            let kept = expected::penalised(&paying, rows, &prospects, &penalty, |at| realised[at].over)
                .into_iter()
                .filter(|point| within(point.totals.over, allowed));
            points.extend(kept.map(|point| {
                (
                    point.totals.totals(),
                    Draft::Penalised { price: point.shadow_price, penalty: penalty.clone() },
                )
            }));
        }
        Self { table, fit, points: PointSet::new(points) }
    }

    fn without_limits(table: &'t Table, rows: &[u32], fit: RouterFit) -> Self {
        let tiers = table.tiers.len();
        let singles = (0..tiers).map(|tier| {
            let rule = CascadeRule { tiers: vec![tier], cuts: Vec::new() };
            (table.single(tier, rows), Draft::Cascade(rule))
        });
        let routed = expected::frontier(&paying(table, &fit), rows, &fit.prospects());
        let points = singles
            .chain(routed.into_iter().map(|point| (point.totals, Draft::Routed(point.shadow_price))))
            .collect();
        Self { table, fit, points: PointSet::new(points) }
    }

    /// The deterministic frontier: cheapest first, quality strictly increasing.
    pub fn staircase(&self) -> &[(Totals, Draft)] {
        self.points.staircase()
    }

    /// Mean quality over budgets from the cheapest to the best single tier, along the hull: how far a router gets at all prices.
    pub(super) fn reach(&self, rows: &[u32]) -> f64 {
        let singles = (0..self.table.tiers.len()).map(|tier| self.table.single(tier, rows));
        let Some(low) = singles.clone().map(|single| single.cost).min() else { return 0.0 };
        let best = singles.reduce(|best, next| if next.quality > best.quality { next } else { best });
        let span = best.map_or(0, |best| best.cost) - low;
        let hull: Vec<(f64, f64)> =
            self.points.hull().map(|(totals, _)| (totals.cost as f64, totals.quality as f64)).collect();
        let at = |budget: f64| {
            let after = hull.partition_point(|(cost, _)| *cost <= budget);
            match (after.checked_sub(1).map(|before| hull[before]), hull.get(after)) {
                (Some((cost, quality)), Some((next_cost, next_quality))) => {
                    quality + (next_quality - quality) * (budget - cost) / (next_cost - cost)
                }
                (Some((_, quality)), None) => quality,
                (None, _) => 0.0,
            }
        };
        (1..=BUDGETS).map(|step| at(low as f64 + span as f64 * f64::from(step) / f64::from(BUDGETS))).sum()
    }

    /// The router and how it was chosen.
    pub(super) fn into_fit(self) -> RouterFit {
        self.fit
    }

    /// The router and how it was chosen.
    pub fn fit(&self) -> &RouterFit {
        &self.fit
    }
}

impl FittedFamily for RouterFamily<'_> {
    fn at_budget(&self, cost: i128) -> Option<Candidate> {
        self.points.at_budget(cost).map(candidate)
    }

    fn at_floor(&self, quality: i128) -> Option<Candidate> {
        self.points.at_floor(quality).map(candidate)
    }

    fn hull(&self) -> Vec<Candidate> {
        self.points.hull().map(candidate).collect()
    }

    fn shown(&self) -> Vec<Candidate> {
        self.points.hull_of_at_most(MOST_VERTICES).map(candidate).collect()
    }

    fn router_fit(&self) -> Option<&RouterFit> {
        Some(&self.fit)
    }

    fn table(&self) -> &Table {
        self.table
    }

    fn router(&self) -> Option<&Router> {
        Some(&self.fit.router)
    }
}

fn candidate((totals, draft): &(Totals, Draft)) -> Candidate {
    Candidate { totals: *totals, draft: draft.clone() }
}
