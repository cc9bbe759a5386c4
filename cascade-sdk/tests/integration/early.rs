//! Early escalation, failover and streams over HTTP.

use crate::server::{Server, completion, http, streamed};
use crate::setup::{CONFIG, Tier, builder, drained};
use cascade_sdk::Client;
use cascade_sdk::decide::{Decision, Why};
use cascade_sdk::money::Usd;
use std::path::Path;

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
