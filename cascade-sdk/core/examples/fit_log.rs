//! Fits a policy to an eval log without a configuration file: all tiers of the log, or those named.
//!
//! `cargo run --release -p cascade-sdk-core --features fit --example fit_log -- LOG max_cost_usd=0.0002 [tier …]`
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line example")]

use cascade_sdk_core::config::Config;
use cascade_sdk_core::diag::{Source, Style, render_all};
use cascade_sdk_core::fit::route::{FitInput, FitOptions, fit_route};
use cascade_sdk_core::log::{LogSource, ReadOptions, read};
use std::fmt::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: fit_log LOG OBJECTIVE [tier ...]";
    let (path, goal) = (arguments.next().ok_or(usage)?, arguments.next().ok_or(usage)?);
    let file = std::fs::File::open(&path).map_err(|error| format!("{path}: {error}"))?;
    let reading = read([LogSource::new(path, file)], &ReadOptions::default())
        .map_err(|errors| format!("{errors:#?}"))?;
    let mut tiers: Vec<String> = arguments.collect();
    if tiers.is_empty() {
        tiers = reading.log.tiers.iter().map(|tier| tier.name.clone()).collect();
    }
    let config = config(&tiers, &goal)?;
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let input = FitInput {
        config: &config,
        route: "log",
        log: &reading.log,
        unreadable_rows: 0,
        schema: None,
        options: FitOptions { threads, ..FitOptions::default() },
    };
    let started = std::time::Instant::now();
    let outcome = fit_route(&input).map_err(|errors| format!("{errors:#?}"))?;
    eprintln!("fitted in {:.2?}", started.elapsed());
    println!("{}", serde_json::to_string(&outcome.report).map_err(|error| error.to_string())?);
    Ok(())
}

/// A configuration with one route over these tiers. Prices do not matter: the log states costs.
fn config(tiers: &[String], goal: &str) -> Result<Config, String> {
    let mut text = String::from("schema = 1\n[providers.log]\napi = \"replay\"\n");
    for tier in tiers {
        let _ = write!(
            text,
            "[tiers.{tier:?}]\nprovider = \"log\"\nmodel = {tier:?}\nprice = {{ input = 0.0, output = 0.0 }}\n"
        );
    }
    let _ = write!(
        text,
        "[routes.log]\ntiers = {tiers:?}\nlog = [\"log.jsonl\"]\n[routes.log.objective]\n{goal}\n"
    );
    let (config, findings) = cascade_sdk_core::config::read(&Source::new("cascade.toml", text));
    config.ok_or_else(|| render_all(&findings, Style::Plain))
}
