//! `[routes.R.runtime]`.

use crate::config::section::{BooleanOr, Read, Section};
use crate::config::{Canary, EarlyEscalation, Mode, RuntimeSettings, Sticky};
use std::time::Duration;

/// The settings, and what in them must agree with the rest of the route.
#[derive(Debug, Default)]
pub(super) struct RuntimeTable<'d> {
    pub(super) settings: RuntimeSettings,
    pub(super) explore: Option<Read<'d, f64>>,
    pub(super) explore_budget: Option<Read<'d, &'d str>>,
    pub(super) current_tier: Option<Read<'d, &'d str>>,
    pub(super) failover: Option<Read<'d, &'d str>>,
    pub(super) mode: Option<Read<'d, &'d str>>,
    pub(super) pace: Option<Read<'d, bool>>,
    pub(super) policy_reload: Option<Read<'d, f64>>,
}

pub(super) fn read(mut section: Section<'_>) -> RuntimeTable<'_> {
    let deadline = section.number("deadline_s");
    let max_retries = section.whole("max_retries");
    let pace = section.boolean("pace");
    let early_escalation = section.boolean_or("early_escalation");
    let failover = section.text("failover");
    let sticky = section.choice("sticky");
    let decision_log = section.text("decision_log");
    let log_prompts = section.boolean("log_prompts");
    let explore = section.number("explore");
    let explore_budget = section.text("explore_budget");
    let mode = section.choice("mode");
    let current_tier = section.text("current_tier");
    let policy_file = section.text("policy_file");
    let policy_reload = section.number("policy_reload_s");
    let canary = section.section("canary").and_then(|mut canary| {
        let policy = canary.text("policy");
        let share = canary.number("share");
        canary.finish();
        Some(Canary { policy: policy?.value.to_owned(), share: share?.value })
    });
    section.finish();
    let owned = |read: &Option<Read<'_, &str>>| read.as_ref().map(|read| read.value.to_owned());
    // Beyond what the clock can count is for ever.
    let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    let settings = RuntimeSettings {
        deadline: deadline.map(|read| seconds(read.value)),
        max_retries: max_retries
            .and_then(|read| u32::try_from(read.value).ok())
            .unwrap_or(RuntimeSettings::default().max_retries),
        pace: pace.as_ref().is_some_and(|read| read.value),
        early_escalation: match early_escalation {
            None | Some(BooleanOr::Boolean(false)) => EarlyEscalation::Off,
            Some(BooleanOr::Boolean(true)) => EarlyEscalation::Bounds,
            Some(BooleanOr::Word(_)) => EarlyEscalation::Fitted,
        },
        failover: owned(&failover),
        sticky: sticky.map(|read| if read.value == "up" { Sticky::Up } else { Sticky::Entry }),
        decision_log: owned(&decision_log),
        log_prompts: log_prompts.is_some_and(|read| read.value),
        explore: explore.as_ref().map_or(0.0, |read| read.value),
        explore_budget: owned(&explore_budget),
        mode: match mode.as_ref().map(|read| read.value) {
            Some("shadow") => Mode::Shadow,
            _ => Mode::Policy,
        },
        current_tier: owned(&current_tier),
        policy_file: owned(&policy_file),
        policy_reload: policy_reload.as_ref().map(|read| seconds(read.value)),
        canary,
    };
    RuntimeTable { settings, explore, explore_budget, current_tier, failover, mode, pace, policy_reload }
}
