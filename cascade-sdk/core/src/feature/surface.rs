//! Surface statistics of a prompt: length, structure, marks, script, form of question.

use super::inputs::single;
use super::lexicon::Kind;
use super::text::{Reading, Tally};

/// Number of statistics.
pub const COUNT: usize = NAMES.len();

/// What each statistic is, for explanations; counts enter as ln(1 + count).
pub(super) const NAMES: [&str; 59] = [
    "length in bytes",
    "words",
    "mean length of words",
    "longest word",
    "lines",
    "empty lines",
    "mean length of lines",
    "share of capitals",
    "share of digits",
    "numbers",
    "longest number",
    "capitalised words",
    "words in capitals",
    "question marks",
    "ends with a question mark",
    "begins with what, which, who …",
    "begins with how",
    "begins with is, does, can …",
    "begins with an order",
    "what, which, who …",
    "how, many, much",
    "is, does, can …",
    "orders",
    "negations",
    "comparisons",
    "logic words",
    "code words",
    "mathematics words",
    "I, you, my …",
    "answer options",
    "list items",
    "indented lines",
    "commas",
    "full stops",
    "words per sentence",
    "colons",
    "semicolons",
    "exclamation marks",
    "hyphens",
    "double quotes",
    "apostrophes",
    "parentheses",
    "square brackets",
    "braces",
    "vertical bars",
    "backticks",
    "equals signs",
    "arithmetic signs",
    "angle brackets",
    "backslashes",
    "dollar signs",
    "percent signs",
    "underscores",
    "hashes and at signs",
    "control characters",
    "share outside ASCII",
    "share in Cyrillic or Greek",
    "share in Hebrew, Arabic or Indic script",
    "share in Chinese, Japanese or Korean script",
];

/// The statistics of one prompt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Values(pub(crate) [f32; COUNT]);

impl Default for Values {
    fn default() -> Self {
        Self([0.0; COUNT])
    }
}

/// Counts made line by line.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Lines {
    empty: u32,
    options: u32,
    items: u32,
    indented: u32,
}

impl Lines {
    fn of(window: [&str; 2]) -> Self {
        let mut lines = Self::default();
        for line in window.iter().flat_map(|part| part.as_bytes().split(|&byte| byte == b'\n')) {
            match line {
                [] | [b'\r'] => lines.empty += 1,
                [b'A'..=b'J' | b'a'..=b'j', b'.' | b')' | b':', ..]
                | [b'(', b'A'..=b'J' | b'a'..=b'j', b')', ..] => lines.options += 1,
                [b'-' | b'*', b' ', ..]
                | [b'0'..=b'9', b'.' | b')', ..]
                | [b'0'..=b'9', b'0'..=b'9', b'.' | b')', ..] => lines.items += 1,
                [b'\t', ..] | [b' ', b' ', ..] => lines.indented += 1,
                _ => {}
            }
        }
        lines
    }
}

/// Computes the statistics into `out`. `bytes` is the length of the whole text without its shared parts; the rest is of
/// the window that was read.
pub(super) fn compute(bytes: usize, window: [&str; 2], reading: &Reading, out: &mut Values) {
    let count = |byte: u8| reading.bytes.0[usize::from(byte)];
    let any = |set: &[u8]| set.iter().map(|&byte| count(byte)).sum::<u32>();
    let range = |from: u8, to: u8| (from..=to).map(count).sum::<u32>();
    let Tally { words, letters, longest, numbers, longest_number, capitalised, all_capitals, kinds, first } =
        reading.tally;
    let read = (window[0].len() + window[1].len()) as f64;
    let lines = Lines::of(window);
    let newlines = count(b'\n');
    let share = |part: u32, whole: f64| if whole > 0.0 { f64::from(part) / whole } else { 0.0 };
    let flag = |on: bool| f64::from(u8::from(on));
    let ends = window[usize::from(!window[1].is_empty())].trim_end().ends_with(['?', '？']);
    let sentences = any(b".!?").max(1);
    let begins = |kind: Kind| flag(first == Some(kind));
    let of_kind = |kind: Kind| ln1p(kinds[kind as usize]);
    let values = [
        libm::log1p(bytes as f64),
        ln1p(words),
        share(letters, f64::from(words)),
        ln1p(longest),
        ln1p(newlines),
        ln1p(lines.empty),
        libm::log1p(read / f64::from(newlines + 1)),
        share(range(b'A', b'Z'), read),
        share(range(b'0', b'9'), read),
        ln1p(numbers),
        ln1p(longest_number),
        ln1p(capitalised),
        ln1p(all_capitals),
        ln1p(count(b'?')),
        flag(ends),
        begins(Kind::Question),
        begins(Kind::How),
        begins(Kind::YesNo),
        begins(Kind::Order),
        of_kind(Kind::Question),
        of_kind(Kind::How),
        of_kind(Kind::YesNo),
        of_kind(Kind::Order),
        of_kind(Kind::Negation),
        of_kind(Kind::Comparison),
        of_kind(Kind::Logic),
        of_kind(Kind::Code),
        of_kind(Kind::Mathematics),
        of_kind(Kind::Person),
        ln1p(lines.options),
        ln1p(lines.items),
        ln1p(lines.indented),
        ln1p(count(b',')),
        ln1p(count(b'.')),
        libm::log1p(share(words, f64::from(sentences))),
        ln1p(count(b':')),
        ln1p(count(b';')),
        ln1p(count(b'!')),
        ln1p(count(b'-')),
        ln1p(count(b'"')),
        ln1p(count(b'\'')),
        ln1p(any(b"()")),
        ln1p(any(b"[]")),
        ln1p(any(b"{}")),
        ln1p(count(b'|')),
        ln1p(count(b'`')),
        ln1p(count(b'=')),
        ln1p(any(b"+*/^")),
        ln1p(any(b"<>")),
        ln1p(count(b'\\')),
        ln1p(count(b'$')),
        ln1p(count(b'%')),
        ln1p(count(b'_')),
        ln1p(any(b"#@")),
        ln1p(range(0, 8) + range(11, 12) + range(14, 31) + count(127)),
        // Lead bytes of UTF-8 name the script well enough.
        share(range(0xC2, 0xF4), read),
        share(range(0xCD, 0xD3), read),
        share(range(0xD6, 0xE0), read),
        share(range(0xE3, 0xED), read),
    ];
    for (out, value) in out.0.iter_mut().zip(values) {
        *out = single(value);
    }
}

fn ln1p(count: u32) -> f64 {
    // Most counts are small; a table saves most logarithms of a decision.
    LN1P.get(count as usize).copied().unwrap_or_else(|| libm::log1p(f64::from(count)))
}

static LN1P: std::sync::LazyLock<[f64; 64]> =
    std::sync::LazyLock::new(|| std::array::from_fn(|count| libm::log1p(count as f64)));
