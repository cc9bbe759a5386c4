//! `cascade collect`, killed at random moments.
//!
//! `CASCADE_KILLS=50` kills it 50 times instead of a few.

use crate::collect::{CALL_USD, COLLECT, config, project, timeless};
use crate::collect_signals::JUDGE;
use crate::project::Project;
use crate::server::Server;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Child;
use std::time::Duration;

/// Calls in flight for each lane: a tier, or a signal of one.
const CONCURRENCY: u32 = 2;

/// Most calls between two kills; more than are ever in flight, so that some are recorded.
const CALLS_BETWEEN: u32 = 12;

/// Moments that look random and are the same in every run.
struct Moments(u64);

impl Moments {
    /// A number of 32 bits.
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 32).unwrap()
    }

    /// Waits for one: some calls after the start, so that a slow machine gets as far as a fast one, and then a moment more;
    /// now and then while the job still starts.
    fn wait(&mut self, kill: u32, child: &mut Child, server: &Server) {
        if kill % 4 < 3 {
            let calls = server.calls() + 1 + self.next() % CALLS_BETWEEN;
            while server.calls() < calls && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        std::thread::sleep(Duration::from_micros(u64::from(self.next() % 30_000)));
    }
}

/// Cells that are recorded: in the log, or in whole lines of the journal.
fn recorded(project: &Project) -> Vec<(String, String)> {
    let mut cells = Vec::new();
    if project.exists("log.jsonl.journal") {
        let journal = std::fs::read(project.path("log.jsonl.journal")).unwrap();
        for line in journal.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
            // Every whole line is an entry, whenever the kill came.
            let entry: Value = serde_json::from_slice(line).unwrap();
            if let Some(got) = entry.get("got") {
                cells
                    .push((got["id"].as_str().unwrap().to_owned(), got["tier"].as_str().unwrap().to_owned()));
            }
        }
    }
    if project.exists("log.jsonl") {
        // The log is whole whenever the kill came.
        for row in crate::collect::rows(project) {
            let id = row["id"].as_str().unwrap().to_owned();
            for (tier, result) in row["results"].as_object().unwrap() {
                let verdict =
                    result["signals"]["verdict"].is_number().then(|| format!("signal:verdict:{tier}"));
                cells.extend(verdict.into_iter().chain([tier.clone()]).map(|lane| (id.clone(), lane)));
            }
        }
    }
    cells
}

#[test]
fn killed_at_random_moments_it_ends_in_the_same_log() {
    eprintln!("{}", killed("", 2));
}

#[test]
fn killed_while_a_judge_scores_it_ends_in_the_same_log() {
    eprintln!("{}", killed(JUDGE, 3));
}

/// With these signals, which make so many lanes. Says how it went.
fn killed(signals: &str, lanes: u32) -> String {
    let kills: u32 = std::env::var("CASCADE_KILLS").map_or(6, |kills| kills.parse().unwrap());
    let words = vec![""; 10 + 4 * kills as usize];
    let undisturbed_server = Server::start(Duration::ZERO);
    let with_signals = |server: &Server| {
        let project = project(server, &words);
        project.write("cascade.toml", &(config(&server.url) + signals));
        project
    };
    let undisturbed = with_signals(&undisturbed_server);
    undisturbed.run(&COLLECT).expect_code(0);

    let server = Server::start(Duration::from_millis(25));
    let project = with_signals(&server);
    let concurrency = CONCURRENCY.to_string();
    let arguments = [&COLLECT[..], &["--concurrency", &concurrency, "--format", "json"]].concat();
    let mut moments = Moments(7);
    let calls_of = |(id, lane): &(String, String)| -> u32 {
        let sum = format!(" {}+1", &id[1..]);
        let model = if lane == "small" { "s" } else { "l" };
        let asks = |prompt: &str| match lane.as_str() {
            "small" | "large" => prompt == sum,
            _ => prompt.starts_with(&format!("{{\"request\":\"{sum}\"")),
        };
        let seen = server.seen();
        seen.calls
            .iter()
            .filter(|((of, prompt), _)| of == model && asks(prompt))
            .map(|(_, calls)| calls)
            .sum()
    };
    // How often a cell had been asked when it was recorded.
    let mut asked_until_recorded: BTreeMap<(String, String), u32> = BTreeMap::new();
    for kill in 0..kills {
        let mut child = project.command(&arguments).spawn().unwrap();
        moments.wait(kill, &mut child, &server);
        child.kill().unwrap();
        child.wait().unwrap();
        for cell in recorded(&project) {
            let calls = calls_of(&cell);
            asked_until_recorded.entry(cell).or_insert(calls);
        }
    }
    let summary = project.run(&arguments).expect_code(0).json();
    assert_eq!(summary["complete"], true, "{summary}");
    assert_eq!(timeless(&project), timeless(&undisturbed));
    assert!(!project.exists("log.jsonl.journal"));

    assert!(!asked_until_recorded.is_empty(), "every kill came before anything was recorded");
    let cells = lanes * u32::try_from(words.len()).unwrap();
    let repeated = server.calls() - cells;
    assert!(repeated <= kills * lanes * CONCURRENCY, "{repeated} repeated calls after {kills} kills");
    for (cell, calls) in &asked_until_recorded {
        assert_eq!(calls_of(cell), *calls, "{cell:?} was asked again after it was recorded");
    }
    let charged = u32::try_from(summary["may_have_been_charged"].as_array().unwrap().len()).unwrap();
    assert!(charged >= repeated && charged <= kills * lanes * CONCURRENCY, "{charged} for {repeated}");
    // What may have been charged is counted, at the most it can have cost.
    let spent = summary["spent_usd"].as_f64().unwrap();
    assert!(spent >= f64::from(cells + repeated) * CALL_USD - 1e-12, "{summary}");
    format!(
        "{kills} kills: {repeated} repeated calls, {} cells recorded before the end",
        asked_until_recorded.len()
    )
}
