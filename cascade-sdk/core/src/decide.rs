//! The one decision function: fit, runtime, replay and `explain` all call it.
//!
//! [`judge`] allocates nothing and never panics, whatever its inputs.

use crate::feature::Predictions;
use crate::policy::{AcceptRule, Cut, Rules, ScoreInput, ScoreSource, Term};

/// What is known after a stage ran.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observation<'a> {
    /// True if the tier ran and failed (timeout, refusal, an answer that does not parse).
    pub failed: bool,
    /// Signal values in the order of [`Rules::signals`]; NaN or absent is missing.
    pub signals: &'a [f64],
    /// What the router predicts of each tier; `None` without a router.
    pub predictions: Option<&'a Predictions>,
}

/// What to do with the answer of a stage.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Decision {
    /// Return it.
    Accept {
        /// The score that was read, if the rule needed one.
        score: Option<f64>,
    },
    /// Run the next stage.
    Escalate(Why),
    /// Answer "don't know": even later stages would not be worth asking (MATH.md 6.4).
    Abstain {
        /// The score.
        score: f64,
        /// The lowest score that does not abstain.
        below: f64,
    },
    /// The last stage failed: there is no answer.
    Fail,
}

/// Why an answer was not kept.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Why {
    /// The score lies below the threshold.
    BelowThreshold {
        /// The score.
        score: f64,
        /// The lowest kept score.
        at_least: f64,
    },
    /// The answer was given up while it arrived: its score could not reach the threshold any more.
    OutOfReach {
        /// The most that the score could still have become.
        at_most: f64,
        /// The lowest kept score.
        at_least: f64,
    },
    /// The answer was given up while it arrived: its running score fell below what the policy's prefix rule asks for.
    Unpromising {
        /// The score of the tokens so far.
        score: f64,
        /// The lowest running score that goes on.
        below: f64,
        /// The tokens that were scored.
        tokens: u32,
    },
    /// The score is missing or not a number.
    MissingSignal,
    /// The tier ran and failed.
    Failed,
    /// The rule escalates everything.
    Always,
}

/// A score or threshold for people: four decimals, more where the number is so small that they would hide it.
#[derive(Clone, Copy, Debug)]
pub struct ShownScore(pub f64);

impl std::fmt::Display for ShownScore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (mut size, mut decimals) = (self.0.abs(), 2);
        if size > 0.0 && size < 1e-9 {
            return write!(f, "{:.2e}", self.0);
        }
        // Three significant digits, wherever the first one stands.
        while size > 0.0 && size < 1.0 {
            size *= 10.0;
            decimals += 1;
        }
        write!(f, "{:.*}", decimals.max(4), self.0)
    }
}

/// Says in words why an answer was not kept.
impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BelowThreshold { score, at_least } => {
                write!(f, "score {} is below {}", ShownScore(*score), ShownScore(*at_least))
            }
            Self::OutOfReach { at_most, at_least } => {
                write!(f, "the score could not exceed {at_most:.4} any more, which is below {at_least:.4}")
            }
            Self::Unpromising { score, below, tokens } => {
                let (score, below) = (ShownScore(*score), ShownScore(*below));
                write!(f, "the score of its first {tokens} tokens, {score}, is below {below}")
            }
            Self::MissingSignal => f.write_str("the score is missing"),
            Self::Failed => f.write_str("the call failed"),
            Self::Always => f.write_str("the rule escalates every answer"),
        }
    }
}

/// Decides what becomes of the answer of stage `stage` of plan `plan`.
///
/// Keep iff `score >= at_least` (MATH.md 1). A failed call escalates unless it was the last stage; a missing or NaN
/// score escalates and never abstains; a stage that may abstain does so before it is asked whether it keeps; a rule that
/// keeps everything reads no score and ends the plan. Indices outside the rules count as a last stage, so
/// that the function is total.
pub fn judge(rules: &Rules, plan: usize, stage: usize, seen: &Observation<'_>) -> Decision {
    let abstain = rules.plan(plan).and_then(|plan| plan.abstain_rule(stage));
    if let Some(rule) = abstain.filter(|_| !seen.failed) {
        let score = read(rules, rule.score, seen);
        if score < rule.below {
            return Decision::Abstain { score, below: rule.below };
        }
    }
    let rule = rules.plan(plan).and_then(|plan| plan.stages.get(stage)).and_then(|stage| stage.rule);
    match rule {
        Some(rule) if rule.at_least != Cut::KEEP_ALL => apply(rules, rule, seen),
        // A rule that keeps everything makes its stage the last one.
        _ if seen.failed => Decision::Fail,
        _ => Decision::Accept { score: None },
    }
}

fn apply(rules: &Rules, rule: AcceptRule, seen: &Observation<'_>) -> Decision {
    let AcceptRule { score, at_least } = rule;
    if seen.failed {
        return Decision::Escalate(Why::Failed);
    }
    if at_least == Cut::ESCALATE_ALL {
        return Decision::Escalate(Why::Always);
    }
    let value = read(rules, score, seen);
    if value >= at_least.0 {
        Decision::Accept { score: Some(value) }
    } else if value.is_nan() {
        Decision::Escalate(Why::MissingSignal)
    } else {
        Decision::Escalate(Why::BelowThreshold { score: value, at_least: at_least.0 })
    }
}

/// The value of a score, NaN where it is missing.
pub fn read(rules: &Rules, source: ScoreSource, seen: &Observation<'_>) -> f64 {
    match source {
        ScoreSource::Signal(index) => value_at(seen.signals, index),
        ScoreSource::Score(index) => rules.scores.get(index).map_or(f64::NAN, |score| {
            let sum = score.terms.iter().fold(score.intercept, |sum, term| {
                let input = match term.input {
                    ScoreInput::Signal(index) => value_at(seen.signals, index),
                    ScoreInput::Prediction(tier) => {
                        seen.predictions.map_or(f64::NAN, |known| value_at(&known.log_odds, tier))
                    }
                };
                sum + term.weight * map(term, input)
            });
            let good = logistic(sum);
            let Some(tier) = score.per_cost_of else { return good };
            (2.0 * good - 1.0) / seen.predictions.map_or(f64::NAN, |known| value_at(&known.cost_usd, tier))
        }),
    }
}

/// σ(x) = 1 / (1 + e⁻ˣ), the same bits on every system.
pub fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

fn value_at(values: &[f64], index: usize) -> f64 {
    values.get(index).copied().unwrap_or(f64::NAN)
}

/// The term's piecewise-linear map.
pub(crate) fn map(term: &Term, x: f64) -> f64 {
    let knots = &term.knots;
    let (Some(first), Some(last)) = (knots.first(), knots.last()) else { return x };
    if x.is_nan() {
        return x;
    }
    if x <= first.0 {
        return first.1;
    }
    if x >= last.0 {
        return last.1;
    }
    let right = knots.partition_point(|knot| knot.0 <= x);
    match (knots.get(right.wrapping_sub(1)), knots.get(right)) {
        (Some(&(x0, y0)), Some(&(x1, y1))) => y0 + (y1 - y0) * (x - x0) / (x1 - x0),
        _ => last.1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{AbstainRule, Plan, Score, Stage};

    fn rules(at_least: f64) -> Rules {
        Rules {
            tiers: vec!["small".into(), "large".into()],
            signals: vec!["mean_logprob".into()],
            scores: Vec::new(),
            guard: None,
            abstention: None,
            mixture: None,
            plans: vec![Plan::new(vec![
                Stage {
                    tier: 0,
                    rule: Some(AcceptRule { score: ScoreSource::Signal(0), at_least: Cut(at_least) }),
                },
                Stage { tier: 1, rule: None },
            ])],
            router: None,
        }
    }

    fn seen(signals: &[f64]) -> Observation<'_> {
        Observation { signals, ..Observation::default() }
    }

    #[test]
    fn keeps_at_the_threshold_and_escalates_strictly_below() {
        let rules = rules(-0.2);
        assert_eq!(judge(&rules, 0, 0, &seen(&[-0.2])), Decision::Accept { score: Some(-0.2) });
        assert_eq!(
            judge(&rules, 0, 0, &seen(&[-0.200_001])),
            Decision::Escalate(Why::BelowThreshold { score: -0.200_001, at_least: -0.2 })
        );
    }

    #[test]
    fn small_scores_are_shown_with_their_digits() {
        for (score, shown) in [
            (-0.2, "-0.2000"),
            (12.345_678, "12.3457"),
            (-0.012_345, "-0.0123"),
            (-0.000_103_423_98, "-0.000103"),
            (0.0, "0.0000"),
            (4e-12, "4.00e-12"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(ShownScore(score).to_string(), shown);
        }
    }

    #[test]
    fn scores_below_the_second_cut_abstain_and_missing_ones_do_not() {
        let mut rules = rules(-0.2);
        let rule = |below| Some(AbstainRule { score: ScoreSource::Signal(0), below });
        rules.plans[0].abstain = vec![rule(-1.0), rule(-0.5)];
        let at = |stage, signal| judge(&rules, 0, stage, &seen(&[signal]));
        assert_eq!(at(0, -1.5), Decision::Abstain { score: -1.5, below: -1.0 });
        assert!(matches!(at(0, -1.0), Decision::Escalate(Why::BelowThreshold { .. })));
        assert!(matches!(at(0, -0.2), Decision::Accept { .. }));
        assert_eq!(at(0, f64::NAN), Decision::Escalate(Why::MissingSignal));
        assert_eq!(at(1, -0.6), Decision::Abstain { score: -0.6, below: -0.5 });
        assert_eq!(at(1, f64::NAN), Decision::Accept { score: None });
        let failed = Observation { failed: true, signals: &[-9.0], predictions: None };
        assert_eq!(judge(&rules, 0, 1, &failed), Decision::Fail);
        assert_eq!(rules.signals_read_at(0, 1).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn missing_and_nan_signals_escalate() {
        for signals in [&[][..], &[f64::NAN][..]] {
            assert_eq!(judge(&rules(-0.2), 0, 0, &seen(signals)), Decision::Escalate(Why::MissingSignal));
        }
    }

    #[test]
    fn the_two_ends_read_no_score() {
        assert_eq!(judge(&rules(f64::NEG_INFINITY), 0, 0, &seen(&[])), Decision::Accept { score: None });
        assert_eq!(
            judge(&rules(f64::INFINITY), 0, 0, &seen(&[f64::INFINITY])),
            Decision::Escalate(Why::Always)
        );
    }

    #[test]
    fn failures_escalate_until_the_last_stage() {
        let failed = Observation { failed: true, signals: &[0.0], predictions: None };
        assert_eq!(judge(&rules(-0.2), 0, 0, &failed), Decision::Escalate(Why::Failed));
        assert_eq!(judge(&rules(-0.2), 0, 1, &failed), Decision::Fail);
    }

    #[test]
    fn indices_outside_the_rules_do_not_panic() {
        assert_eq!(judge(&Rules::default(), 9, 9, &seen(&[])), Decision::Accept { score: None });
        let mut dangling = rules(0.5);
        dangling.plans[0].stages[0].rule =
            Some(AcceptRule { score: ScoreSource::Score(7), at_least: Cut(0.5) });
        assert_eq!(judge(&dangling, 0, 0, &seen(&[1.0])), Decision::Escalate(Why::MissingSignal));
    }

    #[test]
    fn scores_are_logistic_over_mapped_inputs() {
        let mut rules = rules(0.5);
        rules.scores.push(Score {
            name: "correct".into(),
            tier: 0,
            intercept: 1.0,
            terms: vec![Term {
                input: ScoreInput::Signal(0),
                knots: vec![(-2.0, -4.0), (0.0, 0.0)],
                weight: 0.5,
            }],
            per_cost_of: None,
        });
        for (signal, logit) in [(-1.0, 0.0), (-9.0, -1.0), (3.0, 1.0), (-0.5, 0.5)] {
            let value = read(&rules, ScoreSource::Score(0), &seen(&[signal]));
            assert!((value - logistic(logit)).abs() < 1e-15, "{signal}");
        }
    }
    #[test]
    fn scores_per_cost_are_gains_per_dollar() {
        let mut rules = rules(-50.0);
        let input = ScoreInput::Prediction(1);
        rules.scores.push(Score {
            name: "gain".into(),
            tier: 0,
            intercept: 0.0,
            terms: vec![Term { input, knots: Vec::new(), weight: -1.0 }],
            per_cost_of: Some(1),
        });
        let value = |log_odds: f64, cost_usd: f64| {
            let predictions = Predictions { log_odds: vec![0.0, log_odds], cost_usd: vec![0.0, cost_usd] };
            let seen = Observation { predictions: Some(&predictions), ..Observation::default() };
            read(&rules, ScoreSource::Score(0), &seen)
        };
        assert!((value(1.0, 0.01) - (2.0 * logistic(-1.0) - 1.0) / 0.01).abs() < 1e-12);
        assert_eq!(value(1.0, 0.0), f64::NEG_INFINITY, "asking is free and helps");
        assert_eq!(value(-1.0, 0.0), f64::INFINITY);
        assert!(read(&rules, ScoreSource::Score(0), &seen(&[])).is_nan(), "without a router it is missing");
    }
}
