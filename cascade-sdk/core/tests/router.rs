//! A routing decision on the largest router there is: no allocation after the first request, bounded in size, and a plan
//! for every prompt.

use cascade_sdk_core::feature::text::Affix;
use cascade_sdk_core::feature::{
    CostHead, Heads, Inputs, NumberInput, RequestView, Router, SURFACE_STATISTICS, Scratch, Standard,
    TagInput, TextInput, choose_plan,
};
use cascade_sdk_core::policy::{Plan, Rules, Stage};

const TIERS: usize = 5;

/// Five tiers, every hashed input in use, a number and a label.
fn rules() -> Rules {
    let inputs = Inputs {
        embedding: None,
        text: Some(TextInput {
            prefix: Affix::of("Question: "),
            suffix: Affix::of("\nAnswer:"),
            surface: vec![Standard { mean: 0.5, deviation: 0.7 }; SURFACE_STATISTICS],
            hashed: true,
        }),
        numbers: vec![NumberInput { name: "age".into(), standard: Standard { mean: 3.0, deviation: 2.0 } }],
        tags: vec![TagInput {
            name: "kind".into(),
            levels: (0..100).map(|level| format!("k{level:03}")).collect(),
        }],
    };
    let wave = |at: usize| f32::from(u8::try_from(at * 7919 % 211).unwrap_or(0)) / 105.0 - 1.0;
    let cost = |tier: usize| CostHead {
        base: 1e-5 * (tier + 1) as f64,
        per_byte: 1e-9,
        dense: vec![1e-7; inputs.dense_len()],
        low: 0.0,
        high: 1e-3,
    };
    let heads = Heads {
        embedding: Vec::new(),
        intercept: vec![0.1; TIERS],
        dense: (0..inputs.dense_len() * TIERS).map(wave).collect(),
        hashed: (0..inputs.hashed_len() * TIERS)
            .map(|at| i8::try_from(at % 255).unwrap_or(-7).max(1))
            .collect(),
        step: vec![0.01; TIERS],
        cost: (0..TIERS).map(cost).collect(),
    };
    let plan = |tier| Plan::new(vec![Stage { tier, rule: None }]);
    Rules {
        tiers: (0..TIERS).map(|tier| format!("t{tier}")).collect(),
        plans: (0..TIERS).map(plan).collect(),
        router: Some(Router { shadow_price: 100.0, inputs, heads, awaits: None }),
        ..Rules::default()
    }
}

fn view(text: &str) -> RequestView<'_> {
    RequestView { text, features: &[("age", 4.0)], tags: &[("kind", "k042")], ..RequestView::default() }
}

#[test]
fn a_decision_allocates_nothing_once_the_scratch_has_served_a_request() {
    let rules = rules();
    let mut scratch = Scratch::default();
    let words: Vec<String> = (0..3_000).map(|word| format!("Word{word} (and {}), ", word * 31)).collect();
    let long = words.concat();
    // Lazily made tables and buffers of the largest size.
    assert!(choose_plan(&rules, &view(&long), &mut scratch).is_ok());
    for text in ["", "A question?", &long[..1_000], &long[..10_000], &long, "\u{0}\u{feff}漢字 שלום"] {
        let counted = allocation_counter::measure(|| {
            assert!(choose_plan(&rules, &view(text), &mut scratch).is_ok());
        });
        assert_eq!(counted.count_total, 0, "{} bytes", text.len());
    }
}

#[test]
fn weights_of_five_tiers_stay_below_256_kb() {
    let router = rules().router.unwrap_or_default();
    let size = router.sidecar().map_or(0, |sidecar| sidecar.bytes.len());
    assert!(size > 100_000, "{size}: all hashed inputs are in use");
    assert!(size < 250_000, "{size}");
}

#[test]
fn ten_megabytes_of_anything_give_a_plan_and_read_a_window() {
    let rules = rules();
    let mut scratch = Scratch::default();
    for unit in
        ["a", "\u{0}", "\u{1}\u{7f}", "שלום ", "\u{202e}abc", "\u{fffd}", "a b ", "\n", "((", "漢", "😀"]
    {
        let text = unit.repeat(10_000_000 / unit.len());
        let plan = choose_plan(&rules, &view(&text), &mut scratch);
        assert!(plan.is_ok_and(|plan| plan < TIERS), "{unit:?}");
        assert!(scratch.predictions().log_odds.iter().all(|value| value.is_finite()), "{unit:?}");
    }
}
