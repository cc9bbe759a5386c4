//! Running a policy over an eval log: what the client would have answered, at what price.
//!
//! The fit's figures, `cascade eval` and the client's replay all come from [`Replay::row`], which asks
//! [`crate::decide`] at every step (DESIGN.md 9, invariant 1).

use crate::decide::{self, Decision, Observation};
use crate::early::{Stopped, Watch};
use crate::feature::{self, Predictions, RequestView, Router};
use crate::log::{Embeddings, EvalLog, SignalColumn, TierColumns};
use crate::money::Usd;
use crate::policy::Rules;
use std::fmt;

/// Rules tied to the columns of a log.
#[derive(Debug)]
pub struct Replay<'a> {
    rules: &'a Rules,
    log: &'a EvalLog,
    /// One entry for each of [`Rules::tiers`].
    tiers: Vec<Columns<'a>>,
    known: Option<&'a KnownPredictions>,
    /// What each row's embedding costs, where the router reads one.
    embedding_cost: Option<&'a [Usd]>,
    /// The rows' embeddings, where the router reads them and the log says how long they took.
    timed_embeddings: Option<&'a Embeddings>,
}

/// What a router predicts of the rows of a log, so that several policies with the same router need not ask it again.
#[derive(Clone, Debug, Default)]
pub struct KnownPredictions {
    /// By row of the log; `None` where it was not asked.
    by_row: Vec<Option<Predictions>>,
}

impl KnownPredictions {
    /// Asks a router about rows of the log (indices into [`EvalLog::rows`]).
    ///
    /// # Errors
    /// [`ReplayError::MissingInput`] if a row lacks something that the router reads.
    pub fn new(
        router: &Router,
        log: &EvalLog,
        rows: impl IntoIterator<Item = usize>,
    ) -> Result<Self, ReplayError> {
        let (mut scratch, mut features, mut tags) = (feature::Scratch::default(), Vec::new(), Vec::new());
        let mut by_row = vec![None; log.rows.len()];
        for row in rows {
            let request = view(log, row, &mut features, &mut tags);
            let predictions =
                router.predict(&request, &mut scratch).map_err(|input| missing(log, row, input))?;
            by_row[row] = Some(predictions.clone());
        }
        Ok(Self { by_row })
    }

    /// What was predicted of a row of the log.
    pub fn of(&self, row: usize) -> Option<&Predictions> {
        self.by_row.get(row)?.as_ref()
    }
}

impl FromIterator<(usize, Predictions)> for KnownPredictions {
    /// From rows of the log and what is predicted of each.
    fn from_iter<I: IntoIterator<Item = (usize, Predictions)>>(told: I) -> Self {
        let mut by_row = Vec::new();
        for (row, predictions) in told {
            if by_row.len() <= row {
                by_row.resize(row + 1, None);
            }
            by_row[row] = Some(predictions);
        }
        Self { by_row }
    }
}

/// What the router sees of a row.
fn view<'s, 'a>(
    log: &'a EvalLog,
    row: usize,
    features: &'s mut Vec<(&'a str, f64)>,
    tags: &'s mut Vec<(&'a str, &'a str)>,
) -> RequestView<'s> {
    let entry = &log.rows[row];
    features.clear();
    features.extend(entry.features.iter().map(|(name, value)| (&**name, *value)));
    tags.clear();
    tags.extend(entry.tags.iter().map(|(name, value)| (&**name, &**value)));
    RequestView {
        text: entry.text.as_deref().unwrap_or(""),
        features,
        tags,
        embedding: log.embeddings.as_ref().and_then(|embeddings| embeddings.get(row)),
        id: Some(&entry.id),
    }
}

fn missing(log: &EvalLog, row: usize, input: feature::MissingInput) -> ReplayError {
    ReplayError::MissingInput { id: log.rows[row].id.to_string(), input }
}

/// A tier's columns with its signals in the order of [`Rules::signals`].
#[derive(Debug)]
struct Columns<'a> {
    results: &'a TierColumns,
    signals: Vec<Option<&'a SignalColumn>>,
}

/// What became of one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// The plan that was chosen: index into [`Rules::plans`].
    pub plan: usize,
    /// Stages that ran.
    pub calls: usize,
    /// The tier whose answer was returned: index into [`Rules::tiers`].
    pub tier: usize,
    /// True if the last stage failed, so that there is no answer.
    pub failed: bool,
    /// True if a stage abstained: the answer is "don't know", and its quality what the policy says it counts as.
    pub abstained: bool,
    /// Quality of the answer; 0 if there is none.
    pub quality: f64,
    /// Everything that was paid.
    pub cost: Usd,
    /// The part of it that the embedding cost which the router read.
    pub embedding_cost: Usd,
    /// Sum of the latencies of the stages in milliseconds; NaN if one is unknown.
    pub latency_ms: f64,
}

/// One stage of one row, for explanations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Index into [`Rules::tiers`].
    pub tier: usize,
    /// What was decided about its answer.
    pub decision: Decision,
    /// Cost of the call.
    pub cost: Usd,
    /// Cost of the signals that the rule needed.
    pub signal_cost: Usd,
    /// Tokens that had arrived when the answer was given up, if it was.
    pub given_up_after: Option<u64>,
}

/// Why a row cannot be replayed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ReplayError {
    /// The log has no results of this tier at all.
    NoSuchTier(String),
    /// The row lacks a tier that the policy needed.
    NotCollected {
        /// Id of the row.
        id: String,
        /// The tier.
        tier: String,
    },
    /// The router needs something the row does not have.
    MissingInput {
        /// Id of the row.
        id: String,
        /// What is missing.
        input: feature::MissingInput,
    },
    /// The costs of the row add up to more than an amount can hold.
    Overflow(String),
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchTier(tier) => write!(f, "the log has no results of tier `{tier}`"),
            Self::NotCollected { id, tier } => write!(f, "row `{id}` has no result of tier `{tier}`"),
            Self::MissingInput { id, input } => write!(f, "row `{id}`: {input}"),
            Self::Overflow(id) => write!(f, "row `{id}` costs more than 9.2 million dollars"),
        }
    }
}

impl std::error::Error for ReplayError {}

impl<'a> Replay<'a> {
    /// Ties rules to a log.
    ///
    /// # Errors
    /// [`ReplayError::NoSuchTier`] if the log lacks a tier of the rules.
    pub fn new(rules: &'a Rules, log: &'a EvalLog) -> Result<Self, ReplayError> {
        let tiers = rules
            .tiers
            .iter()
            .map(|name| {
                let results = log.tier(name).ok_or_else(|| ReplayError::NoSuchTier(name.clone()))?;
                let signals = rules.signals.iter().map(|signal| results.signals.get(signal)).collect();
                Ok(Columns { results, signals })
            })
            .collect::<Result<_, _>>()?;
        let embeddings = log.embeddings.as_ref().filter(|_| rules.reads_embedding());
        let embedding_cost = embeddings.map(|embeddings| embeddings.cost.as_slice());
        let timed_embeddings = embeddings.filter(|embeddings| embeddings.has_latencies());
        Ok(Self { rules, log, tiers, known: None, embedding_cost, timed_embeddings })
    }

    /// Uses predictions of the same router made before; rows without one ask the router.
    #[must_use]
    pub fn with_predictions(mut self, known: &'a KnownPredictions) -> Self {
        self.known = Some(known);
        self
    }

    /// Space that [`Replay::row`] reuses from row to row.
    pub fn scratch(&self) -> Scratch<'a> {
        Scratch {
            signals: vec![f64::NAN; self.rules.signals.len()],
            router: feature::Scratch::default(),
            features: Vec::new(),
            tags: Vec::new(),
        }
    }

    /// Runs one row (index into [`EvalLog::rows`]).
    ///
    /// # Errors
    /// As [`ReplayError`] says.
    pub fn row(&self, row: usize, scratch: &mut Scratch<'a>) -> Result<Outcome, ReplayError> {
        self.trace(row, scratch, |_| ())
    }

    /// Runs one row and shows every step.
    ///
    /// # Errors
    /// As [`Replay::row`].
    pub fn trace(
        &self,
        row: usize,
        scratch: &mut Scratch<'a>,
        mut show: impl FnMut(Step),
    ) -> Result<Outcome, ReplayError> {
        let plan = self.choose_plan(row, scratch)?;
        let stages = self.rules.plan(plan).map_or(&[][..], |plan| &plan.stages);
        let embedding_cost = self.embedding_cost(plan, row);
        let mut outcome = Outcome {
            plan,
            calls: 0,
            tier: 0,
            failed: true,
            abstained: false,
            quality: 0.0,
            cost: embedding_cost,
            embedding_cost,
            latency_ms: self.embedding_latency_ms(plan, row),
        };
        for (index, stage) in stages.iter().enumerate() {
            let Some(tier) = self.tiers.get(stage.tier) else { break };
            if !tier.results.present[row] {
                return Err(ReplayError::NotCollected {
                    id: self.log.rows[row].id.to_string(),
                    tier: self.rules.tiers[stage.tier].clone(),
                });
            }
            for (value, signal) in scratch.signals.iter_mut().zip(&tier.signals) {
                *value = signal.map_or(f64::NAN, |signal| signal.value[row]);
            }
            let seen = Observation {
                failed: tier.results.failed[row],
                signals: &scratch.signals,
                predictions: Some(scratch.router.predictions()),
            };
            let stopped = self.stopped((plan, index), tier, row, scratch.router.predictions());
            let (decision, cost, signal_cost) = match stopped {
                // Whoever gives an answer up buys no signals of it.
                Some(Stopped { why, tokens }) => {
                    (Decision::Escalate(why), tier.results.cost_until(row, tokens), Usd::ZERO)
                }
                None => (
                    decide::judge(self.rules, plan, index, &seen),
                    tier.results.cost[row],
                    self.signal_cost(tier, (plan, index), row),
                ),
            };
            outcome.cost = outcome
                .cost
                .checked_add(cost)
                .and_then(|sum| sum.checked_add(signal_cost))
                .ok_or_else(|| ReplayError::Overflow(self.log.rows[row].id.to_string()))?;
            outcome.latency_ms += f64::from(tier.results.latency_ms[row]);
            outcome.calls += 1;
            outcome.tier = stage.tier;
            let given_up_after = stopped.map(|stopped| stopped.tokens);
            show(Step { tier: stage.tier, decision, cost, signal_cost, given_up_after });
            match decision {
                Decision::Escalate(_) => {}
                Decision::Accept { .. } => {
                    outcome.failed = false;
                    outcome.quality = tier.results.quality[row];
                    break;
                }
                Decision::Abstain { .. } => {
                    outcome.failed = false;
                    outcome.abstained = true;
                    outcome.quality = self.rules.abstention.unwrap_or(0.0);
                    break;
                }
                Decision::Fail => break,
            }
        }
        Ok(outcome)
    }

    /// Whether the answer of a stage is given up while it arrives: only where the policy was fitted for that, and the log says
    /// how it arrived.
    fn stopped(
        &self,
        (plan, stage): (usize, usize),
        tier: &Columns<'_>,
        row: usize,
        predictions: &Predictions,
    ) -> Option<Stopped> {
        let stop = self.rules.plan(plan)?.stops.get(&stage)?;
        let tokens = tier.results.tokens_of(row).filter(|_| !tier.results.failed[row])?;
        Watch::new(self.rules, plan, stage, Some(predictions), stop.most_tokens)?.run(tokens)
    }

    fn choose_plan(&self, row: usize, scratch: &mut Scratch<'a>) -> Result<usize, ReplayError> {
        if !self.rules.reads_requests() {
            return Ok(0);
        }
        let Scratch { router, features, tags, .. } = scratch;
        let request = view(self.log, row, features, tags);
        let chosen = match (&self.rules.router, self.known.and_then(|known| known.of(row))) {
            (Some(_), Some(known)) => {
                router.set_predictions(known);
                feature::guarded_plan(self.rules, &request)
                    .map(|guarded| guarded.unwrap_or_else(|| feature::best_plan(self.rules, known)))
            }
            _ => feature::choose_plan(self.rules, &request, router),
        };
        chosen.map_err(|input| missing(self.log, row, input))
    }

    /// The price of the row's embedding, where the router chose the plan; a guard asks for none.
    fn embedding_cost(&self, plan: usize, row: usize) -> Usd {
        let costs = self.embedding_cost.filter(|_| plan < self.rules.plans.len());
        costs.and_then(|costs| costs.get(row)).copied().unwrap_or_default()
    }

    /// How long the row's embedding took, where the router chose the plan.
    fn embedding_latency_ms(&self, plan: usize, row: usize) -> f64 {
        let timed = self.timed_embeddings.filter(|_| plan < self.rules.plans.len());
        timed.map_or(0.0, |embeddings| embeddings.latency_ms(row))
    }

    /// The price of the signals that a stage reads. A call that failed yields no answer whose signals could be bought.
    fn signal_cost(&self, tier: &Columns<'_>, (plan, stage): (usize, usize), row: usize) -> Usd {
        if tier.results.failed[row] {
            return Usd::ZERO;
        }
        let cost = |signal: usize| -> Option<Usd> { (*tier.signals.get(signal)?)?.cost.get(row).copied() };
        self.rules.signals_read_at(plan, stage).filter_map(cost).fold(Usd::ZERO, Usd::saturating_add)
    }
}

/// What a policy decides about one row of a log.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DecidedRow<'a> {
    /// The row's id.
    pub id: &'a str,
    /// The plan that was chosen: index into [`Rules::plans`].
    pub plan: usize,
    /// The stages that ran, in order.
    pub stages: Vec<DecidedStage<'a>>,
    /// The tier whose answer is returned; `None` where the last stage failed or the policy abstained.
    pub answered_by: Option<&'a str>,
    /// True if a stage abstained: the answer is "don't know", and its quality what the policy says it counts as.
    pub abstained: bool,
    /// Quality of the answer, from 0 to 1; 0 if there is none, NaN if the log has no grade of it.
    pub quality: f64,
    /// Everything that was paid: calls, the signals that rules read, and the embedding that the router read.
    pub cost: Usd,
    /// The part of it that the embedding cost.
    pub embedding_cost: Usd,
    /// Sum of the latencies of the embedding and of the stages in milliseconds; NaN if one is unknown.
    pub latency_ms: f64,
}

/// One stage of a [`DecidedRow`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct DecidedStage<'a> {
    /// The tier that was asked.
    pub tier: &'a str,
    /// What was decided about its answer, and why.
    pub decision: Decision,
    /// Cost of the call.
    pub cost: Usd,
    /// Cost of the signals that the rule needed.
    pub signal_cost: Usd,
    /// Tokens that had arrived when the answer was given up, if it was.
    pub given_up_after: Option<u64>,
}

/// Replays a log at the level of decisions: what a policy would have done with each row, at what price and quality. Rows need
/// no `output`. The client over the `replay` provider, `cascade eval` and the fit give the same figures, row by row
/// (DESIGN.md 9, invariant 1).
///
/// One item for each row, in the order of [`EvalLog::rows`] (by id). A router whose weights stand in a file of their own must be
/// complete: see [`crate::policy::complete`].
///
/// # Errors
/// [`ReplayError::NoSuchTier`] at once if the log has no result of a tier of the rules. For single rows:
/// [`ReplayError::NotCollected`] if a tier that the policy asks was not collected, [`ReplayError::MissingInput`] if the router
/// reads something that the row does not have, [`ReplayError::Overflow`] if its costs exceed any amount.
pub fn replay_decisions<'a>(
    rules: &'a Rules,
    log: &'a EvalLog,
) -> Result<impl Iterator<Item = Result<DecidedRow<'a>, ReplayError>>, ReplayError> {
    let replay = Replay::new(rules, log)?;
    let mut scratch = replay.scratch();
    Ok((0..log.rows.len()).map(move |row| replay.decided(row, &mut scratch)))
}

impl<'a> Replay<'a> {
    /// One row (index into [`EvalLog::rows`]) with its names.
    ///
    /// # Errors
    /// As [`Replay::row`].
    pub fn decided(&self, row: usize, scratch: &mut Scratch<'a>) -> Result<DecidedRow<'a>, ReplayError> {
        let name = |tier: usize| self.rules.tiers.get(tier).map_or("", String::as_str);
        let mut stages = Vec::new();
        let outcome = self.trace(row, scratch, |step| {
            let Step { tier, decision, cost, signal_cost, given_up_after } = step;
            stages.push(DecidedStage { tier: name(tier), decision, cost, signal_cost, given_up_after });
        })?;
        let Outcome { plan, tier, failed, abstained, quality, cost, embedding_cost, latency_ms, calls: _ } =
            outcome;
        let answered_by = (!failed && !abstained).then(|| name(tier));
        let id = &*self.log.rows[row].id;
        Ok(DecidedRow { id, plan, stages, answered_by, abstained, quality, cost, embedding_cost, latency_ms })
    }
}

/// Space reused from row to row; see [`Replay::scratch`].
#[derive(Debug)]
pub struct Scratch<'a> {
    signals: Vec<f64>,
    router: feature::Scratch,
    features: Vec<(&'a str, f64)>,
    tags: Vec<(&'a str, &'a str)>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::Why;
    use crate::log::{LogSource, ReadOptions, read};
    use crate::policy::{AcceptRule, Cut, Plan, ScoreSource, Stage};

    /// Kept, escalated, failed at the last stage, and a row without the dear tier that would have needed it. No row has an output.
    const LOG: &str = r#"{"id":"a","input":"1","results":{"small":{"quality":1,"cost_usd":1e-6,"latency_ms":5,"signals":{"s":0.9}}}}
{"id":"b","input":"2","results":{"small":{"quality":0,"cost_usd":2e-6,"signals":{"s":0.1}},"large":{"quality":0.75,"cost_usd":1e-4}}}
{"id":"c","input":"3","results":{"small":{"quality":0,"cost_usd":3e-6,"signals":{"s":null}},"large":{"quality":0,"cost_usd":2e-4,"error":"refused"}}}
{"id":"d","input":"4","results":{"small":{"quality":0,"cost_usd":4e-6,"signals":{"s":0.2}}}}
"#;

    fn rules(tiers: [&str; 2]) -> Rules {
        let rule = AcceptRule { score: ScoreSource::Signal(0), at_least: Cut(0.5) };
        Rules {
            tiers: tiers.map(str::to_owned).into(),
            signals: vec!["s".into()],
            plans: vec![Plan::new(vec![Stage { tier: 0, rule: Some(rule) }, Stage { tier: 1, rule: None }])],
            ..Rules::default()
        }
    }

    fn log() -> EvalLog {
        read([LogSource::new("log.jsonl", LOG.as_bytes())], &ReadOptions::default()).unwrap().log
    }

    #[test]
    fn every_row_has_its_decision_or_says_what_it_lacks() {
        let (log, rules) = (log(), rules(["small", "large"]));
        let rows: Vec<_> = replay_decisions(&rules, &log).unwrap().collect();
        let [a, b, c, d] = <[_; 4]>::try_from(rows).unwrap();
        let a = a.unwrap();
        assert_eq!((a.id, a.plan, a.answered_by, a.quality), ("a", 0, Some("small"), 1.0));
        assert_eq!((a.stages.len(), a.cost, a.latency_ms), (1, Usd::from_pico(1_000_000), 5.0));
        assert!(matches!(a.stages[0].decision, Decision::Accept { .. }));
        let b = b.unwrap();
        assert_eq!((b.answered_by, b.quality, b.cost), (Some("large"), 0.75, Usd::from_pico(102_000_000)));
        assert_eq!(b.stages.iter().map(|stage| stage.tier).collect::<Vec<_>>(), ["small", "large"]);
        assert!(matches!(b.stages[0].decision, Decision::Escalate(Why::BelowThreshold { .. })));
        let c = c.unwrap();
        assert_eq!((c.answered_by, c.quality, c.cost), (None, 0.0, Usd::from_pico(203_000_000)));
        assert!(matches!(c.stages[0].decision, Decision::Escalate(Why::MissingSignal)));
        assert_eq!(c.stages[1].decision, Decision::Fail);
        let lacks = ReplayError::NotCollected { id: "d".into(), tier: "large".into() };
        assert_eq!(d, Err(lacks));
    }

    #[test]
    fn a_tier_that_the_log_does_not_know_is_said_at_once() {
        let (log, rules) = (log(), rules(["small", "huge"]));
        let error = replay_decisions(&rules, &log).map(Iterator::count);
        assert_eq!(error, Err(ReplayError::NoSuchTier("huge".into())));
    }
}
