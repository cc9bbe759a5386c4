//! What is told of a request when it ends, however it ends: a caller that drops its call gets a row in the decision log too.

use super::policy::ActivePolicy;
use super::record::{self, About, Ending};
use super::route::Route;
use super::run::Progress;
use super::telemetry;
use crate::error::{Error, Kind};
use crate::request::Request;
use crate::routed::{Paced, Step, total};
use cascade_sdk_core::hash::Hasher;
use std::time::Instant;

/// A request from its call to its end.
pub(super) struct Account<'c> {
    pub(super) package: &'c str,
    pub(super) route: &'c Route,
    pub(super) request: &'c Request,
    pub(super) id: &'c str,
    pub(super) policy: &'c ActivePolicy,
    /// Who named the tier: `call` or `environment`.
    pub(super) forced: Option<&'static str>,
    pub(super) paced: Option<Paced>,
    pub(super) explored: bool,
    pub(super) progress: Progress,
    pub(super) started: Instant,
    pub(super) told: bool,
}

impl Account<'_> {
    /// Writes the row of a request that has an answer.
    pub(super) fn answered(&mut self, tier: usize, kept_for_budget: bool) {
        self.tell("answered", Some(tier), kept_for_budget);
    }

    /// Writes the row of a request that has none.
    pub(super) fn failed(&mut self, error: &Error) {
        let outcome = match error.kind() {
            Kind::Config => "config",
            Kind::Budget => "budget",
            Kind::Timeout => "timeout",
            Kind::Provider => "provider",
            Kind::Answer => "answer",
            Kind::Cancelled => "cancelled",
            Kind::Abstained => "abstained",
            Kind::Embedding => "embedding",
        };
        // What never reached a model is no evidence.
        self.explored &=
            matches!(error.kind(), Kind::Timeout | Kind::Provider | Kind::Answer | Kind::Abstained);
        self.tell(outcome, None, false);
    }

    fn tell(&mut self, outcome: &'static str, answered_by: Option<usize>, kept_for_budget: bool) {
        self.told = true;
        let path = &self.progress.path;
        let in_flight = self.progress.in_flight.get();
        let calls = total(path, Step::total_cost).saturating_add(in_flight);
        let cost = calls.saturating_add(self.progress.embedding_cost());
        let embedding = self.progress.embedding.as_ref().map(|used| used.estimated).unwrap_or_default();
        let latency = self.started.elapsed();
        telemetry::count(self.route, path, outcome, cost, latency);
        let Some(log) = &self.route.decision_log else { return };
        let about = About { route: self.route, request: self.request, id: self.id, policy: self.policy };
        log.write(record::decision(
            about,
            &Ending {
                package: self.package,
                plan: self.progress.plan,
                path,
                embedding: self.progress.embedding.as_deref(),
                texts: self.route.logged(&self.progress.texts),
                outcome,
                answered_by,
                cost,
                estimated: total(path, Step::total_estimated)
                    .saturating_add(in_flight)
                    .saturating_add(embedding),
                latency,
                forced: self.forced,
                kept_for_budget,
                paced: self.paced,
                explored: self.explored,
            },
        ));
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.explored = false;
            self.tell("cancelled", None, false);
        }
    }
}

/// Whether a request is one of the share that is explored.
pub(super) fn is_explored(route: &Route, id: &str) -> bool {
    let share = route.runtime.explore;
    share > 0.0
        && route.decision_log.is_some()
        && Hasher::new().part("cascade explore").part(&route.name).part(id).fraction() < share
}
