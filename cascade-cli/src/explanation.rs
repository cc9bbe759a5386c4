//! What a policy does with one request, as people and tools read it.

use crate::money::{dollars, dollars_f64};
use crate::table;
use crate::words::item;
use cascade_sdk_core::money::Usd;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Inputs of the router that are listed at most.
const MOST_REASONS: usize = 5;

/// Plans that are listed at most.
const MOST_PLANS: usize = 6;

/// What `--format json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    pub(crate) route: String,
    pub(crate) family: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) row: Option<String>,
    /// What asking a provider for its embedding has cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) embedding_cost_usd: Option<f64>,
    /// Number of the plan, from 1.
    pub(crate) plan: usize,
    pub(crate) plans: usize,
    /// Why the guard answers, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) guard: Option<String>,
    /// How a mixture draws the plan, if the policy is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mixture: Option<String>,
    /// What the application knows of the request.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) features: BTreeMap<String, f64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tags: BTreeMap<String, String>,
    /// Those whose value the router does not tell from other rare ones.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) rare_tags: BTreeSet<String>,
    /// The router's log-odds that each tier answers well; empty without a router.
    pub(crate) predictions: BTreeMap<String, f64>,
    /// What the router compares, in the order of the plans; empty without a router.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) compared: Vec<Expectation>,
    /// λ of the router, in quality per US dollar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shadow_price: Option<f64>,
    /// What the predictions are made of, the inputs that move tiers furthest apart first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) reasons: Vec<Reason>,
    pub(crate) stages: Vec<StageStory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<Ending>,
    /// Always using each tier on the same row.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) always: Vec<Single>,
    /// Mean cost that the policy was expected to have; the frontier's points lie on either side of it.
    #[serde(skip)]
    pub(crate) expected_cost: f64,
    /// What the other points of the fitted frontier would have done, cheapest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) frontier: Vec<Neighbour>,
}

#[derive(Debug, Serialize)]
pub(crate) struct StageStory {
    pub(crate) tier: String,
    /// The rule in words.
    pub(crate) rule: String,
    /// Signals of the tier's answer in the log.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) signals: BTreeMap<String, f64>,
    /// What became of it; absent for a request that was not sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) decision: Option<String>,
    /// Tokens that had arrived when its answer was given up, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) given_up_after: Option<u64>,
    /// Cost of the call and of the signals its rule needed; for a request that was not sent the most it can cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cost_usd: Option<f64>,
    #[serde(skip)]
    pub(crate) cost: Option<Usd>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Ending {
    #[serde(flatten)]
    pub(crate) answer: Answered,
    pub(crate) calls: usize,
}

/// Who answers a row, how well and at what price.
#[derive(Debug, Serialize)]
pub(crate) struct Answered {
    /// `None` where nobody does.
    #[serde(rename = "answered_by")]
    pub(crate) by: Option<String>,
    /// True if the policy answers "don't know"; the quality is then what that counts as.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) abstained: bool,
    pub(crate) quality: f64,
    pub(crate) cost_usd: f64,
    #[serde(skip)]
    pub(crate) cost: Usd,
}

#[derive(Debug, Serialize)]
pub(crate) struct Single {
    pub(crate) tier: String,
    pub(crate) quality: f64,
    pub(crate) cost_usd: f64,
    #[serde(skip)]
    pub(crate) cost: Usd,
}

/// What an input adds to the log-odds of each tier.
#[derive(Debug, Serialize)]
pub(crate) struct Reason {
    pub(crate) input: String,
    pub(crate) family: &'static str,
    pub(crate) log_odds: BTreeMap<String, f64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Neighbour {
    pub(crate) mean_cost_usd: f64,
    pub(crate) mean_quality: f64,
    #[serde(flatten)]
    pub(crate) answer: Answered,
}

/// What the router expects of a plan for this request.
#[derive(Debug, Serialize)]
pub(crate) struct Expectation {
    /// Its number, from 1.
    pub(crate) plan: usize,
    /// Its tiers in order.
    pub(crate) tiers: String,
    /// Expected quality, less the plan's handicap where it has one.
    pub(crate) quality: f64,
    /// Expected cost in US dollars.
    pub(crate) cost_usd: f64,
    /// quality − λ · cost, by which plans are compared.
    pub(crate) worth: f64,
}

impl Explanation {
    /// The points of the frontier next to the policy, one on either side.
    fn neighbours(&self) -> Vec<&Neighbour> {
        let cheaper = self.frontier.iter().rfind(|point| point.mean_cost_usd < self.expected_cost);
        let dearer = self.frontier.iter().find(|point| point.mean_cost_usd > self.expected_cost);
        cheaper.into_iter().chain(dearer).collect()
    }

    fn tag_in_words(&self, name: &str, value: &str) -> String {
        let rare = if self.rare_tags.contains(name) {
            " (new to the router, or rare: read as \"other\")"
        } else {
            ""
        };
        format!("{name} = {value}{rare}")
    }

    /// The plans by what they are worth, best first.
    fn compared_lines(&self) -> Vec<String> {
        let mut plans: Vec<&Expectation> = self.compared.iter().collect();
        plans.sort_by(|a, b| b.worth.total_cmp(&a.worth));
        let mut table = table::new(["plan", "tiers", "expected %", "$ per 1000 calls", "worth"]);
        for plan in plans.iter().take(MOST_PLANS) {
            table.add_row([
                plan.plan.to_string(),
                plan.tiers.clone(),
                format!("{:.1}", 100.0 * plan.quality),
                dollars_f64(1_000.0 * plan.cost_usd),
                format!("{:.1}", 100.0 * plan.worth),
            ]);
        }
        let mut lines = table::lines(&table);
        if let Some(rest) = plans.len().checked_sub(MOST_PLANS).filter(|&rest| rest > 0) {
            lines.push(format!("  and {rest} more plans, worth less"));
        }
        if let Some(price) = self.shadow_price {
            let text = format!("expected %, less {:.1} points for each dollar per 1000 calls", price / 10.0);
            lines.extend(item("worth: ", &text));
        }
        lines
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let of = self.row.as_ref().map_or_else(|| "this request".to_owned(), |row| format!("row {row}"));
        let mut lines = vec![format!("{}: {of} under the {} policy", self.route, self.family)];
        let features = self.features.iter().map(|(name, value)| format!("{name} = {value}"));
        let known: Vec<String> =
            features.chain(self.tags.iter().map(|(name, value)| self.tag_in_words(name, value))).collect();
        if !known.is_empty() {
            lines.extend(item("known of it: ", &known.join(", ")));
        }
        if let Some(cost) = self.embedding_cost_usd {
            lines.extend(item("embedding: ", &format!("asked for now, for {}", dollars_f64(cost))));
        }
        if let Some(guard) = &self.guard {
            lines.extend(item("guard: ", guard));
        } else if let Some(mixture) = &self.mixture {
            lines.extend(item("mixture: ", &format!("plan {} of {}, {mixture}", self.plan, self.plans)));
        } else if self.plans > 1 {
            let text = format!("picks plan {} of {}, the one worth most here", self.plan, self.plans);
            lines.extend(item("router: ", &text));
            lines.extend(self.compared_lines());
        }
        if !self.reasons.is_empty() {
            lines.push("what moves the log-odds of a good answer:".to_owned());
        }
        for reason in self.reasons.iter().take(MOST_REASONS) {
            let parts = reason.log_odds.iter().map(|(tier, value)| format!("{tier} {value:+.2}"));
            let text = parts.collect::<Vec<_>>().join(", ");
            lines.extend(item(&format!("  {}: ", reason.input), &text));
        }
        if let Some(rest) = self.reasons.len().checked_sub(MOST_REASONS).filter(|&rest| rest > 0) {
            lines.push(format!("  and {rest} more inputs that matter less"));
        }
        for (index, stage) in self.stages.iter().enumerate() {
            let cost = match (stage.cost, stage.decision.is_some()) {
                (Some(cost), true) => format!("; {}", dollars(cost)),
                (Some(cost), false) => format!("; at most {}", dollars(cost)),
                (None, _) => String::new(),
            };
            let decision = match (&stage.decision, &self.outcome) {
                (Some(decision), _) => format!(": {decision}"),
                (None, Some(_)) => ": not reached".to_owned(),
                (None, None) => String::new(),
            };
            lines.extend(item(
                &format!("  {}. ", index + 1),
                &format!("{}, {}{decision}{cost}", stage.tier, stage.rule),
            ));
            let signals = stage.signals.iter().map(|(name, value)| format!("{name} {value:.4}"));
            let signals: Vec<String> = signals.collect();
            if !signals.is_empty() {
                lines.extend(item("     signals: ", &signals.join(", ")));
            }
        }
        if let Some(ending) = &self.outcome {
            let answer = &ending.answer;
            let by = answer.by.as_deref().unwrap_or("nobody");
            let calls =
                if ending.calls == 1 { "1 call".to_owned() } else { format!("{} calls", ending.calls) };
            let by = if answer.abstained { "nobody, the policy abstains" } else { by };
            lines.push(format!(
                "answered by {by}: quality {:.2}, {} for {calls}",
                answer.quality,
                dollars(answer.cost)
            ));
        }
        for single in &self.always {
            lines.push(format!(
                "always {}: quality {:.2}, {}",
                single.tier,
                single.quality,
                dollars(single.cost)
            ));
        }
        let neighbours = self.neighbours();
        if !neighbours.is_empty() {
            lines.push("its neighbours on the frontier, by mean cost, would have done:".to_owned());
        }
        for point in neighbours {
            let mean = Usd::from_f64(point.mean_cost_usd).unwrap_or(Usd::MAX);
            let answer = &point.answer;
            let by = answer.by.as_deref().unwrap_or("nobody");
            let by = if answer.abstained { "nobody (abstains)" } else { by };
            let text = format!("{by}, quality {:.2}, {}", answer.quality, dollars(answer.cost));
            lines.extend(item(&format!("  {}: ", dollars(mean)), &text));
        }
        lines
    }
}
