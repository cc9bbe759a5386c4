//! Text for people: lists and wrapped paragraphs.

use crate::table::WIDTH;

/// Names listed in a message before the rest is only counted.
const MOST_NAMED: usize = 5;

/// Names the first few of many.
pub(crate) fn some_of<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let shown = names.iter().take(MOST_NAMED).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
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
    let mut lines = Vec::new();
    let (mut line, mut width) = (lead.to_owned(), indent);
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if width > indent && width + 1 + length > usize::from(WIDTH) {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            width = indent;
        }
        if width > indent {
            line.push(' ');
            width += 1;
        }
        line.push_str(word);
        width += length;
    }
    lines.push(line);
    lines
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
