//! Graders: how good an answer is, given the reference.
//!
//! Answers come from models and are not trusted: every grader runs in time linear in the answer (regular expressions
//! by crate `regex`, which does not backtrack).

use super::judge::Scale;
use cascade_sdk::AnswerSchema;
use regex::{Regex, RegexBuilder};
use std::fmt;

/// Relative tolerance of `numeric` where the prompt states none.
pub(crate) const DEFAULT_TOLERANCE: f64 = 1e-6;

/// Largest compiled form of a reference expression, in bytes.
const REGEX_SIZE_LIMIT: usize = 1 << 20;

/// A grader with its reference, checked and ready to use.
#[derive(Clone, Debug)]
pub(crate) enum Grader {
    /// Equal to the reference when both are trimmed, without surrounding quotes and a trailing full stop,
    /// letters compared without case.
    Exact(String),
    /// The reference appears as a whole word (or phrase), without case.
    Contains(Regex),
    /// The last number of the answer equals the reference within a relative tolerance.
    Numeric { reference: f64, tolerance: f64 },
    /// The first option that appears as a whole word, without case, is the reference.
    Choice { any_option: Regex, reference: String },
    /// The expression matches the trimmed answer.
    Regex(Regex),
    /// The answer is JSON that follows the schema.
    JsonSchema { schema: AnswerSchema, is_object: bool },
    /// A program of the user's says.
    Command,
    /// A model says, by a rubric.
    Judge,
    /// A model says whether it is better than the reference, by a rubric.
    JudgePairwise,
    /// The answer is itself a judge's verdict on another one.
    Verdict(Scale),
}

/// The name of a grader in a prompt file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GraderName {
    Exact,
    Contains,
    Numeric,
    Choice,
    Regex,
    JsonSchema,
    Command,
    Judge,
    JudgePairwise,
}

impl GraderName {
    /// Every grader.
    pub(crate) const ALL: [Self; 9] = [
        Self::Exact,
        Self::Contains,
        Self::Numeric,
        Self::Choice,
        Self::Regex,
        Self::JsonSchema,
        Self::Command,
        Self::Judge,
        Self::JudgePairwise,
    ];

    /// The grader of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grader| grader.as_str() == name)
    }

    /// Its name in files.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Contains => "contains",
            Self::Numeric => "numeric",
            Self::Choice => "choice",
            Self::Regex => "regex",
            Self::JsonSchema => "json_schema",
            Self::Command => "command",
            Self::Judge => "judge",
            Self::JudgePairwise => "judge_pairwise",
        }
    }
}

/// Why a reference does not suit its grader.
#[derive(Debug, PartialEq)]
pub(crate) struct BadReference {
    /// The key of the prompt to blame.
    pub(crate) key: &'static str,
    /// What is wrong, without a full stop.
    pub(crate) message: String,
    /// What to do.
    pub(crate) help: &'static str,
}

impl fmt::Display for BadReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Grader {
    /// Checks a reference against its grader.
    ///
    /// # Errors
    /// [`BadReference`] if the reference cannot be used: not a number, not an expression, not among the options,
    /// or nothing but white space.
    pub(crate) fn new(
        name: GraderName,
        reference: &str,
        options: &[String],
        tolerance: Option<f64>,
    ) -> Result<Self, BadReference> {
        let bad = |key, message: String, help| Err(BadReference { key, message, help });
        let needs_none = matches!(name, GraderName::Command | GraderName::Judge);
        if reference.trim().is_empty() && !needs_none {
            return bad("reference", "the reference is empty".into(), "write the expected answer");
        }
        if tolerance.is_some() && name != GraderName::Numeric {
            return bad(
                "tolerance",
                format!("the grader `{}` has no tolerance", name.as_str()),
                "take `tolerance` out or grade by `numeric`",
            );
        }
        if !options.is_empty() && name != GraderName::Choice {
            return bad(
                "options",
                format!("the grader `{}` has no options", name.as_str()),
                "take `options` out or grade by `choice`",
            );
        }
        match name {
            GraderName::Exact => Ok(Self::Exact(plain(reference))),
            GraderName::Contains => match whole_words([reference]) {
                Ok(expression) => Ok(Self::Contains(expression)),
                Err(message) => bad("reference", message, "shorten the reference"),
            },
            GraderName::Numeric => {
                let tolerance = tolerance.unwrap_or(DEFAULT_TOLERANCE);
                if !(tolerance.is_finite() && tolerance >= 0.0) {
                    return bad(
                        "tolerance",
                        format!("the tolerance {tolerance} is not a number of at least 0"),
                        "write a relative tolerance such as 0.01",
                    );
                }
                match parse_number(reference.trim()) {
                    Some(reference) => Ok(Self::Numeric { reference, tolerance }),
                    None => bad(
                        "reference",
                        format!("the reference `{}` is not a number", reference.trim()),
                        "write one number or choose another grader",
                    ),
                }
            }
            GraderName::Choice => {
                if !options.iter().any(|option| same_letters(option, reference)) {
                    return bad(
                        "reference",
                        format!("the reference `{reference}` is not among the options"),
                        "list it in `options`",
                    );
                }
                // The longest first: at one place, `not sure` must win over `not`.
                let mut longest_first: Vec<&str> = options.iter().map(|option| option.trim()).collect();
                if longest_first.iter().any(|option| option.is_empty()) {
                    return bad("options", "an option is empty".into(), "take it out");
                }
                longest_first.sort_by_key(|option| std::cmp::Reverse(option.len()));
                match whole_words(longest_first) {
                    Ok(any_option) => Ok(Self::Choice { any_option, reference: reference.into() }),
                    Err(message) => bad("options", message, "shorten the options"),
                }
            }
            GraderName::Regex => match build(reference) {
                Ok(expression) => Ok(Self::Regex(expression)),
                Err(message) => bad(
                    "reference",
                    format!("the reference is not a regular expression: {message}"),
                    "see https://docs.rs/regex for the syntax; look-around and back-references do not exist",
                ),
            },
            GraderName::JsonSchema => match AnswerSchema::from_json(reference) {
                Ok(schema) => {
                    let root = serde_json::from_str::<serde_json::Value>(reference).unwrap_or_default();
                    Ok(Self::JsonSchema { schema, is_object: root["type"] == "object" })
                }
                Err(error) => bad("reference", error.to_string(), "write the JSON Schema as the reference"),
            },
            GraderName::Command => Ok(Self::Command),
            GraderName::Judge => Ok(Self::Judge),
            GraderName::JudgePairwise => Ok(Self::JudgePairwise),
        }
    }

    /// True if something outside this process says how good an answer is.
    pub(crate) fn is_external(&self) -> bool {
        matches!(self, Self::Command | Self::Judge | Self::JudgePairwise)
    }

    /// Quality of an answer in [0, 1]; `None` where this process cannot say.
    pub(crate) fn grade(&self, answer: &str) -> Option<f64> {
        let good = match self {
            Self::Command | Self::Judge | Self::JudgePairwise => return None,
            Self::Verdict(scale) => return scale.quality(answer),
            Self::JsonSchema { schema, is_object: true } => schema.read(answer).is_ok(),
            // Any other root is read inside the object that a provider would be asked for.
            Self::JsonSchema { schema, is_object: false } => {
                schema.is_text()
                    || serde_json::from_str::<serde_json::Value>(answer).is_ok_and(|value| {
                        schema.read(&serde_json::json!({ "answer": value }).to_string()).is_ok()
                    })
            }
            Self::Exact(reference) => plain(answer) == *reference,
            Self::Contains(expression) => expression.is_match(answer),
            Self::Numeric { reference, tolerance } => last_number(answer)
                .is_some_and(|number| (number - reference).abs() <= tolerance * reference.abs()),
            Self::Choice { any_option, reference } => {
                any_option.find(answer).is_some_and(|found| same_letters(found.as_str(), reference))
            }
            Self::Regex(expression) => expression.is_match(answer.trim()),
        };
        Some(if good { 1.0 } else { 0.0 })
    }
}

fn same_letters(left: &str, right: &str) -> bool {
    left.trim().to_lowercase() == right.trim().to_lowercase()
}

/// Trimmed, without surrounding quotes and trailing full stop, in lower case.
fn plain(text: &str) -> String {
    const QUOTES: [char; 7] = ['"', '\'', '`', '\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}'];
    let mut rest = text.trim();
    // `"Paris."` and `"Paris".` are both one pair of quotes and one full stop.
    loop {
        let before = rest;
        if let Some(shorter) = rest.strip_suffix('.') {
            rest = shorter.trim_end();
        }
        if rest.chars().count() >= 2 && rest.starts_with(QUOTES) && rest.ends_with(QUOTES) {
            rest = rest.trim_start_matches(QUOTES).trim_end_matches(QUOTES).trim();
        }
        if rest == before {
            return rest.to_lowercase();
        }
    }
}

/// An expression that finds any of some literal texts as whole words, without case, in the order of preference.
fn whole_words<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Regex, String> {
    let literals: Vec<String> = texts
        .into_iter()
        .map(|text| {
            let text = text.trim();
            // A word boundary next to punctuation would demand a letter outside: `C++` must be found in `use C++.`.
            let edge = |c: Option<char>| if c.is_some_and(is_word) { r"\b" } else { "" };
            format!("{}{}{}", edge(text.chars().next()), regex::escape(text), edge(text.chars().last()))
        })
        .collect();
    build(&format!("(?i)(?:{})", literals.join("|")))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn build(expression: &str) -> Result<Regex, String> {
    RegexBuilder::new(expression).size_limit(REGEX_SIZE_LIMIT).build().map_err(|error| {
        // The crate draws the expression with a caret over several lines; the last one says what is wrong.
        error.to_string().lines().last().unwrap_or("invalid").trim_start_matches("error: ").to_owned()
    })
}

/// Reads `1,234.5`, `-3`, `+2e3`, `.5`.
fn parse_number(text: &str) -> Option<f64> {
    let number: f64 = text.replace([',', '_', '\u{2009}', '\u{202f}'], "").parse().ok()?;
    number.is_finite().then_some(number)
}

/// The last number in a text, thousands separators removed.
fn last_number(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    let mut last = None;
    let mut at = 0;
    while at < bytes.len() {
        let end = number_end(bytes, at);
        if end > at {
            last = Some(number_start(text, at)..end);
            at = end;
        } else {
            at += 1;
        }
    }
    last.and_then(|range| parse_number(&text[range].replace('\u{2212}', "-")))
}

/// Where the number that starts at `at` ends; `at` if none does. The sign is looked for afterwards.
fn number_end(bytes: &[u8], at: usize) -> usize {
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let run = |mut at: usize| {
        while digit(at) {
            at += 1;
        }
        at
    };
    let mut end = run(at);
    if end == at && !(bytes.get(at) == Some(&b'.') && digit(at + 1)) {
        return at;
    }
    // A comma belongs to the number only as a thousands separator: exactly three digits follow.
    while bytes.get(end) == Some(&b',') && run(end + 1) == end + 4 {
        end += 4;
    }
    if bytes.get(end) == Some(&b'.') && digit(end + 1) {
        end = run(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let signed = end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        if digit(signed) {
            end = run(signed);
        }
    }
    end
}

/// Where a number starts if the sign before it is taken in. A hyphen after a word or number joins or subtracts
/// (`COVID-19`, `7-3`) and is no sign.
fn number_start(text: &str, at: usize) -> usize {
    let before = &text[..at];
    let Some(sign) = before.chars().next_back().filter(|c| matches!(c, '-' | '\u{2212}')) else { return at };
    let start = at - sign.len_utf8();
    let joined = text[..start].chars().next_back().is_some_and(|c| is_word(c) || c == ')');
    if joined { at } else { start }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "qualities are exactly 0 or 1")]
mod tests {
    use super::*;

    fn quality(name: GraderName, reference: &str, answer: &str) -> f64 {
        Grader::new(name, reference, &[], None).unwrap().grade(answer).unwrap()
    }

    #[track_caller]
    fn check(name: GraderName, reference: &str, good: &[&str], bad: &[&str]) {
        for answer in good {
            assert_eq!(quality(name, reference, answer), 1.0, "{answer:?} should match {reference:?}");
        }
        for answer in bad {
            assert_eq!(quality(name, reference, answer), 0.0, "{answer:?} should not match {reference:?}");
        }
    }

    #[test]
    fn exact_looks_past_case_quotes_and_the_full_stop() {
        check(
            GraderName::Exact,
            "Paris",
            &["Paris", " paris.\n", "\"Paris\"", "'Paris.'", "\"Paris\".", "\u{201c}Paris\u{201d}"],
            &["Paris, France", "Pari", "", "It is Paris"],
        );
        check(GraderName::Exact, "it's", &["It's"], &["its"]);
    }

    #[test]
    fn contains_wants_whole_words() {
        check(GraderName::Contains, "yen", &["The yen.", "YEN", "(yen)"], &["yenta", "doyen", ""]);
        check(GraderName::Contains, "C++", &["use C++.", "c++"], &["C+"]);
        check(GraderName::Contains, "New York", &["in new york city"], &["New Yorker", "New  York"]);
        check(GraderName::Contains, "été", &["L'ÉTÉ dernier"], &["étés"]);
    }

    #[test]
    fn numeric_takes_the_last_number() {
        check(
            GraderName::Numeric,
            "1234.5",
            &["1,234.5", "first 7, then 1234.5.", "= 1234.50", "1.2345e3", "so: 1234.5 km"],
            &["1234.5 and 6", "-1234.5", "none", "", "1,234,5"],
        );
        check(
            GraderName::Numeric,
            "-3",
            &["-3", "it is \u{2212}3.", "(-3)", "x = -3"],
            &["3", "5-3", "COVID-3"],
        );
        check(GraderName::Numeric, "0", &["0", "0.0", "-0"], &["1e-9"]);
        check(GraderName::Numeric, "2", &["1, 2", "1,2", "a2"], &["2, 1"]);
        check(GraderName::Numeric, "1234567", &["1,234,567", "1234567"], &["1,234,56"]);
        check(GraderName::Numeric, "0.5", &[".5", "0.5"], &["5"]);
        check(GraderName::Numeric, "19", &["COVID-19", "12:19"], &["-19"]);
    }

    #[test]
    fn numeric_tolerance_is_relative() {
        let grader = Grader::new(GraderName::Numeric, "200", &[], Some(0.01)).unwrap();
        assert_eq!(grader.grade("about 202"), Some(1.0));
        assert_eq!(grader.grade("about 202.1"), Some(0.0));
        let strict = Grader::new(GraderName::Numeric, "200", &[], None).unwrap();
        assert_eq!(strict.grade("200.0001"), Some(1.0));
        assert_eq!(strict.grade("200.001"), Some(0.0));
    }

    #[test]
    fn choice_takes_the_first_option_named() {
        let options = ["billing", "refund", "not sure", "not"].map(String::from);
        let grade = |reference: &str, answer| {
            Grader::new(GraderName::Choice, reference, &options, None).unwrap().grade(answer).unwrap()
        };
        assert_eq!(grade("billing", "Billing. Or refund?"), 1.0);
        assert_eq!(grade("refund", "Billing. Or refund?"), 0.0);
        assert_eq!(grade("refund", "prebilling refund"), 1.0);
        assert_eq!(grade("not sure", "I am not sure"), 1.0);
        assert_eq!(grade("billing", "account"), 0.0);
    }

    #[test]
    fn regex_matches_the_trimmed_answer() {
        check(GraderName::Regex, "^(?i)yes\\.?$", &["Yes.\n", " yes"], &["yes, please"]);
    }

    #[test]
    fn json_schema_wants_json_that_follows_it() {
        let object = r#"{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}"#;
        check(GraderName::JsonSchema, object, &["{\"a\": 1}"], &["{}", "{\"a\": \"1\"}", "a", ""]);
        let list = r#"{"type":"array","items":{"type":"integer"}}"#;
        check(GraderName::JsonSchema, list, &["[1, 2]", "[]"], &["[\"a\"]", "{\"answer\": [1]}", "1"]);
    }

    #[test]
    fn references_that_cannot_be_used_are_refused() {
        let options = ["a", "b"].map(String::from);
        for (name, reference, options, tolerance, key) in [
            (GraderName::Exact, "  ", &[][..], None, "reference"),
            (GraderName::Numeric, "three", &[], None, "reference"),
            (GraderName::Numeric, "inf", &[], None, "reference"),
            (GraderName::Numeric, "3", &[], Some(-0.1), "tolerance"),
            (GraderName::Exact, "3", &[], Some(0.1), "tolerance"),
            (GraderName::Exact, "a", &options, None, "options"),
            (GraderName::Choice, "c", &options, None, "reference"),
            (GraderName::Choice, "a", &[], None, "reference"),
            (GraderName::Regex, "(", &[], None, "reference"),
            (GraderName::Regex, "(?=x)", &[], None, "reference"),
            (GraderName::JsonSchema, "[]", &[], None, "reference"),
            (GraderName::JudgePairwise, "", &[], None, "reference"),
        ] {
            let error = Grader::new(name, reference, options, tolerance).unwrap_err();
            assert_eq!(error.key, key, "{name:?} {reference:?}: {error}");
        }
    }
}
