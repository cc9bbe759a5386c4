//! The embedding that the policy's router reads: made once for a request, paid for, and within its budget.

use super::ask::{Full, NotAsked};
use super::{Next, Progress, Run};
use crate::budget::StoreError;
use crate::client::embeddings::{Bill, EmbeddingSetup, Made};
use crate::embedding::{EmbeddingFailure, EmbeddingUse};
use crate::error::{Error, Kind};
use crate::money::Usd;
use cascade_sdk_core::feature::{self, RequestView};
use std::time::Instant;

/// Why the router has nothing to read.
pub(super) enum NotEmbedded {
    /// It could not be made.
    Failed(EmbeddingFailure),
    /// The budget has no room for it.
    OverBudget(Full),
    /// The ledgers cannot be asked.
    Store(StoreError),
}

impl Run<'_> {
    /// Makes the request's embedding, if the policy needs one of it and there is none yet.
    pub(super) async fn embed(&self, progress: &mut Progress) -> Result<(), NotEmbedded> {
        let tags: Vec<(&str, &str)> =
            self.request.tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let view = RequestView { tags: &tags, ..RequestView::default() };
        // That a policy which reads embeddings has somebody to make them was checked when the client was built.
        let Some(setup) = self
            .route
            .embeddings
            .as_ref()
            .filter(|_| progress.vector.is_none() && feature::needs_embedding(self.rules, &view))
        else {
            return Ok(());
        };
        let text = self.request.routing_text();
        let most_cost = setup.most_cost(&text);
        let reservation = match self.budget.filter(|_| !setup.is_free()) {
            Some(budget) => {
                let most = setup.settings.timeout;
                let reserved = budget.reserve_and_send(self.ledgers, most_cost, most).await;
                Some(reserved.map_err(|refused| match NotAsked::from(refused) {
                    NotAsked::Store(error) => NotEmbedded::Store(error),
                    NotAsked::OverBudget(full) => NotEmbedded::OverBudget(full),
                    NotAsked::Unbounded(why) => NotEmbedded::Failed(EmbeddingFailure::Error(why.into())),
                })?)
            }
            None => None,
        };
        progress.in_flight.replace(Usd::ZERO, most_cost);
        let started = Instant::now();
        let Made { vector, bill: Bill { cost, estimated }, latency } =
            setup.make(self.request.id(), &text, self.max_retries).await;
        progress.in_flight.reset();
        if let Some(reservation) = reservation {
            reservation.settle(cost);
        }
        let failure = vector.as_ref().err().cloned();
        tracing::debug!(
            target: "cascade_sdk",
            route = %self.route.name,
            model = %setup.settings.model,
            failure = failure.as_ref().map(EmbeddingFailure::log_word),
            cost_usd = %cost,
            "embedding finished"
        );
        let latency = latency.unwrap_or_else(|| started.elapsed());
        progress.embedding = Some(Box::new(EmbeddingUse { cost, estimated, latency, failure }));
        progress.vector = Some(vector.map_err(NotEmbedded::Failed)?);
        Ok(())
    }

    /// The tier that answers a request which has no embedding, or the error where the route names none.
    pub(super) fn without_embedding(&self, failure: &EmbeddingFailure) -> Result<Next, Error> {
        let setup = self.route.embeddings.as_ref().map(|setup: &EmbeddingSetup| &setup.settings);
        let stand_in = setup.and_then(|settings| settings.on_failure.as_ref());
        let Some(tier) = stand_in.and_then(|name| self.tier_named(name)) else {
            let message = format!(
                "route `{0}`: {failure}, and the policy's router reads it: set `on_failure` under [routes.{0}.embedding] to a tier that answers instead",
                self.route.name
            );
            return Err(Error::new(Kind::Embedding, message));
        };
        tracing::warn!(
            target: "cascade_sdk",
            route = %self.route.name,
            tier = %self.route.tiers[tier].tier.name,
            failure = failure.log_word(),
            "no embedding: the tier named by `on_failure` answers"
        );
        Ok(Next { tier, judged: None })
    }

    fn tier_named(&self, name: &str) -> Option<usize> {
        self.route.tiers.iter().position(|setup| setup.tier.name == *name)
    }
}
