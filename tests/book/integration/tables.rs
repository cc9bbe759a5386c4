//! Blocks of TOML: each is a valid part of a file of its kind.

use crate::{documents, workspace};
use cascade_book::markdown::{Block, blocks};
use cascade_sdk_core::config;
use cascade_sdk_core::diag::{Diagnostic, Source, Style, render_all};
use std::path::Path;
use toml::{Table, Value};

/// What the blocks are parts of.
const EXAMPLE: &str = include_str!("../cascade.toml");
const QUICKSTART: &str = include_str!("../../../examples/quickstart/cascade.toml");

/// Note of a block that becomes a table of the quickstart's configuration.
const OF_QUICKSTART: &str = "becomes a table of examples/quickstart/cascade.toml";

/// Puts the values of `over` into `table`, tables into tables.
fn lay_over(table: &mut Table, over: Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) if !is_choice(&key) => lay_over(below, above),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

/// Tables in which one key excludes the others.
fn is_choice(key: &str) -> bool {
    matches!(key, "objective" | "price")
}

/// Says what is wrong with a block.
fn wrong(block: &Block) -> Option<String> {
    let table: Table = match block.text.parse() {
        Ok(table) => table,
        Err(error) => return Some(error.to_string()),
    };
    if let Some(file) = block.note.as_deref().and_then(|note| note.strip_prefix("part of ")) {
        return not_in(block, &std::fs::read_to_string(workspace().join(file)).unwrap());
    }
    if table.keys().all(|key| key == "package" || key.ends_with("dependencies")) {
        return unknown_feature(&table);
    }
    let text = if table.contains_key("schema") {
        block.text.clone()
    } else {
        let below = if block.note.as_deref() == Some(OF_QUICKSTART) { QUICKSTART } else { EXAMPLE };
        let mut whole: Table = below.parse().unwrap();
        lay_over(&mut whole, table);
        toml::to_string(&whole).unwrap()
    };
    let (_, findings) = config::read(&Source::new("cascade.toml", text));
    let errors: Vec<_> = findings.into_iter().filter(Diagnostic::is_error).collect();
    (!errors.is_empty()).then(|| render_all(&errors, Style::Plain))
}

/// The first line of an excerpt that the file does not have in this order.
fn not_in(block: &Block, file: &str) -> Option<String> {
    let mut lines = file.lines();
    let missing = block.text.lines().filter(|line| !line.trim().is_empty() && line.trim() != "# …");
    missing
        .into_iter()
        .find(|line| !lines.any(|known| known == *line))
        .map(|line| format!("the file has no `{line}`"))
}

/// A feature of cascade-sdk that it does not have.
fn unknown_feature(manifest: &Table) -> Option<String> {
    let own: Table =
        std::fs::read_to_string(workspace().join("cascade-sdk/Cargo.toml")).unwrap().parse().unwrap();
    let known = own["features"].as_table().unwrap();
    let tables = manifest.iter().filter(|(key, _)| key.ends_with("dependencies"));
    let sdk = tables.filter_map(|(_, table)| table.get("cascade-sdk")?.get("features")?.as_array()).flatten();
    let mut names = sdk.filter_map(Value::as_str);
    names.find(|name| !known.contains_key(*name)).map(|name| format!("cascade-sdk has no feature `{name}`"))
}

#[test]
fn every_block_of_toml_is_valid() {
    let mut count = 0;
    let mut found = Vec::new();
    for (path, text) in documents() {
        for block in blocks(&text).iter().filter(|block| block.info == "toml") {
            count += 1;
            if let Some(what) = wrong(block) {
                found.push(format!("{}:{}: {what}", path.display(), block.line));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(count > 10, "only {count} blocks of TOML");
}

#[test]
fn the_running_example_has_no_finding() {
    let (_, findings) = config::read(&Source::new("cascade.toml", EXAMPLE));
    assert_eq!(render_all(&findings, Style::Plain), "");
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/team.json").exists());
}
