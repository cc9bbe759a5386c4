//! A share of requests runs the other tiers too, off the caller's path, so that the next fit sees complete evidence.

use super::ask::NotAsked;
use super::plan::Choice;
use super::receive::Intake;
use super::score::{Holdings, Scores};
use super::weigh::Seen;
use super::{Next, Progress, Run};
use crate::answer::AnswerSchema;
use crate::client::policy::ActivePolicy;
use crate::client::record::{self, About, Explored, Would};
use crate::client::{Client, first_of, late, sleep};
use crate::embedding::EmbeddingUse;
use crate::provider::Response;
use crate::request::{Message, Request};
use crate::routed::{Failure, Step};
use crate::signal::SignalFailure;
use cascade_sdk_core::decide::Decision;
use std::sync::Arc;

/// Explorations that run at once; what comes beyond is recorded as not explored.
pub(in crate::client) const AT_ONCE: usize = 32;

/// A request that was answered and is now to be run on the tiers that were not asked.
pub(in crate::client) struct Exploration {
    pub(in crate::client) client: Client,
    /// Position of the route.
    pub(in crate::client) route: usize,
    pub(in crate::client) request: Request,
    pub(in crate::client) id: String,
    pub(in crate::client) schema: AnswerSchema,
    pub(in crate::client) policy: Arc<ActivePolicy>,
    pub(in crate::client) answered_by: Option<usize>,
    pub(in crate::client) steps: Vec<Step<usize>>,
    pub(in crate::client) texts: Vec<Option<String>>,
    /// The request's embedding, where one was made.
    pub(in crate::client) embedding: Option<Box<EmbeddingUse>>,
    /// Its vector.
    pub(in crate::client) vector: Option<Vec<f32>>,
    /// Whether what answered the caller was not the policy at its deployed point.
    pub(in crate::client) decided_otherwise: bool,
}

impl Exploration {
    /// Runs it as a task of its own.
    pub(in crate::client) fn start(self) {
        // Calls need Tokio, so there is a runtime here.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(self.run());
    }

    async fn run(mut self) {
        let client = self.client.clone();
        let Some(route) = client.inner.routes.get(self.route) else { return };
        let on_path = self.steps.len();
        // The policy's own choice is of interest, whoever named the tier.
        self.request.tier = None;
        let (steps, texts) = (std::mem::take(&mut self.steps), std::mem::take(&mut self.texts));
        let (embedding, vector) = (self.embedding.take(), self.vector.take());
        let mut progress = Progress { path: steps, texts, embedding, vector, ..Progress::default() };
        let ledgers = route.explore_ledgers(&self.request);
        // A budget that cannot be charged pays for nothing.
        let may_spend = ledgers.is_ok();
        let ledgers = ledgers.unwrap_or_default();
        let run = Run {
            route,
            policy: &self.policy,
            rules: &self.policy.rules,
            request: &self.request,
            id: &self.id,
            schema: &self.schema,
            max_retries: client.inner.max_retries.unwrap_or(route.runtime.max_retries),
            deadline: None,
            budget: route.explore_budget.as_ref(),
            ledgers: &ledgers,
            outlet: None,
            explored: false,
        };
        let incomplete = match client.inner.explorations.try_acquire() {
            _ if !may_spend => Some("budget"),
            Err(_) => Some("busy"),
            Ok(_permit) => {
                let work = async {
                    let missing = run.ask_the_others(&mut progress).await;
                    Ok(missing.or(run.score_all(&mut progress).await))
                };
                let never = || late(&route.name, None);
                let missing = first_of(client.closing(), sleep(None), work, never).await;
                missing.unwrap_or(Some("closed")).or_else(|| progress.has_outage().then_some("failed"))
            }
        };
        let would = if self.decided_otherwise {
            // Without it there is nothing to tell, unless nothing needs it.
            let _ = if may_spend { run.embed(&mut progress).await } else { Ok(()) };
            run.would(&progress)
        } else {
            None
        };
        if let Some(log) = &route.decision_log {
            let about = About { route, request: &self.request, id: &self.id, policy: &self.policy };
            log.write(record::exploration(
                about,
                &Explored {
                    probability: route.runtime.explore,
                    answered_by: self.answered_by,
                    on_path,
                    steps: &progress.path,
                    texts: route.logged(&progress.texts),
                    incomplete,
                    would,
                },
            ));
        }
    }
}

impl Progress {
    /// Whether a call failed for a reason that says nothing of its tier.
    fn has_outage(&self) -> bool {
        let failures = self.path.iter().filter_map(|step| step.failure.as_ref());
        failures.into_iter().any(|failure| matches!(failure, Failure::Call(error) if !error.is_evidence()))
    }
}

impl Run<'_> {
    /// Asks every tier that was not asked yet; why some were left out, if they were.
    async fn ask_the_others(&self, progress: &mut Progress) -> Option<&'static str> {
        let mut missing = None;
        for tier in 0..self.route.tiers.len() {
            if progress.path.iter().any(|step| step.tier == tier) {
                continue;
            }
            let next = Next { tier, judged: None };
            let asked = match self.ask(next, None, Intake::Whole, progress).await {
                Ok(asked) => asked,
                Err(NotAsked::OverBudget(_) | NotAsked::Store(_) | NotAsked::Unbounded(_)) => {
                    missing = Some("budget");
                    continue;
                }
            };
            // Calls of tools are a turn like any other here: nobody waits for an answer.
            let read = |response: &Response| match response.tool_calls.as_slice() {
                [] => self.schema.read(&response.text).map(drop),
                _ => Ok(()),
            };
            let seen = self.observe(&asked.result, &read);
            let accepted = Decision::Accept { score: None };
            progress.record(
                asked.step(tier, accepted, seen.failure, seen.signals, Scores::default()),
                self.route.keeps_texts(),
            );
        }
        missing
    }

    /// Computes the signals that answers still lack: rows for the next fit have all of them. Why some are missing, if they
    /// are for want of money.
    async fn score_all(&self, progress: &mut Progress) -> Option<&'static str> {
        let mut missing = None;
        for index in 0..progress.path.len() {
            let (step, text) = (&progress.path[index], progress.texts.get(index));
            let tier = step.tier;
            let lacks = |name: &str| match step.signal_failures.get(name) {
                // Explorations have a budget of their own.
                Some(failure) => matches!(failure, SignalFailure::Budget),
                None => !step.signals.contains_key(name),
            };
            let scorers: Vec<_> =
                self.scorers_of_tier(tier).into_iter().filter(|scorer| lacks(scorer.name())).collect();
            let text = text.cloned().flatten().filter(|_| step.failure.is_none() && !scorers.is_empty());
            let Some(text) = text else { continue };
            let tool_calls = step.turn.iter().flat_map(Message::tool_calls).cloned().collect();
            let response = Response { tool_calls, ..Response::text(text) };
            let scores = self.score(tier, &response, &scorers, Holdings::new(), progress).await;
            if scores.failures.values().any(|failure| matches!(failure, SignalFailure::Budget)) {
                missing = Some("budget");
            }
            let cost = scores.cost();
            progress.in_flight.reset();
            let step = &mut progress.path[index];
            step.signal_failures.retain(|name, _| !scores.values.contains_key(name));
            step.signal_failures.extend(scores.failures);
            step.signal_latency = step.signal_latency.saturating_add(scores.latency);
            step.signals.extend(scores.values);
            for (name, cost) in scores.costs {
                let known = step.signal_costs.entry(name).or_default();
                *known = known.saturating_add(cost);
            }
            step.signal_calls.extend(scores.calls);
            step.signal_cost = step.signal_cost.saturating_add(cost);
        }
        missing
    }

    /// What the policy would have done, from what all tiers did; `None` if it has none or a tier is missing.
    fn would(&self, progress: &Progress) -> Option<Would> {
        self.policy.hash.as_ref()?;
        let steps = progress.path.as_slice();
        let Choice { plan, predictions } = self.choose_plan(progress.vector.as_deref()).ok()?;
        let mut would = Would {
            plan,
            path: Vec::new(),
            answered_by: None,
            abstained: false,
            cost: progress.embedding_cost(),
        };
        for next in self.stages(plan).ok()? {
            let step = steps.iter().find(|step| step.tier == next.tier)?;
            would.path.push(next.tier);
            would.cost =
                self.signals_read(plan, next).fold(would.cost.saturating_add(step.cost), |sum, name| {
                    sum.saturating_add(step.signal_costs.get(name).copied().unwrap_or_default())
                });
            let seen: Seen<()> =
                Seen { failure: step.failure.clone(), answer: None, signals: step.signals.clone() };
            match self.decide(plan, next, &seen, &predictions) {
                Decision::Escalate(_) => {}
                Decision::Accept { .. } => {
                    would.answered_by = Some(next.tier);
                    break;
                }
                Decision::Abstain { .. } => {
                    would.abstained = true;
                    break;
                }
                _ => break,
            }
        }
        Some(would)
    }
}
