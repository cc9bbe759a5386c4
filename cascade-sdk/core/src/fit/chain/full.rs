//! The one chain of all tiers that are not dominated.

use super::frontier::{Frontier, Reached};
use super::instance::{Instance, Resolution};
use super::optimum::Constraint;
use super::triples;
use crate::fit::frontier::operating::{CascadeRule, Operating, PolicyClass, StageCut};
use crate::fit::frontier::pair::{self, CutPoint, Pair};
use crate::fit::frontier::ranking::Ranking;
use crate::fit::rows::table::{Table, Totals};

/// The chain of all tiers that are not dominated, and nothing else: any cut at each stage, among them to keep or to
/// escalate everything. Exact up to three tiers.
#[derive(Debug)]
pub struct FullChain<'t>(Frontier<'t>);

/// The tiers of a table to which no other tier is both cheaper and better on `rows` (MATH.md 1).
pub fn non_dominated(table: &Table, rows: &[u32]) -> Vec<usize> {
    let totals: Vec<Totals> = (0..table.tiers.len()).map(|tier| table.single(tier, rows)).collect();
    let dominates = |a: Totals, b: Totals| a.cost < b.cost && a.quality > b.quality;
    (0..totals.len()).filter(|&tier| !totals.iter().any(|&other| dominates(other, totals[tier]))).collect()
}

impl<'t> FullChain<'t> {
    /// Searches the chain on `rows`; the table's tiers must be in order of cost.
    pub fn new(table: &'t Table, rows: &[u32], threads: usize) -> Self {
        Self::of(table, rows, &non_dominated(table, rows), threads)
    }

    /// As [`FullChain::new`], of tiers that were chosen otherwise.
    pub fn of(table: &'t Table, rows: &[u32], tiers: &[usize], threads: usize) -> Self {
        let rankings = pair::rankings(table, rows, threads);
        let points = edges(table, rows, &rankings, tiers);
        let short = points.into_iter().map(|(totals, rule)| (totals, Reached::Chain(rule))).collect();
        let (instance, members) = match *tiers {
            [first, second, third, ..] => (
                Instance::new(table, rows, rankings, Resolution::default()),
                triples::with_signals(table, [first, second, third]).collect(),
            ),
            _ => (Instance::empty(table), Vec::new()),
        };
        let long = if tiers.len() > 3 { vec![tiers.to_vec()] } else { Vec::new() };
        Self(Frontier::new(short, instance, members, &long, threads))
    }
}

/// The policies of a chain's first three tiers with at most one finite cut.
fn edges(
    table: &Table,
    rows: &[u32],
    rankings: &[Vec<Ranking>],
    tiers: &[usize],
) -> Vec<(Totals, CascadeRule)> {
    let Some(&first) = tiers.first() else { return Vec::new() };
    let mut points = vec![(table.single(first, rows), CascadeRule { tiers: vec![first], cuts: Vec::new() })];
    let Some(&second) = tiers.get(1) else { return points };
    for (signal, ranking) in rankings[first].iter().enumerate() {
        let pair = Pair { cheap: first, signal, dear: second };
        points.extend(
            rising(pair::frontier(table, ranking, pair))
                .map(|point| (point.totals, pair.rule(point.at_least))),
        );
    }
    let Some(&third) = tiers.get(2) else { return points };
    if rankings[first].is_empty() || rankings[second].is_empty() {
        // Without a signal there is no rule that could lead on to the next tier.
        return points;
    }
    let always = |signal| StageCut { signal, at_least: f64::INFINITY };
    // The first stage decides, the second one always escalates.
    for (signal, ranking) in rankings[first].iter().enumerate() {
        let (cheap, middle, dear) = (&table.tiers[first], &table.tiers[second], &table.tiers[third]);
        let change = |row: u32| {
            let at = row as usize;
            table.totals(row, dear.quality[at] - cheap.quality[at], middle.cost[at] + dear.cost[at])
        };
        let price = pair::signal_cost(table, first, signal, rows);
        let mut cuts = Vec::with_capacity(ranking.groups() + 1);
        pair::sweep(ranking, table.single(first, rows), price, change, |point| cuts.push(point));
        points.extend(rising(cuts).map(|CutPoint { at_least, totals }| {
            let cuts = vec![StageCut { signal, at_least }, always(0)];
            (totals, CascadeRule { tiers: vec![first, second, third], cuts })
        }));
    }
    // The first stage always escalates, the second one decides.
    for (signal, ranking) in rankings[second].iter().enumerate() {
        let pair = Pair { cheap: second, signal, dear: third };
        let before = Totals { quality: 0, cost: table.single(first, rows).cost };
        points.extend(rising(pair::frontier(table, ranking, pair)).map(|CutPoint { at_least, totals }| {
            let cuts = vec![always(0), StageCut { signal, at_least }];
            (totals + before, CascadeRule { tiers: vec![first, second, third], cuts })
        }));
    }
    points
}

/// Both ends of a frontier, and of its finite cuts, which come in order of cost, those of a new height.
fn rising(points: Vec<CutPoint>) -> impl Iterator<Item = CutPoint> {
    let mut best = None;
    points.into_iter().filter(move |point| {
        let rises = point.at_least.is_infinite() || best.is_none_or(|best| point.totals.quality > best);
        if rises && point.at_least.is_finite() {
            best = Some(point.totals.quality);
        }
        rises
    })
}

impl PolicyClass for FullChain<'_> {
    fn at_budget(&self, cost: i128) -> Option<Operating> {
        self.0.solve(Constraint::Budget(cost))
    }

    fn at_floor(&self, quality: i128) -> Option<Operating> {
        self.0.solve(Constraint::Floor(quality))
    }

    fn hull(&self) -> &[Operating] {
        self.0.hull()
    }

    fn quantile_loss(&self) -> f64 {
        self.0.quantile_loss()
    }
}
