//! One request from start to end: choose a plan, ask a tier, observe, decide, go on or stop.
//!
//! What was done so far lives in [`Progress`], outside the future that does it, so that a deadline or a closing client can
//! stop the work at any point and still say what was spent.
//!
//! | file | what happens there |
//! |---|---|
//! | `embed` | the embedding that the policy's router reads |
//! | `plan` | which tiers are asked, in which order |
//! | `ask` | one tier, again where that may help, under its budget |
//! | `receive` | one attempt, whose answer comes in whole or piece by piece |
//! | `room` | money for the next stage, before an answer is given up |
//! | `outlet` | what a streamed request says before it is over |
//! | `bill` | what an attempt cost |
//! | `score` | signals that take more than the answer: samples, judges, verifiers |
//! | `weigh` | what came back, and what the policy makes of it |
//! | `end` | the error of a request that has no answer |
//! | `explore` | the tiers that were not asked, off the caller's path |

mod ask;
mod bill;
mod embed;
mod end;
pub(super) mod explore;
mod meter;
mod outlet;
mod plan;
mod receive;
mod room;
mod score;
mod weigh;

use super::budget::BudgetSetup;
use super::circuit::Deadline;
use super::policy::ActivePolicy;
use super::route::Route;
use crate::answer::{AnswerError, AnswerSchema};
use crate::budget::Ledger;
use crate::embedding::EmbeddingUse;
use crate::error::{Error, Kind};
use crate::money::Usd;
use crate::provider::{ProviderErrorKind, Response};
use crate::request::Request;
use crate::routed::{Failure, Step};
use ask::NotAsked;
use cascade_sdk_core::config::EarlyEscalation;
use cascade_sdk_core::decide::Decision;
use cascade_sdk_core::early::Watch;
use cascade_sdk_core::feature::Predictions;
use cascade_sdk_core::policy::Rules;
use cascade_sdk_core::signal::ValueTokens;
use embed::NotEmbedded;
use meter::Meter;
use plan::Choice;
use receive::{Intake, OnceRefused, Refused, Watched};
use room::Room;
use score::Scores;

pub(super) use outlet::{Event, Outlet};

/// One request on its way.
pub(super) struct Run<'r> {
    pub(super) route: &'r Route,
    pub(super) policy: &'r ActivePolicy,
    /// The policy's rules at the operating point that it runs at.
    pub(super) rules: &'r Rules,
    pub(super) request: &'r Request,
    /// The request's id, by which mixtures draw.
    pub(super) id: &'r str,
    pub(super) schema: &'r AnswerSchema,
    pub(super) max_retries: u32,
    /// When the caller stops waiting.
    pub(super) deadline: Option<Deadline>,
    /// The budget that pays for its calls.
    pub(super) budget: Option<&'r BudgetSetup>,
    /// The ledgers that its calls must fit into.
    pub(super) ledgers: &'r [Ledger],
    /// Where a streamed request says what happens.
    pub(super) outlet: Option<&'r Outlet>,
    /// Whether the request is one of those that are explored, whose answers are taken in to their end.
    pub(super) explored: bool,
}

/// What happened so far. Tiers are positions in [`Route::tiers`].
#[derive(Default)]
pub(super) struct Progress {
    pub(super) path: Vec<Step<usize>>,
    /// What the stage that is running may have cost already.
    pub(super) in_flight: Meter,
    /// The embedding that was made, or why there is none.
    pub(super) embedding: Option<Box<EmbeddingUse>>,
    /// Its vector.
    pub(super) vector: Option<Vec<f32>>,
    /// The plan that was chosen, once it is.
    pub(super) plan: Option<usize>,
    /// The texts of the answers, where the decision log holds them.
    pub(super) texts: Vec<Option<String>>,
    raw_answer: Option<String>,
}

/// An answer and where it came from.
pub(super) struct Finished<T> {
    pub(super) answer: T,
    pub(super) tier: usize,
    pub(super) plan: usize,
    pub(super) forced: bool,
    pub(super) kept_for_budget: bool,
    /// The tier that the policy came to, for want of better answers rather than because calls failed or money was short: where
    /// the next turn of a session may start. `None` if the policy did not decide.
    pub(super) reached: Option<usize>,
}

/// A stage to be run.
#[derive(Clone, Copy)]
struct Next {
    tier: usize,
    /// Position of the stage in its plan; `None` where the policy does not judge the answer.
    judged: Option<usize>,
}

impl Run<'_> {
    /// Runs the request. `read` turns what a model answered into the answer.
    pub(super) async fn work<T>(
        &self,
        progress: &mut Progress,
        read: impl Fn(&Response) -> Result<T, AnswerError>,
    ) -> Result<Finished<T>, Error> {
        let forced = self.request.tier.is_some();
        let embedded = if forced { Ok(()) } else { self.embed(progress).await };
        let decides = embedded.is_ok() && !forced;
        let mut falling_back = false;
        let (Choice { plan, predictions }, mut queue) = match embedded {
            Ok(()) => {
                let vector = progress.vector.as_deref();
                let choice = if forced { Choice::default() } else { self.choose_plan(vector)? };
                progress.plan = (!forced).then_some(choice.plan);
                let mut queue = self.stages(choice.plan)?;
                queue.reverse();
                (choice, queue)
            }
            Err(NotEmbedded::Failed(failure)) => (Choice::default(), vec![self.without_embedding(&failure)?]),
            Err(NotEmbedded::Store(error)) => return Err(self.no_ledger(&error)),
            Err(NotEmbedded::OverBudget(full)) if !self.may_fall_back() => return Err(self.over_budget(full)),
            Err(NotEmbedded::OverBudget(_)) => {
                falling_back = true;
                (Choice::default(), self.cheaper_tiers(progress))
            }
        };
        // The newest answer that the policy did not keep, for a budget that has no room for a better one.
        let mut at_hand = None;
        // Money that was set aside for the next stage already.
        let mut set_aside = None;
        while let Some(next) = queue.pop() {
            let setup = &self.route.tiers[next.tier];
            let scorers = self.scorers(plan, next);
            let room = self.room_after(plan, &queue);
            let stage = async {
                let room::Set { call, signals } = match set_aside.take() {
                    Some(set_aside) => set_aside,
                    None => room::Set { call: None, signals: self.hold(next.tier, &scorers).await? },
                };
                let intake = self.intake(plan, next, &predictions, room.as_ref());
                let asked = self.ask(next, call, intake, progress).await?;
                Ok((asked, signals))
            };
            let (asked, holdings) = match stage.await {
                Ok(asked) => asked,
                Err(NotAsked::Unbounded(message)) => return Err(Error::new(Kind::Config, message)),
                Err(NotAsked::Store(error)) => return Err(self.no_ledger(&error)),
                Err(NotAsked::OverBudget(full)) => {
                    if let Some((answer, tier, text)) = at_hand.take_if(|_| self.may_fall_back()) {
                        self.show(text).await;
                        return Ok(Finished {
                            answer,
                            tier,
                            plan,
                            forced,
                            kept_for_budget: true,
                            reached: None,
                        });
                    }
                    if !falling_back && !forced && self.may_fall_back() {
                        falling_back = true;
                        queue = self.cheaper_tiers(progress);
                    }
                    if queue.is_empty() || !falling_back {
                        return Err(self.over_budget(full));
                    }
                    continue;
                }
            };
            if let Err(error) = &asked.result
                && error.kind() == ProviderErrorKind::Unsupported
            {
                // Not a failure of the tier: it was never asked, and another tier's answer would hide that.
                return Err(Error::new(Kind::Provider, format!("tier `{}`: {error}", setup.tier.name)));
            }
            set_aside = room.and_then(|room| room.take());
            let (seen, decision, scores) = if let Some(Refused { why, given_up_after }) = asked.refused {
                let whole = given_up_after.is_none();
                let seen = if whole { self.observe(&asked.result, &read) } else { Self::unread() };
                let decision = match &seen.failure {
                    Some(_) => self.decide(plan, next, &seen, &predictions),
                    None => Decision::Escalate(why),
                };
                (seen, decision, Scores::default())
            } else {
                let mut seen = self.observe(&asked.result, &read);
                let mut scores = match &asked.result {
                    Ok(response) if seen.failure.is_none() => {
                        self.score(next.tier, response, &scorers, holdings, progress).await
                    }
                    _ => Scores::default(),
                };
                seen.signals.append(&mut scores.values);
                let decision = self.decide(plan, next, &seen, &predictions);
                scores.costs.extend(self.known_signal_costs(plan, next, &asked.result));
                (seen, decision, scores)
            };
            let (answer, shown) = (seen.answer, asked.shown);
            let step = asked.step(next.tier, decision, seen.failure, seen.signals, scores);
            progress.record(step, self.route.keeps_texts());
            self.after_stage(progress);
            match (decision, answer) {
                (Decision::Accept { .. }, Some(answer)) => {
                    if !shown {
                        self.show(progress.raw_answer.take()).await;
                    }
                    let reached = progress.reached().filter(|_| decides && !falling_back);
                    let tier = next.tier;
                    return Ok(Finished { answer, tier, plan, forced, kept_for_budget: false, reached });
                }
                (Decision::Escalate(_), answer) => {
                    if let Some(answer) = answer {
                        at_hand = Some((answer, next.tier, progress.raw_answer.take()));
                    }
                }
                (Decision::Abstain { score, below }, _) => {
                    return Err(self.abstained(next.tier, score, below));
                }
                (_, _) => match self.stand_in(progress, shown, forced) {
                    Some(next) => {
                        if let Some(step) = progress.path.last_mut() {
                            step.failover = true;
                        }
                        queue = vec![next];
                    }
                    None => break,
                },
            }
        }
        Err(self.no_answer(progress))
    }

    /// Says which tier is asked now, and why.
    fn announce(&self, progress: &Progress, next: Next) {
        let Some(outlet) = self.outlet else { return };
        let to = next.tier;
        outlet.put(match progress.path.last() {
            None => Event::Started { tier: to },
            Some(step) => match step.decision {
                _ if step.failover => Event::FailedOver { from: step.tier, to },
                Decision::Escalate(why) => Event::Escalated { from: step.tier, to, why },
                _ => return,
            },
        });
    }

    /// Only an answer that nothing can take back is shown while it arrives; one that the policy may refuse can be watched.
    fn intake<'a>(
        &'a self,
        plan: usize,
        next: Next,
        predictions: &'a Predictions,
        room: Option<&'a Room<'a>>,
    ) -> Intake<'a> {
        let judged = self.may_be_refused(plan, next);
        match (self.outlet, next.judged) {
            (Some(outlet), _) if !judged => Intake::Shown(outlet),
            (_, Some(stage)) if judged => self
                .watched(plan, stage, next, predictions, room)
                .map_or(Intake::Whole, |watched| Intake::Watched(Box::new(watched))),
            _ => Intake::Whole,
        }
    }

    /// How an answer is watched that the policy may refuse; `None` where it is not: where the provider has signals of its own,
    /// unless it replays what the policy was fitted on, and where a budget may need the answer because there is no room for a
    /// better one.
    fn watched<'a>(
        &'a self,
        plan: usize,
        stage: usize,
        next: Next,
        predictions: &'a Predictions,
        room: Option<&'a Room<'a>>,
    ) -> Option<Watched<'a>> {
        let setup = &self.route.tiers[next.tier];
        let capabilities = setup.capabilities;
        let fitted = self.rules.plan(plan).is_some_and(|plan| plan.stops.contains_key(&stage));
        let comes_in_tokens = match (capabilities.own_signals, capabilities.replays) {
            (false, _) => true,
            // A log does not say which of a typed answer's tokens are the value's.
            (true, replays) => replays && fitted && self.schema.is_text(),
        };
        if self.route.runtime.early_escalation == EarlyEscalation::Off
            || !capabilities.streaming
            || !comes_in_tokens
        {
            return None;
        }
        let once_refused = match room {
            // The bounds alone lead where the whole answer leads.
            _ if self.explored && !fitted => return None,
            _ if self.explored => OnceRefused::TakeIn,
            Some(room) => OnceRefused::GiveUpFor(room),
            None if self.may_fall_back() => return None,
            None => OnceRefused::GiveUp,
        };
        let value = (!self.schema.is_text()).then(|| ValueTokens::new(self.schema.is_wrapped()));
        let watch = Watch::new(self.rules, plan, stage, Some(predictions), setup.tier.max_output_tokens)?;
        Some(Watched { watch, value, once_refused })
    }

    /// Where the room for the next stage is found that an answer may be given up for, in a budget that falls back on answers at
    /// hand. If the stage is not the last one that can be asked, a later one may find no room, and then the answer is wanted.
    fn room_after(&self, plan: usize, queue: &[Next]) -> Option<Room<'_>> {
        let [last] = queue else { return None };
        (self.may_fall_back() && self.route.runtime.failover.is_none()).then(|| Room::new(self, plan, *last))
    }

    /// The tier that is asked where the call of the last stage failed, unless any of its answer was shown.
    fn stand_in(&self, progress: &Progress, shown: bool, forced: bool) -> Option<Next> {
        let name = self.route.runtime.failover.as_ref().filter(|_| !shown && !forced)?;
        let tier = self.route.tiers.iter().position(|setup| setup.tier.name == *name)?;
        let failed = matches!(progress.path.last()?.failure, Some(Failure::Call(_)));
        let asked = progress.path.iter().any(|step| step.tier == tier);
        (failed && !asked).then_some(Next { tier, judged: None })
    }

    async fn show(&self, text: Option<String>) {
        if let (Some(outlet), Some(text)) = (self.outlet, text) {
            outlet.show(text).await;
        }
    }

    /// What is told of every stage that ran.
    fn after_stage(&self, progress: &Progress) {
        if let Some(step) = progress.path.last() {
            tracing::debug!(
                target: "cascade_sdk",
                route = %self.route.name,
                tier = %self.route.tiers[step.tier].tier.name,
                decision = ?step.decision,
                failure = step.failure.as_ref().map(Failure::log_word),
                cost_usd = %step.total_cost(),
                "stage finished"
            );
        }
    }
}

impl Progress {
    /// What the embedding cost.
    pub(super) fn embedding_cost(&self) -> Usd {
        self.embedding.as_ref().map_or(Usd::ZERO, |embedding| embedding.cost)
    }

    /// The last tier that was asked for its own sake: what stands in for a failed call is not.
    fn reached(&self) -> Option<usize> {
        let last = self.path.iter().enumerate().rev();
        let by_choice = last.filter(|(index, _)| *index == 0 || !self.path[index - 1].failover);
        by_choice.map(|(_, step)| step.tier).next()
    }

    /// Notes a stage that ran, and the text it answered with.
    fn record(&mut self, (step, text): (Step<usize>, Option<String>), keep_text: bool) {
        if keep_text {
            self.texts.push(text.clone());
        }
        self.raw_answer = text;
        self.in_flight.reset();
        self.path.push(step);
    }
}
