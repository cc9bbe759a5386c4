//! The part of a log line that a message shows: keys, numbers and structure, but no text that people or models wrote.

use crate::json_span;
use std::ops::Range;

/// Characters shown before the place, and of the value there.
const BEFORE: usize = 60;
const VALUE: usize = 48;

/// Keys whose values are what people and models wrote.
const TEXT_KEYS: [&str; 5] = ["input", "messages", "output", "reference", "token_logprobs"];

/// A part of a line, fit to be shown.
#[derive(Debug)]
pub(super) struct Excerpt {
    pub(super) text: String,
    /// Where in the text the place stands.
    pub(super) span: Range<usize>,
    /// Where in the line it stands, in characters from 1.
    pub(super) column: usize,
}

/// The excerpt around the value at `path`, or around the nearest object that should hold it.
pub(super) fn at_path(line: &str, path: &[String], show_text: bool) -> Excerpt {
    let found =
        (0..=path.len()).rev().find_map(|keys| Some((keys, json_span::locate(line, path.get(..keys)?)?)));
    let (keys, span) = found.unwrap_or((0, 0..0));
    // A string that stands where something else should is only shown where texts of people are not expected.
    let private = keys == 0 || path.iter().any(|key| TEXT_KEYS.contains(&key.as_str()));
    let value = line.get(span.clone()).unwrap_or_default();
    let shown = match value.as_bytes().first() {
        Some(b'{') => "{…}".to_owned(),
        Some(b'[') => "[…]".to_owned(),
        Some(b'"') if private && !show_text => "\"…\"".to_owned(),
        _ => head(value, VALUE),
    };
    assemble(line, &span, &shown, show_text)
}

/// The excerpt around a byte offset at which the line stops being JSON. What follows may be text with a stray quote before
/// it, so only a word that JSON writers are known to put there is shown.
pub(super) fn at_offset(line: &str, offset: usize, show_text: bool) -> Excerpt {
    let start = floor_char(line, offset);
    let rest = line.get(start..).unwrap_or_default();
    let word = number_like(rest).unwrap_or_default();
    let shown = if show_text {
        head(rest, VALUE)
    } else if word.is_empty() {
        rest.chars().take(1).filter(char::is_ascii_punctuation).collect()
    } else {
        word.to_owned()
    };
    assemble(line, &(start..line.len().min(start + shown.len())), &shown, show_text)
}

/// A word at the start of the text that some writers use for numbers and constants but that JSON does not have.
pub(super) fn number_like(text: &str) -> Option<&'static str> {
    const WORDS: [&str; 12] = [
        "NaN",
        "nan",
        "-NaN",
        "Infinity",
        "-Infinity",
        "inf",
        "-inf",
        "Inf",
        "None",
        "True",
        "False",
        "undefined",
    ];
    let end = text.find(|letter: char| !letter.is_ascii_alphabetic() && letter != '-').unwrap_or(text.len());
    let word = text.get(..end)?;
    WORDS.into_iter().find(|known| *known == word)
}

/// What leads up to the place, then what is shown of it, then a sign that there is more.
fn assemble(line: &str, place: &Range<usize>, shown: &str, show_text: bool) -> Excerpt {
    let before = lead(line, place.start, show_text);
    let letters = before.chars().count();
    let mut out = String::new();
    if letters > BEFORE {
        out.push('…');
        out.extend(before.chars().skip(letters - BEFORE));
    } else {
        out.push_str(&before);
    }
    let start = out.len();
    out.push_str(shown);
    let span = start..out.len();
    if place.end < line.len() {
        out.push_str(" …");
    }
    let column = line.get(..place.start).unwrap_or(line).chars().count() + 1;
    Excerpt { text: out, span, column }
}

/// The end of the line up to `until`, without the contents of strings that are values.
fn lead(line: &str, until: usize, show_text: bool) -> String {
    let bytes = line.as_bytes();
    let mut out = String::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at).filter(|_| at < until) {
        if byte == b'"' {
            let end = json_span::string_end(bytes, at).filter(|end| *end <= until);
            let Some(end) = end else {
                out.push_str("\"…");
                break;
            };
            let is_key = bytes.get(json_span::skip_space(bytes, end)) == Some(&b':');
            let inner = line.get(at + 1..end - 1).unwrap_or_default();
            out.push('"');
            out.push_str(&if is_key || show_text { head(inner, VALUE) } else { "…".to_owned() });
            out.push('"');
            at = end;
        } else {
            // Outside strings the text up to a fault is JSON, hence ASCII.
            out.extend(Some(char::from(byte)).filter(char::is_ascii_graphic));
            at += 1;
        }
        if out.len() > 16 * BEFORE {
            let cut = floor_char(&out, out.len() - 4 * BEFORE);
            out.drain(..cut);
        }
    }
    out
}

/// The first characters, with a sign if there are more; control characters left out so that a terminal shows it as is.
fn head(text: &str, letters: usize) -> String {
    let mut out: String = text.chars().filter(|letter| !letter.is_control()).take(letters).collect();
    if text.chars().nth(letters).is_some() {
        out.push('…');
    }
    out
}

fn floor_char(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        r#"{"id":"q-17","input":"my secret \"prompt\"","results":{"small":{"quality":1.7,"cost_usd":1e-5}}}"#;

    fn path(keys: &[&str]) -> Vec<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }

    #[test]
    fn values_are_shown_and_texts_are_not() {
        let Excerpt { text, span, column } = at_path(LINE, &path(&["results", "small", "quality"]), false);
        assert_eq!(text, r#"{"id":"…","input":"…","results":{"small":{"quality":1.7 …"#);
        assert_eq!((&text[span], column), ("1.7", LINE.find("1.7").unwrap() + 1));
        let Excerpt { text, span, .. } = at_path(LINE, &path(&["input"]), false);
        assert_eq!((text.as_str(), &text[span.clone()]), (r#"{"id":"…","input":"…" …"#, "\"…\""));
        assert!(at_path(LINE, &path(&["input"]), true).text.contains("secret"));
    }

    #[test]
    fn a_missing_key_points_at_the_object_that_lacks_it() {
        let Excerpt { text, span, .. } = at_path(LINE, &path(&["results", "small", "latency_ms"]), false);
        assert_eq!(&text[span], "{…}");
        assert!(text.ends_with(r#""small":{…} …"#), "{text}");
    }

    #[test]
    fn syntax_faults_show_no_text_either() {
        // A stray quote turns text into what looks like structure.
        let line = r#"{"id":"a","input":"He said "hello" twice"}"#;
        let found = at_offset(line, line.find("hello").unwrap(), false);
        assert_eq!(found.text, r#"{"id":"…","input":"…" …"#);
        let line = r#"{"id":"a","quality":NaN}"#;
        let Excerpt { text, span, column } = at_offset(line, 20, false);
        assert_eq!(column, 21);
        assert_eq!((&text[span], text.as_str()), ("NaN", r#"{"id":"…","quality":NaN …"#));
        let cut = r#"{"id":"a","input":"unfinished secr"#;
        assert_eq!(at_offset(cut, cut.len(), false).text, r#"{"id":"…","input":"…"#);
    }

    #[test]
    fn excerpts_are_short() {
        let line = format!("{{\"results\":{{{}\"quality\":2", "\"tier\":{\"quality\":1},".repeat(10_000));
        let Excerpt { text, span, .. } = at_offset(&line, line.len() - 1, false);
        assert!(text.chars().count() < 130 && span.end <= text.len(), "{text}");
    }
}
