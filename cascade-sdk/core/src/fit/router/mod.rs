//! Fitting a router: which inputs help, how strongly to shrink, the heads, and the frontier over λ (MATH.md 7 and 14).
//!
//! Everything is chosen by log loss out of fold, from the constant model upwards, so that with few rows or prompts that
//! say nothing the router degrades to the best single tier. Weights are quantised before anything is evaluated.

pub mod cost;
mod expected;
mod family;
pub(super) mod inputs;
mod pooling;
pub(super) mod ridge;
pub mod sweep;
#[cfg(test)]
mod tests;

use super::logistic::{self, Labels, Part, Solution, Weights};
use super::threads;
use crate::decide::logistic as probability;
use crate::feature::{CostHead, Heads, Inputs, Router, Scratch, single};
use crate::fit::inference::crossfit::clustered_error;
use crate::fit::router::cost::{CostBasis, Costs};
pub use crate::fit::router::family::RouterFamily;
use crate::fit::router::inputs::{Encoding, Requests};
pub use crate::fit::router::pooling::Pooling;
use crate::fit::router::sweep::Prospect;
use crate::fit::rows::coverage::Coverage;
use crate::fit::rows::table::{QUALITY_ONE, Table};
use crate::log::EvalLog;
use crate::money::PICO_PER_USD;

/// Inverse strengths of the penalty that are tried, strongest first.
const STRENGTHS: [f64; 4] = [0.1, 0.3, 1.0, 3.0];

/// The same for models that read an embedding: what it says is spread over hundreds of small numbers.
const EMBEDDING_STRENGTHS: [f64; 6] = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

/// Which inputs a router uses, the simplest first. Each but the last two includes the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Basis {
    /// None: the same prediction for every request.
    Constant,
    /// Labels and numbers of the application.
    Known,
    /// And the prompt's surface statistics.
    Surface,
    /// And its hashed words and pieces.
    Words,
    /// An embedding, the surface statistics and what the application knows, without words.
    Embedding,
    /// Everything.
    EmbeddingAndWords,
}

impl Basis {
    fn reads_words(self) -> bool {
        matches!(self, Self::Words | Self::EmbeddingAndWords)
    }

    fn reads_embedding(self) -> bool {
        matches!(self, Self::Embedding | Self::EmbeddingAndWords)
    }

    fn strengths(self) -> &'static [f64] {
        match self {
            Self::Constant => &STRENGTHS[..1],
            Self::Embedding | Self::EmbeddingAndWords => &EMBEDDING_STRENGTHS,
            Self::Known | Self::Surface | Self::Words => &STRENGTHS,
        }
    }
}

/// What was chosen out of fold.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Inputs.
    pub basis: Basis,
    /// Inverse strength of the penalty, shared by the tiers.
    pub strength: f64,
    /// Factors of what the tiers share and of what is a tier's own.
    pub pooling: Pooling,
    /// What the cost of each tier is predicted from.
    pub cost: Vec<CostBasis>,
}

/// A candidate and its log loss out of fold, in nats per row and tier.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    /// Inputs.
    pub basis: Basis,
    /// Inverse strength of the penalty.
    pub strength: f64,
    /// Mean log loss.
    pub log_loss: f64,
}

/// A fitted router.
#[derive(Clone, Debug)]
pub struct RouterFit {
    /// Fitted on all rows, at λ = 0.
    pub router: Router,
    /// What was chosen.
    pub choice: Choice,
    /// What was tried; empty for [`RouterFit::again`].
    pub trials: Vec<Trial>,
    /// Log-odds of quality by the fit without the row's fold: rows × tiers.
    pub log_odds: Vec<f64>,
    /// Cost in US dollars by the fit without the row's fold: rows × tiers.
    pub cost_usd: Vec<f64>,
}

/// The rows a router is fitted on.
#[derive(Clone, Copy, Debug)]
pub struct Data<'a> {
    /// The numbers, tiers in cost order.
    pub table: &'a Table,
    /// The log that holds the requests.
    pub log: &'a EvalLog,
    /// Rows of the table.
    pub rows: &'a [u32],
    /// Fold of each of `rows`; rows of a group share one.
    pub folds: &'a [u8],
    /// Threads to use; the result does not depend on it.
    pub threads: usize,
}

impl RouterFit {
    /// Chooses inputs and penalty out of fold, then fits.
    pub fn new(data: &Data<'_>) -> Self {
        Workbench::new(data).choose_and_fit()
    }

    /// Fits with inputs and a penalty that were chosen before, on fewer rows of the same log, for cross-fitting; pooling and
    /// what costs are predicted from are chosen anew.
    pub fn again(data: &Data<'_>, choice: &Choice) -> Self {
        Workbench::new(data).fit_again(choice)
    }

    /// Whether any prediction depends on the request.
    pub fn predicts(&self) -> bool {
        self.choice.basis != Basis::Constant || self.choice.cost.iter().any(|&basis| basis != CostBasis::Mean)
    }

    /// Whether its router reads an embedding, for which every request pays.
    pub fn reads_embedding(&self) -> bool {
        self.router.inputs.embedding.is_some()
    }

    /// The same router with its predictions out of fold for some of its rows alone, given by their place among them.
    pub(super) fn at(&self, places: &[usize]) -> Self {
        let tiers = self.router.heads.tiers();
        let of = |values: &[f64]| -> Vec<f64> {
            places.iter().flat_map(|&at| &values[at * tiers..(at + 1) * tiers]).copied().collect()
        };
        Self { log_odds: of(&self.log_odds), cost_usd: of(&self.cost_usd), ..self.clone() }
    }

    /// Predicted quality and cost out of fold: rows × tiers.
    pub fn prospects(&self) -> Vec<Prospect> {
        self.log_odds
            .iter()
            .zip(&self.cost_usd)
            .map(|(&log_odds, &cost_usd)| Prospect { quality: probability(log_odds), cost_usd })
            .collect()
    }
}

/// A candidate, its losses out of fold (one a row, mean over the tiers) and the weights of each fold.
struct Attempt {
    trial: Trial,
    losses: Vec<f64>,
    by_fold: Vec<Solution>,
}

/// Everything that is computed once per set of rows.
struct Workbench<'a> {
    data: &'a Data<'a>,
    requests: Requests<'a>,
    inputs: Inputs,
    encoding: Encoding,
    labels: Labels,
    weight: Vec<f64>,
    folds: u8,
}

impl<'a> Workbench<'a> {
    fn new(data: &'a Data<'a>) -> Self {
        let table = data.table;
        let requests = Requests::new(data.log, table, data.rows);
        let inputs = requests.inputs(&Coverage::of(data.log, table), data.threads);
        let encoding = Encoding::new(&requests, &inputs, data.threads);
        let weight: Vec<f64> = data.rows.iter().map(|&row| table.weight[row as usize] as f64).collect();
        let labels = Labels::new(table.tiers.len(), &weight, |row, tier| {
            table.tiers[tier].quality[data.rows[row] as usize] as f64 / QUALITY_ONE as f64
        });
        let folds = data.folds.iter().copied().max().map_or(1, |last| last + 1);
        Self { data, requests, inputs, encoding, labels, weight, folds }
    }

    fn tiers(&self) -> usize {
        self.data.table.tiers.len()
    }

    /// The inputs that exist, simplest first.
    fn bases(&self) -> Vec<Basis> {
        let mut bases = vec![Basis::Constant];
        if !self.inputs.numbers.is_empty() || !self.inputs.tags.is_empty() {
            bases.push(Basis::Known);
        }
        if self.inputs.text.is_some() {
            bases.extend([Basis::Surface, Basis::Words]);
        }
        if self.inputs.embedding.is_some() {
            bases.push(Basis::Embedding);
            bases.extend(self.inputs.text.is_some().then_some(Basis::EmbeddingAndWords));
        }
        bases
    }

    fn part(&self, basis: Basis) -> Part {
        let surface = self.inputs.text.as_ref().map_or(0, |text| text.surface.len());
        Part {
            dense_from: match basis {
                Basis::Constant => self.encoding.design.dense_len,
                Basis::Known => self.encoding.design.embedding_len + surface,
                Basis::Surface | Basis::Words => self.encoding.design.embedding_len,
                Basis::Embedding | Basis::EmbeddingAndWords => 0,
            },
            sparse: basis.reads_words(),
        }
    }

    fn train_rows(&self, fold: usize) -> Vec<usize> {
        (0..self.data.folds.len()).filter(|&row| usize::from(self.data.folds[row]) != fold).collect()
    }

    fn rows_of(&self, fold: usize) -> impl Iterator<Item = usize> {
        (0..self.data.folds.len()).filter(move |&row| usize::from(self.data.folds[row]) == fold)
    }

    fn choose_and_fit(self) -> RouterFit {
        let mut trials = Vec::new();
        let mut best_of_bases: Vec<Attempt> = Vec::new();
        let mut start: Vec<Option<Solution>> = vec![None; usize::from(self.folds)];
        for basis in self.bases() {
            let mut best: Option<Attempt> = None;
            for &strength in basis.strengths() {
                let attempt = self.attempt(basis, strength, &start);
                trials.push(attempt.trial);
                // Each solution is a good place to start from for the next, weaker penalty; it saw the same rows.
                start = attempt.by_fold.iter().cloned().map(Some).collect();
                // Past its lowest point the loss only rises; the weakest penalties take longest to fit.
                if best.as_ref().is_some_and(|best| best.trial.log_loss <= attempt.trial.log_loss) {
                    break;
                }
                best = Some(attempt);
            }
            best_of_bases.extend(best);
        }
        let cost = self.cost_bases();
        let fit = |attempt: &Attempt, trials| {
            let Attempt { trial: Trial { basis, strength, .. }, by_fold, .. } = attempt;
            let pooling = self.pooling(*basis, by_fold);
            let choice = Choice { basis: *basis, strength: *strength, pooling, cost: cost.clone() };
            self.fit(choice, trials, by_fold)
        };
        let chosen = &best_of_bases[self.simplest_of_the_best(&best_of_bases)];
        let fitted = fit(chosen, trials.clone());
        let Data { table, rows, .. } = *self.data;
        if !chosen.trial.basis.reads_embedding() || table.embedding_cost.is_empty() {
            return fitted;
        }
        // Log loss knows no prices: an embedding must be worth its own.
        let free = best_of_bases.iter().position(|attempt| attempt.trial.basis.reads_embedding());
        let free = &best_of_bases[..free.unwrap_or(best_of_bases.len())];
        let without = fit(&free[self.simplest_of_the_best(free)], trials);
        let reach = |fit: RouterFit| {
            let family = RouterFamily::new(table, rows, fit);
            (family.reach(rows), family.into_fit())
        };
        let ((with_it, fitted), (without_it, without)) = (reach(fitted), reach(without));
        if with_it > without_it { fitted } else { without }
    }

    fn fit_again(self, choice: &Choice) -> RouterFit {
        let by_fold = self.solutions(choice);
        let pooling = self.pooling(choice.basis, &by_fold);
        let choice = Choice { pooling, cost: self.cost_bases(), ..*choice };
        self.fit(choice, Vec::new(), &by_fold)
    }

    /// The weights without each fold.
    fn solutions(&self, choice: &Choice) -> Vec<Solution> {
        threads::map(self.data.threads, usize::from(self.folds), |fold| {
            let (train, part) = (self.train_rows(fold), self.part(choice.basis));
            logistic::ascend(&self.encoding.design, &self.labels, &train, part, choice.strength, None)
        })
    }

    fn cost_bases(&self) -> Vec<CostBasis> {
        threads::map(self.data.threads, self.tiers(), |tier| {
            self.costs(&self.tier_cost(tier)).choose(self.data.folds)
        })
    }

    /// The first basis whose paired shortfall in log loss from the best one is within one standard error, by group.
    fn simplest_of_the_best(&self, attempts: &[Attempt]) -> usize {
        let best = (0..attempts.len())
            .reduce(|a, b| if attempts[b].trial.log_loss < attempts[a].trial.log_loss { b } else { a })
            .unwrap_or(0);
        (0..best)
            .find(|&simple| {
                let shortfall: Vec<f64> =
                    attempts[simple].losses.iter().zip(&attempts[best].losses).map(|(a, b)| a - b).collect();
                let error = clustered_error(self.data.table, self.data.rows, &shortfall);
                attempts[simple].trial.log_loss - attempts[best].trial.log_loss <= error
            })
            .unwrap_or(best)
    }

    /// Fits without each fold and measures the log loss on the rows left out.
    fn attempt(&self, basis: Basis, strength: f64, start: &[Option<Solution>]) -> Attempt {
        let folds = threads::map(self.data.threads, start.len(), |fold| {
            let train = self.train_rows(fold);
            let part = self.part(basis);
            let solution = logistic::ascend(
                &self.encoding.design,
                &self.labels,
                &train,
                part,
                strength,
                start[fold].as_ref(),
            );
            let mut log_odds = Vec::new();
            let losses: Vec<(usize, f64)> = self
                .rows_of(fold)
                .map(|row| {
                    solution.weights.log_odds(&self.encoding.design, row, &mut log_odds);
                    (row, self.labels.loss(row, &log_odds) / self.tiers().max(1) as f64)
                })
                .collect();
            (solution, losses)
        });
        let mut losses = vec![0.0; self.weight.len()];
        for &(row, loss) in folds.iter().flat_map(|(_, losses)| losses) {
            losses[row] = loss;
        }
        let sum: f64 = losses.iter().zip(&self.weight).map(|(loss, weight)| loss * weight).sum();
        let log_loss = sum / self.weight.iter().sum::<f64>();
        let by_fold = folds.into_iter().map(|(weights, _)| weights).collect();
        Attempt { trial: Trial { basis, strength, log_loss }, losses, by_fold }
    }

    /// Fits with a choice. `by_fold` are the weights without each fold.
    fn fit(&self, choice: Choice, trials: Vec<Trial>, by_fold: &[Solution]) -> RouterFit {
        let part = self.part(choice.basis);
        let tier_costs: Vec<Vec<f64>> = (0..self.tiers()).map(|tier| self.tier_cost(tier)).collect();
        let cost_heads = |rows: &[usize]| -> Vec<CostHead> {
            tier_costs
                .iter()
                .zip(&choice.cost)
                .map(|(cost, &basis)| self.costs(cost).fit(basis, rows))
                .collect()
        };
        let mut by_fold: Vec<Weights> = by_fold.iter().map(|solution| solution.weights.clone()).collect();
        let all: Vec<usize> = (0..self.weight.len()).collect();
        let mut whole =
            logistic::ascend(&self.encoding.design, &self.labels, &all, part, choice.strength, None).weights;
        let pool = |weights: &mut Weights, rows: &[usize]| {
            choice.pooling.apply(weights, &self.encoding.design, rows, &self.weight);
        };
        if choice.pooling != Pooling::NONE {
            for (fold, weights) in by_fold.iter_mut().enumerate() {
                pool(weights, &self.train_rows(fold));
            }
            pool(&mut whole, &all);
        }
        let folds = threads::map(self.data.threads, usize::from(self.folds), |fold| {
            let rows = self.train_rows(fold);
            let weights = &by_fold[fold];
            let router = self.router(&choice, weights, cost_heads(&rows));
            self.predict(&router, fold)
        });
        let tiers = self.tiers();
        let mut log_odds = vec![0.0; self.weight.len() * tiers];
        let mut cost_usd = log_odds.clone();
        for (row, odds, costs) in folds.into_iter().flatten() {
            log_odds[row * tiers..(row + 1) * tiers].copy_from_slice(&odds);
            cost_usd[row * tiers..(row + 1) * tiers].copy_from_slice(&costs);
        }
        let router = self.router(&choice, &whole, cost_heads(&all));
        RouterFit { router, choice, trials, log_odds, cost_usd }
    }

    fn pooling(&self, basis: Basis, by_fold: &[Solution]) -> Pooling {
        let tiers = self.tiers();
        if basis == Basis::Constant || tiers < 2 {
            return Pooling::NONE;
        }
        let mut log_odds = vec![0.0; self.weight.len() * tiers];
        let mut of_row = Vec::new();
        for (row, &fold) in self.data.folds.iter().enumerate() {
            by_fold[usize::from(fold)].weights.log_odds(&self.encoding.design, row, &mut of_row);
            log_odds[row * tiers..(row + 1) * tiers].copy_from_slice(&of_row);
        }
        Pooling::fit(&self.labels, &log_odds, tiers)
    }

    /// What a deployed router says about the rows of a fold, through the code that runs in production.
    fn predict(&self, router: &Router, fold: usize) -> Vec<(usize, Vec<f64>, Vec<f64>)> {
        let mut scratch = Scratch::default();
        self.rows_of(fold)
            .filter_map(|row| {
                // Nothing is missing: the inputs were learned from these rows.
                let predictions = router.predict(&self.requests.get(row), &mut scratch).ok()?;
                Some((row, predictions.log_odds.clone(), predictions.cost_usd.clone()))
            })
            .collect()
    }

    fn tier_cost(&self, tier: usize) -> Vec<f64> {
        let cost = &self.data.table.tiers[tier].cost;
        self.data.rows.iter().map(|&row| cost[row as usize] as f64 / PICO_PER_USD as f64).collect()
    }

    fn costs<'b>(&'b self, cost: &'b [f64]) -> Costs<'b> {
        Costs {
            encoding: &self.encoding,
            weight: &self.weight,
            cost,
            table: self.data.table,
            rows: self.data.rows,
        }
    }

    /// Quantises weights and leaves out the inputs that are not used.
    fn router(&self, choice: &Choice, weights: &Weights, cost: Vec<CostHead>) -> Router {
        let tiers = self.tiers();
        let uses_inputs_for_cost = choice.cost.contains(&CostBasis::Inputs);
        let uses_length = choice.cost.iter().any(|&basis| basis != CostBasis::Mean);
        let mut inputs = self.inputs.clone();
        if !choice.basis.reads_embedding() {
            inputs.embedding = None;
        }
        if choice.basis < Basis::Surface && !uses_inputs_for_cost && !uses_length {
            inputs.text = None;
        } else if let Some(text) = &mut inputs.text {
            text.hashed = choice.basis.reads_words();
        }
        if choice.basis == Basis::Constant && !uses_inputs_for_cost {
            inputs.numbers.clear();
            inputs.tags.clear();
        }
        // Without text the other dense inputs begin with the numbers; without known inputs there are surface statistics alone.
        let first = if inputs.text.is_none() { Basis::Known } else { Basis::Surface };
        let dense_start = self.part(first).dense_from;
        let block = |start: usize, length: usize| -> Vec<f32> {
            let places = (start..start + length).flat_map(|input| (0..tiers).map(move |tier| (input, tier)));
            places.map(|(input, tier)| single(weights.get(1 + input, tier))).collect()
        };
        let embedding = block(0, inputs.embedding_len());
        let dense = block(dense_start, inputs.dense_len());
        let (hashed, step) = self.quantise(&inputs, weights);
        Router {
            shadow_price: 0.0,
            awaits: None,
            inputs,
            heads: Heads {
                intercept: (0..tiers).map(|tier| weights.get(0, tier)).collect(),
                embedding,
                dense,
                hashed,
                step,
                cost,
            },
        }
    }

    /// Hashed weights as steps of 1/127 of the largest, one size of step a tier.
    #[expect(clippy::cast_possible_truncation, reason = "at most 127 steps by choice of the step")]
    fn quantise(&self, inputs: &Inputs, weights: &Weights) -> (Vec<i8>, Vec<f32>) {
        let tiers = self.tiers();
        if inputs.hashed_len() == 0 {
            return (Vec::new(), vec![0.0; tiers]);
        }
        let first = 1 + self.encoding.design.dense_len;
        let columns = 0..self.encoding.bucket.len();
        let step: Vec<f32> = (0..tiers)
            .map(|tier| {
                let largest =
                    columns.clone().map(|at| weights.get(first + at, tier).abs()).fold(0.0, f64::max);
                single(largest / 127.0)
            })
            .collect();
        let mut hashed = vec![0_i8; inputs.hashed_len() * tiers];
        for at in columns {
            for (tier, &step) in step.iter().enumerate() {
                if step > 0.0 {
                    let steps = (weights.get(first + at, tier) / f64::from(step)).round_ties_even();
                    hashed[self.encoding.bucket[at] as usize * tiers + tier] =
                        steps.clamp(-127.0, 127.0) as i8;
                }
            }
        }
        (hashed, step)
    }
}
