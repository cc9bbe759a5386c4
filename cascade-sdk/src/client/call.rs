//! A call of a route, before it is awaited.

use super::Client;
use super::run::Outlet;
use super::stream::AnswerStream;
use crate::answer::AnswerError;
use crate::error::Error;
use crate::request::Request;
use crate::routed::{Routed, TierName};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::Duration;

/// What a route can answer with: any type that serde can read and schemars can describe.
///
/// A type whose schema is a bare string (`String`) gets the raw text; enums become closed choices.
pub trait Answer: DeserializeOwned + JsonSchema + Send + 'static {}

impl<T: DeserializeOwned + JsonSchema + Send + 'static> Answer for T {}

/// A call of a route. Awaiting it gives the answer as text; [`Call::answer`] as a type of the caller's.
#[must_use = "a call does nothing until it is awaited"]
pub struct Call<'c, Tier> {
    client: &'c Client,
    route: usize,
    request: Request,
    tiers: PhantomData<fn() -> Tier>,
}

impl<'c, Tier: TierName> Call<'c, Tier> {
    pub(super) fn new(client: &'c Client, route: usize, request: Request) -> Self {
        Self { client, route, request, tiers: PhantomData }
    }

    /// Asks this tier and no other, whatever the policy says; recorded as forced.
    pub fn with_tier(mut self, tier: Tier) -> Self {
        self.request = self.request.with_tier(tier.name());
        self
    }

    /// The longest time that the whole request may take, all tiers and retries together.
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.request = self.request.with_deadline(deadline);
        self
    }

    /// Names the request; see [`Request::with_id`].
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.request = self.request.with_id(id);
        self
    }

    /// Runs the request and reads the answer as a `T`. An answer that is not one counts as a failure of its tier, so it
    /// escalates like any other.
    ///
    /// # Errors
    /// [`Error`] if there is no answer; its predicates say why. [`Error::is_config`] if the route was fitted on answers of
    /// another form than `T`.
    pub async fn answer<T: Answer>(self) -> Result<Routed<T, Tier>, Error> {
        ask(self.client, self.route, self.request, None).await
    }

    /// Runs the request as [`Call::answer`] does, and shows the answer while it arrives; see [`AnswerStream`].
    pub fn stream<T: Answer>(self) -> AnswerStream<Tier, T> {
        AnswerStream::new(self.client, self.route, self.request)
    }
}

impl<'c, Tier: TierName> IntoFuture for Call<'c, Tier> {
    type Output = Result<Routed<String, Tier>, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'c>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.answer::<String>())
    }
}

/// Asks a route for an answer of type `T`.
pub(super) async fn ask<T: Answer, Tier: TierName>(
    client: &Client,
    route: usize,
    request: Request,
    outlet: Option<&Outlet>,
) -> Result<Routed<T, Tier>, Error> {
    let form = client.form::<T>(route)?;
    let read = |text: &str| -> Result<T, AnswerError> {
        let value = if form.as_text {
            Value::String(form.schema.read_text(text)?)
        } else {
            form.schema.read(text)?
        };
        serde_json::from_value(value).map_err(|error| AnswerError::json(&error))
    };
    client.run(route, request, &form.schema, read, outlet).await
}

impl<Tier> fmt::Debug for Call<'_, Tier> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("route", &self.client.route_name(self.route))
            .field("request", &self.request)
            .finish()
    }
}
