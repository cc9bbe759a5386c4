//! Streamed requests against scripts.

use super::tests::{Team, Tier, client, client_of, confident, config, doubtful, status};
use super::*;
use crate::money::Usd;
use crate::provider::{ProviderError, ProviderErrorKind, Reply, Response, Scripted};
use crate::request::{Tool, ToolCall};
use cascade_sdk_core::config::OnExceeded;
use cascade_sdk_core::decide::{Decision, Why};
use std::pin::pin;
use std::task::Context;

/// Everything that a stream says, in words; the answer's text at the end.
async fn told<T: fmt::Debug>(mut stream: AnswerStream<Tier, T>) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(event) = stream.next().await {
        told.push(match event {
            Ok(StreamEvent::Started { tier }) => format!("started {tier:?}"),
            Ok(StreamEvent::Escalated { from, to, why: Why::BelowThreshold { .. } }) => {
                format!("escalated {from:?} {to:?}")
            }
            Ok(StreamEvent::FailedOver { from, to }) => format!("failed over {from:?} {to:?}"),
            Ok(StreamEvent::Delta(text)) => format!("+{text}"),
            Ok(StreamEvent::Finished(routed)) => format!("finished {:?}", routed.answer),
            Ok(other) => format!("{other:?}"),
            Err(error) => format!("error {error}"),
        });
    }
    assert!(stream.next().await.is_none(), "a stream that is over stays over");
    told
}

fn broken() -> ProviderError {
    ProviderError::new(ProviderErrorKind::Connection, "reset").after_sending()
}

#[tokio::test]
async fn an_answer_that_the_policy_may_refuse_is_held_back_until_it_is_kept() {
    let script = Scripted::new().reply("small", confident("pay the bill"));
    let told = told(client(&script).call::<Tier>(0, "x").stream::<String>()).await;
    assert_eq!(told, ["started Small", "+pay the bill", "finished \"pay the bill\""]);
}

#[tokio::test]
async fn after_an_escalation_the_last_stage_is_shown_while_it_arrives() {
    let script = Scripted::new().reply("small", doubtful("secret one")).reply("large", "a b c");
    let told = told(client(&script).call::<Tier>(0, "x").stream::<String>()).await;
    assert_eq!(told, ["started Small", "escalated Small Large", "+a ", "+b ", "+c", "finished \"a b c\""]);
}

#[tokio::test]
async fn a_failed_call_is_a_failover_and_no_escalation() {
    let script = Scripted::new().reply("small", status(400)).reply("large", "b");
    let client = client(&script);
    let told = told(client.call::<Tier>(0, "x").stream::<String>()).await;
    assert_eq!(told, ["started Small", "failed over Small Large", "+b", "finished \"b\""]);
    let script = Scripted::new().reply("small", status(400)).reply("large", "b");
    let routed = self::client(&script).call::<Tier>(0, "x").await.unwrap();
    assert_eq!(routed.path.iter().map(|step| step.failover).collect::<Vec<_>>(), [true, false]);
    assert_eq!(routed.path[0].decision, Decision::Escalate(Why::Failed));
}

#[tokio::test]
async fn a_forced_tier_is_shown_at_once_and_typed_answers_are_read_at_the_end() {
    let script =
        Scripted::new().reply("small", r#"{"answer": "billing"}"#).reply("small", r#"{"answer": "sales"}"#);
    let client = client_of(&script, config(None), AnswerSchema::of::<Team>());
    let told_of = async || told(client.call::<Tier>(0, "x").with_tier(Tier::Small).stream::<Team>()).await;
    assert_eq!(told_of().await, ["started Small", "+{\"answer\": ", "+\"billing\"}", "finished Billing"]);
    let failed = told_of().await;
    assert!(failed.last().unwrap().starts_with("error"), "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn what_breaks_after_it_was_shown_is_an_error_and_never_told_twice() {
    let script =
        Scripted::new().reply("large", Reply::text("a b c").breaking_after(2)).reply_always("large", "again");
    let mut stream = client(&script).call::<Tier>(0, "x").with_tier(Tier::Large).stream::<String>();
    let mut shown = String::new();
    let error = loop {
        match stream.next().await.unwrap() {
            Ok(StreamEvent::Delta(text)) => shown.push_str(&text),
            Ok(StreamEvent::Finished(_)) => panic!("half an answer passed for a whole one"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!((shown.as_str(), script.asked().len()), ("a b ", 1));
    assert!(error.is_provider() && error.spent() > Usd::ZERO, "{error:?}");
    assert!(stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_breaks_before_anything_was_shown_is_asked_again() {
    let script = Scripted::new().reply("large", broken()).reply("large", "b");
    let told = told(client(&script).call::<Tier>(0, "x").with_tier(Tier::Large).stream::<String>()).await;
    assert_eq!(told, ["started Large", "+b", "finished \"b\""]);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_holds_while_an_answer_arrives() {
    let script = Scripted::new()
        .reply("small", doubtful("a"))
        .reply("large", Reply::text("b").after(Duration::from_secs(9)));
    let request = Request::new("x").with_deadline(Duration::from_millis(100));
    let told = told(client(&script).call::<Tier>(0, request).stream::<String>()).await;
    assert_eq!(told[..2], ["started Small", "escalated Small Large"]);
    assert!(told[2].contains("deadline"), "{told:?}");
}

#[tokio::test]
async fn a_dropped_stream_settles_at_once() {
    let script = Scripted::new().reply_always("small", confident("a").after(Duration::from_secs(9)));
    let limit = super::tests::WORST_SMALL;
    let client = client_of(&script, config(Some((limit, OnExceeded::Reject))), AnswerSchema::TEXT);
    // Never polled: nothing was sent, nothing is charged.
    drop(client.call::<Tier>(0, "x").stream::<String>());
    assert!(script.asked().is_empty());
    let mut stream = client.call::<Tier>(0, "x").stream::<String>();
    assert!(matches!(stream.next().await, Some(Ok(StreamEvent::Started { .. }))));
    {
        let mut waiting = pin!(stream.next());
        assert!(waiting.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending());
    }
    assert_eq!(script.asked().len(), 1);
    let error = client.call::<Tier>(0, "x").await.unwrap_err();
    assert!(error.is_budget(), "the call under way holds its reservation");
    drop(stream);
    let error = client.call::<Tier>(0, "x").await.unwrap_err();
    assert!(error.is_budget(), "a call that was sent is charged in full");
}

#[tokio::test]
async fn a_mistake_is_the_only_event() {
    let script = Scripted::new();
    let told = told(client(&script).call::<Tier>(0, "x").stream::<Team>()).await;
    assert!(told.len() == 1 && told[0].contains("cascade fit triage"), "{told:?}");
    let client = client(&script);
    client.close();
    let mut stream = client.call::<Tier>(0, "x").stream::<String>();
    assert!(stream.next().await.unwrap().unwrap_err().is_cancelled());
}

#[test]
fn streams_can_be_sent_and_outlive_what_made_them() {
    fn sendable<T: futures_core::Stream + Send + Unpin + fmt::Debug + 'static>(_: &T) {}
    sendable(&client(&Scripted::new()).call::<Tier>(0, "x").stream::<Team>());
}

#[tokio::test]
async fn tool_calls_come_typed_and_whole_at_the_end() {
    let mut config = config(None);
    config.routes[0].request.tools = true;
    let call = |city: &str| ToolCall::new(city, "weather", serde_json::json!({ "city": city }));
    let calls = || Response::text("I look.").with_tool_call(call("Oslo")).with_tool_call(call("Rome"));
    let script = Scripted::new()
        .reply("small", calls())
        .reply("large", calls())
        .reply("small", confident("sunny"))
        .reply("large", calls());
    let client = client_of(&script, config, crate::answer::AnswerSchema::TEXT);
    let tool = Tool::new("weather", "now", serde_json::json!({"type": "object"}));
    let request = Request::new("Oslo?").with_tool(tool);
    // Calls have no log-probabilities to be judged by, so the first stage escalates; nothing of its turn is shown.
    let mut stream = client.call::<Tier>(0, request.clone()).stream_turn::<String>();
    let (mut shown, mut escalated) = (String::new(), false);
    let routed = loop {
        match stream.next().await.unwrap().unwrap() {
            StreamEvent::Delta(text) => shown.push_str(&text),
            StreamEvent::Finished(routed) => break routed,
            StreamEvent::Escalated { why: Why::MissingSignal, .. } => escalated = true,
            _ => {}
        }
    };
    assert!(stream.next().await.is_none() && escalated);
    assert_eq!((shown.as_str(), routed.tier), ("I look.", Tier::Large));
    assert_eq!(routed.answer, Turn::ToolCalls(vec![call("Oslo"), call("Rome")]));
    assert_eq!(routed.turn().unwrap().parts.len(), 3);
    // An answer comes through the same stream.
    let told = told(client.call::<Tier>(0, request.clone()).stream_turn::<String>()).await;
    assert_eq!(told, ["started Small", "+sunny", "finished Answer(alloc::string::String)"]);
    // Where an answer is wanted, calls are none.
    let mut stream = client.call::<Tier>(0, request).with_tier(Tier::Large).stream::<String>();
    let error = loop {
        match stream.next().await.unwrap() {
            Ok(StreamEvent::Finished(routed)) => panic!("{routed:?}"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(error.is_answer() && error.to_string().contains("Call::stream_turn"), "{error}");
}
