//! Exact frontiers of single models and two-model cascades (MATH.md 2, 3 and 5).

use crate::fit::frontier::hull;
use crate::fit::frontier::operating::{CascadeRule, Operating, PolicyClass, StageCut};
use crate::fit::frontier::point_set::PointSet;
use crate::fit::frontier::ranking::Ranking;
use crate::fit::rows::table::{Table, Totals};
use crate::fit::threads;

/// A two-model cascade up to its cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The tier that runs first.
    pub cheap: usize,
    /// Index into the cheap tier's signals.
    pub signal: usize,
    /// The tier that answers what the cheap one does not keep.
    pub dear: usize,
}

impl Pair {
    /// The cascade with this cut.
    pub fn rule(self, at_least: f64) -> CascadeRule {
        CascadeRule {
            tiers: vec![self.cheap, self.dear],
            cuts: vec![StageCut { signal: self.signal, at_least }],
        }
    }
}

/// A cut and what it leads to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CutPoint {
    /// The lowest kept score; −∞ keeps everything, +∞ escalates everything.
    pub at_least: f64,
    /// Exact sums.
    pub totals: Totals,
}

/// Every distinct cut of a pair, from keeping everything to escalating everything; `ranking` is that of its signal.
/// O(n).
pub fn frontier(table: &Table, ranking: &Ranking, pair: Pair) -> Vec<CutPoint> {
    let mut points = Vec::with_capacity(ranking.groups() + 1);
    for_each_cut(table, ranking, pair, |point| points.push(point));
    points
}

/// At most about `most` points: both ends, the vertices of the hull, and an even spread over the others.
pub fn thinned(points: &[CutPoint], most: usize) -> Vec<CutPoint> {
    if points.len() <= most {
        return points.to_vec();
    }
    let Some(last) = points.len().checked_sub(1) else { return Vec::new() };
    let mut by_cost: Vec<usize> = (0..points.len()).collect();
    by_cost.sort_by_key(|&at| (points[at].totals.cost, -points[at].totals.quality));
    let sums: Vec<Totals> = by_cost.iter().map(|&at| points[at].totals).collect();
    let mut kept: Vec<usize> = hull::concave(&sums).into_iter().map(|vertex| by_cost[vertex]).collect();
    kept.extend([0, last]);
    let room = most.saturating_sub(kept.len()).max(1);
    kept.extend((0..room).map(|step| step * last / room));
    kept.sort_unstable();
    kept.dedup();
    kept.into_iter().map(|at| points[at]).collect()
}

/// Visits the cuts of a pair from −∞ to +∞. A signal's own cost is paid by every row at the cuts that read it, which
/// the two ends do not.
fn for_each_cut(table: &Table, ranking: &Ranking, pair: Pair, visit: impl FnMut(CutPoint)) {
    let (cheap, dear) = (&table.tiers[pair.cheap], &table.tiers[pair.dear]);
    sweep(
        ranking,
        table.single(pair.cheap, &ranking.order),
        signal_cost(table, pair.cheap, pair.signal, &ranking.order),
        |row| {
            table.totals(
                row,
                dear.quality[row as usize] - cheap.quality[row as usize],
                dear.cost[row as usize],
            )
        },
        visit,
    );
}

/// Visits the cuts on one signal from −∞ to +∞: `kept` if all is kept, `signal` added at finite cuts, and `change` for
/// each row that escalates.
pub(in crate::fit) fn sweep(
    ranking: &Ranking,
    kept: Totals,
    signal: Totals,
    change: impl Fn(u32) -> Totals,
    mut visit: impl FnMut(CutPoint),
) {
    visit(CutPoint { at_least: f64::NEG_INFINITY, totals: kept });
    let mut sum = kept;
    for group in 0..ranking.groups() {
        if group > 0 {
            visit(CutPoint { at_least: ranking.scores[group], totals: sum + signal });
        }
        for &row in ranking.group(group) {
            sum += change(row);
        }
    }
    visit(CutPoint { at_least: f64::INFINITY, totals: sum });
}

/// What a signal costs if every one of `rows` pays for it.
pub(in crate::fit) fn signal_cost(table: &Table, tier: usize, signal: usize, rows: &[u32]) -> Totals {
    let costs = &table.tiers[tier].signals[signal].cost;
    if costs.is_empty() {
        return Totals::default();
    }
    rows.iter().fold(Totals::default(), |sum, &row| sum + table.totals(row, 0, costs[row as usize]))
}

/// The rankings of a tier's signals, and of all tiers.
pub(in crate::fit) fn rankings(table: &Table, rows: &[u32], threads: usize) -> Vec<Vec<Ranking>> {
    let signals: Vec<(usize, usize)> = (0..table.tiers.len())
        .flat_map(|tier| (0..table.tiers[tier].signals.len()).map(move |signal| (tier, signal)))
        .collect();
    let sorted = threads::map(threads, signals.len(), |at| {
        let (tier, signal) = signals[at];
        Ranking::new(&table.tiers[tier].signals[signal].value, rows)
    });
    let mut by_tier: Vec<Vec<Ranking>> = vec![Vec::new(); table.tiers.len()];
    for (&(tier, _), ranking) in signals.iter().zip(sorted) {
        by_tier[tier].push(ranking);
    }
    by_tier
}

/// S₁: every tier on its own.
#[derive(Clone, Debug)]
pub struct Singles {
    points: PointSet<usize>,
    hull: Vec<Operating>,
}

impl Singles {
    /// The tiers of the table on `rows`.
    pub fn new(table: &Table, rows: &[u32]) -> Self {
        let points =
            PointSet::new((0..table.tiers.len()).map(|tier| (table.single(tier, rows), tier)).collect());
        let hull = points.hull().map(Self::operating).collect();
        Self { points, hull }
    }

    fn operating(&(totals, tier): &(Totals, usize)) -> Operating {
        Operating { totals, rule: CascadeRule { tiers: vec![tier], cuts: Vec::new() } }
    }
}

impl PolicyClass for Singles {
    fn at_budget(&self, cost: i128) -> Option<Operating> {
        self.points.at_budget(cost).map(Self::operating)
    }

    fn at_floor(&self, quality: i128) -> Option<Operating> {
        self.points.at_floor(quality).map(Self::operating)
    }

    fn hull(&self) -> &[Operating] {
        &self.hull
    }
}

/// S₂: the envelope of all pairs of tiers in order of cost, every signal of the cheap tier, and the single tiers.
#[derive(Clone, Debug)]
pub struct Pairs {
    points: PointSet<Member>,
    hull: Vec<Operating>,
}

/// What reaches a point of the envelope.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Member {
    /// A tier on its own.
    Single(usize),
    /// A pair and its cut.
    Cascade(Pair, f64),
}

impl Member {
    /// The rule that reaches the point.
    pub fn rule(self) -> CascadeRule {
        match self {
            Self::Single(tier) => CascadeRule { tiers: vec![tier], cuts: Vec::new() },
            Self::Cascade(pair, at_least) => pair.rule(at_least),
        }
    }
}

impl Pairs {
    /// Searches all pairs of the table's tiers, which must be in order of cost, on `rows`. O(k² n + k n log n).
    pub fn new(table: &Table, rows: &[u32], threads: usize) -> Self {
        Self::from_rankings(table, rows, &rankings(table, rows, threads), threads)
    }

    /// As [`Pairs::new`], from rankings of all signals.
    pub(in crate::fit) fn from_rankings(
        table: &Table,
        rows: &[u32],
        rankings: &[Vec<Ranking>],
        threads: usize,
    ) -> Self {
        let pairs = all_pairs(table);
        let mut points: Vec<(Totals, Member)> =
            (0..table.tiers.len()).map(|tier| (table.single(tier, rows), Member::Single(tier))).collect();
        let packed = Packed::new(table);
        let starts: Vec<(usize, usize)> = (0..table.tiers.len().saturating_sub(1))
            .flat_map(|cheap| (0..table.tiers[cheap].signals.len()).map(move |signal| (cheap, signal)))
            .collect();
        let found = threads::map(threads, starts.len(), |at| {
            let (cheap, signal) = starts[at];
            staircases(table, &packed, &rankings[cheap][signal], cheap, signal)
        });
        // In the order of the pairs, so that of equal points always the same one stands.
        let mut by_pair: Vec<Vec<(Totals, Member)>> = vec![Vec::new(); pairs.len()];
        for (&(cheap, signal), found) in starts.iter().zip(found) {
            for (dear, steps) in (cheap + 1..).zip(found) {
                if let Some(at) = pairs.iter().position(|pair| *pair == Pair { cheap, signal, dear }) {
                    by_pair[at] = steps;
                }
            }
        }
        points.extend(by_pair.into_iter().flatten());
        let points = PointSet::new(points);
        let hull = points.hull().map(Self::operating).collect();
        Self { points, hull }
    }

    /// The deterministic frontier: cheapest first, quality strictly increasing.
    pub fn staircase(&self) -> &[(Totals, Member)] {
        self.points.staircase()
    }

    fn operating(&(totals, member): &(Totals, Member)) -> Operating {
        Operating { totals, rule: member.rule() }
    }
}

/// All pairs of tiers in order of cost, with each signal of the cheap tier.
pub fn all_pairs(table: &Table) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (cheap, tier) in table.tiers.iter().enumerate() {
        for dear in cheap + 1..table.tiers.len() {
            pairs.extend((0..tier.signals.len()).map(|signal| Pair { cheap, signal, dear }));
        }
    }
    pairs
}

/// Amounts by row, so that a pass in the order of a score finds all of a row in one place: weight, then quality and cost
/// of each tier.
struct Packed {
    amounts: Vec<i64>,
    stride: usize,
}

impl Packed {
    fn new(table: &Table) -> Self {
        let stride = 1 + 2 * table.tiers.len();
        let mut amounts = Vec::with_capacity(stride * table.len());
        for (row, &weight) in table.weight.iter().enumerate() {
            amounts.push(weight);
            amounts.extend(table.tiers.iter().flat_map(|tier| [tier.quality[row], tier.cost[row]]));
        }
        Self { amounts, stride }
    }

    fn row(&self, row: u32) -> &[i64] {
        &self.amounts[row as usize * self.stride..][..self.stride]
    }
}

/// The points of one pair that can be on a staircase.
#[derive(Clone, Debug, Default)]
struct Steps {
    best: Option<i128>,
    points: Vec<(Totals, Member)>,
}

impl Steps {
    /// Takes the finite cuts in order of cost, so only new heights count. The ends are cheaper than their neighbours
    /// where the signal costs something: keeping all is the single tier, escalating all is the dear one at a higher
    /// price.
    fn offer(&mut self, pair: Pair, at_least: f64, totals: Totals) {
        if self.best.is_none_or(|best| totals.quality > best) {
            self.best = Some(totals.quality);
            self.points.push((totals, Member::Cascade(pair, at_least)));
        }
    }
}

/// The points that can be on a staircase, of the pairs of a cheap tier with every dearer one, in one pass.
fn staircases(
    table: &Table,
    packed: &Packed,
    ranking: &Ranking,
    cheap: usize,
    signal: usize,
) -> Vec<Vec<(Totals, Member)>> {
    let kept = table.single(cheap, &ranking.order) + signal_cost(table, cheap, signal, &ranking.order);
    let mut dearer: Vec<(Pair, Totals, Steps)> = (cheap + 1..table.tiers.len())
        .map(|dear| (Pair { cheap, signal, dear }, kept, Steps::default()))
        .collect();
    for group in 0..ranking.groups() {
        if group > 0 {
            for (pair, sum, steps) in &mut dearer {
                steps.offer(*pair, ranking.scores[group], *sum);
            }
        }
        for &row in ranking.group(group) {
            let amounts = packed.row(row);
            let weight = i128::from(amounts[0]);
            let quality = amounts[1 + 2 * cheap];
            for ((_, sum, _), dear) in dearer.iter_mut().zip(amounts[3 + 2 * cheap..].chunks_exact(2)) {
                sum.quality += weight * i128::from(dear[0] - quality);
                sum.cost += weight * i128::from(dear[1]);
            }
        }
    }
    dearer.into_iter().map(|(_, _, steps)| steps.points).collect()
}

impl PolicyClass for Pairs {
    fn at_budget(&self, cost: i128) -> Option<Operating> {
        self.points.at_budget(cost).map(Self::operating)
    }

    fn at_floor(&self, quality: i128) -> Option<Operating> {
        self.points.at_floor(quality).map(Self::operating)
    }

    fn hull(&self) -> &[Operating] {
        &self.hull
    }
}
