//! From checked rows, in any order, to columns sorted by id.

use super::embeddings::Embedded;
use super::record::{ResultRecord, RowRecord};
use super::{
    Embeddings, EvalLog, Labels, OptionalTokens, ReadOptions, Row, SignalColumn, Split, TierColumns,
    UNKNOWN_TOKENS, nested,
};
use crate::money::Usd;
use crate::signal::TokenNumbers;
use std::collections::BTreeMap;

/// Takes rows one by one.
#[derive(Debug, Default)]
pub(super) struct Builder {
    rows: Vec<Row>,
    tiers: Vec<TierBuilder>,
    embeddings: Option<Embeddings>,
    by_name: BTreeMap<String, usize>,
}

/// Columns that may still be shorter than the rows.
#[derive(Debug, Default)]
struct TierBuilder {
    columns: TierColumns,
    signals: Vec<(String, SignalColumn)>,
    error: LabelBuilder,
    graded_by: LabelBuilder,
    served_model: LabelBuilder,
    finish: LabelBuilder,
    request_hash: LabelBuilder,
}

/// Two or more rows of the same id.
#[derive(Debug)]
pub(super) struct Duplicate {
    pub(super) id: Box<str>,
    /// Places (file, line), in order.
    pub(super) places: Vec<(u32, u32)>,
}

impl Builder {
    /// Number of rows so far.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Takes a row that was checked and completed, and its embedding.
    pub(super) fn push(
        &mut self,
        mut record: RowRecord<'_>,
        embedding: Option<Embedded>,
        place: (u32, u32),
        options: &ReadOptions,
    ) {
        let at = self.rows.len();
        if let Some(settings) = &options.embedding {
            let new = || {
                Embeddings::new(settings.model.clone(), settings.dimensions).of_file(options.static_hash())
            };
            let all = self.embeddings.get_or_insert_with(new);
            match embedding {
                Some(Embedded { vector, cost, latency_ms }) => {
                    all.push_timed(Some(&vector), cost, latency_ms);
                }
                None => all.push(None, Usd::ZERO),
            }
        }
        let mut guess = 0;
        // Results are large; they are read where they are.
        for (name, result) in &mut record.results {
            // Rows tend to have the same tiers in the same order.
            let known = self.tiers.get(guess).is_some_and(|tier| tier.columns.name == **name);
            let index = if known { guess } else { self.tier_index(name) };
            guess = index + 1;
            if let Some(tier) = self.tiers.get_mut(index) {
                tier.push(at, result, options);
            }
        }
        let boxed = |text: std::borrow::Cow<'_, str>| text.into_owned().into_boxed_str();
        self.rows.push(Row {
            id: boxed(record.id),
            text: record.input.map(boxed),
            split: record.split.as_deref().and_then(Split::parse),
            group: record.group.map(boxed),
            weight: record.weight.unwrap_or(1.0) / record.sampling_probability.unwrap_or(1.0),
            features: record
                .features
                .into_iter()
                .filter_map(|(name, value)| Some((boxed(name), value?)))
                .collect(),
            tags: record
                .tags
                .into_iter()
                .filter_map(|(name, value)| Some((boxed(name), boxed(value?))))
                .collect(),
            session: record.session.map(boxed),
            turn: record.turn.and_then(|turn| u32::try_from(turn).ok()),
            place,
        });
    }

    fn tier_index(&mut self, name: &str) -> usize {
        if let Some(&index) = self.by_name.get(name) {
            return index;
        }
        self.by_name.insert(name.to_owned(), self.tiers.len());
        let columns = TierColumns { name: name.to_owned(), ..TierColumns::default() };
        self.tiers.push(TierBuilder { columns, ..TierBuilder::default() });
        self.tiers.len() - 1
    }

    /// Sorts by id. Rows whose id is not unique are left out, all of them: which one is meant is not for us to guess,
    /// and keeping the first would make the log depend on the order of its lines.
    pub(super) fn finish(mut self, hash: String, options: &ReadOptions) -> (EvalLog, Vec<Duplicate>) {
        let mut order: Vec<u32> = (0..self.rows.len()).filter_map(|row| u32::try_from(row).ok()).collect();
        let key = |row: &u32| self.rows.get(*row as usize).map(|row| (&row.id, row.place));
        order.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
        let mut duplicates: Vec<Duplicate> = Vec::new();
        let mut unique = Vec::with_capacity(order.len());
        for same in order.chunk_by(|a, b| key(a).map(|key| key.0) == key(b).map(|key| key.0)) {
            match same {
                [row] => unique.push(*row),
                _ => duplicates.push(Duplicate {
                    id: same.first().and_then(key).map(|key| key.0.clone()).unwrap_or_default(),
                    places: same.iter().filter_map(key).map(|key| key.1).collect(),
                }),
            }
        }
        let rows_read = self.rows.len();
        let mut rows: Vec<Option<Row>> = self.rows.into_iter().map(Some).collect();
        self.tiers.sort_by(|a, b| a.columns.name.cmp(&b.columns.name));
        let tiers: Vec<TierColumns> = self
            .tiers
            .into_iter()
            .map(|tier| tier.finish(rows_read, &unique, options))
            .filter(|tier| tier.present.contains(&true))
            .collect();
        let rows =
            unique.iter().filter_map(|row| rows.get_mut(*row as usize).and_then(Option::take)).collect();
        let embeddings = self.embeddings.map(|embeddings| embeddings.pick(&unique));
        (EvalLog { rows, tiers, embeddings, repriced: options.reprice, hash }, duplicates)
    }
}

impl TierBuilder {
    fn push(&mut self, row: usize, result: &mut ResultRecord<'_>, options: &ReadOptions) {
        self.pad(row);
        let columns = &mut self.columns;
        let failed = result.error.is_some();
        columns.present.push(true);
        columns.quality.push(result.quality.unwrap_or(if failed { 0.0 } else { f64::NAN }));
        columns.cost.push(result.cost_usd.unwrap_or_default());
        columns.latency_ms.push(single(result.latency_ms.unwrap_or(f64::NAN)));
        columns.input_tokens.push(tokens(result.input_tokens));
        columns.output_tokens.push(tokens(result.output_tokens));
        push_optional(&mut columns.cached_input_tokens, row, result.cached_input_tokens);
        push_optional(&mut columns.cache_write_tokens, row, result.cache_write_tokens);
        push_optional(&mut columns.reasoning_tokens, row, result.reasoning_tokens);
        columns.failed.push(failed);
        columns.output.push(
            result
                .output
                .take()
                .filter(|_| options.keep_outputs)
                .map(|output| output.into_owned().into_boxed_str()),
        );
        if let Some(tokens) = result.token_logprobs.as_ref().filter(|_| options.keep_tokens && !failed)
            && let Ok(tokens) = nested::tokens(tokens.get())
        {
            columns.tokens.resize(row, None);
            columns.tokens.push(Some(TokenNumbers::of_answer(&tokens).into()));
        }
        for (name, value) in &result.signals {
            if let Some(signal) = column(&mut self.signals, name) {
                signal.value.resize(row, f64::NAN);
                signal.value.push(value.unwrap_or(f64::NAN));
            }
        }
        for (name, cost) in &result.signal_cost_usd {
            let Some(cost) = cost.filter(|cost| *cost != Usd::ZERO) else { continue };
            if let Some(signal) = column(&mut self.signals, name) {
                signal.cost.resize(row, Usd::ZERO);
                signal.cost.push(cost);
            }
        }
        self.error.push(row, result.error.as_deref());
        self.graded_by.push(row, result.graded_by.as_deref());
        self.served_model.push(row, result.served_model.as_deref());
        self.finish.push(row, result.finish.as_deref());
        self.request_hash.push(row, result.request_hash.as_deref());
    }

    /// Fills up to `rows` entries for rows that lack the tier.
    fn pad(&mut self, rows: usize) {
        let columns = &mut self.columns;
        columns.present.resize(rows, false);
        columns.quality.resize(rows, 0.0);
        columns.cost.resize(rows, Usd::ZERO);
        columns.latency_ms.resize(rows, f32::NAN);
        columns.input_tokens.resize(rows, UNKNOWN_TOKENS);
        columns.output_tokens.resize(rows, UNKNOWN_TOKENS);
        columns.failed.resize(rows, false);
        columns.output.resize(rows, None);
    }

    /// Brings every column to the rows of `order`, in that order.
    fn finish(mut self, rows: usize, order: &[u32], options: &ReadOptions) -> TierColumns {
        self.pad(rows);
        let mut columns = self.columns;
        if !columns.tokens.is_empty() {
            columns.tokens.resize(rows, None);
        }
        let tokens = if columns.tokens.is_empty() { Vec::new() } else { pick(columns.tokens, order) };
        let price = options.prices.get(&columns.name).filter(|_| options.keep_tokens).copied();
        TierColumns {
            present: pick(columns.present, order),
            quality: pick(columns.quality, order),
            cost: pick(columns.cost, order),
            latency_ms: pick(columns.latency_ms, order),
            input_tokens: pick(columns.input_tokens, order),
            output_tokens: pick(columns.output_tokens, order),
            cached_input_tokens: finish_optional(columns.cached_input_tokens, rows, order),
            cache_write_tokens: finish_optional(columns.cache_write_tokens, rows, order),
            reasoning_tokens: finish_optional(columns.reasoning_tokens, rows, order),
            signals: self
                .signals
                .into_iter()
                .map(|(name, mut signal)| {
                    signal.value.resize(rows, f64::NAN);
                    if !signal.cost.is_empty() {
                        signal.cost.resize(rows, Usd::ZERO);
                    }
                    let cost = if signal.cost.is_empty() { signal.cost } else { pick(signal.cost, order) };
                    (name, SignalColumn { value: pick(signal.value, order), cost })
                })
                .collect(),
            failed: pick(columns.failed, order),
            output: pick(columns.output, order),
            tokens,
            price,
            error: self.error.finish(rows, order),
            graded_by: self.graded_by.finish(rows, order),
            served_model: self.served_model.finish(rows, order),
            finish: self.finish.finish(rows, order),
            request_hash: self.request_hash.finish(rows, order),
            name: columns.name,
        }
    }
}

/// Labels in order of appearance.
#[derive(Debug, Default)]
struct LabelBuilder {
    numbers: BTreeMap<Box<str>, u32>,
    of_row: Vec<u32>,
}

const NO_LABEL: u32 = u32::MAX;

impl LabelBuilder {
    fn push(&mut self, row: usize, label: Option<&str>) {
        let Some(label) = label else { return };
        // `entry` would need an owned label for every row.
        let known = self.numbers.get(label).copied();
        let number = known.unwrap_or_else(|| {
            let next = u32::try_from(self.numbers.len()).unwrap_or(NO_LABEL);
            *self.numbers.entry(label.into()).or_insert(next)
        });
        self.of_row.resize(row, NO_LABEL);
        self.of_row.push(number);
    }

    /// Numbers labels by their sorted names, among the rows that remain.
    fn finish(mut self, rows: usize, order: &[u32]) -> Labels {
        if self.of_row.is_empty() {
            return Labels::default();
        }
        self.of_row.resize(rows, NO_LABEL);
        let mut of_row = pick(self.of_row, order);
        let used: std::collections::BTreeSet<u32> = of_row.iter().copied().collect();
        let mut renumbered = BTreeMap::new();
        let mut names = Vec::new();
        for (name, number) in self.numbers {
            if used.contains(&number) {
                renumbered.insert(number, u32::try_from(names.len()).unwrap_or(NO_LABEL));
                names.push(name);
            }
        }
        if names.is_empty() {
            return Labels::default();
        }
        for number in &mut of_row {
            *number = renumbered.get(number).copied().unwrap_or(NO_LABEL);
        }
        Labels { names, of_row }
    }
}

/// The column of a signal; tiers have few, so looking through them beats a tree.
fn column<'c>(signals: &'c mut Vec<(String, SignalColumn)>, name: &str) -> Option<&'c mut SignalColumn> {
    let at = signals.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
        signals.push((name.to_owned(), SignalColumn::default()));
        signals.len() - 1
    });
    signals.get_mut(at).map(|(_, column)| column)
}

fn push_optional(column: &mut OptionalTokens, row: usize, count: Option<u64>) {
    if count.is_some() {
        column.0.resize(row, UNKNOWN_TOKENS);
        column.0.push(tokens(count));
    }
}

fn finish_optional(mut column: OptionalTokens, rows: usize, order: &[u32]) -> OptionalTokens {
    if !column.0.is_empty() {
        column.0.resize(rows, UNKNOWN_TOKENS);
        column.0 = pick(column.0, order);
    }
    column
}

fn tokens(count: Option<u64>) -> u32 {
    count.and_then(|count| u32::try_from(count).ok()).unwrap_or(UNKNOWN_TOKENS)
}

/// Latency needs no more than seven digits.
#[expect(clippy::cast_possible_truncation, reason = "rounding is meant")]
fn single(value: f64) -> f32 {
    value as f32
}

/// The entries of `order`, each of which is taken once.
fn pick<T: Default>(mut values: Vec<T>, order: &[u32]) -> Vec<T> {
    order.iter().map(|row| values.get_mut(*row as usize).map(std::mem::take).unwrap_or_default()).collect()
}
