//! A small OpenAI-compatible server on loopback. It answers `<a>+<b>` by the sum; words in the prompt make it misbehave:
//!
//! | word | effect |
//! |---|---|
//! | `wrong` | the sum plus one |
//! | `slow` | half a second late |
//! | `reject` | status 400 |
//! | `flaky` | status 503 the first time |
//! | `refuse` | finish reason `content_filter` |
//! | `fence` | the sum as JSON, in a Markdown code fence |
//!
//! Asked to judge, it gives 2 of 10 to requests with the word `wrong` and 9 to others, 7 by the second rubric, and always
//! prefers the answer that it was shown first. As the judge of a signal it gives the same scores; `unsure` makes every
//! second answer another one.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often each model was asked each prompt, and the last body.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) calls: BTreeMap<(String, String), u32>,
    pub(crate) last: Value,
    in_flight: u32,
    pub(crate) most_in_flight: u32,
}

/// The server; it ends with the test process.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) url: String,
    seen: Arc<Mutex<Seen>>,
}

impl Server {
    /// Starts one. Every call takes at least `delay`.
    pub(crate) fn start(delay: Duration) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        let url = listen(move |body| reply(body, delay, &shared));
        Self { url, seen }
    }

    pub(crate) fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// All calls until now.
    pub(crate) fn calls(&self) -> u32 {
        self.seen().calls.values().sum()
    }
}

/// Serves HTTP on loopback until the test process ends: `reply` gives status and body for the body of a call. Returns the base
/// URL.
pub(crate) fn listen(reply: impl Fn(Value) -> (&'static str, Value) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let reply = Arc::new(reply);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let reply = Arc::clone(&reply);
            // A client that was killed breaks its connection: nothing to see to.
            std::thread::spawn(move || stream.and_then(|stream| serve(stream, &*reply)));
        }
    });
    url
}

fn serve(stream: TcpStream, reply: &impl Fn(Value) -> (&'static str, Value)) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut out = stream;
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let (status, answer) = reply(serde_json::from_slice(&body).unwrap());
        let answer = answer.to_string();
        write!(
            out,
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        )?;
        out.flush()?;
    }
}

/// Counts the call, and answers it no sooner than after `delay`.
fn reply(body: Value, delay: Duration, seen: &Mutex<Seen>) -> (&'static str, Value) {
    let model = body["model"].as_str().unwrap().to_owned();
    let prompt = body["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap().to_owned();
    let before = {
        let mut seen = seen.lock().unwrap();
        seen.last = body;
        seen.in_flight += 1;
        seen.most_in_flight = seen.most_in_flight.max(seen.in_flight);
        let calls = seen.calls.entry((model.clone(), prompt.clone())).or_default();
        *calls += 1;
        *calls - 1
    };
    std::thread::sleep(if prompt.contains("slow") { Duration::from_millis(500) } else { delay });
    let answered = answer(&model, &prompt, before);
    seen.lock().unwrap().in_flight -= 1;
    answered
}

fn answer(model: &str, prompt: &str, before: u32) -> (&'static str, Value) {
    if prompt.contains("reject") {
        return ("400 Bad Request", json!({"error": {"message": "no", "code": 400}}));
    }
    if prompt.contains("flaky") && before == 0 {
        return ("503 Service Unavailable", json!({"error": {"message": "busy", "code": 503}}));
    }
    let sum: i64 = prompt
        .split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .map(|digits| digits.parse::<i64>().unwrap())
        .sum();
    let unsure = prompt.contains("unsure") && before % 2 == 1;
    let sum = sum + i64::from(prompt.contains("wrong")) + i64::from(unsure);
    let text = if prompt.contains("SCORE:") {
        let score = if prompt.contains("strictly") { 7 } else { 9 };
        format!("SCORE: {}", if prompt.contains("wrong") { 2 } else { score })
    } else if prompt.contains("\"answer\":") {
        // A judge of a signal sees request and answer as JSON.
        format!("{{\"score\": {}}}", if prompt.contains("wrong") { 2 } else { 9 })
    } else if prompt.contains("VERDICT:") {
        "VERDICT: A".to_owned()
    } else if prompt.contains("fence") {
        format!("```json\n{{\"sum\": {sum}}}\n```")
    } else {
        format!("It is {sum}.")
    };
    let finish = if prompt.contains("refuse") { "content_filter" } else { "stop" };
    let token = |text: &str, logprob: f64| {
        json!({"token": text, "bytes": text.as_bytes(), "logprob": logprob,
        "top_logprobs": [{"token": text, "logprob": logprob}, {"token": "x", "logprob": -3.0}]})
    };
    let value = json!({
        "model": format!("{model}-2026"),
        "choices": [{
            "index": 0,
            "finish_reason": finish,
            "message": {"role": "assistant", "content": text},
            "logprobs": {"content": [token("It is ", -0.25), token(&format!("{sum}."), -0.75)]},
        }],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
    });
    ("200 OK", value)
}
