//! A policy in words: for reviews, explanations and git.

use crate::money::{dollars, dollars_f64};
use crate::words::some_of;
use cascade_sdk_core::config::{Goal, Objective};
use cascade_sdk_core::decide::ShownScore;
use cascade_sdk_core::policy::{
    AbstainRule, AcceptRule, Cut, Estimate, Guard, Plan, Policy, Rules, ScoreSource, Stop,
};
use serde::Serialize;

/// Costs of single calls are tiny; per this many calls they can be read.
const CALLS: f64 = 1_000.0;

/// The name of what a rule compares.
pub(crate) fn score(rules: &Rules, source: ScoreSource) -> &str {
    let name = match source {
        ScoreSource::Signal(signal) => rules.signals.get(signal).map(String::as_str),
        ScoreSource::Score(score) => rules.scores.get(score).map(|score| score.name.as_str()),
    };
    name.unwrap_or_default()
}

/// An accept rule: `keeps answers with mean_logprob >= -0.2000`.
pub(crate) fn rule(rules: &Rules, AcceptRule { score: source, at_least }: AcceptRule) -> String {
    match at_least {
        Cut::KEEP_ALL => "keeps every answer".to_owned(),
        Cut::ESCALATE_ALL => "escalates every answer".to_owned(),
        Cut(cut) => format!("keeps answers with {} >= {}", score(rules, source), ShownScore(cut)),
    }
}

/// Where a stage abstains: `abstains if mean_logprob < -0.9000`.
pub(crate) fn abstain(rules: &Rules, AbstainRule { score: source, below }: AbstainRule) -> String {
    format!("abstains if {} < {}", score(rules, source), ShownScore(below))
}

/// What becomes of the answers of a stage; `None` where they are all kept.
pub(crate) fn stage(rules: &Rules, plan: &Plan, place: usize) -> Option<String> {
    let stop = plan.stops.get(&place).map_or_else(String::new, |of| format!(" ({})", stop(of)));
    let accept = plan.stages.get(place).and_then(|stage| stage.rule);
    let accept = accept.map(|of| rule(rules, of) + &stop);
    let abstain = plan.abstain_rule(place).map(|of| abstain(rules, of));
    match (abstain, accept) {
        (Some(abstain), Some(accept)) => Some(format!("{abstain}, {accept}")),
        (abstain, accept) => abstain.or(accept),
    }
}

/// The name of a tier of the rules.
pub(crate) fn tier(rules: &Rules, index: usize) -> &str {
    rules.tiers.get(index).map_or("", String::as_str)
}

/// The tiers of a plan in order: `small, then large`.
pub(crate) fn tiers_of(rules: &Rules, plan: &Plan) -> String {
    plan.stages.iter().map(|stage| tier(rules, stage.tier)).collect::<Vec<_>>().join(", then ")
}

/// A whole plan: `small keeps answers with mean_logprob >= -0.2000, else large`.
pub(crate) fn plan(rules: &Rules, plan: &Plan) -> String {
    let stages = plan.stages.iter().enumerate().map(|(place, of)| {
        let name = tier(rules, of.tier);
        stage(rules, plan, place).map_or_else(|| name.to_owned(), |words| format!("{name} {words}"))
    });
    stages.collect::<Vec<_>>().join(", else ")
}

/// When an answer is given up while it arrives.
pub(crate) fn stop(stop: &Stop) -> String {
    let hopeless = "given up early once it cannot be kept";
    if stop.cuts.is_empty() {
        return hopeless.to_owned();
    }
    let cuts = stop.cuts.iter().map(|cut| format!("{} after {} tokens", ShownScore(cut.below), cut.after));
    format!("{hopeless}, or is below {}", cuts.collect::<Vec<_>>().join(", "))
}

/// The shares of a mixture: `plan 1 decides 63.0 % of requests, plan 2 the other 37.0 %`.
pub(crate) fn mixture(rules: &Rules) -> Option<String> {
    let share = 100.0 * rules.mixture?.share;
    Some(format!("plan 1 decides {:.1} % of requests, plan 2 the other {share:.1} %", 100.0 - share))
}

/// Which requests a guard keeps on one tier.
pub(crate) fn guard_words(rules: &Rules, guard: &Guard) -> String {
    format!(
        "requests whose `{}` is {} stay on {}",
        guard.tag,
        some_of(guard.labels.iter().map(String::as_str)),
        tier(rules, guard.tier())
    )
}

/// What is optimised.
pub(crate) fn objective(objective: &Objective) -> String {
    let goal = match &objective.goal {
        Goal::MaxCost(cost) => format!("best quality at a mean cost of at most {}", dollars(*cost)),
        Goal::MinQuality(quality) => format!("least cost at a mean quality of at least {quality}"),
        Goal::MaxQualityLoss { versus, by } => {
            format!("least cost at a mean quality of at most {by} below always {versus}")
        }
        Goal::ShadowPrice(price) => format!("a dollar is spent where it buys at least {price} of quality"),
        Goal::MaxQuality => "best quality".to_owned(),
        _ => "another goal".to_owned(),
    };
    let latency = objective
        .max_latency_ms_p95
        .map_or_else(String::new, |bound| format!(", 95 % of requests within {bound} ms"));
    let tail = objective.max_cost_tail.map_or_else(String::new, |tail| {
        format!(", at most {} % of requests dearer than {}", 100.0 * tail.share, dollars(tail.usd))
    });
    let confidence = objective
        .confidence
        .map_or_else(String::new, |confidence| format!(", certified with confidence {confidence}"));
    goal + &latency + &tail + &confidence
}

/// An estimate for tools.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Interval {
    value: f64,
    low: f64,
    high: f64,
}

impl From<Estimate> for Interval {
    fn from(Estimate { value, low, high }: Estimate) -> Self {
        Self { value, low, high }
    }
}

impl From<Interval> for Estimate {
    fn from(Interval { value, low, high }: Interval) -> Self {
        Self { value, low, high }
    }
}

/// A share with its interval, in percent: `63.1 [56.9, 69.5]`.
pub(crate) fn percent(estimate: &Estimate) -> String {
    interval(estimate, |share| format!("{:.1}", 100.0 * share))
}

/// A mean cost per 1000 calls with its interval.
pub(crate) fn per_1000_calls(estimate: &Estimate) -> String {
    interval(estimate, |cost| dollars_f64(CALLS * cost))
}

/// An amount with its interval.
pub(crate) fn amount(estimate: &Estimate) -> String {
    interval(estimate, dollars_f64)
}

/// A plain figure with its interval.
pub(crate) fn figure(estimate: &Estimate) -> String {
    interval(estimate, |value| format!("{value:.2}"))
}

fn interval(estimate: &Estimate, shown: impl Fn(f64) -> String) -> String {
    format!("{} [{}, {}]", shown(estimate.value), shown(estimate.low), shown(estimate.high))
}

/// The policy as lines, one fact a line, so that a line-by-line difference says something.
pub(crate) fn describe(policy: &Policy) -> Vec<String> {
    let rules = &policy.rules;
    let expected = &policy.expected;
    let fitted = &policy.fitted;
    let mut lines = vec![
        format!("route: {}", policy.route),
        format!("family: {}", policy.family.name()),
        format!("objective: {}", objective(&policy.objective)),
    ];
    lines.extend(rules.plans.iter().map(|one| format!("plan: {}", plan(rules, one))));
    if let Some(mixture) = mixture(rules) {
        lines.push(format!("mixture: {mixture}"));
    }
    if let Some(guard) = &rules.guard {
        lines.push(format!("guard: {}", guard_words(rules, guard)));
    }
    if let Some(router) = &rules.router {
        lines.push(format!("router: a dollar must buy {:.4} of predicted quality", router.shadow_price));
        let weights = router.awaits.clone().or_else(|| router.sidecar().map(|weights| weights.file));
        // The name is a hash; so much of it tells two apart, and the line stays short.
        let short = |file: String| format!("{}….weights", file.chars().take(16).collect::<String>());
        lines.push(format!("router weights: {}", weights.map_or_else(|| "in the policy".to_owned(), short)));
    }
    for one in &rules.scores {
        lines.push(format!("score: {} of {}, {} terms", one.name, tier(rules, one.tier), one.terms.len()));
    }
    lines.push(format!("quality %: {}", percent(&expected.quality)));
    lines.push(format!("$ per 1000 calls: {}", per_1000_calls(&expected.cost_usd)));
    lines.push(format!("calls a request: {}", figure(&expected.calls)));
    if let Some(latency) = expected.latency_ms_p95 {
        lines.push(format!("95 % of requests within ms: {latency:.0}"));
    }
    if let Some(effect) = &expected.early_escalation {
        lines.push(format!("early escalation saves % of the cost: {}", percent(&effect.cost_saving)));
        lines
            .push(format!("early escalation changes quality by points: {}", percent(&effect.quality_change)));
        lines.push(format!("early escalation spares % of the tokens: {}", percent(&effect.tokens_spared)));
    }
    if let Some(quality) = rules.abstention {
        lines.push(format!("an abstention counts as quality %: {:.1}", 100.0 * quality));
    }
    if let Some(abstained) = &expected.abstained {
        lines.push(format!("abstained %: {}", percent(&abstained.share)));
        lines.push(format!("quality where it answers %: {}", percent(&abstained.quality_answered)));
    }
    for (name, share) in rules.tiers.iter().zip(&expected.share) {
        lines.push(format!("answered by {name} %: {}", percent(share)));
    }
    if let Some(certificate) = &policy.certificate {
        lines.push(format!("certificate: {}, confidence {}", certificate.promise, certificate.confidence));
    }
    lines.push(format!(
        "fitted on: {} rows, reported on {} held-out rows",
        fitted.calibration_rows, fitted.test_rows
    ));
    lines.push(format!("log: {}", fitted.log_hash));
    lines.push(format!("configuration: {}", fitted.config_hash));
    lines.push(format!("frontier: {} other operating points", policy.frontier.len()));
    lines
}
