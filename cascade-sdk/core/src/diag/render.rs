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
                .path(normalize_untrusted_str(&label.source.name))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Source;

    fn finding(span: Range<usize>) -> Diagnostic {
        let source = Source::line("log.jsonl", 41, "{\"quality\": 2}\n{\"quality\": 1}");
        Diagnostic::error("log::quality", "quality must lie in [0, 1]")
            .at(&source, span, "here")
            .help("divide by 100")
    }

    #[test]
    fn plain_text_looks_like_rustc() {
        let expected = "\
error[log::quality]: quality must lie in [0, 1]
  --> log.jsonl:41:13
   |
41 | {\"quality\": 2}
   |             ^ here
   |
   = help: divide by 100
";
        assert_eq!(render_all(&[finding(12..13)], Style::Plain), expected);
    }

    #[test]
    fn colour_is_the_same_text() {
        let coloured = render(&finding(12..13), Style::Colour);
        let mut stripped = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, after)) = rest.split_once("\u{1b}[") {
            stripped.push_str(before);
            rest = after.split_once('m').unwrap().1;
        }
        stripped.push_str(rest);
        assert_ne!(coloured, stripped);
        assert_eq!(stripped, render(&finding(12..13), Style::Plain));
    }

    #[test]
    fn json_has_the_place() {
        let text = render_all(&[finding(12..13), Diagnostic::warning("a::b", "\"c\"")], Style::Json);
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            read[0],
            serde_json::json!({
                "code": "log::quality", "severity": "error", "message": "quality must lie in [0, 1]",
                "file": "log.jsonl", "line": 41, "column": 13,
                "labels": [{"file": "log.jsonl", "line": 41, "column": 13, "text": "here"}],
                "help": ["divide by 100"],
            })
        );
        assert_eq!(read[1]["severity"], "warning");
        assert!(read[1]["file"].is_null() && read[1]["line"].is_null());
    }

    #[test]
    fn a_dozen_errors_become_eleven_messages() {
        let mut findings = vec![finding(0..1); 12];
        findings.push(Diagnostic::warning("a::b", "not an error"));
        let messages = compile_errors(&findings);
        assert_eq!(messages.len(), 11);
        assert!(messages[0].starts_with("quality must lie in [0, 1] [log::quality]\n"), "{}", messages[0]);
        assert_eq!(messages[10], "and 2 more; run `cascade check`");
        assert_eq!(compile_errors(&findings[..10]).len(), 10);
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        let source = Source::new("a\u{1b}[2J.toml", "x = \"\u{1b}[2J\"");
        let finding = Diagnostic::error("a::b", "\u{1b}[2J").at(&source, 0..1, "\u{1b}[2J").help("\u{1b}[2J");
        for text in [render(&finding, Style::Plain), compile_errors(&[finding])[0].clone()] {
            assert!(!text.contains('\u{1b}'), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_span_is_rendered(text in "(\\PC|\n|\r|\t|é|\u{200d}|\0){0,30}", start: u8, end: u8) {
            let source = Source::new("any", text);
            let finding = Diagnostic::error("a::b", "any")
                .at(&source, usize::from(start)..usize::from(end), "one")
                .at(&source, usize::from(end)..usize::from(start), "two");
            for style in [Style::Plain, Style::Colour, Style::Json] {
                proptest::prop_assert!(render(&finding, style).contains("any"));
            }
        }
    }
}
