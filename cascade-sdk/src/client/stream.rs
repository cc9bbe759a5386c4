//! A call of a route whose answer is shown while it arrives.

use super::Client;
use super::run::{Event, Outlet};
use crate::error::Error;
use crate::routed::{Routed, TierName};
use cascade_sdk_core::decide::Why;
use futures_core::Stream;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What happens while a request runs. Answers do not belong in logs: `Debug` shows lengths only.
#[derive(Clone)]
#[allow(clippy::large_enum_variant, reason = "the large one is the last and comes once a request")]
#[non_exhaustive]
pub enum StreamEvent<Tier, T = String> {
    /// The first tier is asked.
    Started {
        /// The tier.
        tier: Tier,
    },
    /// The policy did not keep a tier's answer, of which nothing was shown, and the next tier is asked.
    Escalated {
        /// The tier whose answer was not kept.
        from: Tier,
        /// The tier that is asked now.
        to: Tier,
        /// Why.
        why: Why,
    },
    /// The call of a tier failed, and another tier is asked in its place.
    FailedOver {
        /// The tier whose call failed.
        from: Tier,
        /// The tier that is asked now.
        to: Tier,
    },
    /// What comes next of the model's text. All of them together are the text of the answer; where the route asks for JSON
    /// they are JSON.
    Delta(String),
    /// The whole answer, read, and how it came about. Always the last event; a stream that ends without it has no answer.
    Finished(Routed<T, Tier>),
}

impl<Tier: fmt::Debug, T> fmt::Debug for StreamEvent<Tier, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { tier } => f.debug_struct("Started").field("tier", tier).finish(),
            Self::Escalated { from, to, why } => {
                f.debug_struct("Escalated").field("from", from).field("to", to).field("why", why).finish()
            }
            Self::FailedOver { from, to } => {
                f.debug_struct("FailedOver").field("from", from).field("to", to).finish()
            }
            Self::Delta(text) => write!(f, "Delta({} bytes)", text.len()),
            Self::Finished(routed) => f.debug_tuple("Finished").field(routed).finish(),
        }
    }
}

/// The events of one request, as a [`Stream`]. It does nothing until it is polled.
///
/// - A plan of one stage is shown at once. In a cascade an answer that the policy may still refuse is held back until it is
///   kept, and the last stage is shown at once: nothing is shown and then taken back.
/// - The last item is `Finished` or an error. After an error what was shown is not an answer.
/// - A call of which something was shown is not repeated, and no other tier takes its place.
/// - Dropped before its end it gives the call up and settles its budget in the same moment: nothing for a call that was not
///   sent, the whole reservation for one that was.
/// - The time of a tier and the deadline run on while nobody polls.
///
/// ```
/// # use cascade_sdk::{AnswerStream, StreamEvent, TierName};
/// async fn show<Tier: TierName>(mut stream: AnswerStream<Tier>) -> Result<String, cascade_sdk::Error> {
///     while let Some(event) = stream.next().await {
///         match event? {
///             StreamEvent::Delta(text) => eprint!("{text}"),
///             StreamEvent::Finished(routed) => return Ok(routed.answer),
///             _ => {}
///         }
///     }
///     unreachable!("the last item is `Finished` or an error")
/// }
/// ```
#[must_use = "a stream does nothing until it is polled"]
pub struct AnswerStream<Tier, T = String> {
    outlet: Arc<Outlet>,
    /// The route's tiers in the order of the configuration.
    tiers: Vec<Tier>,
    /// The run, until it is over.
    work: Option<Work<T, Tier>>,
    /// How it ended, until that was told.
    end: Option<Result<Routed<T, Tier>, Error>>,
}

type Work<T, Tier> = Pin<Box<dyn Future<Output = Result<Routed<T, Tier>, Error>> + Send>>;

impl<Tier: TierName, T> AnswerStream<Tier, T> {
    /// `run` asks a route, and says what happens through the outlet.
    pub(super) fn new<Run>(
        client: &Client,
        route: usize,
        run: impl FnOnce(Client, Arc<Outlet>) -> Run,
    ) -> Self
    where
        Run: Future<Output = Result<Routed<T, Tier>, Error>> + Send + 'static,
    {
        let outlet = Arc::new(Outlet::default());
        // A tier that the program does not know is the run's error to report.
        let tiers = client.route(route).map_or(Vec::new(), |route| {
            route.tiers.iter().map_while(|setup| Tier::from_name(&setup.tier.name)).collect()
        });
        let work = run(client.clone(), Arc::clone(&outlet));
        Self { outlet, tiers, work: Some(Box::pin(work)), end: None }
    }
}

impl<Tier: TierName, T> AnswerStream<Tier, T> {
    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<Result<StreamEvent<Tier, T>, Error>> {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<StreamEvent<Tier, T>, Error>>> {
        loop {
            while let Some(event) = self.outlet.take() {
                if let Some(event) = named(event, &self.tiers) {
                    return Poll::Ready(Some(Ok(event)));
                }
            }
            if let Some(end) = self.end.take() {
                return Poll::Ready(Some(end.map(StreamEvent::Finished)));
            }
            let Some(work) = &mut self.work else { return Poll::Ready(None) };
            if let Poll::Ready(end) = work.as_mut().poll(context) {
                self.work = None;
                self.end = Some(end);
            } else if self.outlet.is_empty() {
                return Poll::Pending;
            }
        }
    }
}

/// Gives positions back their names.
fn named<Tier: TierName, T>(event: Event, tiers: &[Tier]) -> Option<StreamEvent<Tier, T>> {
    let tier = |position: usize| tiers.get(position).copied();
    Some(match event {
        Event::Started { tier: first } => StreamEvent::Started { tier: tier(first)? },
        Event::Escalated { from, to, why } => {
            StreamEvent::Escalated { from: tier(from)?, to: tier(to)?, why }
        }
        Event::FailedOver { from, to } => StreamEvent::FailedOver { from: tier(from)?, to: tier(to)? },
        Event::Delta(text) => StreamEvent::Delta(text),
    })
}

impl<Tier: TierName, T> Stream for AnswerStream<Tier, T> {
    type Item = Result<StreamEvent<Tier, T>, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll(context)
    }
}

/// Nothing in it is pinned in place: the run has a box of its own.
impl<Tier, T> Unpin for AnswerStream<Tier, T> {}

impl<Tier, T> fmt::Debug for AnswerStream<Tier, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerStream").field("over", &self.work.is_none()).finish_non_exhaustive()
    }
}
