//! How good a router is on an eval log, and how fast: areas of DESIGN.md 7 over several splits.
//!
//! ```text
//! cargo run --release -p cascade-sdk-core --features fit --example router_study -- LOG.jsonl.gz [--tiers a,b,c]
//!     [--splits 20] [--held-out 0.5] [--own-split] [--families pair,chain,routed_cascade]
//!     [--dimensions 50 (--words glove.txt | --model NAME)]
//! ```
//! With `--words`, which needs `--features fit,static-embedding`, the router may read the vectors of that file; with `--model`
//! those that stand in the log.
//! Each split halves the log by group; everything is chosen on the calibration half and measured on the other. Printed
//! are, averaged over the splits: AUROC of the router's log-odds per tier, `area_hull` of each family over that of the
//! single tiers in percentage points (with the 10 and 90 % points over splits, which are no confidence intervals), which
//! inputs were chosen, and the time of a fit and of a decision.
#![allow(clippy::print_stdout, reason = "the output is what it is for")]
#![allow(
    clippy::float_cmp,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "ties and quantiles"
)]

use cascade_sdk_core::config::{EmbeddingSettings, Family, FitSettings};
use cascade_sdk_core::decide::logistic as sigmoid;
#[cfg(feature = "static-embedding")]
use cascade_sdk_core::diag::{Style, render_all};
use cascade_sdk_core::feature::{RequestView, Scratch};
use cascade_sdk_core::fit::families::{self, Pool};
use cascade_sdk_core::fit::frontier::curves::{self, Budgets};
use cascade_sdk_core::fit::inference::crossfit;
use cascade_sdk_core::fit::limits::Limits;
use cascade_sdk_core::fit::router::{Data, RouterFamily, RouterFit};
use cascade_sdk_core::fit::rows::table::Table;
use cascade_sdk_core::log::{self, EvalLog, LogSource, ReadOptions, Split};
use cascade_sdk_core::money::Usd;
use std::collections::BTreeMap;
use std::error::Error;
#[cfg(feature = "static-embedding")]
use std::path::Path;
use std::time::{Duration, Instant};

struct Options {
    path: String,
    tiers: Option<Vec<String>>,
    splits: u64,
    held_out: f64,
    own_split: bool,
    families: Vec<Family>,
    threads: usize,
    dimensions: usize,
    words: Option<String>,
    model: Option<String>,
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        path: String::new(),
        tiers: None,
        splits: 5,
        held_out: 0.5,
        own_split: false,
        families: vec![Family::Pair, Family::Chain, Family::RoutedCascade],
        threads: 2,
        dimensions: 0,
        words: None,
        model: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--tiers" => options.tiers = Some(value()?.split(',').map(str::to_owned).collect()),
            "--splits" => options.splits = value()?.parse()?,
            "--held-out" => options.held_out = value()?.parse()?,
            "--threads" => options.threads = value()?.parse()?,
            "--dimensions" => options.dimensions = value()?.parse()?,
            "--words" => options.words = Some(value()?),
            "--model" => options.model = Some(value()?),
            "--own-split" => options.own_split = true,
            "--families" => options.families = value()?.split(',').filter_map(Family::parse).collect(),
            _ => options.path = argument,
        }
    }
    Ok(options)
}

fn read(options: &Options) -> Result<EvalLog, Box<dyn Error>> {
    let file = std::fs::File::open(&options.path)?;
    let embedding = EmbeddingSettings {
        model: options.model.clone().unwrap_or_else(|| "words".to_owned()),
        dimensions: options.dimensions,
        cost: Usd::ZERO,
        timeout: Duration::MAX,
        on_failure: None,
        served: None,
        file: options.words.clone(),
    };
    let read_options = ReadOptions {
        tiers: options.tiers.as_ref().map(|tiers| tiers.iter().cloned().collect()),
        embedding: (options.dimensions > 0).then_some(embedding),
        ..ReadOptions::default()
    };
    #[cfg(feature = "static-embedding")]
    let read_options = read_options
        .with_static_embedding(Path::new(""))
        .map_err(|findings| render_all(&findings, Style::Plain))?;
    #[cfg(not(feature = "static-embedding"))]
    if options.words.is_some() {
        return Err("--words needs the feature static-embedding".into());
    }
    match log::read(vec![LogSource::new(options.path.clone(), file)], &read_options) {
        Ok(reading) => Ok(reading.log),
        Err(findings) => {
            let first = findings.first().map_or("", |finding| &finding.message);
            Err(format!("{} cannot be read: {first}", options.path).into())
        }
    }
}

/// Area under the ROC curve of a score for a binary outcome (quality above one half).
fn auroc(scored: &[(f64, bool)]) -> f64 {
    let mut sorted = scored.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut rank_sum, mut good, mut at) = (0.0, 0.0, 0);
    while at < sorted.len() {
        let end = at + sorted[at..].iter().take_while(|(score, _)| *score == sorted[at].0).count();
        let rank = (at + end + 1) as f64 / 2.0;
        let hits = sorted[at..end].iter().filter(|(_, good)| *good).count() as f64;
        rank_sum += rank * hits;
        good += hits;
        at = end;
    }
    let bad = sorted.len() as f64 - good;
    (rank_sum - good * (good + 1.0) / 2.0) / (good * bad)
}

/// RouteLLM's figures for two tiers (MATH.md 12): rows are sent to the strong tier in the order of predicted gain. Shares of
/// strong calls at which half and four fifths of the gap in quality are recovered, and the mean share of the gap recovered
/// over all shares of calls.
fn strong_calls(mut gains: Vec<(f64, f64)>) -> Option<[f64; 3]> {
    gains.sort_by(|a, b| b.0.total_cmp(&a.0));
    let gap: f64 = gains.iter().map(|gain| gain.1).sum();
    if gap <= 0.0 {
        return None;
    }
    let mut recovered = vec![0.0];
    for (_, gain) in &gains {
        recovered.push(recovered.last().copied().unwrap_or(0.0) + gain / gap);
    }
    let rows = gains.len() as f64;
    let area = recovered.windows(2).map(|edge| f64::midpoint(edge[0], edge[1])).sum::<f64>() / rows;
    let calls = |share: f64| {
        recovered.iter().position(|&so_far| so_far >= share).unwrap_or(gains.len()) as f64 / rows
    };
    Some([calls(0.5), calls(0.8), area])
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let log = read(&options)?;
    let names: Vec<&str> = log.tiers.iter().map(|tier| tier.name.as_str()).collect();
    let groups: Vec<String> = log.rows.iter().map(log::group_key).collect();
    let splits = if options.own_split { 1 } else { options.splits };
    let (mut gains, mut aurocs): (BTreeMap<Family, Vec<f64>>, Vec<Vec<f64>>) = (BTreeMap::new(), Vec::new());
    let (mut choices, mut fit_seconds, mut decision_us, mut cost_r2) =
        (BTreeMap::<String, usize>::new(), 0.0, 0.0, 0);
    let mut calls: Vec<[f64; 3]> = Vec::new();
    let (mut tier_names, mut seconds) = (Vec::new(), BTreeMap::<Family, f64>::new());
    for split in 0..splits {
        let mut table = Table::new(&log, &names, |row| groups[row].clone());
        let half = |row: u32| {
            let entry = &log.rows[table.log_row[row as usize] as usize];
            if options.own_split {
                return log::half(entry, 7, options.held_out);
            }
            let mut entry = entry.clone();
            entry.split = None;
            log::half(&entry, 1000 + split, options.held_out)
        };
        let all = 0..u32::try_from(table.len())?;
        let (calibration, test): (Vec<u32>, Vec<u32>) = all.partition(|&row| half(row) == Split::Calibration);
        table.order_by_cost(&calibration);
        let group_names: Vec<String> = {
            let mut names = vec![String::new(); table.groups];
            for (row, &group) in table.group.iter().enumerate() {
                names[group as usize].clone_from(&groups[table.log_row[row] as usize]);
            }
            names
        };
        let folds = crossfit::folds(&table, &calibration, &group_names, split);
        let budgets = Budgets::new(&table, &calibration);
        let settings = FitSettings::default();
        let pool = Pool {
            table: &table,
            log: &log,
            settings: &settings,
            limits: &Limits::default(),
            threads: options.threads,
        };
        let area = |family: Family, known: Option<&RouterFit>| -> Result<Option<f64>, Box<dyn Error>> {
            let Some(fitted) = families::fit(&pool, family, &calibration, &folds, known) else {
                return Ok(None);
            };
            Ok(Some(curves::measure(&*fitted, &log, &table, &test, &budgets)?.area_hull))
        };
        let single = area(Family::Single, None)?.unwrap_or_default();
        let start = Instant::now();
        let data =
            Data { table: &table, log: &log, rows: &calibration, folds: &folds, threads: options.threads };
        let family = RouterFamily::new(&table, &calibration, RouterFit::new(&data));
        fit_seconds += start.elapsed().as_secs_f64();
        let routed = curves::measure(&family, &log, &table, &test, &budgets)?.area_hull;
        gains.entry(Family::Router).or_default().push(100.0 * (routed - single));
        let fit = family.fit();
        for &family in options.families.iter().filter(|family| **family != Family::Router) {
            let start = Instant::now();
            if let Some(area) = area(family, Some(fit))? {
                gains.entry(family).or_default().push(100.0 * (area - single));
                *seconds.entry(family).or_insert(0.0) += start.elapsed().as_secs_f64();
            }
        }
        cost_r2 += fit.choice.cost.iter().filter(|basis| **basis as usize > 0).count();
        *choices.entry(format!("{:?} C={}", fit.choice.basis, fit.choice.strength)).or_default() += 1;
        if split == 0 {
            tier_names = table.tiers.iter().map(|tier| tier.name.clone()).collect();
            println!("{}: {} calibration, {} test rows", options.path, calibration.len(), test.len());
            for trial in &fit.trials {
                println!(
                    "  {:<10} C={:<4} log loss {:.5}",
                    format!("{:?}", trial.basis),
                    trial.strength,
                    trial.log_loss
                );
            }
        }
        let mut scratch = Scratch::default();
        let mut scored = vec![Vec::new(); table.tiers.len()];
        let start = Instant::now();
        for &row in &test {
            let entry = &log.rows[table.log_row[row as usize] as usize];
            let features: Vec<_> = entry.features.iter().map(|(name, value)| (&**name, *value)).collect();
            let tags: Vec<_> = entry.tags.iter().map(|(name, value)| (&**name, &**value)).collect();
            let view = RequestView {
                text: entry.text.as_deref().unwrap_or(""),
                features: &features,
                tags: &tags,
                embedding: log
                    .embeddings
                    .as_ref()
                    .and_then(|all| all.get(table.log_row[row as usize] as usize)),
                ..RequestView::default()
            };
            let predictions =
                fit.router.predict(&view, &mut scratch).map_err(|missing| missing.to_string())?;
            for (tier, &log_odds) in predictions.log_odds.iter().enumerate() {
                let good = table.tiers[tier].quality[row as usize] * 2
                    > cascade_sdk_core::fit::rows::table::QUALITY_ONE;
                scored[tier].push((log_odds, good));
            }
        }
        if let [_, strong] = &*table.tiers {
            let weak = &table.tiers[0];
            let gain = |row: u32| (strong.quality[row as usize] - weak.quality[row as usize]) as f64;
            let predicted = |at: usize| sigmoid(scored[1][at].0) - sigmoid(scored[0][at].0);
            let gains = test.iter().enumerate().map(|(at, &row)| (predicted(at), gain(row))).collect();
            calls.extend(strong_calls(gains));
        }
        decision_us += start.elapsed().as_secs_f64() * 1e6 / test.len().max(1) as f64;
        aurocs.push(scored.iter().map(|scored| auroc(scored)).collect());
    }
    let n = splits as f64;
    if !calls.is_empty() {
        let mean = |at: usize| calls.iter().map(|figures| figures[at]).sum::<f64>() / calls.len() as f64;
        println!(
            "  strong calls for 50 % of the gap {:.1} %, for 80 % {:.1} %; mean share of the gap recovered {:.3}",
            100.0 * mean(0),
            100.0 * mean(1),
            mean(2)
        );
    }
    for (tier, name) in tier_names.iter().enumerate() {
        println!("  AUROC {:.3}  {name}", aurocs.iter().map(|auroc| auroc[tier]).sum::<f64>() / n);
    }
    println!("  chosen {choices:?}; costs predicted {cost_r2}");
    println!("  fit {:.2} s, decision {:.1} us (mean over test rows)", fit_seconds / n, decision_us / n);
    for (family, mut gains) in gains {
        gains.sort_by(f64::total_cmp);
        let mean = gains.iter().sum::<f64>() / gains.len() as f64;
        let at = |share: f64| gains[((gains.len() - 1) as f64 * share).round() as usize];
        let seconds = seconds.get(&family).map_or(String::new(), |sum| format!("  {:.2} s", sum / n));
        println!("  {:<14} {mean:+.2} [{:+.2}, {:+.2}]{seconds}", family.name(), at(0.1), at(0.9));
    }
    Ok(())
}
