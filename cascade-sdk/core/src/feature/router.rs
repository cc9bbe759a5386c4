//! A fitted router: predicted quality and cost of every tier for a request, and the plan they favour (MATH.md 7).

use super::inputs::Inputs;
use super::{MissingInput, RequestView, Scratch};
use crate::decide::logistic;
use std::cmp::Ordering;

/// A fitted router.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Router {
    /// λ: quality per US dollar.
    pub shadow_price: f64,
    /// What it reads of a request.
    pub inputs: Inputs,
    /// One quality and one cost predictor for each of [`crate::policy::Rules::tiers`].
    pub heads: Heads,
    /// Name of the weights file whose bytes [`Router::complete`] still has to be given; until then nothing is predicted.
    pub awaits: Option<String>,
}

/// Linear predictors that share their inputs. All arrays are input-major: the weights of one input for all tiers stand
/// together.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Heads {
    /// Log-odds of quality without any input, in nats; one a tier.
    pub intercept: Vec<f64>,
    /// Weights of the embedding in nats per unit: dimensions × tiers; empty without an embedding.
    pub embedding: Vec<f32>,
    /// Weights of the other dense inputs in nats per unit: inputs × tiers.
    pub dense: Vec<f32>,
    /// Weights of the hashed inputs in steps of [`Heads::step`]: inputs × tiers; empty without hashed inputs.
    pub hashed: Vec<i8>,
    /// Nats per step of a hashed weight; one a tier.
    pub step: Vec<f32>,
    /// Cost predictors, one a tier.
    pub cost: Vec<CostHead>,
}

/// Predicted cost of a tier in US dollars: mean + Σ weight · input, kept within the range seen in the fit.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct CostHead {
    /// Cost without any input.
    pub base: f64,
    /// US dollars per byte of the prompt without its shared parts.
    pub per_byte: f64,
    /// US dollars per unit of each dense input; empty where the length alone predicts as well.
    pub dense: Vec<f32>,
    /// Lowest prediction.
    pub low: f64,
    /// Highest prediction.
    pub high: f64,
}

/// What a router predicts of a request, one entry for each of [`crate::policy::Rules::tiers`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// Log-odds of quality, in nats.
    pub log_odds: Vec<f64>,
    /// Cost of the call in US dollars.
    pub cost_usd: Vec<f64>,
}

impl Predictions {
    /// Forgets them.
    pub(crate) fn clear(&mut self) {
        self.log_odds.clear();
        self.cost_usd.clear();
    }

    /// The tier with the highest predicted quality − λ · predicted cost; of equal ones the cheaper, then the first.
    pub fn best(&self, shadow_price: f64) -> usize {
        argmax(
            shadow_price,
            self.log_odds.iter().map(|&log_odds| logistic(log_odds)).zip(self.cost_usd.iter().copied()),
        )
    }
}

/// The entry with the highest quality − λ · cost; of equal ones the cheaper, then the first. λ = ∞ asks for the
/// cheapest, of equally cheap ones the best.
pub fn argmax(shadow_price: f64, options: impl IntoIterator<Item = (f64, f64)>) -> usize {
    let mut best: Option<(usize, f64, f64)> = None;
    for (index, (quality, cost)) in options.into_iter().enumerate() {
        let (first, second) = if shadow_price == f64::INFINITY {
            (-cost, quality)
        } else {
            (quality - shadow_price * cost, -cost)
        };
        let better = |(_, a, b): (usize, f64, f64)| match first.partial_cmp(&a) {
            Some(Ordering::Equal) => second > b,
            order => order == Some(Ordering::Greater),
        };
        if best.is_none_or(better) {
            best = Some((index, first, second));
        }
    }
    best.map_or(0, |(index, ..)| index)
}

impl Router {
    /// Predicts quality and cost of every tier, in `scratch`.
    ///
    /// Reads at most [`super::text::HEAD_BYTES`] from the start of the prompt and [`super::text::TAIL_BYTES`] from its
    /// end, whatever its length; allocates nothing once `scratch` has served a request.
    ///
    /// # Errors
    /// [`MissingInput`] if the request lacks a number, a label or an embedding that the router reads, or the router its
    /// weights.
    pub fn predict<'s>(
        &self,
        request: &RequestView<'_>,
        scratch: &'s mut Scratch,
    ) -> Result<&'s Predictions, MissingInput> {
        if let Some(file) = &self.awaits {
            return Err(MissingInput::Weights(file.clone()));
        }
        self.inputs.encode(request, scratch)?;
        self.heads.apply(scratch);
        Ok(&scratch.predictions)
    }
}

/// Tiers whose sums are held in registers at once.
const MOST_AT_ONCE: usize = 6;

impl Heads {
    /// Number of tiers.
    pub fn tiers(&self) -> usize {
        self.intercept.len()
    }

    /// Predicts from what `scratch` holds encoded.
    pub(crate) fn apply(&self, scratch: &mut Scratch) {
        let Scratch { encoded, predictions, sums, .. } = scratch;
        let tiers = self.tiers();
        sums.clear();
        sums.resize(tiers, 0.0);
        for (start, sums) in (0..tiers).step_by(MOST_AT_ONCE).zip(sums.chunks_mut(MOST_AT_ONCE)) {
            let sparse = &encoded.sparse;
            match sums.len() {
                1 => self.add_hashed::<1>(sparse, start, sums),
                2 => self.add_hashed::<2>(sparse, start, sums),
                3 => self.add_hashed::<3>(sparse, start, sums),
                4 => self.add_hashed::<4>(sparse, start, sums),
                5 => self.add_hashed::<5>(sparse, start, sums),
                _ => self.add_hashed::<MOST_AT_ONCE>(sparse, start, sums),
            }
        }
        let log_odds = &mut predictions.log_odds;
        log_odds.clear();
        log_odds.extend_from_slice(&self.intercept);
        for ((log_odds, &sum), &step) in log_odds.iter_mut().zip(&*sums).zip(&self.step) {
            *log_odds += f64::from(sum) * f64::from(step);
        }
        add_dense(log_odds, &encoded.embedding, &self.embedding);
        add_dense(log_odds, &encoded.dense, &self.dense);
        predictions.cost_usd.clear();
        predictions.cost_usd.extend(self.cost.iter().map(|head| head.predict(encoded.bytes, &encoded.dense)));
    }

    /// Weighted sums of the hashed inputs for `TIERS` tiers from `start` on, in steps of [`Heads::step`]. The number is
    /// known to the compiler and inputs go to two sums in turn, so that no addition waits for the one before.
    fn add_hashed<const TIERS: usize>(&self, sparse: &[(u32, f32)], start: usize, sums: &mut [f32]) {
        let tiers = self.tiers();
        let mut turns = [[0.0_f32; TIERS]; 2];
        let add = |sums: &mut [f32; TIERS], (input, value): (u32, f32)| {
            let at = input as usize * tiers + start;
            let Some(weights) = self.hashed.get(at..at + TIERS) else { return };
            for (sum, &weight) in sums.iter_mut().zip(weights) {
                *sum += value * f32::from(weight);
            }
        };
        let (pairs, rest) = sparse.as_chunks::<2>();
        for &[first, second] in pairs {
            add(&mut turns[0], first);
            add(&mut turns[1], second);
        }
        for &last in rest {
            add(&mut turns[0], last);
        }
        for (place, sum) in sums.iter_mut().enumerate() {
            *sum = turns[0][place] + turns[1][place];
        }
    }
}

/// Adds value · weight of inputs to the log-odds of all tiers; `weights` are inputs × tiers.
pub(super) fn add_dense(log_odds: &mut [f64], values: &[f32], weights: &[f32]) {
    for (&value, weights) in values.iter().zip(weights.chunks_exact(log_odds.len().max(1))) {
        if value != 0.0 {
            for (log_odds, &weight) in log_odds.iter_mut().zip(weights) {
                *log_odds += f64::from(value) * f64::from(weight);
            }
        }
    }
}

impl CostHead {
    pub(crate) fn predict(&self, bytes: f64, dense: &[f32]) -> f64 {
        let weighted =
            self.dense.iter().zip(dense).map(|(&weight, &value)| f64::from(weight) * f64::from(value));
        let cost = weighted.fold(self.base + self.per_byte * bytes, |sum, part| sum + part);
        // Not `clamp`, which panics on bounds that a damaged file may hold.
        cost.max(self.low).min(self.high)
    }
}
