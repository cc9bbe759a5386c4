//! Reads a TOML document and keeps every finding, each with its place.
//!
//! A [`Table`] hands out its entries ([`Table::take`], [`Table::required`]); what is left and not known is reported by
//! [`Table::finish`], with the nearest known key as a suggestion.

use crate::diag::{Diagnostic, Source};
use crate::name;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;
use toml::de::{DeTable, DeValue};

/// Stable codes for what can be wrong with any document; each kind of file has its own set.
#[derive(Debug)]
pub(crate) struct Codes {
    pub(crate) syntax: &'static str,
    pub(crate) unknown_key: &'static str,
    pub(crate) missing_key: &'static str,
    pub(crate) wrong_type: &'static str,
    pub(crate) out_of_range: &'static str,
    pub(crate) unknown_value: &'static str,
    pub(crate) too_many_decimals: &'static str,
    pub(crate) amount_too_large: &'static str,
}

/// What was found in one document.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) codes: &'static Codes,
    /// What diagnostics show; secrets may be blanked in it, so values are never read from here.
    shown: Arc<Source>,
    list: RefCell<Vec<Diagnostic>>,
}

impl Findings {
    pub(crate) fn new(codes: &'static Codes, shown: Arc<Source>) -> Self {
        Self { codes, shown, list: RefCell::new(Vec::new()) }
    }

    /// An error at a place; the caller adds remedies and then pushes it.
    pub(crate) fn error(
        &self,
        code: &'static str,
        message: impl Into<String>,
        span: &Range<usize>,
        label: impl Into<String>,
    ) -> Diagnostic {
        self.also(Diagnostic::error(code, message), span, label)
    }

    /// A warning at a place.
    pub(crate) fn warning(
        &self,
        code: &'static str,
        message: impl Into<String>,
        span: &Range<usize>,
        label: impl Into<String>,
    ) -> Diagnostic {
        self.also(Diagnostic::warning(code, message), span, label)
    }

    /// Adds another place in the same document.
    pub(crate) fn also(
        &self,
        diagnostic: Diagnostic,
        span: &Range<usize>,
        label: impl Into<String>,
    ) -> Diagnostic {
        diagnostic.at(&self.shown, span.clone(), label)
    }

    pub(crate) fn push(&self, diagnostic: Diagnostic) {
        self.list.borrow_mut().push(diagnostic);
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.list.borrow().iter().any(Diagnostic::is_error)
    }

    /// Everything found, in the order of the places in the file.
    pub(crate) fn into_sorted(self) -> Vec<Diagnostic> {
        let mut list = self.list.into_inner();
        list.sort_by_key(|diagnostic| diagnostic.labels.first().map_or(0, |label| label.span.start));
        list
    }
}

/// Parses with recovery. Each syntax error becomes a finding; the offset of the first is returned, since what follows it
/// may have been misread.
pub(crate) fn parse<'i>(text: &'i str, findings: &Findings) -> (DeTable<'i>, Option<usize>) {
    let (tree, errors) = DeTable::parse_recoverable(text);
    let mut first = None;
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        first = Some(first.map_or(span.start, |first: usize| first.min(span.start)));
        let message = error.message();
        findings.push(findings.error(findings.codes.syntax, format!("not valid TOML: {message}"), &span, ""));
        // A list or inline table that is not closed swallows what follows: further errors would be echoes of this one.
        if ["array", "inline table", "comma"].iter().any(|opened| message.contains(opened)) {
            break;
        }
    }
    (tree.into_inner(), first)
}

/// One value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Item<'d> {
    /// Full dotted path, such as `tiers.small.model`.
    pub(crate) path: String,
    /// Last part of the path.
    pub(crate) key: &'d str,
    /// Where the key is written; the value's own span for elements of arrays.
    pub(crate) key_span: Range<usize>,
    /// Where the value is written.
    pub(crate) span: Range<usize>,
    value: &'d DeValue<'d>,
}

impl<'d> Item<'d> {
    pub(crate) fn is_text(&self) -> bool {
        self.value.is_str()
    }

    pub(crate) fn text(&self, findings: &Findings) -> Option<&'d str> {
        self.expect(findings, "a string", self.value.as_str())
    }

    pub(crate) fn boolean(&self, findings: &Findings) -> Option<bool> {
        self.expect(findings, "true or false", self.value.as_bool())
    }

    /// A whole number from 0 on.
    pub(crate) fn natural(&self, findings: &Findings) -> Option<u64> {
        let number = match self.value {
            DeValue::Integer(number) => Some(number),
            _ => None,
        };
        let number = self.expect(findings, "a whole number", number)?;
        let value = u64::from_str_radix(number.as_str(), number.radix()).ok();
        if value.is_none() {
            findings.push(self.out_of_range(findings, "must be a whole number from 0 on"));
        }
        value
    }

    /// Any finite number.
    pub(crate) fn number(&self, findings: &Findings) -> Option<f64> {
        let value = match self.value {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse::<f64>().ok(),
            DeValue::Float(number) => number.as_str().parse::<f64>().ok(),
            _ => None,
        };
        let value = self.expect(findings, "a number", value)?;
        if value.is_finite() {
            return Some(value);
        }
        findings.push(self.out_of_range(findings, "must be a finite number"));
        None
    }

    /// The digits of a decimal number as they stand in the file: money must not pass through a float.
    pub(crate) fn decimal(&self, findings: &Findings) -> Option<&'d str> {
        let digits = match self.value {
            DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str()),
            DeValue::Float(number) => Some(number.as_str()),
            _ => None,
        };
        self.expect(findings, "a decimal number", digits)
    }

    /// The elements of an array.
    pub(crate) fn list(&self, findings: &Findings) -> Option<Vec<Item<'d>>> {
        let array = self.expect(findings, "an array", self.value.as_array())?;
        let items = array.iter().enumerate().map(|(index, value)| Item {
            path: format!("{}[{index}]", self.path),
            key: self.key,
            key_span: value.span(),
            span: value.span(),
            value: value.get_ref(),
        });
        Some(items.collect())
    }

    /// The entries of a table, `[like.this]` or `{ inline }`.
    pub(crate) fn table(&self, findings: &'d Findings) -> Option<Table<'d>> {
        let table = self.expect(findings, "a table", self.value.as_table())?;
        Some(Table::new(findings, table, self.path.clone(), self.key_span.clone()))
    }

    /// An error about this value.
    pub(crate) fn error(
        &self,
        findings: &Findings,
        code: &'static str,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Diagnostic {
        findings.error(code, message, &self.span, label)
    }

    /// `held_out` must be …
    pub(crate) fn out_of_range(&self, findings: &Findings, must: &str) -> Diagnostic {
        self.error(findings, findings.codes.out_of_range, format!("`{}` {must}", self.path), "")
    }

    /// The value is not one of the names it may be.
    pub(crate) fn unknown_value(&self, findings: &Findings, found: &str, allowed: &[&str]) -> Diagnostic {
        let label = suggestion(found, allowed);
        self.error(
            findings,
            findings.codes.unknown_value,
            format!("`{found}` is not a value of `{}`", self.path),
            label,
        )
        .help(format!("one of: {}", allowed.join(", ")))
    }

    fn expect<T>(&self, findings: &Findings, wanted: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            let message = format!("`{}` must be {wanted}", self.path);
            let label = format!("this is {}", kind(self.value));
            let mut error = self.error(findings, findings.codes.wrong_type, message, label);
            if let Some(meant) = rewritten(wanted, self.value) {
                error = error.help(format!("write {meant}"));
            }
            findings.push(error);
        }
        value
    }
}

/// What a value of the wrong type was probably meant to be, as it is written.
fn rewritten(wanted: &str, value: &DeValue<'_>) -> Option<String> {
    match (wanted, value) {
        ("true or false", DeValue::String(text)) => {
            matches!(&**text, "true" | "false").then(|| format!("{text} without quotes"))
        }
        ("a number" | "a decimal number" | "a whole number", DeValue::String(text)) => {
            let number = text.trim().replace(',', ".");
            let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            (plain && number.parse::<f64>().is_ok()).then(|| format!("{number} without quotes"))
        }
        ("a string", DeValue::Integer(number)) => Some(format!("{:?}, in quotes", number.as_str())),
        ("a string", DeValue::Float(number)) => Some(format!("{:?}, in quotes", number.as_str())),
        ("an array", DeValue::String(text)) => Some(format!("[{text:?}]")),
        _ => None,
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// The entries of a table that nobody has taken yet, in the order in which they stand in the file.
#[derive(Debug)]
pub(crate) struct Table<'d> {
    pub(crate) findings: &'d Findings,
    /// Full dotted path; empty for the document.
    pub(crate) path: String,
    /// Where the table is named.
    pub(crate) span: Range<usize>,
    rest: Vec<Item<'d>>,
}

impl<'d> Table<'d> {
    /// The document itself.
    pub(crate) fn root(findings: &'d Findings, tree: &'d DeTable<'d>) -> Self {
        Self::new(findings, tree, String::new(), 0..0)
    }

    fn new(findings: &'d Findings, tree: &'d DeTable<'d>, path: String, span: Range<usize>) -> Self {
        let mut rest: Vec<_> = tree
            .iter()
            .map(|(key, value)| Item {
                path: join(&path, key.get_ref()),
                key: key.get_ref(),
                key_span: key.span(),
                span: value.span(),
                value: value.get_ref(),
            })
            .collect();
        // `toml` keeps keys in alphabetical order; people's own order is that of the places.
        rest.sort_by_key(|item| item.key_span.start);
        Self { findings, path, span, rest }
    }

    /// The entry of that key, if it is there.
    pub(crate) fn take(&mut self, key: &str) -> Option<Item<'d>> {
        let at = self.rest.iter().position(|item| item.key == key)?;
        Some(self.rest.remove(at))
    }

    /// True if the entry is there and was not taken.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.rest.iter().any(|item| item.key == key)
    }

    /// The entry of that key; a finding if it is not there, unless it stands there misspelt.
    pub(crate) fn required(&mut self, key: &str, known: &[&str]) -> Option<Item<'d>> {
        let item = self.take(key);
        if item.is_none() && !self.has_misspelt(key, known) {
            self.findings.push(self.missing(self.findings.codes.missing_key, key));
        }
        item
    }

    /// The key is not there; points at the table.
    pub(crate) fn missing(&self, code: &'static str, key: &str) -> Diagnostic {
        self.findings.error(code, format!("`{}` is missing", join(&self.path, key)), &self.span, "")
    }

    /// Every entry that is left: for tables whose keys are names.
    pub(crate) fn take_all(&mut self) -> Vec<Item<'d>> {
        std::mem::take(&mut self.rest)
    }

    /// True if an unknown entry is probably a slip of the pen for this key.
    pub(crate) fn has_misspelt(&self, key: &str, known: &[&str]) -> bool {
        self.rest.iter().any(|item| {
            !known.contains(&item.key) && name::nearest(item.key, known.iter().copied()) == Some(key)
        })
    }

    /// Reports what is left and not known.
    pub(crate) fn finish(self, known: &[&str]) {
        let Self { findings, path, rest, .. } = self;
        let place = if path.is_empty() { String::new() } else { format!(" in `{path}`") };
        for item in rest.into_iter().filter(|item| !known.contains(&item.key)) {
            let diagnostic = findings
                .error(
                    findings.codes.unknown_key,
                    format!("unknown key `{}`{place}", item.key),
                    &item.key_span,
                    suggestion(item.key, known),
                )
                .help(format!("known keys: {}", known.join(", ")));
            findings.push(diagnostic);
        }
    }
}

/// `did you mean …?`, or nothing where no known name is near.
pub(crate) fn suggestion(found: &str, known: &[&str]) -> String {
    name::nearest(found, known.iter().copied())
        .map_or_else(String::new, |near| format!("did you mean `{near}`?"))
}

/// A dotted path; parts that are not bare keys are quoted.
pub(crate) fn join(path: &str, key: &str) -> String {
    let key = super::write::key(key);
    if path.is_empty() { key } else { format!("{path}.{key}") }
}
