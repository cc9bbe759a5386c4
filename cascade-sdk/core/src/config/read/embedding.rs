//! `[routes.R.embedding]`.

use super::names;
use super::route::Checker;
use crate::config::section::{Read, Section};
use crate::config::{Api, EmbeddingSettings, ServedEmbedding, codes};
use crate::document::read::Item;
use crate::money::{TokenPrice, Usd};
use std::time::Duration;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The settings as they stand in the file; `None` for what is missing or broken.
#[derive(Debug)]
pub(super) struct EmbeddingTable<'d> {
    model: Option<Read<'d, &'d str>>,
    provider: Option<Read<'d, &'d str>>,
    file: Option<Read<'d, &'d str>>,
    dimensions: Option<Read<'d, u64>>,
    cost: Option<Read<'d, Usd>>,
    price: Option<Read<'d, TokenPrice>>,
    send_dimensions: Option<Read<'d, bool>>,
    timeout: Option<Read<'d, f64>>,
    on_failure: Option<Read<'d, &'d str>>,
    states_provider: bool,
}

pub(super) fn read(mut section: Section<'_>) -> EmbeddingTable<'_> {
    let table = EmbeddingTable {
        states_provider: section.states("provider"),
        model: section.text("model"),
        provider: section.text("provider"),
        file: section.text("file"),
        dimensions: section.whole("dimensions"),
        cost: section.money("cost_usd"),
        price: section.token_price("usd_per_million_tokens"),
        send_dimensions: section.boolean("send_dimensions"),
        timeout: section.number("timeout_s"),
        on_failure: section.text("on_failure"),
    };
    section.finish();
    table
}

impl Checker<'_, '_> {
    /// The settings, if everything in them can be used.
    pub(super) fn check_embedding(&self, table: &EmbeddingTable<'_>) -> Option<EmbeddingSettings> {
        self.check_one_of_tiers(table.on_failure.as_ref());
        self.check_file(table);
        self.check_server(table);
        Some(EmbeddingSettings {
            model: table.model.as_ref()?.value.to_owned(),
            dimensions: usize::try_from(table.dimensions.as_ref()?.value).ok()?,
            cost: table.cost.as_ref().map_or(Usd::ZERO, |read| read.value),
            // Beyond what the clock can count is for ever.
            timeout: table.timeout.as_ref().map_or(DEFAULT_TIMEOUT, |read| {
                Duration::try_from_secs_f64(read.value).unwrap_or(Duration::MAX)
            }),
            on_failure: table.on_failure.as_ref().map(|read| read.value.to_owned()),
            served: table.provider.as_ref().map(|provider| ServedEmbedding {
                provider: provider.value.to_owned(),
                price: table.price.as_ref().map(|read| read.value),
                send_dimensions: table.send_dimensions.as_ref().is_some_and(|read| read.value),
            }),
            file: table.file.as_ref().map(|read| read.value.to_owned()),
        })
    }

    /// Beside a file there is nobody to ask, to pay or to wait for.
    fn check_file(&self, table: &EmbeddingTable<'_>) {
        if table.file.is_none() {
            return;
        }
        let others = [
            table.provider.as_ref().map(|read| &read.item),
            table.cost.as_ref().map(|read| &read.item),
            table.price.as_ref().map(|read| &read.item),
            table.send_dimensions.as_ref().map(|read| &read.item),
            table.timeout.as_ref().map(|read| &read.item),
            table.on_failure.as_ref().map(|read| &read.item),
        ];
        for item in others.into_iter().flatten() {
            let message = format!("`{}` does nothing beside `file`", item.path);
            let error = self.findings.error(codes::KEY_UNUSED, message, &item.key_span, "");
            let help = "remove it: a vector that is read from a file costs nothing and cannot fail";
            self.findings.push(error.help(help));
        }
    }

    /// The provider must be one whose embeddings can be asked for; without one there is nothing to say of it.
    fn check_server(&self, table: &EmbeddingTable<'_>) {
        let (findings, providers) = (self.findings, self.known.providers);
        let Some(provider) = &table.provider else {
            let price = table.price.as_ref().map(|read| &read.item);
            let unused: [Option<&Item<'_>>; 2] =
                [price, table.send_dimensions.as_ref().map(|read| &read.item)];
            let says_enough = table.states_provider || table.file.is_some();
            for item in unused.into_iter().flatten().filter(|_| !says_enough) {
                let message = format!("`{}` does nothing without a provider", item.path);
                let error = findings.error(codes::KEY_UNUSED, message, &item.key_span, "");
                let help = "say with `provider` whose `/embeddings` endpoint makes it; an embedder of your own states its price itself, or `cost_usd` does";
                findings.push(error.help(help));
            }
            return;
        };
        if !providers.has(provider.value) {
            let (place, known) = (&provider.item.span, providers.listed());
            names::unknown(findings, codes::UNKNOWN_PROVIDER, "provider", provider.value, place, &known);
        }
        let declared = providers.valid.iter().find(|known| known.name == provider.value);
        if let Some(api) = declared.map(|provider| provider.api).filter(|api| !api.gives_embeddings()) {
            let message = format!("the api `{}` gives no embeddings that cascade reads", api.name());
            let error = findings.error(codes::NOT_SUPPORTED, message, &provider.item.span, "");
            findings.push(error.help(format!(
                "name a provider with `api = \"{}\"`, or remove the key and give the client an embedder of your own",
                Api::OpenAi.name()
            )));
        }
    }
}
