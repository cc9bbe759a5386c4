//! What a decision log says of traffic: no evidence of quality, but of requests, costs and scores as they are.

use crate::money::dollars_f64;
use cascade_sdk_core::config::Date;
use serde::Serialize;
use std::collections::BTreeMap;

/// Requests that a policy decided.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Traffic {
    /// Decisions read.
    pub(crate) requests: usize,
    /// Exploration rows among them.
    pub(crate) explored: usize,
    /// Rows that the client lost because its buffer was full.
    pub(crate) dropped: u64,
    /// First and last day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) days: Option<[String; 2]>,
    /// What `[routes.R.traffic] calls_per_day` would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) calls_per_day: Option<f64>,
    /// Mean cost of a request in US dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mean_cost_usd: Option<f64>,
    /// Share of requests by the tier that answered.
    pub(crate) share: BTreeMap<String, f64>,
    /// Mean score of answers that have feedback: of those whose users spoke, not of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mean_score: Option<f64>,
    /// Requests by why the policy was not free to decide: a forced tier, a hot budget.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) not_the_policys: BTreeMap<&'static str, usize>,
    #[serde(skip)]
    cost: f64,
    #[serde(skip)]
    first: Option<Date>,
    #[serde(skip)]
    last: Option<Date>,
}

impl Traffic {
    /// Counts a decision.
    pub(super) fn add(&mut self, row: &serde_json::Value) {
        self.requests += 1;
        self.cost += row["cost_usd"].as_f64().unwrap_or(0.0);
        if let Some(tier) = row["answered_by"].as_str() {
            *self.share.entry(tier.to_owned()).or_default() += 1.0;
        }
        for reason in ["forced", "paced", "failover", "kept_for_budget"] {
            if row.get(reason).is_some_and(|value| !value.is_null() && value != false) {
                *self.not_the_policys.entry(reason).or_default() += 1;
            }
        }
        let day = row["time"].as_str().and_then(|time| time.get(..10)).and_then(Date::parse);
        if let Some(day) = day {
            self.first = Some(self.first.map_or(day, |first| first.min(day)));
            self.last = Some(self.last.map_or(day, |last| last.max(day)));
        }
    }

    /// Ends the counting.
    pub(super) fn score(&mut self, scores: &BTreeMap<(String, Option<String>), f64>) {
        let count = self.requests as f64;
        if self.requests == 0 {
            return;
        }
        self.share.values_mut().for_each(|share| *share /= count);
        self.mean_cost_usd = Some(self.cost / count);
        if let (Some(first), Some(last)) = (self.first, self.last) {
            self.days = Some([first.to_string(), last.to_string()]);
            self.calls_per_day = Some((count / (last.days() - first.days() + 1) as f64).round());
        }
        let answers: Vec<f64> =
            scores.iter().filter(|((_, tier), _)| tier.is_none()).map(|(_, score)| *score).collect();
        if !answers.is_empty() {
            self.mean_score = Some(answers.iter().sum::<f64>() / answers.len() as f64);
        }
    }

    /// For people.
    pub(crate) fn lines(&self) -> Vec<String> {
        if self.requests == 0 {
            return Vec::new();
        }
        let mut lines = vec![format!("{} decisions, {} explored", self.requests, self.explored)];
        if let (Some([first, last]), Some(calls)) = (&self.days, self.calls_per_day) {
            lines.push(format!("  from {first} to {last}: calls_per_day = {calls}"));
        }
        if let Some(cost) = self.mean_cost_usd {
            lines.push(format!("  {} per 1000 requests", dollars_f64(1_000.0 * cost)));
        }
        let shares = self.share.iter().map(|(tier, share)| format!("{tier} {:.1} %", 100.0 * share));
        lines.push(format!("  answered by {}", shares.collect::<Vec<_>>().join(", ")));
        if let Some(score) = self.mean_score {
            lines.push(format!("  mean score of answers with feedback: {score:.3}"));
        }
        let reasons = self.not_the_policys.iter().map(|(reason, count)| format!("{reason} {count}"));
        let reasons = reasons.collect::<Vec<_>>().join(", ");
        if !reasons.is_empty() {
            lines.push(format!("  not the policy's own decisions: {reasons}"));
        }
        if self.dropped > 0 {
            lines.push(format!("  {} rows were lost because the client's buffer was full", self.dropped));
        }
        lines
    }
}
