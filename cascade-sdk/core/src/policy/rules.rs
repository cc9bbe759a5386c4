//! The part of a policy that decides: plans, accept rules, scores and the router.

use crate::feature::{Predictions, Router};
use crate::hash::Hasher;
use crate::signal::BuiltIn;
use std::collections::BTreeMap;

/// Everything that [`crate::decide`] needs. Names are resolved to indices once, so that a decision compares numbers.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Rules {
    /// Names of the tiers that plans use, in the order of increasing mean cost on calibration rows.
    pub tiers: Vec<String>,
    /// Names of the signals that rules and scores read; an observation lists their values in this order.
    pub signals: Vec<String>,
    /// Fitted combinations of signals, prompt features and router predictions.
    pub scores: Vec<Score>,
    /// The plans; exactly one without a router, or two in a mixture.
    pub plans: Vec<Plan>,
    /// Chooses a plan from the prompt.
    pub router: Option<Router>,
    /// Keeps some requests on one tier, whatever plans and router say.
    pub guard: Option<Guard>,
    /// The quality that an abstention counts as in figures; `None` where no plan abstains.
    pub abstention: Option<f64>,
    /// Draws one of two plans for each request.
    pub mixture: Option<Mixture>,
}

/// Two operating points of which each request gets one, drawn by a hash of its id, so that a budget is met on average
/// (MATH.md 4). A request of the same id gets the same plan in fit, replay and client.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixture {
    /// Share of requests that the second plan decides; the first one decides the others.
    pub share: f64,
    /// Makes the draws independent of those of other policies.
    pub seed: u64,
}

impl Mixture {
    /// The plan of a request; of one whose id is not known that of the larger share.
    pub fn plan(&self, id: Option<&str>) -> usize {
        let draw =
            |id| Hasher::new().part("cascade mixture").part(self.seed.to_le_bytes()).part(id).fraction();
        usize::from(id.map_or(0.5, draw) < self.share)
    }
}

/// Requests with certain labels of a tag are answered by one tier alone: slices that a cascade would serve too badly.
#[derive(Clone, Debug, PartialEq)]
pub struct Guard {
    /// The tag that every request must have.
    pub tag: String,
    /// The labels that are kept, sorted.
    pub labels: Vec<String>,
    /// Index into [`Rules::tiers`].
    tier: usize,
    plan: Plan,
}

impl Guard {
    /// Keeps requests with these labels on a tier.
    pub fn new(tag: String, mut labels: Vec<String>, tier: usize) -> Self {
        labels.sort();
        let plan = Plan::new(vec![Stage { tier, rule: None }]);
        Self { tag, labels, tier, plan }
    }

    /// Index into [`Rules::tiers`].
    pub fn tier(&self) -> usize {
        self.tier
    }

    /// Whether a label is kept.
    pub fn keeps(&self, label: &str) -> bool {
        self.labels.binary_search_by(|known| known.as_str().cmp(label)).is_ok()
    }
}

impl Rules {
    /// The plan of that number; after the last one comes that of the guard.
    pub fn plan(&self, index: usize) -> Option<&Plan> {
        let guarded = self.guard.as_ref().filter(|_| index == self.plans.len()).map(|guard| &guard.plan);
        self.plans.get(index).or(guarded)
    }

    /// Whether the choice of a plan depends on the request.
    pub fn reads_requests(&self) -> bool {
        self.router.is_some() || self.guard.is_some() || self.mixture.is_some()
    }

    /// Whether requests need an embedding: the router reads one, and what it predicts decides something. Where there is one
    /// plan whose scores read no prediction, as at some operating points of a router's frontier, it does not.
    pub fn reads_embedding(&self) -> bool {
        let router = self.router.as_ref().is_some_and(|router| router.inputs.embedding.is_some());
        router && (self.plans.len() > 1 || self.plans.iter().any(|plan| self.reads_predictions(plan)))
    }

    /// Whether a score that a plan compares rests on predictions of the router.
    fn reads_predictions(&self, plan: &Plan) -> bool {
        let rests = |source: ScoreSource| match source {
            ScoreSource::Signal(_) => false,
            ScoreSource::Score(score) => self.scores.get(score).is_some_and(|score| {
                let reads = |term: &Term| matches!(term.input, ScoreInput::Prediction(_));
                score.per_cost_of.is_some() || score.terms.iter().any(reads)
            }),
        };
        let accepts = plan.stages.iter().filter_map(|stage| stage.rule.map(|rule| rule.score));
        let abstains = plan.abstain.iter().flatten().map(|rule| rule.score);
        accepts.chain(abstains).any(rests)
    }

    /// The signals that a stage reads to accept or to abstain, as [`Rules::signals_read`] lists them.
    pub fn signals_read_at(&self, plan: usize, stage: usize) -> impl Iterator<Item = usize> + '_ {
        let found = self.plan(plan);
        let accept = found.and_then(|plan| plan.stages.get(stage)).and_then(|stage| stage.rule);
        let accept = accept.filter(|rule| rule.at_least.needs_score());
        let abstain = found.and_then(|plan| plan.abstain_rule(stage));
        // Both compare the same score, which is bought once.
        let abstain = abstain.map(|rule| AcceptRule { score: rule.score, at_least: Cut(rule.below) });
        accept.or(abstain).into_iter().flat_map(|rule| self.signals_read(rule))
    }

    /// The signals that a rule reads, as indices into [`Rules::signals`], each once: those whose own cost is charged where the stage ran. A
    /// cut that keeps or escalates everything reads none (DESIGN.md 5).
    pub fn signals_read(&self, rule: AcceptRule) -> impl Iterator<Item = usize> + '_ {
        let (single, terms) = match rule.score {
            _ if !rule.at_least.needs_score() => (None, &[][..]),
            ScoreSource::Signal(signal) => (Some(signal), &[][..]),
            ScoreSource::Score(score) => (None, self.scores.get(score).map_or(&[][..], |score| &score.terms)),
        };
        let read = |term: &Term| match term.input {
            ScoreInput::Signal(signal) => Some(signal),
            ScoreInput::Prediction(_) => None,
        };
        let of_terms = terms.iter().enumerate().filter_map(move |(index, term)| {
            let signal = read(term)?;
            let earlier = terms[..index].iter().any(|earlier| read(earlier) == Some(signal));
            (!earlier).then_some(signal)
        });
        single.into_iter().chain(of_terms)
    }

    /// Whether the score of a rule can be read while an answer arrives: it reads its score, and all signals of that come from
    /// the log-probabilities of the tokens.
    pub fn runs_with_the_tokens(&self, rule: AcceptRule) -> bool {
        let built_in =
            |signal: usize| self.signals.get(signal).is_some_and(|name| BuiltIn::parse(name).is_some());
        self.signals_read(rule).next().is_some() && self.signals_read(rule).all(built_in)
    }
}

/// An ordered list of stages; every stage but the last has an accept rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The stages, first to last; never empty.
    pub stages: Vec<Stage>,
    /// How the router predicts the plan as a whole; `None` where it is one tier, which the router predicts by itself.
    pub forecast: Option<Forecast>,
    /// What a router takes off the predicted quality because the plan exceeds limits on tails more often (MATH.md 11.1),
    /// in quality; 0 without such limits.
    pub penalty: f64,
    /// By position of the stage: when its answer is given up while it arrives. Fitted; empty where early escalation is not.
    pub stops: BTreeMap<usize, Stop>,
    /// Where each stage abstains; empty where none does.
    pub abstain: Vec<Option<AbstainRule>>,
}

/// Answer "don't know" iff `score < below` (MATH.md 6.4). A missing score never abstains.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AbstainRule {
    /// What is compared: what the stage's accept rule compares, if it has one that reads a score.
    pub score: ScoreSource,
    /// The lowest score that does not abstain.
    pub below: f64,
}

impl Plan {
    /// Where a stage abstains; `None` where it does not.
    pub fn abstain_rule(&self, stage: usize) -> Option<AbstainRule> {
        self.abstain.get(stage).copied().flatten()
    }

    /// A plan that no router weighs, or of one tier.
    pub fn new(stages: Vec<Stage>) -> Self {
        Self { stages, forecast: None, penalty: 0.0, stops: BTreeMap::new(), abstain: Vec::new() }
    }
}

/// What a plan of several stages does for a request, linear in what the router predicts of the tiers.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Forecast {
    /// Quality of the answer.
    pub quality: Linear,
    /// Cost of all stages that run, in US dollars.
    pub cost_usd: Linear,
}

/// constant + Σ weight · prediction, over the tiers of the policy.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Linear {
    /// The constant.
    pub constant: f64,
    /// Weight of each tier's log-odds of quality, per nat.
    pub log_odds: Vec<f64>,
    /// Weight of each tier's predicted cost, per US dollar.
    pub cost_usd: Vec<f64>,
}

impl Linear {
    /// The value for some predictions.
    pub fn value(&self, predictions: &Predictions) -> f64 {
        let odds = self.log_odds.iter().zip(&predictions.log_odds);
        let costs = self.cost_usd.iter().zip(&predictions.cost_usd);
        odds.chain(costs).fold(self.constant, |sum, (weight, value)| sum + weight * value)
    }
}

/// One tier and the rule that keeps its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// Index into [`Rules::tiers`].
    pub tier: usize,
    /// `None` on the last stage only.
    pub rule: Option<AcceptRule>,
}

/// When the answer of a stage is given up while it arrives ([`crate::early`]).
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Stop {
    /// The most tokens that an answer can have, which the safe bounds rest on.
    pub most_tokens: Option<u64>,
    /// The prefix rule, in the order of its tokens; empty where only the safe bounds stop an answer.
    pub cuts: Vec<PrefixCut>,
}

/// Give the answer up iff the score of its first `after` tokens is below `below`. It is known once another token has arrived.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrefixCut {
    /// Tokens that are scored.
    pub after: u32,
    /// The lowest score that goes on.
    pub below: f64,
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
///
/// With [`Score::per_cost_of`] = h the sigmoid p stands for (1 + E[q − q_h]) / 2, and the value is (2p − 1) / ĉ_h: the
/// quality that keeping the answer is expected to gain over asking h, per US dollar that h is predicted to cost. Keeping is
/// right iff that is at least −λ (MATH.md 2: escalate iff the expected gain exceeds λ times the expected cost).
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
    /// The tier by whose predicted cost the score is divided: index into [`Rules::tiers`].
    pub per_cost_of: Option<usize>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signal_is_charged_once_and_only_where_it_is_read() {
        let term = |input| Term { input, knots: Vec::new(), weight: 1.0 };
        let terms =
            [ScoreInput::Signal(2), ScoreInput::Prediction(0), ScoreInput::Signal(1), ScoreInput::Signal(2)];
        let score = Score {
            name: "s".into(),
            tier: 0,
            intercept: 0.0,
            terms: terms.into_iter().map(term).collect(),
            per_cost_of: None,
        };
        let rules = Rules { scores: vec![score], ..Rules::default() };
        let read = |score, at_least| rules.signals_read(AcceptRule { score, at_least }).collect::<Vec<_>>();
        assert_eq!(read(ScoreSource::Signal(4), Cut(0.1)), [4]);
        assert_eq!(read(ScoreSource::Score(0), Cut(0.1)), [2, 1]);
        assert!(read(ScoreSource::Score(9), Cut(0.1)).is_empty());
        for cut in [Cut::KEEP_ALL, Cut::ESCALATE_ALL] {
            assert!(read(ScoreSource::Signal(4), cut).is_empty());
        }
    }
}
