//! Embeddings: read where they decide and pay for themselves, left alone where they are noise or too dear, and charged to every
//! request whose plan they choose.

use cascade_sdk_core::config::{self, Config, CostTail, Family};
use cascade_sdk_core::diag::Source;
use cascade_sdk_core::feature::{self, MissingInput, RequestView, Scratch};
use cascade_sdk_core::fit::random::SplitMix64;
use cascade_sdk_core::fit::route::{FitInput, FitOptions, FitOutcome, fit_route};
use cascade_sdk_core::log::{EvalLog, LogSource, ReadOptions, read};
use cascade_sdk_core::money::Usd;
use cascade_sdk_core::policy::{self, Rules};
use cascade_sdk_core::replay::{Replay, ReplayError};
use std::fmt::Write as _;

/// Rows whose vectors say in one direction whether the cheap tier answers well; the dear one always does.
#[derive(Clone, Copy)]
struct World {
    rows: usize,
    dimensions: usize,
    /// Whether the vectors say anything.
    tells: bool,
    /// What an embedding costs in dollars, if the log says it.
    cost: Option<f64>,
    /// A signal of the cheap tier that knows whether it is right, in four wrong answers out of five.
    signal: bool,
    tenants: bool,
    /// How long an embedding took in milliseconds, beside 100 for a call.
    latency_ms: Option<f64>,
}

impl World {
    fn new(rows: usize, dimensions: usize) -> Self {
        Self { rows, dimensions, tells: true, cost: None, signal: false, tenants: false, latency_ms: None }
    }

    fn lines(self) -> Vec<String> {
        let mut random = SplitMix64::new(3, 0);
        (0..self.rows)
            .map(|row| {
                let vector: Vec<f64> = (0..self.dimensions).map(|_| random.fraction() - 0.5).collect();
                let chance = random.fraction() - 0.5;
                let right = if self.tells { vector[0] + 0.5 * vector[1] } else { chance } > 0.0;
                let mut line = format!(r#"{{"id":"r{row:05}","input":"prompt number {row}","embedding":["#);
                for (at, value) in vector.iter().enumerate() {
                    let _ = write!(line, "{}{:.5}", if at > 0 { "," } else { "" }, 3.0 * value);
                }
                line.push(']');
                if let Some(cost) = self.cost {
                    let _ = write!(line, r#","embedding_cost_usd":{cost:?}"#);
                }
                if let Some(latency) = self.latency_ms {
                    let _ = write!(line, r#","embedding_latency_ms":{latency:?}"#);
                }
                if self.tenants {
                    let _ = write!(line, r#","tags":{{"tenant":"{}"}}"#, if row % 3 == 0 { "odd" } else { "acme" });
                }
                let known = u8::from(right || random.fraction() < 0.2);
                let signals = if self.signal { format!(r#""sure":{known}"#) } else { String::new() };
                let _ = write!(
                    line,
                    r#","results":{{"a":{{"quality":{},"cost_usd":0.00001,"latency_ms":100,"signals":{{{signals}}}}},"b":{{"quality":1,"cost_usd":0.0003,"latency_ms":100}}}}}}"#,
                    u8::from(right)
                );
                line
            })
            .collect()
    }
}

const FAMILIES: &str = "\"single\", \"pair\", \"router\", \"routed_cascade\"";

fn config(dimensions: Option<usize>, extra: &str, families: &str) -> Config {
    read_config(config_text(dimensions, extra, families))
}

fn config_text(dimensions: Option<usize>, extra: &str, families: &str) -> String {
    let embedding = dimensions.map_or_else(String::new, |dimensions| {
        format!("[routes.answer.embedding]\nmodel = \"tiny\"\ndimensions = {dimensions}\n{extra}\n")
    });
    format!(
        "schema = 1\n[providers.log]\napi = \"replay\"\n\
         [tiers.a]\nprovider = \"log\"\nmodel = \"a\"\nprice = {{ input = 0.1, output = 1.0 }}\n\
         [tiers.b]\nprovider = \"log\"\nmodel = \"b\"\nprice = {{ input = 1.0, output = 4.0 }}\n\
         [routes.answer]\ntiers = [\"a\", \"b\"]\nlog = [\"log.jsonl\"]\n\
         [routes.answer.objective]\nshadow_price = 1000.0\n\
         [routes.answer.fit]\nfamilies = [{families}]\n{embedding}"
    )
}

fn read_config(text: String) -> Config {
    let (config, findings) = config::read(&Source::new("cascade.toml", text));
    config.unwrap_or_else(|| panic!("{findings:#?}"))
}

fn log_of(config: &Config, lines: &[String]) -> EvalLog {
    let options = ReadOptions::for_route(config, &config.routes[0]);
    read([LogSource::new("log.jsonl", lines.join("\n").as_bytes())], &options).unwrap().log
}

fn fit(config: &Config, log: &EvalLog) -> FitOutcome {
    let options = FitOptions { details: false, ..FitOptions::default() };
    let outcome =
        fit_route(&FitInput { config, route: "answer", log, unreadable_rows: 0, schema: None, options })
            .unwrap();
    let policy = outcome.policy.as_ref().unwrap();
    let text = policy::write(policy);
    let mut read_back = policy::read(&Source::new("policy.toml", text.as_str())).unwrap();
    if let (Some(router), Some(sidecar)) =
        (&mut read_back.rules.router, policy.rules.router.as_ref().and_then(feature::Router::sidecar))
    {
        router.complete(&sidecar.bytes).unwrap();
    }
    assert_eq!(&read_back, policy);
    assert_eq!(policy::staleness(policy, config, "answer", None), []);
    outcome
}

/// Mean quality and cost of a family on held-out rows, and its mean cost on calibration rows.
fn figures(outcome: &FitOutcome, family: Family) -> (f64, f64, f64) {
    let found = outcome.report.families.iter().find(|report| report.family == family.name()).unwrap();
    let held_out = found.held_out.as_ref().unwrap();
    (held_out.quality, held_out.cost_usd, found.calibration.cost_usd)
}

fn reads(rules: &Rules) -> bool {
    rules.router.as_ref().is_some_and(|router| router.inputs.embedding.is_some())
}

#[test]
fn an_embedding_that_decides_is_found_and_without_it_nothing_is() {
    let lines = World::new(900, 16).lines();
    let with = config(Some(16), "", FAMILIES);
    let outcome = fit(&with, &log_of(&with, &lines));
    assert_eq!(outcome.report.selected, Some("router"));
    let rules = &outcome.policy.as_ref().unwrap().rules;
    assert!(reads(rules) && rules.reads_embedding());
    // The cheap tier alone is right every second time, the dear one costs twice what knowing it costs.
    let (quality, cost, _) = figures(&outcome, Family::Router);
    assert!(quality > 0.95 && cost < 0.000_19, "{quality} {cost}");
    let without = config(None, "", FAMILIES);
    let outcome = fit(&without, &log_of(&without, &lines));
    assert_eq!(outcome.report.selected, Some("single"));
    assert!(!reads(&outcome.policy.unwrap().rules));
}

#[test]
fn the_price_is_charged_to_whoever_reads_it_and_to_nobody_else() {
    let world = World { cost: Some(0.000_02), ..World::new(600, 8) };
    let config = config(Some(8), "cost_usd = 0.5", FAMILIES);
    let log = log_of(&config, &world.lines());
    let outcome = fit(&config, &log);
    let rules = &outcome.policy.as_ref().unwrap().rules;
    assert!(rules.reads_embedding());
    let replay = Replay::new(rules, &log).unwrap();
    let mut scratch = replay.scratch();
    let embedding = Usd::from_pico(20_000_000);
    for row in 0..log.rows.len() {
        let mut calls = Usd::ZERO;
        let outcome =
            replay.trace(row, &mut scratch, |step| calls = calls.saturating_add(step.cost)).unwrap();
        assert_eq!(outcome.embedding_cost, embedding);
        assert_eq!(outcome.cost, calls.saturating_add(embedding));
    }
    let (_, single, _) = figures(&outcome, Family::Single);
    assert!([0.000_01, 0.000_3].iter().any(|cost| (single - cost).abs() < 1e-12), "{single}");
    // Expected sums are moved to meet what happened at both ends, the embedding's price included.
    let (_, held_out, calibration) = figures(&outcome, Family::Router);
    assert!((calibration / held_out - 1.0).abs() < 0.15 && held_out > 0.000_15, "{calibration} {held_out}");
}

#[test]
fn a_certified_mean_cost_counts_the_embedding() {
    let world = World { cost: Some(0.000_02), ..World::new(1200, 8) };
    // Of calls alone no request can cost more than 0.0003, and with an embedding it costs 0.00032.
    let text = config_text(Some(8), "", "\"single\", \"router\"")
        .replace("model = \"a\"", "model = \"a\"\nmax_input_tokens = 60\nmax_output_tokens = 60")
        .replace("model = \"b\"", "model = \"b\"\nmax_input_tokens = 60\nmax_output_tokens = 60")
        .replace("shadow_price = 1000.0", "max_cost_usd = 0.00025\nconfidence = 0.9");
    let config = read_config(text);
    let outcome = fit(&config, &log_of(&config, &world.lines()));
    let policy = outcome.policy.as_ref().unwrap();
    assert!(policy.rules.reads_embedding(), "{:?}", outcome.report.selected);
    assert!(policy.certificate.as_ref().unwrap().promise.contains("cost"), "{:?}", policy.certificate);
}

#[test]
fn a_point_of_the_frontier_that_is_one_tier_pays_for_no_embedding() {
    let world = World { cost: Some(0.000_02), ..World::new(600, 8) };
    let config = config(Some(8), "", FAMILIES);
    let log = log_of(&config, &world.lines());
    let policy = fit(&config, &log).policy.unwrap();
    let alone: Vec<_> = policy
        .frontier
        .iter()
        .filter(|point| point.plans.len() == 1)
        .map(|point| point.rules(&policy.rules))
        .collect();
    assert!(!alone.is_empty());
    for rules in alone {
        let outcome = Replay::new(&rules, &log).unwrap();
        let outcome = outcome.row(0, &mut outcome.scratch()).unwrap();
        assert_eq!(outcome.embedding_cost, Usd::ZERO);
        let view = RequestView { text: "anything", ..RequestView::default() };
        assert_eq!(feature::choose_plan(&rules, &view, &mut Scratch::default()), Ok(0));
        assert!(!feature::needs_embedding(&rules, &view));
    }
}

#[test]
fn an_embedding_that_costs_more_than_it_saves_is_not_read() {
    let world = World { cost: Some(0.000_28), signal: true, ..World::new(700, 8) };
    let config = config(Some(8), "", FAMILIES);
    let outcome = fit(&config, &log_of(&config, &world.lines()));
    assert_eq!(outcome.report.selected, Some("pair"));
    assert!(!reads(&outcome.policy.as_ref().unwrap().rules));
    // Where only routers are asked for, the family does without it rather than pay.
    assert!(figures(&outcome, Family::Router).1 < 0.000_301);
}

#[test]
fn a_price_of_the_configuration_stands_in_where_the_log_has_none() {
    let config = config(Some(8), "cost_usd = 0.00002", FAMILIES);
    let log = log_of(&config, &World::new(600, 8).lines());
    assert!(log.embeddings.as_ref().unwrap().cost.iter().all(|cost| cost.pico() == 20_000_000));
    let rules = fit(&config, &log).policy.unwrap().rules;
    let replay = Replay::new(&rules, &log).unwrap();
    assert_eq!(replay.row(0, &mut replay.scratch()).unwrap().embedding_cost.pico(), 20_000_000);
}

#[test]
fn a_limit_on_latency_counts_the_time_of_the_embedding() {
    for (latency, kept) in [(Some(50.0), true), (Some(500.0), false), (None, true)] {
        let world = World { latency_ms: latency, ..World::new(600, 8) };
        let mut config = config(Some(8), "", "\"single\", \"router\"");
        config.routes[0].objective.as_mut().unwrap().max_latency_ms_p95 = Some(300.0);
        let log = log_of(&config, &world.lines());
        let outcome = fit(&config, &log);
        let rules = &outcome.policy.as_ref().unwrap().rules;
        assert_eq!(rules.reads_embedding(), kept, "{latency:?}");
        let replay = Replay::new(rules, &log).unwrap();
        let found = replay.row(0, &mut replay.scratch()).unwrap().latency_ms;
        let expected = 100.0 + latency.filter(|_| kept).unwrap_or(0.0);
        assert!((found - expected).abs() < 1e-9, "{found}");
        let warned = outcome.report.warnings.iter().any(|text| text.contains("embedding_latency_ms"));
        assert_eq!(warned, latency.is_none(), "{:?}", outcome.report.warnings);
    }
}

#[test]
fn a_limit_on_the_cost_of_a_request_counts_the_price_of_the_embedding() {
    // The dear tier costs 300 microdollars; with an embedding of 20 that is above the first bound and below the second.
    for (bound, kept) in [(310_000_000, false), (330_000_000, true)] {
        let world = World { cost: Some(0.000_02), ..World::new(600, 8) };
        let mut config = config(Some(8), "", "\"single\", \"router\"");
        let objective = config.routes[0].objective.as_mut().unwrap();
        objective.max_cost_tail = Some(CostTail { usd: Usd::from_pico(bound), share: 0.05 });
        let log = log_of(&config, &world.lines());
        let rules = fit(&config, &log).policy.unwrap().rules;
        assert_eq!(rules.reads_embedding(), kept, "{bound}");
        let replay = Replay::new(&rules, &log).unwrap();
        let mut scratch = replay.scratch();
        let over =
            (0..log.rows.len()).filter(|row| replay.row(*row, &mut scratch).unwrap().cost.pico() > bound);
        assert_eq!(over.count(), 0);
    }
}

#[test]
fn few_rows_of_long_noise_do_not_win() {
    for rows in [50, 100] {
        let world = World { tells: false, ..World::new(rows, 384) };
        let config = config(Some(384), "", FAMILIES);
        let outcome = fit(&config, &log_of(&config, &world.lines()));
        assert!(!reads(&outcome.policy.unwrap().rules), "{rows} rows");
    }
}

#[test]
fn a_routed_cascade_pays_for_it_too() {
    let world = World { cost: Some(0.000_005), signal: true, ..World::new(700, 8) };
    let config = config(Some(8), "", "\"routed_cascade\"");
    let log = log_of(&config, &world.lines());
    let outcome = fit(&config, &log);
    let (_, held_out, calibration) = figures(&outcome, Family::RoutedCascade);
    assert!((calibration / held_out - 1.0).abs() < 0.2, "{calibration} {held_out}");
    let rules = &outcome.policy.as_ref().unwrap().rules;
    let replay = Replay::new(rules, &log).unwrap();
    let paid = replay.row(1, &mut replay.scratch()).unwrap().embedding_cost;
    assert_eq!(paid.pico(), if rules.reads_embedding() { 5_000_000 } else { 0 });
    assert!(rules.reads_embedding(), "it decides every row, at a sixtieth of the dear tier's price");
}

#[test]
fn a_guarded_request_needs_none() {
    let world = World { cost: Some(0.000_02), tenants: true, ..World::new(600, 8) };
    let config = config(Some(8), "", "\"router\"");
    let log = log_of(&config, &world.lines());
    let mut rules = fit(&config, &log).policy.unwrap().rules;
    rules.guard = Some(policy::Guard::new("tenant".into(), vec!["odd".into()], 1));
    let replay = Replay::new(&rules, &log).unwrap();
    let mut scratch = replay.scratch();
    for (row, entry) in log.rows.iter().enumerate() {
        let odd = &*entry.tags[0].1 == "odd";
        let outcome = replay.row(row, &mut scratch).unwrap();
        assert_eq!(outcome.embedding_cost.pico(), if odd { 0 } else { 20_000_000 });
        let tags = [("tenant", &*entry.tags[0].1)];
        let view = RequestView { tags: &tags, ..RequestView::default() };
        assert_eq!(feature::needs_embedding(&rules, &view), !odd);
    }
}

#[test]
fn the_order_of_lines_and_threads_change_nothing() {
    let config = config(Some(8), "", FAMILIES);
    let mut lines = World { cost: Some(0.000_001), ..World::new(300, 8) }.lines();
    let log = log_of(&config, &lines);
    let text = policy::write(&fit(&config, &log).policy.unwrap());
    lines.reverse();
    let shuffled = log_of(&config, &lines);
    let places = |log: &EvalLog| log.embeddings.clone();
    assert_eq!(places(&log), places(&shuffled));
    let options = FitOptions { details: false, threads: 3, ..FitOptions::default() };
    let input = FitInput {
        config: &config,
        route: "answer",
        log: &shuffled,
        unreadable_rows: 0,
        schema: None,
        options,
    };
    assert_eq!(policy::write(&fit_route(&input).unwrap().policy.unwrap()), text);
}

#[test]
fn rows_without_one_are_refused_by_the_fit_and_named_by_replay() {
    let config = config(Some(8), "", FAMILIES);
    let mut lines = World::new(300, 8).lines();
    let rules = fit(&config, &log_of(&config, &lines)).policy.unwrap().rules;
    for line in lines.iter_mut().skip(280) {
        let (start, end) = (line.find(",\"embedding\"").unwrap(), line.find("],").unwrap());
        line.replace_range(start..=end, "");
    }
    let log = log_of(&config, &lines);
    let options = FitOptions::default();
    let input =
        FitInput { config: &config, route: "answer", log: &log, unreadable_rows: 0, schema: None, options };
    let findings = fit_route(&input).unwrap_err();
    assert_eq!(findings[0].code, "fit::embedding-missing");
    assert!(findings[0].message.starts_with("20 of 300 rows"), "{}", findings[0].message);
    let replay = Replay::new(&rules, &log).unwrap();
    let missing =
        ReplayError::MissingInput { id: "r00290".into(), input: MissingInput::Embedding("tiny".into()) };
    assert_eq!(replay.row(290, &mut replay.scratch()), Err(missing));
}

#[test]
fn another_model_or_length_makes_a_policy_stale() {
    let before = config(Some(8), "", FAMILIES);
    let policy = fit(&before, &log_of(&before, &World::new(300, 8).lines())).policy.unwrap();
    let mut model = before.clone();
    model.routes[0].embedding.as_mut().unwrap().model = "other".into();
    let gone = config(None, "", FAMILIES);
    for other in [config(Some(9), "", FAMILIES), model, gone, config(Some(8), "cost_usd = 0.1", FAMILIES)] {
        let findings = policy::staleness(&policy, &other, "answer", None);
        assert_eq!(findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["policy::stale"]);
    }
    let failing = config(Some(8), "on_failure = \"b\"", FAMILIES);
    assert_eq!(policy::staleness(&policy, &failing, "answer", None), []);
}
