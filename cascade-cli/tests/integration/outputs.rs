//! What every command prints for people and for tools, so that a change of it is seen in a review.

use crate::collect;
use crate::fit::{CONFIG, log, project};
use crate::project::{Project, Ran};
use crate::server::Server;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// Paths of all keys, list items as `[]`: the form of an output without its figures.
fn shape(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                // Names of tiers are data.
                let key = if matches!(key.as_str(), "small" | "large") { "TIER" } else { key };
                shape(value, &format!("{path}.{key}"), found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| shape(item, &format!("{path}[]"), found)),
        Value::Null => _ = found.insert(format!("{path} null")),
        Value::Bool(_) => _ = found.insert(format!("{path} boolean")),
        Value::Number(_) => _ = found.insert(format!("{path} number")),
        Value::String(_) => _ = found.insert(format!("{path} text")),
    }
}

#[track_caller]
fn shape_of(project: &Project, arguments: &[&str]) -> String {
    let mut command = project.command(&[arguments, &["--format", "json"]].concat());
    let output = command.env("SOURCE_DATE_EPOCH", "1796083200").output().unwrap();
    let json = Ran::from(output).json();
    let mut found = BTreeSet::new();
    shape(&json, "", &mut found);
    found.into_iter().collect::<Vec<_>>().join("\n")
}

/// A log of another tool, to be imported.
const TABLE: &str = "id,input,model,score,cost\nx,q,small,1,0.0001\nx,q,large,0.5,0.001\n";

/// A route whose log lacks embeddings.
const EMBEDDING: &str = "\n[routes.triage.embedding]\nprovider = \"local\"\nmodel = \"e\"\ndimensions = 2\n";

/// A fitted route, its policy of before under `old.toml`, and files for the commands that read others.
fn fitted() -> Project {
    let project = project();
    project.run(&["fit", "triage"]).expect_code(0);
    project.write("old.toml", &project.read("policies/triage.toml"));
    let cheaper = CONFIG.replace("0.0009", "0.0005");
    project.write("cascade.toml", &cheaper);
    project.write("embedded.toml", &(cheaper + EMBEDDING));
    let row = |id: u32| format!(r#"{{"id":"p{id}","input":"q {id}","reference":"a","grader":"exact"}}"#);
    project.write("p.jsonl", &(0..3).map(row).collect::<Vec<_>>().join("\n"));
    project.write("table.csv", TABLE);
    let new = log(-0.3).replace("\"id\":\"r", "\"id\":\"new");
    project.write("new.jsonl", &new);
    project
}

/// Every command as it is used most, in an order in which each finds what it needs: a name, and its arguments.
const RUNS: [(&str, &[&str]); 23] = [
    ("check_stale", &["check"]),
    ("fit_stale", &["fit", "triage", "--check"]),
    ("fit", &["fit", "triage", "--max-points", "5"]),
    ("fit_again", &["fit", "triage", "--max-points", "5"]),
    ("check", &["check"]),
    ("eval", &["eval", "triage"]),
    ("eval_on", &["eval", "triage", "--on", "new.jsonl"]),
    ("explain_row", &["explain", "triage", "--row", "r2"]),
    ("explain_text", &["explain", "triage", "a ticket", "--tag", "kind=a"]),
    ("explain_code", &["explain", "config::syntax"]),
    ("explain_codes", &["explain", "--codes"]),
    ("diff", &["diff", "old.toml", "policies/triage.toml"]),
    ("price", &["price", "triage", "--refit"]),
    ("report", &["report", "triage"]),
    ("collect_dry", &["collect", "triage", "--prompts", "p.jsonl", "--out", "more.jsonl", "--dry-run"]),
    ("embed_dry", &["embed", "triage", "--config", "embedded.toml", "--dry-run"]),
    (
        "import",
        &[
            "import",
            "table",
            "table.csv",
            "--map",
            "tier=model",
            "--map",
            "quality=score",
            "--out",
            "log.jsonl",
            "--overwrite",
        ],
    ),
    ("init", &["init", "new", "--yes"]),
    ("init_again", &["init", "new", "--yes"]),
    ("schema", &["schema"]),
    ("completions", &["completions", "bash"]),
    ("no_route", &["fit", "nobody"]),
    ("no_config", &["check", "--config", "nowhere.toml"]),
];

/// Commands whose output is a file of its own form, for programs.
const FOR_PROGRAMS: [&str; 2] = ["schema", "completions"];

#[test]
fn no_command_is_forgotten() {
    let covered: BTreeSet<&str> = RUNS.iter().map(|(_, arguments)| arguments[0]).collect();
    let names = Project::new().command_names();
    assert_eq!(names.iter().map(String::as_str).collect::<BTreeSet<_>>(), covered);
}

#[test]
fn text_of_every_command_is_plain_and_fits_on_a_terminal() {
    let project = fitted();
    for (name, arguments) in RUNS {
        let mut command = project.command(arguments);
        // Whether there is colour is decided by where the text goes, not by this variable.
        let output = command.env_remove("NO_COLOR").env("SOURCE_DATE_EPOCH", "1796083200").output().unwrap();
        let ran = Ran::from(output);
        let text = format!("$ cascade {}\n{}{}", arguments.join(" "), ran.stdout, ran.stderr);
        let is_drawn = |letter: char| letter == '\u{1b}' || ('\u{2500}'..'\u{25a0}').contains(&letter);
        assert!(!text.contains(is_drawn), "{name}: colour or lines drawn\n{text}");
        if FOR_PROGRAMS.contains(&name) {
            continue;
        }
        let wide: Vec<&str> =
            ran.stdout.lines().chain(ran.stderr.lines()).filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{name}: {wide:#?}");
        insta::assert_snapshot!(format!("text_{name}"), text);
    }
}

#[test]
fn json_of_every_command_keeps_its_form() {
    let project = fitted();
    for (name, arguments) in RUNS {
        // What fails says so on standard error, and completions have one form.
        if !matches!(
            name,
            "completions" | "no_route" | "no_config" | "init_again" | "explain_codes" | "schema"
        ) {
            insta::assert_snapshot!(format!("json_{name}"), shape_of(&project, arguments));
        }
    }
}

/// Readers such as `head` go away as soon as they have seen enough.
#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_error_of_any_command() {
    let project = fitted();
    for (name, arguments) in RUNS {
        let undisturbed = project.run(arguments).code;
        let mut child = project.command(arguments).spawn().unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        let code = child.wait().unwrap().code();
        assert!(
            code.is_some() && (code == undisturbed || name == "init"),
            "{name}: {code:?}, not {undisturbed:?}"
        );
    }
}

#[test]
fn json_of_collecting_and_of_errors_keeps_its_form() {
    let server = Server::start(Duration::ZERO);
    let project = collect::project(&server, &["", "reject"]);
    for (name, more) in [("dry_run", &["--dry-run"][..]), ("collect", &[]), ("regrade", &["--regrade"])] {
        let arguments = [&collect::COLLECT[..], more].concat();
        insta::assert_snapshot!(format!("json_{name}"), shape_of(&project, &arguments));
    }
    let ran = project.run(&["fit", "nobody", "--format", "json"]).expect_code(2);
    let mut found = BTreeSet::new();
    shape(&serde_json::from_str(&ran.stderr).unwrap(), "", &mut found);
    insta::assert_snapshot!("json_error", found.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn text_of_collecting_fits_on_a_terminal() {
    let server = Server::start(Duration::ZERO);
    let project = collect::project(&server, &["", "reject", ""]);
    let mut all = String::new();
    for more in [&["--dry-run"][..], &[], &["--regrade"], &["--retry-failed", "--max-spend", "0.00001"]] {
        let ran = project.run(&[&collect::COLLECT[..], more].concat());
        all.extend(["$ cascade collect … ", &more.join(" "), "\n", &ran.stdout, &ran.stderr, "\n"]);
    }
    assert!(all.lines().all(|line| line.chars().count() <= 80), "{all}");
    insta::assert_snapshot!(all);
}
