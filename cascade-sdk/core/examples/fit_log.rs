//! Fits a policy to an eval log without a configuration file: all tiers of the log, or those named.
//!
//! `cargo run --release -p cascade-sdk-core --features fit --example fit_log -- LOG max_cost_usd=0.0002 [tier …]`
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line example")]

#[path = "one_route/mod.rs"]
mod one_route;

use cascade_sdk_core::fit::route::{FitInput, FitOptions, fit_route};
use cascade_sdk_core::log::{LogSource, ReadOptions, read};
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
    let open = |options: &ReadOptions| {
        let file = std::fs::File::open(&path).map_err(|error| format!("{path}: {error}"))?;
        read([LogSource::new(&path, file)], options).map_err(|errors| format!("{errors:#?}"))
    };
    let mut reading = open(&ReadOptions::default())?;
    let mut tiers: Vec<String> = arguments.collect();
    if tiers.is_empty() {
        tiers = reading.log.tiers.iter().map(|tier| tier.name.clone()).collect();
    }
    let config = one_route::config(&tiers, &goal)?;
    // A table may follow the line of the objective.
    let embedding = config.routes.iter().find_map(|route| route.embedding.clone());
    if embedding.is_some() {
        reading = open(&ReadOptions { embedding, ..ReadOptions::default() })?;
    }
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
