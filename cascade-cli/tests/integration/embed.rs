//! `cascade embed` against a server on loopback.

use crate::project::{Project, Ran, unwrapped};
use crate::server::listen;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex};

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
