//! Prices and models over time: how old prices are, which models retire, and which model really answered.

use crate::words::some_of;
use cascade_sdk_core::config::{Config, Route, Tier};
use cascade_sdk_core::diag::Diagnostic;
use cascade_sdk_core::log::EvalLog;
use cascade_sdk_core::name::{collect_command, shell_word};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

/// Days after which prices should be compared with the provider's list again, where nothing else is said.
pub(crate) const DEFAULT_MAX_AGE: i64 = 180;

/// Days before a model retires from which that is said.
const NOTICE: i64 = 60;

/// Days since 1970-01-01, UTC. `SOURCE_DATE_EPOCH` (reproducible-builds.org) sets the clock, so that a check can be
/// repeated.
pub(crate) fn today() -> i64 {
    let fixed = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.trim().parse::<i64>().ok());
    let now = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    };
    fixed.unwrap_or_else(now).div_euclid(86_400)
}

/// Prices that are too old, and models that retire. `max_age` in days; where it was asked for, a price without a day is a
/// finding too.
pub(crate) fn of_tiers(config: &Config, route: &Route, today: i64, max_age: Option<i64>) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    for tier in asked(route).filter_map(|name| config.tier(name)) {
        let at =
            |finding: Diagnostic, key: &str| config.places.label(finding, &["tiers", &tier.name, key], "");
        let mend = "compare the price with the provider's list and write today's date";
        match (tier.price_as_of, max_age) {
            (Some(day), _) if day.days() > today => {
                let message =
                    format!("the price of tier `{}` is of {day}, which is still to come", tier.name);
                findings.push(at(Diagnostic::warning("price::future", message).help(mend), "price_as_of"));
            }
            (Some(day), limit) if today - day.days() > limit.unwrap_or(DEFAULT_MAX_AGE) => {
                let age = today - day.days();
                let message =
                    format!("the price of tier `{}` was compared {age} days ago, on {day}", tier.name);
                findings.push(at(Diagnostic::warning("price::old", message).help(mend), "price_as_of"));
            }
            (None, Some(_)) => {
                let message = format!("nothing says how old the price of tier `{}` is", tier.name);
                let finding = Diagnostic::warning("price::undated", message);
                findings.push(at(finding.help("add price_as_of = \"YYYY-MM-DD\" to the tier"), "price"));
            }
            _ => {}
        }
        findings.extend(retires(tier, today).map(|finding| at(finding, "retires")));
    }
    findings
}

/// The route's tiers, and those that judge their answers: what they cost is in the policy too.
fn asked(route: &Route) -> impl Iterator<Item = &str> {
    let judges = route.signals.iter().filter_map(|signal| signal.kind.judge());
    let mut named = BTreeSet::new();
    let names = route.tiers.iter().map(String::as_str).chain(judges);
    names.filter(move |name| named.insert(*name))
}

fn retires(tier: &Tier, today: i64) -> Option<Diagnostic> {
    let day = tier.retires?;
    let left = day.days() - today;
    let help = "give the tier a model that stays, then `cascade collect ROUTE --prompts FILE --replace-tier NAME` and `cascade fit ROUTE`";
    if left <= 0 {
        let message = format!("the model `{}` of tier `{}` retired on {day}", tier.model, tier.name);
        return Some(Diagnostic::error("price::retired", message).help(help));
    }
    (left <= NOTICE).then(|| {
        let message =
            format!("the model `{}` of tier `{}` retires in {left} days, on {day}", tier.model, tier.name);
        Diagnostic::warning("price::retires", message).help(help)
    })
}

/// The models that answered, by how often, as far as the log says.
pub(crate) fn served(log: &EvalLog, tier: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    if let Some(columns) = log.tier(tier) {
        for model in (0..log.rows.len()).filter_map(|row| columns.served_model.get(row)) {
            *counts.entry(model.to_owned()).or_default() += 1;
        }
    }
    counts
}

/// Tiers that several models answered for, whose rows are of different models; and those that another model answered for than
/// was asked.
pub(crate) fn of_log(config: &Config, route: &Route, log: &EvalLog) -> Vec<Diagnostic> {
    let findings = route.tiers.iter().filter_map(|name| {
        let served = served(log, name);
        let tier = config.tier(name)?;
        if let (Some((model, _)), 1) = (served.first_key_value(), served.len()) {
            return is_alias(tier, &served).then(|| alias(config, tier, model));
        }
        (served.len() > 1).then(|| {
            let counts: Vec<String> =
                served.iter().map(|(model, count)| format!("{model} ({count} rows)")).collect();
            let message = format!(
                "{} models answered for tier `{name}`: {}",
                served.len(),
                some_of(counts.iter().map(String::as_str))
            );
            let finding = config.places.label(
                Diagnostic::warning("price::served-model", message),
                &["tiers", name, "model"],
                "",
            );
            finding.help(format!(
                "ask it everything again: `{}`",
                collect_command(&route.name, &format!("--replace-tier {}", shell_word(name)))
            ))
        })
    });
    findings.collect()
}

fn alias(config: &Config, tier: &Tier, served: &str) -> Diagnostic {
    let message = format!(
        "tier `{}` asks for `{}`, and `{served}` answered: a name that may stand for another model tomorrow",
        tier.name, tier.model
    );
    let finding = Diagnostic::warning("price::alias", message);
    let finding = config.places.label(finding, &["tiers", &tier.name, "model"], "");
    finding.help(format!("pin it with model = {served:?}, if the provider takes that name"))
}

/// True if the provider serves another name than was asked for, as with aliases that move to newer models.
pub(crate) fn is_alias(tier: &Tier, served: &BTreeMap<String, usize>) -> bool {
    !served.is_empty() && !served.contains_key(&tier.model)
}
