//! Documentation of generated items: what a person would otherwise look up in `cascade.toml` and the policy.

use cascade_sdk_core::config::{AnswerForm, Config, Goal, Objective, Route};
use cascade_sdk_core::money::Price;
use cascade_sdk_core::policy::{Estimate, Policy};
use std::fmt::Write as _;

/// What a tier is, what it costs, and how much of the work it does.
pub(crate) fn tier(config: &Config, name: &str, policy: Option<&Policy>) -> String {
    let Some(tier) = config.tier(name) else { return code(name) };
    let mut docs = format!("{}: model {}, {}.", code(name), code(&tier.model), price(&tier.price));
    if let Some(policy) = policy
        && let Some(at) = policy.rules.tiers.iter().position(|known| known == name)
        && let Some(share) = policy.expected.share.get(at)
    {
        let _ = write!(docs, "\n\nAnswers {} of the requests of the held-out rows.", percent(share));
    }
    docs
}

/// What a route does, and what to expect of it.
pub(crate) fn route(config: &Config, route: &Route, policy: Option<&Policy>) -> String {
    let mut docs = format!("Asks the route {}.\n\n", code(&route.name));
    match (policy, &route.until_fitted, route.tiers.as_slice()) {
        (Some(policy), ..) => expected(&mut docs, policy),
        (None, Some(tier), _) => {
            let _ = writeln!(docs, "Not fitted yet: {} answers every request.\n", code(tier));
        }
        (None, None, [tier]) => {
            let _ = writeln!(docs, "{} answers every request.\n", code(tier));
        }
        _ => {}
    }
    if let Some(objective) = &route.objective {
        let _ = writeln!(docs, "Objective: {}.\n", self::objective(objective));
    }
    docs.push_str("Tiers:\n");
    for name in &route.tiers {
        if let Some(tier) = config.tier(name) {
            let _ = writeln!(docs, "- {}: model {}, {}", code(name), code(&tier.model), price(&tier.price));
        }
    }
    docs.push('\n');
    if let AnswerForm::Schema { path } = &route.request.answer {
        let _ = writeln!(docs, "Answers follow the schema {}.\n", code(path));
    }
    if !route.log.is_empty() {
        let logs: Vec<_> = route.log.iter().map(code).collect();
        let _ = writeln!(docs, "Eval log: {}.", logs.join(", "));
    }
    if policy.is_some() {
        let _ = writeln!(docs, "Policy: {}.", code(&route.policy));
    }
    docs
}

/// What [`crate::expand::client`] says of `from_env`: which variables it reads.
pub(crate) fn from_env(config: &Config) -> String {
    let mut docs = String::from("Makes the client from its configuration and the environment.\n\n");
    let keys: std::collections::BTreeSet<_> =
        config.providers.iter().filter_map(|provider| provider.api_key_env.as_deref()).collect();
    if !keys.is_empty() {
        let keys: Vec<_> = keys.into_iter().map(code).collect();
        let _ = writeln!(docs, "Keys come from {}.", keys.join(", "));
    }
    docs.push_str(
        "`CASCADE_BASE_URL` replaces the base URL of every provider; `CASCADE_REPLAY=1` answers from the eval logs \
         instead of the providers.\n\n# Errors\n`Error::is_config()`, with every mistake that was found.",
    );
    docs
}

fn expected(docs: &mut String, policy: &Policy) {
    let expected = &policy.expected;
    let _ = writeln!(
        docs,
        "The policy is of the family {} and was fitted on {} rows. On {} held-out rows (95 % intervals):\n\
         - quality {:.3} ({:.3} to {:.3})\n- cost per request {}\n- calls per request {:.2} ({:.2} to {:.2})\n",
        code(policy.family.name()),
        policy.fitted.calibration_rows,
        policy.fitted.test_rows,
        expected.quality.value,
        expected.quality.low,
        expected.quality.high,
        cost(&expected.cost_usd),
        expected.calls.value,
        expected.calls.low,
        expected.calls.high,
    );
    if let Some(certificate) = &policy.certificate {
        let _ = writeln!(
            docs,
            "Certified on {} rows: {}, with confidence {} ({}).\n",
            certificate.rows, certificate.promise, certificate.confidence, certificate.method
        );
    }
}

fn objective(objective: &Objective) -> String {
    let mut text = match &objective.goal {
        Goal::MaxCost(cost) => format!("best quality at a mean cost of at most ${cost} a request"),
        Goal::MinQuality(quality) => format!("least cost at a mean quality of at least {quality}"),
        Goal::MaxQualityLoss { versus, by } => {
            format!("least cost at a mean quality of at most {by} below that of {}", code(versus))
        }
        Goal::ShadowPrice(price) => {
            format!("most quality at a shadow price of {price} quality per US dollar")
        }
        _ => "best quality".to_owned(),
    };
    if let Some(latency) = objective.max_latency_ms_p95 {
        let _ = write!(text, ", with 95 % of requests within {latency} ms");
    }
    if let Some(tail) = objective.max_cost_tail {
        let _ = write!(text, ", with at most {} % of requests above ${}", 100.0 * tail.share, tail.usd);
    }
    text
}

fn price(price: &Price) -> String {
    let rates = &price.rates;
    let mut text = format!("${} in and ${} out per million tokens", rates.input, rates.output);
    if price.per_request != cascade_sdk_core::money::Usd::ZERO {
        let _ = write!(text, ", ${} a request", price.per_request);
    }
    text
}

fn percent(share: &Estimate) -> String {
    format!(
        "{:.1} % (95 % interval {:.1} to {:.1} %)",
        100.0 * share.value,
        100.0 * share.low,
        100.0 * share.high
    )
}

fn cost(cost: &Estimate) -> String {
    // Enough decimals for three digits of the smallest figure, the same in all three.
    let smallest =
        [cost.value, cost.low, cost.high].into_iter().filter(|value| *value > 0.0).fold(1.0, f64::min);
    let mut decimals = 2;
    let mut unit = 0.1;
    while unit > smallest && decimals < 12 {
        unit /= 10.0;
        decimals += 1;
    }
    format!("${:.decimals$} (${:.decimals$} to ${:.decimals$})", cost.value, cost.low, cost.high)
}

/// A name in backticks, which it must not close itself.
fn code(name: impl AsRef<str>) -> String {
    format!("`{}`", name.as_ref().replace('`', "'"))
}
