//! One diagnostic type for everything that can be wrong with a file a person wrote, and its renderers.

mod json;
mod layout;
mod render;
mod wrap;

pub use render::{Style, compile_errors, render, render_all};
pub use wrap::wrap;

use std::ops::Range;
use std::sync::Arc;

/// Declares the stable codes of one kind of file, each with what it means, and the list `ALL` of both.
macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal;)+) => {
        $($(#[doc = $doc])+ pub const $name: &str = $code;)+

        /// Every code and what it means.
        pub const ALL: &[(&str, &str)] = &[$(($code, concat!($($doc),+))),+];
    };
}
pub(crate) use codes;

/// A text that diagnostics point into.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// Path as the person would type it, relative to the project where possible.
    pub name: String,
    /// The text, or the excerpt that was kept of it.
    pub text: String,
    /// Line number of the first line of `text`; 1 for whole files, more for an excerpt of a log.
    pub first_line: usize,
    /// Column, from 1, of the place in the line that an excerpt was made of, whose own columns are others; `None` where
    /// the text is that of the file.
    pub column: Option<usize>,
}

impl Source {
    /// A whole file.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), text: text.into(), first_line: 1, column: None })
    }

    /// One line out of a larger file.
    pub fn line(name: impl Into<String>, line: usize, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), text: text.into(), first_line: line, column: None })
    }

    /// The part of a long line that a message shows, of a place at this column of the line.
    pub fn excerpt(
        name: impl Into<String>,
        (line, column): (usize, usize),
        text: impl Into<String>,
    ) -> Arc<Self> {
        Arc::new(Self { name: name.into(), text: text.into(), first_line: line, column: Some(column) })
    }

    /// Line and column in the file, both from 1, of a byte offset.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let (line, column) = self.position_in_text(offset);
        (line, self.column.unwrap_or(column))
    }

    /// As [`Self::position`], with the column that the text has, be it an excerpt or not.
    fn position_in_text(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line = before.matches('\n').count();
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count());
        (self.first_line + line, column + 1)
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Severity {
    /// Works, but probably not as meant.
    Warning,
    /// Cannot go on.
    Error,
}

/// A place in a source and what is to be said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub source: Arc<Source>,
    /// Byte range in the source's text.
    pub span: Range<usize>,
    /// What is there; may be empty.
    pub text: String,
}

/// One finding: a stable code, a message, the places, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable name such as `config::unknown-key`.
    pub code: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// One sentence without a full stop: what is wrong.
    pub message: String,
    /// The first label is the place itself; the others explain it (the other side of a conflict).
    pub labels: Vec<Label>,
    /// What to do about it.
    pub help: Vec<String>,
}

impl Diagnostic {
    /// An error.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            labels: Vec::new(),
            help: Vec::new(),
        }
    }

    /// A warning.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// Adds a place.
    #[must_use]
    pub fn at(mut self, source: &Arc<Source>, span: Range<usize>, text: impl Into<String>) -> Self {
        self.labels.push(Label { source: Arc::clone(source), span, text: text.into() });
        self
    }

    /// Adds a remedy.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }

    /// Message and remedies as one line.
    pub fn in_words(&self) -> String {
        self.help.iter().fold(self.message.clone(), |words, help| words + "; " + help)
    }

    /// True for errors.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}
