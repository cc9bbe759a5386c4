//! Grading by a program: JSON on its standard input, a score on its standard output, time and memory bounded.

use super::prompts::{Ask, Prompt};
use crate::failure::Failure;
use cascade_sdk_core::diag::Diagnostic;
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// Most of a program's output that is read, in bytes.
const LONGEST_OUTPUT: usize = 64 * 1024;

/// A program that grades.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// The program and its arguments.
    words: Vec<String>,
    memory_mb: u64,
}

impl Program {
    /// Splits a command line at white space; quotes are not interpreted, since no shell is asked. `flag` is how the line
    /// was given, up to the line itself.
    ///
    /// # Errors
    /// An empty line.
    pub(crate) fn new(flag: &str, line: &str, memory_mb: u64) -> Result<Self, Failure> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        if words.is_empty() {
            return Err(Failure::usage(
                format!("{} is empty", flag.trim_end()),
                format!("name a program: {flag}'python3 grade.py'"),
            ));
        }
        Ok(Self { words, memory_mb })
    }

    /// Grades one answer.
    ///
    /// # Errors
    /// In words, without the answer, why there is no score.
    pub(crate) async fn grade(
        &self,
        prompt: &Prompt,
        tier: &str,
        answer: &str,
        timeout: Duration,
    ) -> Result<f64, String> {
        let mut input =
            json!({ "id": prompt.id, "tier": tier, "reference": prompt.reference, "answer": answer });
        match &prompt.ask {
            Ask::Input(text) => input["input"] = json!(text),
            Ask::Messages(messages) => input["messages"] = json!(messages),
        }
        let Ok(score) = tokio::time::timeout(timeout, self.number(&input)).await else {
            return Err(format!("it took longer than {} s", timeout.as_secs_f64()));
        };
        match score? {
            Some(score) if (0.0..=1.0).contains(&score) => Ok(score),
            Some(score) => Err(format!("its score {score} is outside [0, 1]")),
            None => Err("its score is null".into()),
        }
    }

    /// The number that it prints for an input; `None` where it prints `null`, which says that it cannot tell. Whoever
    /// waits no longer ends the program, with all that it started.
    ///
    /// # Errors
    /// In words, without the input, why it gave neither.
    pub(crate) async fn number(&self, input: &Value) -> Result<Option<f64>, String> {
        let mut child = self.command().spawn().map_err(|error| format!("cannot run it: {error}"))?;
        let mut group = Group(child.id());
        if let Some(mut to) = child.stdin.take() {
            // A program that does not read its input is free to do so.
            let _ = to.write_all(format!("{input}\n").as_bytes()).await;
        }
        let mut output = Vec::new();
        if let Some(mut from) = child.stdout.take() {
            // Read to its end, whatever it prints: the score stands on the last line.
            while from.read_buf(&mut output).await.map_err(|error| error.to_string())? > 0 {
                let beyond = output.len().saturating_sub(LONGEST_OUTPUT);
                if beyond > LONGEST_OUTPUT {
                    output.drain(..beyond);
                }
            }
        }
        let output = String::from_utf8_lossy(&output);
        let status = child.wait().await.map_err(|error| error.to_string())?;
        group.0 = None;
        if status.success() { read_score(&output) } else { Err(format!("it ended with {status}")) }
    }

    /// The program in a process group of its own, so that what it starts ends with it.
    #[cfg(unix)]
    fn command(&self) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -v \"$0\" && exec \"$@\""])
            .arg((self.memory_mb * 1024).to_string())
            .args(&self.words)
            .process_group(0);
        self.piped(command)
    }

    #[cfg(not(unix))]
    fn command(&self) -> Command {
        let mut words = self.words.iter();
        let mut command = Command::new(words.next().map_or("", String::as_str));
        command.args(words);
        self.piped(command)
    }

    #[expect(clippy::unused_self, reason = "part of how this program is run")]
    fn piped(&self, mut command: Command) -> Command {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
        command
    }

    /// What is to be said where it gave no score.
    pub(crate) fn failed(&self, prompt: &Prompt, tier: &str, why: &str) -> Diagnostic {
        let name = self.words.first().map_or("", String::as_str);
        let message = format!("`{name}` gave no score for `{}` of tier `{tier}`: {why}", prompt.id);
        Diagnostic::error("collect::grader", message)
            .help("it reads one JSON object (id, tier, input or messages, reference, answer) and prints a number from 0 to 1")
            .help("the answer is kept: run the same command again once it is mended")
    }
}

/// A process that runs, and the group of everything it started: ended when nobody waits for it any more.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(process) = self.0
            && cfg!(unix)
        {
            let group = format!("-{process}");
            let mut kill = std::process::Command::new("kill");
            let _ = kill.args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        }
    }
}

/// A number or `null`, or an object with a `score` that is one, on the last line that has anything.
fn read_score(output: &str) -> Result<Option<f64>, String> {
    let line =
        output.lines().rev().map(str::trim).find(|line| !line.is_empty()).ok_or("it printed nothing")?;
    let value = match serde_json::from_str(line) {
        Ok(Value::Object(mut object)) => object.remove("score"),
        Ok(value) => Some(value),
        Err(_) => None,
    };
    match value {
        Some(Value::Null) => Ok(None),
        value => value
            .and_then(|value| value.as_f64())
            .map(Some)
            .ok_or_else(|| "its last line is no number".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Program, read_score};

    #[test]
    fn scores_are_read() {
        assert_eq!(read_score("loading\n0.5\n\n"), Ok(Some(0.5)));
        assert_eq!(read_score("{\"score\": 1}"), Ok(Some(1.0)));
        assert_eq!(read_score("-1.5"), Ok(Some(-1.5)));
        for unknown in ["null", "{\"score\": null}"] {
            assert_eq!(read_score(unknown), Ok(None), "{unknown}");
        }
        for bad in ["", "\n", "good", "{\"points\": 1}", "nan", "true"] {
            assert!(read_score(bad).is_err(), "{bad}");
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_grader_may_print_much_before_its_score() {
        let script = "i=0; while [ $i -lt 4000 ]; do echo this line is one of very many lines of progress; i=$((i+1)); done; echo 0.25";
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("grade.sh");
        std::fs::write(&path, script).unwrap();
        let program = Program::new("--grader command:", &format!("sh {}", path.display()), 512).unwrap();
        assert_eq!(program.number(&serde_json::json!({})).await, Ok(Some(0.25)));
    }
}
