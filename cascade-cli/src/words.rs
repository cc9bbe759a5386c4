//! Text for people: lists and wrapped paragraphs.

use crate::table::WIDTH;
use cascade_sdk_core::diag;

/// Names listed in a message before the rest is only counted.
const MOST_NAMED: usize = 5;

/// Names the first few of many.
pub(crate) fn some_of<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    some_as_they_are(quoted.iter().map(String::as_str))
}

/// As [`some_of`], without quotes: for numbers.
pub(crate) fn some_as_they_are<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let shown = names.iter().take(MOST_NAMED).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MOST_NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A number of things: `1 row`, `2 rows`.
pub(crate) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Breaks a paragraph into lines that fit on a terminal.
pub(crate) fn wrap(text: &str) -> Vec<String> {
    item("", text)
}

/// A paragraph behind a lead such as a name or a bullet; its further lines are indented under its first.
pub(crate) fn item(lead: &str, text: &str) -> Vec<String> {
    let indent = lead.chars().count();
    let lines = diag::wrap(text, usize::from(WIDTH).saturating_sub(indent));
    let place = |(number, line): (usize, String)| {
        if number == 0 { format!("{lead}{line}") } else { format!("{:indent$}{line}", "") }
    };
    lines.into_iter().enumerate().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(some_of(["a", "b"]), "`a`, `b`");
        assert_eq!(some_of(["a"; 7]), "`a`, `a`, `a`, `a`, `a` and 2 more");
    }

    #[test]
    fn lines_fit() {
        let lines = item("- ", &"word ".repeat(40));
        assert!(lines.iter().all(|line| line.len() <= 80), "{lines:?}");
        assert!(
            lines.len() == 3 && lines[0].starts_with("- word") && lines[1].starts_with("  word"),
            "{lines:?}"
        );
        assert_eq!(wrap(&"x".repeat(100)).len(), 1);
        assert_eq!(wrap("a  b"), ["a b"]);
    }
}
