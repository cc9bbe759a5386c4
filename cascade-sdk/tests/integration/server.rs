//! A server on loopback that answers each connection from a script.

use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with a request.
#[derive(Clone)]
pub(crate) enum Act {
    /// Sends these bytes and closes.
    Send(Vec<u8>),
    /// Says nothing.
    Hang,
    /// Sends these bytes, then nothing more.
    Stall(Vec<u8>),
    /// Closes without a word.
    Close,
    /// Sends a head of this content type, then the same bytes for ever.
    Endless(&'static str, &'static [u8]),
    /// Sends the head of a stream, then a comment now and then.
    Drip,
}

pub(crate) struct Server {
    pub(crate) base_url: String,
    requests: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Answers one request after the other, each on a connection of its own; the last act is repeated.
    pub(crate) async fn start(script: impl IntoIterator<Item = Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let script: Vec<Act> = script.into_iter().collect();
        let task = tokio::spawn(async move {
            for turn in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                let act = script[turn.min(script.len() - 1)].clone();
                tokio::spawn(answer(stream, act, Arc::clone(&seen)));
            }
        });
        Self { base_url, requests, task }
    }

    /// Head and body of every request so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut stream: TcpStream, act: Act, seen: Arc<Mutex<Vec<String>>>) {
    let request = read_request(&mut stream).await;
    seen.lock().unwrap().push(request);
    match act {
        Act::Send(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Act::Hang => tokio::time::sleep(Duration::from_secs(60)).await,
        Act::Stall(bytes) => {
            let _ = stream.write_all(&bytes).await;
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        Act::Close => {}
        Act::Endless(content_type, unit) => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).await;
            let bytes = unit.repeat((1 << 13) / unit.len());
            while stream.write_all(&bytes).await.is_ok() {}
        }
        Act::Drip => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n").await;
            while stream.write_all(b": on\n\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length:")
                    .map(|n| n.trim().parse::<usize>().unwrap())
            });
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return text,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
        }
    }
}

/// A whole HTTP response.
pub(crate) fn http(status: u16, headers: &str, body: &str) -> Act {
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n",
        body.len()
    );
    Act::Send([head.as_bytes(), body.as_bytes()].concat())
}

/// A chat completion of 30 input and 4 output tokens whose one token has this log-probability.
pub(crate) fn completion(text: &str, logprob: f64) -> Act {
    let body = serde_json::json!({
        "model": "served", "choices": [{
            "message": {"role": "assistant", "content": text}, "finish_reason": "stop",
            "logprobs": {"content": [
                {"token": text, "bytes": text.as_bytes(), "logprob": logprob, "top_logprobs": [{"logprob": logprob}]},
                {"token": "", "bytes": [], "logprob": -9.0, "top_logprobs": []},
            ]},
        }],
        "usage": {"prompt_tokens": 30, "completion_tokens": 4, "total_tokens": 34},
    });
    http(200, "content-type: application/json\r\n", &body.to_string())
}

/// The events of an answer: each token with its log-probability, then why it stopped, then the usage if there is any.
pub(crate) fn streamed(tokens: &[(&str, f64)], usage: bool) -> Act {
    let mut body = String::new();
    let mut event = |data: &serde_json::Value| {
        body.push_str("data: ");
        body.push_str(&data.to_string());
        body.push_str("\n\n");
    };
    event(
        &serde_json::json!({"model": "served", "choices": [{"index": 0, "delta": {"role": "assistant", "content": null}}]}),
    );
    for (text, logprob) in tokens {
        event(&serde_json::json!({"model": "served", "choices": [{
            "index": 0, "delta": {"content": text},
            "logprobs": {"content": [
                {"token": text, "bytes": text.as_bytes(), "logprob": logprob, "top_logprobs": [{"logprob": logprob}]},
            ]},
        }]}));
    }
    event(&serde_json::json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}));
    if usage {
        event(&serde_json::json!({"choices": [], "usage": {"prompt_tokens": 30, "completion_tokens": 4}}));
    }
    body.push_str("data: [DONE]\n\n");
    http(200, "content-type: text/event-stream\r\n", &body)
}
