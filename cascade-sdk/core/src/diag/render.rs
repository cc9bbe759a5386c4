//! Diagnostics for people: rustc's look, plain or coloured, and the form that goes into `compile_error!`.

use super::layout::Layout;
use super::{Diagnostic, Severity, json};
use crate::document::json::Json;
use annotate_snippets::{Group, Level, Renderer};

/// Most diagnostics that [`compile_errors`] spells out.
const COMPILE_ERRORS: usize = 10;

/// Width that the code in plain text is made for, so that it does not depend on a terminal.
const WIDTH: usize = 120;

/// How diagnostics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Text without colour, whose paragraphs are not broken: for files and for programs.
    Plain,
    /// Text with ANSI colours for a terminal: its paragraphs are broken, and long lines of code are shown in part.
    Colour {
        /// Columns of the terminal.
        width: usize,
    },
    /// JSON: an object with `code`, `severity`, `message`, `file`, `line`, `column`, `labels` and `help`.
    Json,
}

/// One diagnostic, without a trailing newline.
pub fn render(diagnostic: &Diagnostic, style: Style) -> String {
    match style {
        Style::Plain => text(diagnostic, &Layout::plain(diagnostic), &Renderer::plain().term_width(WIDTH)),
        Style::Colour { width } => {
            let layout = Layout::fitted(diagnostic, width);
            text(diagnostic, &layout, &Renderer::styled().term_width(width))
        }
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

fn level(diagnostic: &Diagnostic) -> Level<'static> {
    match diagnostic.severity {
        Severity::Warning => Level::WARNING,
        Severity::Error => Level::ERROR,
    }
}

fn text(diagnostic: &Diagnostic, layout: &Layout, renderer: &Renderer) -> String {
    let title = level(diagnostic).primary_title(layout.message.as_str()).id(diagnostic.code);
    layout.with_columns_of_files(renderer.render(&[title.elements(layout.elements())]))
}

fn without_level(diagnostic: &Diagnostic) -> String {
    let layout = Layout::plain(diagnostic);
    let mut message = format!("{} [{}]", layout.message, diagnostic.code);
    let elements = layout.elements();
    if !elements.is_empty() {
        let group = Group::with_level(Level::ERROR).elements(elements);
        let code = Renderer::plain().term_width(WIDTH).render(&[group]);
        message.push('\n');
        message.push_str(&layout.with_columns_of_files(code));
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Source;
    use std::ops::Range;

    fn finding(span: Range<usize>) -> Diagnostic {
        let source = Source::line("log.jsonl", 41, "{\"quality\": 2}\n{\"quality\": 1}");
        Diagnostic::error("test::render", "quality must lie in [0, 1]")
            .at(&source, span, "here")
            .help("divide by 100")
    }

    #[test]
    fn plain_text_looks_like_rustc() {
        let expected = "\
error[test::render]: quality must lie in [0, 1]
  --> log.jsonl:41:13
   |
41 | {\"quality\": 2}
   |             ^ here
   |
   = help: divide by 100
";
        assert_eq!(render_all(&[finding(12..13)], Style::Plain), expected);
    }

    fn without_colour(coloured: &str) -> String {
        let mut stripped = String::new();
        let mut rest = coloured;
        while let Some((before, after)) = rest.split_once("\u{1b}[") {
            stripped.push_str(before);
            rest = after.split_once('m').unwrap().1;
        }
        stripped + rest
    }

    #[test]
    fn colour_is_the_same_text() {
        let coloured = render(&finding(12..13), Style::Colour { width: 80 });
        let stripped = without_colour(&coloured);
        assert_ne!(coloured, stripped);
        assert_eq!(stripped, render(&finding(12..13), Style::Plain));
    }

    fn on_terminal(diagnostic: &Diagnostic, width: usize) -> String {
        without_colour(&render(diagnostic, Style::Colour { width }))
    }

    #[test]
    fn paragraphs_are_broken_for_a_terminal() {
        let source = Source::line("log.jsonl", 41, "{\"quality\": 2}");
        let finding = Diagnostic::error("test::render", "quality must lie in [0, 1], where 1 is right")
            .at(&source, 12..13, "")
            .help("divide by 100 what is in percent, and by 5 what is in stars");
        let expected = "\
error[test::render]: quality must lie in [0, 1],
                     where 1 is right
  --> log.jsonl:41:13
   |
41 | {\"quality\": 2}
   |             ^
   |
   = help: divide by 100 what is in percent, and
           by 5 what is in stars";
        assert_eq!(on_terminal(&finding, 48), expected);
    }

    #[test]
    fn labels_without_room_become_notes() {
        let source = Source::new("a.toml", "price = 1\nprice = 2\n");
        let finding = Diagnostic::error("config::syntax", "two prices")
            .at(&source, 10..15, "this one would win if the file were read from the top to the bottom")
            .at(&source, 0..5, "the first");
        let expected = "\
error[config::syntax]: two prices
 --> a.toml:2:1
  |
1 | price = 1
  | ----- the first
2 | price = 2
  | ^^^^^
  |
  = note: line 2: this one would win if
          the file were read from the top
          to the bottom";
        assert_eq!(on_terminal(&finding, 41), expected);
    }

    #[test]
    fn long_lines_of_code_are_shown_in_part() {
        let text = format!("cost = {{ value = {} }}", "2".repeat(300));
        let source = Source::new("a.toml", text.as_str());
        for span in [0..text.len(), 17..text.len() - 2, 0..4] {
            let finding = Diagnostic::error("a::b", "long").at(&source, span.clone(), "here");
            let shown = on_terminal(&finding, 60);
            assert!(shown.lines().all(|line| line.chars().count() <= 60), "{span:?}\n{shown}");
            assert!(shown.contains('^') && shown.contains("here"), "{shown}");
        }
    }

    #[test]
    fn places_in_excerpts_have_the_columns_of_the_file() {
        let source = Source::excerpt("log.jsonl", (41, 305), "…\"quality\":2 …");
        let finding = Diagnostic::error("test::render", "too large").at(&source, 13..14, "");
        assert!(render(&finding, Style::Plain).contains("--> log.jsonl:41:305\n"));
        assert!(compile_errors(std::slice::from_ref(&finding))[0].contains("--> log.jsonl:41:305\n"));
        let json: serde_json::Value = serde_json::from_str(&render(&finding, Style::Json)).unwrap();
        assert_eq!((&json["line"], &json["column"]), (&41.into(), &305.into()));
    }

    #[test]
    fn json_has_the_place() {
        let text = render_all(&[finding(12..13), Diagnostic::warning("a::b", "\"c\"")], Style::Json);
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            read[0],
            serde_json::json!({
                "code": "test::render", "severity": "error", "message": "quality must lie in [0, 1]",
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
        assert!(messages[0].starts_with("quality must lie in [0, 1] [test::render]\n"), "{}", messages[0]);
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
            for style in [Style::Plain, Style::Colour { width: 80 }, Style::Colour { width: 3 }, Style::Json] {
                proptest::prop_assert!(render(&finding, style).contains("any"));
            }
        }
    }
}
