//! Fits a policy to an eval log without a configuration file: all tiers of the log, or those named.
//!
//! `cargo run --release -p cascade-sdk-core --features fit --example fit_log -- LOG max_cost_usd=0.0002 [tier …]`
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line example")]

use cascade_sdk_core::config::{Config, FitSettings, Goal, Objective, RequestSettings, Route, Tier};
use cascade_sdk_core::fit::route::{FitInput, FitOptions, fit_route};
use cascade_sdk_core::log::{LogSource, ReadOptions, read};
use cascade_sdk_core::money::{Price, Usd};
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
    let usage = "usage: fit_log LOG max_cost_usd=X|min_quality=X|shadow_price=X [tier ...]";
    let (path, goal) = (arguments.next().ok_or(usage)?, arguments.next().ok_or(usage)?);
    let file = std::fs::File::open(&path).map_err(|error| format!("{path}: {error}"))?;
    let reading = read([LogSource::new(path, file)], &ReadOptions::default())
        .map_err(|errors| format!("{errors:#?}"))?;
    let mut tiers: Vec<String> = arguments.collect();
    if tiers.is_empty() {
        tiers = reading.log.tiers.iter().map(|tier| tier.name.clone()).collect();
    }
    let config = config(&tiers, goal_of(&goal).ok_or(usage)?);
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

fn goal_of(text: &str) -> Option<Goal> {
    let (name, value) = text.split_once('=')?;
    match name {
        "max_cost_usd" => Usd::parse(value).ok().map(Goal::MaxCost),
        "min_quality" => value.parse().ok().map(Goal::MinQuality),
        "shadow_price" => value.parse().ok().map(Goal::ShadowPrice),
        _ => None,
    }
}

fn config(tiers: &[String], goal: Goal) -> Config {
    let tier = |name: &String| Tier {
        name: name.clone(),
        provider: "log".into(),
        model: name.clone(),
        price: Price::default(),
        max_input_tokens: None,
        max_output_tokens: None,
        timeout: None,
    };
    let route = Route {
        name: "log".into(),
        tiers: tiers.to_vec(),
        log: Vec::new(),
        policy: String::new(),
        budget: None,
        objective: Some(Objective { goal, max_latency_ms_p95: None, confidence: None }),
        fit: FitSettings::default(),
        request: RequestSettings::default(),
        calls_per_day: None,
        until_fitted: None,
    };
    Config {
        providers: Vec::new(),
        tiers: tiers.iter().map(tier).collect(),
        budgets: Vec::new(),
        routes: vec![route],
    }
}
