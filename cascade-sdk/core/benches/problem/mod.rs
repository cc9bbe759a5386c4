//! What the benchmarks share: synthetic logs and a stopwatch.
#![allow(dead_code, reason = "each benchmark uses a part")]
#![allow(clippy::cast_possible_truncation, reason = "sizes and synthetic amounts are small")]

use cascade_sdk_core::fit::random::SplitMix64;
use cascade_sdk_core::fit::rows::table::{QUALITY_ONE, SignalData, Table, TierData};
use std::hint::black_box;
use std::time::Instant;

pub(crate) const THREADS: usize = 2;

/// Least time of `runs` calls, in milliseconds.
pub(crate) fn milliseconds<T>(runs: usize, mut work: impl FnMut() -> T) -> f64 {
    (0..runs)
        .map(|_| {
            let start = Instant::now();
            black_box(work());
            start.elapsed().as_secs_f64() * 1e3
        })
        .fold(f64::INFINITY, f64::min)
}

/// 0/1 answers to questions of varying difficulty; dearer tiers know more, and each is unsure where it is near its
/// limit. Costs vary with the length of the answer.
pub(crate) fn synthetic(rows: usize, tiers: usize, signals: usize) -> Table {
    let mut random = SplitMix64::new(42, rows as u64);
    let bell = |random: &mut SplitMix64| (0..6).map(|_| random.fraction() - 0.5).sum::<f64>();
    let difficulty: Vec<f64> = (0..rows).map(|_| bell(&mut random)).collect();
    let tiers = (0_i32..)
        .take(tiers)
        .map(|tier| {
            let skill = f64::from(tier) * 0.35 - 0.3;
            let margin: Vec<f64> =
                difficulty.iter().map(|level| skill - level + 0.6 * bell(&mut random)).collect();
            let price = 4.0_f64.powi(tier) * 25_000.0;
            TierData {
                name: format!("tier{tier}"),
                quality: margin.iter().map(|&margin| if margin > 0.0 { QUALITY_ONE } else { 0 }).collect(),
                cost: (0..rows)
                    .map(|_| ((40.0 + 200.0 * random.fraction()).floor() * price) as i64)
                    .collect(),
                failed: vec![false; rows],
                latency_ms: vec![0.0; rows],
                signals: (0..signals)
                    .map(|signal| SignalData {
                        name: format!("signal{signal}"),
                        value: margin
                            .iter()
                            .map(|margin| margin + (0.4 + 0.3 * signal as f64) * bell(&mut random))
                            .collect(),
                        cost: Vec::new(),
                        combined: None,
                    })
                    .collect(),
            }
        })
        .collect();
    Table {
        tiers,
        log_row: (0..rows as u32).collect(),
        group: (0..rows as u32).collect(),
        groups: rows,
        weight: vec![1; rows],
        embedding_cost: Vec::new(),
        embedding_latency_ms: Vec::new(),
    }
}

pub(crate) fn all_rows(table: &Table) -> Vec<u32> {
    (0..table.len() as u32).collect()
}
