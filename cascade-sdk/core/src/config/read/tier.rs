//! `[tiers.*]` and `[budgets.*]`.

use super::{Declared, names};
use crate::config::section::{Read, Section};
use crate::config::{Api, Budget, BudgetScope, Circuit, OnExceeded, Provider, Tier, codes};
use crate::document::read::{Findings, Item};
use crate::money::{LongInput, Price, Rates, Usd};
use std::time::Duration;

/// The tiers, and the names of those that say themselves that they give no log-probabilities.
pub(super) fn read_all<'d>(
    root: &mut Section<'d>,
    providers: &Declared<'_, Provider>,
) -> (Declared<'d, Tier>, Vec<&'d str>) {
    let entries = root.named("tiers");
    let names = entries.iter().map(|entry| (entry.item.key, entry.item.key_span.clone())).collect();
    let mut without_logprobs = Vec::new();
    let valid =
        entries.into_iter().filter_map(|entry| read(entry, providers, &mut without_logprobs)).collect();
    (Declared::new(names, valid), without_logprobs)
}

fn read<'d>(
    entry: Read<'d, Section<'d>>,
    providers: &Declared<'_, Provider>,
    without_logprobs: &mut Vec<&'d str>,
) -> Option<Tier> {
    let Read { value: mut section, item } = entry;
    let findings = section.findings();
    names::check(findings, &item);
    let provider = section.text("provider");
    let model = section.text("model");
    let price = price(&mut section, &item);
    let price_as_of = section.date("price_as_of");
    let retires = section.date("retires");
    let max_input_tokens = section.whole("max_input_tokens");
    let max_output_tokens = section.whole("max_output_tokens");
    let timeout = section.number("timeout_s");
    let log_probabilities = section.boolean("log_probabilities");
    let circuit = section.section("circuit").map(circuit).unwrap_or_default();
    let json_schema = section.boolean("json_schema");
    let tools = section.boolean("tools");
    let images = section.boolean("images");
    let takes_temperature = section.boolean("takes_temperature");
    let reasoning_effort = section.choice("reasoning_effort");
    section.finish();

    let provider = provider?;
    if !providers.has(provider.value) {
        let (place, known) = (&provider.item.span, providers.listed());
        names::unknown(findings, codes::UNKNOWN_PROVIDER, "provider", provider.value, place, &known);
    }
    let api = providers.valid.iter().find(|known| known.name == provider.value)?.api;
    let claims = [
        (&log_probabilities, api.gives_log_probabilities(), "gives no log-probabilities"),
        (&tools, api.takes_tools(), "takes no tools"),
        (&images, api.takes_images(), "takes no images"),
    ];
    for (claim, able, lack) in claims {
        if let Some(claim) = claim.as_ref().filter(|claim| claim.value && !able) {
            let message = format!("the api `{}` {lack}", api.name());
            let error = claim.item.error(findings, codes::NOT_SUPPORTED, message, "");
            findings.push(error.help("remove the key"));
        }
    }
    if log_probabilities.as_ref().is_some_and(|wanted| !wanted.value) {
        without_logprobs.push(item.key);
    }
    if let Some(effort) = &reasoning_effort {
        check_effort(findings, api, effort);
    }
    if api.needs_max_output_tokens() && max_output_tokens.is_none() {
        warn_length(findings, api, &item);
    }
    Some(Tier {
        name: item.key.to_owned(),
        provider: provider.value.to_owned(),
        model: model?.value.to_owned(),
        price: price?,
        price_as_of,
        retires,
        max_input_tokens: max_input_tokens.map(|tokens| tokens.value),
        max_output_tokens: max_output_tokens.map(|tokens| tokens.value),
        timeout: timeout.map(|seconds| Duration::from_secs_f64(seconds.value)),
        log_probabilities: log_probabilities.map_or(api.gives_log_probabilities(), |wanted| wanted.value),
        circuit,
        json_schema: json_schema.map_or(api.takes_json_schema(), |able| able.value),
        tools: tools.map_or(api.takes_tools(), |able| able.value),
        images: images.map_or(api.takes_images(), |able| able.value),
        takes_temperature: takes_temperature.is_none_or(|takes| takes.value),
        reasoning_effort: reasoning_effort.map(|effort| effort.value.to_owned()),
    })
}

fn circuit(mut section: Section<'_>) -> Circuit {
    let default = Circuit::default();
    let failures = section.whole("failures");
    let open = section.number("open_s");
    section.finish();
    Circuit {
        failures: failures.and_then(|read| u32::try_from(read.value).ok()).unwrap_or(default.failures),
        open: open.map_or(default.open, |read| Duration::from_secs_f64(read.value)),
    }
}

fn check_effort(findings: &Findings, api: Api, effort: &Read<'_, &str>) {
    let words = api.reasoning_efforts();
    if !words.contains(&effort.value) {
        let message = format!("the api `{}` knows no reasoning effort `{}`", api.name(), effort.value);
        let error = effort.item.error(findings, codes::NOT_SUPPORTED, message, "");
        findings.push(error.help(format!("it knows {}", words.join(", "))));
    }
}

/// A warning: the route can be fitted and compiled without it, but no request can be sent.
fn warn_length(findings: &Findings, api: Api, item: &Item<'_>) {
    let message = format!(
        "the tier `{}` cannot be asked: the api `{}` wants to know the longest output of every request",
        item.key,
        api.name()
    );
    let warning = findings.warning(codes::LENGTH_MISSING, message, &item.key_span, "");
    findings.push(warning.help("add `max_output_tokens`"));
}

fn price(tier: &mut Section<'_>, item: &Item<'_>) -> Option<Price> {
    let mut section = tier.section("price")?;
    let rates = rates(&mut section);
    let per_request = section.money("per_request");
    let batch = section.section("batch").map(|mut batch| {
        let rates = self::rates(&mut batch);
        batch.finish();
        rates
    });
    let above = section.section("above_tokens").map(|mut above| {
        let tokens = above.whole("tokens");
        let rates = self::rates(&mut above);
        above.finish();
        Some(LongInput { tokens: tokens?.value, rates: rates? })
    });
    warn_dear_cache(tier.findings(), item, rates.as_ref());
    section.finish();
    Some(Price {
        rates: rates?,
        per_request: per_request.map_or(Usd::ZERO, |read| read.value),
        batch: transpose(batch)?,
        above: transpose(above)?,
    })
}

/// Absent is fine, broken is not.
#[allow(clippy::option_option)]
fn transpose<T>(part: Option<Option<T>>) -> Option<Option<T>> {
    part.map_or(Some(None), |part| part.map(Some))
}

fn rates(section: &mut Section<'_>) -> Option<Rates> {
    let mut price = |name| section.token_price(name).map(|read| read.value);
    let (input, output) = (price("input"), price("output"));
    let (cached_input, cache_write) = (price("cached_input"), price("cache_write"));
    Some(Rates { input: input?, cached_input, cache_write, output: output? })
}

fn warn_dear_cache(findings: &Findings, item: &Item<'_>, rates: Option<&Rates>) {
    let Some(Rates { input, cached_input: Some(cached), .. }) = rates else { return };
    if cached > input {
        let message = format!("cached input of the tier `{}` costs more than fresh input", item.key);
        findings.push(findings.warning(codes::PRICE_ODD, message, &item.key_span, "are the two mixed up?"));
    }
}

/// The budgets; `within` must name another one and lead to no circle.
pub(super) fn read_budgets<'d>(root: &mut Section<'d>) -> Declared<'d, Budget> {
    let findings = root.findings();
    let entries = root.named("budgets");
    let names: Vec<_> = entries.iter().map(|entry| (entry.item.key, entry.item.key_span.clone())).collect();
    let read: Vec<_> = entries.into_iter().map(read_budget).collect();
    let budgets: Vec<Budget> = read.iter().filter_map(|(budget, _)| budget.clone()).collect();
    let declared = Declared::new(names, budgets);
    for within in read.iter().filter_map(|(_, within)| within.as_ref()) {
        if !declared.has(within.value) {
            let known = declared.listed();
            names::unknown(
                findings,
                codes::UNKNOWN_BUDGET,
                "budget",
                within.value,
                &within.item.span,
                &known,
            );
        } else if leads_back(&declared.valid, within.value) {
            let message = format!("the budget `{}` lies within itself", within.value);
            let error = findings.error(codes::BUDGET_CIRCLE, message, &within.item.span, "");
            findings.push(error.help("`within` names a larger budget: remove one of them"));
        }
    }
    declared
}

/// True if following `within` from this budget comes back to a budget that was passed already.
fn leads_back(budgets: &[Budget], start: &str) -> bool {
    let mut passed = vec![start];
    let mut at = start;
    while let Some(next) =
        budgets.iter().find(|budget| budget.name == at).and_then(|budget| budget.within.as_deref())
    {
        if passed.contains(&next) {
            return true;
        }
        passed.push(next);
        at = next;
    }
    false
}

/// The budget, and where it names a larger one.
fn read_budget<'d>(entry: Read<'d, Section<'d>>) -> (Option<Budget>, Option<Read<'d, &'d str>>) {
    let Read { value: mut section, item } = entry;
    names::check(section.findings(), &item);
    let limit = section.money("limit_usd");
    let window = section.window("window");
    let on_exceeded = section.choice("on_exceeded");
    let per = section.choice("per");
    let within = section.text("within");
    section.finish();
    let budget = limit.zip(window).map(|(limit, window)| Budget {
        name: item.key.to_owned(),
        limit: limit.value,
        window,
        on_exceeded: match on_exceeded.map(|choice| choice.value) {
            Some("cheapest") => OnExceeded::Cheapest,
            _ => OnExceeded::Reject,
        },
        per: match per.map(|choice| choice.value) {
            Some("route") => BudgetScope::Route,
            Some("tenant") => BudgetScope::Tenant,
            _ => BudgetScope::All,
        },
        within: within.as_ref().map(|name| name.value.to_owned()),
    });
    (budget, within)
}
