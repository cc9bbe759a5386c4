//! Early escalation, failover and streams over HTTP.

use crate::server::{Server, completion, http, streamed};
use crate::setup::{
    CONFIG, Tier, baked, builder, builder_of, drained, leak, policy_for, policy_of, route, rules,
};
use cascade_sdk::__private::v1::RouteSpec;
use cascade_sdk::budget::{BudgetStore, InProcess, Ledger};
use cascade_sdk::decide::{Decision, Why};
use cascade_sdk::money::Usd;
use cascade_sdk::{AnswerSchema, Client, Request};
use cascade_sdk_core::hash::Hasher;
use cascade_sdk_core::policy::{PrefixCut, Stop};
use std::path::Path;
use std::time::Duration;

const TWO: usize = 1;

fn client(server: &Server, runtime: &str) -> Client {
    let config =
        format!("{CONFIG}\n[routes.two.runtime]\n{runtime}\n").replace("timeout_s = 0.4", "timeout_s = 5");
    builder(Path::new("."), &config).base_url(&server.base_url).build().unwrap()
}

/// 30 input tokens at one dollar and 4 output tokens at two dollars a million.
const SMALL: Usd = Usd::from_pico((30 + 4 * 2) * 1_000_000);
/// The same tokens at ten times the price.
const LARGE: Usd = Usd::from_pico((30 * 10 + 4 * 20) * 1_000_000);

#[tokio::test]
async fn an_answer_that_cannot_be_kept_is_given_up_and_only_what_arrived_is_paid() {
    // Kept from a mean of −0.2 over at most 50 tokens: once the sum is below −10 nothing can mend it.
    let tokens = [("a", -4.0), ("b", -4.0), ("ü", -4.0), ("d", -0.1), ("e", -0.1), ("f", -0.1)];
    let server = Server::start([streamed(&tokens, true), completion("sure", -0.1)]).await;
    let routed = client(&server, "early_escalation = true").call::<Tier>(TWO, "hello").await.unwrap();
    assert_eq!((routed.answer.as_str(), routed.tier), ("sure", Tier::Large));
    let step = &routed.path[0];
    // The third token counts once the fourth has arrived; `ü` may have been two.
    assert_eq!(step.given_up_after, Some(5));
    let Decision::Escalate(Why::OutOfReach { at_most, at_least }) = step.decision else { panic!("{step:?}") };
    assert!((at_most + 12.0 / 50.0).abs() < 1e-12 && (at_least + 0.2).abs() < 1e-12);
    // 32 + 32 + 5 bytes of input and the tokens that arrived.
    let cost = Usd::from_pico((69 + 5 * 2) * 1_000_000);
    assert_eq!((step.cost, step.estimated, step.usage), (cost, cost, None));
    assert_eq!(routed.cost(), cost.checked_add(LARGE).unwrap());
    assert!(server.requests()[0].contains(r#""stream":true"#));
}

#[tokio::test]
async fn tokens_of_many_bytes_are_charged_up_to_the_limit_and_nobody_is_blamed() {
    // 27 bytes each: so many tokens they may have been, but not more than the 50 that were asked for.
    let tokens = [("日本語日本語日本語", -4.0); 6];
    let server = Server::start([streamed(&tokens, true), completion("sure", -0.1)]).await;
    let routed = client(&server, "early_escalation = true").call::<Tier>(TWO, "hello").await.unwrap();
    let step = &routed.path[0];
    assert!(step.given_up_after > Some(50), "{step:?}");
    let worst = Usd::from_pico((69 + 50 * 2) * 1_000_000);
    assert_eq!((step.cost, step.estimated, step.excess), (worst, worst, Usd::ZERO));
}

#[tokio::test]
async fn a_watched_answer_that_may_still_be_kept_is_the_same_as_a_whole_one() {
    for (logprobs, tier) in [([-0.1, -0.2], Tier::Small), ([-0.3, -0.3], Tier::Large)] {
        let tokens = [("su", logprobs[0]), ("re", logprobs[1])];
        let server = Server::start([streamed(&tokens, true), completion("large", -0.1)]).await;
        let routed = client(&server, "early_escalation = true").call::<Tier>(TWO, "hello").await.unwrap();
        assert_eq!((routed.tier, routed.path[0].given_up_after), (tier, None));
        assert_eq!((routed.path[0].cost, routed.estimated()), (SMALL, Usd::ZERO));
        let mean = routed.path[0].signals["mean_logprob"];
        assert!((mean - f64::midpoint(logprobs[0], logprobs[1])).abs() < 1e-12);
    }
}

/// Tokens that cannot be kept: from a mean of −0.2 over at most 50 tokens.
const HOPELESS: [(&str, f64); 6] =
    [("a", -4.0), ("b", -4.0), ("c", -4.0), ("d", -0.1), ("e", -0.1), ("f", -0.1)];

#[tokio::test]
async fn only_requests_that_are_explored_are_taken_in_whole() {
    let directory = tempfile::tempdir().unwrap();
    let config = format!(
        "{CONFIG}\n[routes.two.runtime]\nearly_escalation = \"fitted\"\nexplore = 0.5\ndecision_log = \"d.jsonl\"\n"
    )
    .replace("timeout_s = 0.4", "timeout_s = 5");
    let ids: Vec<String> = (0..40).map(|id| format!("q-{id}")).collect();
    let explored = |id: &str| Hasher::new().part("cascade explore").part("two").part(id).fraction() < 0.5;
    let (yes, no) =
        (ids.iter().find(|id| explored(id)).unwrap(), ids.iter().find(|id| !explored(id)).unwrap());
    // Would be kept at its end, and is not worth going on for after two tokens.
    let slow_start = [("a", -0.5), ("b", -0.5), ("c", 0.0), ("d", 0.0), ("e", 0.0), ("f", 0.0)];
    let mut stopping = rules();
    let stop = Stop { most_tokens: Some(50), cuts: vec![PrefixCut { after: 2, below: -0.3 }] };
    stopping.plans[0].stops.insert(0, stop);
    for (rules, tokens, fitted) in [(rules(), HOPELESS, false), (stopping, slow_start, true)] {
        for (id, whole) in [(no, false), (yes, true)] {
            let small = match (fitted, whole) {
                // Without a fitted rule the whole answer leads where the bounds lead, so it need not be watched.
                (false, true) => completion("abcdef", -2.0),
                _ => streamed(&tokens, true),
            };
            let server = Server::start([small, completion("sure", -0.1)]).await;
            let policy = policy_of(&config, rules.clone());
            let client =
                builder_of(directory.path(), &config, policy).base_url(&server.base_url).build().unwrap();
            let routed = client.call::<Tier>(TWO, Request::new("hello").with_id(id)).await.unwrap();
            assert_eq!((routed.answer.as_str(), routed.tier), ("sure", Tier::Large));
            let step = &routed.path[0];
            assert_eq!(step.given_up_after.is_none(), whole, "{fitted} {step:?}");
            assert_eq!(step.signals.contains_key("mean_logprob"), whole);
            if whole {
                assert_eq!((step.cost, step.estimated), (SMALL, Usd::ZERO));
            }
            let unpromising = matches!(step.decision, Decision::Escalate(Why::Unpromising { .. }));
            assert_eq!(unpromising, fitted, "{step:?}");
        }
    }
}

#[tokio::test]
async fn a_budget_that_falls_back_gives_up_only_what_it_can_pay_a_better_answer_for() {
    // The worst cases are 169 and 1690 millionths of a dollar.
    for (limit, has_room) in [("0.01", true), ("0.0015", false)] {
        let budget =
            format!("\n[budgets.b]\nlimit_usd = {limit}\nwindow = \"366d\"\non_exceeded = \"cheapest\"\n");
        let config = format!("{CONFIG}{budget}[routes.two.runtime]\nearly_escalation = true\n")
            .replace("[routes.two]\n", "[routes.two]\nbudget = \"b\"\n")
            .replace("timeout_s = 0.4", "timeout_s = 5");
        let server = Server::start([streamed(&HOPELESS, true), completion("sure", -0.1)]).await;
        let store = InProcess::new();
        let client = builder(Path::new("."), &config).budget_store(store.clone());
        let client = client.base_url(&server.base_url).build().unwrap();
        let routed = client.call::<Tier>(TWO, "hello").await.unwrap();
        let step = &routed.path[0];
        assert_eq!(step.given_up_after.is_some(), has_room, "{step:?}");
        if has_room {
            assert_eq!((routed.answer.as_str(), routed.tier, routed.path.len()), ("sure", Tier::Large, 2));
            assert_eq!(routed.path[1].cost, LARGE);
        } else {
            assert_eq!((routed.answer.as_str(), routed.tier), ("abcdef", Tier::Small));
            assert!(routed.kept_for_budget);
            assert_eq!(routed.cost(), SMALL);
        }
        // Nothing stays set aside.
        let limit = Usd::parse(limit).unwrap();
        let burn = store.burn(&Ledger::new("b", limit, Duration::from_secs(366 * 86_400))).await.unwrap();
        assert!((burn.spent * limit.to_f64() - routed.cost().to_f64()).abs() < 1e-15, "{burn:?} {routed:?}");
    }
}

#[tokio::test]
async fn a_typed_answer_is_given_up_by_the_tokens_of_its_value() {
    let schema = AnswerSchema::of::<Vec<String>>().to_json();
    let config = format!("{CONFIG}\n[routes.two.runtime]\nearly_escalation = true\n")
        .replace("top_logprobs = 2", "top_logprobs = 2\nanswer = { schema = \"list.json\" }")
        .replace("timeout_s = 0.4", "timeout_s = 5");
    let spec = || {
        let policy = Some(leak(policy_for(&config, rules(), Some(&schema))));
        RouteSpec {
            policy_path: Some("two.toml"),
            policy,
            schema: Some(leak(schema.clone())),
            ..route("two")
        }
    };
    // What the tokens around the value are like says nothing.
    let answer = |logprob: f64| {
        [
            ("{\"", -9.0),
            ("answer", -9.0),
            ("\":", -9.0),
            ("[\"", 0.0),
            ("a", logprob),
            ("b", logprob),
            ("c", logprob),
            ("\"]", 0.0),
            ("}", -9.0),
        ]
    };
    for (logprob, tier) in [(-0.1, Tier::Small), (-4.0, Tier::Large)] {
        let script = [streamed(&answer(logprob), true), completion(r#"{"answer":["sure"]}"#, -0.1)];
        let server = Server::start(script).await;
        let client = baked(Path::new("."), &config, vec![route("one"), spec()]);
        let client = client.base_url(&server.base_url).build().unwrap();
        let routed = client.call::<Tier>(TWO, "hello").answer::<Vec<String>>().await.unwrap();
        let answer = if tier == Tier::Small { "abc" } else { "sure" };
        assert_eq!((routed.answer, routed.tier), (vec![answer.to_owned()], tier));
        // The third of them counts once the fourth has arrived, eight tokens in.
        assert_eq!(routed.path[0].given_up_after, (tier == Tier::Large).then_some(8));
    }
}

#[tokio::test]
async fn a_route_of_one_tier_has_nobody_to_stand_in_and_says_what_failed() {
    for (fault, times, charged, words) in [
        (http(503, "", "{}"), 3, false, "503"),
        (http(200, "content-type: application/json\r\n", "{"), 1, true, "tier `large`"),
    ] {
        let server = Server::start(vec![fault; times]).await;
        let client = builder(Path::new("."), CONFIG).base_url(&server.base_url).build().unwrap();
        let error = client.call::<Tier>(0, "hello").await.unwrap_err();
        assert!(error.is_provider() && !error.is_config(), "{error:?}");
        let message = error.to_string();
        assert!(message.contains("route `one`, tier `large`") && message.contains(words), "{message}");
        let [step] = error.path() else { panic!("{error:?}") };
        assert_eq!((step.tier.as_str(), step.failover, step.retries.len()), ("large", false, times - 1));
        assert_eq!(step.decision, Decision::Fail);
        assert_eq!((error.spent(), error.spent() > Usd::ZERO), (step.cost, charged));
        assert_eq!(server.requests().len(), times);
        // What a `main` that returns the error prints.
        let id = error.request_id().unwrap();
        let shown = format!("{error:?}");
        let rest = shown.strip_prefix(&message).unwrap();
        let cost = format!("Request `{id}` cost ${}:\n    1. tier `large`, ${}: ", error.spent(), step.cost);
        assert!(rest.trim_start().starts_with(&cost), "{shown}");
        assert!(format!("{error:#?}").starts_with("Error {\n    kind: Provider,"), "{error:#?}");
    }
}

#[tokio::test]
async fn a_last_stage_is_shown_while_it_arrives_and_costs_its_tokens() {
    for usage in [true, false] {
        let server =
            Server::start([completion("hm", -0.7), streamed(&[("a ", -0.1), ("b", -0.1)], usage)]).await;
        let stream = client(&server, "").call::<Tier>(TWO, "hello").stream::<String>();
        let (shown, routed) = drained(stream).await;
        let routed = routed.unwrap();
        assert_eq!((shown, routed.answer.as_str()), (vec!["a ".to_owned(), "b".to_owned()], "a b"));
        assert_eq!(routed.path[1].cost == LARGE, usage);
        // Without usage the worst case: 69 bytes in and 50 tokens out.
        let estimated = Usd::from_pico(if usage { 0 } else { (69 * 10 + 50 * 20) * 1_000_000 });
        assert_eq!(routed.path[1].estimated, estimated);
    }
}

#[tokio::test]
async fn the_connection_of_a_stream_is_not_kept_where_servers_close_it_without_a_word() {
    let server = Server::start([completion("hm", -0.7), streamed(&[("a", -0.1)], true)]).await;
    drained(client(&server, "").call::<Tier>(TWO, "hello").stream::<String>()).await.1.unwrap();
    let closes =
        server.requests().iter().map(|request| request.contains("connection: close")).collect::<Vec<_>>();
    assert_eq!(closes, [false, true]);
}

#[tokio::test]
async fn a_tier_stands_in_where_the_last_one_fails_if_the_route_says_so() {
    let script = || [completion("hm", -0.7), http(400, "", "{}"), completion("again", -0.7)];
    let server = Server::start(script()).await;
    assert!(client(&server, "").call::<Tier>(TWO, "hello").await.unwrap_err().is_provider());
    // Both tiers were asked: none is left to stand in.
    let server = Server::start(script()).await;
    assert!(client(&server, "failover = \"small\"").call::<Tier>(TWO, "hello").await.is_err());
    let config = format!("{CONFIG}\n[routes.one.runtime]\nfailover = \"small\"\n").replace("tiers = [\"large\"]", "tiers = [\"large\", \"small\"]\nuntil_fitted = \"large\"\nlog = [\"log.jsonl\"]\n[routes.one.objective]\nmax_cost_usd = 1.0");
    let server = Server::start([http(400, "", "{}"), completion("again", -0.7)]).await;
    let client = builder(Path::new("."), &config).base_url(&server.base_url).build().unwrap();
    let routed = client.call::<Tier>(0, "hello").await.unwrap();
    assert_eq!((routed.answer.as_str(), routed.tier), ("again", Tier::Small));
    assert_eq!(routed.path.iter().map(|step| step.failover).collect::<Vec<_>>(), [true, false]);
    assert_eq!(routed.path[0].decision, Decision::Fail);
}

#[tokio::test]
async fn a_server_that_answers_whole_where_a_stream_was_asked_for_is_understood() {
    let server = Server::start([completion("sure", -0.1)]).await;
    let (shown, routed) = drained(client(&server, "").call::<Tier>(0, "hello").stream::<String>()).await;
    let routed = routed.unwrap();
    assert_eq!((shown.concat(), routed.answer.as_str(), routed.cost()), ("sure".into(), "sure", LARGE));
}
