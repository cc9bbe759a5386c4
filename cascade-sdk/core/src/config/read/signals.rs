//! `[routes.R.signals.*]`.

use super::names;
use super::route::Checker;
use crate::config::keys;
use crate::config::section::{Read, Section};
use crate::config::{AnswerForm, RequestSettings, SignalKind, SignalSettings, codes};
use crate::diag::Diagnostic;
use crate::document::read::Item;
use crate::json_span;
use crate::signal::BuiltIn;
use std::time::Duration;

/// The keys that belong to each kind, those first that it cannot do without.
const KINDS: [(&str, &[&str], &[&str]); 4] = [
    ("self_consistency", &["samples", "temperature"], &["concurrency"]),
    ("judge", &["tier", "rubric"], &[]),
    ("schema_valid", &[], &["schema"]),
    ("verifier", &[], &["timeout_s"]),
];

/// One table as it is written.
#[derive(Debug)]
pub(super) struct SignalTable<'d> {
    item: Item<'d>,
    kind: Option<Read<'d, &'d str>>,
    tiers: Option<Vec<Read<'d, &'d str>>>,
    tier: Option<Read<'d, &'d str>>,
    rubric: Option<Read<'d, &'d str>>,
    samples: Option<Read<'d, u64>>,
    temperature: Option<Read<'d, f64>>,
    concurrency: Option<Read<'d, u64>>,
    schema: Option<Read<'d, &'d str>>,
    timeout: Option<Read<'d, f64>>,
    /// Keys of a kind that are written, in the order of the table of keys.
    written: Vec<&'static str>,
}

/// The signals of a route.
pub(super) fn read_all<'d>(route: &mut Section<'d>) -> Vec<SignalTable<'d>> {
    route.named("signals").into_iter().map(read).collect()
}

fn read<'d>(entry: Read<'d, Section<'d>>) -> SignalTable<'d> {
    let Read { value: mut section, item } = entry;
    let own = KINDS.iter().flat_map(|(_, needed, others)| needed.iter().chain(*others));
    let written = own.copied().filter(|key| section.states(key)).collect();
    let table = SignalTable {
        item,
        kind: section.choice("kind"),
        tiers: section.texts("tiers"),
        tier: section.text("tier"),
        rubric: section.text("rubric"),
        samples: section.whole("samples"),
        temperature: section.number("temperature"),
        concurrency: section.whole("concurrency"),
        schema: section.text("schema"),
        timeout: section.number("timeout_s"),
        written,
    };
    section.finish();
    table
}

impl SignalTable<'_> {
    /// The settings, if everything that the kind needs is there.
    fn settings(&self) -> Option<SignalSettings> {
        let count = |read: &Read<'_, u64>| u32::try_from(read.value).unwrap_or(u32::MAX);
        let kind = match self.kind.as_ref()?.value {
            "self_consistency" => SignalKind::SelfConsistency {
                samples: count(self.samples.as_ref()?),
                temperature: self.temperature.as_ref()?.value,
                concurrency: self.concurrency.as_ref().map_or(4, count),
            },
            "judge" => SignalKind::Judge {
                tier: self.tier.as_ref()?.value.to_owned(),
                rubric: self.rubric.as_ref()?.value.trim().to_owned(),
            },
            "schema_valid" => {
                SignalKind::SchemaValid { schema: self.schema.as_ref().map(|read| read.value.to_owned()) }
            }
            _ => SignalKind::Verifier {
                timeout: Duration::from_secs_f64(self.timeout.as_ref().map_or(10.0, |read| read.value)),
            },
        };
        let tiers = self.tiers.iter().flatten().map(|tier| tier.value.to_owned()).collect();
        Some(SignalSettings { name: self.item.key.to_owned(), tiers, kind })
    }
}

impl Checker<'_, '_> {
    /// Checks the signals against the rest of the file; what is whole of them.
    pub(super) fn check_signals(
        &self,
        tables: &[SignalTable<'_>],
        request: &RequestSettings,
        has_budget: bool,
    ) -> Vec<SignalSettings> {
        for table in tables {
            self.check_signal_name(&table.item);
            for tier in table.tiers.iter().flatten() {
                self.check_one_of_tiers(Some(tier));
            }
            self.check_keys_of_kind(table);
            self.check_judge(table, has_budget);
            self.check_samples(table);
            self.check_schema(table, request);
            self.check_no_tools(table, request);
        }
        tables.iter().filter_map(SignalTable::settings).collect()
    }

    fn check_signal_name(&self, item: &Item<'_>) {
        names::check(self.findings, item);
        if BuiltIn::parse(item.key).is_some() {
            let message = format!("the signal `{}` would hide the one made of log-probabilities", item.key);
            let error = self.findings.error(codes::RESERVED_NAME, message, &item.key_span, "");
            let reserved = BuiltIn::ALL.map(BuiltIn::name).join(", ");
            self.findings.push(error.help(format!("reserved: {reserved}")));
        }
    }

    /// A kind must have what it needs, and nothing that it does not read.
    fn check_keys_of_kind(&self, table: &SignalTable<'_>) {
        let Some(kind) = &table.kind else { return };
        let Some((name, needed, others)) = KINDS.iter().find(|(name, ..)| *name == kind.value) else {
            return;
        };
        let path = &table.item.path;
        for key in needed.iter().filter(|key| !table.written.contains(key)) {
            let message = format!("`{path}.{key}` is missing");
            let error = self.findings.error(codes::MISSING_KEY, message, &kind.item.span, "");
            let meaning = keys::find(&format!("routes.*.signals.*.{key}")).map_or("", |key| key.meaning);
            self.findings.push(error.help(format!("`{key}`: {meaning}")));
        }
        for key in table.written.iter().filter(|key| !needed.contains(key) && !others.contains(key)) {
            let message = format!("`{path}.{key}` does nothing for the kind `{name}`");
            let error = self.findings.error(codes::KEY_UNUSED, message, &table.item.key_span, "");
            let own: Vec<&str> = needed.iter().chain(*others).copied().collect();
            let own = if own.is_empty() { "none".to_owned() } else { own.join(", ") };
            self.findings.push(error.help(format!("remove it; keys of this kind: {own}")));
        }
    }

    fn check_judge(&self, table: &SignalTable<'_>, has_budget: bool) {
        let Some(judge) = &table.tier else { return };
        let (known, span) = (self.known.tiers, &judge.item.span);
        if !known.has(judge.value) {
            names::unknown(self.findings, codes::UNKNOWN_TIER, "tier", judge.value, span, &known.listed());
            return;
        }
        let unbounded = known.valid.iter().find(|tier| tier.name == judge.value);
        if has_budget && unbounded.is_some_and(|tier| tier.max_output_tokens.is_none()) {
            let message = format!(
                "the budget of the route cannot bound what a verdict of the tier `{}` costs, so the client will not start",
                judge.value
            );
            let warning = self.findings.warning(codes::BUDGET_UNBOUNDED, message, span, "it judges here");
            let warning = match known.span(judge.value) {
                Some(span) => self.findings.also(warning, span, "this tier has no `max_output_tokens`"),
                None => warning,
            };
            self.findings
                .push(warning.help(format!("add `max_output_tokens` to the tier `{}`", judge.value)));
        }
    }

    /// Samples must be able to differ.
    fn check_samples(&self, table: &SignalTable<'_>) {
        if table.kind.as_ref().is_none_or(|kind| kind.value != "self_consistency") {
            return;
        }
        let Some(temperature) = &table.temperature else { return };
        if temperature.value <= 0.0 {
            let must = "must be greater than 0: at 0 all samples are alike";
            self.findings.push(temperature.item.out_of_range(self.findings, must));
            return;
        }
        let sampled =
            |name: &str| table.tiers.as_ref().is_none_or(|tiers| tiers.iter().any(|tier| tier.value == name));
        let refuse = |error: Diagnostic, tier: &str| {
            let help = format!("list the tiers that can be sampled in `tiers`, without `{tier}`");
            self.findings.push(error.help(help));
        };
        let place = &temperature.item.span;
        for tier in self.valid_tiers().filter(|tier| sampled(&tier.name)) {
            let api = self.api_of(tier);
            if !tier.takes_temperature {
                let message = format!("the tier `{}` takes no temperature", tier.name);
                let error = self.findings.error(codes::NOT_SUPPORTED, message, place, "it is set here");
                refuse(self.beside_tier(error, tier), &tier.name);
            } else if let Some(api) = api.filter(|api| temperature.value > api.highest_temperature()) {
                let (most, name) = (api.highest_temperature(), api.name());
                let message =
                    format!("the tier `{}` takes temperatures up to {most}: its api is `{name}`", tier.name);
                let error = self.findings.error(codes::NOT_SUPPORTED, message, place, "it is set here");
                let error = self.beside_tier(error, tier).help(format!("set it to at most {most}"));
                refuse(error, &tier.name);
            }
        }
    }

    /// Samples are compared, and judges read, as texts.
    fn check_no_tools(&self, table: &SignalTable<'_>, request: &RequestSettings) {
        let Some(kind) = table.kind.as_ref().filter(|_| request.tools) else { return };
        if matches!(kind.value, "self_consistency" | "judge") {
            let message =
                format!("`{}` reads texts, and answers of this route may be tool calls", kind.value);
            let error = self.findings.error(codes::NOT_SUPPORTED, message, &kind.item.span, "");
            self.findings.push(error.help("use a `verifier`, or take `tools = true` off the route"));
        }
    }

    fn check_schema(&self, table: &SignalTable<'_>, request: &RequestSettings) {
        let Some(kind) = table.kind.as_ref().filter(|kind| kind.value == "schema_valid") else { return };
        if let Some(schema) = &table.schema {
            let bytes = schema.value.trim().as_bytes();
            if bytes.first() != Some(&b'{') || json_span::value_end(bytes, 0) != Some(bytes.len()) {
                let message = format!("`{}` is no JSON Schema", schema.item.path);
                let error = self.findings.error(codes::INVALID_SCHEMA, message, &schema.item.span, "");
                self.findings
                    .push(error.help("write the schema itself, as JSON: '{ \"type\": \"object\" }'"));
            }
        } else if !table.written.contains(&"schema") && request.answer == AnswerForm::Text {
            let message =
                format!("the answers of the route are text, so `{}` needs a schema", table.item.path);
            let error = self.findings.error(codes::MISSING_KEY, message, &kind.item.span, "");
            let help = format!("add `schema` to it, or set `answer` under [{}.request]", self.item.path);
            self.findings.push(error.help(help));
        }
    }
}
