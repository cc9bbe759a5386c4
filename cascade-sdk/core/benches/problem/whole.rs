//! Whole fits, from a log in memory to the report: every family but those with a router.

use crate::problem::{THREADS, synthetic};
use cascade_sdk_core::config::Config;
use cascade_sdk_core::diag::Source;
use cascade_sdk_core::fit::route::{FitInput, FitOptions, fit_route};
use cascade_sdk_core::fit::rows::table::{QUALITY_ONE, Table};
use cascade_sdk_core::log::{EvalLog, LogSource, ReadOptions, read};
use std::fmt::Write as _;
use std::time::Instant;

/// Rows and tiers.
const SIZES: [(usize, usize); 2] = [(2_000, 8), (100_000, 5)];

/// Seconds on the clock, and of the processor where the system says so: on a busy machine only the latter mean much.
pub(crate) fn speed() {
    println!("whole fits with 2,000 resamples, {THREADS} threads    s   processor s   families");
    for (rows, tiers) in SIZES {
        let log = log(&synthetic(rows, tiers, 1));
        let config = config(tiers);
        let (start, before) = (Instant::now(), processor_seconds());
        let families = fit(&config, &log);
        let used = processor_seconds().zip(before).map(|(after, before)| after - before);
        println!(
            "{rows:>7} rows × {tiers} tiers {:>19.2} {:>13} {families:>10}",
            start.elapsed().as_secs_f64(),
            used.map_or_else(|| "?".into(), |used| format!("{used:.2}"))
        );
    }
}

/// Peak memory while fitting, the log included, beside the log as the reader holds it.
pub(crate) fn memory() {
    println!("memory                          log MB   peak MB   ratio");
    for (rows, tiers) in [(20_000, 5), (100_000, 5)] {
        let before = status_megabytes("VmRSS:");
        let log = log(&synthetic(rows, tiers, 1));
        let after = status_megabytes("VmRSS:");
        // Forgets the peak of reading.
        let forgotten = std::fs::write("/proc/self/clear_refs", "5").is_ok();
        fit(&config(tiers), &log);
        let peak = status_megabytes("VmHWM:").filter(|_| forgotten);
        match (before, after, peak) {
            (Some(before), Some(after), Some(peak)) => {
                let (held, peak) = (after - before, peak - before);
                println!("{rows:>7} rows × {tiers} tiers {held:>16.0} {peak:>9.0} {:>7.1}", peak / held);
            }
            _ => println!("{rows:>7} rows × {tiers} tiers: this system does not say"),
        }
    }
}

/// User and system time of the process, in seconds, where `/proc` says so in hundredths.
fn processor_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}

/// An entry of `/proc/self/status`.
fn status_megabytes(entry: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(entry))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1e3)
}

fn fit(config: &Config, log: &EvalLog) -> usize {
    let options = FitOptions { threads: THREADS, ..FitOptions::default() };
    let input = FitInput { config, route: "log", log, unreadable_rows: 0, schema: None, options };
    fit_route(&input).expect("the log fits").report.families.len()
}

fn config(tiers: usize) -> Config {
    let names: Vec<String> = (0..tiers).map(|tier| format!("tier{tier}")).collect();
    let mut text = String::from("schema = 1\n[providers.log]\napi = \"replay\"\n");
    for name in &names {
        let _ = write!(
            text,
            "[tiers.{name}]\nprovider = \"log\"\nmodel = \"{name}\"\nprice = {{ input = 1.0, output = 1.0 }}\n"
        );
    }
    let _ = write!(
        text,
        "[routes.log]\ntiers = {names:?}\nlog = [\"log.jsonl\"]\npolicy = \"log.toml\"\n\
         [routes.log.objective]\nmax_cost_usd = 0.0003\n\
         [routes.log.fit]\nfamilies = [\"single\", \"pair\", \"chain\", \"full_chain\"]\n"
    );
    let (config, findings) = cascade_sdk_core::config::read(&Source::new("cascade.toml", text));
    config.unwrap_or_else(|| unreachable!("{findings:?}"))
}

fn log(table: &Table) -> EvalLog {
    let mut text = String::new();
    for row in 0..table.len() {
        let _ = write!(text, r#"{{"id":"r{row:07}","results":{{"#);
        for (at, tier) in table.tiers.iter().enumerate() {
            let _ = write!(
                text,
                r#"{}"{}":{{"quality":{},"cost_usd":{},"signals":{{"s":{:.9}}}}}"#,
                if at > 0 { "," } else { "" },
                tier.name,
                u8::from(tier.quality[row] == QUALITY_ONE),
                tier.cost[row] as f64 / 1e12,
                tier.signals[0].value[row]
            );
        }
        text.push_str("}}\n");
    }
    read([LogSource::new("log.jsonl", text.as_bytes())], &ReadOptions::default()).expect("a good log").log
}
