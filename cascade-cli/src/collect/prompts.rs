//! The prompt file: what to ask, and how the answers are graded.

use super::grade::{Grader, GraderName};
use crate::failure::{Failure, Result};
use crate::words;
use cascade_sdk_core::diag::{Diagnostic, Source};
use cascade_sdk_core::hash::Hasher;
use cascade_sdk_core::log::mend_surrogates;
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
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct About {
    pub(crate) split: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) weight: Option<f64>,
    pub(crate) features: BTreeMap<String, f64>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) session: Option<String>,
    pub(crate) turn: Option<u32>,
}

/// A line as written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    pub(super) id: String,
    pub(super) input: Option<String>,
    pub(super) messages: Option<Vec<Message>>,
    pub(super) reference: Option<Reference>,
    pub(super) grader: Option<GraderName>,
    #[serde(default)]
    pub(super) options: Vec<String>,
    pub(super) tolerance: Option<f64>,
    pub(super) samples: Option<u32>,
    pub(super) split: Option<String>,
    pub(super) group: Option<String>,
    pub(super) weight: Option<f64>,
    #[serde(default)]
    pub(super) features: BTreeMap<String, f64>,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
    pub(super) session: Option<String>,
    pub(super) turn: Option<u32>,
}

/// A reference is a text; a number is accepted as it is written, and a JSON Schema as an object.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Reference {
    Text(String),
    Number(serde_json::Number),
    Object(serde_json::Map<String, serde_json::Value>),
}

/// What holds for prompts that do not say it themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Defaults {
    /// How answers are graded.
    pub(crate) grader: Option<GraderName>,
    /// How often each prompt is asked.
    pub(crate) samples: Option<u32>,
}

/// Most samples of one prompt.
const MOST_SAMPLES: u32 = 1_000;

/// Reads a prompt file, `.csv` or JSON Lines; every mistake of the file is found in one run. `tell` hears what was
/// mended.
///
/// # Errors
/// A file that cannot be read, is empty, or has a line that is wrong.
pub(crate) fn read(path: &Path, defaults: Defaults, tell: impl Fn(&str)) -> Result<Vec<Prompt>> {
    let mut bytes = std::fs::read(path).map_err(|error| Failure::io("read", path, &error))?;
    let name = path.display().to_string();
    let prompts = if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv")) {
        super::prompts_csv::parse(&name, &bytes, defaults)
    } else {
        if let Some(mended) = std::str::from_utf8(&bytes).ok().and_then(mend_surrogates) {
            tell(&format!("`{name}` has escapes that are half a character, which are read as U+FFFD"));
            bytes = mended.into_bytes();
        }
        parse(&name, &bytes, defaults)
    };
    Ok(prompts?.into_iter().flat_map(samples).collect())
}

/// One prompt for each sample; they share a group, and the first has the prompt's own id, so that more samples can be
/// asked for later.
fn samples((prompt, samples): (Prompt, u32)) -> Vec<Prompt> {
    let mut prompt = prompt;
    if samples > 1 && prompt.about.group.is_none() {
        prompt.about.group = Some(prompt.id.clone());
    }
    let further =
        (2..=samples).map(|number| Prompt { id: format!("{}#{number}", prompt.id), ..prompt.clone() });
    let further: Vec<Prompt> = further.collect();
    std::iter::once(prompt).chain(further).collect()
}

/// Collects prompts and what is wrong with them.
#[derive(Default)]
pub(super) struct Found {
    prompts: Vec<(Prompt, u32)>,
    findings: Vec<Diagnostic>,
    first_seen: BTreeMap<String, usize>,
}

impl Found {
    /// Adds a prompt of a line; `source` shows the line.
    pub(super) fn add(&mut self, number: usize, prompt: (Prompt, u32), source: impl Fn() -> Diagnostic) {
        if let Some(first) = self.first_seen.insert(prompt.0.id.clone(), number) {
            let mut finding = source();
            finding.message = format!("the id `{}` was used on line {first}", prompt.0.id);
            self.findings.push(finding.help("give each prompt an id of its own"));
        }
        self.prompts.push(prompt);
    }

    /// Adds something that is wrong.
    pub(super) fn wrong(&mut self, finding: Diagnostic) {
        self.findings.push(finding);
    }

    /// All prompts, if nothing is wrong.
    pub(super) fn finish(self, name: &str) -> Result<Vec<(Prompt, u32)>> {
        let Self { prompts, mut findings, .. } = self;
        if findings.is_empty() && prompts.is_empty() {
            findings.push(Diagnostic::error("prompts::empty", format!("`{name}` has no prompts")).help(
                r#"write one object a line: {"id":"1","input":"2+2?","reference":"4","grader":"numeric"}"#,
            ));
        }
        if findings.is_empty() {
            return Ok(prompts);
        }
        let mut findings = alike_as_one(findings);
        if findings.len() > MOST_FINDINGS {
            let more = findings.len() - MOST_FINDINGS;
            findings.truncate(MOST_FINDINGS);
            findings.push(
                Diagnostic::error("prompts::more", format!("and {more} more mistakes in `{name}`"))
                    .help("mend the ones shown first"),
            );
        }
        Err(findings.into())
    }
}

/// The same mistake on many lines, such as a column that is missing, is told once: at the first, with the numbers of all.
fn alike_as_one(findings: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut kinds: Vec<(Diagnostic, Vec<usize>)> = Vec::new();
    for finding in findings {
        let line = finding.labels.first().map(|label| label.source.position(label.span.start).0);
        let alike = |(first, _): &&mut (Diagnostic, Vec<usize>)| {
            first.code == finding.code && first.message == finding.message && first.help == finding.help
        };
        match kinds.iter_mut().find(alike) {
            Some((_, lines)) => lines.extend(line),
            None => kinds.push((finding, line.into_iter().collect())),
        }
    }
    let told = |(mut finding, lines): (Diagnostic, Vec<usize>)| {
        if lines.len() > 1 {
            let numbers: Vec<String> = lines.iter().map(usize::to_string).collect();
            let lines = words::some_as_they_are(numbers.iter().map(String::as_str));
            finding.message = format!("{} on {} lines: {lines}", finding.message, numbers.len());
        }
        finding
    };
    kinds.into_iter().map(told).collect()
}

fn parse(name: &str, bytes: &[u8], defaults: Defaults) -> Result<Vec<(Prompt, u32)>> {
    let mut found = Found::default();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        let Ok(text) = std::str::from_utf8(line) else {
            let shown = Source::line(name, number, String::from_utf8_lossy(line).into_owned());
            found.wrong(
                Diagnostic::error("prompts::utf8", "the line is not UTF-8")
                    .at(&shown, 0..0, "")
                    .help("save the file as UTF-8"),
            );
            continue;
        };
        if text.trim().is_empty() {
            continue;
        }
        match read_line(name, number, text, defaults) {
            Ok(prompt) => found.add(number, prompt, || {
                let source = Source::line(name, number, text);
                Diagnostic::error("prompts::duplicate-id", "").at(&source, span_of(text, "id"), "used twice")
            }),
            Err(finding) => found.wrong(*finding),
        }
    }
    found.finish(name)
}

fn read_line(
    name: &str,
    number: usize,
    text: &str,
    defaults: Defaults,
) -> std::result::Result<(Prompt, u32), Box<Diagnostic>> {
    let source = || Source::line(name, number, text);
    let line: Line = serde_json::from_str(text).map_err(|error| {
        let at = byte_at_column(text, error.column());
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or(&message).to_owned();
        Box::new(
            Diagnostic::error("prompts::line", message)
                .at(&source(), at..at, "")
                .help(format!(
                    "a prompt has id, input or messages, reference, grader ({}), and may have options, tolerance, samples, split, group, weight, features, tags, session, turn",
                    GraderName::ALL.map(GraderName::as_str).join(", ")
                )),
        )
    })?;
    check(line, defaults, |key, finding| finding.at(&source(), span_of(text, key), ""))
}

/// Checks what a line says; `at` adds the place of a key to a finding.
pub(super) fn check(
    line: Line,
    defaults: Defaults,
    at: impl Fn(&str, Diagnostic) -> Diagnostic,
) -> std::result::Result<(Prompt, u32), Box<Diagnostic>> {
    let wrong = |key: &str, message: String, help: &str| {
        Box::new(at(key, Diagnostic::error("prompts::value", message).help(help)))
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
        None => String::new(),
        Some(Reference::Text(text)) => text,
        Some(Reference::Number(number)) => number.to_string(),
        Some(Reference::Object(object)) => serde_json::Value::Object(object).to_string(),
    };
    let Some(name) = line.grader.or(defaults.grader) else {
        return Err(wrong(
            "id",
            "there is no `grader`".into(),
            "add `grader`, or give --grader for all prompts",
        ));
    };
    let grader = Grader::new(name, &reference, &line.options, line.tolerance)
        .map_err(|bad| wrong(bad.key, bad.to_string(), bad.help))?;
    let samples = line.samples.or(defaults.samples).unwrap_or(1);
    if !(1..=MOST_SAMPLES).contains(&samples) {
        return Err(wrong("samples", format!("{samples} samples"), "ask for 1 to 1000 samples"));
    }
    let about = About {
        split: line.split,
        group: line.group,
        weight: line.weight,
        features: line.features,
        tags: line.tags,
        session: line.session,
        turn: line.turn,
    };
    Ok((Prompt { id: line.id, ask, reference, grader, graded_by: name.as_str(), about }, samples))
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
        match parse("p.jsonl", text.as_bytes(), Defaults::default()) {
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
    fn a_mistake_of_every_line_is_told_once() {
        let line = |id: usize| format!(r#"{{"id":"{id}","input":"x","reference":"4"}}"#);
        let text: Vec<String> = (0..200).map(line).collect();
        assert_eq!(
            messages(&text.join("\n")),
            ["1: there is no `grader` on 200 lines: 1, 2, 3, 4, 5 and 195 more"]
        );
    }

    #[test]
    fn an_empty_file_and_bad_bytes_are_errors() {
        assert_eq!(messages("\n \n"), ["0: `p.jsonl` has no prompts"]);
        let Err(Failure(found)) = parse("p.jsonl", b"\xff\xfe\n", Defaults::default()) else {
            panic!("bad bytes were read")
        };
        assert_eq!(found[0].message, "the line is not UTF-8");
    }

    #[test]
    fn a_good_line_keeps_what_the_log_needs() {
        let text = r#"{"id":"a","messages":[{"role":"user","content":"x"}],"reference":"y","grader":"choice","options":["y","n"],"tags":{"k":"v"},"features":{"n":2},"group":"g","split":"test"}"#;
        let prompts = parse("p.jsonl", text.as_bytes(), Defaults::default()).unwrap();
        let prompt = &prompts[0].0;
        assert_eq!(prompt.graded_by, "choice");
        assert_eq!(prompt.about.tags["k"], "v");
        assert_eq!(prompt.about.features["n"], 2.0);
        assert_eq!(prompt.about.group.as_deref(), Some("g"));
        assert_eq!(prompt.grader.grade("Y!"), Some(1.0));
        assert!(matches!(&prompt.ask, Ask::Messages(messages) if messages[0].content == "x"));
    }

    #[test]
    fn samples_share_a_group_and_the_first_keeps_the_id() {
        let text = r#"{"id":"a","input":"x","reference":"y","samples":3}"#;
        let defaults = Defaults { grader: Some(GraderName::Exact), samples: None };
        let prompts: Vec<Prompt> =
            parse("p.jsonl", text.as_bytes(), defaults).unwrap().into_iter().flat_map(samples).collect();
        let ids: Vec<&str> = prompts.iter().map(|prompt| prompt.id.as_str()).collect();
        assert_eq!(ids, ["a", "a#2", "a#3"]);
        assert!(prompts.iter().all(|prompt| prompt.about.group.as_deref() == Some("a")));
    }

    /// What the client writes of its own requests is what is asked: see `Client::write_eval_prompts`.
    #[test]
    fn prompts_that_an_application_writes_are_read_as_they_are() {
        use cascade_sdk::{Client, EvalPrompt, Message as Said, Request, Session};
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("prompts.jsonl");
        let sum = Request::new("2+2?").with_id("sum").tag("kind", "arithmetic").feature("length", 4.0);
        let talk = [Said::user("Hello"), Said::assistant("Hi"), Said::user("And now?")];
        let talk = Request::from_messages(talk).with_system("Be brief.").with_session(Session::new("chat-1"));
        let prompts = [
            EvalPrompt::new(sum).with_reference("4").with_grader("numeric"),
            EvalPrompt::new(talk).with_reference("now").with_grader("choice").with_options(["now", "later"]),
            EvalPrompt::new("plain").with_reference("plain"),
        ];
        assert_eq!(Client::write_eval_prompts(&path, prompts).unwrap(), 3);
        let read =
            read(&path, Defaults { grader: Some(GraderName::Contains), samples: None }, |_| {}).unwrap();
        let [sum, talk, plain] = <[_; 3]>::try_from(read).unwrap();
        assert_eq!((sum.id.as_str(), sum.ask, sum.graded_by), ("sum", Ask::Input("2+2?".into()), "numeric"));
        assert_eq!((sum.about.tags["kind"].as_str(), sum.about.features["length"]), ("arithmetic", 4.0));
        assert_eq!(sum.grader.grade("It is 4."), Some(1.0));
        let said = |role: &str, content: &str| Message { role: role.into(), content: content.into() };
        let told = [
            said("system", "Be brief."),
            said("user", "Hello"),
            said("assistant", "Hi"),
            said("user", "And now?"),
        ];
        assert_eq!((talk.ask, talk.graded_by), (Ask::Messages(told.into()), "choice"));
        let About { group, session, turn, .. } = talk.about;
        assert_eq!((group.as_deref(), session.as_deref(), turn), (Some("chat-1"), Some("chat-1"), Some(0)));
        assert_eq!((plain.ask, plain.about), (Ask::Input("plain".into()), About::default()));
        assert_eq!(plain.graded_by, "contains");
        assert!(plain.id.len() == 16 && plain.id != talk.id);
    }
}
