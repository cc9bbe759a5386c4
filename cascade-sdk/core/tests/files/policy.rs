//! Policy files: bytes, refusals, and whether a policy still belongs to its configuration.

use crate::expect;
use cascade_sdk_core::config::{self, CostTail, Family, Goal, Objective};
use cascade_sdk_core::diag::{Diagnostic, Severity, Source, Style, render_all};
use cascade_sdk_core::feature::text::{Affix, BUCKETS};
use cascade_sdk_core::feature::{
    CostHead, EmbeddingInput, Heads, Inputs, NumberInput, Router, SURFACE_STATISTICS, Standard, TagInput,
    TextInput, WeightsError,
};
use cascade_sdk_core::money::Usd;
use cascade_sdk_core::policy::{
    self, ALGORITHM, AbstainRule, Abstained, AcceptRule, Certificate, Cut, EarlyEffect, Estimate, Expected,
    Fitted, Forecast, Guard, Linear, Mixture, OperatingPoint, Plan, Policy, PrefixCut, Rules, Score,
    ScoreInput, ScoreSource, Stage, Stop, Term, codes,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::path::Path;

fn read(path: &Path) -> Result<Policy, Vec<Diagnostic>> {
    policy::read(&Source::new("policies/triage.toml", expect::input(path)))
}

#[test]
fn every_broken_policy_is_refused_as_written() {
    for path in expect::files("policy/bad") {
        let findings = read(&path).expect_err(expect::name(&path));
        let code = format!("policy::{}", expect::name(&path).split('.').next().unwrap());
        assert!(findings.iter().any(|finding| finding.code == code), "{} lacks {code}", path.display());
        assert!(findings.iter().all(|finding| finding.help.last().unwrap().contains("cascade fit")));
        expect::check(&path, &render_all(&findings, Style::Plain));
    }
}

/// Committed policies must read and write the same for as long as there is this schema.
#[test]
fn committed_policies_keep_their_bytes() {
    for path in expect::files("policy/ok") {
        let text = std::fs::read_to_string(&path).unwrap();
        let policy = policy::read(&Source::new("policy.toml", text.as_str()))
            .unwrap_or_else(|findings| panic!("{}", render_all(&findings, Style::Plain)));
        assert_eq!(policy::write(&policy), text, "{}", path.display());
    }
}

#[test]
fn every_code_is_tested() {
    let mut tested: BTreeSet<_> = expect::files("policy/bad")
        .iter()
        .map(|path| format!("policy::{}", expect::name(path).split('.').next().unwrap()))
        .collect();
    // These need a configuration beside the policy: see the tests of staleness.
    let beside = [
        codes::FOREIGN,
        codes::OTHER_TIERS,
        codes::STALE,
        codes::LOG_CHANGED,
        codes::EMBEDDING_FILE,
        codes::OTHER_ALGORITHM,
        codes::FITTED,
        codes::SIGNAL_UNAVAILABLE,
        codes::MISSING,
        codes::NOT_FITTED,
        codes::WEIGHTS,
    ];
    tested.extend(beside.map(str::to_owned));
    let codes: BTreeSet<_> = codes::ALL.iter().map(|(code, _)| (*code).to_owned()).collect();
    assert_eq!(tested, codes);
}

pub(crate) const CONFIG: &str = "schema = 1\n[providers.p]\napi = 'replay'\n\
    [tiers.small]\nprovider = 'p'\nmodel = 's'\nprice = { input = 1, output = 2 }\n\
    [tiers.large]\nprovider = 'p'\nmodel = 'l'\nprice = { input = 3, output = 4 }\n\
    [routes.triage]\ntiers = ['small', 'large']\nlog = ['x.jsonl']\n[routes.triage.objective]\nmin_quality = 0.9\n\
    [routes.other]\ntiers = ['small']\n";

/// Findings on the golden pair policy beside [`CONFIG`] with one text replaced, after the policy was adapted to
/// [`CONFIG`] itself.
fn staleness(
    from: &str,
    to: &str,
    route: &str,
    change: impl Fn(&mut Policy),
) -> Vec<(&'static str, Severity)> {
    let read = |text: &str| config::read(&Source::new("cascade.toml", text)).0.unwrap();
    let text = include_str!("../policy/ok/pair.toml");
    let mut policy = policy::read(&Source::new("policy.toml", text)).unwrap();
    policy.fitted.config_hash = config::fingerprint(&read(CONFIG), "triage", None).unwrap();
    change(&mut policy);
    assert!(CONFIG.contains(from));
    let findings = policy::staleness(&policy, &read(&CONFIG.replacen(from, to, 1)), route, None);
    for finding in &findings {
        assert!(!finding.help.is_empty() && !finding.labels.is_empty(), "{finding:?}");
    }
    findings.iter().map(|finding| (finding.code, finding.severity)).collect()
}

#[test]
fn a_policy_that_no_longer_belongs_is_refused() {
    let same = |_: &mut Policy| {};
    let error = |code| vec![(code, Severity::Error)];
    assert_eq!(staleness("", "", "triage", same), []);
    assert_eq!(staleness("log = ['x.jsonl']", "log = ['y.jsonl']", "triage", same), []);
    assert_eq!(staleness("input = 3", "input = 3.5", "triage", same), error(codes::STALE));
    assert_eq!(staleness("['small', 'large']", "['large']", "triage", same), error(codes::OTHER_TIERS));
    assert_eq!(staleness("", "", "other", same), error(codes::FOREIGN));
    assert_eq!(staleness("log = ", "until_fitted = 'large'\nlog = ", "triage", same), error(codes::FITTED));
    assert_eq!(
        staleness("", "", "triage", |policy| policy.fitted.algorithm = ALGORITHM + 1),
        [(codes::OTHER_ALGORITHM, Severity::Warning)]
    );
}

#[test]
fn large_weights_stand_in_a_file_named_by_its_hash() {
    let text = include_str!("../policy/ok/routed_cascade.toml");
    let mut policy = policy::read(&Source::new("policy.toml", text)).unwrap();
    let router = policy.rules.router.as_mut().unwrap();
    assert!(router.sidecar().is_none() && router.awaits.is_none());
    let surface = vec![Standard { mean: 1.0, deviation: 2.0 }; SURFACE_STATISTICS];
    router.inputs.text =
        Some(TextInput { prefix: Affix::default(), suffix: Affix::of("\nAnswer:"), surface, hashed: true });
    router.heads.dense = vec![0.5; router.inputs.dense_len() * 3];
    router.heads.hashed = (0_i8..=127)
        .cycle()
        .map(|weight| if weight % 7 == 0 { -weight } else { 0 })
        .take(2 * BUCKETS * 3)
        .collect();
    router.heads.step = vec![0.1, 0.2, 0.3];
    let sidecar = policy.rules.router.as_ref().and_then(Router::sidecar).unwrap();
    let text = policy::write(&policy);
    assert!(text.contains(&sidecar.file) && text.len() < 5000);

    let mut read = policy::read(&Source::new("policy.toml", text.as_str())).unwrap();
    assert_eq!(policy::write(&read), text, "also before the weights are there");
    let router = read.rules.router.as_mut().unwrap();
    assert_eq!(router.awaits.as_deref(), Some(sidecar.file.as_str()));
    assert_eq!(router.complete(b"other"), Err(WeightsError::OtherFile));
    assert!(router.awaits.is_some());
    router.complete(&sidecar.bytes).unwrap();
    assert_eq!(read, policy);

    let directory = std::env::temp_dir().join(format!("cascade-weights-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let mut read = policy::read(&Source::new("policy.toml", text.as_str())).unwrap();
    let missing = policy::complete(&mut read, &directory).unwrap_err();
    assert_eq!((missing.code, missing.help.len()), (codes::WEIGHTS, 1));
    std::fs::write(directory.join(&sidecar.file), b"other").unwrap();
    assert_eq!(policy::complete(&mut read, &directory).unwrap_err().code, codes::WEIGHTS);
    std::fs::write(directory.join(&sidecar.file), &sidecar.bytes).unwrap();
    policy::complete(&mut read, &directory).unwrap();
    assert_eq!(read, policy);
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_changed_log_is_a_warning() {
    let config = config::read(&Source::new("cascade.toml", CONFIG)).0.unwrap();
    let route = config.route("triage").unwrap();
    let policy = policy::read(&Source::new("p.toml", include_str!("../policy/ok/pair.toml"))).unwrap();
    assert_eq!(policy::log_changed(&policy, route, &policy.fitted.log_hash), None);
    let finding = policy::log_changed(&policy, route, "another").unwrap();
    assert_eq!((finding.code, finding.severity), (codes::LOG_CHANGED, Severity::Warning));
    assert_eq!(finding.help, ["run `cascade fit triage`"]);
}

#[test]
fn a_route_without_a_policy_is_told_what_to_do() {
    let missing = |from: &str, to: &str, route: &str| {
        let (config, _) = config::read(&Source::new("cascade.toml", CONFIG.replacen(from, to, 1)));
        policy::missing(&config.unwrap(), route)
    };
    let error = missing("", "", "triage").unwrap();
    assert_eq!((error.code, error.severity, error.help.len()), (codes::MISSING, Severity::Error, 2));
    let warning = missing("log = ", "until_fitted = 'large'\nlog = ", "triage").unwrap();
    assert_eq!(
        (warning.code, warning.severity, warning.help.len()),
        (codes::NOT_FITTED, Severity::Warning, 1)
    );
    assert!(error.help[0].contains("cascade fit triage") && !error.labels.is_empty());
    assert_eq!(missing("", "", "other"), None);
}

fn finite() -> impl Strategy<Value = f64> {
    use proptest::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    prop_oneof![POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO, -1.0..1.0, (-5_i32..5).prop_map(f64::from)]
}

fn estimate() -> impl Strategy<Value = Estimate> {
    (finite(), finite(), finite()).prop_map(|(value, low, high)| Estimate { value, low, high })
}

fn cut() -> impl Strategy<Value = Cut> {
    prop_oneof![finite().prop_map(Cut), Just(Cut::KEEP_ALL), Just(Cut::ESCALATE_ALL)]
}

/// A plan over some tiers, signals and scores.
fn plan(tiers: usize, sources: (usize, usize)) -> impl Strategy<Value = Plan> {
    let source = (0..sources.0 + sources.1).prop_map(move |index| match index.checked_sub(sources.0) {
        None => ScoreSource::Signal(index),
        Some(score) => ScoreSource::Score(score),
    });
    let rule = (source.clone(), cut()).prop_map(|(score, at_least)| AcceptRule { score, at_least });
    let last = (0..tiers, option::of((source, finite())));
    let cuts = vec((1_u32..9, finite()), 0..3).prop_map(|steps| {
        let mut after = 0;
        let cut = |(step, below)| {
            after += step;
            PrefixCut { after, below }
        };
        steps.into_iter().map(cut).collect()
    });
    let stop = (option::of(1..600_u64), cuts).prop_map(|(most_tokens, cuts)| Stop { most_tokens, cuts });
    let stops = btree_map(0..2_usize, stop, 0..3);
    (vec((0..tiers, rule, option::of(finite())), 0..3), last, stops).prop_map(
        |(first, (last, below), stops)| {
            let lower = |rule: AcceptRule, below: Option<f64>| {
                let below = below.filter(|below| *below <= rule.at_least.0)?;
                Some(AbstainRule { score: rule.score, below })
            };
            let mut abstain: Vec<_> = first.iter().map(|&(_, rule, below)| lower(rule, below)).collect();
            abstain.push(below.map(|(score, below)| AbstainRule { score, below }));
            if abstain.iter().all(Option::is_none) {
                abstain.clear();
            }
            let mut stages: Vec<_> =
                first.into_iter().map(|(tier, rule, _)| Stage { tier, rule: Some(rule) }).collect();
            stages.push(Stage { tier: last, rule: None });
            Plan { abstain, stops, ..Plan::new(stages) }
        },
    )
}

fn forecast(tiers: usize) -> impl Strategy<Value = Forecast> {
    let linear = move || {
        (finite(), vec(finite(), tiers), vec(finite(), tiers))
            .prop_map(|(constant, log_odds, cost_usd)| Linear { constant, log_odds, cost_usd })
    };
    (linear(), linear()).prop_map(|(quality, cost_usd)| Forecast { quality, cost_usd })
}

fn score(tiers: usize, signals: usize) -> impl Strategy<Value = Score> {
    let input =
        prop_oneof![(0..signals).prop_map(ScoreInput::Signal), (0..tiers).prop_map(ScoreInput::Prediction)];
    let knots = vec(((0.001..9.0), finite()), 0..4).prop_map(|steps| {
        let mut x = -5.0;
        steps
            .into_iter()
            .map(|(step, y)| {
                x += step;
                (x, y)
            })
            .collect()
    });
    let term = (input, knots, finite()).prop_map(|(input, knots, weight)| Term { input, knots, weight });
    (0..tiers, finite(), vec(term, 0..3), option::of(0..tiers)).prop_map(
        |(tier, intercept, terms, per_cost_of)| Score {
            name: String::new(),
            tier,
            intercept,
            terms,
            per_cost_of,
        },
    )
}

/// Routers whose weights stand in the policy itself.
fn router(tiers: usize) -> impl Strategy<Value = Router> {
    let standard = || (finite(), finite()).prop_map(|(mean, deviation)| Standard { mean, deviation });
    let text = (standard(), any::<[(u16, u64); 2]>()).prop_map(|(standard, affixes)| {
        let [prefix, suffix] = affixes.map(|(bytes, hash)| Affix { bytes: usize::from(bytes) % 4096, hash });
        TextInput { prefix, suffix, surface: vec![standard; SURFACE_STATISTICS], hashed: false }
    });
    let numbers = vec((".{0,4}", standard()), 0..3).prop_map(|numbers| {
        numbers.into_iter().map(|(name, standard)| NumberInput { name, standard }).collect()
    });
    let tags = vec((".{0,4}", btree_set(".{0,4}", 1..4)), 0..3).prop_map(|tags| {
        tags.into_iter()
            .map(|(name, levels)| TagInput { name, levels: levels.into_iter().collect() })
            .collect()
    });
    let embedding = ("[^\"]{1,6}", 1_usize..300, option::of("[0-9a-f]{64}"))
        .prop_map(|(model, dimensions, sha256)| EmbeddingInput { model, dimensions, sha256 });
    let inputs = (option::of(embedding), option::of(text), numbers, tags)
        .prop_map(|(embedding, text, numbers, tags)| Inputs { embedding, text, numbers, tags });
    let heads = vec((finite(), [finite(), finite(), finite(), finite()], any::<bool>()), tiers);
    (inputs, heads, finite(), -1.0_f32..1.0).prop_map(move |(inputs, heads, shadow_price, weight)| {
        let dense = inputs.dense_len();
        Router {
            shadow_price: shadow_price.abs(),
            heads: Heads {
                intercept: heads.iter().map(|head| head.0).collect(),
                embedding: (0..inputs.embedding_len() * tiers).map(|at| weight - at as f32).collect(),
                dense: (0..dense * tiers).map(|at| weight * at as f32).collect(),
                hashed: Vec::new(),
                step: vec![0.0; tiers],
                cost: heads
                    .into_iter()
                    .map(|(_, [base, per_byte, low, high], inputs)| {
                        let dense = vec![weight; if inputs { dense } else { 0 }];
                        CostHead { base, per_byte, dense, low, high }
                    })
                    .collect(),
            },
            inputs,
            awaits: None,
        }
    })
}

fn rules() -> impl Strategy<Value = Rules> {
    (1_usize..4, 1_usize..4, 0_usize..3).prop_flat_map(|(tiers, signals, scores)| {
        let names = (vec("[^\"]{0,6}", tiers), vec(".{0,6}", signals));
        let plans = vec((plan(tiers, (signals, scores)), forecast(tiers)), 1..4).prop_map(|plans| {
            plans
                .into_iter()
                .map(|(plan, forecast)| Plan { forecast: Some(forecast), ..plan })
                .collect::<Vec<_>>()
        });
        (names, vec(score(tiers, signals), scores), plans, router(tiers)).prop_map(
            |((tiers, signals), mut scores, plans, router)| {
                for (index, score) in scores.iter_mut().enumerate() {
                    score.name = format!("score {index}");
                }
                // A number makes any names distinct.
                let numbered = |names: Vec<String>| {
                    names.into_iter().enumerate().map(|(at, name)| format!("{name}{at}")).collect()
                };
                let guard = (plans.len() % 2 == 0)
                    .then(|| Guard::new("tenant \"a\"".into(), vec!["z".into(), "b\n".into()], 0));
                let mixture = (plans.len() == 2 && scores.is_empty() && tiers.len() != 2)
                    .then_some(Mixture { share: 0.3, seed: u64::MAX });
                let router = (mixture.is_none() && (plans.len() > 1 || !scores.is_empty())).then_some(router);
                let abstains = plans.iter().any(|plan| !plan.abstain.is_empty());
                let mut signals: Vec<String> = numbered(signals);
                // The one that can be read while an answer arrives.
                signals[0] = "mean_logprob".into();
                let mut rules = Rules {
                    tiers: numbered(tiers),
                    signals,
                    scores,
                    plans,
                    router,
                    guard,
                    abstention: abstains.then_some(0.25),
                    mixture,
                };
                let known = rules.clone();
                for plan in &mut rules.plans {
                    let (stages, abstain) = (&plan.stages, &plan.abstain);
                    plan.stops.retain(|&stage, _| {
                        let rule = stages.get(stage).and_then(|stage| stage.rule);
                        let abstains = abstain.get(stage).copied().flatten().is_some();
                        !abstains && rule.is_some_and(|rule| known.runs_with_the_tokens(rule))
                    });
                }
                rules
            },
        )
    })
}

fn objective() -> impl Strategy<Value = Objective> {
    let goal = prop_oneof![
        (1..i64::MAX).prop_map(|pico| Goal::MaxCost(Usd::from_pico(pico))),
        (0.0..=1.0).prop_map(Goal::MinQuality),
        ("[a-z ]{0,3}x", 0.0..=1.0).prop_map(|(versus, by)| Goal::MaxQualityLoss { versus, by }),
        (1e-300..1e300).prop_map(Goal::ShadowPrice),
        Just(Goal::MaxQuality),
    ];
    let tail =
        (1..i64::MAX, 0.001..0.999).prop_map(|(pico, share)| CostTail { usd: Usd::from_pico(pico), share });
    (goal, 0.1..1e6, any::<bool>(), option::of(tail), option::of(0.001..0.999)).prop_map(
        |(goal, latency, bounded, max_cost_tail, confidence)| {
            let alone = goal == Goal::MaxQuality && max_cost_tail.is_none();
            let max_latency_ms_p95 = (bounded || alone).then_some(latency);
            Objective { goal, max_latency_ms_p95, max_cost_tail, confidence }
        },
    )
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let hash = || "[0-9a-f]{64}";
    let fitted = (hash(), hash(), any::<u32>(), any::<(u32, u32)>(), any::<u64>(), any::<bool>()).prop_map(
        |(log_hash, config_hash, algorithm, (calibration, test), seed, refit_on_all)| Fitted {
            log_hash,
            config_hash,
            algorithm,
            calibration_rows: calibration as usize,
            test_rows: test as usize,
            seed,
            refit_on_all,
            repriced: seed % 2 == 1,
            traffic_hash: refit_on_all.then(|| "ab".repeat(32)),
        },
    );
    let certificate = (".*", 0.001..0.999, vec(".*", 0..3), any::<(u32, u32)>()).prop_map(
        |(promise, confidence, assumptions, (rows, attempt))| Certificate {
            promise,
            confidence,
            method: "betting".into(),
            rows: rows as usize,
            assumptions,
            attempt,
        },
    );
    let expected = (estimate(), estimate(), estimate(), option::of(finite()), vec(estimate(), 4));
    let points = vec((finite(), finite(), option::of(finite())), 0..3);
    (".*", rules(), objective(), fitted, expected, points, option::of(certificate)).prop_map(
        |(
            route,
            rules,
            objective,
            fitted,
            (quality, cost_usd, calls, shadow_price, share),
            mut points,
            certificate,
        )| {
            points.sort_by(|a, b| a.1.total_cmp(&b.1));
            let frontier = points.into_iter().map(|(quality, cost_usd, shadow_price)| OperatingPoint {
                quality,
                cost_usd,
                shadow_price,
                plans: rules.plans[..if rules.mixture.is_some() { 1 } else { rules.plans.len() }].to_vec(),
                router_shadow_price: rules.router.as_ref().map(|router| router.shadow_price),
            });
            let share = share.into_iter().take(rules.tiers.len()).collect();
            Policy {
                route,
                family: Family::RoutedCascade,
                fitted,
                objective,
                expected: Expected {
                    quality,
                    cost_usd,
                    calls,
                    share,
                    shadow_price,
                    latency_ms_p95: shadow_price,
                    early_escalation: shadow_price.map(|_| EarlyEffect {
                        cost_saving: calls,
                        quality_change: quality,
                        tokens_spared: cost_usd,
                    }),
                    abstained: rules
                        .abstention
                        .map(|_| Abstained { share: quality, quality_answered: cost_usd }),
                },
                frontier: frontier.collect(),
                rules,
                certificate,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_reads_back(policy in any_policy()) {
        let text = policy::write(&policy);
        let read = policy::read(&Source::new("policy.toml", text.as_str()));
        let read = read.map_err(|findings| TestCaseError::fail(render_all(&findings, Style::Plain)))?;
        prop_assert_eq!(&read, &policy);
        prop_assert_eq!(policy::write(&read), text);
    }

    #[test]
    fn no_text_makes_the_readers_panic(edits in vec((any::<prop::sample::Index>(), 0_usize..5, ".{0,3}"), 1..4)) {
        for base in [include_str!("../policy/ok/pair.toml"), include_str!("../../src/config/reference.toml")] {
            let mut text = base.to_owned();
            for (at, length, edit) in &edits {
                let at = at.index(text.len());
                let end = (at + length).min(text.len());
                if text.is_char_boundary(at) && text.is_char_boundary(end) {
                    text.replace_range(at..end, edit);
                }
            }
            let source = Source::new("any.toml", text);
            let of_policy = policy::read(&source).err();
            prop_assert!(of_policy.as_ref().is_none_or(|findings| !findings.is_empty()));
            let (config, of_config) = config::read(&source);
            prop_assert_eq!(config.is_none(), of_config.iter().any(Diagnostic::is_error));
            for findings in [of_config, of_policy.unwrap_or_default()] {
                for style in [Style::Plain, Style::Colour { width: 80 }, Style::Json] {
                    prop_assert_eq!(render_all(&findings, style).trim_end().is_empty(), findings.is_empty() && style != Style::Json);
                }
            }
        }
    }
}
