//! The client: routes ready to answer requests.

mod budget;
mod builder;
mod call;
mod policy;
mod policy_source;
mod retry;
mod route;
mod run;
mod spec;
mod stream;

pub use builder::Builder;
pub use call::{Answer, Call};
pub use policy::PolicySource;
pub use spec::{ClientSpec, RouteSpec};
pub use stream::{AnswerStream, StreamEvent};

use crate::answer::{AnswerError, AnswerSchema};
use crate::error::{Error, Kind};
use crate::request::{IntoRequest, Request};
use crate::routed::{Routed, Step, TierName};
use policy::ActivePolicy;
use route::{AnswerForm, Route};
use run::{Finished, Outlet, Progress, Run};
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::watch;

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
}

impl Client {
    /// The client that `#[client]` describes, with keys from the environment. `CASCADE_BASE_URL` replaces the base URL of
    /// every provider; `CASCADE_REPLAY` answers from the routes' own logs instead (`1`), or from the log at that path.
    ///
    /// # Errors
    /// [`Error::is_config`], with every mistake that was found: a missing key, an unusable URL, a policy that does not
    /// belong to its route or reads a signal that its tier cannot give.
    pub fn from_spec_env(spec: &'static ClientSpec) -> Result<Self, Error> {
        Builder::new(spec).overrides_from(|name| std::env::var(name).ok()).build()
    }

    /// Calls a route by its position in [`ClientSpec::routes`].
    pub fn call<Tier: TierName>(&self, route: usize, request: impl IntoRequest) -> Call<'_, Tier> {
        Call::new(self, route, request.into_request())
    }

    /// Stops taking requests; those under way end at once with [`Error::is_cancelled`], and what they spent is accounted
    /// for.
    pub fn close(&self) {
        self.inner.closed.send_replace(true);
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
            .filter_map(|route| Some(format!("route `{}`: {}", route.name, route.reload().err()?)))
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
        route: usize,
        request: Request,
        schema: &AnswerSchema,
        read: impl Fn(&str) -> Result<T, AnswerError> + Send + Sync,
        outlet: Option<&Outlet>,
    ) -> Result<Routed<T, Tier>, Error> {
        let route = self.route(route)?;
        let request_id = request.id.clone().unwrap_or_else(|| self.next_id());
        let mut progress = Progress::default();
        let policy = route.policy(&request_id);
        let result = if request.messages.is_empty() {
            Err(Error::new(Kind::Config, format!("the request to route `{}` has no message", route.name)))
        } else if let Err(error) = route.check(&request, schema) {
            Err(error)
        } else {
            let max_retries = self.inner.max_retries.unwrap_or(route.runtime.max_retries);
            let run = Run {
                route,
                policy: &policy,
                rules: &policy.rules,
                request: &request,
                schema,
                max_retries,
                outlet,
            };
            let deadline = request.deadline.or(route.runtime.deadline);
            let late = || late(&route.name, deadline);
            first_of(self.closing(), sleep(deadline), run.work(&mut progress, read), late).await
        };
        match result {
            Ok(finished) => routed(route, &policy, request_id, finished, progress),
            Err(error) => {
                let in_flight = progress.in_flight;
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
mod stream_tests;
#[cfg(test)]
mod tests;
