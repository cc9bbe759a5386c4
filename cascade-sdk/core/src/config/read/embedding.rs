//! `[routes.R.embedding]`.

use super::route::Checker;
use crate::config::EmbeddingSettings;
use crate::config::section::{Read, Section};
use crate::money::Usd;
use std::time::Duration;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The settings as they stand in the file; `None` for what is missing or broken.
#[derive(Debug)]
pub(super) struct EmbeddingTable<'d> {
    model: Option<Read<'d, &'d str>>,
    dimensions: Option<Read<'d, u64>>,
    cost: Option<Read<'d, Usd>>,
    timeout: Option<Read<'d, f64>>,
    on_failure: Option<Read<'d, &'d str>>,
}

pub(super) fn read(mut section: Section<'_>) -> EmbeddingTable<'_> {
    let table = EmbeddingTable {
        model: section.text("model"),
        dimensions: section.whole("dimensions"),
        cost: section.money("cost_usd"),
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
        Some(EmbeddingSettings {
            model: table.model.as_ref()?.value.to_owned(),
            dimensions: usize::try_from(table.dimensions.as_ref()?.value).ok()?,
            cost: table.cost.as_ref().map_or(Usd::ZERO, |read| read.value),
            // Beyond what the clock can count is for ever.
            timeout: table.timeout.as_ref().map_or(DEFAULT_TIMEOUT, |read| {
                Duration::try_from_secs_f64(read.value).unwrap_or(Duration::MAX)
            }),
            on_failure: table.on_failure.as_ref().map(|read| read.value.to_owned()),
        })
    }
}
