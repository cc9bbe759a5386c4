//! Which tokens of a typed answer are those of its value, while the answer arrives.
//!
//! Signals of a typed answer cover the tokens of the value only ([`built_in_of_span`](super::built_in_of_span)). Of an answer that
//! is still arriving a token counts as soon as no way of going on can take it out of the value again: the place of the content
//! among the listed tokens is known (a server may list a code fence that it cuts from the content), and the value has begun and not
//! ended before the token. Where that place cannot be told, no token counts, and nothing is concluded before the end.

use super::TokenLogprob;
use crate::json_span::{skip_space, string_end};
use std::collections::VecDeque;

/// The content's place among the tokens, and the beginning of the value, must show within so many bytes: they do unless the answer
/// is not what was asked for, and looking again and again must not take longer the longer that goes on.
const LONGEST_SEARCH: usize = 1024;

/// Sorts out the tokens of the value.
#[derive(Clone, Debug)]
pub struct ValueTokens {
    /// The tokens' text, until the content is found in it.
    listed: Vec<u8>,
    /// Bytes of all tokens so far.
    listed_len: usize,
    /// The content so far.
    content: Vec<u8>,
    /// Tokens of which nothing is known yet, each with where it begins in the tokens' text.
    waiting: VecDeque<(usize, TokenLogprob)>,
    /// Where the content begins in the tokens' text.
    offset: Option<usize>,
    /// The value's place in the content.
    value: Option<Value>,
    /// Nothing can be told of this answer.
    lost: bool,
}

/// A value in the content.
#[derive(Clone, Copy, Debug)]
struct Value {
    start: usize,
    kind: ValueKind,
    /// What was looked at so far.
    at: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// Just past its last byte, once that is known.
    end: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
enum ValueKind {
    /// Everything, to its end.
    Content,
    String,
    Nested,
    Scalar,
}

impl ValueTokens {
    /// For an answer that comes as `{"answer": …}`, or for one that is its value.
    pub fn new(wrapped: bool) -> Self {
        Self {
            listed: Vec::new(),
            listed_len: 0,
            content: Vec::new(),
            waiting: VecDeque::new(),
            offset: None,
            value: (!wrapped).then_some(Value::new(0, ValueKind::Content)),
            lost: false,
        }
    }

    /// Takes the next piece of an answer: its text, and the tokens that the server lists for it.
    pub fn push(&mut self, content: &str, tokens: &[TokenLogprob]) {
        if self.lost {
            return;
        }
        self.content.extend_from_slice(content.as_bytes());
        for token in tokens {
            let Some(bytes) = &token.bytes else {
                self.give_up();
                return;
            };
            self.waiting.push_back((self.listed_len, token.clone()));
            self.listed_len += bytes.len();
            if self.offset.is_none() {
                self.listed.extend_from_slice(bytes);
            }
        }
        self.find_content();
        self.find_value();
        if let Some(value) = &mut self.value {
            value.advance(&self.content);
        }
    }

    /// The next token that is one of the value's whatever follows.
    pub fn next_known(&mut self) -> Option<TokenLogprob> {
        let (offset, value) = self.offset.zip(self.value)?;
        loop {
            let (start, token) = self.waiting.front()?;
            let length = token.bytes.as_ref().map_or(0, |bytes| bytes.len());
            let end = value.end.unwrap_or(self.content.len());
            let (first, past) = (offset + value.start, offset + end);
            if start + length <= first || length == 0 {
                self.waiting.pop_front();
            } else if *start < past {
                return self.waiting.pop_front().map(|(_, token)| token);
            } else if value.end.is_some() {
                self.waiting.clear();
            } else {
                // The content has not come so far yet.
                return None;
            }
        }
    }

    fn give_up(&mut self) {
        self.lost = true;
        self.waiting.clear();
        (self.listed, self.content) = (Vec::new(), Vec::new());
    }

    /// The content is where it ends with the tokens and is nowhere else.
    fn find_content(&mut self) {
        if self.offset.is_some() || self.content.is_empty() {
            return;
        }
        let (listed, content) = (&self.listed[..], &self.content[..]);
        if listed.ends_with(content) {
            let offset = listed.len() - content.len();
            let before = &listed[..listed.len() - 1];
            if !before.windows(content.len()).any(|window| window == content) {
                self.offset = Some(offset);
                self.listed = Vec::new();
                return;
            }
        }
        if listed.len().max(content.len()) > LONGEST_SEARCH {
            self.give_up();
        }
    }

    fn find_value(&mut self) {
        if self.value.is_some() || self.lost {
            return;
        }
        self.value = wrapped_value(&self.content);
        if self.value.is_none() && self.content.len() > LONGEST_SEARCH {
            self.give_up();
        }
    }
}

/// The value of `{"answer": …}`, of which the beginning has arrived.
fn wrapped_value(content: &[u8]) -> Option<Value> {
    let open = skip_space(content, 0);
    if content.get(open) != Some(&b'{') {
        return None;
    }
    let key = skip_space(content, open + 1);
    let key_end = string_end(content, key)?;
    let colon = skip_space(content, key_end);
    if content.get(key..key_end) != Some(br#""answer""#) || content.get(colon) != Some(&b':') {
        return None;
    }
    let start = skip_space(content, colon + 1);
    Some(match content.get(start)? {
        b'"' => Value::new(start + 1, ValueKind::String),
        b'{' | b'[' => Value::new(start, ValueKind::Nested),
        _ => Value::new(start, ValueKind::Scalar),
    })
}

impl Value {
    fn new(start: usize, kind: ValueKind) -> Self {
        Self { start, kind, at: start, depth: 0, in_string: false, escaped: false, end: None }
    }

    /// Looks at what has arrived since.
    fn advance(&mut self, content: &[u8]) {
        while self.end.is_none()
            && let Some(byte) = content.get(self.at)
        {
            match self.kind {
                ValueKind::Content => {
                    self.at = content.len();
                    return;
                }
                ValueKind::String => self.in_string(*byte, self.at),
                ValueKind::Nested if self.in_string => self.in_string(*byte, self.at),
                ValueKind::Nested => match byte {
                    b'"' => self.in_string = true,
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => {
                        self.depth = self.depth.saturating_sub(1);
                        if self.depth == 0 {
                            self.end = Some(self.at + 1);
                        }
                    }
                    _ => {}
                },
                ValueKind::Scalar => {
                    if matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r') {
                        self.end = Some(self.at);
                    }
                }
            }
            self.at += 1;
        }
    }

    fn in_string(&mut self, byte: u8, at: usize) {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' if matches!(self.kind, ValueKind::String) => self.end = Some(at),
            b'"' => self.in_string = false,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{align, answer_span};
    use super::*;

    fn noise(state: &mut u64) -> f64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Tokens of one to four bytes; each is known again by its log-probability.
    fn tokens(state: &mut u64, text: &str) -> Vec<TokenLogprob> {
        let (mut rest, mut found) = (text.as_bytes(), Vec::new());
        while !rest.is_empty() {
            let length = [1, 2, 3, 4][(noise(state) * 4.0) as usize].min(rest.len());
            let (token, behind) = rest.split_at(length);
            let logprob = -0.001 * (found.len() + 1) as f64;
            found.push(TokenLogprob { bytes: Some(token.into()), logprob, alternatives: Vec::new() });
            rest = behind;
        }
        found
    }

    /// The tokens that are known to be the value's after each piece; `late` is how many bytes the content lags behind.
    fn arriving(
        wrapped: bool,
        before: usize,
        content: &str,
        tokens: &[TokenLogprob],
        late: usize,
    ) -> Vec<Vec<TokenLogprob>> {
        let mut value = ValueTokens::new(wrapped);
        let (mut listed, mut shown, mut known, mut found) = (0_usize, 0, Vec::new(), Vec::new());
        for token in tokens {
            listed += token.bytes.as_ref().unwrap().len();
            let mut to = listed.saturating_sub(before + late).min(content.len());
            while !content.is_char_boundary(to) {
                to -= 1;
            }
            let piece = &content[shown..to.max(shown)];
            shown = to.max(shown);
            value.push(piece, std::slice::from_ref(token));
            known.extend(std::iter::from_fn(|| value.next_known()));
            found.push(known.clone());
        }
        value.push(&content[shown..], &[]);
        known.extend(std::iter::from_fn(|| value.next_known()));
        found.push(known);
        found
    }

    #[test]
    fn what_is_known_early_is_what_counts_at_the_end() {
        let mut state = 11;
        let (mut all, mut some) = (0, 0);
        let contents = [
            (true, r#"{"answer":"billing"}"#),
            (true, " { \"answer\" : \"a \\\"quoted\\\" wörd\" } "),
            (true, r#"{"answer":-12.5e3}"#),
            (true, r#"{"answer":[{"a":"]"},"b\\",{"c":[1,2]}]}"#),
            (true, "{\"answer\":\ttrue\n}"),
            (false, r#"{"team":"billing","why":"charged {twice}"}"#),
        ];
        for case in 0..1200 {
            let (wrapped, content) = contents[case % contents.len()];
            let (before, after) = [("", ""), ("```json\n", "\n```"), ("", "<|im_end|>")][case / 7 % 3];
            let late = [0, 0, 3][case / 5 % 3];
            let tokens = tokens(&mut state, &format!("{before}{content}{after}"));
            let span = if wrapped { answer_span(content).unwrap() } else { 0..content.len() };
            let counted = align(&tokens, content, span).unwrap();
            let steps = arriving(wrapped, before.len(), content, &tokens, late);
            for known in &steps {
                assert_eq!(known[..], counted[..known.len()], "{before}{content}{after}");
            }
            let last = steps.last().unwrap().len();
            all += usize::from(last == counted.len());
            some += usize::from(steps[tokens.len() / 2].len() > 1);
        }
        // Content that lags behind is not found, so nothing is concluded; all others are.
        assert!(all >= 800 && some > 300, "{all} {some}");
    }

    #[test]
    fn where_nothing_can_be_told_no_token_counts() {
        let mut state = 3;
        let content = r#"{"answer":"billing"}"#;
        let mut bare = tokens(&mut state, content);
        bare[2].bytes = None;
        let count = |content: &str, tokens: &[TokenLogprob]| {
            let mut value = ValueTokens::new(true);
            value.push(content, tokens);
            std::iter::from_fn(|| value.next_known()).count()
        };
        assert_eq!(count(content, &bare), 0);
        for other in [r#"{"reply":"billing"}"#, "billing", r#"["answer","billing"]"#] {
            assert_eq!(count(other, &tokens(&mut state, other)), 0, "{other}");
        }
        // The same text twice: which of them is the content is not known.
        let twice = tokens(&mut state, &format!("{content}\n{content}"));
        assert_eq!(count(content, &twice), 0);
        // An answer that never begins is not looked for without end.
        let mut value = ValueTokens::new(true);
        for _ in 0..=LONGEST_SEARCH {
            value.push(" ", &tokens(&mut state, " "));
        }
        assert!(value.lost && value.waiting.is_empty());
    }
}
