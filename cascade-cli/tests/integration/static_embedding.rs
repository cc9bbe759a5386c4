//! A file of word vectors that the configuration names: read from the prompts alone in `fit`, `eval`, `explain` and `check`, and
//! refused where it is another one than that of the fit.

use crate::project::{Project, unwrapped};
use cascade_sdk_core::fit::random::SplitMix64;
use std::fmt::Write as _;

/// Words of each kind. Each stands in few prompts, so that only what words have in common carries over.
const WORDS: usize = 1_200;
const DIMENSIONS: usize = 8;
const ROWS: usize = 500;

const CONFIG: &str = r#"schema = 1
[providers.log]
api = "replay"
[tiers.small]
provider = "log"
model = "small"
price = { input = 0.1, output = 1.0 }
[tiers.large]
provider = "log"
model = "large"
price = { input = 1.0, output = 4.0 }
[routes.ask]
tiers = ["small", "large"]
log = ["log.jsonl"]
[routes.ask.objective]
shadow_price = 1000.0
[routes.ask.fit]
families = ["single", "router"]
[routes.ask.embedding]
model = "made"
dimensions = 8
file = "models/words.txt"
"#;

/// Word vectors around two centres, and prompts of words of one kind, which says whether the cheap tier answers well. Words are
/// made of random letters: neither they nor their pieces show their kind.
fn project() -> Project {
    let mut random = SplitMix64::new(11, 0);
    let mut vectors = format!("{} {DIMENSIONS}\n", 2 * WORDS);
    let mut words: [Vec<String>; 2] = [Vec::new(), Vec::new()];
    for word in 0..2 * WORDS {
        let name: String =
            (0..7).map(|_| b"abcdefghijklmnopqrstuvwxyz"[random.below(26)]).map(char::from).collect();
        let _ = write!(vectors, "{name}");
        let centre = if word % 2 == 0 { 1.0 } else { -1.0 };
        for at in 0..DIMENSIONS {
            let noise = 2.0 * random.fraction() - 1.0;
            let _ = write!(vectors, " {:.4}", noise + if at == 3 { centre } else { 0.0 });
        }
        vectors.push('\n');
        words[word % 2].push(name);
    }
    let mut log = String::new();
    for row in 0..ROWS {
        let kind = row % 2;
        let chosen: Vec<&str> = (0..4).map(|_| words[kind][random.below(WORDS)].as_str()).collect();
        let _ = writeln!(
            log,
            r#"{{"id":"r{row:04}","input":"{}","results":{{"small":{{"quality":{},"cost_usd":0.00001}},"large":{{"quality":1,"cost_usd":0.0003}}}}}}"#,
            chosen.join(" "),
            1 - kind
        );
    }
    let project = Project::new();
    project.write("cascade.toml", CONFIG);
    project.write("models/words.txt", &vectors);
    project.write("log.jsonl", &log);
    project
}

#[test]
fn word_vectors_are_read_from_the_prompts_alone_and_decide() {
    let project = project();
    let fitted = project.run(&["fit", "ask", "--format", "json"]).expect_code(0).json();
    assert_eq!(fitted["selected"], "router", "{}", fitted["verdict"]["text"]);
    let policy = project.read("policies/ask.toml");
    let hash = policy
        .split("sha256 = \"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap_or_else(|| panic!("{policy}"));
    assert!(policy.contains("embedding = { model = \"made\", dimensions = 8, sha256 = \""), "{policy}");
    let evaluated = project.run(&["eval", "ask", "--format", "json"]).expect_code(0).json();
    let quality = evaluated["figures"]["quality"].as_f64().unwrap();
    assert!(quality > 0.95, "{evaluated}");
    // The large tier for about every second request.
    assert!(evaluated["figures"]["cost_usd"].as_f64().unwrap() < 0.000_18, "{evaluated}");
    project.run(&["fit", "ask", "--check"]).expect_code(0);
    project.run(&["check"]).expect_code(0);

    // A text that is in no log.
    let log = project.read("log.jsonl");
    let words = |row: usize| {
        let line: serde_json::Value = serde_json::from_str(log.lines().nth(row).unwrap()).unwrap();
        line["input"].as_str().unwrap().to_owned()
    };
    for (rows, plan) in [([0, 2], 1), ([1, 3], 2)] {
        let text = rows.map(words).join(" ");
        let told = project.run(&["explain", "ask", &text, "--format", "json"]).expect_code(0).json();
        assert_eq!(told["plan"], plan, "{told}");
        assert_eq!(told["reasons"][0]["family"], "embedding of the prompt", "{told}");
    }

    // Nothing to ask for.
    let refused = project.run(&["embed", "ask"]).expect_code(2);
    assert!(refused.stderr.contains("is read from `models/words.txt`"), "{}", refused.stderr);

    // Another file is another meaning.
    let vectors = project.read("models/words.txt");
    project.write("models/words.txt", &vectors.replacen("0.", "0.1", 1));
    for arguments in [&["check"][..], &["eval", "ask"], &["explain", "ask", "words"]] {
        let code = if arguments.len() == 1 { 1 } else { 2 };
        let ran = project.run(arguments).expect_code(code);
        let said = unwrapped(&ran.stderr);
        assert!(said.contains("policy::embedding-file") && said.contains(hash), "{said}");
    }
    project.run(&["fit", "ask", "--check"]).expect_code(1);
    project.run(&["fit", "ask"]).expect_code(0);
    project.run(&["check"]).expect_code(0);
    assert!(!project.read("policies/ask.toml").contains(hash));
}

#[test]
fn a_file_that_cannot_be_used_is_said_with_line_and_remedy() {
    let project = project();
    project.write("models/words.txt", "one 1 2 3\n");
    for arguments in [&["check"][..], &["fit", "ask"]] {
        let code = if arguments.len() == 1 { 1 } else { 2 };
        let ran = project.run(arguments).expect_code(code);
        let said = unwrapped(&ran.stderr);
        assert!(said.contains("embedding::dimensions") && said.contains("models/words.txt:1:1"), "{said}");
    }
    for (file, name, code) in [
        ("one 1 2 3 4 5 6 7 x\n", "words.txt", "embedding::vectors"),
        ("{}", "tokenizer.json", "embedding::tokenizer"),
    ] {
        project.write("models/model.safetensors", "nothing");
        project.write(&format!("models/{name}"), file);
        let config =
            CONFIG.replace("words.txt", if name == "words.txt" { name } else { "model.safetensors" });
        project.write("cascade.toml", &config);
        let ran = project.run(&["fit", "ask"]).expect_code(2);
        assert!(ran.stderr.contains(code), "{}", ran.stderr);
    }
    project.write("cascade.toml", CONFIG);
    std::fs::remove_file(project.path("models/words.txt")).unwrap();
    let ran = project.run(&["fit", "ask"]).expect_code(2);
    assert!(ran.stderr.contains("embedding::file"), "{}", ran.stderr);
    let at = CONFIG.lines().position(|line| line.starts_with("file = ")).unwrap() + 1;
    assert!(ran.stderr.contains(&format!("--> cascade.toml:{at}:1")), "{}", ran.stderr);

    let config = CONFIG.replace("file = ", "cost_usd = 0.1\ntimeout_s = 2\non_failure = \"large\"\nfile = ");
    project.write("cascade.toml", &config);
    let ran = project.run(&["fit", "ask"]).expect_code(2);
    let said = unwrapped(&ran.stderr);
    for key in ["cost_usd", "timeout_s", "on_failure"] {
        assert!(said.contains(&format!("`routes.ask.embedding.{key}` does nothing beside `file`")), "{said}");
    }
}

#[test]
fn rows_without_a_prompt_are_asked_for() {
    let project = project();
    let log = project.read("log.jsonl");
    let first = log.lines().next().unwrap();
    let start = first.find(r#""input""#).unwrap();
    let end = first.find(r#""results""#).unwrap();
    project.write("log.jsonl", &log.replacen(&first[start..end], "", 1));
    let ran = project.run(&["fit", "ask"]).expect_code(2);
    let said = unwrapped(&ran.stderr);
    assert!(said.contains("1 of 500 rows have no prompt to read vectors of"), "{said}");
}
