//! The client: routes ready to answer requests.

mod account;
mod budget;
mod builder;
mod call;
mod circuit;
mod connections;
mod embeddings;
mod log_file;
mod policy;
mod policy_source;
mod record;
mod record_result;
pub(crate) mod retry;
mod route;
mod run;
mod spec;
mod stream;
mod telemetry;
mod vector_file;

pub use builder::Builder;
pub use call::{Answer, Call, Turn};
pub use policy::PolicySource;
pub use spec::{ClientSpec, RouteSpec};
pub use stream::{AnswerStream, StreamEvent};

use crate::answer::{AnswerError, AnswerSchema};
use crate::error::{Error, Kind};
use crate::eval_prompts::{self, EvalPrompt};
use crate::provider::Response;
use crate::request::{IntoRequest, Request};
use crate::routed::{Paced, Routed, Step, TierName};
use crate::session::Session;
use account::Account;
use circuit::Deadline;
use log_file::LogFile;
use policy::{ActivePolicy, CheaperPoint};
use route::{AnswerForm, Route};
use run::explore::Exploration;
use run::{Finished, Outlet, Progress, Run};
use std::fmt;
use std::future::poll_fn;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};

/// Applies fitted policies to calls of language models. Cheap to clone; every clone shares budgets and connections.
///
/// Applications get one through `#[client]`, with a method for each route. It needs a Tokio runtime with its timer on.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    package: String,
    routes: Vec<Route>,
    /// The builder's own, instead of the routes'.
    max_retries: Option<u32>,
    /// True once the client is closed.
    closed: watch::Sender<bool>,
    /// Requests without an id of their own are named by this and a count.
    id_prefix: u64,
    id_count: AtomicU64,
    /// One permit for each exploration under way.
    explorations: Semaphore,
}

impl Client {
    /// The client that `#[client]` describes, with keys from the environment. `CASCADE_BASE_URL` replaces the base URL of
    /// every provider; `CASCADE_REPLAY` answers from the routes' own logs instead (`1`), or from the log at that path.
    ///
    /// # Errors
    /// [`Error::is_config`], with every mistake that was found: a missing key, an unusable URL, a policy that does not
    /// belong to its route or reads a signal that its tier cannot give.
    pub fn from_spec_env(spec: &'static ClientSpec) -> Result<Self, Error> {
        Builder::new(spec).overrides_from_env().build()
    }

    /// Calls a route by its position in [`ClientSpec::routes`].
    pub fn call<Tier: TierName>(&self, route: usize, request: impl IntoRequest) -> Call<'_, Tier> {
        Call::new(self, route, request.into_request())
    }

    /// Writes requests to a file of prompts that `cascade collect` reads as it is: one JSON object a line, with the id, messages,
    /// tags, features and conversation of the request, and the reference and grader of an [`EvalPrompt`]. Returns how many there
    /// are.
    ///
    /// It needs no client, no key and no network. A request without an id gets one made of what it asks, which is the same in
    /// every run. The route's own system prompt is left out, since `collect` takes it from the configuration as the client does.
    /// A file that is there is left alone if it holds just this, and never overwritten otherwise.
    ///
    /// # Errors
    /// [`Error::is_config`], with every request that `collect` could not ask as the client does: an id used twice, tools,
    /// images, an empty text; or why the file cannot be written. No message quotes a prompt.
    pub fn write_eval_prompts<P: Into<EvalPrompt>>(
        path: impl AsRef<Path>,
        requests: impl IntoIterator<Item = P>,
    ) -> Result<usize, Error> {
        eval_prompts::write(path.as_ref(), requests)
    }

    /// Stops taking requests; those under way end at once with [`Error::is_cancelled`], and what they spent is accounted
    /// for.
    pub fn close(&self) {
        self.inner.closed.send_replace(true);
    }

    /// Notes in the decision log how good the answer to a request was: `score` is its quality, from 0 to 1. The last score of
    /// a request counts.
    ///
    /// # Errors
    /// [`Error::is_config`] if no route has a decision log, or the score is out of range.
    pub fn feedback(&self, request_id: &str, score: f64) -> Result<(), Error> {
        self.note(request_id, None, score)
    }

    /// The same for the answer of another tier, to a request that was explored.
    ///
    /// # Errors
    /// As [`Client::feedback`].
    pub fn feedback_for<Tier: TierName>(
        &self,
        request_id: &str,
        tier: Tier,
        score: f64,
    ) -> Result<(), Error> {
        self.note(request_id, Some(tier.name()), score)
    }

    fn note(&self, request_id: &str, tier: Option<&str>, score: f64) -> Result<(), Error> {
        if !(0.0..=1.0).contains(&score) {
            return Err(Error::new(
                Kind::Config,
                format!("a score lies between 0 and 1, which {score} does not"),
            ));
        }
        let logs = self.logs();
        if logs.is_empty() {
            let message = "there is no decision log for the feedback: set `decision_log` for a route";
            return Err(Error::new(Kind::Config, message));
        }
        for log in logs {
            log.write(record::feedback(request_id, tier, score));
        }
        Ok(())
    }

    /// Waits until every row so far is in the decision logs.
    pub async fn flush_decision_log(&self) {
        for log in self.logs() {
            log.flush().await;
        }
    }

    /// Each log once, whichever routes share it.
    fn logs(&self) -> Vec<&Arc<LogFile>> {
        let mut logs: Vec<&Arc<LogFile>> = Vec::new();
        for log in self.inner.routes.iter().filter_map(|route| route.decision_log.as_ref()) {
            if logs.iter().all(|known| !Arc::ptr_eq(known, log)) {
                logs.push(log);
            }
        }
        logs
    }

    /// Where the policy of a route comes from; `None` if there is no such route. A canary beside it does not count.
    pub fn policy_source(&self, route: &str) -> Option<PolicySource> {
        Some(self.named(route)?.policies.main().source)
    }

    /// Why the policy in a route's `policy_file` does not decide; `None` if it does, or there is none.
    pub fn policy_rejection(&self, route: &str) -> Option<String> {
        self.named(route)?.policies.rejection()
    }

    /// Looks now for newer policies in the files that routes name. A file that is gone gives the word back to the policy that
    /// was compiled in.
    ///
    /// # Errors
    /// [`Error::is_config`] with the reason for each policy that was rejected; for its route, what decided before goes on
    /// deciding.
    pub fn reload_policies(&self) -> Result<(), Error> {
        let reasons: Vec<String> = self
            .inner
            .routes
            .iter()
            .filter_map(|route| Some(format!("route `{}`: {}", route.name, route.reload(true).err()?)))
            .collect();
        if reasons.is_empty() { Ok(()) } else { Err(Error::new(Kind::Config, reasons.join("\n"))) }
    }

    fn named(&self, route: &str) -> Option<&Route> {
        self.inner.routes.iter().find(|known| known.name == route)
    }

    fn route_name(&self, route: usize) -> &str {
        self.inner.routes.get(route).map_or("", |route| &route.name)
    }

    fn route(&self, route: usize) -> Result<&Route, Error> {
        self.inner
            .routes
            .get(route)
            .ok_or_else(|| Error::new(Kind::Config, format!("there is no route {route}")))
    }

    fn form<T: Answer>(&self, route: usize) -> Result<Arc<AnswerForm>, Error> {
        self.route(route)?.form::<T>()
    }

    async fn run<T: Send, Tier: TierName>(
        &self,
        index: usize,
        request: Request,
        schema: &AnswerSchema,
        read: impl Fn(&Response) -> Result<T, AnswerError> + Send + Sync,
        outlet: Option<&Outlet>,
    ) -> Result<Routed<T, Tier>, Error> {
        let route = self.route(index)?;
        let request_id = request.id.clone().unwrap_or_else(|| self.next_id());
        let mut request = request;
        let mut forced = request.tier.as_ref().map(|_| "call");
        if let Some(tier) = &route.forced_tier {
            request.tier = Some(tier.clone());
            forced = Some("environment");
        } else if forced.is_none() {
            request.tier.clone_from(&route.shadow_tier);
        }
        let request = request;
        let key = request.session.as_ref().map_or(request_id.as_str(), Session::id);
        if route.policies.is_due() {
            self.look_for_policy(index);
        }
        let policy = route.policy(key);
        let mut account = Account {
            package: &self.inner.package,
            route,
            request: &request,
            id: &request_id,
            policy: &policy,
            forced,
            paced: None,
            explored: account::is_explored(route, &request_id),
            progress: Progress::default(),
            started: Instant::now(),
            told: false,
        };
        let result = if request.messages.is_empty() {
            Err(Error::new(Kind::Config, format!("the request to route `{}` has no message", route.name)))
        } else if let Err(error) = route.check(&request, schema) {
            Err(error)
        } else {
            let max_retries = self.inner.max_retries.unwrap_or(route.runtime.max_retries);
            let deadline = request.deadline.or(route.runtime.deadline);
            let late = || late(&route.name, deadline);
            let explored = account.explored;
            let ends = deadline
                .and_then(|length| Some(Deadline { at: account.started.checked_add(length)?, length }));
            let (progress, paced) = (&mut account.progress, &mut account.paced);
            let work = async {
                let ledgers = route.ledgers(&request)?;
                let rules = match route.cheaper_point(&policy, &ledgers).await {
                    Some(point) => {
                        let CheaperPoint { index, shadow_price, .. } = *point;
                        *paced = Some(Paced { point: index, shadow_price });
                        &point.rules
                    }
                    None => &policy.rules,
                };
                let run = Run {
                    route,
                    policy: &policy,
                    rules,
                    request: &request,
                    id: &request_id,
                    schema,
                    max_retries,
                    deadline: ends,
                    budget: route.budget.as_ref(),
                    ledgers: &ledgers,
                    outlet,
                    explored,
                };
                run.work(progress, read).await
            };
            first_of(self.closing(), sleep(deadline), work, late).await
        };
        match &result {
            Ok(finished) => account.answered(finished.tier, finished.kept_for_budget),
            Err(error) => account.failed(error),
        }
        let paced = account.paced;
        let explored = account.explored;
        let progress = std::mem::take(&mut account.progress);
        drop(account);
        if explored {
            let exploration = Exploration {
                client: self.clone(),
                route: index,
                request: request.clone(),
                id: request_id.clone(),
                schema: schema.clone(),
                policy: Arc::clone(&policy),
                answered_by: result.as_ref().ok().map(|finished| finished.tier),
                steps: progress.path.clone(),
                embedding: progress.embedding.clone(),
                vector: progress.vector.clone(),
                texts: progress.texts.clone(),
                decided_otherwise: request.tier.is_some() || paced.is_some(),
            };
            exploration.start();
        }
        match result {
            Ok(finished) => {
                let plan = progress.plan;
                let reached = finished.reached.and_then(|tier| route.tiers.get(tier));
                let reached = reached.map(|setup| setup.tier.name.as_str());
                let routed: Routed<T, Tier> = routed(route, &policy, request_id, finished, progress)?;
                let session = request
                    .session
                    .as_ref()
                    .map(|session| session.after(plan, policy.hash.as_deref(), reached));
                Ok(Routed { paced, session, forced: forced.is_some(), ..routed })
            }
            Err(error) => {
                let in_flight = progress.in_flight.get().saturating_add(progress.embedding_cost());
                let name =
                    |tier: usize| route.tiers.get(tier).map_or("", |setup| &setup.tier.name).to_owned();
                let path = progress.path.into_iter().map(|step| {
                    let tier = name(step.tier);
                    step.map_tier(tier)
                });
                Err(error.with_path(path.collect(), in_flight).with_request_id(&request_id))
            }
        }
    }

    /// Looks for a newer policy of a route off the threads that answer requests; what decided before decides meanwhile.
    fn look_for_policy(&self, route: usize) {
        let client = self.clone();
        let look = move || {
            // A rejection is told of where it is found.
            let _ = client.route(route).map(|route| route.reload(false));
        };
        // Calls need Tokio, so there is a runtime here.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(look);
        }
    }

    async fn closing(&self) {
        let mut closed = self.inner.closed.subscribe();
        // The sender lives as long as `self`.
        let _ = closed.wait_for(|closed| *closed).await;
    }

    fn next_id(&self) -> String {
        let count = self.inner.id_count.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}-{count}", self.inner.id_prefix)
    }
}

/// The result of the work, unless the client closes or the deadline passes first.
async fn first_of<T>(
    closing: impl Future<Output = ()>,
    deadline: impl Future<Output = ()>,
    work: impl Future<Output = Result<T, Error>>,
    late: impl Fn() -> Error,
) -> Result<T, Error> {
    let (mut closing, mut deadline, mut work) = (pin!(closing), pin!(deadline), pin!(work));
    poll_fn(|context| {
        if closing.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(Error::new(Kind::Cancelled, "the client was closed")));
        }
        // Work that is done in the moment of the deadline is done.
        match work.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => deadline.as_mut().poll(context).map(|()| Err(late())),
        }
    })
    .await
}

async fn sleep(deadline: Option<Duration>) {
    match deadline {
        Some(deadline) => tokio::time::sleep(deadline).await,
        None => std::future::pending().await,
    }
}

fn late(route: &str, deadline: Option<Duration>) -> Error {
    let deadline = deadline.unwrap_or_default();
    Error::new(Kind::Timeout, format!("route `{route}` had no answer within the deadline of {deadline:?}"))
}

/// Gives positions back their names.
fn routed<T, Tier: TierName>(
    route: &Route,
    policy: &ActivePolicy,
    request_id: String,
    finished: Finished<T>,
    progress: Progress,
) -> Result<Routed<T, Tier>, Error> {
    let tier = |position: usize| {
        let name = route.tiers.get(position).map_or("", |setup| setup.tier.name.as_str());
        Tier::from_name(name).ok_or_else(|| {
            Error::new(
                Kind::Config,
                format!("tier `{name}` of route `{}` is unknown to the program", route.name),
            )
        })
    };
    let path = progress.path.into_iter().map(|step| {
        let tier = tier(step.tier)?;
        Ok(step.map_tier(tier))
    });
    Ok(Routed {
        tier: tier(finished.tier)?,
        path: path.collect::<Result<Vec<Step<Tier>>, Error>>()?,
        answer: finished.answer,
        request_id,
        plan: finished.plan,
        forced: finished.forced,
        kept_for_budget: finished.kept_for_budget,
        paced: None,
        session: None,
        embedding: progress.embedding,
        policy_hash: policy.hash.clone(),
    })
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routes: Vec<_> =
            self.inner.routes.iter().map(|route| (&route.name, route.policies.main().source)).collect();
        f.debug_struct("Client")
            .field("package", &self.inner.package)
            .field("routes", &routes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod limit_tests;
#[cfg(test)]
mod production_tests;
#[cfg(test)]
mod session_tests;
#[cfg(test)]
mod signal_money_tests;
#[cfg(test)]
mod signal_tests;
#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod tests;
