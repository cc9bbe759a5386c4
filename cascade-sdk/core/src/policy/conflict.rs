//! A policy that git could not merge: both sides were written by a fit, and neither fits what was merged.

use super::codes;
use crate::diag::{Diagnostic, Source};
use crate::name::shell_word;
use std::sync::Arc;

const OURS: &str = "<<<<<<<";
const BASE: &str = "|||||||";
const MIDDLE: &str = "=======";
const THEIRS: &str = ">>>>>>>";

/// The two sides of a file with conflict markers, ours first; `None` where it has none.
pub fn conflict_sides(text: &str) -> Option<[String; 2]> {
    find(text)?;
    let mut sides = [String::new(), String::new()];
    let mut in_side = None;
    for line in text.split_inclusive('\n') {
        match (marker(line), in_side) {
            (Some(OURS), None) => in_side = Some(Some(0)),
            (Some(BASE), Some(Some(0))) => in_side = Some(None),
            (Some(MIDDLE), Some(_)) => in_side = Some(Some(1)),
            (Some(THEIRS), Some(_)) => in_side = None,
            _ => match in_side {
                None => sides.iter_mut().for_each(|side| side.push_str(line)),
                Some(Some(side)) => sides[side].push_str(line),
                // The common ancestor, which `merge.conflictStyle = diff3` shows.
                Some(None) => {}
            },
        }
    }
    Some(sides)
}

/// The finding for a file with conflict markers.
pub(super) fn conflict(source: &Arc<Source>) -> Option<Diagnostic> {
    let at = find(&source.text)?;
    let end = source.text[at..].find('\n').map_or(source.text.len(), |length| at + length);
    let route = |line: &str| Some(line.strip_prefix("route = \"")?.strip_suffix('"')?.to_owned());
    let route = source.text.lines().find_map(route).unwrap_or_else(|| "ROUTE".to_owned());
    let message = "the policy has merge conflicts: neither side was fitted from what is merged now";
    Some(
        Diagnostic::error(codes::CONFLICT, message)
            .at(source, at..end, "")
            .help("merge cascade.toml and the log first; then refit instead of choosing lines by hand")
            .help(format!("run `cascade fit {}` and commit what it writes", shell_word(&route))),
    )
}

/// Where the first marker stands. TOML has no line that begins like one.
fn find(text: &str) -> Option<usize> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if marker(line) == Some(OURS) {
            return Some(at);
        }
        at += line.len();
    }
    None
}

fn marker(line: &str) -> Option<&'static str> {
    [OURS, BASE, MIDDLE, THEIRS].into_iter().find(|marker| {
        line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\r', '\n']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_come_apart_and_the_ancestor_belongs_to_neither() {
        let text = "a\n<<<<<<< HEAD\nours\n||||||| 1234567\nbase\n=======\ntheirs\n>>>>>>> topic\nb\n";
        assert_eq!(conflict_sides(text), Some(["a\nours\nb\n".into(), "a\ntheirs\nb\n".into()]));
        let text = "<<<<<<< HEAD\r\nours\r\n=======\r\ntheirs\r\n>>>>>>> topic";
        assert_eq!(conflict_sides(text), Some(["ours\r\n".into(), "theirs\r\n".into()]));
        assert_eq!(conflict_sides("a = \"<<<<<<<\"\n"), None);
    }
}
