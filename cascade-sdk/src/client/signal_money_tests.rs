//! The money of signals: set aside before an answer is asked for, settled once its signals are there, whatever happens.

use super::signal_tests::{LARGE, SMALL, builder, explored, judge, tiers, with};
use super::tests::{Tier, config, status};
use super::*;
use crate::budget::{Ask, BudgetStore, Burn, InProcess, Ledger, Reserved, StoreError};
use crate::money::Usd;
use crate::provider::{ModelCall, Reply, Scripted};
use crate::signal::{Answered, Scorer, SignalFailure};
use async_trait::async_trait;
use cascade_sdk_core::config::OnExceeded;
use serde_json::Value;
use std::sync::Mutex;

/// Scores answers of the small tier.
fn scored<T>(text: &str, read: impl Fn(&Scorer, Answered<'_>) -> T) -> T {
    let config = with(None, judge());
    let scorer = Scorer::new(&judge(), config.tier("large"), None).unwrap();
    let (tier, settings) = (config.tier("small").unwrap(), &config.routes[0].request);
    let (request, schema) = (&Request::new("x"), &AnswerSchema::TEXT);
    read(&scorer, Answered { route: "triage", tier, settings, schema, request, text, tool_calls: &[] })
}

fn worst_of_a_verdict_on(text: &str) -> Usd {
    scored(text, |scorer, answered| scorer.worst_cases(answered).unwrap()[0])
}

/// Checks what a ledger of the budget holds, to the pico-dollar.
async fn assert_taken(store: &InProcess, amount: Usd) {
    let window = config(Some((1, OnExceeded::Reject))).budgets[0].window;
    let fits = async |limit: i64| {
        let ledger = Ledger { key: "b".into(), limit: Usd::from_pico(limit), window };
        let (until_sent, lifetime) = (Duration::ZERO, window);
        let ask = Ask { ledgers: &[ledger], amount: Usd::ZERO, until_sent, lifetime };
        matches!(store.reserve(&ask).await.unwrap(), Reserved::Lease(_))
    };
    assert!(fits(amount.pico()).await, "more than {amount} is taken");
    assert!(!fits(amount.pico() - 1).await, "less than {amount} is taken");
}

/// The most that a call of the small tier and one verdict of the large one can cost.
fn worst() -> (i64, i64) {
    scored("", |scorer, answered| {
        let Answered { tier, settings, schema, request, .. } = answered;
        let call = ModelCall::new(tier, settings, schema, request);
        let verdict = scorer.worst_cases_of_any(answered).unwrap()[0];
        (call.worst_case(tier).unwrap().pico(), verdict.pico())
    })
}

#[tokio::test]
async fn an_answer_that_nobody_could_pay_to_judge_is_not_asked_for() {
    let (small, verdict) = worst();
    let answering = || Scripted::new().reply_always("small", "a").reply_always("large", r#"{"score":9}"#);
    let script = answering();
    let client =
        builder(&script, with(Some((small + verdict - 1, OnExceeded::Reject)), judge())).build().unwrap();
    let error = client.call::<Tier>(0, "x").await.unwrap_err();
    assert!(error.is_budget() && script.asked().is_empty(), "{error:?}");
    assert_eq!(error.spent(), Usd::ZERO);
    let script = answering();
    // What was set aside for the answer and its verdict is settled at their cost: room for one more request, no more.
    let limit = small + verdict + SMALL.pico() + LARGE.pico();
    let client = builder(&script, with(Some((limit, OnExceeded::Reject)), judge())).build().unwrap();
    for _ in 0..2 {
        let routed = client.call::<Tier>(0, "x").await.unwrap();
        assert_eq!((routed.tier, routed.cost()), (Tier::Small, SMALL.saturating_add(LARGE)));
    }
    assert!(client.call::<Tier>(0, "x").await.unwrap_err().is_budget());
}

#[tokio::test]
async fn money_set_aside_for_a_signal_that_is_not_needed_goes_back() {
    let (small, verdict) = worst();
    let script = Scripted::new().reply_always("small", status(400)).reply_always("large", "b");
    let limit = 2 * (small + verdict);
    let client = builder(&script, with(Some((limit, OnExceeded::Reject)), judge())).build().unwrap();
    // Each request charges the large tier's 150 and nothing else.
    let rounds = (limit - small - verdict) / LARGE.pico();
    assert!(rounds >= 2);
    for _ in 0..rounds {
        assert_eq!(client.call::<Tier>(0, "x").await.unwrap().cost(), LARGE);
    }
}

#[tokio::test]
async fn a_dropped_call_charges_the_verdict_that_was_sent() {
    let (small, verdict) = worst();
    let script = Scripted::new()
        .reply("small", "a")
        .reply("large", Reply::text(r#"{"score":9}"#).after(Duration::from_secs(9)))
        .reply_always("small", "a");
    // The worst case of one request, and what one answer really costs beside it.
    let limit = small + verdict + SMALL.pico();
    let store = InProcess::new();
    let config = with(Some((limit, OnExceeded::Reject)), judge());
    let client = builder(&script, config).budget_store(store.clone()).build().unwrap();
    {
        let mut call = pin!(client.call::<Tier>(0, "x").into_future());
        let mut polls = 0;
        while script.asked().len() < 2 {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(call.as_mut().poll(&mut context).is_pending());
            tokio::task::yield_now().await;
            polls += 1;
            assert!(polls < 1000, "{:?}", script.asked());
        }
    }
    // The worst case of the verdict on this answer, which is shorter than the longest that money was set aside for.
    let sent = worst_of_a_verdict_on("a");
    assert!(sent < Usd::from_pico(verdict));
    assert_taken(&store, SMALL.saturating_add(sent)).await;
    let error = client.call::<Tier>(0, "x").await.unwrap_err();
    assert!(error.is_budget(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_during_a_verdict_counts_it_at_its_worst() {
    let script = Scripted::new()
        .reply("small", "a")
        .reply("large", Reply::text(r#"{"score":9}"#).after(Duration::from_secs(9)));
    let request = Request::new("x").with_deadline(Duration::from_millis(100));
    let store = InProcess::new();
    let config = with(Some((1_000_000_000_000, OnExceeded::Reject)), judge());
    let client = builder(&script, config).budget_store(store.clone()).build().unwrap();
    let error = client.call::<Tier>(0, request).await.unwrap_err();
    let spent = SMALL.saturating_add(worst_of_a_verdict_on("a"));
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!(error.spent(), spent);
    // The ledger says the same.
    assert_taken(&store, spent).await;
}

/// A store that notes what it is asked.
#[derive(Clone, Debug, Default)]
struct Noting {
    store: InProcess,
    asks: Arc<Mutex<Vec<(Duration, Duration)>>>,
}

#[async_trait]
impl BudgetStore for Noting {
    async fn reserve(&self, ask: &Ask<'_>) -> Result<Reserved, StoreError> {
        self.asks.lock().unwrap().push((ask.until_sent, ask.lifetime));
        self.store.reserve(ask).await
    }

    async fn burn(&self, ledger: &Ledger) -> Result<Burn, StoreError> {
        self.store.burn(ledger).await
    }
}

#[tokio::test]
async fn money_for_a_verdict_is_held_as_long_as_the_answer_may_take() {
    let mut config = with(Some((1_000_000_000_000, OnExceeded::Reject)), judge());
    let (answer, verdict) = (Duration::from_secs(60), Duration::from_secs(5));
    (config.tiers[0].timeout, config.tiers[1].timeout) = (Some(answer), Some(verdict));
    let store = Noting::default();
    let script = Scripted::new().reply("small", "a").reply("large", r#"{"score":9}"#);
    let client = builder(&script, config).budget_store(store.clone()).max_retries(2).build().unwrap();
    client.call::<Tier>(0, "x").await.unwrap();
    let asks = store.asks.lock().unwrap();
    let [of_verdict, of_answer] = asks[..] else { panic!("{asks:?}") };
    assert!(of_verdict.0 >= 3 * answer, "the answer may take three attempts: {asks:?}");
    assert!((verdict..answer).contains(&of_verdict.1), "once sent the verdict's own time counts: {asks:?}");
    assert!(of_answer.0 == Duration::ZERO && of_answer.1 >= answer, "{asks:?}");
}

#[tokio::test]
async fn a_full_budget_in_the_middle_is_a_signal_that_is_missing() {
    let (small, verdict) = worst();
    let script = Scripted::new().reply("small", &*"a ".repeat(4000)).reply("large", "b");
    let store = InProcess::new();
    let config = with(Some((small + verdict, OnExceeded::Reject)), judge());
    let client = builder(&script, config).budget_store(store.clone()).build().unwrap();
    let routed = client.call::<Tier>(0, "x").await.unwrap();
    // A verdict on an answer that long costs more than was set aside and more than there is. The next tier still fits, because
    // what was set aside went back.
    let failure = &routed.path[0].signal_failures["extra"];
    assert!(matches!(failure, SignalFailure::Budget), "{failure:?}");
    assert_eq!((routed.answer.as_str(), tiers(&script).len()), ("b", 2));
    assert_taken(&store, SMALL.saturating_add(LARGE)).await;
}

#[tokio::test]
async fn an_exploration_pays_for_the_signal_that_its_caller_s_budget_had_no_room_for() {
    let (small, verdict) = worst();
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("decisions.jsonl");
    let mut config = with(Some((small + verdict, OnExceeded::Reject)), judge());
    config.routes[0].runtime.explore = 1.0;
    let script = Scripted::new()
        .reply("small", &*"a ".repeat(4000))
        .reply("large", "b")
        .reply("large", r#"{"score":9}"#);
    let client = builder(&script, config).decision_log(&log).build().unwrap();
    let routed = client.call::<Tier>(0, "x").await.unwrap();
    assert_eq!(routed.path[0].signal_failures["extra"].log_word(), "budget");
    let row = explored(&client, &log).await;
    let small = &row["results"]["small"];
    assert_eq!((&small["signals"]["extra"], &small["signal_errors"]), (&0.9.into(), &Value::Null), "{row}");
    assert_eq!(
        (&small["signal_cost_usd"]["extra"], &row["incomplete"]),
        (&LARGE.to_f64().into(), &Value::Null)
    );
}
