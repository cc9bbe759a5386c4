//! Cascades under limits on tails (MATH.md 11.1): every family holds only policies that keep the limits on its rows.
//!
//! For one pair, cost and both tails never fall as the cut rises, so all cuts are listed and those within the limits kept.
//! For three stages and a fixed first cut the same is true of the second, so the cuts within a budget **and** the limits
//! are a prefix of the second ranking: the deterministic optimum is found exactly in O(n log n) by the descent of
//! `tree`. Four and more stages are climbed one stage at a time (`ascent`) and labelled as heuristic.

mod abstain;
mod ascent;
mod dual;
mod search;
mod tree;

pub use abstain::{Abstaining, AbstainingRule};
pub use dual::multipliers;

use super::chain::non_dominated;
use super::limits::{Limits, Over, within};
use super::objective::Target;
use super::threads;
use crate::fit::frontier::operating::{CascadeRule, Operating, PolicyClass, StageCut, Walk};
use crate::fit::frontier::pair::{Pair, rankings};
use crate::fit::frontier::point_set::PointSet;
use crate::fit::frontier::ranking::Ranking;
use crate::fit::rows::table::{Table, Totals};

/// Exact weighted sums over some rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Σ weight · quality, in units of 10⁻¹².
    pub quality: i128,
    /// Σ weight · cost, in pico-dollars.
    pub cost: i128,
    /// Σ weight of the rows that exceed each limit.
    pub over: Over,
}

/// What the limits of a search count: cost and tails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Used {
    cost: i128,
    over: Over,
}

impl Used {
    const fn plus(self, other: Self) -> Self {
        let ([a, b], [c, d]) = (self.over, other.over);
        Self { cost: self.cost + other.cost, over: [a + c, b + d] }
    }

    /// What is left of a limit; limits that do not bind stay so.
    fn minus(self, other: Self) -> Self {
        let ([a, b], [c, d]) = (self.over, other.over);
        Self { cost: self.cost.saturating_sub(other.cost), over: [a.saturating_sub(c), b.saturating_sub(d)] }
    }

    fn within(self, limit: Self) -> bool {
        self.cost <= limit.cost && within(self.over, limit.over)
    }
}

impl Sums {
    const fn used(self) -> Used {
        Used { cost: self.cost, over: self.over }
    }

    /// Quality and cost alone.
    pub const fn totals(self) -> Totals {
        Totals { quality: self.quality, cost: self.cost }
    }
}

impl std::ops::AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl std::ops::Add for Sums {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let used = self.used().plus(other.used());
        Self { quality: self.quality + other.quality, cost: used.cost, over: used.over }
    }
}

impl std::ops::Sub for Sums {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        let ([a, b], [c, d]) = (self.over, other.over);
        Self { quality: self.quality - other.quality, cost: self.cost - other.cost, over: [a - c, b - d] }
    }
}

/// Which cascades take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Members {
    /// All cost-ordered subsequences of up to this many tiers.
    UpTo(usize),
    /// The one chain of all tiers that are not dominated.
    FullChain,
}

/// A search over cascades that keep limits.
#[derive(Debug)]
pub struct Limited<'t> {
    arena: Arena<'t>,
    /// Singles and pairs (or the parts of the full chain with at most one finite cut) within the limits, and the
    /// vertices that were found on longer chains.
    points: PointSet<CascadeRule>,
    hull: Vec<Operating>,
    triples: Vec<[usize; 3]>,
    long: Vec<Vec<usize>>,
    threads: usize,
}

/// What all searches share.
#[derive(Debug)]
struct Arena<'t> {
    table: &'t Table,
    rows: Vec<u32>,
    rankings: Vec<Vec<Ranking>>,
    limits: Limits,
    allowed: Over,
}

/// Most searches for further vertices of a hull.
const VERTICES: usize = 24;

impl<'t> Limited<'t> {
    /// Searches the table's tiers, which must be in order of cost, on `rows`.
    pub fn new(table: &'t Table, rows: &[u32], members: Members, limits: &Limits, threads: usize) -> Self {
        let arena = Arena {
            table,
            rows: rows.to_vec(),
            rankings: rankings(table, rows, threads),
            limits: limits.clone(),
            allowed: limits.allowed(table.total_weight(rows)),
        };
        let tiers = table.tiers.len();
        let (short, triples, long) = match members {
            Members::UpTo(stages) => {
                let longest = stages.min(tiers);
                let triples = if longest < 3 { Vec::new() } else { subsequences(tiers, 3) };
                let long = (4..=longest).flat_map(|stages| subsequences(tiers, stages)).collect();
                let short = (1..=longest.min(2)).flat_map(|stages| subsequences(tiers, stages)).collect();
                (short, triples, long)
            }
            Members::FullChain => {
                let full = non_dominated(table, rows);
                let triples = if full.len() < 3 { Vec::new() } else { vec![full[..3].to_vec()] };
                let long = if full.len() > 3 { vec![full.clone()] } else { Vec::new() };
                (vec![full], triples, long)
            }
        };
        let listed = threads::map(threads, short.len(), |at| arena.edges(&short[at]));
        let points: Vec<(Totals, CascadeRule)> = listed.into_iter().flatten().collect();
        let triples = triples.iter().map(|triple| [triple[0], triple[1], triple[2]]).collect();
        let mut limited =
            Self { arena, points: PointSet::new(points), hull: Vec::new(), triples, long, threads };
        limited.explore();
        limited
    }

    /// Adds vertices of longer chains.
    fn explore(&mut self) {
        if !self.triples.is_empty() {
            let points = self.points.staircase().to_vec();
            self.points = PointSet::explored(points, VERTICES, |price| {
                self.longer(Target::Price(price), None).map(|found| (found.totals, found.rule))
            });
        }
        let operating =
            |(totals, rule): &(Totals, CascadeRule)| Operating { totals: *totals, rule: rule.clone() };
        self.hull = self.points.hull().map(operating).collect();
    }

    /// The best cascade of three and more stages, if it is better than what is known.
    fn longer(&self, target: Target, known: Option<Operating>) -> Option<Operating> {
        let arena = &self.arena;
        let surfaces: Vec<([usize; 3], [usize; 2])> = self
            .triples
            .iter()
            .flat_map(|&tiers| {
                let [one, two] = [0, 1].map(|stage| arena.table.tiers[tiers[stage]].signals.len());
                (0..one).flat_map(move |a| (0..two).map(move |b| (tiers, [a, b])))
            })
            .collect();
        let found = threads::map(self.threads, surfaces.len(), |at| {
            let (tiers, signals) = surfaces[at];
            arena.triple(tiers, signals, target)
        });
        let climbed = threads::map(self.threads, self.long.len(), |at| arena.climb(&self.long[at], target));
        found.into_iter().chain(climbed).flatten().fold(known, |best, next| match best {
            Some(best) if target.rank(best.totals) >= target.rank(next.totals) => Some(best),
            _ => Some(next),
        })
    }

    fn solve(&self, target: Target, known: Option<&(Totals, CascadeRule)>) -> Option<Operating> {
        let known = known.map(|(totals, rule)| Operating { totals: *totals, rule: rule.clone() });
        self.longer(target, known)
    }
}

impl Arena<'_> {
    /// Whether sums keep the limits.
    fn keeps(&self, sums: Sums) -> bool {
        within(sums.over, self.allowed)
    }

    /// One row's part of the sums, from the plain amounts of its path.
    fn sums(&self, row: u32, quality: i64, cost: i64, latency_ms: f64) -> Sums {
        row_sums(self.table, &self.limits, row, Walk { quality, cost, latency_ms })
    }

    /// The policies of a chain with at most one finite cut, the others keeping or escalating everything, that keep the
    /// limits: all policies of a chain of up to two tiers.
    fn edges(&self, tiers: &[usize]) -> Vec<(Totals, CascadeRule)> {
        let mut found: Vec<(Totals, CascadeRule)> = Vec::new();
        let mut best: Option<Totals> = None;
        let mut offer = |sums: Sums, rule: &dyn Fn() -> CascadeRule| {
            // Cuts come in order of cost, so that most of what is dominated shows at once.
            let dominated = best.is_some_and(|best| best.cost <= sums.cost && best.quality >= sums.quality);
            if self.keeps(sums) && !dominated {
                best = Some(sums.totals());
                found.push((sums.totals(), rule()));
            }
        };
        let ends: Vec<StageCut> =
            [f64::NEG_INFINITY, f64::INFINITY].map(|at_least| StageCut { signal: 0, at_least }).to_vec();
        let stages = tiers.len().saturating_sub(1);
        if stages == 0 {
            let rule = CascadeRule { tiers: tiers.to_vec(), cuts: Vec::new() };
            let sums = self.total(&rule);
            offer(sums, &|| rule.clone());
            return found;
        }
        // A stage without a signal can only keep or escalate everything.
        for which in 0..1_usize << stages {
            let cuts: Vec<StageCut> = (0..stages).map(|stage| ends[which >> stage & 1]).collect();
            let rule = CascadeRule { tiers: tiers.to_vec(), cuts };
            if !self.escalates_without_signal(&rule) {
                let sums = self.total(&rule);
                offer(sums, &|| rule.clone());
            }
            for stage in 0..stages {
                // The others as they are; each finite cut is listed once.
                if which >> stage & 1 == 0 && !self.escalates_without_signal(&rule) {
                    self.slice(&rule, stage, |cut, sums| {
                        if cut.at_least.is_finite() {
                            offer(sums, &|| rule.with_cut(stage, cut));
                        }
                    });
                }
            }
        }
        found
    }

    /// Whether a stage escalates everything although its tier has no signal, so that no rule can say so.
    fn escalates_without_signal(&self, rule: &CascadeRule) -> bool {
        rule.tiers
            .iter()
            .zip(&rule.cuts)
            .any(|(&tier, cut)| cut.at_least == f64::INFINITY && self.table.tiers[tier].signals.is_empty())
    }

    /// Exact sums of a rule.
    fn total(&self, rule: &CascadeRule) -> Sums {
        self.rows.iter().fold(Sums::default(), |sum, &row| {
            sum + row_sums(self.table, &self.limits, row, rule.walk(self.table, row))
        })
    }
}

/// Multipliers of limits at which routers are swept, in quality per share of requests over a limit: from none to enough
/// to keep requests from a tier that is over the limits in one request of a hundred.
pub(super) const MULTIPLIERS: [f64; 22] = [
    0.0, 0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.55, 0.75, 1.0, 1.4, 2.0, 3.0, 4.5, 7.0, 10.0,
    20.0, 50.0, 100.0,
];

/// What each tier alone does with each row: rows × tiers.
pub(super) fn realised(table: &Table, rows: &[u32], limits: &Limits) -> Vec<Sums> {
    let each = |row: u32, tier: usize| {
        let rule = CascadeRule { tiers: vec![tier], cuts: Vec::new() };
        row_sums(table, limits, row, rule.walk(table, row))
    };
    rows.iter().flat_map(|&row| (0..table.tiers.len()).map(move |tier| each(row, tier))).collect()
}

/// One row's part of the sums.
pub(super) fn row_sums(table: &Table, limits: &Limits, row: u32, walk: Walk) -> Sums {
    let weight = table.weight[row as usize];
    let over = limits.over(walk.cost, walk.latency_ms).map(|over| over * weight);
    let totals = table.totals(row, walk.quality, walk.cost);
    Sums { quality: totals.quality, cost: totals.cost, over }
}

/// The policies of one pair and signal at finite cuts that keep limits.
pub(super) fn pair_points(
    table: &Table,
    rows: &[u32],
    pair: Pair,
    limits: &Limits,
) -> Vec<(Totals, CascadeRule)> {
    let mut signals = vec![Vec::new(); table.tiers.len()];
    let ranking = Ranking::new(&table.tiers[pair.cheap].signals[pair.signal].value, rows);
    signals[pair.cheap] = vec![Ranking::default(); pair.signal];
    signals[pair.cheap].push(ranking);
    let arena = Arena {
        table,
        rows: rows.to_vec(),
        rankings: signals,
        limits: limits.clone(),
        allowed: limits.allowed(table.total_weight(rows)),
    };
    let mut found = Vec::new();
    arena.slice(&pair.rule(f64::NEG_INFINITY), 0, |cut, sums| {
        if cut.at_least.is_finite() && cut.signal == pair.signal && arena.keeps(sums) {
            found.push((sums.totals(), pair.rule(cut.at_least)));
        }
    });
    found
}

/// The ascending sequences of `length` numbers below `count`.
fn subsequences(count: usize, length: usize) -> Vec<Vec<usize>> {
    (0_u32..1 << count)
        .filter(|set| set.count_ones() as usize == length)
        .map(|set| (0..count).filter(|tier| set >> tier & 1 == 1).collect())
        .collect()
}

impl PolicyClass for Limited<'_> {
    fn at_budget(&self, cost: i128) -> Option<Operating> {
        self.solve(Target::Budget(cost), self.points.at_budget(cost))
    }

    fn at_floor(&self, quality: i128) -> Option<Operating> {
        self.solve(Target::Floor(quality), self.points.at_floor(quality))
    }

    fn hull(&self) -> &[Operating] {
        &self.hull
    }
}
