//! `cascade embed` against a server on loopback.

use crate::project::{Project, Ran, unwrapped};
use crate::server::listen;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A server whose vector of a text is its length and its first byte, and which counts a token for each byte. A text with
/// `reject` makes it refuse the call; from the call `broken_from` on it answers 401.
struct Server {
    url: String,
    seen: Arc<Mutex<Vec<Value>>>,
}

impl Server {
    fn start(broken_from: usize) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&seen);
        let url = listen(move |body| {
            let mut seen = shared.lock().unwrap();
            let answered = answer(&body["input"], seen.len() >= broken_from);
            seen.push(body);
            answered
        });
        Self { url, seen }
    }

    /// The texts of each call so far.
    fn calls(&self) -> Vec<Vec<String>> {
        let texts = |body: &Value| match &body["input"] {
            Value::String(one) => vec![one.clone()],
            several => {
                several.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
            }
        };
        self.seen.lock().unwrap().iter().map(texts).collect()
    }
}

fn answer(input: &Value, broken: bool) -> (&'static str, Value) {
    let texts: Vec<&str> = match input {
        Value::String(one) => vec![one],
        several => several.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect(),
    };
    if broken {
        return ("401 Unauthorized", json!({"error": {"message": "no"}}));
    }
    if texts.iter().any(|text| text.contains("reject")) {
        return ("400 Bad Request", json!({"error": {"message": "no"}}));
    }
    let entry = |(index, text): (usize, &&str)| json!({"index": index, "embedding": [text.len(), f32::from(text.as_bytes()[0]) / 10.0]});
    // The last first: the order is that of `index`.
    let data: Vec<Value> = texts.iter().enumerate().map(entry).rev().collect();
    let tokens: usize = texts.iter().map(|text| text.len()).sum();
    ("200 OK", json!({"data": data, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}))
}

fn project(server: &Server, log: &str, rows: &[Value]) -> Project {
    let project = Project::new();
    let config = crate::collect::config(&server.url).replace("log.jsonl", log);
    let embedding = "[routes.sums.embedding]\nmodel = \"tiny\"\nprovider = \"local\"\ndimensions = 2\n\
                     usd_per_million_tokens = 0.02\n";
    project.write("cascade.toml", &format!("{config}\n{embedding}"));
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    project.write("log.jsonl", &lines.join("\n"));
    project
}

fn row(id: usize, text: &str) -> Value {
    json!({"id": format!("r{id}"), "input": text, "results": {"small": {"quality": 1, "cost_usd": 0.5, "signals": {}, "extra": [id]}}})
}

fn pico(dollars: f64) -> i64 {
    cascade_sdk_core::money::Usd::from_f64(dollars).unwrap().pico()
}

fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn embed(project: &Project, more: &[&str]) -> Ran {
    project.run(&[&["embed", "sums", "--concurrency", "1"], more].concat())
}

#[test]
fn rows_that_lack_a_vector_get_it_and_its_cost_and_the_rest_stays() {
    let server = Server::start(usize::MAX);
    let mut log =
        vec![row(0, "abc"), row(1, "defgh"), row(2, ""), row(3, "whole"), row(4, "other"), row(5, "x")];
    log[3]["embedding"] = json!([1, 2]);
    log[4]["embedding"] = json!([1, 2]);
    log[4]["embedding_model"] = json!("huge");
    log[5]["messages"] = json!([{"role": "system", "content": "s"}, {"role": "user", "content": "é"}]);
    log[5].as_object_mut().unwrap().remove("input");
    let project = project(&server, "log.jsonl", &log);

    let planned = embed(&project, &["--dry-run", "--format", "json"]).expect_code(0).json();
    // 15 bytes and 32 tokens more for each of four texts.
    assert_eq!(planned["rows"], 4);
    assert_eq!(planned["most_cost_usd"].as_f64().map(pico), Some(143 * 20_000));
    assert_eq!(server.calls().len(), 0);

    let done = embed(&project, &["--format", "json"]).expect_code(0).json();
    assert_eq!(server.calls(), [["abc", "defgh", "other", "é"]]);
    assert_eq!((&done["embedded"], &done["left"], &done["tokens"]), (&json!(4), &json!(0), &json!(15)));
    assert_eq!(done["cost_usd"].as_f64().map(pico), Some(15 * 20_000));
    let after = rows(&project.read("log.jsonl"));
    let of = |at: usize| (after[at]["embedding"].clone(), after[at]["embedding_cost_usd"].as_f64().map(pico));
    assert_eq!(of(0), (json!([3.0, 9.7]), Some(60_000)));
    assert_eq!(of(1), (json!([5.0, 10.0]), Some(100_000)));
    assert_eq!(of(2), (json!([0.0, 0.0]), Some(0)), "nobody is asked for nothing");
    assert_eq!(of(3), (json!([1, 2]), None));
    assert_eq!(of(4), (json!([5.0, 11.1]), Some(100_000)), "another model's vector does not count");
    assert_eq!(of(5).0, json!([2.0, 19.5]));
    assert!(after.iter().enumerate().all(|(at, row)| row["results"]["small"]["extra"] == json!([at])));
    assert_eq!(after[4]["embedding_model"], "tiny");

    let again = embed(&project, &["--format", "json"]).expect_code(0).json();
    assert_eq!((&again["embedded"], server.calls().len()), (&json!(0), 1));
}

#[test]
fn a_log_that_another_job_works_on_is_left_alone() {
    let server = Server::start(usize::MAX);
    let project = project(&server, "log.jsonl", &[row(0, "abc")]);
    let lock = std::fs::File::create(project.path("log.jsonl.lock")).unwrap();
    lock.lock().unwrap();
    let refused = embed(&project, &[]).expect_code(2);
    assert!(refused.stderr.contains("collect::two-jobs"), "{}", refused.stderr);
    embed(&project, &["--dry-run"]).expect_code(0);
    assert_eq!(server.calls().len(), 0);
    drop(lock);
    embed(&project, &[]).expect_code(0);
}

#[test]
fn the_cap_and_a_broken_server_keep_what_was_paid_for() {
    let log: Vec<Value> = (0..130).map(|id| row(id, &format!("text {id:03}"))).collect();
    // Room for the worst case of one call: 64 × (8 + 32) tokens.
    let server = Server::start(usize::MAX);
    let capped = project(&server, "log.jsonl", &log);
    let first = embed(&capped, &["--max-spend", "0.0000513"]).expect_code(1);
    assert!(first.stdout.contains("stopped: --max-spend has no room"), "{}", first.stdout);
    let with = |project: &Project| {
        rows(&project.read("log.jsonl")).iter().filter(|row| row.get("embedding").is_some()).count()
    };
    assert_eq!((with(&capped), server.calls().len()), (64, 1));
    embed(&capped, &[]).expect_code(0);
    assert_eq!((with(&capped), server.calls().len()), (130, 3));

    let server = Server::start(1);
    let broken = project(&server, "log.jsonl", &log);
    let ran = embed(&broken, &[]).expect_code(1);
    assert!(ran.stdout.contains("refuses the key"), "{}", ran.stdout);
    assert_eq!((with(&broken), server.calls().len()), (64, 2));
}

#[test]
fn a_text_that_is_refused_does_not_keep_the_others_from_their_vectors() {
    let server = Server::start(usize::MAX);
    let log: Vec<Value> =
        ["a", "b", "reject", "c", "d"].iter().enumerate().map(|(id, text)| row(id, text)).collect();
    let project = project(&server, "log.jsonl", &log);
    let done = embed(&project, &["--format", "json"]).expect_code(1).json();
    assert_eq!((&done["embedded"], &done["refused"], &done["left"]), (&json!(4), &json!(1), &json!(1)));
}

#[test]
fn a_wrong_length_stops_at_once_and_says_what_to_set() {
    let server = Server::start(usize::MAX);
    let project = project(&server, "log.jsonl", &[row(0, "a")]);
    let config = project.read("cascade.toml").replace("dimensions = 2", "dimensions = 3");
    project.write("cascade.toml", &config);
    let ran = embed(&project, &[]).expect_code(1);
    assert!(ran.stdout.contains("set `dimensions = 2`"), "{}", ran.stdout);
}

#[test]
fn packed_logs_stay_packed_and_csv_is_refused() {
    let server = Server::start(usize::MAX);
    let packed = project(&server, "log.jsonl.gz", &[]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writeln!(gzip, "{}", row(0, "abc")).unwrap();
    std::fs::write(packed.path("log.jsonl.gz"), gzip.finish().unwrap()).unwrap();
    embed(&packed, &[]).expect_code(0);
    let mut text = String::new();
    let file = std::fs::File::open(packed.path("log.jsonl.gz")).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    assert_eq!(rows(&text)[0]["embedding"], json!([3.0, 9.7]));

    let table = project(&server, "log.csv", &[]);
    table.write("log.csv", "id,input,small:quality,small:cost_usd\nr0,abc,1,0.5\n");
    let ran = embed(&table, &[]).expect_code(2);
    assert!(unwrapped(&ran.stderr).contains("only logs of JSON Lines are completed"), "{}", ran.stderr);
}

/// A server that answers after `delay`, and how many texts it was sent.
fn slow_server(delay: Duration) -> (String, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&seen);
    let url = listen(move |body| {
        let texts = match &body["input"] {
            Value::String(one) => vec![one.clone()],
            several => {
                several.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
            }
        };
        shared.lock().unwrap().extend(texts);
        std::thread::sleep(delay);
        answer(&body["input"], false)
    });
    (url, seen)
}

fn long_log(rows: usize) -> Vec<Value> {
    (0..rows).map(|id| row(id, &format!("text {id:04}"))).collect()
}

#[test]
fn a_killed_run_loses_no_more_than_what_was_in_flight_and_counts_it() {
    let (url, seen) = slow_server(Duration::from_millis(60));
    let server = Server { url, seen: Arc::default() };
    let project = project(&server, "log.jsonl", &long_log(1_000));
    let arguments = ["embed", "sums", "--concurrency", "2", "--format", "json"];
    let journal = project.path("log.jsonl.embed.journal");
    for kill in 0..3 {
        let mut child = project.command(&arguments).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(90 + 50 * kill));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // The log is as it was; the vectors are beside it.
    assert_eq!(rows(&project.read("log.jsonl")), long_log(1_000));
    let entries = rows(&std::fs::read_to_string(&journal).unwrap().lines().collect::<Vec<_>>().join("\n"));
    let answered: usize =
        entries.iter().filter_map(|entry| Some(entry["got"]["rows"].as_array()?.len())).sum();
    let done = project.run(&arguments).expect_code(0).json();
    assert_eq!(done["left"], 0);
    assert_eq!(done["embedded"], 1_000 - answered, "what came is not asked for again");
    let texts = seen.lock().unwrap().len();
    let charged = done["may_have_been_charged"].as_array().unwrap().len();
    assert!(charged <= 3 * 2, "{done}");
    // Batches of 64: no more was sent twice than was in flight.
    assert!(texts >= 1_000 && texts <= 1_000 + charged * 64, "{texts} texts, {charged} calls in flight");
    let after = rows(&project.read("log.jsonl"));
    assert!(after.iter().all(|row| row["embedding"] == json!([9.0, 11.6])));
    assert!(!journal.exists());
    // All of it is in the job's sum: nine tokens a text that came, and the most of each call in flight.
    let spent = done["spent_usd"].as_f64().map(pico).unwrap();
    let most: i64 = done["may_have_been_charged"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cost| pico(cost.as_f64().unwrap()))
        .sum();
    assert_eq!(spent, 1_000 * 9 * 20_000 + most);
}

#[test]
fn the_cap_holds_over_all_runs_of_a_job() {
    let server = Server::start(usize::MAX);
    let project = project(&server, "log.jsonl", &long_log(200));
    // Room for the worst case of one call, which comes to a fifth of it: 64 × 9 tokens of 64 × 41.
    let cap = ["--max-spend", "0.0000526", "--format", "json"];
    let mut calls = Vec::new();
    for _ in 0..3 {
        embed(&project, &cap).expect_code(1);
        calls.push(server.calls().len());
    }
    assert_eq!(calls, [1, 1, 1], "{:?}", project.read("log.jsonl.embed.journal"));
    let planned = embed(&project, &["--dry-run", "--format", "json"]).expect_code(0).json();
    assert_eq!(planned["rows"], 136);
    let rest = embed(&project, &["--format", "json"]).expect_code(0).json();
    assert_eq!(rest["cost_usd"].as_f64().map(pico), Some(136 * 9 * 20_000));
    assert_eq!(rest["spent_usd"].as_f64().map(pico), Some(200 * 9 * 20_000));
    assert!(!project.exists("log.jsonl.embed.journal"));
}

#[cfg(unix)]
#[test]
fn an_interrupt_lets_the_calls_in_flight_come_home() {
    let (url, seen) = slow_server(Duration::from_millis(100));
    let server = Server { url, seen: Arc::default() };
    let project = project(&server, "log.jsonl", &long_log(640));
    let child =
        project.command(&["embed", "sums", "--concurrency", "2", "--format", "json"]).spawn().unwrap();
    while seen.lock().unwrap().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let ran = Ran::from(child.wait_with_output().unwrap()).expect_code(1);
    let summary = ran.json();
    assert_eq!(summary["stopped"], "interrupted");
    let sent = seen.lock().unwrap().len();
    assert_eq!(summary["embedded"], sent);
    let with = rows(&project.read("log.jsonl")).iter().filter(|row| row.get("embedding").is_some()).count();
    assert!(with == sent && with < 640, "{with} of {sent}");
    assert_eq!(summary["may_have_been_charged"], json!([]));
}

#[test]
fn a_wrong_address_is_told_of_the_embedding() {
    let url = listen(|_| ("404 Not Found", json!({"error": {"message": "no", "code": 404}})));
    let server = Server { url, seen: Arc::default() };
    let project = project(&server, "log.jsonl", &[row(0, "a")]);
    let ran = embed(&project, &[]).expect_code(1);
    let said = crate::project::unwrapped(&ran.stdout);
    assert!(said.contains("404") && said.contains("`base_url` and the `model`"), "{said}");
}

/// Half of all texts, of which nothing but their vectors tells.
fn is_easy(text: &str) -> bool {
    text.bytes().map(u32::from).sum::<u32>() % 2 == 0
}

#[test]
fn a_text_is_explained_with_a_vector_that_is_asked_for_only_on_request() {
    let calls = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&calls);
    let url = listen(move |body| {
        *counted.lock().unwrap() += 1;
        let texts = match &body["input"] {
            Value::String(one) => vec![one.clone()],
            several => {
                several.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
            }
        };
        if texts == ["broken"] {
            return ("400 Bad Request", json!({"error": {"message": "no"}}));
        }
        let data: Vec<Value> = texts
            .iter()
            .map(|text| json!({"embedding": [if is_easy(text) { 1.0 } else { -1.0 }, 0.25]}))
            .collect();
        ("200 OK", json!({"data": data, "usage": {"prompt_tokens": 2}}))
    });
    let server = Server { url, seen: Arc::default() };
    let mut state = 7_u64;
    let mut letters = || {
        let letter = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'a' + u8::try_from((state >> 33) % 26).unwrap())
        };
        (0..12).map(letter).collect::<String>()
    };
    let log: Vec<Value> = (0..400)
        .map(|id| {
            let text = letters();
            json!({"id": format!("r{id:03}"), "input": text, "results": {
                "small": {"quality": u8::from(is_easy(&text)), "cost_usd": 1e-5}, "large": {"quality": 1, "cost_usd": 3e-4}}})
        })
        .collect();
    let project = project(&server, "log.jsonl", &log);
    let config = project.read("cascade.toml").replace("min_quality = 0.9", "shadow_price = 1000.0");
    project
        .write("cascade.toml", &format!("{config}[routes.sums.fit]\nfamilies = [\"single\", \"router\"]\n"));
    embed(&project, &[]).expect_code(0);
    project.run(&["fit", "sums"]).expect_code(0);
    assert!(project.read("policies/sums.toml").contains("embedding = {"), "the router reads it");
    let calls = || *calls.lock().unwrap();
    let before = calls();
    let refused = project.run(&["explain", "sums", "abc"]).expect_code(2);
    let said = crate::project::unwrapped(&refused.stderr);
    assert!(
        said.contains("`--embed` sends the text to provider `local`") && said.contains("at most"),
        "{said}"
    );
    assert_eq!(calls(), before);
    for (text, plan) in [("abc", 1), ("abd", 2)] {
        assert_eq!(is_easy(text), plan == 1);
        let told =
            project.run(&["explain", "sums", text, "--embed", "--format", "json"]).expect_code(0).json();
        assert_eq!(
            (&told["plan"], told["embedding_cost_usd"].as_f64().map(pico)),
            (&json!(plan), Some(2 * 20_000))
        );
    }
    let failed = project.run(&["explain", "sums", "broken", "--embed"]).expect_code(2);
    assert!(failed.stderr.contains("explain::embedding"), "{}", failed.stderr);
    assert_eq!(calls(), before + 3);
}
