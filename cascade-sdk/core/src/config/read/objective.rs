//! `[routes.R.objective]`, in `cascade.toml` and, as it stood at the fit, in policies.

use crate::config::section::{Read, Section};
use crate::config::{CostTail, Goal, Objective};
use crate::document::read::Item;

/// The table as it is written, before its rules are checked.
#[derive(Debug)]
pub(crate) struct ObjectiveTable<'d> {
    /// Each goal that is stated, and where.
    pub(crate) goals: Vec<(Item<'d>, Goal)>,
    /// `max_quality_loss.versus`.
    pub(crate) versus: Option<Read<'d, &'d str>>,
    /// `max_latency_ms_p95`.
    pub(crate) latency: Option<f64>,
    /// `max_cost_tail`.
    pub(crate) cost_tail: Option<CostTail>,
    /// `confidence`.
    pub(crate) confidence: Option<Read<'d, f64>>,
    /// True if a goal is stated that could not be read, perhaps under a misspelt key.
    pub(crate) broken: bool,
}

impl<'d> ObjectiveTable<'d> {
    pub(crate) fn read(mut section: Section<'d>) -> Self {
        let mut goals = Vec::new();
        let forms = ["max_cost_usd", "min_quality", "max_quality_loss", "shadow_price"];
        let stated = forms.into_iter().filter(|form| section.states(form)).count();
        if let Some(read) = section.money("max_cost_usd") {
            goals.push((read.item, Goal::MaxCost(read.value)));
        }
        if let Some(read) = section.number("min_quality") {
            goals.push((read.item, Goal::MinQuality(read.value)));
        }
        let mut versus = None;
        if let Some((item, mut loss)) = section.section_at("max_quality_loss") {
            versus = loss.text("versus");
            let by = loss.number("by");
            loss.finish();
            if let (Some(versus), Some(by)) = (&versus, by) {
                goals.push((item, Goal::MaxQualityLoss { versus: versus.value.to_owned(), by: by.value }));
            }
        }
        if let Some(read) = section.number("shadow_price") {
            goals.push((read.item, Goal::ShadowPrice(read.value)));
        }
        let latency = section.number("max_latency_ms_p95");
        let states_tail = section.states("max_cost_tail");
        let cost_tail = section.section("max_cost_tail").and_then(|mut tail| {
            let (usd, share) = (tail.money("usd"), tail.number("share"));
            tail.finish();
            Some(CostTail { usd: usd?.value, share: share?.value })
        });
        let confidence = section.number("confidence");
        section.finish();
        goals.sort_by_key(|(item, _)| item.key_span.start);
        let broken = goals.len() < stated || states_tail && cost_tail.is_none();
        Self { goals, versus, latency: latency.map(|read| read.value), cost_tail, confidence, broken }
    }

    /// True if a bound on a tail is stated, which is an objective even without a goal.
    pub(crate) fn limits_a_tail(&self) -> bool {
        self.latency.is_some() || self.cost_tail.is_some()
    }

    /// The objective, if exactly one goal is stated, or none beside a bound on a tail.
    pub(crate) fn objective(&self) -> Option<Objective> {
        let goal = match self.goals.as_slice() {
            [(_, goal)] => goal.clone(),
            [] if self.limits_a_tail() && !self.broken => Goal::MaxQuality,
            _ => return None,
        };
        let confidence = self.confidence.as_ref().map(|read| read.value);
        Some(Objective { goal, max_latency_ms_p95: self.latency, max_cost_tail: self.cost_tail, confidence })
    }
}
