//! What a fit makes of few rows: 50, 100 and 300 calibration rows of a log, the others held out.
//!
//! `cargo run --release -p cascade-sdk-core --features fit --example few_rows -- LOG[=TIER,TIER,…] …`
//!
//! The objective is quality − λ · cost, with λ from the cheapest to the most accurate tier of the whole log, where no single
//! tier is far ahead. Printed for each log and number of rows, over several draws by group: the family that is chosen, how far
//! its policy is ahead, on held-out rows, of the best single tier of the same calibration rows (mean, and the 10 and 90 %
//! points over draws), and how far the routers are that the choice did not trust, had they been taken always.
#![allow(clippy::print_stdout, reason = "the output is what it is for")]

#[path = "one_route/mod.rs"]
mod one_route;

use cascade_sdk_core::fit::inference::bootstrap::quantile;
use cascade_sdk_core::fit::random::SplitMix64;
use cascade_sdk_core::fit::report::FitReport;
use cascade_sdk_core::fit::route::{FitInput, FitOptions, fit_route};
use cascade_sdk_core::log::{self, EvalLog, LogSource, ReadOptions, Split};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

const ROWS: [usize; 3] = [50, 100, 300];

const DRAWS: u64 = 10;

fn main() -> Result<(), String> {
    println!(
        "| log | rows | chosen | chosen − best single tier | router − best single tier | routed cascade − best single tier |\n\
         |---|---|---|---|---|---|"
    );
    for argument in std::env::args().skip(1) {
        let (path, tiers) = argument.split_once('=').unwrap_or((&argument, ""));
        let log = read(path)?;
        let mut tiers: Vec<String> =
            tiers.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if tiers.is_empty() {
            tiers = log.tiers.iter().map(|tier| tier.name.clone()).collect();
        }
        let name = Path::new(path).file_name().map_or_else(String::new, |name| name.to_string_lossy().into());
        let name = name.trim_end_matches(".gz").trim_end_matches(".jsonl");
        let price = price(&log, &tiers);
        let config = one_route::config(&tiers, &format!("shadow_price = {price:?}"))?;
        for rows in ROWS.into_iter().filter(|&rows| 2 * rows <= log.rows.len()) {
            let mut study = Study::default();
            for draw in 0..DRAWS {
                let drawn = draw_rows(&log, rows, draw);
                let input = FitInput {
                    config: &config,
                    route: "log",
                    log: &drawn,
                    unreadable_rows: 0,
                    schema: None,
                    options: FitOptions { threads: 2, details: false, ..FitOptions::default() },
                };
                let outcome = fit_route(&input).map_err(|errors| format!("{path}: {errors:#?}"))?;
                study.add(&outcome.report, price);
            }
            println!("| {name} | {rows} | {}", study.line());
        }
    }
    Ok(())
}

/// Leads over the best single tier in quality, one a draw.
#[derive(Default)]
struct Study {
    chosen: BTreeMap<&'static str, usize>,
    leads: BTreeMap<&'static str, Vec<f64>>,
}

impl Study {
    fn add(&mut self, report: &FitReport, price: f64) {
        let value = |family: &str| {
            let family = report.families.iter().find(|known| known.family == family)?;
            let held_out = family.held_out.as_ref()?;
            Some(held_out.quality - price * held_out.cost_usd)
        };
        let Some(single) = value("single") else { return };
        let selected = report.selected.unwrap_or("single");
        *self.chosen.entry(selected).or_default() += 1;
        for (column, family) in
            [("chosen", selected), ("router", "router"), ("routed_cascade", "routed_cascade")]
        {
            self.leads.entry(column).or_default().extend(value(family).map(|value| value - single));
        }
    }

    fn line(&self) -> String {
        let mut line = String::new();
        let chosen: Vec<String> =
            self.chosen.iter().map(|(family, draws)| format!("{family} {draws}")).collect();
        let _ = write!(line, "{} |", chosen.join(", "));
        for column in ["chosen", "router", "routed_cascade"] {
            let mut leads = self.leads.get(column).cloned().unwrap_or_default();
            let mean = 100.0 * leads.iter().sum::<f64>() / leads.len().max(1) as f64;
            let (low, high) = (100.0 * quantile(&mut leads, 0.1), 100.0 * quantile(&mut leads, 0.9));
            let _ = write!(line, " {mean:+.2} [{low:+.2}, {high:+.2}] |");
        }
        line
    }
}

fn read(path: &str) -> Result<EvalLog, String> {
    let file = std::fs::File::open(path).map_err(|error| format!("{path}: {error}"))?;
    log::read([LogSource::new(path.to_owned(), file)], &ReadOptions::default())
        .map(|reading| reading.log)
        .map_err(|errors| format!("{path}: {}", errors.first().map_or("", |error| &error.message)))
}

/// Gain in quality per US dollar from the cheapest to the most accurate tier.
fn price(log: &EvalLog, tiers: &[String]) -> f64 {
    let means: Vec<(f64, f64)> = log
        .tiers
        .iter()
        .filter(|tier| tiers.contains(&tier.name))
        .map(|tier| {
            let rows = tier.quality.len().max(1) as f64;
            let present = |at: usize| tier.present[at];
            let sum = |of: &dyn Fn(usize) -> f64| {
                (0..tier.quality.len()).filter(|&at| present(at)).map(of).sum::<f64>() / rows
            };
            (sum(&|at| tier.quality[at]), sum(&|at| tier.cost[at].to_f64()))
        })
        .collect();
    let cheapest = means.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or_default();
    let best = means.iter().copied().max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or_default();
    if best.1 > cheapest.1 { (best.0 - cheapest.0) / (best.1 - cheapest.1) } else { 0.0 }
}

/// The log with about so many rows for calibration, whole groups, and all others held out.
fn draw_rows(log: &EvalLog, rows: usize, seed: u64) -> EvalLog {
    let mut log = log.clone();
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, row) in log.rows.iter().enumerate() {
        groups.entry(log::group_key(row)).or_default().push(at);
    }
    let mut groups: Vec<Vec<usize>> = groups.into_values().collect();
    let mut random = SplitMix64::new(seed, 21);
    let mut left = rows;
    for row in &mut log.rows {
        row.split = Some(Split::Test);
    }
    while left > 0 && !groups.is_empty() {
        let group = groups.swap_remove(random.below(groups.len()));
        left = left.saturating_sub(group.len());
        for at in group {
            log.rows[at].split = Some(Split::Calibration);
        }
    }
    log
}
