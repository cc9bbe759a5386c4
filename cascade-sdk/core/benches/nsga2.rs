//! The exact search beside a generic optimiser on the same problem, in one run: NSGA-II (Deb et al. 2002) with a
//! population of 100 and 2,000 trials, as the paper uses it.
//!
//! The problem: up to three of five tiers in order of cost, and a threshold on each but the last; least mean cost and
//! highest mean quality.
//!
//! `cargo bench -p cascade-sdk-core --features fit --bench nsga2`
#![allow(clippy::print_stdout, reason = "a program for people to read")]
#![allow(clippy::cast_possible_truncation, reason = "sizes and synthetic amounts are small")]
#![allow(clippy::cast_sign_loss, reason = "shares are not negative")]

mod problem;

use cascade_sdk_core::fit::chain::Chains;
use cascade_sdk_core::fit::frontier::operating::{CascadeRule, PolicyClass, StageCut};
use cascade_sdk_core::fit::frontier::point_set::PointSet;
use cascade_sdk_core::fit::random::SplitMix64;
use cascade_sdk_core::fit::rows::table::{QUALITY_ONE, Table, Totals};
use problem::{THREADS, all_rows, synthetic};
use std::time::Instant;

const POPULATION: usize = 100;
const TRIALS: usize = 2_000;

/// Budgets at which the exact search answers, as a fit asks it: the answers and the hull are its frontier.
const BUDGETS: i128 = 20;

fn main() {
    println!(
        "NSGA-II, {TRIALS} trials, against the exact search: its whole hull, and its hull and {BUDGETS} budgets; {THREADS} threads\n"
    );
    println!(
        "   rows   NSGA-II ms   hull ms (ratio)   + budgets ms (ratio)   hypervolume / exact   exact wins, ties, loses   \
         shortfall, points"
    );
    for rows in [1_000, 10_000, 100_000] {
        for seed in 0..if rows > 10_000 { 1 } else { 3 } {
            compare(rows, seed);
        }
    }
}

fn compare(rows: usize, seed: u64) {
    let table = synthetic(rows, 5, 1);
    let all = all_rows(&table);
    let start = Instant::now();
    let found = Optimiser::new(&table, &all, seed).run();
    let theirs = start.elapsed().as_secs_f64() * 1e3;

    let start = Instant::now();
    let exact = Chains::new(&table, &all, 3, THREADS);
    let hull = exact.hull();
    let vertices = start.elapsed().as_secs_f64() * 1e3;
    let (low, high) = (hull[0].totals.cost, hull[hull.len() - 1].totals.cost);
    let budgets = (0..=BUDGETS).map(|step| low + (high - low) * step / BUDGETS);
    let mut points: Vec<Totals> =
        budgets.filter_map(|budget| Some(exact.at_budget(budget)?.totals)).collect();
    let ours = start.elapsed().as_secs_f64() * 1e3;
    points.extend(hull.iter().map(|vertex| vertex.totals));

    // At each point of its frontier: what does the exact search reach for the same money?
    let (mut wins, mut ties, mut losses, mut shortfall) = (0, 0, 0, 0.0);
    for &totals in &found {
        let best = exact.at_budget(totals.cost).map_or(0, |best| best.totals.quality);
        match best.cmp(&totals.quality) {
            std::cmp::Ordering::Greater => wins += 1,
            std::cmp::Ordering::Equal => ties += 1,
            std::cmp::Ordering::Less => losses += 1,
        }
        shortfall += (best - totals.quality) as f64 / (rows as f64 * QUALITY_ONE as f64) / found.len() as f64;
    }
    let volume = hypervolume(&found, low, high) / hypervolume(&points, low, high);
    println!(
        "{rows:>7} {theirs:>12.1} {vertices:>9.1} ({:>4.1}) {ours:>14.1} ({:>4.1}) {volume:>21.4} {wins:>13} {ties:>5} \
         {losses:>6} {:>19.3}",
        theirs / vertices,
        theirs / ours,
        100.0 * shortfall
    );
}

/// Area under the staircase between two costs, above a quality of 0.
fn hypervolume(points: &[Totals], low: i128, high: i128) -> f64 {
    let set = PointSet::new(points.iter().map(|&totals| (totals, ())).collect());
    let steps: Vec<Totals> = set.staircase().iter().map(|step| step.0).collect();
    let ends = steps.iter().skip(1).map(|step| step.cost).chain([high]);
    steps
        .iter()
        .zip(ends)
        .map(|(step, end)| (end.min(high) - step.cost.max(low)).max(0) as f64 * step.quality as f64)
        .sum()
}

/// A trial: for each tier whether it takes part, and the share of answers that its threshold would hand on.
#[derive(Clone, Debug)]
struct Trial {
    genes: Vec<f64>,
    totals: Totals,
    rank: usize,
    crowding: f64,
}

struct Optimiser<'a> {
    table: &'a Table,
    rows: &'a [u32],
    /// Scores of each tier in increasing order.
    sorted: Vec<Vec<f64>>,
    random: SplitMix64,
    archive: Vec<Totals>,
}

impl<'a> Optimiser<'a> {
    fn new(table: &'a Table, rows: &'a [u32], seed: u64) -> Self {
        let sorted = table
            .tiers
            .iter()
            .map(|tier| {
                let mut scores = tier.signals[0].value.clone();
                scores.sort_by(f64::total_cmp);
                scores
            })
            .collect();
        Self { table, rows, sorted, random: SplitMix64::new(seed, 0x2002), archive: Vec::new() }
    }

    /// The non-dominated trials of the whole run.
    fn run(mut self) -> Vec<Totals> {
        let mut population: Vec<Trial> = (0..POPULATION).map(|_| self.random_trial()).collect();
        rank(&mut population);
        for _ in 1..TRIALS / POPULATION {
            let mut children = Vec::with_capacity(POPULATION);
            while children.len() < POPULATION {
                let (mother, father) = (self.tournament(&population), self.tournament(&population));
                for genes in self.crossed(&population[mother].genes, &population[father].genes) {
                    let genes = self.mutated(genes);
                    children.push(self.trial(genes));
                }
            }
            population.append(&mut children);
            rank(&mut population);
            population.sort_by(|a, b| a.rank.cmp(&b.rank).then(b.crowding.total_cmp(&a.crowding)));
            population.truncate(POPULATION);
        }
        let set = PointSet::new(self.archive.into_iter().map(|totals| (totals, ())).collect());
        set.staircase().iter().map(|step| step.0).collect()
    }

    fn random_trial(&mut self) -> Trial {
        let genes = (0..2 * self.table.tiers.len()).map(|_| self.random.fraction()).collect();
        self.trial(genes)
    }

    /// The three tiers with the highest genes of those above one half; thresholds at quantiles of the scores.
    fn trial(&mut self, genes: Vec<f64>) -> Trial {
        let count = self.table.tiers.len();
        let mut tiers: Vec<usize> = (0..count).collect();
        tiers.sort_by(|&a, &b| genes[b].total_cmp(&genes[a]));
        let wanted = tiers.iter().filter(|&&tier| genes[tier] > 0.5).count().clamp(1, 3);
        tiers.truncate(wanted);
        tiers.sort_unstable();
        let cuts = tiers[..wanted - 1].iter().map(|&tier| {
            let scores = &self.sorted[tier];
            let at = (genes[count + tier] * scores.len() as f64) as usize;
            StageCut { signal: 0, at_least: scores[at.min(scores.len() - 1)] }
        });
        let rule = CascadeRule { cuts: cuts.collect(), tiers };
        let totals = rule.totals(self.table, self.rows);
        self.archive.push(totals);
        Trial { genes, totals, rank: 0, crowding: 0.0 }
    }

    fn tournament(&mut self, population: &[Trial]) -> usize {
        let (a, b) = (self.random.below(population.len()), self.random.below(population.len()));
        let (x, y) = (&population[a], &population[b]);
        if x.rank < y.rank || (x.rank == y.rank && x.crowding > y.crowding) { a } else { b }
    }

    /// Simulated binary crossover with distribution index 20, with probability 0.9.
    fn crossed(&mut self, mother: &[f64], father: &[f64]) -> [Vec<f64>; 2] {
        let (mut one, mut two) = (mother.to_vec(), father.to_vec());
        if self.random.fraction() < 0.9 {
            for (x, y) in one.iter_mut().zip(&mut two) {
                if self.random.fraction() < 0.5 {
                    let u = self.random.fraction();
                    let spread = if u < 0.5 { 2.0 * u } else { 1.0 / (2.0 * (1.0 - u)) }.powf(1.0 / 21.0);
                    let (middle, half) = (f64::midpoint(*x, *y), spread * (*x - *y) / 2.0);
                    (*x, *y) = ((middle + half).clamp(0.0, 1.0), (middle - half).clamp(0.0, 1.0));
                }
            }
        }
        [one, two]
    }

    /// Polynomial mutation with distribution index 20, one gene of a trial on average.
    fn mutated(&mut self, mut genes: Vec<f64>) -> Vec<f64> {
        let chance = 1.0 / genes.len() as f64;
        for gene in &mut genes {
            if self.random.fraction() < chance {
                let u = self.random.fraction();
                let step = if u < 0.5 {
                    (2.0 * u).powf(1.0 / 21.0) - 1.0
                } else {
                    1.0 - (2.0 * (1.0 - u)).powf(1.0 / 21.0)
                };
                *gene = (*gene + step).clamp(0.0, 1.0);
            }
        }
        genes
    }
}

/// Fast non-dominated sort and crowding distances.
fn rank(population: &mut [Trial]) {
    let dominates = |a: Totals, b: Totals| {
        a.cost <= b.cost && a.quality >= b.quality && (a.cost < b.cost || a.quality > b.quality)
    };
    let mut open: Vec<usize> = (0..population.len()).collect();
    let mut level = 0;
    while !open.is_empty() {
        let (front, rest): (Vec<usize>, Vec<usize>) = open.iter().partition(|&&at| {
            !open.iter().any(|&other| dominates(population[other].totals, population[at].totals))
        });
        for &at in &front {
            (population[at].rank, population[at].crowding) = (level, 0.0);
        }
        crowd(population, front);
        (open, level) = (rest, level + 1);
    }
}

fn crowd(population: &mut [Trial], mut front: Vec<usize>) {
    for objective in [|totals: Totals| totals.cost, |totals: Totals| totals.quality] {
        front.sort_by_key(|&at| objective(population[at].totals));
        let value = |at: usize| objective(population[front[at]].totals) as f64;
        let last = front.len() - 1;
        let range = (value(last) - value(0)).max(f64::MIN_POSITIVE);
        let gaps: Vec<f64> =
            (0..=last)
                .map(|at| {
                    if at == 0 || at == last {
                        f64::INFINITY
                    } else {
                        (value(at + 1) - value(at - 1)) / range
                    }
                })
                .collect();
        for (&at, gap) in front.iter().zip(gaps) {
            population[at].crowding += gap;
        }
    }
}
