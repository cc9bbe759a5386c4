use super::*;
use crate::policy::{Plan, Stage};
use text::{Affix, BUCKETS, HEAD_BYTES, TAIL_BYTES, window};

fn text_inputs() -> Inputs {
    Inputs {
        text: Some(TextInput {
            prefix: Affix::of("Question: "),
            suffix: Affix::of("\nAnswer:"),
            surface: vec![Standard { mean: 0.5, deviation: 0.7 }; SURFACE_STATISTICS],
            hashed: true,
        }),
        ..Inputs::default()
    }
}

/// Weights without structure, the same in every run.
fn router(inputs: Inputs, tiers: usize) -> Router {
    let wave = |at: usize| ((at * 7919 % 211) as f32 - 105.0) / 105.0;
    Router {
        shadow_price: 100.0,
        heads: Heads {
            embedding: (0..inputs.embedding_len() * tiers).map(wave).collect(),
            intercept: vec![0.1; tiers],
            dense: (0..inputs.dense_len() * tiers).map(wave).collect(),
            hashed: (0..inputs.hashed_len() * tiers).map(|at| (wave(at) * 127.0) as i8).collect(),
            step: vec![0.01; tiers],
            cost: (0..tiers)
                .map(|tier| CostHead {
                    base: 1e-5 * (tier + 1) as f64,
                    per_byte: 1e-9,
                    dense: Vec::new(),
                    low: 0.0,
                    high: 1e-3,
                })
                .collect(),
        },
        inputs,
        awaits: None,
    }
}

fn rules(router: Router) -> Rules {
    let tiers = router.heads.tiers();
    Rules {
        tiers: (0..tiers).map(|tier| format!("t{tier}")).collect(),
        plans: (0..tiers).map(|tier| Plan::new(vec![Stage { tier, rule: None }])).collect(),
        router: Some(router),
        ..Rules::default()
    }
}

fn adversarial() -> Vec<String> {
    let mut prompts: Vec<String> = [
        "",
        " ",
        "\0",
        "?",
        "\u{feff}\u{202e}abc\u{202c}",
        "\u{fffd}\u{fffd}\u{fffd}",
        "شكرا على المساعدة؟",
        "Ελληνικά и русский 日本語のテキスト",
        "👩‍👩‍👧‍👦🇩🇪",
        "a\r\nb\r\n\r\nc",
        "Question: \nAnswer:",
        "Question: ",
        "\nAnswer:",
    ]
    .map(str::to_owned)
    .into();
    prompts.push((0..32_u8).map(char::from).collect());
    for unit in ["x", "ä", "漢", "😀", "\n", " ", "1", "a ", "\u{300}", "((", "A. b\n"] {
        prompts.push(unit.repeat(HEAD_BYTES + 7));
    }
    prompts
}

#[test]
fn any_prompt_gives_finite_predictions_and_a_plan() {
    let rules = rules(router(text_inputs(), 5));
    let mut scratch = Scratch::default();
    for prompt in adversarial() {
        let view = RequestView { text: &prompt, ..RequestView::default() };
        let plan = choose_plan(&rules, &view, &mut scratch).unwrap();
        assert!(plan < 5);
        assert!(scratch.predictions().log_odds.iter().all(|value| value.is_finite()), "{prompt:.20}");
        let encoded = scratch.encoded();
        assert_eq!(encoded.dense.len(), SURFACE_STATISTICS);
        for block in [0..BUCKETS as u32, BUCKETS as u32..2 * BUCKETS as u32] {
            let square: f32 = encoded
                .sparse
                .iter()
                .filter(|(at, _)| block.contains(at))
                .map(|(_, value)| value * value)
                .sum();
            assert!(square == 0.0 || (square - 1.0).abs() < 1e-4, "{square}");
        }
    }
}

#[test]
fn only_the_window_of_a_long_prompt_matters_apart_from_its_length() {
    let long = |middle: &str| {
        let mut text = "start here ".repeat(HEAD_BYTES / 11 + 1);
        text.truncate(HEAD_BYTES);
        text + &middle.repeat(1_000_000) + &" the end?".repeat(TAIL_BYTES / 9 + 1)
    };
    let router = router(text_inputs(), 2);
    let mut scratch = Scratch::default();
    let mut predict = |text: &str| {
        router.predict(&RequestView { text, ..RequestView::default() }, &mut scratch).unwrap().clone()
    };
    let (a, b) = (long("x y z w v"), long("123456789"));
    assert_eq!(a.len(), b.len());
    assert!(a.len() > 9_000_000);
    assert_eq!(predict(&a), predict(&b));
}

#[test]
fn windows_keep_characters_whole() {
    for unit in ["ä", "漢", "😀"] {
        for lead in ["", "a", "ab", "abc"] {
            let text = lead.to_owned() + &unit.repeat(20_000);
            let [head, tail] = window(&text);
            assert!(head.len() <= HEAD_BYTES && tail.len() <= TAIL_BYTES + 3);
            assert!(text.starts_with(head) && text.ends_with(tail));
        }
    }
    assert_eq!(window("short"), ["short", ""]);
}

#[test]
fn shared_parts_change_nothing_but_are_taken_off_only_where_they_stand() {
    let router = router(text_inputs(), 3);
    let mut scratch = Scratch::default();
    let mut predict = |text: &str| {
        router.predict(&RequestView { text, ..RequestView::default() }, &mut scratch).unwrap().clone()
    };
    let bare = predict("What is 17 times 3?");
    assert_eq!(predict("Question: What is 17 times 3?\nAnswer:"), bare);
    assert_eq!(predict("Question: What is 17 times 3?"), bare);
    assert_ne!(predict("Quest1on: What is 17 times 3?"), bare);
}

#[test]
fn a_second_request_of_the_same_size_needs_no_memory() {
    let router = router(text_inputs(), 5);
    let mut scratch = Scratch::default();
    let sizes = |text: &str, scratch: &mut Scratch| {
        router.predict(&RequestView { text, ..RequestView::default() }, scratch).unwrap();
        scratch.capacities()
    };
    let long = "Some words, 42 of them; not all alike. ".repeat(400);
    let warm = sizes(&long, &mut scratch);
    for text in ["", "hello world", &long] {
        assert_eq!(sizes(text, &mut scratch), warm);
    }
}

#[test]
fn what_one_request_leaves_behind_does_not_reach_the_next() {
    let router = router(text_inputs(), 4);
    let predict = |text: &str, scratch: &mut Scratch| {
        router.predict(&RequestView { text, ..RequestView::default() }, scratch).unwrap().clone()
    };
    let fresh = predict("A short question?", &mut Scratch::default());
    let mut used = Scratch::default();
    for prompt in adversarial() {
        predict(&prompt, &mut used);
    }
    assert_eq!(predict("A short question?", &mut used), fresh);
}

fn known_inputs() -> Inputs {
    Inputs {
        embedding: None,
        text: None,
        numbers: vec![NumberInput { name: "age".into(), standard: Standard { mean: 10.0, deviation: 2.0 } }],
        tags: vec![TagInput { name: "subject".into(), levels: vec!["law".into(), "maths".into()] }],
    }
}

#[test]
fn missing_inputs_are_named_and_unknown_labels_are_other() {
    let router = router(known_inputs(), 2);
    let mut scratch = Scratch::default();
    let mut predict = |features: &[(&str, f64)], tags: &[(&str, &str)]| {
        router.predict(&RequestView { features, tags, ..RequestView::default() }, &mut scratch).cloned()
    };
    assert_eq!(predict(&[], &[("subject", "law")]), Err(MissingInput::Feature("age".into())));
    assert_eq!(predict(&[("age", 1.0)], &[]), Err(MissingInput::Tag("subject".into())));
    let art = predict(&[("age", 9.0)], &[("subject", "art")]).unwrap();
    assert_eq!(art, predict(&[("age", 9.0)], &[("subject", "zoology")]).unwrap());
    assert_ne!(art, predict(&[("age", 9.0)], &[("subject", "law")]).unwrap());
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX] {
        let predictions = predict(&[("age", odd)], &[("subject", "law")]).unwrap();
        assert!(predictions.log_odds.iter().all(|value| value.is_finite()), "{odd}");
    }
    assert_eq!(router.inputs.dense_name(0), "age");
    assert_eq!(router.inputs.dense_name(2), "subject = maths");
    assert_eq!(router.inputs.dense_name(3), "subject = other");
}

#[test]
fn a_shadow_price_of_zero_takes_the_best_and_an_infinite_one_the_cheapest() {
    let mut rules = rules(router(text_inputs(), 5));
    let mut scratch = Scratch::default();
    for prompt in adversarial() {
        let view = RequestView { text: &prompt, ..RequestView::default() };
        for (price, expected) in [(f64::INFINITY, None), (f64::MAX, None), (0.0, Some(()))] {
            if let Some(router) = &mut rules.router {
                router.shadow_price = price;
            }
            let plan = choose_plan(&rules, &view, &mut scratch).unwrap();
            if expected.is_none() {
                assert_eq!(plan, 0, "tiers are ordered by cost");
            } else {
                let best = scratch.predictions().log_odds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                assert!(scratch.predictions().log_odds[plan] >= best);
            }
        }
    }
}

#[test]
fn damaged_heads_do_not_panic() {
    let mut broken = router(text_inputs(), 3);
    broken.heads.dense.truncate(5);
    broken.heads.hashed.truncate(100);
    broken.heads.step.clear();
    broken.heads.cost.truncate(1);
    broken.heads.cost[0].low = f64::NAN;
    let plan = choose_plan(
        &rules(broken),
        &RequestView { text: "a b c", ..RequestView::default() },
        &mut Scratch::default(),
    );
    assert!(plan.unwrap() < 3);
}

#[test]
fn without_a_router_the_first_plan_is_taken() {
    assert_eq!(choose_plan(&Rules::default(), &RequestView::default(), &mut Scratch::default()), Ok(0));
}

#[test]
fn contributions_add_up_to_the_prediction_and_name_words_only_where_asked() {
    let mut inputs = text_inputs();
    inputs.tags = known_inputs().tags;
    inputs.numbers = known_inputs().numbers;
    let router = router(inputs, 3);
    let text = "Question: Which secret court sits in Karlsruhe, and which in The Hague?\nAnswer:";
    let view = RequestView {
        text,
        features: &[("age", 11.0)],
        tags: &[("subject", "law")],
        ..RequestView::default()
    };
    let predictions = router.predict(&view, &mut Scratch::default()).unwrap().clone();
    for show_words in [false, true] {
        let parts = contributions(&router, &view, show_words).unwrap();
        for tier in 0..3 {
            let sum: f64 = parts.iter().map(|part| part.log_odds[tier]).sum();
            let expected = predictions.log_odds[tier] - router.heads.intercept[tier];
            assert!((sum - expected).abs() < 1e-4, "{sum} {expected}");
        }
        assert!(parts.is_sorted_by(|a, b| a.spread() >= b.spread()));
        let named = |name: &str| parts.iter().any(|part| part.input == name);
        assert!(named("subject = law") && !named("subject = maths") && named("age"));
        assert_eq!(named("`karlsruhe`") || named("`Karlsruhe`"), show_words);
        assert_eq!(named("words of the prompt"), !show_words);
    }
    let missing = contributions(&router, &RequestView { text, ..RequestView::default() }, true);
    assert_eq!(missing, Err(MissingInput::Feature("age".into())));
}

#[test]
fn contributions_of_odd_prompts_are_finite() {
    let router = router(text_inputs(), 2);
    for prompt in adversarial() {
        let view = RequestView { text: &prompt, ..RequestView::default() };
        for part in contributions(&router, &view, true).unwrap() {
            assert!(part.log_odds.iter().all(|value| value.is_finite()));
        }
    }
}

#[test]
fn changes_between_routers_are_said_in_words() {
    let tiers = ["small".to_owned(), "large".to_owned()];
    let old = router(known_inputs(), 2);
    let said = |new: &Router| changes(Some((&old, &tiers)), Some((new, &tiers)));
    assert_eq!(said(&old), Vec::<String>::new());
    let mut new = old.clone();
    new.shadow_price = 50.0;
    new.heads.dense[2] += 0.5;
    new.heads.intercept[1] = 1.0;
    new.heads.cost[0].base *= 2.0;
    assert_eq!(
        said(&new),
        [
            "the router weighs a dollar at 50.0 of quality instead of 100.0",
            "large: expected to be right 73 % of the time before anything is read, 52 % before",
            "subject = law counts -0.38 for small, -0.88 before",
            "small: a call with a prompt of 1 kB is expected to cost $2.10e-5 instead of $1.10e-5",
        ]
    );
    new.inputs.tags[0].levels = vec!["law".into(), "physics".into()];
    new.inputs.numbers[0].name = "weight".into();
    let lines = said(&new).join("\n");
    for expected in ["`physics`", "`maths` as other", "pass the feature `weight`", "`age` is no longer read"]
    {
        assert!(lines.contains(expected), "{expected}: {lines}");
    }
    let text = router(text_inputs(), 2);
    assert!(said(&text).iter().any(|line| line.contains("words and form of the prompt instead of nothing")));
    let mut words = text.clone();
    words.heads.hashed.iter_mut().step_by(2).for_each(|weight| *weight = -*weight);
    let lines = changes(Some((&text, &tiers)), Some((&words, &tiers)));
    assert!(
        lines.iter().all(|line| line.contains("weights of words agree")) && !lines.is_empty(),
        "{lines:?}"
    );
    assert!(changes(None, Some((&old, &tiers)))[0].contains("reads the feature `age`, the tag `subject`"));
    assert!(changes(Some((&old, &tiers)), None)[0].contains("is gone"));
    assert!(changes(None, None).is_empty());
}

fn embedded(dimensions: usize) -> Inputs {
    Inputs {
        embedding: Some(EmbeddingInput { model: "tiny".into(), dimensions, sha256: None }),
        ..Inputs::default()
    }
}

#[test]
fn an_embedding_counts_by_its_direction_and_zeros_say_nothing() {
    let router = router(embedded(3), 2);
    let mut scratch = Scratch::default();
    let mut predict = |vector: &[f32]| {
        let view = RequestView { embedding: Some(vector), ..RequestView::default() };
        router.predict(&view, &mut scratch).map(|predictions| predictions.log_odds.clone())
    };
    let once = predict(&[3.0, 0.0, 4.0]).unwrap();
    let weight = |at: usize| f64::from(router.heads.embedding[at]);
    for (tier, value) in once.iter().enumerate() {
        let expected = 0.1 + 0.6 * weight(tier) + 0.8 * weight(4 + tier);
        assert!((value - expected).abs() < 1e-6, "{value} {expected}");
    }
    // A power of two scales without rounding.
    assert_eq!(predict(&[24.0, 0.0, 32.0]).unwrap(), once);
    assert_eq!(predict(&[0.0; 3]).unwrap(), [0.1, 0.1]);
    assert!(predict(&[f32::MAX; 3]).unwrap().iter().all(|value| value.is_finite()));
    assert!(predict(&[f32::MIN_POSITIVE; 3]).unwrap().iter().all(|value| value.is_finite()));
}

#[test]
fn an_embedding_that_is_missing_or_of_another_kind_is_named() {
    let router = router(embedded(3), 2);
    let mut scratch = Scratch::default();
    let mut predict = |embedding: Option<&[f32]>| {
        let view = RequestView { text: "a", embedding, ..RequestView::default() };
        router.predict(&view, &mut scratch).map(|_| ())
    };
    assert_eq!(predict(None), Err(MissingInput::Embedding("tiny".into())));
    let length = |found| Err(MissingInput::EmbeddingLength { model: "tiny".into(), expected: 3, found });
    assert_eq!(predict(Some(&[1.0])), length(1));
    assert_eq!(predict(Some(&[])), length(0));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let not_finite = Err(MissingInput::EmbeddingNotFinite("tiny".into()));
        assert_eq!(predict(Some(&[1.0, bad, 0.0])), not_finite);
    }
    assert_eq!(predict(Some(&[1.0, 2.0, 3.0])), Ok(()));
}

#[test]
fn an_embedding_is_explained_as_one_and_its_weights_travel_beside_a_large_policy() {
    let inputs = Inputs { embedding: embedded(1536).embedding, ..known_inputs() };
    let mut router = router(inputs, 5);
    // Without hashed inputs there are no steps to write.
    router.heads.step.fill(0.0);
    let vector: Vec<f32> = (0..1536_u16).map(|at| f32::from(at % 7) - 3.0).collect();
    let view = RequestView {
        features: &[("age", 11.0)],
        tags: &[("subject", "law")],
        embedding: Some(&vector),
        ..RequestView::default()
    };
    let parts = contributions(&router, &view, false).unwrap();
    let of_embedding: Vec<_> = parts.iter().filter(|part| part.family == InputFamily::Embedding).collect();
    assert_eq!((of_embedding.len(), of_embedding[0].input.as_str()), (1, "embedding by tiny"));
    let mut scratch = Scratch::default();
    let predictions = router.predict(&view, &mut scratch).unwrap();
    for (tier, &log_odds) in predictions.log_odds.iter().enumerate() {
        let sum = router.heads.intercept[tier] + parts.iter().map(|part| part.log_odds[tier]).sum::<f64>();
        assert!((sum - log_odds).abs() < 1e-9);
    }
    let sidecar = router.sidecar().unwrap();
    assert!(sidecar.bytes.len() < 32_000);
    let mut other = Router { awaits: Some(sidecar.file.clone()), ..router.clone() };
    other.heads.embedding.clear();
    other.complete(&sidecar.bytes).unwrap();
    assert_eq!(other, router);
    let lines = changes(None, Some((&router, &[])));
    assert!(lines[0].contains("an embedding by `tiny`"), "{lines:?}");
    let mut turned = router.clone();
    turned.heads.embedding.reverse();
    let tiers: Vec<String> = (0..5).map(|tier| format!("t{tier}")).collect();
    let lines = changes(Some((&router, &tiers)), Some((&turned, &tiers)));
    assert!(lines.iter().any(|line| line.contains("weights of the embedding agree")), "{lines:?}");
    // Without the weights at hand, what the policies say is told, and nothing of the weights.
    let awaits = |router: &Router| Router { awaits: Some("x.weights".into()), ..router.clone() };
    let dearer = Router { shadow_price: 77.0, ..awaits(&turned) };
    let lines = changes(Some((&awaits(&router), &tiers)), Some((&dearer, &tiers)));
    assert!(lines.len() == 1 && lines[0].contains("77.0"), "{lines:?}");
    let without = self::router(known_inputs(), 5);
    let lines = changes(Some((&router, &tiers)), Some((&without, &tiers)));
    assert!(lines.iter().any(|line| line.contains("is no longer read")), "{lines:?}");
}
