//! A routing decision on the largest router there is: no allocation after the first request, bounded in size, and a plan
//! for every prompt.

use cascade_sdk_core::decide::{Decision, Observation, judge};
use cascade_sdk_core::early::Watch;
use cascade_sdk_core::feature::text::Affix;
use cascade_sdk_core::feature::{
    CostHead, Heads, Inputs, NumberInput, RequestView, Router, SURFACE_STATISTICS, Scratch, Standard,
    TagInput, TextInput, choose_plan,
};
use cascade_sdk_core::policy::{
    AcceptRule, Cut, Forecast, Linear, Plan, PrefixCut, Rules, Score, ScoreInput, ScoreSource, Stage, Stop,
    Term,
};
use cascade_sdk_core::signal::TokenLogprob;

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

/// The same with plans of several stages, whose scores read signals and the router's predictions, and which give answers up by
/// their first tokens.
fn routed_cascade() -> Rules {
    let mut rules = rules();
    rules.signals = vec!["mean_logprob".into(), "min_logprob".into(), "mean_margin".into()];
    let term = |input, weight| Term { input, knots: vec![(-2.0, -1.0), (-0.5, 0.0), (0.0, 1.0)], weight };
    let terms = vec![
        term(ScoreInput::Signal(0), 2.0),
        term(ScoreInput::Signal(2), 0.5),
        term(ScoreInput::Prediction(0), 0.3),
    ];
    let score = |tier: usize, per_cost_of: Option<usize>| Score {
        name: format!("score {tier}"),
        tier,
        intercept: 0.2,
        terms: terms.clone(),
        per_cost_of,
    };
    rules.scores = vec![score(0, None), score(1, Some(4))];
    let linear =
        |weight: f64| Linear { constant: 0.5, log_odds: vec![weight; TIERS], cost_usd: vec![weight; TIERS] };
    for first in 0..2 {
        let rule = AcceptRule { score: ScoreSource::Score(first), at_least: Cut([0.6, 1e3][first]) };
        let second = AcceptRule { score: ScoreSource::Signal(1), at_least: Cut(-1.0) };
        let mut plan = Plan::new(vec![
            Stage { tier: first, rule: Some(rule) },
            Stage { tier: 2, rule: Some(second) },
            Stage { tier: 4, rule: None },
        ]);
        plan.forecast = Some(Forecast { quality: linear(0.01), cost_usd: linear(0.1) });
        let cuts = [4, 8, 16].map(|after| PrefixCut { after, below: -1e9 });
        plan.stops.insert(0, Stop { most_tokens: Some(512), cuts: cuts.to_vec() });
        plan.stops.insert(1, Stop { most_tokens: Some(512), cuts: cuts.to_vec() });
        rules.plans.push(plan);
    }
    rules
}

#[test]
fn plans_of_several_stages_are_chosen_judged_and_watched_without_allocating() {
    let rules = routed_cascade();
    let mut scratch = Scratch::default();
    assert!(
        choose_plan(&rules, &view("a longer request that makes room for all the others"), &mut scratch)
            .is_ok()
    );
    let bytes: Box<[u8]> = (*b"token").into();
    let token = |at: u32| {
        let logprob = -0.01 * f64::from(at % 7);
        TokenLogprob { bytes: Some(bytes.clone()), logprob, alternatives: vec![logprob, -4.0, -5.0] }
    };
    let tokens: Vec<_> = (0..64).map(token).collect();
    for text in ["", "A question?", "a longer request"] {
        let counted = allocation_counter::measure(|| {
            assert!(choose_plan(&rules, &view(text), &mut scratch).is_ok());
        });
        assert_eq!(counted.count_total, 0, "{text}");
        for (plan, stage) in (TIERS..TIERS + 2).flat_map(|plan| [(plan, 0), (plan, 1), (plan, 2)]) {
            let predictions = Some(scratch.predictions());
            let seen = Observation { failed: false, signals: &[-0.4, -1.5, 0.7], predictions };
            let mut decision = Decision::Fail;
            let counted = allocation_counter::measure(|| decision = judge(&rules, plan, stage, &seen));
            assert_eq!(counted.count_total, 0, "{plan} {stage}");
            assert_ne!(decision, Decision::Fail);
            // The space for running scores is made with the watch; no token needs more.
            let Some(mut watch) = Watch::new(&rules, plan, stage, predictions, None) else {
                assert_eq!(stage, 2);
                continue;
            };
            let mut given_up = None;
            let counted = allocation_counter::measure(|| {
                for token in &tokens {
                    given_up = given_up.or(watch.push(token));
                }
            });
            assert_eq!(counted.count_total, 0, "{plan} {stage}");
        }
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
