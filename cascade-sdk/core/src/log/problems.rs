//! What is wrong with a log: errors of single rows, findings that concern many rows at once, and what stops the reading.

use super::excerpt;
use super::parse::Fault;
use crate::diag::{Diagnostic, Severity, Source};
use std::collections::BTreeMap;

/// Where a row stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'p> {
    /// Name of the file.
    pub(super) file: &'p str,
    /// Its index among the sources.
    pub(super) file_index: u32,
    /// Line number, from 1.
    pub(super) line: u32,
    /// What the row was read from.
    pub(super) text: RowText<'p>,
}

/// What a row was read from.
#[derive(Clone, Copy, Debug)]
pub(super) enum RowText<'p> {
    /// One line of JSON.
    Json(&'p str),
    /// Several lines of CSV: the line of each tier.
    Csv(&'p BTreeMap<String, u32>),
}

impl Place<'_> {
    /// Adds the place of the value at `path` to a diagnostic.
    pub(super) fn mark(&self, diagnostic: Diagnostic, path: &[String], show_text: bool) -> Diagnostic {
        match self.text {
            RowText::Json(line) => {
                let shown = excerpt::at_path(line, path, show_text);
                let source = Source::excerpt(self.file, (self.line as usize, shown.column), shown.text);
                diagnostic.at(&source, shown.span, "")
            }
            RowText::Csv(lines) => {
                let line = path.get(1).and_then(|tier| lines.get(tier)).copied().unwrap_or(self.line);
                let column = super::csv::column_of(path);
                let span = 0..column.len();
                diagnostic.at(&Source::line(self.file, line as usize, column), span, "")
            }
        }
    }

    fn diagnostic(&self, id: &str, fault: &Fault, show_text: bool) -> Diagnostic {
        let path = fault.path.join(".");
        let message = match (id.is_empty(), path.is_empty()) {
            (_, true) => fault.message.clone(),
            (true, false) => format!("`{path}` {}", fault.message),
            (false, false) => format!("row `{}`: `{path}` {}", short(id), fault.message),
        };
        let diagnostic = self.mark(Diagnostic::error(fault.code, message), &fault.path, show_text);
        match fault.help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        }
    }
}

/// An id short enough for a message.
pub(super) fn short(id: &str) -> String {
    let shown = id.chars().filter(|letter| !letter.is_control()).take(80);
    shown.chain(id.chars().nth(80).map(|_| '…')).collect()
}

/// Collects findings.
#[derive(Debug, Default)]
pub(super) struct Problems {
    /// Texts of people and models may be shown.
    pub(super) show_text: bool,
    /// Most errors to keep.
    most: usize,
    errors: Vec<Diagnostic>,
    unshown: usize,
    broken_rows: usize,
    fatal: bool,
    tallies: BTreeMap<(&'static str, String), (usize, Diagnostic)>,
}

impl Problems {
    /// Nothing found yet; keeps at most `most` errors of rows.
    pub(super) fn new(show_text: bool, most: usize) -> Self {
        Self { show_text, most, ..Self::default() }
    }

    /// A row that is not used, and why.
    pub(super) fn broken_row(&mut self, place: &Place<'_>, id: &str, faults: &[Fault]) {
        self.broken_rows += 1;
        let show_text = self.show_text;
        for fault in faults {
            self.keep(|| place.diagnostic(id, fault, show_text));
        }
    }

    /// As [`Problems::broken_row`] where there is no record to point into.
    pub(super) fn broken_line(&mut self, make: impl FnOnce() -> Diagnostic) {
        self.broken_rows += 1;
        self.keep(make);
    }

    /// Something that makes the whole log unusable.
    pub(super) fn fatal(&mut self, diagnostic: Diagnostic) {
        self.fatal = true;
        self.errors.push(diagnostic);
    }

    /// Something that is said once however many rows it concerns; the first of them is the example. An error makes the
    /// log unusable, a warning does not.
    pub(super) fn tally(&mut self, code: &'static str, subject: &str, make: impl FnOnce() -> Diagnostic) {
        let (count, _) = self.tallies.entry((code, subject.to_owned())).or_insert_with(|| (0, make()));
        *count += 1;
    }

    fn keep(&mut self, make: impl FnOnce() -> Diagnostic) {
        if self.errors.len() < self.most {
            self.errors.push(make());
        } else {
            self.unshown += 1;
        }
    }

    /// Rows that are not used.
    pub(super) fn broken_rows(&self) -> usize {
        self.broken_rows
    }

    /// True if the log cannot be used at all.
    pub(super) fn is_fatal(&self) -> bool {
        self.fatal || self.tallies.values().any(|(_, diagnostic)| diagnostic.severity == Severity::Error)
    }

    /// Everything, errors first.
    pub(super) fn finish(mut self) -> Vec<Diagnostic> {
        if self.unshown > 0 {
            let plural = if self.unshown == 1 { "error is" } else { "errors are" };
            self.errors.push(
                Diagnostic::error("log::more-errors", format!("{} more {plural} not shown", self.unshown))
                    .help("mend those above first: they often have the same cause"),
            );
        }
        let (mut errors, mut warnings) = (self.errors, Vec::new());
        for (count, mut diagnostic) in self.tallies.into_values() {
            if count > 1 {
                diagnostic.message += " (in ";
                diagnostic.message += &count.to_string();
                diagnostic.message += " places; the first is shown)";
            }
            if diagnostic.is_error() { &mut errors } else { &mut warnings }.push(diagnostic);
        }
        errors.append(&mut warnings);
        errors
    }
}
