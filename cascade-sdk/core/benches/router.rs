//! Time of a routing decision between five tiers, on one core: prompts of 100 B, 1 kB, 10 kB and 10 MB.
//!
//! `cargo bench -p cascade-sdk-core --bench router` prints the least and the median of many decisions, beside the time of
//! looking at every byte of the same prompt once.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use cascade_sdk_core::feature::text::Affix;
use cascade_sdk_core::feature::{
    CostHead, Heads, Inputs, RequestView, Router, SURFACE_STATISTICS, Scratch, Standard, TextInput,
    choose_plan,
};
use cascade_sdk_core::policy::{Plan, Rules, Stage};
use std::hint::black_box;
use std::time::Instant;

const TIERS: usize = 5;

const WORDS: [&str; 24] = [
    "the", "model", "of", "request", "which", "cascade", "answers", "(12)", "a", "question", "about",
    "Prices", "and", "tokens,", "for", "every", "call", "to", "large", "language", "models.", "Is", "that",
    "right?",
];

fn rules() -> Rules {
    let text = TextInput {
        prefix: Affix::default(),
        suffix: Affix::default(),
        surface: vec![Standard { mean: 0.5, deviation: 0.7 }; SURFACE_STATISTICS],
        hashed: true,
    };
    let inputs = Inputs { text: Some(text), ..Inputs::default() };
    let cost = |tier: usize| CostHead { base: 1e-5 * (tier + 1) as f64, high: 1.0, ..CostHead::default() };
    let heads = Heads {
        embedding: Vec::new(),
        intercept: vec![0.1; TIERS],
        dense: vec![0.01; inputs.dense_len() * TIERS],
        hashed: (0..inputs.hashed_len() * TIERS).map(|at| i8::try_from(at % 128).unwrap_or(0)).collect(),
        step: vec![0.01; TIERS],
        cost: (0..TIERS).map(cost).collect(),
    };
    Rules {
        tiers: (0..TIERS).map(|tier| format!("t{tier}")).collect(),
        plans: (0..TIERS).map(|tier| Plan::new(vec![Stage { tier, rule: None }])).collect(),
        router: Some(Router { shadow_price: 100.0, inputs, heads, awaits: None }),
        ..Rules::default()
    }
}

/// Words in an order that does not repeat soon, so that n-grams vary as in a text.
fn prompt(bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 16);
    let mut at = 1_usize;
    while text.len() < bytes {
        at = at * 1_103 % 65_537;
        text.push_str(WORDS[at % WORDS.len()]);
        text.push_str(if at.is_multiple_of(11) { "\n" } else { " " });
        if at.is_multiple_of(5) {
            text.push_str(&at.to_string());
        }
    }
    text.truncate(bytes);
    text
}

/// Least and median, in microseconds.
fn microseconds(runs: usize, mut work: impl FnMut()) -> (f64, f64) {
    let mut times: Vec<f64> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    (times[0], times[runs / 2])
}

fn main() {
    let rules = rules();
    let mut scratch = Scratch::default();
    println!("prompt       decision (us): least  median   every byte once (us): least");
    for (name, bytes, runs) in
        [("100 B", 100, 5_000), ("1 kB", 1_000, 5_000), ("10 kB", 10_000, 1_000), ("10 MB", 10_000_000, 20)]
    {
        let text = prompt(bytes);
        let view = RequestView { text: &text, ..RequestView::default() };
        let (least, median) = microseconds(runs, || {
            let _ = black_box(choose_plan(&rules, black_box(&view), &mut scratch));
        });
        let (bare, _) = microseconds(runs, || {
            black_box(
                black_box(text.as_bytes())
                    .iter()
                    .fold(0_u64, |sum, &byte| sum.wrapping_mul(31) + u64::from(byte)),
            );
        });
        println!("{name:<12} {least:>20.2} {median:>7.2} {bare:>28.2}");
    }
}
