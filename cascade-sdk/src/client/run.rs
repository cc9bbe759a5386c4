//! One request from start to end: choose a plan, ask a tier, observe, decide, go on or stop.
//!
//! What was done so far lives in [`Progress`], outside the future that does it, so that a deadline or a closing client can
//! stop the work at any point and still say what was spent.

use super::budget::Reservation;
use super::retry;
use super::route::{Route, TierSetup, worst_case};
use crate::answer::{AnswerError, AnswerSchema};
use crate::error::{Error, Kind};
use crate::money::{Usage, Usd};
use crate::observe;
use crate::provider::{FinishReason, ModelCall, ProviderError, ProviderErrorKind, Response};
use crate::request::Request;
use crate::routed::{Failure, Step};
use cascade_sdk_core::config::OnExceeded;
use cascade_sdk_core::decide::{Decision, Observation, judge};
use cascade_sdk_core::feature::{self, RequestView};
use cascade_sdk_core::policy::Rules;
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

/// A provider that keeps neither to the time of its call nor reports its overrun is cut off this much later.
const GRACE: Duration = Duration::from_millis(250);

/// One request on its way.
pub(super) struct Run<'r> {
    pub(super) route: &'r Route,
    pub(super) request: &'r Request,
    pub(super) schema: &'r AnswerSchema,
    pub(super) max_retries: u32,
}

/// What happened so far. Tiers are positions in [`Route::tiers`].
#[derive(Default)]
pub(super) struct Progress {
    pub(super) path: Vec<Step<usize>>,
    /// What the stage that is running may have cost already.
    pub(super) in_flight: Usd,
    raw_answer: Option<String>,
}

/// An answer and where it came from.
pub(super) struct Finished<T> {
    pub(super) answer: T,
    pub(super) tier: usize,
    pub(super) plan: usize,
    pub(super) forced: bool,
    pub(super) kept_for_budget: bool,
}

/// A stage to be run.
#[derive(Clone, Copy)]
struct Next {
    tier: usize,
    /// Position of the stage in its plan; `None` where the policy does not judge the answer.
    judged: Option<usize>,
}

/// A tier was asked, whatever came of it.
struct Asked {
    result: Result<Response, ProviderError>,
    usage: Option<Usage>,
    cost: Usd,
    estimated: Usd,
    latency: Duration,
    retries: Vec<Failure>,
}

/// Why a tier could not even be asked.
enum NotAsked {
    /// Its worst case does not fit into the budget.
    OverBudget,
    /// What it would cost is not known.
    Unbounded(String),
}

impl Run<'_> {
    /// Runs the request. `read` turns a model's text into the answer.
    pub(super) async fn work<T>(
        &self,
        progress: &mut Progress,
        read: impl Fn(&str) -> Result<T, AnswerError>,
    ) -> Result<Finished<T>, Error> {
        let rules = &self.route.rules;
        let mut scratch = feature::Scratch::default();
        let (plan, forced) = match &self.request.tier {
            Some(_) => (0, true),
            None => (self.choose_plan(&mut scratch)?, false),
        };
        let mut queue = self.stages(plan)?;
        queue.reverse();
        // The newest answer that the policy did not keep, for a budget that has no room for a better one.
        let mut at_hand = None;
        let mut falling_back = false;
        while let Some(next) = queue.pop() {
            let setup = &self.route.tiers[next.tier];
            let asked = match self.ask(setup, progress).await {
                Ok(asked) => asked,
                Err(NotAsked::Unbounded(message)) => return Err(Error::new(Kind::Config, message)),
                Err(NotAsked::OverBudget) => {
                    if let Some((answer, tier)) = at_hand.take_if(|_| self.may_fall_back()) {
                        return Ok(Finished { answer, tier, plan, forced, kept_for_budget: true });
                    }
                    if !falling_back && !forced && self.may_fall_back() {
                        falling_back = true;
                        queue = self.cheaper_tiers(progress);
                    }
                    if queue.is_empty() || !falling_back {
                        return Err(self.over_budget());
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
            let (failure, answer, signals) = self.observe(&asked.result, &read);
            let values = in_order(rules, &signals);
            let seen = Observation {
                failed: failure.is_some(),
                signals: &values,
                predictions: Some(scratch.predictions()),
            };
            let decision = match next.judged {
                Some(stage) => judge(rules, plan, stage, &seen),
                None => judge(&Rules::default(), 0, 0, &seen),
            };
            let signal_cost = self.signal_cost(plan, next, &asked.result);
            progress.record(next.tier, asked, decision, failure, signals, signal_cost);
            self.trace(progress);
            match (decision, answer) {
                (Decision::Accept { .. }, Some(answer)) => {
                    return Ok(Finished { answer, tier: next.tier, plan, forced, kept_for_budget: false });
                }
                (Decision::Escalate(_), answer) => {
                    if let Some(answer) = answer {
                        at_hand = Some((answer, next.tier));
                    }
                }
                (_, _) => break,
            }
        }
        Err(self.no_answer(progress))
    }

    fn choose_plan(&self, scratch: &mut feature::Scratch) -> Result<usize, Error> {
        if self.route.rules.router.is_none() {
            return Ok(0);
        }
        let text = self.request.routing_text();
        let features: Vec<(&str, f64)> =
            self.request.features.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        let tags: Vec<(&str, &str)> =
            self.request.tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let view = RequestView { text: &text, features: &features, tags: &tags };
        feature::choose_plan(&self.route.rules, &view, scratch).map_err(|missing| {
            Error::new(
                Kind::Config,
                format!("route `{}`: {missing}: pass it with the request", self.route.name),
            )
        })
    }

    fn stages(&self, plan: usize) -> Result<Vec<Next>, Error> {
        let unknown = |tier: &str| {
            let known: Vec<_> = self.route.tiers.iter().map(|setup| setup.tier.name.as_str()).collect();
            let message =
                format!("route `{}` has no tier `{tier}`; it has {}", self.route.name, known.join(", "));
            Error::new(Kind::Config, message)
        };
        if let Some(name) = &self.request.tier {
            let tier = self.route.tiers.iter().position(|setup| setup.tier.name == *name);
            return Ok(vec![Next { tier: tier.ok_or_else(|| unknown(name))?, judged: None }]);
        }
        let stages = self.route.rules.plans.get(plan).map_or(&[][..], |plan| &plan.stages);
        let stages = stages.iter().enumerate();
        Ok(stages
            .map(|(index, stage)| Next { tier: self.route.tier_of(stage), judged: Some(index) })
            .collect())
    }

    /// The answer and its signals, or why there is none.
    fn observe<T>(
        &self,
        result: &Result<Response, ProviderError>,
        read: &impl Fn(&str) -> Result<T, AnswerError>,
    ) -> (Option<Failure>, Option<T>, BTreeMap<String, f64>) {
        let failed = |failure| (Some(failure), None, BTreeMap::new());
        match result {
            Err(error) => failed(Failure::Call(error.clone())),
            Ok(response) if response.finish == FinishReason::Refused => failed(Failure::Refused),
            Ok(response) => match read(&response.text) {
                Ok(answer) => (None, Some(answer), observe::signals(response, self.schema)),
                Err(error) => failed(Failure::Answer(error)),
            },
        }
    }

    /// What the signals cost that the stage's rule reads: the same rule as [`cascade_sdk_core::replay`] charges by.
    fn signal_cost(&self, plan: usize, next: Next, result: &Result<Response, ProviderError>) -> Usd {
        let rules = &self.route.rules;
        let stage = next.judged.and_then(|stage| rules.plans.get(plan)?.stages.get(stage));
        let (Some(rule), Ok(response)) = (stage.and_then(|stage| stage.rule), result) else {
            return Usd::ZERO;
        };
        let costs = rules
            .signals_read(rule)
            .filter_map(|signal| response.signal_costs.get(rules.signals.get(signal)?).copied());
        costs.fold(Usd::ZERO, Usd::saturating_add)
    }

    /// Asks one tier, again where that may help.
    async fn ask(&self, setup: &TierSetup, progress: &mut Progress) -> Result<Asked, NotAsked> {
        let started = Instant::now();
        let call = self.route.call(setup, self.request, self.schema);
        let worst = worst_case(setup, &call);
        let mut asked = Asked {
            result: Err(ProviderError::new(ProviderErrorKind::Connection, "not sent")),
            usage: None,
            cost: Usd::ZERO,
            estimated: Usd::ZERO,
            latency: Duration::ZERO,
            retries: Vec::new(),
        };
        loop {
            let mut reservation = match self.reserve(setup, worst.as_ref()) {
                Ok(reservation) => reservation,
                Err(refused) if asked.retries.is_empty() => return Err(refused),
                // No room for another attempt: the tier has failed.
                Err(_) => {
                    asked.retries.pop();
                    break;
                }
            };
            progress.in_flight = asked.cost.saturating_add(worst.clone().unwrap_or_default());
            if let Some(reservation) = &mut reservation {
                reservation.mark_sent();
            }
            let result = complete(setup, &call).await;
            let bill = bill(setup, &call, &result);
            if let Some(reservation) = reservation {
                settle(reservation, bill.cost, &setup.tier.name);
            }
            asked.cost = asked.cost.saturating_add(bill.cost);
            asked.estimated = asked.estimated.saturating_add(bill.estimated);
            asked.usage = bill.usage;
            asked.latency = bill.latency.unwrap_or_else(|| started.elapsed());
            progress.in_flight = asked.cost;
            let retries = u32::try_from(asked.retries.len()).unwrap_or(u32::MAX);
            let wait = match &result {
                Err(error) => retry::wait(error, retries, self.max_retries, retry::random())
                    .map(|wait| (wait, error.clone())),
                Ok(_) => None,
            };
            asked.result = result;
            let Some((wait, error)) = wait else { break };
            asked.retries.push(Failure::Call(error));
            tokio::time::sleep(wait).await;
        }
        Ok(asked)
    }

    fn reserve(
        &self,
        setup: &TierSetup,
        worst: Result<&Usd, &String>,
    ) -> Result<Option<Reservation>, NotAsked> {
        let Some(budget) = self.route.budget.as_ref().filter(|_| !setup.capabilities.free) else {
            return Ok(None);
        };
        let worst = worst.map_err(|message| NotAsked::Unbounded(message.clone()))?;
        budget.ledger.reserve(*worst, SystemTime::now()).map(Some).ok_or(NotAsked::OverBudget)
    }

    fn may_fall_back(&self) -> bool {
        self.route.budget.as_ref().is_some_and(|budget| budget.on_exceeded == OnExceeded::Cheapest)
    }

    /// Tiers that were not asked yet, the cheapest last, so that it is taken first.
    fn cheaper_tiers(&self, progress: &Progress) -> Vec<Next> {
        let not_asked =
            (0..self.route.tiers.len()).filter(|tier| progress.path.iter().all(|step| step.tier != *tier));
        let mut priced: Vec<(Usd, usize)> = not_asked
            .filter_map(|tier| {
                let setup = &self.route.tiers[tier];
                let call = self.route.call(setup, self.request, self.schema);
                Some((worst_case(setup, &call).ok()?, tier))
            })
            .collect();
        priced.sort_by(|a, b| b.cmp(a));
        priced.into_iter().map(|(_, tier)| Next { tier, judged: None }).collect()
    }

    fn over_budget(&self) -> Error {
        let (name, left) = self.route.budget.as_ref().map_or(("", None), |budget| {
            (budget.name.as_str(), Some(budget.ledger.time_left(SystemTime::now())))
        });
        let message = format!("budget `{name}` has no room for this request to route `{}`", self.route.name);
        Error::new(Kind::Budget, message).with_retry_after(left)
    }

    /// The error of a request whose last tier failed.
    fn no_answer(&self, progress: &mut Progress) -> Error {
        let last = progress.path.last();
        let tier = last.and_then(|step| self.route.tiers.get(step.tier)).map_or("", |setup| &setup.tier.name);
        let (kind, message, retry_after) = match last.and_then(|step| step.failure.as_ref()) {
            Some(failure @ Failure::Call(error)) => {
                let kind = if failure.is_timeout() { Kind::Timeout } else { Kind::Provider };
                (kind, error.to_string(), error.retry_after())
            }
            Some(failure) => (Kind::Answer, failure.to_string(), None),
            None => {
                let message = "the policy escalates from its last stage: run `cascade fit` again".to_owned();
                (Kind::Config, message, None)
            }
        };
        let error = Error::new(kind, format!("route `{}`, tier `{tier}`: {message}", self.route.name));
        let raw = progress.raw_answer.take().filter(|_| kind == Kind::Answer);
        error.with_retry_after(retry_after).with_raw_answer(raw)
    }

    fn trace(&self, progress: &Progress) {
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
    fn record(
        &mut self,
        tier: usize,
        asked: Asked,
        decision: Decision,
        failure: Option<Failure>,
        signals: BTreeMap<String, f64>,
        signal_cost: Usd,
    ) {
        let (text, served_model) = match asked.result {
            Ok(response) => (Some(response.text), response.served_model),
            Err(_) => (None, None),
        };
        self.raw_answer = text;
        self.in_flight = Usd::ZERO;
        self.path.push(Step {
            tier,
            decision,
            failure,
            signals,
            usage: asked.usage,
            cost: asked.cost,
            signal_cost,
            estimated: asked.estimated,
            latency: asked.latency,
            retries: asked.retries,
            served_model,
        });
    }
}

/// Signal values in the order of [`Rules::signals`], NaN where missing.
fn in_order(rules: &Rules, signals: &BTreeMap<String, f64>) -> Vec<f64> {
    rules.signals.iter().map(|name| signals.get(name).copied().unwrap_or(f64::NAN)).collect()
}

async fn complete(setup: &TierSetup, call: &ModelCall<'_>) -> Result<Response, ProviderError> {
    let limit = call.timeout.saturating_add(GRACE);
    match tokio::time::timeout(limit, setup.provider.complete(call)).await {
        Ok(result) => result,
        Err(_) => Err(ProviderError::new(
            ProviderErrorKind::Timeout,
            format!("no answer within {:?}", call.timeout),
        )
        .after_sending()),
    }
}

/// What one attempt cost.
struct Bill {
    cost: Usd,
    /// The part of `cost` that is an upper bound, because the provider did not say.
    estimated: Usd,
    usage: Option<Usage>,
    latency: Option<Duration>,
}

fn bill(setup: &TierSetup, call: &ModelCall<'_>, result: &Result<Response, ProviderError>) -> Bill {
    let price = &setup.tier.price;
    // A price times a count beyond all bounds is charged as the largest amount there is.
    let known = |cost, usage, latency| Bill { cost, estimated: Usd::ZERO, usage, latency };
    let guess = |output: u64, latency| {
        let input = call.input_bound().or(setup.tier.max_input_tokens).unwrap_or(0);
        let cost = price.worst_case(input, call.max_output_tokens.unwrap_or(output)).unwrap_or(Usd::MAX);
        Bill { cost, estimated: cost, usage: None, latency }
    };
    match result {
        Ok(response) => match (response.cost, response.usage) {
            (Some(cost), usage) => known(cost, usage, response.latency),
            (None, Some(usage)) => {
                known(price.cost(&usage).unwrap_or(Usd::MAX), Some(usage), response.latency)
            }
            // A token has at least one byte.
            (None, None) => guess(u64::try_from(response.text.len()).unwrap_or(u64::MAX), response.latency),
        },
        Err(error) => match error.cost() {
            Some(cost) => known(cost, None, error.latency),
            None if error.may_have_been_charged() => guess(0, error.latency),
            None => known(Usd::ZERO, None, error.latency),
        },
    }
}

fn settle(reservation: Reservation, cost: Usd, tier: &str) {
    if cost > reservation.amount() {
        tracing::warn!(
            target: "cascade_sdk",
            tier,
            reserved_usd = %reservation.amount(),
            cost_usd = %cost,
            "the provider reports more usage than the request allows"
        );
    }
    reservation.settle(cost);
}
