//! Embeddings at run time: the client decides as the replay does, asks once, pays, and says what happened where there is none.

use crate::setup::{CONFIG, Tier, builder_of, policy_of};
use cascade_sdk::embedding::{Embedder, EmbedderError, Embedding, EmbeddingFailure};
use cascade_sdk::money::Usd;
use cascade_sdk::provider::{Capabilities, ModelCall, Provider, ProviderError, Response};
use cascade_sdk::{Builder, Error, Request, Routed, StreamEvent, TierName};
use cascade_sdk_core::config;
use cascade_sdk_core::diag::Source;
use cascade_sdk_core::feature::{CostHead, EmbeddingInput, Heads, Inputs, Router};
use cascade_sdk_core::log::{LogSource, ReadOptions, read};
use cascade_sdk_core::policy::{Guard, Plan, Rules, Stage};
use cascade_sdk_core::replay::Replay;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The large tier where the first number of the embedding is positive.
pub(crate) fn rules() -> Rules {
    let embedding = EmbeddingInput { model: "tiny".into(), dimensions: 3, sha256: None };
    let heads = Heads {
        intercept: vec![0.0; 2],
        embedding: vec![0.0, 4.0, 0.0, 0.0, 0.0, 0.0],
        dense: Vec::new(),
        hashed: Vec::new(),
        step: vec![0.0; 2],
        cost: vec![CostHead { high: 1.0, ..CostHead::default() }; 2],
    };
    let inputs = Inputs { embedding: Some(embedding), ..Inputs::default() };
    let stage = |tier| Plan::new(vec![Stage { tier, rule: None }]);
    Rules {
        tiers: vec!["small".into(), "large".into()],
        plans: vec![stage(0), stage(1)],
        router: Some(Router { shadow_price: 0.0, inputs, heads, awaits: None }),
        ..Rules::default()
    }
}

fn config(extra: &str) -> String {
    format!("{CONFIG}\n[routes.two.embedding]\nmodel = \"tiny\"\ndimensions = 3\n{extra}\n")
}

/// A policy that was not found in the family it names would be refused.
pub(crate) fn routed(config: &str, rules: Rules) -> String {
    policy_of(config, rules).replace("family = \"pair\"", "family = \"router\"")
}

/// How an embedder behaves, and how often it was asked.
#[derive(Clone)]
pub(crate) struct Own {
    does: Does,
    asked: Arc<AtomicUsize>,
}

#[derive(Clone, Copy)]
pub(crate) enum Does {
    /// The first number is what the text says: `+` or `-`.
    Well,
    Costs(i64),
    Fails,
    Panics,
    Hangs,
    Short,
    NoNumber,
}

impl Own {
    pub(crate) fn new(does: Does) -> Self {
        Self { does, asked: Arc::default() }
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait::async_trait]
impl Embedder for Own {
    async fn embed(&self, text: &str) -> Result<Embedding, EmbedderError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let first = if text.starts_with('+') { 1.5 } else { -1.5 };
        let vector = vec![first, 0.25, -0.25];
        match self.does {
            Does::Well => Ok(vector.into()),
            Does::Costs(pico) => Ok(Embedding::new(vector).with_cost(Usd::from_pico(pico))),
            Does::Fails => Err(format!("no vector for {text}").into()),
            Does::Panics => panic!("no vector"),
            Does::Hangs => std::future::pending().await,
            Does::Short => Ok(vec![first].into()),
            Does::NoNumber => Ok(vec![first, f32::NAN, 0.0].into()),
        }
    }
}

/// Answers with the name of the tier.
#[derive(Debug)]
pub(crate) struct Names;

#[async_trait::async_trait]
impl Provider for Names {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn complete(&self, call: &ModelCall<'_>) -> Result<Response, ProviderError> {
        Ok(Response::text(call.tier))
    }
}

fn builder(config: &str, rules: Rules) -> Builder {
    builder_of(std::path::Path::new("/nowhere"), config, routed(config, rules)).provider("local", Names)
}

async fn ask(extra: &str, own: &Own, request: Request) -> Result<Routed<String, Tier>, Error> {
    let client = builder(&config(extra), rules()).embedder("tiny", own.clone()).build().unwrap();
    client.call::<Tier>(1, request).await
}

#[tokio::test]
async fn the_router_reads_it_and_it_is_asked_once_and_paid() {
    for (text, tier) in [("+ hard", "large"), ("- easy", "small")] {
        let own = Own::new(Does::Well);
        let routed = ask("cost_usd = 0.25", &own, Request::new(text)).await.unwrap();
        assert_eq!((routed.tier.name(), own.asked()), (tier, 1));
        let embedding = routed.embedding.as_ref().unwrap();
        assert_eq!((embedding.cost.to_string(), embedding.failure.is_none()), ("0.25".to_owned(), true));
        let calls = routed.path.iter().fold(Usd::ZERO, |sum, step| sum.saturating_add(step.total_cost()));
        assert_eq!(routed.cost(), calls.saturating_add(embedding.cost));
    }
    let own = Own::new(Does::Costs(7));
    let routed = ask("cost_usd = 0.25", &own, Request::new("+")).await.unwrap();
    assert_eq!(routed.embedding.unwrap().cost, Usd::from_pico(7), "what the embedder says counts");
}

#[tokio::test]
async fn whoever_does_not_need_it_is_not_asked() {
    let own = Own::new(Does::Well);
    let forced = ask("", &own, Request::new("+").with_tier("small")).await.unwrap();
    assert!(forced.embedding.is_none());
    let config = config("");
    let guard = Guard::new("tenant".into(), vec!["odd".into()], 0);
    let guarded = Rules { guard: Some(guard), ..rules() };
    let client = builder(&config, guarded).embedder("tiny", own.clone()).build().unwrap();
    let kept = client.call::<Tier>(1, Request::new("+").tag("tenant", "odd")).await.unwrap();
    assert_eq!((kept.tier.name(), own.asked()), ("small", 0));
    let other = client.call::<Tier>(1, Request::new("+").tag("tenant", "acme")).await.unwrap();
    assert_eq!((other.tier.name(), own.asked()), ("large", 1));
}

#[tokio::test]
async fn a_failure_is_an_error_or_the_tier_that_stands_in_answers() {
    let cases = [
        (Does::Fails, "error"),
        (Does::Panics, "panic"),
        (Does::Hangs, "timeout"),
        (Does::Short, "length"),
        (Does::NoNumber, "not_finite"),
    ];
    for (does, word) in cases {
        let own = Own::new(does);
        let error = ask("timeout_s = 0.05", &own, Request::new("- secret")).await.unwrap_err();
        assert!(error.is_embedding() && error.to_string().contains("on_failure"), "{error}");
        assert!(!format!("{error} {error:?}").contains("secret"));
        assert_eq!((error.path().len(), error.spent()), (0, Usd::ZERO));
        let with = "timeout_s = 0.05\ncost_usd = 0.25\non_failure = \"large\"";
        let routed = ask(with, &own, Request::new("- secret")).await.unwrap();
        let used = routed.embedding.as_ref().unwrap();
        assert_eq!(used.failure.as_ref().map(EmbeddingFailure::log_word), Some(word));
        assert_eq!((routed.tier.name(), own.asked()), ("large", 2));
        // Of one that was cut short nobody knows what it spent.
        let unknown = matches!(does, Does::Hangs | Does::Panics);
        let charged = if unknown { Usd::parse("0.25").unwrap() } else { Usd::ZERO };
        assert_eq!((used.cost, used.estimated), (charged, charged), "{word}");
        assert!(!format!("{routed:?}").contains("secret"));
        let detail = used.failure.as_ref().unwrap().detail();
        assert_eq!(detail.is_some_and(|detail| detail.contains("secret")), word == "error");
    }
}

#[tokio::test]
async fn the_deadline_of_the_request_bounds_it() {
    let own = Own::new(Does::Hangs);
    let request = Request::new("+").with_deadline(Duration::from_millis(40));
    let error = ask("on_failure = \"large\"", &own, request).await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
}

#[tokio::test]
async fn a_stream_reads_it_too() {
    let own = Own::new(Does::Well);
    let client = builder(&config(""), rules()).embedder("tiny", own.clone()).build().unwrap();
    let mut stream = client.call::<Tier>(1, Request::new("+ hard")).stream::<String>();
    let routed = loop {
        if let StreamEvent::Finished(routed) = stream.next().await.unwrap().unwrap() {
            break routed;
        }
    };
    assert_eq!((routed.tier.name(), own.asked()), ("large", 1));
}

#[test]
fn a_client_without_an_embedder_of_its_policy_is_not_built() {
    let config = config("");
    let error = builder(&config, rules()).build().unwrap_err();
    assert!(error.is_config() && error.to_string().contains("embedder(\"tiny\""), "{error}");
    let slip = builder(&config, rules()).embedder("tinny", Own::new(Does::Well)).build().unwrap_err();
    assert!(slip.to_string().contains("no route has an embedding by `tinny`"), "{slip}");
    let mut other = rules();
    other.router.as_mut().unwrap().inputs.embedding.as_mut().unwrap().model = "huge".into();
    let built = builder(&config, other).embedder("tiny", Own::new(Does::Well)).build().unwrap_err();
    assert!(built.to_string().contains("by `huge`"), "{built}");
}

#[tokio::test]
async fn the_decision_log_says_what_it_took() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("decisions.jsonl");
    let row = async |does| {
        let config = config("cost_usd = 0.25\non_failure = \"large\"");
        let client =
            builder(&config, rules()).embedder("tiny", Own::new(does)).decision_log(&path).build().unwrap();
        client.call::<Tier>(1, Request::new("- secret")).await.unwrap();
        client.flush_decision_log().await;
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("secret"));
        serde_json::from_str::<serde_json::Value>(text.lines().last().unwrap()).unwrap()
    };
    let well = row(Does::Well).await;
    assert_eq!((&well["embedding"]["model"], &well["embedding"]["cost_usd"]), (&"tiny".into(), &0.25.into()));
    assert!(well["cost_usd"].as_f64().unwrap() >= 0.25 && well["embedding"]["failure"].is_null());
    let failed = row(Does::Fails).await;
    assert_eq!((&failed["embedding"]["failure"], &failed["answered_by"]), (&"error".into(), &"large".into()));
    assert!(failed["plan"].is_null());
}

/// Offline = online: over a log the client decides and pays as [`Replay`] does, with the log's vectors and with an embedder that
/// makes the same ones.
#[tokio::test]
async fn over_a_log_the_client_decides_and_pays_as_the_replay_does() {
    let replayed = config("cost_usd = 0.00001").replace(
        "api = \"openai\"\nbase_url = \"http://127.0.0.1:9/v1\"\napi_key_env = \"CASCADE_TEST_KEY\"",
        "api = \"replay\"",
    );
    let mut text = String::new();
    for row in 0..40 {
        let (sign, first) = if row % 3 == 0 { ('+', 1.5) } else { ('-', -1.5) };
        let cost =
            if row % 4 == 0 { String::new() } else { format!(r#""embedding_cost_usd":{}e-9,"#, row + 1) };
        writeln!(
            text,
            r#"{{"id":"r{row:02}","input":"{sign} text {row}","embedding":[{first},0.25,-0.25],{cost}"results":{{"small":{{"quality":1,"cost_usd":0.00002,"output":"s"}},"large":{{"quality":1,"cost_usd":0.0002,"output":"l"}}}}}}"#
        )
        .unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("log.jsonl"), &text).unwrap();
    let client = builder_of(directory.path(), &replayed, routed(&replayed, rules())).build().unwrap();
    let own = Own::new(Does::Well);
    let answering = builder(&config(""), rules()).embedder("tiny", own).build().unwrap();
    let read_config = config::read(&Source::new("cascade.toml", replayed.as_str())).0.unwrap();
    let options = ReadOptions::for_route(&read_config, read_config.route("two").unwrap());
    let log = read([LogSource::new("log.jsonl", text.as_bytes())], &options).unwrap().log;
    let rules = rules();
    let replay = Replay::new(&rules, &log).unwrap();
    let mut scratch = replay.scratch();
    for (row, entry) in log.rows.iter().enumerate() {
        let expected = replay.row(row, &mut scratch).unwrap();
        assert_eq!(
            expected.embedding_cost.pico(),
            if row % 4 == 0 { 10_000_000 } else { 1_000 * (i64::try_from(row).unwrap() + 1) }
        );
        let prompt = entry.text.as_deref().unwrap();
        for request in [Request::new("whatever").with_id(&*entry.id), Request::new(prompt)] {
            let routed = client.call::<Tier>(1, request).await.unwrap();
            assert_eq!((routed.plan, routed.cost()), (expected.plan, expected.cost), "{}", entry.id);
            assert_eq!(routed.embedding.unwrap().cost, expected.embedding_cost);
        }
        let answered = answering.call::<Tier>(1, Request::new(prompt)).await.unwrap();
        assert_eq!(answered.plan, expected.plan);
    }
}
