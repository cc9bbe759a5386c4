//! What a routed call costs beyond the HTTP call it makes: the same requests to the same loopback server, bare through
//! reqwest and through a client with a cascade, a budget and a decision log, in alternating rounds of one run.
//!
//! `cargo run --release -p cascade-sdk --example overhead [calls]`

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement fails loudly and prints"
)]

use cascade_sdk::__private::v1::{Builder, ClientSpec, RouteSpec};
use cascade_sdk::{Client, Request, TierName};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const CALLERS: usize = 64;
const ROUNDS: usize = 6;

#[derive(Clone, Copy, Debug)]
struct Small;

impl TierName for Small {
    const ALL: &'static [Self] = &[Self];
    fn name(self) -> &'static str {
        "small"
    }
    fn from_name(name: &str) -> Option<Self> {
        (name == "small").then_some(Self)
    }
}

/// Answers every request on a connection with the same completion.
async fn serve(mut stream: TcpStream) {
    let body = r#"{"model":"served","choices":[{"message":{"role":"assistant","content":"billing"},"finish_reason":"stop"}],"usage":{"prompt_tokens":30,"completion_tokens":4,"total_tokens":34}}"#;
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut seen = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let head = seen.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&seen[..head]).to_ascii_lowercase();
            let length =
                text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            let end = head + 4 + length.unwrap_or(0_usize);
            if seen.len() >= end {
                seen.drain(..end);
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
                continue;
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => seen.extend_from_slice(&buffer[..count]),
        }
    }
}

fn client(base_url: &str, directory: &std::path::Path) -> Client {
    let config = format!(
        "schema = 1
[providers.local]
api = 'openai'
base_url = '{base_url}'
[tiers.small]
provider = 'local'
model = 's'
price = {{ input = 0.1, output = 0.4 }}
max_output_tokens = 64
[budgets.b]
limit_usd = 1000000
window = '1d'
[routes.one]
tiers = ['small']
budget = 'b'
[routes.one.runtime]
decision_log = '{}'
",
        directory.join("decisions.jsonl").display()
    );
    let route = RouteSpec { name: "one", policy_path: None, policy: None, schema: None, weights: None };
    Builder::new(Box::leak(Box::new(ClientSpec {
        package: "overhead",
        manifest_dir: "/",
        config_path: "cascade.toml",
        config: Box::leak(config.into_boxed_str()),
        routes: Box::leak(vec![route].into_boxed_slice()),
    })))
    .build()
    .unwrap()
}

const PROMPT: &str = "Which team should handle this ticket? The invoice shows the wrong amount.";

/// Every caller's latencies, and how long the round took.
async fn round<F, Made>(calls: usize, make: impl Fn() -> F) -> (Vec<Duration>, Duration)
where
    F: Fn() -> Made + Send + 'static,
    Made: Future<Output = ()> + Send + 'static,
{
    let started = Instant::now();
    let tasks: Vec<_> = (0..CALLERS)
        .map(|_| {
            let call = make();
            tokio::spawn(async move {
                let mut latencies = Vec::with_capacity(calls / CALLERS);
                for _ in 0..calls / CALLERS {
                    let started = Instant::now();
                    call().await;
                    latencies.push(started.elapsed());
                }
                latencies
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    (all, started.elapsed())
}

fn median(latencies: &mut [Duration]) -> f64 {
    latencies.sort_unstable();
    latencies[latencies.len() / 2].as_secs_f64() * 1e6
}

/// Resident memory in MiB, where the system says.
fn resident() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<f64>().ok()? / 1024.0)
}

#[tokio::main(flavor = "multi_thread")]
async fn main() {
    let calls: usize = std::env::args().nth(1).map_or(100_000, |calls| calls.parse().unwrap()) / ROUNDS;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            tokio::spawn(serve(stream));
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let client = client(&base_url, directory.path());
    // The library hands its own provider over; a bare client looks for the process's.
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let bare = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{base_url}/chat/completions");
    let body = serde_json::json!({
        "model": "s", "messages": [{"role": "user", "content": PROMPT}], "max_completion_tokens": 64,
    })
    .to_string();

    let ask_bare = || {
        let (bare, url, body) = (bare.clone(), url.clone(), body.clone());
        move || {
            let request = bare.post(&url).header("content-type", "application/json").body(body.clone());
            async move {
                let bytes = request.send().await.unwrap().bytes().await.unwrap();
                assert!(!bytes.is_empty());
            }
        }
    };
    let ask_routed = || {
        let client = client.clone();
        move || {
            let client = client.clone();
            async move {
                let routed = client.call::<Small>(0, Request::new(PROMPT)).await.unwrap();
                assert_eq!(routed.answer, "billing");
            }
        }
    };
    round(calls.min(5_000), ask_bare).await;
    round(calls.min(5_000), ask_routed).await;
    println!("round | bare µs | routed µs | added µs | bare calls/s | routed calls/s | ratio | MiB");
    let (mut added, mut ratios) = (Vec::new(), Vec::new());
    for number in 1..=ROUNDS {
        let (mut bare, bare_took) = round(calls, ask_bare).await;
        let (mut routed, routed_took) = round(calls, ask_routed).await;
        let (bare_median, routed_median) = (median(&mut bare), median(&mut routed));
        let rate = |count: usize, took: Duration| count as f64 / took.as_secs_f64();
        let (bare_rate, routed_rate) = (rate(bare.len(), bare_took), rate(routed.len(), routed_took));
        added.push(routed_median - bare_median);
        ratios.push(routed_rate / bare_rate);
        println!(
            "{number:5} | {bare_median:7.0} | {routed_median:9.0} | {:8.1} | {bare_rate:12.0} | {routed_rate:14.0} | {:5.3} | {:.1}",
            routed_median - bare_median,
            routed_rate / bare_rate,
            resident().unwrap_or(f64::NAN)
        );
    }
    added.sort_by(f64::total_cmp);
    ratios.sort_by(f64::total_cmp);
    println!(
        "median of the rounds: {:.1} µs added, {:.3} of the throughput",
        added[ROUNDS / 2],
        ratios[ROUNDS / 2]
    );
}
