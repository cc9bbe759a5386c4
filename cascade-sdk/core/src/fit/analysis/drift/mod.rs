//! Does a log still look like the one a policy was fitted on?
//!
//! One grouped permutation test for each family of inputs and each signal: groups of rows change sides at random, and the
//! test counts how often two sides then differ as much as the real ones. The p-values are corrected by Holm's method, so
//! that without drift any alarm is raised no more often than the level says. Effect sizes stand beside them and decide
//! nothing: the population stability index alone cries wolf (with no drift and 100 rows it passes 0.1 in four runs of
//! five).

mod columns;
mod effect;
mod permutation;
mod vectors;

pub use effect::Calibration;

use crate::feature::Router;
use crate::fit::inference::bounds::normal_quantile;
use crate::fit::threads;
use crate::log::EvalLog;
use columns::{Family, Found};
use serde::Serialize;

/// A shift in standard deviations that should not be missed: a medium one, by convention.
const SHIFT: f64 = 0.5;

/// Power at which a shift counts as one that would be seen.
const POWER: f64 = 0.8;

/// Two logs to compare.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The log of the fit.
    pub reference: &'a EvalLog,
    /// Its rows to compare with: those the policy was chosen on.
    pub reference_rows: &'a [usize],
    /// Rows of the same log that took no part in the fit, for the calibration of the router.
    pub held_out_rows: &'a [usize],
    /// The new log; its rows may lack results or qualities.
    pub new: &'a EvalLog,
    /// Rows of the new log that are graded.
    pub graded_rows: &'a [usize],
    /// The policy's tiers.
    pub tiers: &'a [String],
    /// The policy's router.
    pub router: Option<&'a Router>,
    /// Level of the tests together.
    pub alpha: f64,
    /// Seed of the permutations.
    pub seed: u64,
    /// Threads to use; the result does not depend on it.
    pub threads: usize,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Nothing differs significantly, and a medium shift would have been seen.
    Alike,
    /// Something differs.
    Drifted,
    /// Nothing differs significantly, but a medium shift could have been missed.
    TooFewRows,
}

/// Everything there is to say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drift {
    /// The answer.
    pub answer: Answer,
    /// The answer in a sentence.
    pub text: String,
    /// Level of the tests together.
    pub alpha: f64,
    /// Rows of the fit and of the new log.
    pub rows: [usize; 2],
    /// Groups of rows of the fit and of the new log: the units that change sides.
    pub groups: [usize; 2],
    /// The shift in standard deviations that every test shows with a power of 80 %; infinite, and null in JSON, where no
    /// shift would show.
    pub detectable_shift: f64,
    /// One entry a family of inputs and a signal.
    pub tests: Vec<Test>,
    /// In words, what is in the logs and cannot be compared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_compared: Vec<String>,
    /// How well the router's predictions fit what was observed, tier by tier; empty without grades or a router.
    pub calibration: Vec<Calibration>,
}

/// One test.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Test {
    /// What is compared.
    pub name: String,
    /// Groups of the fit and of the new log that have something to compare.
    pub groups: [usize; 2],
    /// The shift in standard deviations that this test shows with a power of 80 %.
    pub detectable_shift: f64,
    /// Share of permutations in which the sides differ at least as much, the real one counted in.
    pub p: f64,
    /// The same corrected for all tests (Holm).
    pub p_corrected: f64,
    /// Whether the corrected value is at most the level.
    pub drifted: bool,
    /// The input that moved most.
    pub most: Option<String>,
    /// Population stability index of that input.
    pub stability_index: f64,
    /// What the index would be expected to be without any drift, with so many rows.
    pub stability_index_by_chance: f64,
}

/// Compares two logs.
pub fn compare(input: &Input<'_>) -> Drift {
    let sides = columns::Sides::new(input);
    let Found { families, not_compared } = columns::families(input, &sides);
    let rounds = permutation::rounds(families.len(), input.alpha);
    let p_values = threads::map(input.threads, families.len(), |at| {
        permutation::p_value(&families[at], families[at].sides(&sides), rounds, input.seed)
    });
    let corrected = holm(&p_values);
    let tests: Vec<Test> = families
        .iter()
        .zip(p_values.iter().zip(&corrected))
        .map(|(family, (&p, &p_corrected))| {
            let own = family.sides(&sides);
            let most = effect::most_moved(family, own);
            Test {
                name: family.name.clone(),
                groups: own.groups(),
                detectable_shift: if permutation::can_reject(families.len(), input.alpha) {
                    detectable(own.groups(), families.len(), input.alpha)
                } else {
                    f64::INFINITY
                },
                p,
                p_corrected,
                drifted: p_corrected <= input.alpha,
                most: most.as_ref().map(|most| most.name.clone()).filter(|name| *name != family.name),
                stability_index: most.as_ref().map_or(0.0, |most| most.index),
                stability_index_by_chance: most.as_ref().map_or(0.0, |most| most.by_chance),
            }
        })
        .collect();
    let detectable_shift = blindest(&tests).map_or(f64::INFINITY, |test| test.detectable_shift);
    let answer = if tests.iter().any(|test| test.drifted) {
        Answer::Drifted
    } else if detectable_shift > SHIFT {
        Answer::TooFewRows
    } else {
        Answer::Alike
    };
    Drift {
        answer,
        text: text(answer, &tests, input.alpha),
        alpha: input.alpha,
        rows: sides.rows(),
        groups: sides.groups(),
        detectable_shift,
        tests,
        not_compared,
        calibration: effect::calibration(input),
    }
}

/// The test that sees least: logs are alike only as far as it could tell.
fn blindest(tests: &[Test]) -> Option<&Test> {
    tests.iter().reduce(|most, next| if next.detectable_shift > most.detectable_shift { next } else { most })
}

/// The shift of a mean, in standard deviations, that a two-sided test of one of `tests` families sees.
fn detectable([reference, new]: [usize; 2], tests: usize, alpha: f64) -> f64 {
    if reference == 0 || new == 0 {
        return f64::INFINITY;
    }
    let level = alpha / (2 * tests.max(1)) as f64;
    let size = normal_quantile(1.0 - level) + normal_quantile(POWER);
    size * libm::sqrt(1.0 / reference as f64 + 1.0 / new as f64)
}

/// New groups at which a medium shift would be seen; `None` if no number would do.
fn groups_needed(reference: usize, detectable_now: f64, [own, new]: [usize; 2]) -> Option<usize> {
    let size = detectable_now / libm::sqrt(1.0 / own as f64 + 1.0 / new as f64);
    let left = (SHIFT / size) * (SHIFT / size) - 1.0 / reference as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive count")]
    (left > 0.0).then(|| (1.0 / left).ceil() as usize)
}

fn text(answer: Answer, tests: &[Test], alpha: f64) -> String {
    let Some(Test { name, groups, detectable_shift: detectable, .. }) = blindest(tests) else {
        return "there is nothing to compare: the logs share no prompts, features, tags or signals"
            .to_owned();
    };
    match answer {
        Answer::Drifted => {
            let what: Vec<String> = tests
                .iter()
                .filter(|test| test.drifted)
                .map(|test| {
                    let most =
                        test.most.as_ref().map_or(String::new(), |most| format!(", most of all {most}"));
                    format!("{} (p = {:.4}{most})", test.name, test.p_corrected)
                })
                .collect();
            format!("the log no longer looks like that of the fit: {}", what.join("; "))
        }
        Answer::Alike => format!(
            "the log looks like that of the fit: none of {} tests is significant at {alpha}, and a shift of \
             {detectable:.2} standard deviations would have been seen",
            tests.len()
        ),
        Answer::TooFewRows if detectable.is_infinite() => format!(
            "nothing can be told: {} tests at a level of {alpha} together ask for smaller p-values than permutations \
             give; raise drift_alpha",
            tests.len()
        ),
        Answer::TooFewRows => {
            let more = match groups_needed(groups[0], *detectable, *groups) {
                Some(needed) => format!("about {needed} separate new requests would do"),
                None => "the log of the fit itself is too small for that".to_owned(),
            };
            // Where all tests have the same rows, none of them is the one to name.
            let of = if tests.iter().all(|test| test.groups == *groups) {
                String::new()
            } else {
                format!(" of {name}, known in {} and {} separate requests,", groups[0], groups[1])
            };
            format!(
                "too few rows to tell: only a shift{of} of {detectable:.1} standard deviations would be seen, and one of \
                 {SHIFT} should be; {more}"
            )
        }
    }
}

/// Holm's correction: p-values that may be compared with the level of all tests together.
fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut corrected = vec![1.0; p_values.len()];
    let mut least: f64 = 0.0;
    for (rank, &at) in order.iter().enumerate() {
        least = least.max((p_values.len() - rank) as f64 * p_values[at]).min(1.0);
        corrected[at] = least;
    }
    corrected
}

#[cfg(test)]
mod tests;
