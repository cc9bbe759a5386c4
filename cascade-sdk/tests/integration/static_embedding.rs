//! A file of word vectors at run time: read once, free, the vectors of the fit, and no other file than that of the policy.

use crate::embeddings::{Does, Names, Own, routed, rules};
use crate::setup::{CONFIG, Tier, builder_of};
use cascade_sdk::money::Usd;
use cascade_sdk::{Builder, Request, TierName};
use cascade_sdk_core::config;
use cascade_sdk_core::diag::Source;
use cascade_sdk_core::log::{LogSource, ReadOptions, read};
use cascade_sdk_core::policy::Rules;
use cascade_sdk_core::replay::Replay;
use cascade_sdk_core::static_embedding::StaticEmbedding;
use std::fmt::Write as _;
use std::path::Path;

const VECTORS: &str = "hard 1.5 0.25 -0.25\neasy -1.5 0.25 0.5\nsum 0.1 0.0 0.5\n";

fn config(extra: &str) -> String {
    format!(
        "{CONFIG}\n[routes.two.embedding]\nmodel = \"tiny\"\ndimensions = 3\nfile = \"words.txt\"\n{extra}\n"
    )
}

/// The large tier where the first number of the embedding is positive, by the vectors of a file.
fn rules_of(path: &Path) -> Rules {
    let mut rules = rules();
    let embedding = rules.router.as_mut().unwrap().inputs.embedding.as_mut().unwrap();
    embedding.sha256 = Some(StaticEmbedding::hash(path, "words.txt").unwrap());
    rules
}

fn builder(directory: &Path, config: &str, rules: Rules) -> Builder {
    builder_of(directory, config, routed(config, rules)).provider("local", Names)
}

#[tokio::test]
async fn its_vectors_decide_for_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("words.txt");
    std::fs::write(&path, VECTORS).unwrap();
    let client = builder(directory.path(), &config(""), rules_of(&path)).build().unwrap();
    for (text, tier) in [("a Hard sum!", "large"), ("an easy, easy sum", "small"), ("", "small")] {
        let routed = client.call::<Tier>(1, Request::new(text)).await.unwrap();
        assert_eq!(routed.tier.name(), tier, "{text}");
        let used = routed.embedding.as_ref().unwrap();
        assert_eq!((used.cost, used.estimated, used.failure.is_none()), (Usd::ZERO, Usd::ZERO, true));
    }
}

#[test]
fn another_file_is_refused_when_the_client_is_built() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("words.txt");
    std::fs::write(&path, VECTORS).unwrap();
    let (config, rules) = (config(""), rules_of(&path));
    std::fs::write(&path, VECTORS.replace("1.5", "1.25")).unwrap();
    let error = builder(directory.path(), &config, rules.clone()).build().unwrap_err();
    assert!(
        error.is_config() && error.to_string().contains("fitted with another file of word vectors"),
        "{error}"
    );

    // Where the program runs, the file may stand elsewhere.
    let moved = directory.path().join("moved.txt");
    std::fs::write(&moved, VECTORS).unwrap();
    builder(directory.path(), &config, rules.clone()).embedding_file("tiny", &moved).build().unwrap();

    std::fs::remove_file(&path).unwrap();
    let error = builder(directory.path(), &config, rules.clone()).build().unwrap_err();
    assert!(error.to_string().contains("`words.txt` cannot be read"), "{error}");
    let slip = builder(directory.path(), &config, rules.clone())
        .embedding_file("tinny", &moved)
        .build()
        .unwrap_err();
    assert!(slip.to_string().contains("no route has an embedding by `tinny`"), "{slip}");
    let own = Own::new(Does::Well);
    let both = builder(directory.path(), &config, rules).embedder("tiny", own).build().unwrap_err();
    assert!(both.to_string().contains("is read from its `file`, so an embedder does nothing"), "{both}");
    // A policy that reads no embedding needs no file.
    let single = Rules { router: None, plans: self::rules().plans[..1].to_vec(), ..self::rules() };
    builder_of(directory.path(), &config, crate::setup::policy_of(&config, single))
        .provider("local", Names)
        .build()
        .unwrap();
}

/// Offline = online, and the log needs no vectors.
#[tokio::test]
async fn over_a_log_the_client_decides_as_the_replay_does() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("words.txt");
    std::fs::write(&path, VECTORS).unwrap();
    let replayed = config("").replace(
        "api = \"openai\"\nbase_url = \"http://127.0.0.1:9/v1\"\napi_key_env = \"CASCADE_TEST_KEY\"",
        "api = \"replay\"",
    );
    let mut text = String::new();
    for row in 0..30 {
        let words = ["hard sum", "easy sum", "hard easy easy", "sum", "nothing known"][row % 5];
        writeln!(
            text,
            r#"{{"id":"r{row:02}","input":"{words} {row}","results":{{"small":{{"quality":1,"cost_usd":0.00002,"output":"s"}},"large":{{"quality":1,"cost_usd":0.0002,"output":"l"}}}}}}"#
        )
        .unwrap();
    }
    std::fs::write(directory.path().join("log.jsonl"), &text).unwrap();
    let rules = rules_of(&path);
    let client = builder_of(directory.path(), &replayed, routed(&replayed, rules.clone())).build().unwrap();
    let read_config = config::read(&Source::new("cascade.toml", replayed.as_str())).0.unwrap();
    let options = ReadOptions::for_route(&read_config, read_config.route("two").unwrap());
    let options = options.with_static_embedding(directory.path()).unwrap();
    let log = read([LogSource::new("log.jsonl", text.as_bytes())], &options).unwrap().log;
    let replay = Replay::new(&rules, &log).unwrap();
    let mut scratch = replay.scratch();
    let mut plans = [0; 2];
    for (row, entry) in log.rows.iter().enumerate() {
        let expected = replay.row(row, &mut scratch).unwrap();
        let request = Request::new(entry.text.as_deref().unwrap());
        let routed = client.call::<Tier>(1, request).await.unwrap();
        assert_eq!((routed.plan, routed.cost()), (expected.plan, expected.cost), "{}", entry.id);
        plans[routed.plan] += 1;
    }
    assert!(plans.iter().all(|count| *count > 5), "{plans:?}");
}
