//! Chains of four and more stages, by ascent from several starts (MATH.md 6.3). A heuristic: it may miss the optimum.
//!
//! At a price, two kinds of moves are taken while they help. With all other stages fixed, one stage gets the best of
//! all its signals and cuts. With all others fixed, two stages get the best pair of cuts, which includes every
//! transfer of escalations from one stage to another. Both are exact over what they move.

use super::instance::{Instance, Pick};
use super::optimum::{Constraint, Search};
use super::surface::{Price, Step, Sums, Surface};
use crate::fit::frontier::operating::Operating;
use crate::fit::threads;

/// Prices that share a start and are climbed one after the other.
const NEIGHBOURS: usize = 4;

/// Most rounds at one price; each round but the last one improves.
const ROUNDS: usize = 20;

/// Climbs each chain at each price; for each chain, every policy that was the best so far on the way. `starts` gives
/// the first policies to try for a chain.
pub(super) fn climb(
    instance: &Instance<'_>,
    chains: &[Vec<usize>],
    starts: impl Fn(&[usize]) -> Vec<Vec<Pick>> + Sync,
    prices: &[Price],
    threads: usize,
) -> Vec<Vec<Operating>> {
    let shares: Vec<(&Vec<usize>, &[Price])> = chains
        .iter()
        .flat_map(|tiers| prices.chunks(NEIGHBOURS).map(move |prices| (tiers, prices)))
        .collect();
    let found = threads::map(threads, shares.len(), |at| {
        let (tiers, prices) = shares[at];
        let mut found = Vec::new();
        let Some(mut climber) = Climber::new(instance, tiers) else { return found };
        let starts = starts(tiers);
        for &price in prices {
            // The best of the starts, of which the last price's optimum is one.
            let neighbour = climber.picks.clone();
            let mut best = climber.climb(price, &mut found);
            let mut picks = climber.picks.clone();
            for start in starts.iter().filter(|start| **start != neighbour) {
                climber.picks.clone_from(start);
                let reached = climber.climb(price, &mut found);
                if price.value(reached) > price.value(best) {
                    (best, picks) = (reached, climber.picks.clone());
                }
            }
            climber.picks = picks;
        }
        found
    });
    let per_chain = prices.len().div_ceil(NEIGHBOURS).max(1);
    found.chunks(per_chain).map(<[_]>::concat).collect()
}

/// The best that moving two stages at once makes of a policy under a constraint.
pub(super) fn polish(instance: &Instance<'_>, near: &Operating, mut search: Search) -> Option<Operating> {
    let mut climber = Climber::new(instance, &near.rule.tiers)?;
    climber.picks = instance.picks(&near.rule);
    let mut best = None;
    for (first, second) in climber.blocks() {
        let Some(surface) = climber.surface(first, second) else { continue };
        let vertex = match search.constraint {
            Constraint::Budget(limit) => surface.at_budget(search.units.cost_below(limit)),
            Constraint::Floor(floor) => surface.at_floor(search.units.quality_above(floor)),
        };
        let Some(vertex) = vertex else { continue };
        let mut picks = climber.picks.clone();
        (picks[first].cut, picks[second].cut) = (vertex.cuts[0], vertex.cuts[1]);
        let found = instance.operating(climber.tiers, &picks, vertex.sums);
        if search.improves(found.totals) {
            search.known = Some(found.totals);
            best = Some(found);
        }
    }
    best
}

/// One chain and the policy reached on it.
struct Climber<'i> {
    instance: &'i Instance<'i>,
    tiers: &'i [usize],
    /// One for each tier but the last.
    picks: Vec<Pick>,
}

impl<'i> Climber<'i> {
    /// `None` where a tier has no signal to escalate by.
    fn new(instance: &'i Instance<'_>, tiers: &'i [usize]) -> Option<Self> {
        let (_, deciding) = tiers.split_last()?;
        let possible = deciding.iter().all(|&tier| !instance.rankings[tier].is_empty());
        possible.then(|| Self { instance, tiers, picks: vec![Pick { signal: 0, cut: 0 }; deciding.len()] })
    }

    /// Climbs until no move helps; records each improvement.
    fn climb(&mut self, price: Price, found: &mut Vec<Operating>) -> Sums {
        let rows = &self.instance.rows;
        let mut best = rows.iter().fold(Sums::default(), |sum, &row| sum + self.from(0, row as usize));
        self.record(best, found);
        for _ in 0..ROUNDS {
            let before = best;
            for stage in 0..self.picks.len() {
                let (pick, sums) = self.slice(stage, price);
                if price.value(sums) > price.value(best) {
                    self.picks[stage] = pick;
                    best = sums;
                }
            }
            if price.value(best) == price.value(before) {
                for (first, second) in self.blocks() {
                    let Some(surface) = self.surface(first, second) else { continue };
                    let (_, Some(vertex)) = surface.peaks(price, surface.origin()) else { continue };
                    if price.value(vertex.sums) > price.value(best) {
                        (self.picks[first].cut, self.picks[second].cut) = (vertex.cuts[0], vertex.cuts[1]);
                        best = vertex.sums;
                    }
                }
            }
            if price.value(best) == price.value(before) {
                break;
            }
            self.record(best, found);
        }
        best
    }

    fn record(&self, sums: Sums, found: &mut Vec<Operating>) {
        found.push(self.instance.operating(self.tiers, &self.picks, sums));
    }

    fn blocks(&self) -> Vec<(usize, usize)> {
        let stages = self.picks.len();
        (0..stages).flat_map(|first| (first + 1..stages).map(move |second| (first, second))).collect()
    }

    fn group(&self, stage: usize, row: usize) -> u32 {
        self.instance.groups[self.tiers[stage]][self.picks[stage].signal][row]
    }

    fn escalates(&self, stage: usize, row: usize) -> bool {
        self.picks.get(stage).is_some_and(|pick| self.group(stage, row) < pick.cut)
    }

    /// Quality and cost of a stage whose answer is kept, with the price of its signal where `reads`.
    fn run(&self, stage: usize, row: usize, reads: bool) -> Sums {
        let tier = &self.instance.columns.tiers[self.tiers[stage]];
        let signal = if reads { tier.signal_cost(self.picks[stage].signal, row) } else { 0 };
        Sums { quality: tier.quality[row], cost: tier.cost[row] + signal }
    }

    fn reads(&self, stage: usize) -> bool {
        self.picks.get(stage).is_some_and(|&pick| self.instance.reads(self.tiers[stage], pick))
    }

    /// What a row does from a stage on.
    fn from(&self, stage: usize, row: usize) -> Sums {
        self.between(stage, self.tiers.len(), row).0
    }

    /// What a row does from a stage on, ending before `end`; and whether it escalates there.
    fn between(&self, stage: usize, end: usize, row: usize) -> (Sums, bool) {
        let mut sums = Sums::default();
        for at in stage..end {
            let here = self.run(at, row, self.reads(at));
            sums = Sums { quality: here.quality, cost: sums.cost + here.cost };
            if !self.escalates(at, row) {
                return (sums, false);
            }
        }
        (sums, true)
    }

    /// What a row does before it gets to a stage; `None` if that is all it does, with its sums as the error.
    fn before(&self, stage: usize, row: usize) -> Result<i64, Sums> {
        match self.between(0, stage, row) {
            (sums, true) => Ok(sums.cost),
            (sums, false) => Err(sums),
        }
    }

    /// The best signal and cut of a stage with all others as they are, and the sums then.
    fn slice(&self, stage: usize, price: Price) -> (Pick, Sums) {
        let Instance { rows, rankings, columns, .. } = self.instance;
        let tier = self.tiers[stage];
        let mut gains = vec![None; columns.tiers[tier].quality.len()];
        let (mut kept, mut all) = (Sums::default(), Sums::default());
        for &row in rows {
            let row = row as usize;
            match self.before(stage, row) {
                Err(sums) => kept += sums,
                Ok(cost) => {
                    let here = self.run(stage, row, false);
                    kept += Sums { quality: here.quality, cost: cost + here.cost };
                    let gain = self.from(stage + 1, row) - Sums { quality: here.quality, cost: 0 };
                    gains[row] = Some(gain);
                    all += gain;
                }
            }
        }
        let mut best = (Pick { signal: self.picks[stage].signal, cut: 0 }, kept);
        let mut offer = |pick: Pick, sums: Sums| {
            if price.value(sums) > price.value(best.1) {
                best = (pick, sums);
            }
        };
        for (signal, ranking) in rankings[tier].iter().enumerate() {
            let mut sums = kept;
            for (row, _) in gains.iter().enumerate().filter(|gain| gain.1.is_some()) {
                sums.cost += columns.tiers[tier].signal_cost(signal, row);
            }
            for (group, cut) in (0..ranking.groups()).zip(0..) {
                if group > 0 {
                    offer(Pick { signal, cut }, sums);
                }
                for gain in ranking.group(group).iter().filter_map(|&row| gains[row as usize]) {
                    sums += gain;
                }
            }
        }
        let groups = rankings[tier].first().map_or(0, crate::fit::frontier::ranking::Ranking::groups);
        offer(Pick { signal: 0, cut: u32::try_from(groups).unwrap_or(u32::MAX) }, kept + all);
        best
    }

    /// All finite cuts of two stages with all others as they are.
    fn surface(&self, first: usize, second: usize) -> Option<Surface> {
        let Instance { rows, rankings, .. } = self.instance;
        let ranking = |stage: usize| &rankings[self.tiers[stage]][self.picks[stage].signal];
        let kept = rows.iter().fold(Sums::default(), |sum, &row| {
            let row = row as usize;
            sum + self.before(first, row).map_or_else(
                |sums| sums,
                |cost| {
                    let here = self.run(first, row, true);
                    Sums { quality: here.quality, cost: cost + here.cost }
                },
            )
        });
        Surface::new(kept, ranking(first), ranking(second).groups(), |row| {
            self.before(first, row).ok()?;
            let quality = self.run(first, row, false).quality;
            let (between, arrives) = self.between(first + 1, second, row);
            if !arrives {
                return Some(Step { change: between - Sums { quality, cost: 0 }, further: None });
            }
            let here = self.run(second, row, true);
            let change = Sums { quality: here.quality - quality, cost: between.cost + here.cost };
            let further = self.from(second + 1, row) - Sums { quality: here.quality, cost: 0 };
            Some(Step { change, further: Some((self.group(second, row), further)) })
        })
    }
}
