//! What every command prints for people and for tools, so that a change of it is seen in a review.

use crate::collect;
use crate::fit::{CONFIG, project};
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

#[test]
fn json_of_every_command_keeps_its_form() {
    let project = project();
    project.run(&["fit", "triage"]).expect_code(0);
    project.write("old.toml", &project.read("policies/triage.toml"));
    project.write("cascade.toml", &CONFIG.replace("0.0009", "0.0005"));
    for (name, arguments) in [
        ("fit", &["fit", "triage", "--max-points", "5"][..]),
        ("check", &["check"]),
        ("eval", &["eval", "triage"]),
        ("explain_row", &["explain", "triage", "--row", "r2"]),
        ("explain_text", &["explain", "triage", "a ticket", "--tag", "kind=a"]),
        ("explain_code", &["explain", "config::syntax"]),
        ("diff", &["diff", "old.toml", "policies/triage.toml"]),
        ("price", &["price", "triage", "--refit"]),
        ("init", &["init", "new", "--yes"]),
    ] {
        insta::assert_snapshot!(format!("json_{name}"), shape_of(&project, arguments));
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
