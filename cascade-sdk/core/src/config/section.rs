//! A table of `cascade.toml` that is read by the rules of [`super::keys`].

use super::date::Date;
use super::keys::{self, Key, Kind, Need};
use super::{codes, window};
use crate::diag::Diagnostic;
use crate::document::read::{Findings, Item, Table};
use crate::money::{MoneyError, TokenPrice, Usd};
use std::time::Duration;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Read<'d, T> {
    pub(crate) value: T,
    pub(crate) item: Item<'d>,
}

/// A value of [`Kind::BooleanOr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BooleanOr<'d> {
    Boolean(bool),
    Word(&'d str),
}

/// A table and the path under which [`keys::all`] lists its keys.
#[derive(Debug)]
pub(crate) struct Section<'d> {
    pub(crate) table: Table<'d>,
    pattern: String,
}

impl<'d> Section<'d> {
    /// The path is that of the table with names replaced by `*`, such as `routes.*.fit`.
    pub(crate) fn new(table: Table<'d>, pattern: impl Into<String>) -> Self {
        Self { table, pattern: pattern.into() }
    }

    pub(crate) fn findings(&self) -> &'d Findings {
        self.table.findings
    }

    fn key(&self, name: &str) -> Option<&'static Key> {
        let key = keys::children(&self.pattern).find(|(child, _)| *child == name).map(|(_, key)| key);
        debug_assert!(key.is_some(), "`{}.{name}` is not in the table of keys", self.pattern);
        key
    }

    fn take(&mut self, name: &str) -> Option<(Item<'d>, &'static Key)> {
        let key = self.key(name)?;
        let item = self.table.take(name);
        if item.is_none() && key.need == Need::Required && !self.table.has_misspelt(name, &self.known()) {
            let price = key.path.starts_with("tiers.*.price");
            let code = if price { codes::PRICE_MISSING } else { self.findings().codes.missing_key };
            let mut missing = self.table.missing(code, name).help(format!("`{name}`: {}", key.meaning));
            if price {
                missing = missing
                    .help("such as `price = { input = 0.10, output = 0.40 }`, in USD per million tokens");
            }
            self.findings().push(missing);
        }
        Some((item?, key))
    }

    pub(crate) fn text(&mut self, name: &str) -> Option<Read<'d, &'d str>> {
        let (item, _) = self.take(name)?;
        let value = item.text(self.findings())?;
        if value.trim().is_empty() {
            self.findings().push(item.out_of_range(self.findings(), "must not be empty"));
            return None;
        }
        Some(Read { value, item })
    }

    pub(crate) fn boolean(&mut self, name: &str) -> Option<Read<'d, bool>> {
        let (item, _) = self.take(name)?;
        let value = item.boolean(self.findings())?;
        Some(Read { value, item })
    }

    /// `true`, `false` or one of the key's words.
    pub(crate) fn boolean_or(&mut self, name: &str) -> Option<BooleanOr<'d>> {
        let (item, key) = self.take(name)?;
        let word = if item.is_text() { item.text(self.findings()) } else { None };
        let Some(value) = word.filter(|word| !matches!(*word, "true" | "false")) else {
            return item.boolean(self.findings()).map(BooleanOr::Boolean);
        };
        Self::check_choice(self.findings(), &item, value, key.kind)?;
        Some(BooleanOr::Word(value))
    }

    pub(crate) fn whole(&mut self, name: &str) -> Option<Read<'d, u64>> {
        let (item, key) = self.take(name)?;
        let value = item.natural(self.findings())?;
        match key.kind {
            Kind::Whole { min, max } if !(min..=max).contains(&value) => {
                let must = format!("must be between {min} and {max}");
                self.findings().push(item.out_of_range(self.findings(), &must));
                None
            }
            _ => Some(Read { value, item }),
        }
    }

    pub(crate) fn number(&mut self, name: &str) -> Option<Read<'d, f64>> {
        let (item, key) = self.take(name)?;
        let value = item.number(self.findings())?;
        match key.kind {
            Kind::Number(range) if !range.contains(value) => {
                self.findings()
                    .push(item.out_of_range(self.findings(), &format!("must be {}", range.describe())));
                None
            }
            _ => Some(Read { value, item }),
        }
    }

    /// An amount of money: above zero, or from zero on for a [`Kind::Price`].
    pub(crate) fn money(&mut self, name: &str) -> Option<Read<'d, Usd>> {
        let (item, key) = self.take(name)?;
        let value = self.amount(&item, Usd::parse)?;
        if value.is_negative() && key.kind == Kind::Price {
            self.negative_price(&item);
            return None;
        }
        if value <= Usd::ZERO && key.kind == Kind::Money {
            self.findings().push(item.out_of_range(self.findings(), "must be greater than 0"));
            return None;
        }
        Some(Read { value, item })
    }

    /// US dollars per million tokens.
    pub(crate) fn token_price(&mut self, name: &str) -> Option<Read<'d, TokenPrice>> {
        let (item, _) = self.take(name)?;
        let value = self.amount(&item, TokenPrice::parse_per_million)?;
        if value < TokenPrice::ZERO {
            self.negative_price(&item);
            return None;
        }
        Some(Read { value, item })
    }

    fn amount<T>(&self, item: &Item<'d>, parse: impl Fn(&str) -> Result<T, MoneyError>) -> Option<T> {
        let findings = self.findings();
        let digits = item.decimal(findings)?;
        let error: Diagnostic = match parse(digits) {
            Ok(amount) => return Some(amount),
            Err(MoneyError::TooManyDecimals) => {
                let message = format!("`{}` has more decimals than money holds exactly", item.path);
                item.error(findings, findings.codes.too_many_decimals, message, "").help(
                    "prices are in USD per million tokens, with up to six decimals; other amounts in USD, with up to \
                     twelve",
                )
            }
            Err(MoneyError::Overflow) => {
                let message = format!("`{}` is too large an amount", item.path);
                item.error(findings, findings.codes.amount_too_large, message, "")
                    .help("the largest amount is 9.2 million USD")
            }
            Err(_) => item.out_of_range(findings, "must be a finite number"),
        };
        findings.push(error);
        None
    }

    fn negative_price(&self, item: &Item<'d>) {
        let message = format!("`{}` is negative", item.path);
        let error = item
            .error(self.findings(), codes::PRICE_NEGATIVE, message, "")
            .help("prices are 0 or more, in USD per million tokens");
        self.findings().push(error);
    }

    /// One of the key's words.
    pub(crate) fn choice(&mut self, name: &str) -> Option<Read<'d, &'d str>> {
        let (item, key) = self.take(name)?;
        let value = item.text(self.findings())?;
        Self::check_choice(self.findings(), &item, value, key.kind)?;
        Some(Read { value, item })
    }

    fn check_choice(findings: &Findings, item: &Item<'_>, value: &str, kind: Kind) -> Option<()> {
        let (Kind::Choice(allowed) | Kind::Choices(allowed) | Kind::BooleanOr(allowed)) = kind else {
            return Some(());
        };
        if allowed.contains(&value) {
            return Some(());
        }
        findings.push(item.unknown_value(findings, value, allowed));
        None
    }

    /// A list of strings: not empty, each once and, for a [`Kind::Choices`], one of the key's words. What is wrong is
    /// left out.
    pub(crate) fn texts(&mut self, name: &str) -> Option<Vec<Read<'d, &'d str>>> {
        let (item, _) = self.take(name)?;
        self.texts_of(&item, name)
    }

    /// The same for an entry that was taken already.
    pub(crate) fn texts_of(&self, item: &Item<'d>, name: &str) -> Option<Vec<Read<'d, &'d str>>> {
        let (findings, key) = (self.findings(), self.key(name)?);
        let items = item.list(findings)?;
        if items.is_empty() {
            findings.push(item.error(findings, codes::EMPTY_LIST, format!("`{}` is empty", item.path), ""));
            return None;
        }
        let mut list: Vec<Read<'d, &'d str>> = Vec::new();
        for item in items {
            let Some(value) = item.text(findings) else { continue };
            if Self::check_choice(findings, &item, value, key.kind).is_none() {
                continue;
            }
            if let Some(first) = list.iter().find(|read| read.value == value) {
                let error = item.error(
                    findings,
                    codes::DUPLICATE,
                    format!("`{value}` is listed twice"),
                    "again here",
                );
                findings.push(findings.also(error, &first.item.span, "first here"));
                continue;
            }
            list.push(Read { value, item });
        }
        Some(list)
    }

    pub(crate) fn date(&mut self, name: &str) -> Option<Date> {
        let (item, _) = self.take(name)?;
        let value = item.text(self.findings())?;
        let date = Date::parse(value);
        if date.is_none() {
            let message = format!("`{value}` is not a day");
            let error = item
                .error(self.findings(), codes::INVALID_DATE, message, "")
                .help("year, month and day in quotes: \"2026-11-01\"");
            self.findings().push(error);
        }
        date
    }

    pub(crate) fn window(&mut self, name: &str) -> Option<Duration> {
        let (item, _) = self.take(name)?;
        let value = item.text(self.findings())?;
        let window = window::parse(value);
        if window.is_none() {
            let message = format!("`{value}` is not a length of time");
            let error = item
                .error(self.findings(), codes::INVALID_WINDOW, message, "")
                .help("a whole number and a unit: 30s, 15m, 1h, 7d; at most 366d");
            self.findings().push(error);
        }
        window
    }

    /// The raw entry, for values of more than one type.
    pub(crate) fn item(&mut self, name: &str) -> Option<Item<'d>> {
        self.take(name).map(|(item, _)| item)
    }

    /// The table of that name.
    pub(crate) fn section(&mut self, name: &str) -> Option<Section<'d>> {
        self.section_at(name).map(|(_, section)| section)
    }

    /// The table of that name and where it stands.
    pub(crate) fn section_at(&mut self, name: &str) -> Option<(Item<'d>, Section<'d>)> {
        let (item, key) = self.take(name)?;
        let section = Self::new(item.table(self.findings())?, key.path);
        Some((item, section))
    }

    /// True if the key is written and was not taken yet.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.table.has(name)
    }

    /// True if the key is not taken yet but written, if perhaps with a slip of the pen.
    pub(crate) fn states(&self, name: &str) -> bool {
        self.has(name) || self.table.has_misspelt(name, &self.known())
    }

    fn known(&self) -> Vec<&'static str> {
        keys::children(&self.pattern).map(|(name, _)| name).collect()
    }

    /// The tables in the table of that name: people's own names, and what they hold.
    pub(crate) fn named(&mut self, name: &str) -> Vec<Read<'d, Section<'d>>> {
        let Some((item, key)) = self.take(name) else { return Vec::new() };
        let Some(mut table) = item.table(self.findings()) else { return Vec::new() };
        let pattern = format!("{}.*", key.path);
        let read = |item: Item<'d>| {
            let value = Self::new(item.table(self.findings())?, pattern.as_str());
            Some(Read { value, item })
        };
        table.take_all().into_iter().filter_map(read).collect()
    }

    /// Reports what is left.
    pub(crate) fn finish(self) {
        let known = self.known();
        self.table.finish(&known);
    }
}
