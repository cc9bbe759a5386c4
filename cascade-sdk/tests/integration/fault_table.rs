//! Fault → what the caller gets → what is charged: one table, which the tests drive and `docs/faults.md` shows.

use crate::server::{Act, Server, http};
use crate::setup::{CONFIG, Tier, builder, documented, drained};
use cascade_sdk::Error;
use cascade_sdk::money::Usd;
use std::fmt::Write as _;
use std::path::Path;

/// A route of one tier, every attempt of which meets the same fault.
struct Case {
    fault: &'static str,
    act: Act,
    streamed: bool,
    /// How often the call is sent.
    tries: usize,
    predicate: Predicate,
    /// A part of the message.
    message: &'static str,
    /// Whether the provider may charge for it.
    charged: bool,
    /// Text of the answer that was shown before.
    shown: &'static str,
}

#[derive(Clone, Copy)]
enum Predicate {
    Provider,
    Timeout,
}

impl Predicate {
    fn holds(self, error: &Error) -> bool {
        match self {
            Self::Provider => error.is_provider(),
            Self::Timeout => error.is_timeout(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Provider => "is_provider",
            Self::Timeout => "is_timeout",
        }
    }
}

/// The prompt `SECRET` in bytes, with what templates may add, at 10 dollars a million, and 50 output tokens at 20.
const WORST: i64 = ((32 + 32 + 6) * 10 + 50 * 20) * 1_000_000;

const NO_WAIT: &str = "retry-after-ms: 1\r\n";

fn whole(fault: &'static str, act: Act, tries: usize, message: &'static str, charged: bool) -> Case {
    let predicate = Predicate::Provider;
    Case { fault, act, streamed: false, tries, predicate, message, charged, shown: "" }
}

fn stream(fault: &'static str, act: Act, tries: usize, message: &'static str) -> Case {
    Case { streamed: true, ..whole(fault, act, tries, message, true) }
}

fn half(body: &str) -> Act {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len() + 500);
    Act::Send([head.as_bytes(), body.as_bytes()].concat())
}

/// A body of events that ends with its connection.
fn events(body: &str) -> Act {
    Act::Send(
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{body}")
            .into(),
    )
}

const PIECE: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"half \"}}]}\n\n";

fn cases() -> Vec<Case> {
    let html = "content-type: text/html\r\n";
    let upstream = "data: {\"error\":{\"code\":502,\"message\":\"SECRET\"}}\n\n";
    let chunked = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{PIECE}\r\n",
        PIECE.len()
    );
    let stalls = match events(PIECE) {
        Act::Send(bytes) => Act::Stall(bytes),
        other => other,
    };
    let shown = |case: Case| Case { shown: "half ", ..case };
    let slow = |case: Case| Case { predicate: Predicate::Timeout, ..case };
    let no = false;
    vec![
        whole("connection closed without a word", Act::Close, 3, "lost the connection", true),
        whole("not HTTP", Act::Send(b"SSH-2.0-x\r\n".to_vec()), 3, "lost the connection", true),
        whole("half a body", half("{\"choices\":["), 3, "lost the connection", true),
        slow(whole("silence", Act::Hang, 1, "did not answer within", true)),
        whole("empty body", http(200, "", ""), 1, "not JSON", true),
        whole("body that is not JSON", http(200, "", "<html>SECRET"), 1, "not JSON", true),
        whole("JSON that is no completion", http(200, "", "{\"a\":\"SECRET\"}"), 1, "no choice", true),
        whole("body without end", Act::Endless("application/json", b" "), 1, "32 MiB", true),
        whole("500", http(500, NO_WAIT, "SECRET"), 3, "status 500", no),
        whole("501", http(501, NO_WAIT, "{}"), 1, "501", no),
        whole("429 with a short `Retry-After`", http(429, NO_WAIT, "{}"), 3, "429", no),
        whole("429 without `Retry-After`", http(429, "", "{}"), 3, "429", no),
        whole("429 with a `Retry-After` of an hour", http(429, "retry-after: 3600\r\n", "{}"), 1, "429", no),
        whole("400", http(400, "", "{\"error\":{\"message\":\"SECRET\"}}"), 1, "400", no),
        whole("401", http(401, "", "{\"error\":{\"message\":\"key SECRET\"}}"), 1, "refuses the key", no),
        whole("redirect", http(307, "location: http://127.0.0.1:1/SECRET\r\n", ""), 1, "redirects", no),
        Case { charged: no, ..stream("500", http(500, NO_WAIT, "SECRET"), 3, "status 500") },
        stream(
            "stream that ends before anything was shown",
            events(&PIECE.replace("half ", "")),
            3,
            "ended before",
        ),
        shown(stream("stream that ends in the middle", events(PIECE), 1, "ended before")),
        shown(stream("stream whose connection breaks", Act::Send(chunked.into()), 1, "lost the connection")),
        shown(stream("event that is cut off", events(&format!("{PIECE}data: {{\"choi")), 1, "ended before")),
        shown(stream("event that is not JSON", events(&format!("{PIECE}data: SECRET\n\n")), 1, "not JSON")),
        shown(stream("error in the middle", events(&format!("{PIECE}{upstream}")), 1, "status 502")),
        stream("error as the first event", events(upstream), 3, "status 502"),
        stream("body without events", events("SECRET\n\n"), 1, "no event"),
        stream("another content type", http(200, html, "SECRET"), 1, "something else than a stream"),
        stream("line without end", Act::Endless("text/event-stream", b"x"), 1, "line of more than 1 MiB"),
        stream("stream without end", Act::Endless("text/event-stream", b": on\n\n"), 1, "32 MiB"),
        slow(stream("stream that never comes", Act::Drip, 1, "within")),
        slow(shown(stream("stream that falls silent", stalls, 1, "within"))),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_has_its_error_and_its_charge() {
    for case in cases() {
        let what = format!("{} (streamed: {})", case.fault, case.streamed);
        let patient = !matches!(case.predicate, Predicate::Timeout);
        let config =
            if patient { CONFIG.to_owned() } else { CONFIG.replace("timeout_s = 5", "timeout_s = 0.4") };
        let config = config.replace("timeout_s = 5", "timeout_s = 60");
        let server = Server::start([case.act]).await;
        let client = builder(Path::new("."), &config).base_url(&server.base_url).build().unwrap();
        let call = client.call::<Tier>(0, "SECRET");
        let (error, shown) = if case.streamed {
            let (shown, end) = drained(call.stream::<String>()).await;
            (end.unwrap_err(), shown.concat())
        } else {
            (call.await.unwrap_err(), String::new())
        };
        assert!(case.predicate.holds(&error), "{what}: {error:?}");
        assert!(error.to_string().contains(case.message), "{what}: {error}");
        assert!(!format!("{error} {error:?}").contains("SECRET"), "{what}: {error:?}");
        assert_eq!(shown, case.shown, "{what}");
        assert_eq!(server.requests().len(), case.tries, "{what}");
        let tries = i64::try_from(case.tries).unwrap();
        let charge = Usd::from_pico(if case.charged { tries * WORST } else { 0 });
        assert_eq!((error.spent(), error.path()[0].estimated), (charge, charge), "{what}");
    }
}

/// The rows of the table in `docs/faults.md`.
fn table() -> String {
    let mut table =
        "| fault | asked for | tries | the caller gets | charged |\n|---|---|---|---|---|\n".to_owned();
    for case in cases() {
        let asked_for = if case.streamed { "a stream" } else { "a whole answer" };
        let after = if case.shown.is_empty() { "" } else { " after the text so far" };
        let charged = match (case.charged, case.tries) {
            (false, _) => "nothing",
            (true, 1) => "the worst case, estimated",
            (true, _) => "the worst case of every try, estimated",
        };
        let _ = writeln!(
            table,
            "| {} | {asked_for} | {} | `{}`{after} | {charged} |",
            case.fault,
            case.tries,
            case.predicate.name()
        );
    }
    table
}

#[test]
fn the_documented_table_is_the_tested_one() {
    documented("table", &table());
}
