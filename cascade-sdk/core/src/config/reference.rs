//! Reference of `cascade.toml` for people.

use super::keys::{self, Kind, Need};
use std::fmt::Write as _;

/// Every key of `cascade.toml` in Markdown, made from [`keys::all`]: one section for each table.
pub fn reference() -> String {
    let mut out = String::from("# `cascade.toml`\n");
    table(&mut out, "");
    for key in keys::all().filter(|key| key.kind == Kind::Table) {
        let _ = writeln!(out, "\n## `[{}]`\n\n{}", shown(key.path), key.meaning);
        table(&mut out, key.path);
    }
    out
}

fn table(out: &mut String, path: &str) {
    out.push_str("\n| key | value | unit | default | meaning |\n|---|---|---|---|---|\n");
    for (name, key) in keys::children(path) {
        let default = match key.need {
            Need::Required => "required".to_owned(),
            Need::Optional => String::new(),
            Need::Default(default) => format!("`{default}`"),
        };
        let (kind, unit, meaning) = (value(key.kind), key.unit, key.meaning);
        let _ = writeln!(out, "| `{name}` | {kind} | {unit} | {default} | {meaning} |");
    }
}

/// `routes.*.fit` as `routes.NAME.fit`.
fn shown(path: &str) -> String {
    path.replace('*', "NAME")
}

fn value(kind: Kind) -> String {
    match kind {
        Kind::Table => "table".to_owned(),
        Kind::Named => "tables by name".to_owned(),
        Kind::Text => "string".to_owned(),
        Kind::Texts => "list of strings".to_owned(),
        Kind::TextMap => "table of strings".to_owned(),
        Kind::Boolean => "true or false".to_owned(),
        Kind::BooleanOr(words) => format!("true, false or {}", quoted(words)),
        Kind::Whole { min, max } => format!("whole number, {min} to {max}"),
        Kind::Number(range) => format!("number, {}", range.describe()),
        Kind::Money => "amount above 0".to_owned(),
        Kind::Price => "amount".to_owned(),
        Kind::TokenPrice => "amount, up to six decimals".to_owned(),
        Kind::Choice(words) => format!("one of {}", quoted(words)),
        Kind::Choices(words) => format!("list of {}", quoted(words)),
        Kind::Date => "a day such as `2026-11-01`".to_owned(),
        Kind::Window => "`30s`, `15m`, `1h`, `1d`".to_owned(),
        Kind::Answer => "`\"text\"` or `{ schema = \"path\" }`".to_owned(),
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
