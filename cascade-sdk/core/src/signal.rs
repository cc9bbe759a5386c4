//! Signals: numbers that say how confident an answer is. Larger always means more confident.
//!
//! The six built-in ones come from the log-probabilities of the answer's tokens (natural logarithms, in nats; DESIGN.md
//! 5). Let `l_t` be the log-probability of the token that was generated at position `t = 1 … n`, and `p_t1 ≥ p_t2 ≥ …
//! ≥ p_tk` the probabilities of the `k` alternatives that the server returned there:
//!
//! | name | formula | range |
//! |---|---|---|
//! | `mean_logprob` | (1/n) Σ l_t | ≤ 0 |
//! | `min_logprob` | min l_t | ≤ 0 |
//! | `sequence_logprob` | Σ l_t | ≤ 0 |
//! | `mean_margin` | (1/n) Σ (p_t1 − p_t2) | [0, 1] |
//! | `mean_negentropy` | (1/n) Σ N_t, where N_t = 1 − H_t / ln k and H_t = −Σ_j p_tj ln p_tj | about [0, 1] |
//! | `min_negentropy` | min N_t | about [0, 1] |
//!
//! The probabilities in `H_t` are used as they were returned, not scaled to sum to 1: this is the definition the
//! published figures use (MATH.md 10).
//!
//! **End of sequence.** Some servers list the end-of-sequence token, some do not, and the same server may do so only
//! when it does not stream; it is left out everywhere (see [`TokenLogprob::ends_sequence`]).
//!
//! **Missing** (NaN) rather than guessed: all signals without tokens; those of log-probabilities where any of them is not
//! known; those of alternatives where any position has fewer than two. A missing signal escalates.

mod arriving;
mod numbers;
mod reach;

pub use arriving::ValueTokens;
pub use numbers::TokenNumbers;
pub use reach::Reach;

use crate::json_span;
use std::ops::Range;

/// At or below this a log-probability is a server's way of saying "so unlikely that it was not computed" (−9999 is in
/// use); as a number it would swamp every mean.
const UNKNOWN_LOGPROB: f64 = -9990.0;

/// Rounding on the server may lift a certain token slightly above 0; anything beyond is not a log-probability.
const ROUNDING: f64 = 1e-3;

/// Texts of end-of-sequence tokens that servers are known to list as an ordinary last entry.
const END_TOKENS: [&str; 9] = [
    "</s>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<end_of_turn>",
    "<eos>",
];

/// A signal that is computed from token log-probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BuiltIn {
    /// `mean_logprob`
    MeanLogprob,
    /// `min_logprob`
    MinLogprob,
    /// `sequence_logprob`
    SequenceLogprob,
    /// `mean_margin`
    MeanMargin,
    /// `mean_negentropy`
    MeanNegentropy,
    /// `min_negentropy`
    MinNegentropy,
}

impl BuiltIn {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::MeanLogprob,
        Self::MinLogprob,
        Self::SequenceLogprob,
        Self::MeanMargin,
        Self::MeanNegentropy,
        Self::MinNegentropy,
    ];

    /// Its name in logs and policies.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MeanLogprob => "mean_logprob",
            Self::MinLogprob => "min_logprob",
            Self::SequenceLogprob => "sequence_logprob",
            Self::MeanMargin => "mean_margin",
            Self::MeanNegentropy => "mean_negentropy",
            Self::MinNegentropy => "min_negentropy",
        }
    }

    /// The built-in signal of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.name() == name)
    }

    /// Whether it needs at least two alternatives a token (`top_logprobs`), not only the generated token's own value.
    pub const fn needs_alternatives(self) -> bool {
        matches!(self, Self::MeanMargin | Self::MeanNegentropy | Self::MinNegentropy)
    }
}

/// One generated token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenLogprob {
    /// The bytes it stands for; `None` where only its log-probability was recorded.
    pub bytes: Option<Box<[u8]>>,
    /// Natural logarithm of its probability, in nats; NaN where unknown.
    pub logprob: f64,
    /// Natural logarithms of the probabilities of the alternatives at this position (the token itself is usually one
    /// of them), in any order; empty where none were asked for.
    pub alternatives: Vec<f64>,
}

impl TokenLogprob {
    /// True for an entry that stands for the end of the answer: no text at all.
    pub fn ends_sequence(&self) -> bool {
        self.bytes.as_ref().is_some_and(|bytes| bytes.is_empty())
    }

    /// The most tokens that the entry can stand for: servers merge those of one multi-byte character, and a token has at
    /// least one byte.
    pub fn most_tokens(&self) -> u64 {
        let beyond_ascii =
            self.bytes.as_ref().map_or(0, |bytes| bytes.iter().filter(|byte| !byte.is_ascii()).count());
        u64::try_from(beyond_ascii).unwrap_or(u64::MAX).max(1)
    }

    /// True for one that spells an end-of-sequence token out; only believed of the last entry.
    pub(crate) fn spells_end(&self) -> bool {
        self.bytes.as_ref().is_some_and(|bytes| END_TOKENS.iter().any(|end| end.as_bytes() == &bytes[..]))
    }
}

/// Values of the built-in signals; NaN where missing.
#[derive(Clone, Copy, Debug)]
pub struct BuiltInValues([f64; 6]);

impl BuiltInValues {
    /// None of them is known.
    pub const MISSING: Self = Self([f64::NAN; 6]);

    /// One value; NaN where missing.
    pub fn get(&self, signal: BuiltIn) -> f64 {
        self.0[signal as usize]
    }

    /// All, in the order of [`BuiltIn::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (BuiltIn, f64)> + '_ {
        BuiltIn::ALL.into_iter().map(|signal| (signal, self.get(signal)))
    }
}

/// Running sums over the tokens of an answer, so that a stream can be scored while it arrives.
#[derive(Clone, Debug)]
pub struct Accumulator {
    tokens: usize,
    logprob_sum: f64,
    logprob_min: f64,
    logprobs_known: bool,
    margin_sum: f64,
    negentropy_sum: f64,
    negentropy_min: f64,
    alternatives_known: bool,
}

impl Default for Accumulator {
    fn default() -> Self {
        Self {
            tokens: 0,
            logprob_sum: 0.0,
            logprob_min: f64::INFINITY,
            logprobs_known: true,
            margin_sum: 0.0,
            negentropy_sum: 0.0,
            negentropy_min: f64::INFINITY,
            alternatives_known: true,
        }
    }
}

impl Accumulator {
    /// Takes the next token; entries that end the sequence are left out.
    pub fn push(&mut self, token: &TokenLogprob) {
        if !token.ends_sequence() {
            self.add(&TokenNumbers::of(token));
        }
    }

    /// Takes the next token, given in numbers.
    pub fn add(&mut self, token: &TokenNumbers) {
        self.tokens += 1;
        if token.logprob.is_nan() {
            self.logprobs_known = false;
        } else {
            self.logprob_sum += token.logprob;
            self.logprob_min = self.logprob_min.min(token.logprob);
        }
        if token.margin.is_nan() || token.negentropy.is_nan() {
            self.alternatives_known = false;
        } else {
            self.margin_sum += token.margin;
            self.negentropy_sum += token.negentropy;
            self.negentropy_min = self.negentropy_min.min(token.negentropy);
        }
    }

    /// Tokens so far.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// The signals of the tokens so far.
    pub fn values(&self) -> BuiltInValues {
        let mut values = BuiltInValues::MISSING;
        if self.tokens == 0 {
            return values;
        }
        let n = self.tokens as f64;
        if self.logprobs_known {
            values.0[BuiltIn::MeanLogprob as usize] = self.logprob_sum / n;
            values.0[BuiltIn::MinLogprob as usize] = self.logprob_min;
            values.0[BuiltIn::SequenceLogprob as usize] = self.logprob_sum;
        }
        if self.alternatives_known {
            values.0[BuiltIn::MeanMargin as usize] = self.margin_sum / n;
            values.0[BuiltIn::MeanNegentropy as usize] = self.negentropy_sum / n;
            values.0[BuiltIn::MinNegentropy as usize] = self.negentropy_min;
        }
        values
    }
}

/// The built-in signals of a whole answer.
///
/// ```
/// use cascade_sdk_core::signal::{BuiltIn, TokenLogprob, built_in};
/// let token = |logprob| TokenLogprob { logprob, ..TokenLogprob::default() };
/// let values = built_in(&[token(-0.1), token(-0.5)]);
/// assert_eq!(values.get(BuiltIn::MeanLogprob), -0.3);
/// assert!(values.get(BuiltIn::MeanMargin).is_nan());
/// ```
pub fn built_in(tokens: &[TokenLogprob]) -> BuiltInValues {
    let mut sums = Accumulator::default();
    for token in without_end(tokens) {
        sums.push(token);
    }
    sums.values()
}

/// The tokens but for a last one that spells the end of the sequence out.
fn without_end(tokens: &[TokenLogprob]) -> &[TokenLogprob] {
    match tokens.split_last() {
        Some((last, rest)) if last.spells_end() => rest,
        _ => tokens,
    }
}

/// The built-in signals of the tokens that make up `content[span]`, where `content` is the answer as the server returned
/// it. A token that reaches over an end of the span counts.
///
/// All are missing where the tokens cannot be aligned: bytes not recorded, or a content that the tokens' text does not
/// hold exactly once. (Servers may list the tokens of a code fence that they cut from the content.)
pub fn built_in_of_span(tokens: &[TokenLogprob], content: &str, span: Range<usize>) -> BuiltInValues {
    align(tokens, content, span).map_or(BuiltInValues::MISSING, built_in)
}

/// The tokens that overlap `content[span]`.
fn align<'t>(tokens: &'t [TokenLogprob], content: &str, span: Range<usize>) -> Option<&'t [TokenLogprob]> {
    if span.is_empty() || content.get(span.clone()).is_none() {
        return None;
    }
    let mut text = Vec::new();
    let mut starts = Vec::with_capacity(tokens.len());
    for token in tokens {
        starts.push(text.len());
        text.extend_from_slice(token.bytes.as_ref()?);
    }
    let offset = only_occurrence(&text, content.as_bytes())?;
    let (from, to) = (offset + span.start, offset + span.end);
    // An empty token shares its start with the next one, which is the one taken: the last of that start.
    let last = starts.partition_point(|start| *start < to);
    let first = starts.partition_point(|start| *start <= from).checked_sub(1)?;
    tokens.get(first..last)
}

/// Where `needle` stands in `text`, if it does so exactly once.
fn only_occurrence(text: &[u8], needle: &[u8]) -> Option<usize> {
    if text == needle {
        return Some(0);
    }
    let first = find(text, needle)?;
    match find(text.get(first + 1..)?, needle) {
        Some(_) => None,
        None => Some(first),
    }
}

fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    // Text that is not UTF-8 (a token cut through a character at the end of the limit) is searched lossily only up to
    // there: alignment needs the content to be whole.
    let valid = text.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    valid.find(std::str::from_utf8(needle).ok()?)
}

/// The place of the value in a wrapped answer `{"answer": …}`: without its quotes if it is a string. `None` for anything
/// else, also where the object has other members.
///
/// ```
/// use cascade_sdk_core::signal::answer_span;
/// let content = r#"{"answer": "billing"}"#;
/// assert_eq!(answer_span(content).and_then(|span| content.get(span)), Some("billing"));
/// ```
pub fn answer_span(content: &str) -> Option<Range<usize>> {
    let bytes = content.as_bytes();
    let start = json_span::skip_space(bytes, 0);
    let end = json_span::value_end(bytes, start)?;
    if json_span::skip_space(bytes, end) != bytes.len() {
        return None;
    }
    let mut members = json_span::members(bytes, start);
    let (key, value) = members.next()?;
    if key != b"answer" || members.next().is_some() {
        return None;
    }
    Some(if bytes.get(value.start) == Some(&b'"') { value.start + 1..value.end - 1 } else { value })
}

/// A usable log-probability: finite, not a server's "not computed", rounded down to 0.
fn known(logprob: f64) -> Option<f64> {
    (logprob > UNKNOWN_LOGPROB && logprob <= ROUNDING).then(|| logprob.min(0.0))
}

/// Margin of the two likeliest alternatives, and negentropy over all of them.
fn spread(alternatives: &[f64]) -> Option<(f64, f64)> {
    let (mut first, mut second, mut entropy, mut count) = (0.0_f64, 0.0_f64, 0.0, 0_u32);
    for &alternative in alternatives {
        if alternative.is_nan() || alternative > ROUNDING {
            return None;
        }
        // One that was not computed was not returned either.
        let Some(logprob) = known(alternative) else { continue };
        let probability = libm::exp(logprob);
        count += 1;
        entropy -= probability * logprob;
        if probability > first {
            (first, second) = (probability, first);
        } else if probability > second {
            second = probability;
        }
    }
    (count >= 2).then(|| (first - second, 1.0 - entropy / libm::log(f64::from(count))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str, logprob: f64, alternatives: &[f64]) -> TokenLogprob {
        TokenLogprob { bytes: Some(text.as_bytes().into()), logprob, alternatives: alternatives.to_vec() }
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn formulas() {
        // Probabilities .5, .25, .125 and .8, .1: worked out by hand.
        let ln = |p: f64| p.ln();
        let values = built_in(&[
            token("a", ln(0.5), &[ln(0.25), ln(0.5), ln(0.125)]),
            token("b", ln(0.1), &[ln(0.8), ln(0.1)]),
        ]);
        assert!(close(values.get(BuiltIn::MeanLogprob), f64::midpoint(ln(0.5), ln(0.1))));
        assert!(close(values.get(BuiltIn::MinLogprob), ln(0.1)));
        assert!(close(values.get(BuiltIn::SequenceLogprob), ln(0.05)));
        assert!(close(values.get(BuiltIn::MeanMargin), f64::midpoint(0.25, 0.7)));
        let first = 1.0 - (0.5 * 2.0_f64.ln() + 0.25 * 4.0_f64.ln() + 0.125 * 8.0_f64.ln()) / 3.0_f64.ln();
        let second = 1.0 + (0.8 * ln(0.8) + 0.1 * ln(0.1)) / 2.0_f64.ln();
        assert!(close(values.get(BuiltIn::MeanNegentropy), f64::midpoint(first, second)));
        assert!(close(values.get(BuiltIn::MinNegentropy), first.min(second)));
    }

    #[test]
    fn certain_and_clueless_positions_are_the_ends_of_negentropy() {
        let uniform = [0.25_f64.ln(); 4];
        assert!(close(built_in(&[token("a", -1.4, &uniform)]).get(BuiltIn::MeanNegentropy), 0.0));
        let certain = [0.0, -50.0];
        assert!(close(built_in(&[token("a", 0.0, &certain)]).get(BuiltIn::MeanNegentropy), 1.0));
    }

    #[test]
    fn end_of_sequence_is_left_out() {
        let alone = built_in(&[token("a", -0.5, &[-0.5, -1.0])]);
        for end in ["", "<|im_end|>"] {
            let with_end = built_in(&[token("a", -0.5, &[-0.5, -1.0]), token(end, -7.0, &[])]);
            for (signal, value) in alone.iter() {
                assert!(close(value, with_end.get(signal)), "{}", signal.name());
            }
        }
    }

    #[test]
    fn unknown_values_make_signals_missing_not_wrong() {
        assert!(built_in(&[]).iter().all(|(_, value)| value.is_nan()));
        assert!(built_in(&[token("", -0.1, &[-0.1, -3.0])]).iter().all(|(_, value)| value.is_nan()));
        for bad in [f64::NAN, f64::NEG_INFINITY, f64::INFINITY, -9999.0, 0.7] {
            let values = built_in(&[token("a", -0.5, &[-0.5, -1.0]), token("b", bad, &[-0.5, -1.0])]);
            assert!(values.get(BuiltIn::MeanLogprob).is_nan(), "{bad}");
            assert!(values.get(BuiltIn::SequenceLogprob).is_nan(), "{bad}");
            assert!(values.get(BuiltIn::MinLogprob).is_nan(), "{bad}");
            assert!(values.get(BuiltIn::MeanMargin) > 0.0, "{bad}");
        }
        // One alternative says nothing about the spread; one that was not computed does not count.
        for alternatives in [&[-0.5][..], &[-0.5, -9999.0], &[-0.5, f64::NEG_INFINITY], &[-0.5, f64::NAN]] {
            let values = built_in(&[token("a", -0.5, alternatives)]);
            assert!(values.get(BuiltIn::MeanMargin).is_nan() && values.get(BuiltIn::MeanNegentropy).is_nan());
            assert!(close(values.get(BuiltIn::MeanLogprob), -0.5));
        }
    }

    #[test]
    fn only_the_tokens_of_the_value_count() {
        let content = r#"{"answer":"bill"}"#;
        let tokens = [
            token("```json\n", -9.0, &[]),
            token("{\"", -1.0, &[]),
            token("answer", -1.0, &[]),
            token("\":\"", -1.0, &[]),
            token("bi", -0.25, &[]),
            token("ll\"", -0.75, &[]),
            token("}", -1.0, &[]),
            token("\n```", -9.0, &[]),
            token("", -3.0, &[]),
        ];
        let span = answer_span(content).unwrap();
        assert!(close(built_in_of_span(&tokens, content, span.clone()).get(BuiltIn::MeanLogprob), -0.5));
        // Another content, or tokens without text, cannot be aligned.
        assert!(built_in_of_span(&tokens, "{\"answer\":\"x\"}", 11..12).get(BuiltIn::MeanLogprob).is_nan());
        let bare = [TokenLogprob { logprob: -0.1, ..TokenLogprob::default() }];
        assert!(built_in_of_span(&bare, content, span).get(BuiltIn::MeanLogprob).is_nan());
    }

    #[test]
    fn wrapped_answers_are_found() {
        let inner = |content: &'static str| answer_span(content).and_then(|span| content.get(span));
        assert_eq!(inner(" { \"answer\" : 42 } "), Some("42"));
        assert_eq!(inner("{\"answer\":[1,2]}"), Some("[1,2]"));
        assert_eq!(inner("{\"answer\":\"a\\\"b\"}"), Some("a\\\"b"));
        assert_eq!(inner("{\"answer\":1,\"why\":2}"), None);
        assert_eq!(inner("{\"reply\":1}"), None);
        assert_eq!(inner("{\"answer\":1"), None);
        assert_eq!(inner("billing"), None);
    }

    #[test]
    fn names_are_those_of_logs() {
        for signal in BuiltIn::ALL {
            assert_eq!(BuiltIn::parse(signal.name()), Some(signal));
        }
        assert_eq!(BuiltIn::ALL.map(|signal| signal as usize), [0, 1, 2, 3, 4, 5]);
    }
}
