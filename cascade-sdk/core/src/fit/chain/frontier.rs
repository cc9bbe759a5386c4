//! The frontier of a set of cascades: points that are known, surfaces that are searched on demand.

use super::ascent;
use super::instance::{Instance, Pick};
use super::optimum::{Constraint, Search};
use super::surface::{Price, Triple};
use super::triples::Triples;
use crate::fit::frontier::hull::compare_to_chord;
use crate::fit::frontier::operating::{CascadeRule, Operating};
use crate::fit::frontier::pair::Member;
use crate::fit::frontier::point_set::PointSet;
use crate::fit::rows::table::Totals;

/// Prices at which chains of four and more stages are climbed.
const PRICES: usize = 12;

/// What reaches a point.
#[derive(Clone, Debug)]
pub(super) enum Reached {
    Short(Member),
    Chain(CascadeRule),
}

impl Reached {
    fn rule(&self) -> CascadeRule {
        match self {
            Self::Short(member) => member.rule(),
            Self::Chain(rule) => rule.clone(),
        }
    }
}

/// Known points, three-stage surfaces, and the best found on longer chains.
#[derive(Debug)]
pub(super) struct Frontier<'t> {
    points: PointSet<Reached>,
    hull: Vec<Operating>,
    triples: Triples<'t>,
    /// The hull of what was found on each longer chain.
    long: Vec<Vec<Operating>>,
}

impl<'t> Frontier<'t> {
    /// From the points of shorter cascades, surfaces to explore above them, and chains to climb.
    pub(super) fn new(
        short: Vec<(Totals, Reached)>,
        instance: Instance<'t>,
        triples: Vec<Triple>,
        long: &[Vec<usize>],
        threads: usize,
    ) -> Self {
        let short = PointSet::new(short);
        let roof: Vec<Totals> = short.hull().map(|point| point.0).collect();
        let triples = Triples::new(instance, triples, &roof, threads);
        let reached = |found: Operating| (found.totals, Reached::Chain(found.rule));
        let mut points: Vec<(Totals, Reached)> = short.staircase().to_vec();
        points.extend(triples.vertices().map(reached));
        let mut hulls = Vec::new();
        if !long.is_empty() {
            let prices = prices(&triples, &PointSet::new(points.clone()));
            let starts = |tiers: &[usize]| starts(&triples, tiers);
            for found in ascent::climb(triples.instance(), long, starts, &prices, threads) {
                let found = PointSet::new(found.into_iter().map(reached).collect());
                hulls.push(found.hull().map(operating).collect());
                points.extend_from_slice(found.staircase());
            }
        }
        let points = PointSet::new(points);
        let hull = points.hull().map(operating).collect();
        Self { points, hull, triples, long: hulls }
    }

    pub(super) fn hull(&self) -> &[Operating] {
        &self.hull
    }

    pub(super) fn quantile_loss(&self) -> f64 {
        self.triples.quantile_loss()
    }

    /// The optimum: exact over points and surfaces. Longer chains whose hull passes above what is known there are
    /// improved from the vertices on both sides of the constraint.
    pub(super) fn solve(&self, constraint: Constraint) -> Option<Operating> {
        let known = match constraint {
            Constraint::Budget(limit) => self.points.at_budget(limit),
            Constraint::Floor(floor) => self.points.at_floor(floor),
        };
        let mut best = known.map(operating);
        let units = self.triples.units();
        let search = |best: &Option<Operating>| Search {
            units,
            constraint,
            known: best.as_ref().map(|best| best.totals),
        };
        best = self.triples.solve(search(&best)).or(best);
        for hull in &self.long {
            for near in promising(hull, constraint, best.as_ref().map(|best| best.totals)) {
                best = ascent::polish(self.triples.instance(), near, search(&best)).or(best);
            }
        }
        best
    }
}

/// The vertices on both sides of a constraint, if the mixture of them that just keeps it is better than what is known.
fn promising(hull: &[Operating], constraint: Constraint, known: Option<Totals>) -> &[Operating] {
    let right = match constraint {
        Constraint::Budget(limit) => hull.partition_point(|vertex| vertex.totals.cost <= limit),
        Constraint::Floor(floor) => hull.partition_point(|vertex| vertex.totals.quality < floor),
    };
    let near = &hull[right.saturating_sub(1)..(right + 1).min(hull.len())];
    let (Some(known), [left, right]) = (known, near) else { return near };
    let mixture = match constraint {
        Constraint::Budget(limit) => Totals { cost: limit, quality: known.quality },
        Constraint::Floor(floor) => Totals { cost: known.cost, quality: floor },
    };
    if compare_to_chord(mixture, left.totals, right.totals).is_lt() { near } else { &[] }
}

fn operating((totals, reached): &(Totals, Reached)) -> Operating {
    Operating { totals: *totals, rule: reached.rule() }
}

/// Slopes of the hull of what is known, evenly chosen, and a price at which hardly anything but quality counts.
fn prices(triples: &Triples<'_>, known: &PointSet<Reached>) -> Vec<Price> {
    let units = triples.units();
    let hull: Vec<Totals> = known.hull().map(|point| point.0).collect();
    let edges: Vec<Price> = hull
        .windows(2)
        .map(|edge| {
            units.price(Totals {
                quality: edge[1].quality - edge[0].quality,
                cost: edge[1].cost - edge[0].cost,
            })
        })
        .collect();
    let most = edges.len().min(PRICES);
    let mut prices: Vec<Price> = (0..most).map(|at| edges[at * edges.len() / most]).collect();
    prices.push(Price { per_cost: 1, per_quality: 1 << 40 });
    prices
}

/// Where to start on a chain: vertices of its first three tiers that keep all that gets to the third one, and cuts at
/// a quarter, a half and three quarters of every score.
fn starts(triples: &Triples<'_>, tiers: &[usize]) -> Vec<Vec<Pick>> {
    let instance = triples.instance();
    let stages = tiers.len() - 1;
    let mut starts: Vec<Vec<Pick>> = triples
        .picks_of(&tiers[..3])
        .map(|picks| {
            picks.into_iter().chain(std::iter::repeat_n(Pick { signal: 0, cut: 0 }, stages - 2)).collect()
        })
        .collect();
    starts.extend((1..4).map(|quarter| {
        let cut = |tier: usize| {
            u32::try_from(instance.rankings[tier][0].groups() * quarter / 4).unwrap_or(u32::MAX)
        };
        tiers[..stages].iter().map(|&tier| Pick { signal: 0, cut: cut(tier) }).collect()
    }));
    starts
}
