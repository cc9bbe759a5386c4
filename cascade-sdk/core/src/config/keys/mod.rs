//! Every key of `cascade.toml`, once: the reader, the JSON Schema and the reference are made from these tables.

mod budgets;
mod providers;
mod route_embedding;
mod route_runtime;
mod route_signals;
mod routes;
mod tiers;

/// One key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Key {
    /// Dotted path; `*` stands for a name that people choose.
    pub path: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// Whether it must be there.
    pub need: Need,
    /// Unit of the value; empty where there is none.
    pub unit: &'static str,
    /// What it does, as one sentence.
    pub meaning: &'static str,
}

/// Whether a key must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// An error without it.
    Required,
    /// Nothing without it.
    Optional,
    /// This, in TOML, without it.
    Default(&'static str),
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A table with the keys listed below it.
    Table,
    /// A table whose keys are names that people choose.
    Named,
    /// A string.
    Text,
    /// A list of strings, not empty and without repetition.
    Texts,
    /// A table of strings.
    TextMap,
    /// `true` or `false`.
    Boolean,
    /// `true`, `false` or one of these strings.
    BooleanOr(&'static [&'static str]),
    /// A whole number.
    Whole {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A number.
    Number(Range),
    /// An amount of money above zero, read from its digits.
    Money,
    /// An amount of money from zero on, read from its digits.
    Price,
    /// US dollars per million tokens from zero on, read from its digits; at most six decimals.
    TokenPrice,
    /// One of these strings.
    Choice(&'static [&'static str]),
    /// A list of these strings, not empty and without repetition.
    Choices(&'static [&'static str]),
    /// A length of time such as `30s`, `15m`, `1h`, `1d`.
    Window,
    /// A day such as `2026-11-01`.
    Date,
    /// `"text"` or `{ schema = "path" }`.
    Answer,
}

/// Numbers that a key accepts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Whether the ends themselves are accepted.
    pub closed: bool,
}

impl Range {
    const fn open(low: f64, high: f64) -> Self {
        Self { low, high, closed: false }
    }

    const fn closed(low: f64, high: f64) -> Self {
        Self { low, high, closed: true }
    }

    /// True if the number lies in the range.
    pub fn contains(self, number: f64) -> bool {
        if self.closed {
            (self.low..=self.high).contains(&number)
        } else {
            number > self.low && number < self.high
        }
    }

    /// Completes `must be …`.
    pub fn describe(self) -> String {
        let Self { low, high, closed } = self;
        match (high.is_finite(), closed) {
            (true, true) => format!("between {low} and {high}"),
            (true, false) => format!("strictly between {low} and {high}"),
            (false, true) => format!("at least {low}"),
            (false, false) => format!("greater than {low}"),
        }
    }
}

const POSITIVE: Range = Range::open(0.0, f64::INFINITY);
const TOKENS: Kind = Kind::Whole { min: 1, max: 1_000_000_000 };
/// The seed's upper end is TOML's largest integer.
const SEED: Kind = Kind::Whole { min: 0, max: i64::MAX as u64 };
const PER_MILLION: &str = "USD per million tokens";

const fn key(path: &'static str, kind: Kind, need: Need, unit: &'static str, meaning: &'static str) -> Key {
    Key { path, kind, need, unit, meaning }
}

use Kind::Whole;
use Need::Required;

/// The tables, one for each part of the file. Parents stand before their children.
const TABLES: [&[Key]; 8] = [
    &[key("schema", Whole { min: 1, max: 1 }, Required, "", "Version of this file's format.")],
    providers::KEYS,
    tiers::KEYS,
    budgets::KEYS,
    routes::KEYS,
    route_embedding::KEYS,
    route_signals::KEYS,
    route_runtime::KEYS,
];

/// Every key, parents before their children.
pub fn all() -> impl Iterator<Item = &'static Key> {
    TABLES.into_iter().flatten()
}

/// The key of that path, names replaced by `*`.
pub fn find(path: &str) -> Option<&'static Key> {
    all().find(|key| key.path == path)
}

/// The keys directly below a path; the empty path is the document.
pub fn children(path: &str) -> impl Iterator<Item = (&'static str, &'static Key)> {
    all().filter_map(move |key| {
        let name = match path {
            "" => key.path,
            _ => key.path.strip_prefix(path)?.strip_prefix('.')?,
        };
        (!name.contains('.') && name != "*").then_some((name, key))
    })
}
