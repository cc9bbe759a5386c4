//! The part of a policy that decides: plans, accept rules, scores and the router.

use crate::feature::Router;

/// Everything that [`crate::decide`] needs. Names are resolved to indices once, so that a decision compares numbers.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Rules {
    /// Names of the tiers that plans use, in the order of increasing mean cost on calibration rows.
    pub tiers: Vec<String>,
    /// Names of the signals that rules and scores read; an observation lists their values in this order.
    pub signals: Vec<String>,
    /// Fitted combinations of signals, prompt features and router predictions.
    pub scores: Vec<Score>,
    /// The plans; exactly one without a router.
    pub plans: Vec<Plan>,
    /// Chooses a plan from the prompt.
    pub router: Option<Router>,
}

/// An ordered list of stages; every stage but the last has an accept rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The stages, first to last; never empty.
    pub stages: Vec<Stage>,
}

/// One tier and the rule that keeps its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// Index into [`Rules::tiers`].
    pub tier: usize,
    /// `None` on the last stage only.
    pub rule: Option<AcceptRule>,
}

/// Keep the answer iff `score >= at_least`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AcceptRule {
    /// What is compared.
    pub score: ScoreSource,
    /// The lowest kept score.
    pub at_least: Cut,
}

/// What an accept rule compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScoreSource {
    /// A signal of the answer: index into [`Rules::signals`].
    Signal(usize),
    /// A fitted combination: index into [`Rules::scores`].
    Score(usize),
}

/// A threshold: the lowest kept score.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Cut(pub f64);

impl Cut {
    /// Keeps every answer, whatever its score, and so never needs the score: `null` in JSON.
    pub const KEEP_ALL: Self = Self(f64::NEG_INFINITY);
    /// Escalates every answer, and so never needs the score: `"inf"` in JSON.
    pub const ESCALATE_ALL: Self = Self(f64::INFINITY);

    /// True if the rule reads its score, which is when the score's own cost is charged.
    pub fn needs_score(self) -> bool {
        self.0.is_finite()
    }
}

/// A fitted score: a logistic model of P(the answer is good) over signals and what is known of the prompt (MATH.md 10).
///
/// value = σ(intercept + Σ weight · transform(input)), so it lies in (0, 1) and larger means more confident. A missing
/// input makes the score missing, hence the stage escalates.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// Its name in the policy file.
    pub name: String,
    /// Index into [`Rules::tiers`] of the tier whose answers it scores.
    pub tier: usize,
    /// Constant term, in nats.
    pub intercept: f64,
    /// The terms.
    pub terms: Vec<Term>,
}

/// One term of a [`Score`].
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// What is read.
    pub input: ScoreInput,
    /// Piecewise-linear map applied to the input: knots with strictly increasing `x`, flat outside; empty = identity.
    pub knots: Vec<(f64, f64)>,
    /// Weight of the mapped input, in nats per unit.
    pub weight: f64,
}

/// What a term reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScoreInput {
    /// A signal of the answer: index into [`Rules::signals`].
    Signal(usize),
    /// The router's log-odds that a tier (index into [`Rules::tiers`]) answers well.
    Prediction(usize),
}
