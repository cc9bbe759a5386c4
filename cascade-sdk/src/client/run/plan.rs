//! Which tiers are asked, in which order.

use super::{Next, Progress, Run};
use crate::error::{Error, Kind};
use crate::money::Usd;
use cascade_sdk_core::config::Sticky;
use cascade_sdk_core::feature::{self, Predictions, RequestView};
use std::cell::RefCell;

thread_local! {
    /// Choosing a plan never waits, so one scratch a thread is enough, and it stays warm.
    static SCRATCH: RefCell<feature::Scratch> = RefCell::default();
}

/// The plan of a request.
#[derive(Default)]
pub(super) struct Choice {
    pub(super) plan: usize,
    /// What the router predicted, which scores may read; empty without a router.
    pub(super) predictions: Predictions,
}

impl Run<'_> {
    /// The plan that the guard, the router or the draw of a mixture picks; the only one where there is none of them.
    pub(super) fn choose_plan(&self, vector: Option<&[f32]>) -> Result<Choice, Error> {
        if !self.rules.reads_requests() {
            return Ok(Choice::default());
        }
        let text = self.request.routing_text();
        let features: Vec<(&str, f64)> =
            self.request.features.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        let tags: Vec<(&str, &str)> =
            self.request.tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let view = RequestView {
            text: &text,
            features: &features,
            tags: &tags,
            embedding: vector,
            id: Some(self.id),
        };
        let missing = |missing| {
            let message = format!("route `{}`: {missing}: pass it with the request", self.route.name);
            Error::new(Kind::Config, message)
        };
        SCRATCH.with_borrow_mut(|scratch| {
            // The predictions are needed even where the plan is kept: scores may read them.
            let chosen = feature::choose_plan(self.rules, &view, scratch).map_err(missing)?;
            let plan = self.kept_plan().unwrap_or(chosen);
            Ok(Choice { plan, predictions: scratch.predictions().clone() })
        })
    }

    /// The plan of the session's first turn, where turns keep it.
    fn kept_plan(&self) -> Option<usize> {
        let sticky = self.route.runtime.sticky == Some(Sticky::Entry);
        let session = self.request.session.as_ref().filter(|_| sticky)?;
        session.plan(self.policy.hash.as_deref()).filter(|plan| self.rules.plan(*plan).is_some())
    }

    /// The tier that the session's policy last came to, where turns do not go below it.
    fn kept_tier(&self) -> Option<usize> {
        let sticky = self.route.runtime.sticky == Some(Sticky::Up);
        let name = self.request.session.as_ref().filter(|_| sticky)?.tier()?;
        self.route.tiers.iter().position(|setup| setup.tier.name == name)
    }

    /// The stages of a plan, or the one tier that the caller asked for.
    pub(super) fn stages(&self, plan: usize) -> Result<Vec<Next>, Error> {
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
        let stages = self.rules.plan(plan).map_or(&[][..], |plan| &plan.stages);
        let stages = stages.iter().enumerate();
        let mut stages: Vec<Next> = stages
            .map(|(index, stage)| Next { tier: self.policy.tier_of(stage), judged: Some(index) })
            .collect();
        if let Some(tier) = self.kept_tier() {
            let own = stages.iter().position(|next| next.tier == tier);
            let start = own.or_else(|| stages.iter().position(|next| !self.is_cheaper(next.tier, tier)));
            match start {
                Some(start) => drop(stages.drain(..start)),
                // The plan of this turn has cheaper tiers only: the tier answers by itself.
                None => stages = vec![Next { tier, judged: None }],
            }
        }
        Ok(stages)
    }

    /// Whether a call to a tier can cost less than one to another. What is not known to be cheaper is not.
    fn is_cheaper(&self, tier: usize, than: usize) -> bool {
        let most = |tier: usize| {
            let setup = &self.route.tiers[tier];
            self.route.call(setup, self.request, self.schema).worst_case(&setup.tier).ok()
        };
        most(tier).zip(most(than)).is_some_and(|(one, other)| one < other)
    }

    /// Tiers that were not asked yet, the cheapest last, so that it is taken first.
    pub(super) fn cheaper_tiers(&self, progress: &Progress) -> Vec<Next> {
        let not_asked =
            (0..self.route.tiers.len()).filter(|tier| progress.path.iter().all(|step| step.tier != *tier));
        let mut priced: Vec<(Usd, usize)> = not_asked
            .filter_map(|tier| {
                let setup = &self.route.tiers[tier];
                let call = self.route.call(setup, self.request, self.schema);
                Some((call.worst_case(&setup.tier).ok()?, tier))
            })
            .collect();
        priced.sort_by(|a, b| b.cmp(a));
        priced.into_iter().map(|(_, tier)| Next { tier, judged: None }).collect()
    }
}
