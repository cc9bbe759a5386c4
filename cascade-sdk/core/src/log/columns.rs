//! The log in memory: one entry a row, one set of columns a tier, rows sorted by id.

use super::Embeddings;
use crate::money::{Price, Usage, Usd};
use crate::signal::TokenNumbers;
use std::collections::BTreeMap;

/// An eval log, rows sorted by id so that nothing depends on the order of files or lines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EvalLog {
    /// One entry a row.
    pub rows: Vec<Row>,
    /// One set of columns a tier, sorted by name; every column is as long as `rows`.
    pub tiers: Vec<TierColumns>,
    /// Embeddings of the prompts, where the reader was told what made them.
    pub embeddings: Option<Embeddings>,
    /// Whether costs are tokens × the prices of the configuration even where rows state them.
    pub repriced: bool,
    /// Lower-case hex SHA-256 over the sorted SHA-256 of the lines (DESIGN.md 6).
    pub hash: String,
}

/// Which half a row belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Split {
    /// Used to choose.
    Calibration,
    /// Held out: used to report.
    Test,
}

impl Split {
    /// Its name in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calibration => "calibration",
            Self::Test => "test",
        }
    }

    /// The half of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Calibration, Self::Test].into_iter().find(|split| split.name() == name)
    }
}

/// What is known of a row apart from the tiers' results.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Unique name.
    pub id: Box<str>,
    /// Routing text: `input`, or the user and tool texts of `messages` joined by newlines.
    pub text: Option<Box<str>>,
    /// Half given by the log.
    pub split: Option<Split>,
    /// Rows that belong together share a group.
    pub group: Option<Box<str>>,
    /// Weight, positive; 1 where the log has none. Already divided by the row's sampling probability.
    pub weight: f64,
    /// Numbers the application knows, sorted by name.
    pub features: Vec<(Box<str>, f64)>,
    /// Labels the application knows, sorted by name.
    pub tags: Vec<(Box<str>, Box<str>)>,
    /// Conversation the row is part of.
    pub session: Option<Box<str>>,
    /// Position in the conversation.
    pub turn: Option<u32>,
    /// Source file (index into the reader's list) and line, for messages about this row.
    pub place: (u32, u32),
}

impl Row {
    /// A row of weight 1 of which only the name is known.
    pub fn new(id: impl Into<Box<str>>) -> Self {
        Self {
            id: id.into(),
            text: None,
            split: None,
            group: None,
            weight: 1.0,
            features: Vec::new(),
            tags: Vec::new(),
            session: None,
            turn: None,
            place: (0, 0),
        }
    }
}

/// Stands for an unknown number of tokens.
pub const UNKNOWN_TOKENS: u32 = u32::MAX;

/// The results of one tier.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TierColumns {
    /// The tier's name as in the log.
    pub name: String,
    /// Whether the tier was collected for the row; where false the other columns hold defaults.
    pub present: Vec<bool>,
    /// Quality in [0, 1]; 0 where the call failed.
    pub quality: Vec<f64>,
    /// Cost of the call, without the costs of signals.
    pub cost: Vec<Usd>,
    /// Wall-clock time in milliseconds; NaN where unknown.
    pub latency_ms: Vec<f32>,
    /// Input tokens; [`UNKNOWN_TOKENS`] where unknown.
    pub input_tokens: Vec<u32>,
    /// Output tokens; [`UNKNOWN_TOKENS`] where unknown.
    pub output_tokens: Vec<u32>,
    /// Input tokens read from the provider's cache.
    pub cached_input_tokens: OptionalTokens,
    /// Input tokens written to the provider's cache.
    pub cache_write_tokens: OptionalTokens,
    /// Hidden reasoning tokens, part of the output tokens.
    pub reasoning_tokens: OptionalTokens,
    /// Signals by name.
    pub signals: BTreeMap<String, SignalColumn>,
    /// Whether the call ran and failed.
    pub failed: Vec<bool>,
    /// What the model returned; `None` everywhere if the reader was told not to keep outputs.
    pub output: Vec<Option<Box<str>>>,
    /// The tokens of the answers, end of sequence left out; empty unless the reader was told to keep them.
    pub tokens: Vec<Option<Box<[TokenNumbers]>>>,
    /// The tier's price, where the reader knows it and keeps tokens.
    pub price: Option<Price>,
    /// Why calls failed.
    pub error: Labels,
    /// Who graded.
    pub graded_by: Labels,
    /// Models that the provider says it served.
    pub served_model: Labels,
    /// Why models stopped, where they were not simply done.
    pub finish: Labels,
    /// Fingerprints of model, request table and schema under which the requests were sent.
    pub request_hash: Labels,
}

/// One signal of one tier.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SignalColumn {
    /// Values; NaN where missing.
    pub value: Vec<f64>,
    /// What obtaining the value cost beyond the call itself; empty where it is free in every row.
    pub cost: Vec<Usd>,
}

/// Token counts that most logs do not have: no memory until a row has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OptionalTokens(pub(super) Vec<u32>);

impl OptionalTokens {
    /// The count of a row, if known.
    pub fn get(&self, row: usize) -> Option<u32> {
        self.0.get(row).copied().filter(|count| *count != UNKNOWN_TOKENS)
    }
}

/// Texts of which a log holds few different ones: each is kept once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    pub(super) names: Vec<Box<str>>,
    /// One entry a row, `u32::MAX` for none; empty where no row has any.
    pub(super) of_row: Vec<u32>,
}

impl Labels {
    /// The label of a row.
    pub fn get(&self, row: usize) -> Option<&str> {
        self.names.get(*self.of_row.get(row)? as usize).map(AsRef::as_ref)
    }

    /// The different labels, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(AsRef::as_ref)
    }
}

impl EvalLog {
    /// The columns of a tier.
    pub fn tier(&self, name: &str) -> Option<&TierColumns> {
        self.tiers
            .binary_search_by(|tier| tier.name.as_str().cmp(name))
            .ok()
            .and_then(|at| self.tiers.get(at))
    }

    /// The index of the row with this id.
    pub fn row_index(&self, id: &str) -> Option<usize> {
        self.rows.binary_search_by(|row| (*row.id).cmp(id)).ok()
    }
}

impl TierColumns {
    /// What the call of a row would have cost, had its answer been given up after so many tokens: its cost without the output
    /// tokens that were not generated then. The whole cost where price or token counts are not known.
    pub fn cost_until(&self, row: usize, tokens: u64) -> Usd {
        let cost = self.cost.get(row).copied().unwrap_or_default();
        let spared = |price: &Price| {
            let (whole, cut) = (self.usage(row)?, self.usage_until(row, tokens)?);
            price.cost(&whole).ok()?.checked_sub(price.cost(&cut).ok()?)
        };
        let spared = self.price.as_ref().and_then(spared).unwrap_or_default();
        cost.saturating_sub(spared).max(Usd::ZERO)
    }

    /// The usage of a row, where input and output tokens are known.
    pub fn usage(&self, row: usize) -> Option<Usage> {
        let known = |tokens: &[u32]| {
            tokens.get(row).filter(|count| **count != UNKNOWN_TOKENS).map(|count| u64::from(*count))
        };
        let part = |count: Option<u32>| u64::from(count.unwrap_or(0));
        Some(Usage {
            input_tokens: known(&self.input_tokens)?,
            cached_input_tokens: part(self.cached_input_tokens.get(row)),
            cache_write_tokens: part(self.cache_write_tokens.get(row)),
            output_tokens: known(&self.output_tokens)?,
            reasoning_tokens: part(self.reasoning_tokens.get(row)),
        })
    }

    /// The usage, had the answer been given up after so many tokens; hidden reasoning comes before the first of them.
    pub fn usage_until(&self, row: usize, tokens: u64) -> Option<Usage> {
        let whole = self.usage(row)?;
        let generated = whole.reasoning_tokens.saturating_add(tokens).min(whole.output_tokens);
        Some(Usage { output_tokens: generated, ..whole })
    }

    /// The tokens of a row's answer, where they were kept.
    pub fn tokens_of(&self, row: usize) -> Option<&[TokenNumbers]> {
        self.tokens.get(row)?.as_deref()
    }
}
