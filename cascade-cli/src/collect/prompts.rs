//! The prompt file: what to ask, and how the answers are graded.

use super::grade::{Grader, GraderName};
use crate::failure::{Failure, Result};
use cascade_sdk_core::diag::{Diagnostic, Source};
use cascade_sdk_core::hash::Hasher;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Findings shown for one file before the rest is only counted.
const MOST_FINDINGS: usize = 20;

/// One prompt, checked.
#[derive(Clone, Debug)]
pub(crate) struct Prompt {
    /// Unique name; the row of the log has the same.
    pub(crate) id: String,
    /// What is asked.
    pub(crate) ask: Ask,
    /// The expected answer, as written.
    pub(crate) reference: String,
    /// Grades the answers.
    pub(crate) grader: Grader,
    /// The grader's name, for the log.
    pub(crate) graded_by: &'static str,
    /// What goes into the log row as it stands.
    pub(crate) about: About,
}

/// What is asked: a text, or a conversation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ask {
    Input(String),
    Messages(Vec<Message>),
}

impl Ask {
    /// Every text that is sent.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        let (input, messages) = match self {
            Self::Input(input) => (Some(input.as_str()), &[][..]),
            Self::Messages(messages) => (None, messages.as_slice()),
        };
        input.into_iter().chain(messages.iter().map(|message| message.content.as_str()))
    }

    /// Lower-case hex hash of everything that is asked.
    pub(crate) fn hash(&self) -> String {
        let mut hasher = Hasher::new();
        match self {
            Self::Input(input) => hasher.add(input.as_bytes()),
            Self::Messages(messages) => {
                for message in messages {
                    hasher.add(message.role.as_bytes());
                    hasher.add(message.content.as_bytes());
                }
            }
        }
        hasher.hex()
    }
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Message {
    /// `system`, `user` or `assistant`.
    pub(crate) role: String,
    /// Its text.
    pub(crate) content: String,
}

/// Fields of a prompt that the log row takes over.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct About {
    pub(crate) split: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) weight: Option<f64>,
    #[serde(default)]
    pub(crate) features: BTreeMap<String, f64>,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) session: Option<String>,
    pub(crate) turn: Option<u32>,
}

/// A line as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: String,
    input: Option<String>,
    messages: Option<Vec<Message>>,
    reference: Reference,
    grader: GraderName,
    #[serde(default)]
    options: Vec<String>,
    tolerance: Option<f64>,
    split: Option<String>,
    group: Option<String>,
    weight: Option<f64>,
    #[serde(default)]
    features: BTreeMap<String, f64>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    session: Option<String>,
    turn: Option<u32>,
}

/// A reference is a text; a number is accepted as it is written.
#[derive(Deserialize)]
#[serde(untagged)]
enum Reference {
    Text(String),
    Number(serde_json::Number),
}

/// Reads a prompt file; every mistake of the file is found in one run.
///
/// # Errors
/// A file that cannot be read, is empty, or has a line that is wrong.
pub(crate) fn read(path: &Path) -> Result<Vec<Prompt>> {
    let bytes = std::fs::read(path).map_err(|error| Failure::io("read", path, &error))?;
    parse(&path.display().to_string(), &bytes)
}

fn parse(name: &str, bytes: &[u8]) -> Result<Vec<Prompt>> {
    let mut prompts = Vec::new();
    let mut findings = Vec::new();
    let mut first_seen: BTreeMap<String, usize> = BTreeMap::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        let Ok(text) = std::str::from_utf8(line) else {
            let shown = Source::line(name, number, String::from_utf8_lossy(line).into_owned());
            findings.push(
                Diagnostic::error("prompts::utf8", "the line is not UTF-8")
                    .at(&shown, 0..0, "")
                    .help("save the file as UTF-8"),
            );
            continue;
        };
        if text.trim().is_empty() {
            continue;
        }
        match read_line(name, number, text) {
            Ok(prompt) => {
                if let Some(first) = first_seen.insert(prompt.id.clone(), number) {
                    let source = Source::line(name, number, text);
                    findings.push(
                        Diagnostic::error(
                            "prompts::duplicate-id",
                            format!("the id `{}` was used on line {first}", prompt.id),
                        )
                        .at(&source, span_of(text, "id"), "used twice")
                        .help("give each prompt an id of its own"),
                    );
                }
                prompts.push(prompt);
            }
            Err(finding) => findings.push(*finding),
        }
    }
    if findings.is_empty() && prompts.is_empty() {
        findings.push(Diagnostic::error("prompts::empty", format!("`{name}` has no prompts")).help(
            r#"write one object a line: {"id":"1","input":"2+2?","reference":"4","grader":"numeric"}"#,
        ));
    }
    if findings.is_empty() {
        return Ok(prompts);
    }
    if findings.len() > MOST_FINDINGS {
        let more = findings.len() - MOST_FINDINGS;
        findings.truncate(MOST_FINDINGS);
        findings
            .push(Diagnostic::error("prompts::more", format!("and {more} more lines of `{name}` are wrong")));
    }
    Err(findings.into())
}

fn read_line(name: &str, number: usize, text: &str) -> std::result::Result<Prompt, Box<Diagnostic>> {
    let source = || Source::line(name, number, text);
    let line: Line = serde_json::from_str(text).map_err(|error| {
        let at = byte_at_column(text, error.column());
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or(&message).to_owned();
        Box::new(
            Diagnostic::error("prompts::line", message)
                .at(&source(), at..at, "")
                .help("a prompt has id, input or messages, reference, grader (exact, contains, numeric, choice, regex), and may have options, tolerance, split, group, weight, features, tags, session, turn"),
        )
    })?;
    let wrong = |key: &str, message: String, help: &str| {
        Box::new(
            Diagnostic::error("prompts::value", message).at(&source(), span_of(text, key), "").help(help),
        )
    };
    if line.id.trim().is_empty() {
        return Err(wrong("id", "the id is empty".into(), "give each prompt an id of its own"));
    }
    let ask = match (line.input, line.messages) {
        (Some(input), None) if !input.trim().is_empty() => Ask::Input(input),
        (None, Some(messages)) if !messages.is_empty() => {
            for message in &messages {
                if !matches!(message.role.as_str(), "system" | "user" | "assistant") {
                    return Err(wrong(
                        "messages",
                        format!("unknown role `{}`", message.role),
                        "roles are system, user and assistant",
                    ));
                }
            }
            Ask::Messages(messages)
        }
        (Some(_), Some(_)) => {
            return Err(wrong(
                "messages",
                "both `input` and `messages` are given".into(),
                "keep one of them",
            ));
        }
        (Some(_), None) => {
            return Err(wrong("input", "the input is empty".into(), "write what is to be asked"));
        }
        (None, Some(_)) => {
            return Err(wrong("messages", "there are no messages".into(), "write at least one"));
        }
        (None, None) => return Err(wrong("id", "there is no `input`".into(), "add `input` or `messages`")),
    };
    if let Some(split) = &line.split
        && !matches!(split.as_str(), "calibration" | "test")
    {
        return Err(wrong("split", format!("unknown split `{split}`"), "a split is calibration or test"));
    }
    if let Some(weight) = line.weight
        && !(weight.is_finite() && weight > 0.0)
    {
        return Err(wrong(
            "weight",
            format!("the weight {weight} is not positive"),
            "write a positive number",
        ));
    }
    let reference = match line.reference {
        Reference::Text(text) => text,
        Reference::Number(number) => number.to_string(),
    };
    let grader = Grader::new(line.grader, &reference, &line.options, line.tolerance)
        .map_err(|bad| wrong(bad.key, bad.to_string(), bad.help))?;
    Ok(Prompt {
        id: line.id,
        ask,
        reference,
        grader,
        graded_by: line.grader.as_str(),
        about: About {
            split: line.split,
            group: line.group,
            weight: line.weight,
            features: line.features,
            tags: line.tags,
            session: line.session,
            turn: line.turn,
        },
    })
}

/// Where a key stands in a line, quotes included; the start of the line if it is not there.
fn span_of(text: &str, key: &str) -> std::ops::Range<usize> {
    let quoted = format!("\"{key}\"");
    text.find(&quoted).map_or(0..0, |at| at..at + quoted.len())
}

/// serde_json counts bytes from 1 in a line; the span must not split a character.
fn byte_at_column(text: &str, column: usize) -> usize {
    let mut at = column.saturating_sub(1).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "numbers that are passed through")]
mod tests {
    use super::*;

    fn messages(text: &str) -> Vec<String> {
        match parse("p.jsonl", text.as_bytes()) {
            Ok(_) => Vec::new(),
            Err(Failure(findings)) => findings
                .iter()
                .map(|finding| {
                    let line = finding.labels.first().map_or(0, |label| label.source.first_line);
                    format!("{line}: {}", finding.message)
                })
                .collect(),
        }
    }

    #[test]
    fn all_mistakes_are_found_in_one_run() {
        let found = messages(concat!(
            r#"{"id":"a","input":"x","reference":"4","grader":"numeric"}"#,
            "\n\n",
            r#"{"id":"a","input":"x","reference":4,"grader":"numeric"}"#,
            "\n",
            r#"{"id":"b","input":"x","reference":"y","grader":"fuzzy"}"#,
            "\n",
            r#"{"id":"c","reference":"y","grader":"exact"}"#,
            "\n",
            r#"{"id":"d","input":"x","reference":"y","grader":"exact","optoins":[]}"#,
            "\n",
            r#"{"id":"e","input":"x","messages":[],"reference":"y","grader":"exact"}"#,
            "\n",
            r#"{"id":"f","messages":[{"role":"bot","content":"x"}],"reference":"y","grader":"exact"}"#,
            "\n",
            r#"{"id":"g","input":"x","reference":"y","grader":"numeric"}"#,
            "\n",
            r#"{"id":"h","input":"x","reference":"y","grader":"exact","split":"dev"}"#,
            "\n",
            r#"{"id":"i","input":"x""#,
        ));
        assert_eq!(found.len(), 9, "{found:#?}");
        assert_eq!(found[0], "3: the id `a` was used on line 1");
        assert!(found[1].starts_with("4: unknown variant `fuzzy`"), "{}", found[1]);
        assert_eq!(found[2], "5: there is no `input`");
        assert!(found[3].starts_with("6: unknown field `optoins`"), "{}", found[3]);
        assert_eq!(found[4], "7: both `input` and `messages` are given");
        assert_eq!(found[5], "8: unknown role `bot`");
        assert_eq!(found[6], "9: the reference `y` is not a number");
        assert_eq!(found[7], "10: unknown split `dev`");
        assert!(found[8].starts_with("11: EOF"), "{}", found[8]);
    }

    #[test]
    fn an_empty_file_and_bad_bytes_are_errors() {
        assert_eq!(messages("\n \n"), ["0: `p.jsonl` has no prompts"]);
        let Err(Failure(found)) = parse("p.jsonl", b"\xff\xfe\n") else { panic!("bad bytes were read") };
        assert_eq!(found[0].message, "the line is not UTF-8");
    }

    #[test]
    fn a_good_line_keeps_what_the_log_needs() {
        let text = r#"{"id":"a","messages":[{"role":"user","content":"x"}],"reference":"y","grader":"choice","options":["y","n"],"tags":{"k":"v"},"features":{"n":2},"group":"g","split":"test"}"#;
        let prompts = parse("p.jsonl", text.as_bytes()).unwrap();
        let prompt = &prompts[0];
        assert_eq!(prompt.graded_by, "choice");
        assert_eq!(prompt.about.tags["k"], "v");
        assert_eq!(prompt.about.features["n"], 2.0);
        assert_eq!(prompt.about.group.as_deref(), Some("g"));
        assert_eq!(prompt.grader.grade("Y!"), 1.0);
        assert!(matches!(&prompt.ask, Ask::Messages(messages) if messages[0].content == "x"));
    }
}
