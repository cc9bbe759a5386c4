//! What becomes of an answer whose signal cannot be had: one table, which the tests drive and `docs/faults.md` shows.

use crate::server::{Act, Server, completion, http};
use crate::setup::{CONFIG, Tier, builder_of, documented, policy_of, rules};
use cascade_sdk::decide::{Decision, Why};
use cascade_sdk::money::Usd;
use cascade_sdk::signal::{Answered, Candidate, Scorer, Verifier, VerifierError, blocking};
use cascade_sdk::{AnswerSchema, Request};
use cascade_sdk_core::config;
use cascade_sdk_core::diag::Source;
use cascade_sdk_core::policy::{Cut, Rules};
use std::fmt::Write as _;
use std::path::Path;

const TWO: usize = 1;

const GRADER: &str = "
[tiers.grader]
provider = \"local\"
model = \"g\"
price = { input = 10.0, output = 20.0 }
max_output_tokens = 50
timeout_s = 60
";

const JUDGE: &str = "kind = \"judge\"\ntier = \"grader\"\nrubric = \"Right or wrong.\"";
const SAMPLES: &str =
    "kind = \"self_consistency\"\ntiers = [\"small\"]\nsamples = 3\ntemperature = 0.7\nconcurrency = 1";
const VERIFIER: &str = "kind = \"verifier\"\ntimeout_s = 0.1";

/// What a failed signal is charged.
#[derive(Clone, Copy, PartialEq)]
enum Charge {
    Nothing,
    /// The worst case of every try.
    WorstCase,
    /// What the provider says it used.
    Usage,
}

/// A small tier whose answer is scored, and the signal fails.
struct Case {
    signal: &'static str,
    fault: &'static str,
    /// What the server does with the calls of the signal, and how often it is asked.
    act: Option<Act>,
    tries: usize,
    /// The word in `signal_errors`.
    word: &'static str,
    charge: Charge,
}

fn judge(fault: &'static str, act: Act, tries: usize, word: &'static str, charge: Charge) -> Case {
    Case { signal: JUDGE, fault, act: Some(act), tries, word, charge }
}

fn sample(fault: &'static str, act: Act, tries: usize, word: &'static str, charge: Charge) -> Case {
    Case { signal: SAMPLES, ..judge(fault, act, tries, word, charge) }
}

fn verifier(fault: &'static str, word: &'static str) -> Case {
    Case { signal: VERIFIER, fault, act: None, tries: 1, word, charge: Charge::Nothing }
}

fn cases() -> Vec<Case> {
    let again = "retry-after-ms: 1\r\n";
    let refusal = serde_json::json!({
        "choices": [{"message": {"role": "assistant", "content": "no"}, "finish_reason": "content_filter"}],
        "usage": {"prompt_tokens": 30, "completion_tokens": 4},
    });
    let refusal = http(200, "content-type: application/json\r\n", &refusal.to_string());
    vec![
        judge("connection closed without a word", Act::Close, 3, "connection", Charge::WorstCase),
        judge("silence", Act::Hang, 1, "timeout", Charge::WorstCase),
        judge("body that is not JSON", http(200, "", "<html>SECRET"), 1, "bad_body", Charge::WorstCase),
        judge("500", http(500, again, "{}"), 3, "status", Charge::Nothing),
        judge("401", http(401, "", "{}"), 1, "auth", Charge::Nothing),
        judge("a refusal", refusal, 1, "refused", Charge::Usage),
        judge("prose instead of a verdict", completion("seven", -0.1), 1, "invalid_answer", Charge::Usage),
        judge("a score out of range", completion("{\"score\":11}", -0.1), 1, "invalid_answer", Charge::Usage),
        sample("connection closed without a word", Act::Close, 3, "connection", Charge::WorstCase),
        sample("silence", Act::Hang, 1, "timeout", Charge::WorstCase),
        sample("500", http(500, again, "{}"), 3, "status", Charge::Nothing),
        verifier("more time than `timeout_s`", "verifier_timeout"),
        verifier("a panic", "verifier_panic"),
        verifier("an error", "verifier_error"),
        verifier("a value that is no finite number", "not_a_number"),
    ]
}

/// Misbehaves as it is told.
struct Misbehaving(&'static str);

#[async_trait::async_trait]
impl Verifier for Misbehaving {
    async fn verify(&self, candidate: &Candidate) -> Result<f64, VerifierError> {
        match self.0 {
            "verifier_timeout" => std::future::pending().await,
            "verifier_panic" => panic!("on purpose"),
            "verifier_error" => Err(format!("{} is wrong", candidate.text()).into()),
            _ => Ok(f64::NAN),
        }
    }
}

/// Small first, kept from 0.6 of the signal on; else large.
fn scored() -> Rules {
    let mut rules = rules();
    rules.signals = vec!["extra".into()];
    rules.plans[0].stages[0].rule.as_mut().unwrap().at_least = Cut(0.6);
    rules
}

fn config_with(signal: &str) -> String {
    let signal = format!("{CONFIG}\n[routes.two.signals.extra]\n{signal}\n");
    let patient = signal.replace("timeout_s = 0.4", "timeout_s = 60");
    if signal.contains("grader") { patient + GRADER } else { patient }
}

/// The most that one call of the signal can cost on the answer of the small tier.
fn worst_of_a_call(config_text: &str) -> Usd {
    let config = config::read(&Source::new("cascade.toml", config_text)).0.unwrap();
    let (tier, route) = (config.tier("small").unwrap(), config.route("two").unwrap());
    let scorer = Scorer::new(&route.signals[0], config.tier("grader"), None).unwrap();
    let (settings, schema, request) = (&route.request, &AnswerSchema::TEXT, &Request::new("hello"));
    let text = "SECRET";
    let answered = Answered::new(("two", tier), settings, schema, request, text);
    scorer.worst_cases(answered).unwrap()[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_signal_that_fails_has_its_word_and_its_charge() {
    for case in cases() {
        let what = format!("{} {}", case.signal.lines().next().unwrap(), case.fault);
        let config = config_with(case.signal);
        let config = if matches!(case.act, Some(Act::Hang)) {
            config.replace("timeout_s = 60", "timeout_s = 0.4")
        } else {
            config
        };
        let faults = case.act.iter().cycle().take(if case.act.is_some() { case.tries } else { 0 }).cloned();
        let acts =
            std::iter::once(completion("SECRET", -0.1)).chain(faults).chain([completion("sure", -0.1)]);
        let server = Server::start(acts).await;
        let client =
            builder_of(Path::new("."), &config, policy_of(&config, scored())).base_url(&server.base_url);
        let client =
            if case.signal == VERIFIER { client.verifier("extra", Misbehaving(case.word)) } else { client };
        let routed = client.build().unwrap().call::<Tier>(TWO, "hello").await.unwrap();
        let step = &routed.path[0];
        assert_eq!((routed.answer.as_str(), routed.tier), ("sure", Tier::Large), "{what}");
        assert_eq!(step.decision, Decision::Escalate(Why::MissingSignal), "{what}: {step:?}");
        assert!(step.failure.is_none() && !step.failover, "{what}");
        let failure = &step.signal_failures["extra"];
        assert_eq!(failure.log_word(), case.word, "{what}");
        assert!(!format!("{failure} {step:?}").contains("SECRET"), "{what}: {step:?}");
        let asked = if case.act.is_some() { case.tries } else { 0 };
        assert_eq!(server.requests().len(), asked + 2, "{what}");
        match case.charge {
            Charge::Nothing => assert_eq!(step.signal_cost, Usd::ZERO, "{what}"),
            // 30 tokens at ten dollars a million and 4 at twenty.
            Charge::Usage => {
                assert_eq!(step.signal_cost, Usd::from_pico(380_000_000), "{what}");
                assert_eq!(routed.estimated(), Usd::ZERO, "{what}");
            }
            Charge::WorstCase => {
                let tries = i64::try_from(case.tries).unwrap();
                let worst = Usd::from_pico(worst_of_a_call(&config).pico() * tries);
                assert_eq!(step.signal_cost, worst, "{what}");
                assert_eq!((routed.estimated(), step.estimated), (worst, Usd::ZERO), "{what}");
            }
        }
        let calls = step.signal_calls.iter().map(|call| call.cost).fold(Usd::ZERO, Usd::saturating_add);
        assert_eq!(step.signal_cost, calls, "{what}");
    }
}

#[tokio::test]
async fn extra_calls_stand_in_the_decision_log_with_tokens_and_money() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("decisions.jsonl");
    let config = config_with(JUDGE);
    let verdict = |score: u8| completion(&format!("{{\"score\":{score}}}"), -0.1);
    let server = Server::start([completion("sure", -0.1), verdict(9)]).await;
    let builder =
        builder_of(directory.path(), &config, policy_of(&config, scored())).base_url(&server.base_url);
    let client = builder.decision_log(&log).build().unwrap();
    let routed = client.call::<Tier>(TWO, "hello").await.unwrap();
    assert_eq!((routed.answer.as_str(), routed.tier), ("sure", Tier::Small));
    client.flush_decision_log().await;
    let row: serde_json::Value = serde_json::from_str(std::fs::read_to_string(&log).unwrap().trim()).unwrap();
    let step = &row["path"][0];
    assert_eq!(step["signals"]["extra"], 0.9);
    assert_eq!(step["signal_cost_usd"], serde_json::json!({ "extra": 0.000_38 }));
    assert_eq!(step["signal_cost_total_usd"], 0.000_38);
    let call = &step["signal_calls"][0];
    assert_eq!(
        (&call["signal"], &call["tier"], &call["model"]),
        (&"extra".into(), &"grader".into(), &"g".into())
    );
    assert_eq!((&call["input_tokens"], &call["output_tokens"]), (&30.into(), &4.into()));
    assert_eq!((&call["cost_usd"], &call["served_model"]), (&0.000_38.into(), &"served".into()));
    assert_eq!(Usd::from_f64(row["cost_usd"].as_f64().unwrap()), Ok(routed.cost()));
    // The judge is held to its form, at temperature 0, and never sees what the answer could end.
    let sent = server.requests()[1].clone();
    assert!(sent.contains("\"json_schema\"") && sent.contains("\"temperature\":0.0"), "{sent}");
}

#[tokio::test]
async fn explored_requests_get_every_signal_of_every_answer() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("decisions.jsonl");
    let config = format!("{}\n[routes.two.runtime]\nexplore = 1.0\n", config_with(VERIFIER));
    // The small tier is not sure: the policy goes on, and both answers are verified in the end.
    let server = Server::start([completion("no", -0.1), completion("sure", -0.1)]).await;
    let builder =
        builder_of(directory.path(), &config, policy_of(&config, scored())).base_url(&server.base_url);
    let right = |candidate: &Candidate| Ok(f64::from(u8::from(candidate.text() == "sure")));
    let client = builder.verifier("extra", blocking(right)).decision_log(&log).build().unwrap();
    assert_eq!(client.call::<Tier>(TWO, "hello").await.unwrap().tier, Tier::Large);
    let explored = loop {
        client.flush_decision_log().await;
        let text = std::fs::read_to_string(&log).unwrap();
        if let Some(row) = text.lines().find(|line| line.contains("\"exploration\"")) {
            break serde_json::from_str::<serde_json::Value>(row).unwrap();
        }
        tokio::task::yield_now().await;
    };
    let signal = |tier: &str| explored["results"][tier]["signals"]["extra"].clone();
    assert_eq!((signal("small"), signal("large")), (0.0.into(), 1.0.into()), "{explored}");
    assert!(!explored.to_string().contains("sure"), "texts are kept for the signals, not for the log");
}

/// The rows of the table in `docs/faults.md`.
fn table() -> String {
    let mut table =
        "| signal | fault | tries | `signal_errors` | charged |\n|---|---|---|---|---|\n".to_owned();
    for case in cases() {
        let signal = match case.signal {
            JUDGE => "`judge`",
            SAMPLES => "`self_consistency`",
            _ => "`verifier`",
        };
        let charged = match (case.charge, case.tries) {
            (Charge::Nothing, _) => "nothing",
            (Charge::Usage, _) => "what the provider says it used",
            (Charge::WorstCase, 1) => "the worst case, estimated",
            (Charge::WorstCase, _) => "the worst case of every try, estimated",
        };
        let _ =
            writeln!(table, "| {signal} | {} | {} | `{}` | {charged} |", case.fault, case.tries, case.word);
    }
    table
}

#[test]
fn the_documented_table_is_the_tested_one() {
    documented("signals", &table());
}
