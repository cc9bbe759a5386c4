//! Where a value stands in a JSON text: for excerpts in messages and for the tokens of a typed answer.
//!
//! A scanner, not a parser: it finds the ends of values in text that is valid JSON, and yields `None` where the text is
//! not. It never allocates and never recurses, so untrusted text cannot exhaust the stack.

use std::ops::Range;

/// Index of the first byte at or after `at` that is not JSON white space.
pub fn skip_space(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count()
}

/// Index just past the string that begins at `at`.
pub fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let mut at = at + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Index just past the value that begins at `at`.
pub fn value_end(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => string_end(bytes, at),
        b'{' | b'[' => {
            let (mut depth, mut at) = (0_usize, at);
            loop {
                match bytes.get(at)? {
                    b'"' => {
                        at = string_end(bytes, at)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return Some(at + 1);
                        }
                    }
                    _ => {}
                }
                at += 1;
            }
        }
        b',' | b':' | b'}' | b']' => None,
        _ => {
            let rest = bytes.get(at..)?;
            let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
            Some(at + rest.iter().position(ends).unwrap_or(rest.len()))
        }
    }
}

/// The members of an object, in order: the raw key between its quotes, and the place of the value.
#[derive(Clone, Debug)]
pub struct Members<'t> {
    bytes: &'t [u8],
    at: usize,
    /// What separates the next member from what came before: `{` first, then `,`.
    opener: u8,
}

/// The members of the object that begins at `at`; none if there is no object.
pub fn members(bytes: &[u8], at: usize) -> Members<'_> {
    Members { bytes, at, opener: b'{' }
}

impl<'t> Iterator for Members<'t> {
    type Item = (&'t [u8], Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let open = skip_space(self.bytes, self.at);
        if *self.bytes.get(open)? != self.opener {
            return None;
        }
        let key = skip_space(self.bytes, open + 1);
        let key_end = string_end(self.bytes, key)?;
        let colon = skip_space(self.bytes, key_end);
        if *self.bytes.get(colon)? != b':' {
            return None;
        }
        let value = skip_space(self.bytes, colon + 1);
        let value_end = value_end(self.bytes, value)?;
        (self.at, self.opener) = (value_end, b',');
        Some((self.bytes.get(key + 1..key_end - 1)?, value..value_end))
    }
}

/// The place of the value that the keys of `path` lead to.
pub fn locate(text: &str, path: &[impl AsRef<str>]) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let start = skip_space(bytes, 0);
    let mut found = start..value_end(bytes, start)?;
    for key in path {
        // Keys with escapes are not found; a message then points at the whole object.
        found = members(bytes, found.start).find(|(name, _)| *name == key.as_ref().as_bytes())?.1;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#" {"a" : [1, {"b": "}]\""}], "c": {"d": -1.5e3 , "e":null}, "f": "x"} "#;

    #[test]
    fn values_are_found_by_path() {
        let at = |path: &[&str]| locate(TEXT, path).and_then(|range| TEXT.get(range));
        assert_eq!(at(&["a"]), Some(r#"[1, {"b": "}]\""}]"#));
        assert_eq!(at(&["c", "d"]), Some("-1.5e3"));
        assert_eq!(at(&["c", "e"]), Some("null"));
        assert_eq!(at(&["f"]), Some("\"x\""));
        assert_eq!(at(&["g"]), None);
        assert_eq!(at(&["f", "g"]), None);
    }

    #[test]
    fn broken_text_yields_nothing() {
        for text in ["", "{", "{\"a\"", "{\"a\":", "{\"a\":}", "{\"a\":\"x", "{\"a\":[1,", "{\"a\":\"\\"] {
            assert_eq!(locate(text, &["a"]), None, "{text}");
        }
    }
}
