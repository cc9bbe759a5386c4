//! What of a diagnostic is shown where: as it is, or fitted to the columns of a terminal.

use super::{Diagnostic, Label, wrap};
use annotate_snippets::{AnnotationKind, Element, Group, Level, Renderer, Snippet, normalize_untrusted_str};
use std::ops::Range;
use std::sync::Arc;

/// Fewest columns that a paragraph gets, however narrow the terminal and however long what leads up to it.
const LEAST: usize = 30;

/// The parts of a diagnostic as they are written.
pub(super) struct Layout {
    pub(super) message: String,
    labels: Vec<Label>,
    /// What is said below the code of places beside which it found no room.
    notes: Vec<String>,
    help: Vec<String>,
}

impl Layout {
    /// Every part as it is.
    pub(super) fn plain(diagnostic: &Diagnostic) -> Self {
        Self {
            message: normalize_untrusted_str(&diagnostic.message),
            labels: diagnostic.labels.clone(),
            notes: Vec::new(),
            help: diagnostic.help.iter().map(|help| normalize_untrusted_str(help)).collect(),
        }
    }

    /// Paragraphs broken for a terminal of so many columns. Labels that do not fit beside their place become notes below
    /// the code, the longest first; what is underlined is shortened if even that is not enough.
    pub(super) fn fitted(diagnostic: &Diagnostic, width: usize) -> Self {
        let mut layout = Self::plain(diagnostic);
        let level = if diagnostic.is_error() { "error" } else { "warning" };
        let lead = format!("{level}[{}]: ", diagnostic.code).chars().count();
        layout.message = broken(&layout.message, width, lead);
        layout.fit_code(width);
        // As the renderer writes them: the widest line number, then ` = help: `.
        let numbers = diagnostic.labels.iter().map(|label| label.source.position(label.span.end).0);
        let lead = numbers.max().unwrap_or(0).to_string().len() + " = help: ".len();
        for text in layout.notes.iter_mut().chain(&mut layout.help) {
            *text = broken(text, width, lead);
        }
        layout
    }

    fn fit_code(&mut self, width: usize) {
        while !self.code_fits(width) {
            let longest = self.labels.iter_mut().max_by_key(|label| label.text.chars().count());
            let Some(label) = longest.filter(|label| !label.text.is_empty()) else { break };
            let text = std::mem::take(&mut label.text);
            let line = label.source.position(label.span.start).0;
            self.notes.push(if self.labels.len() > 1 { format!("line {line}: {text}") } else { text });
        }
        if !self.code_fits(width) {
            for label in &mut self.labels {
                shorten(label, width / 2);
            }
        }
    }

    fn code_fits(&self, width: usize) -> bool {
        let snippets = self.snippets();
        if snippets.is_empty() {
            return true;
        }
        let code = Group::with_level(Level::ERROR).elements(snippets);
        let text = Renderer::plain().term_width(width.max(LEAST)).render(&[code]);
        // Paths are not broken: people copy them.
        text.lines().filter(|line| !is_place(line)).all(|line| line.chars().count() <= width)
    }

    /// One snippet for each source, in the order of the labels, then the notes and remedies.
    pub(super) fn elements(&self) -> Vec<Element<'_>> {
        let mut elements = self.snippets();
        let note = |text: &String| Level::NOTE.message(text.clone()).into();
        elements.extend(self.notes.iter().map(note));
        elements.extend(self.help.iter().map(|text| Level::HELP.message(text.clone()).into()));
        elements
    }

    fn snippets(&self) -> Vec<Element<'_>> {
        let mut snippets: Vec<(&Label, Snippet<'_, _>)> = Vec::new();
        for (index, label) in self.labels.iter().enumerate() {
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
        snippets.into_iter().map(|(_, snippet)| snippet.into()).collect()
    }

    /// The rendered text with the columns that places have in their files: the renderer counts in what it shows of them.
    pub(super) fn with_columns_of_files(&self, mut text: String) -> String {
        for label in &self.labels {
            if let Some(column) = label.source.column {
                let name = normalize_untrusted_str(&label.source.name);
                let (line, shown) = label.source.position_in_text(label.span.start);
                text =
                    text.replacen(&format!("{name}:{line}:{shown}"), &format!("{name}:{line}:{column}"), 1);
            }
        }
        text
    }
}

/// The line that names a file: `--> cascade.toml:3:1`, or `:::` for a second file.
fn is_place(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("--> ") || line.starts_with("::: ")
}

/// Each line of a text broken, after a lead in the first whose width the others keep free too.
fn broken(text: &str, width: usize, lead: usize) -> String {
    let room = width.saturating_sub(lead).max(LEAST);
    text.lines().flat_map(|line| wrap(line, room)).collect::<Vec<_>>().join("\n")
}

/// Underlines no more than the first so many characters of the first line.
fn shorten(label: &mut Label, most: usize) {
    let span = clamp(&label.source.text, &label.span);
    let under = label.source.text.get(span.clone()).unwrap_or_default();
    let shown: usize =
        under.chars().take_while(|letter| *letter != '\n').take(most).map(char::len_utf8).sum();
    label.span = span.start..span.start + shown;
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
