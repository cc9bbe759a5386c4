//! The family `routed_cascade`: cascades whose accept rules know the prompt, and a router over plans (MATH.md 8).
//!
//! It is the union of four sets, so that it can do what any of them can:
//! single tiers and one router over them; exact chains; pairs that escalate by the expected gain per dollar given the
//! answer's signals and the prompt (`gains`); and, at each vertex of the hull of the cascades, a router over the
//! cascade, its parts and its neighbours (`plans`), which sends a request straight to the tier it would end at anyway.
//! Whatever is fitted enters by predictions out of fold, and by the sums that they expect rather than those that happened
//! (`expected`), so that the lucky among many members are not preferred. Where the whole is behind its chains or its router
//! all the same, as fits without each fold show it, its frontier is theirs (`offer`).

mod expected;
mod gains;
mod offer;
mod plans;

use super::chain::Chains;
use super::family::{Candidate, Draft, FittedFamily, RulesBuilder};
use super::limited::{Limited, Members, pair_points};
use super::limits::{Limits, within};
use super::router::{Data, RouterFamily, RouterFit};
use super::threads;
use crate::feature::Router;
use crate::fit::frontier::operating::{CascadeRule, Operating, PolicyClass};
use crate::fit::frontier::pair::Pair;
use crate::fit::frontier::point_set::{MOST_VERTICES, PointSet};
use crate::fit::rows::table::{Table, Totals};
pub use offer::Offer;
use plans::PlannedRouter;
use std::borrow::Cow;

/// Everything routed cascades can do on some rows.
pub struct RoutedCascades<'t> {
    chains: Box<dyn PolicyClass + 't>,
    routed: RouterFamily<'t>,
    /// The table with the scores of gains as further signals.
    table: Table,
    planned: Vec<PlannedRouter>,
    points: PointSet<Draft>,
    offer: Offer,
}

/// The rows that scores and forecasts are fitted on.
#[derive(Clone, Copy)]
struct Sample<'a> {
    /// With all signals that are to be used.
    table: &'a Table,
    rows: &'a [u32],
    folds: &'a [u8],
    /// Weight of each row, 1 on average.
    weight: &'a [f64],
    router: &'a RouterFit,
    limits: &'a Limits,
    threads: usize,
}

impl std::fmt::Debug for RoutedCascades<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoutedCascades").finish_non_exhaustive()
    }
}

impl<'t> RoutedCascades<'t> {
    /// From a router fitted on `data`; `max_stages` bounds the chains.
    pub fn new(table: &'t Table, data: &Data<'_>, fit: RouterFit, max_stages: usize) -> Self {
        Self::within(table, data, fit, max_stages, &Limits::default())
    }

    /// As [`RoutedCascades::new`], of policies that keep limits on tails.
    pub fn within(
        table: &'t Table,
        data: &Data<'_>,
        fit: RouterFit,
        max_stages: usize,
        limits: &Limits,
    ) -> Self {
        let whole = Self::again(table, data, fit, max_stages, limits, Offer::Everything);
        Self { offer: whole.best_offer(table, data, max_stages, limits), ..whole }
    }

    /// As [`RoutedCascades::within`], with an offer chosen before.
    pub fn again(
        table: &'t Table,
        data: &Data<'_>,
        fit: RouterFit,
        max_stages: usize,
        limits: &Limits,
        offer: Offer,
    ) -> Self {
        let &Data { rows, folds, threads, .. } = data;
        let chains: Box<dyn PolicyClass + 't> = if limits.is_empty() {
            Box::new(Chains::new(table, rows, max_stages, threads))
        } else {
            Box::new(Limited::new(table, rows, Members::UpTo(max_stages), limits, threads))
        };
        let mut cascades: Vec<(Totals, CascadeRule)> = if limits.is_empty() {
            (0..table.tiers.len())
                .map(|tier| (table.single(tier, rows), CascadeRule { tiers: vec![tier], cuts: Vec::new() }))
                .collect()
        } else {
            // The hull of the chains begins with the single tiers that keep the limits.
            Vec::new()
        };
        cascades.extend(chains.hull().iter().map(|vertex| (vertex.totals, vertex.rule.clone())));
        let mut table_with_gains = table.clone();
        let mut planned = Vec::new();
        let mut own = Vec::new();
        // A router that predicts the same for every request has nothing to add to a cascade.
        if fit.predicts() {
            let weight = mean_one(rows.iter().map(|&row| table.weight[row as usize] as f64).collect());
            let sample = Sample { table, rows, folds, weight: &weight, router: &fit, limits, threads };
            let pairs: Vec<Pair> = sample
                .gains()
                .into_iter()
                .map(|gain| {
                    let signals = &mut table_with_gains.tiers[gain.cheap].signals;
                    signals.push(gain.signal);
                    Pair { cheap: gain.cheap, signal: signals.len() - 1, dear: gain.dear }
                })
                .collect();
            let staircases = threads::map(threads, pairs.len(), |at| {
                let pair = pairs[at];
                // Its scores rest on the router's predictions, and every request begins at the cheap tier.
                let table = if fit.reads_embedding() {
                    table_with_gains.with_embeddings(|tier| tier == pair.cheap)
                } else {
                    Cow::Borrowed(&table_with_gains)
                };
                if limits.is_empty() {
                    sample.expected(&table, pair)
                } else {
                    pair_points(&table, rows, pair, limits)
                }
            });
            cascades.extend(staircases.into_iter().flatten());
            own = around_hull(&cascades, &Sample { table: &table_with_gains, ..sample });
        }
        let mut points: Vec<(Totals, Draft)> =
            cascades.into_iter().map(|(totals, rule)| (totals, Draft::Cascade(rule))).collect();
        for (totals, router) in own {
            points.push((totals, Draft::Planned(planned.len())));
            planned.push(router);
        }
        let routed = RouterFamily::within(table, rows, fit, limits);
        points.extend(routed.staircase().iter().cloned());
        Self { chains, routed, table: table_with_gains, planned, points: PointSet::new(points), offer }
    }
}

fn candidate((totals, draft): &(Totals, Draft)) -> Candidate {
    Candidate { totals: *totals, draft: draft.clone() }
}

/// The better of a point and the exact optimum over chains.
fn better(
    point: Option<&(Totals, Draft)>,
    chain: Option<Operating>,
    is_better: impl Fn(Totals, Totals) -> bool,
) -> Option<Candidate> {
    let point = point.map(candidate);
    match (point, chain.map(Candidate::from)) {
        (Some(point), Some(chain)) => Some(if is_better(chain.totals, point.totals) { chain } else { point }),
        (point, chain) => point.or(chain),
    }
}

/// The cut of a cascade on a gain per dollar, which rests on the router's predictions; `None` of one that needs no router.
fn cut_of_gain(table: &Table, rule: &CascadeRule) -> Option<f64> {
    rule.tiers.iter().zip(&rule.cuts).find_map(|(&tier, cut)| {
        let score = table.tiers[tier].signals.get(cut.signal)?.combined.as_ref()?;
        score.per_cost_of.map(|_| cut.at_least)
    })
}

/// Weights scaled to a mean of 1.
fn mean_one(mut weight: Vec<f64>) -> Vec<f64> {
    let mean = weight.iter().sum::<f64>() / weight.len().max(1) as f64;
    for weight in &mut weight {
        *weight /= mean;
    }
    weight
}

/// A router over plans at each vertex of the hull of the cascades, at the λ in the middle of those that lead there.
fn around_hull(cascades: &[(Totals, CascadeRule)], sample: &Sample<'_>) -> Vec<(Totals, PlannedRouter)> {
    let set = PointSet::new(cascades.to_vec());
    let (totals, hull): (Vec<Totals>, Vec<CascadeRule>) = set.hull().cloned().unzip();
    // Quality and cost share the unit 10⁻¹², so slopes of totals are in quality per dollar.
    let slope =
        |edge: &[Totals]| (edge[1].quality - edge[0].quality) as f64 / (edge[1].cost - edge[0].cost) as f64;
    let slopes: Vec<f64> = totals.windows(2).map(slope).collect();
    let found = threads::map(sample.threads, hull.len(), |vertex| {
        let left = vertex.checked_sub(1).and_then(|before| slopes.get(before));
        let shadow_price = match (left, slopes.get(vertex)) {
            (Some(left), Some(right)) => libm::sqrt(left * right),
            (Some(left), None) => left / 2.0,
            (None, Some(right)) => right * 2.0,
            (None, None) => 0.0,
        };
        let plans = plans::around(&hull, vertex);
        // Among single tiers the router itself weighs better.
        plans.iter().any(|plan| plan.tiers.len() > 1).then(|| sample.weigh(plans, shadow_price)).flatten()
    });
    let allowed = sample.limits.allowed(sample.table.total_weight(sample.rows));
    let kept = found.into_iter().flatten().filter(|(sums, _)| within(sums.over, allowed));
    kept.map(|(sums, router)| (sums.totals(), router)).collect()
}

impl FittedFamily for RoutedCascades<'_> {
    fn at_budget(&self, cost: i128) -> Option<Candidate> {
        better(self.points.at_budget(cost), self.chains.at_budget(cost), |a, b| {
            (a.quality, -a.cost) > (b.quality, -b.cost)
        })
    }

    fn at_floor(&self, quality: i128) -> Option<Candidate> {
        better(self.points.at_floor(quality), self.chains.at_floor(quality), |a, b| {
            (-a.cost, a.quality) > (-b.cost, b.quality)
        })
    }

    fn hull(&self) -> Vec<Candidate> {
        self.offered(self.offer)
    }

    fn shown(&self) -> Vec<Candidate> {
        match self.offer {
            Offer::Everything => self.points.hull_of_at_most(MOST_VERTICES).map(candidate).collect(),
            Offer::Router => self.routed.shown(),
            Offer::Chains => self.offered(Offer::Chains),
        }
    }

    fn offer(&self) -> Offer {
        self.offer
    }

    fn table(&self) -> &Table {
        &self.table
    }

    fn router(&self) -> Option<&Router> {
        self.routed.router()
    }

    fn router_fit(&self) -> Option<&RouterFit> {
        self.routed.router_fit()
    }

    fn router_price(&self, draft: &Draft) -> Option<f64> {
        match draft {
            Draft::Routed(price) | Draft::Penalised { price, .. } => Some(*price),
            Draft::Planned(at) => self.planned.get(*at).map(|planned| planned.shadow_price),
            Draft::Abstaining(_) | Draft::Mixed(_) => None,
            // The cut of a gain per dollar is −λ.
            Draft::Cascade(rule) => cut_of_gain(&self.table, rule).map(|cut| (-cut).max(0.0)),
        }
    }

    fn add_plans(&self, draft: &Draft, builder: &mut RulesBuilder<'_>) {
        match draft {
            Draft::Planned(at) => {
                for (rule, forecast) in self.planned.get(*at).iter().flat_map(|planned| &planned.plans) {
                    builder.plan(rule, Some(forecast.clone()));
                }
            }
            _ => self.routed.add_plans(draft, builder),
        }
    }
}

#[cfg(test)]
mod tests;
