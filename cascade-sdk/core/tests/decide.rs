//! The decision function allocates nothing and never panics, whatever its inputs (DESIGN.md 9, 8).

use cascade_sdk_core::decide::{Decision, Observation, Why, judge};
use cascade_sdk_core::feature::Predictions;
use cascade_sdk_core::policy::{
    AbstainRule, AcceptRule, Cut, Plan, Rules, Score, ScoreInput, ScoreSource, Stage, Term,
};
use proptest::prelude::*;

/// Numbers of all kinds.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -2.0..2.0,
        1 => prop::sample::select(vec![
            f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, f64::MAX, f64::MIN, f64::MIN_POSITIVE,
        ]),
    ]
}

/// Indices that may lie outside of what they point into.
fn index() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 0_usize..3, 1 => Just(usize::MAX)]
}

fn term() -> impl Strategy<Value = Term> {
    let input = prop_oneof![index().prop_map(ScoreInput::Signal), index().prop_map(ScoreInput::Prediction)];
    let knots = prop::collection::vec((number(), number()), 0..4);
    (input, knots, number()).prop_map(|(input, knots, weight)| Term { input, knots, weight })
}

fn score() -> impl Strategy<Value = Score> {
    let terms = prop::collection::vec(term(), 0..3);
    (index(), number(), terms, prop::option::of(index())).prop_map(|(tier, intercept, terms, per_cost_of)| {
        Score { name: "s".into(), tier, intercept, terms, per_cost_of }
    })
}

fn stage() -> impl Strategy<Value = Stage> {
    let source = prop_oneof![index().prop_map(ScoreSource::Signal), index().prop_map(ScoreSource::Score)];
    let rule = (source, number()).prop_map(|(score, cut)| AcceptRule { score, at_least: Cut(cut) });
    (index(), prop::option::of(rule)).prop_map(|(tier, rule)| Stage { tier, rule })
}

fn rules() -> impl Strategy<Value = Rules> {
    let below = (index().prop_map(ScoreSource::Signal), number());
    let below = below.prop_map(|(score, below)| AbstainRule { score, below });
    let abstain = prop::collection::vec(prop::option::of(below), 0..4);
    let plan = (prop::collection::vec(stage(), 0..4), abstain)
        .prop_map(|(stages, abstain)| Plan { abstain, ..Plan::new(stages) });
    let plans = prop::collection::vec(plan, 0..3);
    (plans, prop::collection::vec(score(), 0..3)).prop_map(|(plans, scores)| Rules {
        tiers: vec!["a".into(), "b".into(), "c".into()],
        signals: vec!["x".into(), "y".into()],
        scores,
        plans,
        router: None,
        guard: None,
        abstention: Some(0.5),
        mixture: None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_decision_allocates_nothing_and_never_panics(
        rules in rules(),
        signals in prop::collection::vec(number(), 0..3),
        predictions in prop::option::of(prop::collection::vec((number(), number()), 0..4)),
        failed in any::<bool>(),
        (plan, stage) in (index(), index()),
    ) {
        let predictions = predictions.map(|pairs| {
            let (log_odds, cost_usd) = pairs.into_iter().unzip();
            Predictions { log_odds, cost_usd }
        });
        let seen = Observation { failed, signals: &signals, predictions: predictions.as_ref() };
        let mut decision = Decision::Fail;
        let counted = allocation_counter::measure(|| decision = judge(&rules, plan, stage, &seen));
        prop_assert_eq!(counted.count_total, 0);
        let rule = rules.plans.get(plan).and_then(|plan| plan.stages.get(stage)).and_then(|stage| stage.rule);
        match decision {
            // What is kept by its score reaches the threshold; NaN never does.
            Decision::Accept { score: Some(score) } => prop_assert!(rule.is_some_and(|rule| score >= rule.at_least.0)),
            Decision::Accept { score: None } => prop_assert!(rule.is_none_or(|rule| rule.at_least == Cut::KEEP_ALL)),
            // A threshold that is not a number, which no policy file can hold, keeps nothing.
            Decision::Escalate(Why::BelowThreshold { score, at_least }) => {
                prop_assert!(score < at_least || at_least.is_nan());
            }
            // A missing score never abstains.
            Decision::Abstain { score, below } => prop_assert!(score < below),
            _ => {}
        }
        let decided_by_score = matches!(decision, Decision::Accept { .. } | Decision::Abstain { .. });
        prop_assert!(!(failed && decided_by_score));
    }

    /// Raising a threshold never keeps more.
    #[test]
    fn a_higher_threshold_keeps_no_more(score in number(), low in -2.0..2.0, more in 0.0..2.0) {
        let keeps = |at_least: f64| {
            let rule = AcceptRule { score: ScoreSource::Signal(0), at_least: Cut(at_least) };
            let stages = vec![Stage { tier: 0, rule: Some(rule) }, Stage { tier: 1, rule: None }];
            let rules = Rules { plans: vec![Plan::new(stages)], ..Rules::default() };
            let seen = Observation { signals: &[score], ..Observation::default() };
            matches!(judge(&rules, 0, 0, &seen), Decision::Accept { .. })
        };
        prop_assert!(keeps(low) || !keeps(low + more));
        prop_assert!(keeps(f64::NEG_INFINITY) && !keeps(f64::INFINITY));
    }
}
