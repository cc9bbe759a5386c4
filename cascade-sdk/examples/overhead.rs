//! What a routed call costs beyond the HTTP call it makes: the same requests to the same loopback server, through reqwest
//! alone and through a client with a budget and a decision log, in alternating rounds of one run.
//!
//! - *bare* sends bytes that were made before and reads bytes; *json* is what an application without this library writes: the
//!   body made from the prompt, a timeout, the text taken out of the answer.
//! - One caller shows what is added to a call. Sixty-four callers of a server that takes 20 ms, which is fast for a model, show
//!   what is left of the throughput; of a server that takes no time, how often this machine can do nothing else.
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

const ROUNDS: usize = 6;

/// How many call at once, how long the server takes, and which part of the calls is made.
const SETTINGS: [(usize, Duration, usize); 3] =
    [(1, Duration::ZERO, 5), (64, Duration::from_millis(20), 5), (64, Duration::ZERO, 1)];

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

/// Answers every request on a connection with the same completion, after this time.
async fn serve(mut stream: TcpStream, takes: Duration) {
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
                if !takes.is_zero() {
                    tokio::time::sleep(takes).await;
                }
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

/// Median latency in microseconds, and calls a second.
#[derive(Clone, Copy)]
struct Round {
    median: f64,
    rate: f64,
}

async fn round<F, Made>(callers: usize, calls: usize, make: impl Fn() -> F) -> Round
where
    F: Fn() -> Made + Send + 'static,
    Made: Future<Output = ()> + Send + 'static,
{
    let started = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let call = make();
            tokio::spawn(async move {
                let mut latencies = Vec::with_capacity(calls / callers);
                for _ in 0..calls / callers {
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
    let rate = all.len() as f64 / started.elapsed().as_secs_f64();
    all.sort_unstable();
    Round { median: all[all.len() / 2].as_secs_f64() * 1e6, rate }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
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
    // The library hands its own provider over; a bare client looks for the process's.
    rustls::crypto::ring::default_provider().install_default().unwrap();
    println!(
        "callers | server ms | call | median us | calls/s | added us | [least, most] | of the bare rate | [least, most]"
    );
    for (callers, takes, part) in SETTINGS {
        compare(callers, takes, calls / part).await;
    }
    println!("resident at the end: {:.1} MiB", resident().unwrap_or(f64::NAN));
}

/// Measures one setting in alternating rounds and prints its lines.
async fn compare(callers: usize, takes: Duration, calls: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            tokio::spawn(serve(stream, takes));
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let client = client(&base_url, directory.path());
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{base_url}/chat/completions");
    let body = |prompt: &str| {
        serde_json::json!({
            "model": "s", "messages": [{"role": "user", "content": prompt}], "max_tokens": 64,
        })
        .to_string()
    };
    let made = body(PROMPT);

    let ask_bare = || {
        let (http, url, made) = (http.clone(), url.clone(), made.clone());
        move || {
            let request = http.post(&url).header("content-type", "application/json").body(made.clone());
            async move {
                let bytes = request.send().await.unwrap().bytes().await.unwrap();
                assert!(!bytes.is_empty());
            }
        }
    };
    let ask_json = || {
        let (http, url) = (http.clone(), url.clone());
        move || {
            let request = http.post(&url).header("content-type", "application/json");
            let request = request.timeout(Duration::from_secs(120)).body(body(PROMPT));
            async move {
                let bytes = request.send().await.unwrap().bytes().await.unwrap();
                let answer: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
                assert_eq!(answer["choices"][0]["message"]["content"], "billing");
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
    let mut rounds = Vec::new();
    // The first round opens connections and counts for nothing.
    for number in 0..=ROUNDS {
        let bare = round(callers, calls, ask_bare).await;
        let json = round(callers, calls, ask_json).await;
        let routed = round(callers, calls, ask_routed).await;
        if number > 0 {
            rounds.push([bare, json, routed]);
        }
    }
    for (which, name) in ["bare", "json", "routed"].into_iter().enumerate() {
        let of = |value: fn(&Round, &Round) -> f64| -> Vec<f64> {
            rounds.iter().map(|round| value(&round[which], &round[0])).collect()
        };
        let span = |values: &[f64], digits: usize| {
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            format!("[{least:.digits$}, {most:.digits$}]")
        };
        let added = of(|round, bare| round.median - bare.median);
        let share = of(|round, bare| round.rate / bare.rate);
        println!(
            "{callers:7} | {:9} | {name:6} | {:9.0} | {:7.0} | {:8.1} | {} | {:.3} | {}",
            takes.as_millis(),
            median(of(|round, _| round.median)),
            median(of(|round, _| round.rate)),
            median(added.clone()),
            span(&added, 1),
            median(share.clone()),
            span(&share, 3),
        );
    }
}
