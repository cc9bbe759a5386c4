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
const LONGEST_OUTPUT: u64 = 64 * 1024;

/// A program that grades.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// The program and its arguments.
    words: Vec<String>,
    timeout: Duration,
    memory_mb: u64,
}

impl Program {
    /// Splits a command line at white space; quotes are not interpreted, since no shell is asked.
    ///
    /// # Errors
    /// An empty line.
    pub(crate) fn new(line: &str, timeout: Duration, memory_mb: u64) -> Result<Self, Failure> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        if words.is_empty() {
            return Err(Failure::usage(
                "--grader-command is empty",
                "name a program: --grader-command 'python3 grade.py'",
            ));
        }
        Ok(Self { words, timeout, memory_mb })
    }

    /// Grades one answer.
    ///
    /// # Errors
    /// In words, without the answer, why there is no score.
    pub(crate) async fn grade(&self, prompt: &Prompt, tier: &str, answer: &str) -> Result<f64, String> {
        let mut input =
            json!({ "id": prompt.id, "tier": tier, "reference": prompt.reference, "answer": answer });
        match &prompt.ask {
            Ask::Input(text) => input["input"] = json!(text),
            Ask::Messages(messages) => input["messages"] = json!(messages),
        }
        let score = self.number(&input).await?;
        if (0.0..=1.0).contains(&score) {
            Ok(score)
        } else {
            Err(format!("its score {score} is outside [0, 1]"))
        }
    }

    /// The number that it prints for an input.
    ///
    /// # Errors
    /// In words, without the input, why there is none.
    pub(crate) async fn number(&self, input: &Value) -> Result<f64, String> {
        let mut child = self.command().spawn().map_err(|error| format!("cannot run it: {error}"))?;
        let process = child.id();
        let (mut to, from) = (child.stdin.take(), child.stdout.take());
        let talk = async {
            if let Some(to) = &mut to {
                // A program that does not read its input is free to do so.
                let _ = to.write_all(format!("{input}\n").as_bytes()).await;
            }
            drop(to.take());
            let mut output = String::new();
            if let Some(from) = from {
                from.take(LONGEST_OUTPUT)
                    .read_to_string(&mut output)
                    .await
                    .map_err(|error| error.to_string())?;
            }
            let status = child.wait().await.map_err(|error| error.to_string())?;
            if status.success() { Ok(output) } else { Err(format!("it ended with {status}")) }
        };
        if let Ok(output) = tokio::time::timeout(self.timeout, talk).await {
            return read_score(&output?);
        }
        kill(process).await;
        Err(format!("it took longer than {} s", self.timeout.as_secs_f64()))
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

/// Ends a process and everything it started.
async fn kill(process: Option<u32>) {
    if let Some(process) = process
        && cfg!(unix)
    {
        let group = format!("-{process}");
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status().await;
    }
}

/// A number, or an object with a `score`, on the last line that has anything.
fn read_score(output: &str) -> Result<f64, String> {
    let line =
        output.lines().rev().map(str::trim).find(|line| !line.is_empty()).ok_or("it printed nothing")?;
    let score = match serde_json::from_str::<Value>(line) {
        Ok(Value::Object(object)) => object.get("score").and_then(Value::as_f64),
        Ok(value) => value.as_f64(),
        Err(_) => None,
    };
    match score {
        Some(score) => Ok(score),
        None => Err("its last line is no number".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::read_score;

    #[test]
    fn scores_are_read() {
        assert_eq!(read_score("loading\n0.5\n\n"), Ok(0.5));
        assert_eq!(read_score("{\"score\": 1}"), Ok(1.0));
        assert_eq!(read_score("-1.5"), Ok(-1.5));
        for bad in ["", "\n", "good", "{\"points\": 1}", "nan", "true"] {
            assert!(read_score(bad).is_err(), "{bad}");
        }
    }
}
