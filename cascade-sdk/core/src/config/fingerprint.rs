//! Fingerprints: which parts of a configuration a policy or a log row depends on.

use super::{
    AnswerForm, Config, EarlyEscalation, Family, Goal, Objective, RequestSettings, SignalKind,
    SignalSettings, Tier,
};
use crate::document::write::{number, string};
use crate::hash::{Hasher, hex, sha256};
use crate::money::{Price, Rates};
use std::fmt::{Display, Write as _};

/// What a route's policy was fitted for, as lower-case hexadecimal SHA-256; `None` if there is no such route.
///
/// It covers the route's tiers (names, models, prices, output limits), its request settings with the schema's text, its
/// objective, its fit settings, whether early escalation is fitted, its embedding, and the signals it declares. It does not cover URLs, keys,
/// timeouts, budgets or traffic, which change no answer and
/// no threshold.
///
/// `schema_text` is the text of the file that `request.answer` names, which this package does not read.
pub fn fingerprint(config: &Config, route: &str, schema_text: Option<&str>) -> Option<String> {
    let route = config.route(route)?;
    let mut canonical = Canonical::new("cascade config 1");
    for name in &route.tiers {
        tier(&mut canonical, config.tier(name)?);
    }
    request(&mut canonical, &route.request, schema_text);
    objective(&mut canonical, route.objective.as_ref());
    let fit = &route.fit;
    let families: Vec<_> = fit.families.iter().map(|family| Family::name(*family)).collect();
    canonical.line("fit.families", families.join(" "));
    canonical.line("fit.max_stages", fit.max_stages);
    canonical.line("fit.held_out", number(fit.held_out));
    canonical.line("fit.smallest_gain", number(fit.smallest_gain));
    canonical.line("fit.seed", fit.seed);
    if route.runtime.early_escalation == EarlyEscalation::Fitted {
        canonical.line("runtime.early_escalation", "fitted");
    }
    canonical.optional("fit.abstain_loss", fit.abstain_loss.map(number));
    if fit.mixtures {
        canonical.line("fit.mixtures", true);
    }
    if let Some(guard) = &route.guard {
        canonical.line("guard.by", string(&guard.by));
        canonical.line("guard.max_loss", number(guard.max_loss));
        canonical.line("guard.min_rows", guard.min_rows);
        canonical.optional("guard.tier", guard.tier.as_deref().map(string));
    }
    if let Some(embedding) = &route.embedding {
        canonical.line("embedding.model", string(&embedding.model));
        canonical.line("embedding.dimensions", embedding.dimensions);
        canonical.line("embedding.cost_usd", embedding.cost);
        let price = embedding.served.as_ref().and_then(|served| served.price);
        canonical.optional("embedding.usd_per_million_tokens", price);
        // The policy holds the file's hash; its path may change.
        if embedding.file.is_some() {
            canonical.line("embedding.file", true);
        }
    }
    for declared in &route.signals {
        canonical.line("signal", string(&declared.name));
        let tiers: Vec<_> = declared.tiers.iter().map(|tier| string(tier)).collect();
        canonical.optional("signal.tiers", Some(tiers.join(" ")).filter(|_| !tiers.is_empty()));
        signal(&mut canonical, config, declared, tier);
    }
    Some(canonical.hex())
}

/// What the values of a signal depend on beside the answers, as lower-case hexadecimal SHA-256: values of two such signals
/// do not belong under one name. What only bounds its time or its load, or prices its calls, is left out.
pub fn signal_fingerprint(config: &Config, declared: &SignalSettings) -> String {
    let mut canonical = Canonical::new("cascade signal 1");
    signal(&mut canonical, config, declared, |canonical, judge| {
        canonical.line("model", string(&judge.model));
        answers(canonical, judge);
    });
    canonical.hex()
}

/// What a request to one model was made of, as lower-case hexadecimal SHA-256: a log row and a policy that disagree here
/// do not belong together, since structured output alone shifts log-probabilities.
pub fn request_fingerprint(model: &str, settings: &RequestSettings, schema_text: Option<&str>) -> String {
    let mut canonical = Canonical::new("cascade request 1");
    canonical.line("model", string(model));
    request(&mut canonical, settings, schema_text);
    canonical.hex()
}

/// One `key value` line for each fact, in a fixed order; what is not set has no line.
struct Canonical(String);

impl Canonical {
    fn new(title: &str) -> Self {
        Self(format!("{title}\n"))
    }

    fn line(&mut self, key: &str, value: impl Display) {
        let _ = writeln!(self.0, "{key} {value}");
    }

    fn optional(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.line(key, value);
        }
    }

    fn hex(&self) -> String {
        Hasher::new().part(&self.0).hex()
    }
}

fn tier(canonical: &mut Canonical, tier: &Tier) {
    let Price { rates, per_request, batch, above } = &tier.price;
    canonical.line("tier", string(&tier.name));
    canonical.line("model", string(&tier.model));
    self::rates(canonical, "price", rates);
    canonical.line("price.per_request", per_request);
    if let Some(batch) = batch {
        self::rates(canonical, "price.batch", batch);
    }
    if let Some(above) = above {
        canonical.line("price.above_tokens", above.tokens);
        self::rates(canonical, "price.above_tokens", &above.rates);
    }
    answers(canonical, tier);
}

/// What shapes a tier's answers, besides its model.
fn answers(canonical: &mut Canonical, tier: &Tier) {
    canonical.optional("max_input_tokens", tier.max_input_tokens);
    canonical.optional("max_output_tokens", tier.max_output_tokens);
    canonical.line("log_probabilities", tier.log_probabilities);
    // Facts that most models share have no line, so that policies outlive the keys that were added later.
    if !tier.json_schema {
        canonical.line("json_schema", false);
    }
    if !tier.takes_temperature {
        canonical.line("takes_temperature", false);
    }
    canonical.optional("reasoning_effort", tier.reasoning_effort.as_deref());
}

/// `judge` writes what counts of a judging tier.
fn signal(
    canonical: &mut Canonical,
    config: &Config,
    declared: &SignalSettings,
    judge: impl Fn(&mut Canonical, &Tier),
) {
    canonical.line("signal.kind", declared.kind.name());
    match &declared.kind {
        SignalKind::SelfConsistency { samples, temperature, concurrency: _ } => {
            canonical.line("signal.samples", samples);
            canonical.line("signal.temperature", number(*temperature));
        }
        SignalKind::Judge { tier, rubric } => {
            canonical.line("signal.rubric", string(rubric));
            if let Some(tier) = config.tier(tier) {
                judge(canonical, tier);
            }
        }
        SignalKind::SchemaValid { schema } => {
            canonical.optional("signal.schema", schema.as_deref().map(string));
        }
        // What it does is the application's code, which nobody can hash.
        SignalKind::Verifier { timeout: _ } => {}
    }
}

fn rates(canonical: &mut Canonical, key: &str, rates: &Rates) {
    canonical.line(&format!("{key}.input"), rates.input);
    canonical.optional(&format!("{key}.cached_input"), rates.cached_input);
    canonical.optional(&format!("{key}.cache_write"), rates.cache_write);
    canonical.line(&format!("{key}.output"), rates.output);
}

fn request(canonical: &mut Canonical, settings: &RequestSettings, schema_text: Option<&str>) {
    canonical.optional("request.system", settings.system.as_deref().map(string));
    canonical.optional("request.temperature", settings.temperature.map(number));
    canonical.optional("request.top_logprobs", settings.top_logprobs);
    canonical.optional("request.seed", settings.seed);
    if settings.tools {
        canonical.line("request.tools", true);
    }
    // The schema's path may change, its text may not; line ends differ between checkouts and change nothing.
    let schema = schema_text.map(|text| hex(&sha256(text.replace("\r\n", "\n").as_bytes())));
    let answer = match &settings.answer {
        AnswerForm::Text => "text".to_owned(),
        AnswerForm::Schema { path } => schema.unwrap_or_else(|| string(path)),
    };
    canonical.line("request.answer", answer);
}

fn objective(canonical: &mut Canonical, objective: Option<&Objective>) {
    let Some(Objective { goal, max_latency_ms_p95, max_cost_tail, confidence }) = objective else { return };
    match goal {
        Goal::MaxCost(cost) => canonical.line("objective.max_cost_usd", cost),
        Goal::MinQuality(quality) => canonical.line("objective.min_quality", number(*quality)),
        Goal::MaxQualityLoss { versus, by } => {
            canonical.line("objective.max_quality_loss.versus", string(versus));
            canonical.line("objective.max_quality_loss.by", number(*by));
        }
        Goal::ShadowPrice(price) => canonical.line("objective.shadow_price", number(*price)),
        Goal::MaxQuality => canonical.line("objective", "max_quality"),
    }
    canonical.optional("objective.max_latency_ms_p95", max_latency_ms_p95.map(number));
    if let Some(tail) = max_cost_tail {
        canonical.line("objective.max_cost_tail.usd", tail.usd);
        canonical.line("objective.max_cost_tail.share", number(tail.share));
    }
    canonical.optional("objective.confidence", confidence.map(number));
}
