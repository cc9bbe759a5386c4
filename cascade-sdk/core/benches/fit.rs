//! Speed of the exact searches, in one run beside crate `ucci` 0.1 (isotonic calibration, 201 thresholds).
//!
//! `cargo bench -p cascade-sdk-core --features fit --bench fit -- [pair] [decide] [chain] [growth] [whole] [memory]`
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a program for people to read")]
#![allow(clippy::cast_possible_truncation, reason = "sizes and synthetic amounts are small")]

mod problem;
#[path = "problem/whole.rs"]
mod whole;

use cascade_sdk_core::decide::{Observation, judge};
use cascade_sdk_core::fit::chain::{Chains, FullChain};
use cascade_sdk_core::fit::frontier::operating::PolicyClass;
use cascade_sdk_core::fit::frontier::pair::{self, Pair, Pairs};
use cascade_sdk_core::fit::frontier::ranking::Ranking;
use cascade_sdk_core::fit::random::SplitMix64;
use cascade_sdk_core::policy::{AcceptRule, Cut, Plan, Rules, ScoreSource, Stage};
use problem::{THREADS, all_rows, milliseconds, synthetic};
use std::hint::black_box;
use std::time::Instant;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let runs: [(&str, fn()); 6] = [
        ("pair", two_tiers),
        ("decide", decisions),
        ("chain", chains),
        ("growth", growth),
        ("whole", whole::speed),
        ("memory", whole::memory),
    ];
    for (name, run) in runs {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            run();
            println!();
        }
    }
}

/// 100,000 rows, two tiers, one signal.
fn two_tiers() {
    let table = synthetic(100_000, 2, 1);
    let rows = all_rows(&table);
    let signal = &table.tiers[0].signals[0].value;
    let whole = milliseconds(21, || {
        let frontier =
            pair::frontier(&table, &Ranking::new(signal, &rows), Pair { cheap: 0, signal: 0, dear: 1 });
        frontier.len()
    });
    let single = table.single(0, &rows);
    let budget = single.cost * 4;
    let search = milliseconds(21, || Pairs::new(&table, &rows, 1).at_budget(budget).is_some());

    // The same rows for ucci: uncertainty in [0, 1], errors and scores as floats.
    let (low, high) = signal.iter().fold((f64::MAX, f64::MIN), |(low, high), &x| (low.min(x), high.max(x)));
    let uncertainty: Vec<f64> = signal.iter().map(|x| (high - x) / (high - low)).collect();
    let score = |tier: usize| -> Vec<f64> {
        table.tiers[tier].quality.iter().map(|&quality| f64::from(u8::from(quality > 0))).collect()
    };
    let (small, large) = (score(0), score(1));
    let errors: Vec<f64> = small.iter().map(|score| 1.0 - score).collect();
    let costs = ucci::Costs::paper();
    let grid = ucci::default_grid();
    let calibrate = || ucci::IsotonicCalibrator::fit(&uncertainty, &errors).expect("valid");
    let calibrator = calibrate();
    let predicted = calibrator.predict_many(&uncertainty).expect("valid");
    let sweep =
        || ucci::select_threshold_for_budget(&predicted, &small, &large, 2.0, &costs, &grid).expect("valid");
    let select = milliseconds(21, sweep);
    let fit = milliseconds(9, || {
        let predicted = calibrate().predict_many(&uncertainty).expect("valid");
        ucci::select_threshold_for_budget(&predicted, &small, &large, 2.0, &costs, &grid).expect("valid")
    });
    println!("two tiers, 100,000 rows, one thread             ms   / ucci fit  / its grid alone");
    for (what, time) in [
        ("exact frontier, every cut", whole),
        ("exact search class (staircase, hull, budget)", search),
        ("ucci: calibrate, predict, 201 thresholds", fit),
        ("ucci: 201 thresholds alone", select),
    ] {
        println!("{what:<45} {time:>6.2} {:>10.2} {:>10.2}", time / fit, time / select);
    }
}

/// One threshold decision.
fn decisions() {
    let rules = Rules {
        tiers: vec!["small".into(), "large".into()],
        signals: vec!["mean_margin".into()],
        scores: Vec::new(),
        plans: vec![Plan::new(vec![
            Stage { tier: 0, rule: Some(AcceptRule { score: ScoreSource::Signal(0), at_least: Cut(0.4) }) },
            Stage { tier: 1, rule: None },
        ])],
        router: None,
        guard: None,
        abstention: None,
        mixture: None,
    };
    let mut random = SplitMix64::new(1, 0);
    let signals: Vec<[f64; 1]> = (0..100_000).map(|_| [random.fraction()]).collect();
    let ours = milliseconds(21, || {
        signals
            .iter()
            .filter(|signals| {
                let seen = Observation { failed: false, signals: &signals[..], predictions: None };
                matches!(
                    judge(black_box(&rules), 0, 0, &seen),
                    cascade_sdk_core::decide::Decision::Accept { .. }
                )
            })
            .count()
    }) * 10.0;
    let threshold = milliseconds(21, || {
        signals.iter().filter(|signals| ucci::escalate(signals[0], black_box(0.4)).unwrap_or(true)).count()
    }) * 10.0;
    let calibrator =
        ucci::IsotonicCalibrator::fit(&[0.1, 0.3, 0.6, 0.9], &[0.0, 0.0, 1.0, 1.0]).expect("valid");
    let router = ucci::Router::new(calibrator, 0.4, ucci::Costs::paper()).expect("valid");
    let routed = milliseconds(21, || {
        signals.iter().filter(|signals| black_box(&router).escalate(signals[0]).unwrap_or(true)).count()
    }) * 10.0;
    println!("one threshold decision                          ns   / ucci router");
    for (what, time) in
        [("judge", ours), ("ucci::Router::escalate", routed), ("ucci::escalate, bare comparison", threshold)]
    {
        println!("{what:<45} {time:>6.2} {:>10.2}", time / routed);
    }
}

/// Chains of up to three stages.
fn chains() {
    println!("chains of up to three stages, two threads       ms  vertices  loss bound");
    for (rows, tiers, signals) in
        [(2_000, 8, 1), (2_000, 8, 3), (20_000, 5, 1), (100_000, 5, 1), (100_000, 5, 2)]
    {
        let table = synthetic(rows, tiers, signals);
        let all = all_rows(&table);
        let start = Instant::now();
        let class = Chains::new(&table, &all, 3, THREADS);
        let time = start.elapsed().as_secs_f64() * 1e3;
        println!(
            "new, {rows:>7} rows × {tiers} tiers × {signals} signals {time:>14.1} {:>9} {:>11.6}",
            class.hull().len(),
            class.quantile_loss()
        );
        let start = Instant::now();
        let (low, high) = (class.hull()[0].totals.cost, class.hull()[class.hull().len() - 1].totals.cost);
        for step in 1..=20 {
            black_box(class.at_budget(low + (high - low) * step / 20));
        }
        let time = start.elapsed().as_secs_f64() * 1e3;
        println!("    20 budgets {time:>31.1}");
        let start = Instant::now();
        black_box(FullChain::new(&table, &all, THREADS).hull().len());
        println!("    full chain {:>31.1}", start.elapsed().as_secs_f64() * 1e3);
    }
}

/// Growth with the number of rows, five tiers, beside sorting the rows by four signals: an n log n yardstick that meets
/// the same caches.
fn growth() {
    println!("growth, five tiers, one signal, two threads       ms  / sorting by four signals");
    for rows in [1_000, 10_000, 100_000, 1_000_000] {
        let table = synthetic(rows, 5, 1);
        let all = all_rows(&table);
        let runs = if rows > 100_000 { 1 } else { 3 };
        let sort = milliseconds(runs, || {
            let by = |tier: usize| {
                let scores = &table.tiers[tier].signals[0].value;
                let mut order = all.clone();
                order.sort_unstable_by(|&a, &b| scores[a as usize].total_cmp(&scores[b as usize]));
                order[0]
            };
            (0..4).map(by).max()
        });
        let pairs = milliseconds(runs, || Pairs::new(&table, &all, THREADS).hull().len());
        let chains = milliseconds(runs, || Chains::new(&table, &all, 3, THREADS).hull().len());
        println!("{rows:>9} rows: sorting {sort:>29.1}");
        println!("{:>9}       pairs {pairs:>31.1} {:>10.2}", "", pairs / sort);
        println!("{:>9}       chains of up to three {chains:>15.1} {:>10.2}", "", chains / sort);
    }
}
