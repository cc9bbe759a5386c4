//! Diagnostics for people: rustc's look, plain or coloured, and the form that goes into `compile_error!`.

use super::{Diagnostic, Label, Severity, json};
use crate::document::json::Json;
use annotate_snippets::{AnnotationKind, Element, Group, Level, Renderer, Snippet, normalize_untrusted_str};
use std::ops::Range;
use std::sync::Arc;

/// Most diagnostics that [`compile_errors`] spells out.
const COMPILE_ERRORS: usize = 10;

/// Width that plain text is made for, so that it does not depend on a terminal.
const WIDTH: usize = 120;

/// How diagnostics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Text without colour.
    Plain,
    /// Text with ANSI colours, for terminals.
    Colour,
    /// JSON: an object with `code`, `severity`, `message`, `file`, `line`, `column`, `labels` and `help`.
    Json,
}

/// One diagnostic, without a trailing newline.
pub fn render(diagnostic: &Diagnostic, style: Style) -> String {
    match style {
        Style::Plain => text(diagnostic, &Renderer::plain().term_width(WIDTH)),
        Style::Colour => text(diagnostic, &Renderer::styled().term_width(WIDTH)),
        Style::Json => json::value(diagnostic).compact(),
    }
}

/// Every diagnostic: texts with an empty line between them, or one JSON array. Ends with a newline unless it is empty.
pub fn render_all(diagnostics: &[Diagnostic], style: Style) -> String {
    if style == Style::Json {
        return Json::List(diagnostics.iter().map(json::value).collect()).pretty();
    }
    let mut out = String::new();
    for diagnostic in diagnostics {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&render(diagnostic, style));
        out.push('\n');
    }
    out
}

/// The errors as messages for one `compile_error!` each: plain text without the leading `error:`, which rustc adds. At
/// most ten, then one message that counts the rest.
pub fn compile_errors(diagnostics: &[Diagnostic]) -> Vec<String> {
    let errors: Vec<_> = diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).collect();
    let mut messages: Vec<_> =
        errors.iter().take(COMPILE_ERRORS).map(|diagnostic| without_level(diagnostic)).collect();
    if let Some(rest) = errors.len().checked_sub(COMPILE_ERRORS).filter(|rest| *rest > 0) {
        messages.push(format!("and {rest} more; run `cascade check`"));
    }
    messages
}

fn text(diagnostic: &Diagnostic, renderer: &Renderer) -> String {
    let level = match diagnostic.severity {
        Severity::Warning => Level::WARNING,
        Severity::Error => Level::ERROR,
    };
    let title = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code);
    renderer.render(&[title.elements(elements(diagnostic))])
}

fn without_level(diagnostic: &Diagnostic) -> String {
    let mut message = format!("{} [{}]", normalize_untrusted_str(&diagnostic.message), diagnostic.code);
    let elements = elements(diagnostic);
    if !elements.is_empty() {
        let group = Group::with_level(Level::ERROR).elements(elements);
        message.push('\n');
        message.push_str(&Renderer::plain().term_width(WIDTH).render(&[group]));
    }
    message
}

/// One snippet for each source, in the order of the labels, then the remedies.
fn elements(diagnostic: &Diagnostic) -> Vec<Element<'_>> {
    let mut snippets: Vec<(&Label, Snippet<'_, _>)> = Vec::new();
    for (index, label) in diagnostic.labels.iter().enumerate() {
        let kind = if index == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
        let mut annotation = kind.span(clamp(&label.source.text, &label.span));
        if !label.text.is_empty() {
            annotation = annotation.label(normalize_untrusted_str(&label.text));
        }
        if let Some((_, snippet)) =
            snippets.iter_mut().find(|(first, _)| Arc::ptr_eq(&first.source, &label.source))
        {
            *snippet = snippet.clone().annotation(annotation);
        } else {
            let snippet = Snippet::source(label.source.text.as_str())
                .path(label.source.name.as_str())
                .line_start(label.source.first_line)
                .annotation(annotation);
            snippets.push((label, snippet));
        }
    }
    let mut elements: Vec<Element<'_>> = snippets.into_iter().map(|(_, snippet)| snippet.into()).collect();
    elements
        .extend(diagnostic.help.iter().map(|help| Level::HELP.message(normalize_untrusted_str(help)).into()));
    elements
}

/// The nearest range that lies inside the text and on character boundaries: a wrong span must not end in a panic.
fn clamp(text: &str, span: &Range<usize>) -> Range<usize> {
    let boundary = |offset: usize| {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    };
    let start = boundary(span.start);
    start..boundary(span.end).max(start)
}
