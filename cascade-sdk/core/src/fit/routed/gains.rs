//! Scores of the gain of keeping an answer, given its signals and what the router predicts (MATH.md 2 and 8).
//!
//! For tiers j and h in order of cost, E[q_j − q_h | signals of j, prompt] / E[c_h | prompt] against −λ is the optimal rule
//! of the cascade j → h: a signal like any other to the exact searches, whose cut is λ itself. Each becomes one more column
//! of j, made of predictions out of fold.

use super::super::logistic::{self, Design, Labels, Part};
use super::super::threads;
use super::Sample;
use crate::decide::{Observation, map, read};
use crate::feature::{Predictions, single};
use crate::fit::analysis::combined::{cost_of, knots, usable};
use crate::fit::frontier::ranking::Ranking;
use crate::fit::rows::table::{QUALITY_ONE, SignalData};
use crate::policy::{Rules, Score, ScoreInput, ScoreSource, Term};

/// Weight of the log loss against the penalty ½‖w‖²: few weights, but many pairs of tiers to be right about.
const STRENGTH: f64 = 0.3;

/// A column of the cheap tier that judges escalation to the dear one.
pub(super) struct Gain {
    pub(super) cheap: usize,
    pub(super) dear: usize,
    pub(super) signal: SignalData,
}

impl Sample<'_> {
    /// One column for every pair of tiers in order of cost whose cheap tier has signals.
    pub(super) fn gains(&self) -> Vec<Gain> {
        let inputs: Vec<Vec<usize>> = self.table.tiers.iter().map(|tier| usable(tier, self.rows)).collect();
        let pairs: Vec<(usize, usize)> = (0..self.table.tiers.len())
            .flat_map(|cheap| (cheap + 1..self.table.tiers.len()).map(move |dear| (cheap, dear)))
            .filter(|&(cheap, _)| !inputs[cheap].is_empty())
            .collect();
        threads::map(self.threads, pairs.len(), |at| {
            let (cheap, dear) = pairs[at];
            Gain { cheap, dear, signal: self.column(cheap, dear, &inputs[cheap]) }
        })
    }

    fn column(&self, cheap: usize, dear: usize, inputs: &[usize]) -> SignalData {
        let tier = &self.table.tiers[cheap];
        let mut value = vec![f64::NEG_INFINITY; self.table.len()];
        let places: Vec<usize> = (0..self.rows.len()).collect();
        for fold in 0..=self.folds.iter().copied().max().unwrap_or(0) {
            let (held, train): (Vec<usize>, Vec<usize>) =
                places.iter().partition(|&&place| self.folds[place] == fold);
            let rules = Rules { scores: vec![self.score(cheap, dear, inputs, &train)], ..Rules::default() };
            for place in held {
                let row = self.rows[place] as usize;
                if !tier.failed[row] {
                    let score = self.read(&rules, cheap, place);
                    value[row] = if score.is_nan() { f64::NEG_INFINITY } else { score };
                }
            }
        }
        let score = self.score(cheap, dear, inputs, &places);
        SignalData { name: score.name.clone(), value, cost: cost_of(tier, inputs), combined: Some(score) }
    }

    /// A score of a row, by the function that decides at run time.
    fn read(&self, rules: &Rules, tier: usize, place: usize) -> f64 {
        let known = |value: f64| if value > f64::NEG_INFINITY { value } else { f64::NAN };
        let row = self.rows[place] as usize;
        let signals: Vec<f64> =
            self.table.tiers[tier].signals.iter().map(|signal| known(signal.value[row])).collect();
        let predictions = self.predictions(place);
        let seen = Observation { failed: false, signals: &signals, predictions: Some(&predictions) };
        read(rules, ScoreSource::Score(0), &seen)
    }

    pub(super) fn predictions(&self, place: usize) -> Predictions {
        let tiers = self.table.tiers.len();
        let of = |values: &[f64]| values[place * tiers..(place + 1) * tiers].to_vec();
        Predictions { log_odds: of(&self.router.log_odds), cost_usd: of(&self.router.cost_usd) }
    }

    /// Fits P = (1 + E[q_cheap − q_dear]) / 2 on the places whose answers have all inputs.
    fn score(&self, cheap: usize, dear: usize, inputs: &[usize], places: &[usize]) -> Score {
        let tier = &self.table.tiers[cheap];
        let complete = |place: &usize| {
            let row = self.rows[*place] as usize;
            !tier.failed[row]
                && inputs.iter().all(|&input| tier.signals[input].value[row] > f64::NEG_INFINITY)
        };
        let places: Vec<usize> = places.iter().copied().filter(complete).collect();
        let rows: Vec<u32> = places.iter().map(|&place| self.rows[place]).collect();
        let mut terms: Vec<Term> = inputs
            .iter()
            .map(|&input| Term {
                input: ScoreInput::Signal(input),
                knots: knots(&Ranking::new(&tier.signals[input].value, &rows)),
                weight: 0.0,
            })
            .collect();
        let standards = [cheap, dear].map(|of| self.standard(of, &places));
        let dense = places.iter().zip(&rows).flat_map(|(&place, &row)| {
            let signals = terms
                .iter()
                .zip(inputs)
                .map(move |(term, &input)| map(term, tier.signals[input].value[row as usize]));
            let predictions = [cheap, dear]
                .into_iter()
                .zip(standards)
                .map(move |(of, (mean, scale))| (self.log_odds(place, of) - mean) * scale);
            signals.chain(predictions).map(single)
        });
        let design = Design {
            dense_len: inputs.len() + 2,
            dense: dense.collect(),
            sparse_end: vec![0; rows.len()],
            ..Design::default()
        };
        let weights: Vec<f64> = rows.iter().map(|&row| self.table.weight[row as usize] as f64).collect();
        let quality =
            |tier: usize, row: u32| self.table.tiers[tier].quality[row as usize] as f64 / QUALITY_ONE as f64;
        let labels = Labels::new(1, &weights, |at, _| {
            f64::midpoint(1.0, quality(cheap, rows[at]) - quality(dear, rows[at]))
        });
        let all: Vec<usize> = (0..rows.len()).collect();
        let part = Part { dense_from: 0, sparse: false };
        let fitted = logistic::fit(&design, &labels, &all, part, STRENGTH, None);
        for (at, term) in terms.iter_mut().enumerate() {
            term.weight = fitted.get(1 + at, 0);
        }
        let mut intercept = fitted.get(0, 0);
        for (at, (of, (mean, scale))) in [cheap, dear].into_iter().zip(standards).enumerate() {
            let weight = fitted.get(1 + inputs.len() + at, 0) * scale;
            if weight != 0.0 {
                intercept -= weight * mean;
                terms.push(Term { input: ScoreInput::Prediction(of), knots: Vec::new(), weight });
            }
        }
        let (kept, asked) = (&tier.name, &self.table.tiers[dear].name);
        Score {
            name: format!("gain:{kept} over {asked}"),
            tier: cheap,
            intercept,
            terms,
            per_cost_of: Some(dear),
        }
    }

    /// Cost in US dollars that is predicted of a tier.
    pub(super) fn cost_usd(&self, place: usize, tier: usize) -> f64 {
        self.router.cost_usd[place * self.table.tiers.len() + tier]
    }

    fn log_odds(&self, place: usize, tier: usize) -> f64 {
        self.router.log_odds[place * self.table.tiers.len() + tier]
    }

    /// Mean of a tier's predicted log-odds, and what scales their deviation to 1; 0 where they are all the same.
    fn standard(&self, tier: usize, places: &[usize]) -> (f64, f64) {
        let rows = places.len().max(1) as f64;
        let mean = places.iter().map(|&place| self.log_odds(place, tier)).sum::<f64>() / rows;
        let square = |place: &usize| {
            let off = self.log_odds(*place, tier) - mean;
            off * off
        };
        let deviation = libm::sqrt(places.iter().map(square).sum::<f64>() / rows);
        // Constant routers differ from fold to fold by rounding and resampling only.
        (mean, if deviation > 1e-6 { 1.0 / deviation } else { 0.0 })
    }
}
