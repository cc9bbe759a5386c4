//! A call of a route, before it is awaited.

use super::Client;
use super::route::AnswerForm;
use super::run::Outlet;
use super::stream::AnswerStream;
use crate::answer::AnswerError;
use crate::error::Error;
use crate::provider::Response;
use crate::request::{Request, ToolCall};
use crate::routed::{Routed, TierName};
use crate::session::Session;
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

    /// Charges the request to this tenant's share of the budget; see [`Request::with_tenant`].
    pub fn with_tenant(mut self, tenant: impl Into<String>) -> Self {
        self.request = self.request.with_tenant(tenant);
        self
    }

    /// Makes the request the next turn of a conversation; see [`Request::with_session`].
    pub fn with_session(mut self, session: Session) -> Self {
        self.request = self.request.with_session(session);
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

    /// Runs the request as [`Call::answer`] does, on a route whose requests define tools: the model either answers or asks for
    /// tools to be called. Their results go into the next request, after [`Routed::turn`].
    ///
    /// A turn of tool calls has no signals of log-probabilities, so a stage that reads one escalates.
    ///
    /// # Errors
    /// As [`Call::answer`].
    pub async fn turn<T: Answer>(self) -> Result<Routed<Turn<T>, Tier>, Error> {
        take_turn(self.client, self.route, self.request, None).await
    }

    /// Runs the request as [`Call::answer`] does, and shows the answer while it arrives; see [`AnswerStream`].
    pub fn stream<T: Answer>(self) -> AnswerStream<Tier, T> {
        let Self { client, route, request, .. } = self;
        AnswerStream::new(client, route, async move |client, events| {
            ask(&client, route, request, Some(&events)).await
        })
    }

    /// Runs the request as [`Call::turn`] does, and shows what the model says while it arrives. Calls of tools come typed and
    /// whole with the last event, so that nobody acts on half of one; the deltas of such a turn are what the model says beside
    /// them.
    ///
    /// ```
    /// # use cascade_sdk::{Call, StreamEvent, TierName, Turn};
    /// async fn ask<Tier: TierName>(call: Call<'_, Tier>) -> Result<(), cascade_sdk::Error> {
    ///     let mut stream = call.stream_turn::<String>();
    ///     while let Some(event) = stream.next().await {
    ///         match event? {
    ///             StreamEvent::Delta(text) => print!("{text}"),
    ///             StreamEvent::Finished(routed) => match &routed.answer {
    ///                 Turn::ToolCalls(calls) => println!("{} tools to call", calls.len()),
    ///                 _ => println!(),
    ///             },
    ///             _ => {}
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn stream_turn<T: Answer>(self) -> AnswerStream<Tier, Turn<T>> {
        let Self { client, route, request, .. } = self;
        AnswerStream::new(client, route, async move |client, events| {
            take_turn(&client, route, request, Some(&events)).await
        })
    }
}

impl<'c, Tier: TierName> IntoFuture for Call<'c, Tier> {
    type Output = Result<Routed<String, Tier>, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'c>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.answer::<String>())
    }
}

/// What a model does with a request that defines tools. Answers do not belong in logs: `Debug` leaves them out.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Turn<T> {
    /// It answers.
    Answer(T),
    /// It asks for these tools to be called, in order.
    ToolCalls(Vec<ToolCall>),
}

impl<T> fmt::Debug for Turn<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(_) => write!(f, "Answer({})", std::any::type_name::<T>()),
            Self::ToolCalls(calls) => f.debug_tuple("ToolCalls").field(calls).finish(),
        }
    }
}

impl AnswerForm {
    /// Reads a model's text.
    fn answer<T: Answer>(&self, text: &str) -> Result<T, AnswerError> {
        let value = if self.as_text {
            Value::String(self.schema.read_text(text)?)
        } else {
            self.schema.read(text)?
        };
        serde_json::from_value(value).map_err(|error| AnswerError::json(&error))
    }
}

/// Asks a route for an answer of type `T`, or for calls of tools.
async fn take_turn<T: Answer, Tier: TierName>(
    client: &Client,
    route: usize,
    request: Request,
    outlet: Option<&Outlet>,
) -> Result<Routed<Turn<T>, Tier>, Error> {
    let form = client.form::<T>(route)?;
    let read = |response: &Response| match response.tool_calls.as_slice() {
        [] => form.answer(&response.text).map(Turn::Answer),
        calls => Ok(Turn::ToolCalls(calls.to_vec())),
    };
    client.run(route, request, &form.schema, read, outlet).await
}

/// Asks a route for an answer of type `T`.
pub(super) async fn ask<T: Answer, Tier: TierName>(
    client: &Client,
    route: usize,
    request: Request,
    outlet: Option<&Outlet>,
) -> Result<Routed<T, Tier>, Error> {
    let form = client.form::<T>(route)?;
    let read = |response: &Response| {
        if response.tool_calls.is_empty() {
            form.answer(&response.text)
        } else {
            // What the model wrote beside its calls is no answer yet.
            Err(AnswerError::calls_tools())
        }
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
