//! The only place that prints: results to standard output, everything else to standard error.

use crate::busy::Busy;
use crate::cli::Format;
use crate::failure::Result;
use crate::github;
use crate::pages;
use crate::table::WIDTH;
use crate::words::item;
use cascade_sdk_core::diag::Diagnostic;
use cascade_sdk_core::diag::{Style, render_all};
use serde::Serialize;
use serde_json::Value;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

/// Findings that wait for the end of the command in JSON format: one array is valid JSON, two are not.
static FINDINGS: Mutex<Vec<Diagnostic>> = Mutex::new(Vec::new());

/// Where and in which form a command speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    format: Format,
}

impl Terminal {
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    /// True if results and errors are JSON.
    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Prints a result as it is. A reader that went away (`cascade fit … | head`) is not an error: what it wanted to
    /// know, it knows.
    #[expect(clippy::unused_self, reason = "who prints must hold the terminal")]
    pub(crate) fn print(self, text: &str) {
        let mut out = anstream::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// Prints lines of a result.
    pub(crate) fn print_lines(self, lines: &[impl AsRef<str>]) {
        let text: String = lines.iter().flat_map(|line| [line.as_ref(), "\n"]).collect();
        self.print(&text);
    }

    /// Prints one JSON object with a newline.
    pub(crate) fn print_json(self, value: &impl Serialize) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.print(&format!("{text}\n")),
            Err(error) => self.diagnostics(&[Diagnostic::error("cli::internal", error.to_string())]),
        }
    }

    /// Prints findings on standard error; in JSON format they come with [`Self::finish`].
    pub(crate) fn diagnostics(self, diagnostics: &[Diagnostic]) {
        if diagnostics.is_empty() {
            return;
        }
        match self.format {
            Format::Github => self.print(&github::annotations(diagnostics)),
            Format::Json => {
                FINDINGS.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(diagnostics);
            }
            Format::Human => {
                let mut out = anstream::stderr().lock();
                // anstream takes the colours out where the terminal or NO_COLOR asks for it.
                let _ = out.write_all(render_all(diagnostics, Style::Colour { width: width() }).as_bytes());
                if let Some(more) = more_about(diagnostics) {
                    let _ = writeln!(out, "\n{}", item("", &more).join("\n"));
                }
            }
        }
    }

    /// The last word of a command: its findings in JSON format, as one array.
    #[expect(clippy::unused_self, reason = "who prints must hold the terminal")]
    pub(crate) fn finish(self) {
        let findings = std::mem::take(&mut *FINDINGS.lock().unwrap_or_else(PoisonError::into_inner));
        if !findings.is_empty() {
            let _ = anstream::stderr().lock().write_all(render_all(&findings, Style::Json).as_bytes());
        }
    }

    /// Findings as JSON, for commands whose result they are.
    ///
    /// # Errors
    /// If the renderer's JSON cannot be read, which would be a mistake of ours.
    pub(crate) fn diagnostics_json(diagnostics: &[Diagnostic]) -> Result<Value> {
        if diagnostics.is_empty() {
            return Ok(Value::Array(Vec::new()));
        }
        serde_json::from_str(&render_all(diagnostics, Style::Json))
            .map_err(|error| Diagnostic::error("cli::internal", error.to_string()).into())
    }

    /// Does something that may take long, and says so on a terminal.
    pub(crate) fn busy<T>(self, what: impl Into<String>, work: impl FnOnce() -> T) -> T {
        let busy = Busy::with(what.into(), self);
        let done = work();
        drop(busy);
        done
    }

    /// True if findings are annotations.
    pub(crate) fn is_github(self) -> bool {
        self.format == Format::Github
    }

    /// Prints a remark for people on standard error, its further lines indented as its first; nothing in JSON format.
    pub(crate) fn note(self, text: &str) {
        if !self.is_json() {
            let mut out = anstream::stderr().lock();
            let indent = " ".repeat(text.len() - text.trim_start().len());
            let _ = writeln!(out, "{}", item(&indent, text).join("\n"));
        }
    }
}

/// Widest line of a message, however wide the terminal: longer lines are hard to read.
const WIDEST: usize = 120;

/// Columns for messages: those of the terminal that shows them; of a pipe or a file nobody knows, and 80 are usual.
fn width() -> usize {
    let terminal = terminal_size::terminal_size_of(std::io::stderr());
    terminal.map_or(usize::from(WIDTH), |(width, _)| usize::from(width.0).min(WIDEST))
}

/// Where to read more about the errors among some findings.
fn more_about(diagnostics: &[Diagnostic]) -> Option<String> {
    // What these say is all there is to say.
    let plain = |code: &&str| matches!(*code, "cli::usage" | "cli::io");
    let errors = diagnostics.iter().filter(|finding| finding.is_error()).map(|finding| finding.code);
    let mut codes = errors.filter(|code| !plain(code));
    let first = codes.find(|code| pages::find(code).is_some())?;
    Some(if codes.any(|code| code != first) {
        format!("more about these errors: cascade explain CODE, for example {first}")
    } else {
        format!("more about this error: cascade explain {first}")
    })
}
