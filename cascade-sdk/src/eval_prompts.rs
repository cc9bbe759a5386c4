//! An application's own prompts as a file that `cascade collect` reads.

use crate::error::{Error, Kind};
use crate::request::{IntoRequest, Message, Part, Request, Role};
use cascade_sdk_core::hash::Hasher;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// Mistakes that are listed; the rest is counted.
const MOST_MISTAKES: usize = 20;

/// A request to be collected and, where known, what a good answer to it is.
///
/// Anything that a route takes becomes one: text, or a [`Request`] with its id, features and tags.
///
/// ```
/// use cascade_sdk::{EvalPrompt, Request};
/// let request = Request::new("Which team: billing or technical?\n\nI was charged twice.").with_id("ticket-17");
/// let prompt = EvalPrompt::new(request).with_reference("billing").with_grader("choice").with_options(["billing", "technical"]);
/// ```
#[derive(Clone)]
pub struct EvalPrompt {
    request: Request,
    reference: Option<String>,
    grader: Option<String>,
    options: Vec<String>,
    group: Option<String>,
}

impl EvalPrompt {
    /// A prompt without a reference: a judge or a program grades its answers.
    pub fn new(request: impl IntoRequest) -> Self {
        Self {
            request: request.into_request(),
            reference: None,
            grader: None,
            options: Vec::new(),
            group: None,
        }
    }

    /// The expected answer.
    #[must_use]
    pub fn with_reference(mut self, reference: impl Into<String>) -> Self {
        self.reference = Some(reference.into());
        self
    }

    /// How an answer is compared with the reference, by the name of one of `collect`'s graders; what `--grader` says where
    /// absent.
    #[must_use]
    pub fn with_grader(mut self, grader: impl Into<String>) -> Self {
        self.grader = Some(grader.into());
        self
    }

    /// Every answer that could be given, for the grader `choice`.
    #[must_use]
    pub fn with_options<T: Into<String>>(mut self, options: impl IntoIterator<Item = T>) -> Self {
        self.options = options.into_iter().map(Into::into).collect();
        self
    }

    /// What the prompt must not be separated from when rows are split; the conversation of the request where absent.
    #[must_use]
    pub fn with_group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }
}

impl<R: IntoRequest> From<R> for EvalPrompt {
    fn from(request: R) -> Self {
        Self::new(request)
    }
}

/// Prompts and references do not belong in logs: `Debug` shows what [`Request`] shows.
impl fmt::Debug for EvalPrompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvalPrompt")
            .field("request", &self.request)
            .field("grader", &self.grader)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

/// Writes prompts to a file of JSON lines; how many there are. See `Client::write_eval_prompts`.
pub(crate) fn write<P: Into<EvalPrompt>>(
    path: &Path,
    prompts: impl IntoIterator<Item = P>,
) -> Result<usize, Error> {
    let shown = path.display();
    let mut mistakes = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut text = String::new();
    for (number, prompt) in (1_usize..).zip(prompts) {
        let prompt = prompt.into();
        let name = match &prompt.request.id {
            Some(id) => format!("request {number} (`{id}`)"),
            None => format!("request {number}"),
        };
        match line(&prompt) {
            Ok((id, line)) => {
                text.push_str(&line);
                text.push('\n');
                if let Some(first) = seen.insert(id, number) {
                    mistakes.push(match prompt.request.id {
                        Some(_) => format!("{name} has the id of request {first}: give each an id of its own"),
                        None => format!(
                            "{name} asks the same as request {first}: leave one out, or tell them apart with `Request::with_id`"
                        ),
                    });
                }
            }
            Err(reason) => mistakes.push(format!("{name} {reason}")),
        }
    }
    let count = seen.len();
    if count == 0 && mistakes.is_empty() {
        mistakes.push("there are no requests".to_owned());
    }
    if !mistakes.is_empty() {
        let more = mistakes.len().saturating_sub(MOST_MISTAKES);
        mistakes.truncate(MOST_MISTAKES);
        if more > 0 {
            mistakes.push(format!("and {more} more"));
        }
        let message = format!("`{shown}` is not written:\n  {}", mistakes.join("\n  "));
        return Err(Error::new(Kind::Config, message));
    }
    match keep(path, text.as_bytes()) {
        Ok(()) => Ok(count),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let message = format!(
                "`{shown}` exists and holds other prompts: they may have been edited, so remove the file or write to another"
            );
            Err(Error::new(Kind::Config, message))
        }
        Err(error) => Err(Error::new(Kind::Config, format!("`{shown}` cannot be written: {error}"))),
    }
}

/// A line as `collect` reads it, in the order in which people read it.
#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    #[serde(flatten)]
    asked: &'a Asked<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grader: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    options: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    features: &'a BTreeMap<String, f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<u64>,
}

/// What is sent, without the route's own system prompt, which the configuration adds for `collect` and the client alike.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Asked<'a> {
    Input(&'a str),
    Messages(Vec<Spoken<'a>>),
}

#[derive(Serialize)]
struct Spoken<'a> {
    role: &'static str,
    content: &'a str,
}

/// The id and the line of a prompt, or in words why `collect` could not ask it as the client would.
fn line(prompt: &EvalPrompt) -> Result<(String, String), String> {
    let EvalPrompt { request, reference, grader, options, group } = prompt;
    let asked = asked(request)?;
    if let Some((name, _)) = request.features.iter().find(|(_, value)| !value.is_finite()) {
        return Err(format!("has a feature `{name}` that is no number"));
    }
    let session = request.session.as_ref();
    // Logs count turns in 32 bits.
    let turn = session.map(crate::Session::turn).filter(|turn| u32::try_from(*turn).is_ok());
    let wrong = |error: serde_json::Error| format!("cannot be written: {error}");
    let id = match &request.id {
        Some(id) if id.trim().is_empty() => return Err("has an empty id".to_owned()),
        Some(id) => id.clone(),
        // The same prompt has the same name in every run, whatever stands before it.
        None => {
            let asked = serde_json::to_string(&asked).map_err(wrong)?;
            let turn = session.map(|session| format!("{} {}", session.turn(), session.id()));
            let hash =
                Hasher::new().part("cascade eval prompt 1").part(&asked).part(turn.unwrap_or_default()).hex();
            hash.get(..16).unwrap_or(&hash).to_owned()
        }
    };
    let line = Line {
        id: &id,
        asked: &asked,
        reference: reference.as_deref(),
        grader: grader.as_deref(),
        options,
        tags: &request.tags,
        features: &request.features,
        // Turns of one conversation are alike; apart, they would let a policy be proven on what it was chosen from.
        group: group.as_deref().or(session.map(crate::Session::id)),
        session: session.map(crate::Session::id),
        turn,
    };
    let line = serde_json::to_string(&line).map_err(wrong)?;
    Ok((id, line))
}

fn asked(request: &Request) -> Result<Asked<'_>, String> {
    if !request.tools.is_empty() {
        return Err("defines tools, and `collect` asks for texts only".to_owned());
    }
    let mut spoken = Vec::new();
    for message in &request.messages {
        spoken.push(Spoken { role: role(message.role)?, content: text(message)? });
    }
    if spoken.iter().all(|message| message.content.trim().is_empty()) {
        return Err("asks nothing".to_owned());
    }
    match (&request.system, spoken.as_slice()) {
        (None, [Spoken { role: "user", content }]) => Ok(Asked::Input(content)),
        (None, _) => Ok(Asked::Messages(spoken)),
        (Some(system), _) => {
            // `collect` takes a first message of this role for what `Request::with_system` adds to the route's own.
            spoken.insert(0, Spoken { role: "system", content: system });
            Ok(Asked::Messages(spoken))
        }
    }
}

fn role(role: Role) -> Result<&'static str, String> {
    match role {
        Role::User => Ok("user"),
        Role::Assistant => Ok("assistant"),
        Role::System => Err("has a system message: use `Request::with_system`".to_owned()),
        Role::Tool => Err("holds a tool's result, and `collect` asks for texts only".to_owned()),
    }
}

fn text(message: &Message) -> Result<&str, String> {
    match message.parts.as_slice() {
        [Part::Text(text)] => Ok(text),
        parts if parts.iter().all(|part| matches!(part, Part::Text(_))) => {
            Err("has a message of several texts, or of none: make it one".to_owned())
        }
        _ => Err("holds more than texts, and `collect` asks for texts only".to_owned()),
    }
}

/// Writes a file that is not there, so that nobody ever sees half of it. One with these bytes is left alone; one with others is
/// [`ErrorKind::AlreadyExists`].
fn keep(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    match std::fs::read(path) {
        Ok(old) if old == bytes => return Ok(()),
        Ok(_) => return Err(ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".tmp-{}", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        // Unlike a rename, a link never replaces what another process wrote in the meantime.
        match std::fs::hard_link(&temporary, path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => std::fs::rename(&temporary, path),
            linked => linked,
        }
    });
    // Gone already if it was renamed.
    let _ = std::fs::remove_file(&temporary);
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Session;
    use crate::request::Tool;

    fn lines(prompts: Vec<EvalPrompt>) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/prompts.jsonl");
        let count = prompts.len();
        assert_eq!(write(&path, prompts).unwrap(), count);
        let entries = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(entries, 1, "nothing else is left");
        std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
    }

    fn mistakes(prompts: Vec<EvalPrompt>) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("prompts.jsonl");
        let error = write(&path, prompts).unwrap_err();
        assert!(error.is_config() && error.to_string().contains("prompts.jsonl"), "{error}");
        assert!(!path.exists());
        error.to_string()
    }

    #[test]
    fn everything_that_shapes_an_answer_or_a_route_is_written() {
        let plain = Request::new("2+2?").with_id("sum").tag("kind", "arithmetic").feature("length", 4.0);
        let talk = Request::from_messages([
            Message::user("Hello"),
            Message::assistant("Hi"),
            Message::user("And now?"),
        ])
        .with_id("talk")
        .with_system("Be brief.")
        .with_tenant("acme")
        .with_tier("large")
        .with_session(Session::new("chat-1"));
        let prompts = vec![
            EvalPrompt::new(plain).with_reference("4").with_grader("numeric"),
            EvalPrompt::new(talk).with_reference("a").with_options(["a", "b"]),
        ];
        assert_eq!(
            lines(prompts),
            [
                r#"{"id":"sum","input":"2+2?","reference":"4","grader":"numeric","tags":{"kind":"arithmetic"},"features":{"length":4.0}}"#,
                r#"{"id":"talk","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hello"},{"role":"assistant","content":"Hi"},{"role":"user","content":"And now?"}],"reference":"a","options":["a","b"],"group":"chat-1","session":"chat-1","turn":0}"#,
            ]
        );
    }

    #[test]
    fn a_prompt_without_an_id_gets_one_that_lasts() {
        let of = |texts: &[&str]| lines(texts.iter().map(|text| (*text).into()).collect());
        let (one, other) = (of(&["a", "b"]), of(&["b", "c", "a"]));
        assert_eq!(one, [other[2].as_str(), &other[0]]);
        assert!(
            one[0].starts_with(r#"{"id":""#)
                && one[0].len() == r#"{"id":"0123456789abcdef","input":"a"}"#.len()
        );
    }

    #[test]
    fn what_collect_could_not_ask_alike_is_refused_and_all_is_told() {
        let told = mistakes(vec![
            Request::new("secret").with_tool(Tool::new("f", "d", serde_json::json!({}))).into(),
            Request::from_messages([Message::user("secret").with_image("https://example.com/a.png")]).into(),
            Request::from_messages([Message::new(Role::System, "secret"), Message::user("x")])
                .with_id("s")
                .into(),
            " ".into(),
            Request::new("y").feature("n", f64::NAN).into(),
            "same".into(),
            "same".into(),
            Request::new("1").with_id("twice").into(),
            Request::new("2").with_id("twice").into(),
        ]);
        for part in [
            "request 1 defines tools",
            "request 2 holds more than texts",
            "request 3 (`s`) has a system message",
            "request 4 asks nothing",
            "request 5 has a feature `n` that is no number",
            "request 7 asks the same as request 6",
            "request 9 (`twice`) has the id of request 8",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(!told.contains("secret"), "{told}");
        assert!(mistakes(Vec::new()).contains("no requests"));
        assert!(mistakes(vec!["x".into(); 40]).ends_with("and 19 more"));
    }

    #[test]
    fn a_file_is_never_overwritten_with_other_prompts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("prompts.jsonl");
        assert_eq!(write(&path, ["a"]).unwrap(), 1);
        assert_eq!(write(&path, ["a"]).unwrap(), 1, "the same prompts are no matter");
        let error = write(&path, ["b"]).unwrap_err();
        assert!(error.is_config() && error.to_string().contains("exists and holds other prompts"), "{error}");
        assert!(std::fs::read_to_string(&path).unwrap().contains(r#""input":"a""#));
        let error = write(directory.path(), ["a"]).unwrap_err();
        assert!(error.to_string().contains("cannot be written"), "{error}");
    }
}
