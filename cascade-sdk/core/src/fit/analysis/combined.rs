//! One deferral score out of all signals of a tier: a regularised logistic model of P(the answer is good) (MATH.md 10).
//!
//! It becomes one more signal of its tier, to be chosen or not by the same searches, where it predicts better than each
//! signal alone. Every signal enters by the log-odds of its rank, which no monotone transform of the signal changes.

use crate::decide::{Observation, map, read};
use crate::fit::frontier::ranking::Ranking;
use crate::fit::inference::crossfit::{clustered_error, weighted_mean};
use crate::fit::logistic::{self, Design, Labels, Part};
use crate::fit::rows::table::{QUALITY_ONE, SignalData, Table, TierData};
use crate::policy::{Rules, Score, ScoreInput, ScoreSource, Term};
use std::borrow::Cow;

/// Most knots of the map of a signal.
const KNOTS: usize = 9;

/// Rows that weights are fitted on at most: evenly spread, and plenty for a handful of weights.
const MOST_ROWS: usize = 20_000;

/// A signal takes part if it is missing in at most this share of the answers: a missing input makes the score missing.
const MOST_MISSING: f64 = 0.1;

/// Weight of the log loss against the penalty ½‖w‖².
const STRENGTH: f64 = 1.0;

/// Adds a combined signal to every tier where it predicts quality out of fold better than the best signal alone, by
/// more than one standard error of the difference. `folds` has the fold of each of `rows`.
pub fn add(table: &mut Table, rows: &[u32], folds: &[u8]) {
    for tier in 0..table.tiers.len() {
        let inputs = usable(&table.tiers[tier], rows);
        if inputs.len() > 1 && helps(table, tier, &inputs, rows, folds) {
            let score = fit(table, tier, &inputs, rows);
            let signal = column(&table.tiers[tier], score);
            table.tiers[tier].signals.push(signal);
        }
    }
}

/// The same signals, combined anew on other rows: for cross-fitting.
pub fn refitted<'t>(table: &'t Table, rows: &[u32]) -> Cow<'t, Table> {
    let mut fitted = Cow::Borrowed(table);
    for (number, tier) in table.tiers.iter().enumerate() {
        for (place, signal) in tier.signals.iter().enumerate() {
            if let Some(score) = &signal.combined {
                let score = fit(table, number, &inputs_of(score), rows);
                fitted.to_mut().tiers[number].signals[place] = column(tier, score);
            }
        }
    }
    fitted
}

/// The signals of the tier that a score reads.
fn inputs_of(score: &Score) -> Vec<usize> {
    score
        .terms
        .iter()
        .filter_map(|term| match term.input {
            ScoreInput::Signal(signal) => Some(signal),
            ScoreInput::Prediction(_) => None,
        })
        .collect()
}

/// The signals that nearly every answer has and that are not always the same.
pub(in crate::fit) fn usable(tier: &TierData, rows: &[u32]) -> Vec<usize> {
    let answered: Vec<u32> = rows.iter().copied().filter(|&row| !tier.failed[row as usize]).collect();
    (0..tier.signals.len())
        .filter(|&signal| {
            let signal = &tier.signals[signal];
            let known: Vec<f64> = answered
                .iter()
                .map(|&row| signal.value[row as usize])
                .filter(|&value| value > f64::NEG_INFINITY)
                .collect();
            let missing = answered.len() - known.len();
            signal.combined.is_none()
                && missing as f64 <= MOST_MISSING * answered.len() as f64
                && known.iter().any(|value| value.total_cmp(&known[0]).is_ne())
        })
        .collect()
}

/// Whether all inputs together predict held-back folds better than the best of them alone.
fn helps(table: &Table, tier: usize, inputs: &[usize], rows: &[u32], folds: &[u8]) -> bool {
    let complete = |row: &u32| {
        let signals = &table.tiers[tier].signals;
        inputs.iter().all(|&input| signals[input].value[*row as usize] > f64::NEG_INFINITY)
    };
    let (rows, folds): (Vec<u32>, Vec<u8>) =
        spread(rows.iter().copied().zip(folds.iter().copied()).filter(|(row, _)| complete(row)).collect())
            .into_iter()
            .unzip();
    let losses = |inputs: &[usize]| out_of_fold_losses(table, tier, inputs, &rows, &folds);
    let mean = |losses: &[f64]| weighted_mean(table, &rows, losses);
    let together = losses(inputs);
    let alone = inputs.iter().map(|&input| losses(&[input]));
    let Some(alone) = alone.reduce(|best, next| if mean(&next) < mean(&best) { next } else { best }) else {
        return false;
    };
    let gain: Vec<f64> = alone.iter().zip(&together).map(|(alone, together)| alone - together).collect();
    mean(&gain) > clustered_error(table, &rows, &gain)
}

/// The log loss of each row under the model fitted without its fold.
fn out_of_fold_losses(table: &Table, tier: usize, inputs: &[usize], rows: &[u32], folds: &[u8]) -> Vec<f64> {
    let mut losses = vec![0.0; rows.len()];
    for fold in 0..=folds.iter().copied().max().unwrap_or(0) {
        let train: Vec<u32> =
            rows.iter().zip(folds).filter(|(_, own)| **own != fold).map(|(&row, _)| row).collect();
        let score = fit(table, tier, inputs, &train);
        for (place, &row) in rows.iter().enumerate().filter(|(place, _)| folds[*place] == fold) {
            let log_odds = log_odds(&table.tiers[tier], &score, row);
            losses[place] = logistic::log_loss(log_odds, quality(&table.tiers[tier], row));
        }
    }
    losses
}

fn quality(tier: &TierData, row: u32) -> f64 {
    tier.quality[row as usize] as f64 / QUALITY_ONE as f64
}

fn log_odds(tier: &TierData, score: &Score, row: u32) -> f64 {
    score.terms.iter().zip(inputs_of(score)).fold(score.intercept, |sum, (term, signal)| {
        sum + term.weight * map(term, tier.signals[signal].value[row as usize])
    })
}

/// Fits the weights of some of a tier's signals on the rows that have them all.
fn fit(table: &Table, tier: usize, inputs: &[usize], rows: &[u32]) -> Score {
    let data = &table.tiers[tier];
    let known = |row: u32, signal: usize| data.signals[signal].value[row as usize] > f64::NEG_INFINITY;
    let complete = rows.iter().copied().filter(|&row| inputs.iter().all(|&signal| known(row, signal)));
    let rows = spread(complete.collect());
    let mut terms: Vec<Term> = inputs
        .iter()
        .map(|&signal| Term {
            input: ScoreInput::Signal(signal),
            knots: knots(&Ranking::new(&data.signals[signal].value, &rows)),
            weight: 0.0,
        })
        .collect();
    #[expect(clippy::cast_possible_truncation, reason = "inputs of a model; f32 holds log-odds well enough")]
    let dense = rows.iter().flat_map(|&row| {
        terms
            .iter()
            .zip(inputs)
            .map(move |(term, &signal)| map(term, data.signals[signal].value[row as usize]) as f32)
    });
    let design = Design {
        dense_len: inputs.len(),
        dense: dense.collect(),
        sparse_end: vec![0; rows.len()],
        ..Design::default()
    };
    let weights: Vec<f64> = rows.iter().map(|&row| table.weight[row as usize] as f64).collect();
    let labels = Labels::new(1, &weights, |row, _| quality(data, rows[row]));
    let all: Vec<usize> = (0..rows.len()).collect();
    let part = Part { dense_from: 0, sparse: false };
    let fitted = logistic::fit(&design, &labels, &all, part, STRENGTH, None);
    for (at, term) in terms.iter_mut().enumerate() {
        term.weight = fitted.get(1 + at, 0);
    }
    Score {
        name: format!("combined:{}", data.name),
        tier,
        intercept: fitted.get(0, 0),
        terms,
        per_cost_of: None,
    }
}

/// At most [`MOST_ROWS`] of the items, evenly spread.
fn spread<T: Copy>(items: Vec<T>) -> Vec<T> {
    if items.len() <= MOST_ROWS {
        return items;
    }
    (0..MOST_ROWS).map(|at| items[at * items.len() / MOST_ROWS]).collect()
}

/// A map from a score to the log-odds of its rank among the rows, ties in the middle of their ranks.
pub(in crate::fit) fn knots(ranking: &Ranking) -> Vec<(f64, f64)> {
    let (groups, rows) = (ranking.groups(), ranking.order.len() as f64);
    let mut chosen: Vec<usize> = (0..KNOTS)
        .map(|knot| {
            let rank = knot * ranking.order.len().saturating_sub(1) / (KNOTS - 1);
            ranking.ends.partition_point(|&end| end as usize <= rank)
        })
        .filter(|&group| group < groups)
        .collect();
    chosen.dedup();
    chosen
        .into_iter()
        .map(|group| {
            let start = group.checked_sub(1).map_or(0, |before| ranking.ends[before]);
            let middle = f64::midpoint(f64::from(start), f64::from(ranking.ends[group])) / rows;
            (ranking.scores[group], libm::log(middle / (1.0 - middle)))
        })
        .collect()
}

/// What several signals of a tier cost together, one entry a row; empty where they are free.
pub(in crate::fit) fn cost_of(tier: &TierData, signals: &[usize]) -> Vec<i64> {
    let costs = signals.iter().map(|&signal| &tier.signals[signal].cost);
    let priced: Vec<&Vec<i64>> = costs.filter(|cost| !cost.is_empty()).collect();
    if priced.is_empty() {
        return Vec::new();
    }
    let sum = |row: usize| priced.iter().fold(0_i64, |sum, cost| sum.saturating_add(cost[row]));
    (0..tier.quality.len()).map(sum).collect()
}

/// The score as a column, by the function that decides at run time.
fn column(tier: &TierData, score: Score) -> SignalData {
    let inputs = inputs_of(&score);
    let rules = Rules { scores: vec![score.clone()], ..Rules::default() };
    let mut signals = vec![f64::NAN; tier.signals.len()];
    let mut value = |row: usize| {
        for (to, signal) in signals.iter_mut().zip(&tier.signals) {
            *to = Some(signal.value[row]).filter(|&value| value > f64::NEG_INFINITY).unwrap_or(f64::NAN);
        }
        let seen = Observation { signals: &signals, ..Observation::default() };
        let value = read(&rules, ScoreSource::Score(0), &seen);
        if value.is_nan() || tier.failed[row] { f64::NEG_INFINITY } else { value }
    };
    let value = (0..tier.quality.len()).map(&mut value).collect();
    SignalData { name: score.name.clone(), value, cost: cost_of(tier, &inputs), combined: Some(score) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::random::SplitMix64;

    /// Two noisy views of the same ease, the second squashed and with a price; and where asked a third that is noise.
    fn table(rows: usize, second_sees: bool) -> (Table, Vec<u32>, Vec<u8>) {
        let mut random = SplitMix64::new(5, 0);
        let (mut quality, mut one, mut two) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rows {
            let ease = random.fraction() * 4.0 - 2.0;
            quality.push(if random.fraction() < crate::decide::logistic(2.0 * ease) {
                QUALITY_ONE
            } else {
                0
            });
            one.push(ease + 3.0 * (random.fraction() - 0.5));
            let other = if second_sees { ease } else { 0.0 };
            two.push(libm::exp(other + 3.0 * (random.fraction() - 0.5)));
        }
        one[3] = f64::NEG_INFINITY;
        let signal = |name: &str, value, cost| SignalData { name: name.into(), value, cost, combined: None };
        let tier = TierData {
            name: "small".into(),
            quality,
            cost: vec![1; rows],
            failed: (0..rows).map(|row| row == 5).collect(),
            latency_ms: vec![0.0; rows],
            signals: vec![signal("one", one, Vec::new()), signal("two", two, vec![7; rows])],
        };
        let all: Vec<u32> = (0..rows as u32).collect();
        let folds = all.iter().map(|row| (row % 5) as u8).collect();
        let table = Table {
            tiers: vec![tier],
            log_row: all.clone(),
            group: all.clone(),
            groups: rows,
            weight: vec![1; rows],
            embedding_cost: Vec::new(),
            embedding_latency_ms: Vec::new(),
        };
        (table, all, folds)
    }

    fn auroc(table: &Table, rows: &[u32], signal: usize) -> f64 {
        let ranking = Ranking::new(&table.tiers[0].signals[signal].value, rows);
        crate::fit::analysis::diagnostics::auroc(table, &ranking, &|row| quality(&table.tiers[0], row))
    }

    #[test]
    fn two_views_are_better_than_one_on_fresh_rows() {
        let (mut table, all, _) = table(3000, true);
        let (train, test) = all.split_at(1500);
        let folds: Vec<u8> = train.iter().map(|row| (row % 5) as u8).collect();
        add(&mut table, train, &folds);
        let [one, two, both] = [0, 1, 2].map(|signal| auroc(&table, test, signal));
        assert!(both > one + 0.02 && both > two + 0.02, "{one} {two} {both}");
        let signals = &table.tiers[0].signals;
        assert_eq!(signals[2].name, "combined:small");
        assert!(signals[2].cost.iter().all(|&cost| cost == 7));
        assert_eq!((signals[2].value[3], signals[2].value[5]), (f64::NEG_INFINITY, f64::NEG_INFINITY));
    }

    #[test]
    fn noise_adds_nothing_and_is_not_added() {
        let (mut table, all, folds) = table(800, false);
        add(&mut table, &all, &folds);
        assert_eq!(table.tiers[0].signals.len(), 2);
    }

    #[test]
    fn a_refit_sees_only_its_rows_and_transforms_change_nothing() {
        let (mut table, all, folds) = table(1000, true);
        add(&mut table, &all, &folds);
        let again = refitted(&table, &all);
        assert_eq!(again.tiers[0].signals[2].value, table.tiers[0].signals[2].value);
        let half = refitted(&table, &all[..500]);
        let mut other = table.clone();
        other.tiers[0].quality[500..].fill(0);
        assert_eq!(refitted(&other, &all[..500]).tiers[0].signals[2].value, half.tiers[0].signals[2].value);

        let (mut plain, ..) = self::table(1000, true);
        for value in &mut plain.tiers[0].signals[1].value {
            *value = libm::log(*value);
        }
        let mut curved = plain.clone();
        add(&mut plain, &all, &folds);
        for value in &mut curved.tiers[0].signals[1].value {
            *value *= 2.0;
        }
        add(&mut curved, &all, &folds);
        for (a, b) in plain.tiers[0].signals[2].value.iter().zip(&curved.tiers[0].signals[2].value) {
            assert!(a == b || (a - b).abs() < 1e-9);
        }
    }
}
