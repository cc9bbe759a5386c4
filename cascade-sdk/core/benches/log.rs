//! Speed of reading a log, against parsing the same bytes into generic JSON values, in one run.
//!
//! `cargo bench -p cascade-sdk-core --features log --bench log` prints megabytes a second on one core: the best of
//! several rounds, the readers taking turns so that a busy machine slows all of them.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and its own log is whole")]

use cascade_sdk_core::log::{LogSource, ReadOptions, hash, read};
use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

const ROUNDS: usize = 7;
const SEED: u64 = 7;

/// SplitMix64: the same log on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_of<'w>(&mut self, words: &[&'w str]) -> &'w str {
        let at = self.below(words.len() as u64);
        words[usize::try_from(at).unwrap()]
    }

    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A log of `rows` rows with prompts of `words` words and results of `tiers` tiers.
fn synthetic(rows: usize, words: u64, tiers: usize) -> String {
    const WORDS: [&str; 12] = [
        "which",
        "team",
        "should",
        "handle",
        "this",
        "ticket",
        "über",
        "the",
        "\\\"quoted\\\"",
        "invoice",
        "line\\n",
        "42",
    ];
    let mut random = Random(SEED);
    let mut out = String::new();
    for row in 0..rows {
        write!(out, r#"{{"id":"q-{row}","input":""#).unwrap();
        for _ in 0..words / 2 + random.below(words + 1) {
            out.push_str(random.one_of(&WORDS));
            out.push(' ');
        }
        out.push_str(r#"","split":null,"group":null,"tags":{"subject":"billing"},"results":{"#);
        for tier in 0..tiers {
            if tier > 0 {
                out.push(',');
            }
            write!(
                out,
                r#""tier-{tier}":{{"quality":{}.0,"cost_usd":{},"input_tokens":{},"output_tokens":{},"latency_ms":{},"signals":{{"mean_logprob":{},"min_logprob":{}}},"output":"answer {}"}}"#,
                random.below(2),
                random.fraction() * 1e-4,
                random.below(1000),
                random.below(100),
                random.fraction() * 1000.0,
                -random.fraction(),
                -3.0 * random.fraction(),
                random.below(10),
            )
            .unwrap();
        }
        out.push_str("}}\n");
    }
    out
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// The least disturbed round.
fn best(times: &[f64]) -> f64 {
    times.iter().copied().fold(f64::INFINITY, f64::min)
}

fn measure(name: &str, text: &str) {
    let options = ReadOptions::default();
    let (mut ours, mut generic, mut hashing) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(seconds(|| {
            let reading = read([LogSource::new("log.jsonl", text.as_bytes())], &options).unwrap();
            assert_eq!(reading.skipped, 0);
            black_box(reading);
        }));
        generic.push(seconds(|| {
            for line in text.lines() {
                black_box(serde_json::from_str::<serde_json::Value>(line).unwrap());
            }
        }));
        hashing.push(seconds(|| {
            black_box(hash([LogSource::new("log.jsonl", text.as_bytes())]).unwrap());
        }));
    }
    let megabytes = text.len() as f64 / 1e6;
    let speed = |times: &[f64]| megabytes / best(times);
    let (ours, generic, hashing) = (speed(&ours), speed(&generic), speed(&hashing));
    println!(
        "{name:<34} {megabytes:>6.1} MB | log::read {ours:>6.0} MB/s | serde_json::Value {generic:>6.0} MB/s | ratio {:.2} | log::hash alone {hashing:>6.0} MB/s",
        ours / generic
    );
}

fn main() {
    // `cargo test --all-targets` runs this too; only `cargo bench` passes the flag.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("nothing measured: run `cargo bench`");
        return;
    }
    measure("prompts of 150 words, 2 tiers", &synthetic(20_000, 150, 2));
    measure("prompts of 150 words, 9 tiers", &synthetic(10_000, 150, 9));
    measure("no prompts, 39 tiers", &synthetic(3_000, 0, 39));
    measure("prompts of 3,000 words, 2 tiers", &synthetic(1_500, 3_000, 2));
    measure("one row of 10 MB", &synthetic(1, 1_700_000, 2));
}
