//! JSON Schema of `cascade.toml`, for editors that complete and check while one writes.

use super::keys::{self, Key, Kind, Need, Range};
use crate::document::json::Json;

/// JSON Schema, draft-07, made from [`keys::all`]. It checks form; what must agree between tables only
/// [`super::read`] checks.
pub fn json_schema() -> String {
    let mut entries = vec![
        ("$schema", Json::text("http://json-schema.org/draft-07/schema#")),
        ("title", Json::text("cascade.toml")),
        ("description", Json::text("Tiers, prices, budgets and routes of Cascade.")),
    ];
    entries.extend(object(""));
    Json::object(entries).pretty()
}

/// An object with the keys below a path.
fn object(path: &str) -> Vec<(&'static str, Json)> {
    let properties = keys::children(path).map(|(name, key)| (name, property(key)));
    let required: Vec<_> = keys::children(path)
        .filter(|(_, key)| key.need == Need::Required)
        .map(|(name, _)| Json::text(name))
        .collect();
    let mut entries = vec![
        ("type", Json::text("object")),
        ("additionalProperties", Json::Bool(false)),
        ("properties", Json::object(properties)),
    ];
    if !required.is_empty() {
        entries.push(("required", Json::List(required)));
    }
    entries
}

fn property(key: &Key) -> Json {
    let unit = if key.unit.is_empty() { String::new() } else { format!(" Unit: {}.", key.unit) };
    let mut entries = vec![("description", Json::text(format!("{}{unit}", key.meaning)))];
    entries.extend(value(key));
    if let Need::Default(default) = key.need {
        // Every default is written alike in TOML and JSON.
        entries.push(("default", Json::Raw(default)));
    }
    Json::object(entries)
}

fn value(key: &Key) -> Vec<(&'static str, Json)> {
    let kind = |name| ("type", Json::text(name));
    let words = |words: &[&str]| ("enum", Json::List(words.iter().map(|word| Json::text(*word)).collect()));
    match key.kind {
        Kind::Table => object(key.path),
        Kind::Named => {
            vec![kind("object"), ("additionalProperties", Json::object(object(&format!("{}.*", key.path))))]
        }
        Kind::Text => vec![kind("string"), ("minLength", Json::Integer(1))],
        Kind::Texts => list(Json::object([kind("string")])),
        Kind::TextMap => {
            vec![kind("object"), ("additionalProperties", Json::object([kind("string")]))]
        }
        Kind::Boolean => vec![kind("boolean")],
        Kind::BooleanOr(choices) => {
            vec![("anyOf", Json::List(vec![Json::object([kind("boolean")]), Json::object([words(choices)])]))]
        }
        Kind::Whole { min, max } => {
            let bound = |bound| Json::Integer(i64::try_from(bound).unwrap_or(i64::MAX));
            vec![kind("integer"), ("minimum", bound(min)), ("maximum", bound(max))]
        }
        Kind::Number(range) => number(range),
        Kind::Money => vec![kind("number"), ("exclusiveMinimum", Json::Integer(0))],
        Kind::Price | Kind::TokenPrice => vec![kind("number"), ("minimum", Json::Integer(0))],
        Kind::Choice(choices) => vec![words(choices)],
        Kind::Choices(choices) => list(Json::object([words(choices)])),
        Kind::Date => vec![
            kind("string"),
            ("format", Json::text("date")),
            ("pattern", Json::text("^[0-9]{4}-[0-9]{2}-[0-9]{2}$")),
        ],
        Kind::Window => vec![kind("string"), ("pattern", Json::text("^[0-9]+[smhd]$"))],
        Kind::Answer => {
            let schema = Json::object([
                kind("object"),
                ("additionalProperties", Json::Bool(false)),
                ("properties", Json::object([("schema", Json::object([kind("string")]))])),
                ("required", Json::List(vec![Json::text("schema")])),
            ]);
            vec![("oneOf", Json::List(vec![Json::object([words(&["text"])]), schema]))]
        }
    }
}

fn list(items: Json) -> Vec<(&'static str, Json)> {
    vec![
        ("type", Json::text("array")),
        ("items", items),
        ("minItems", Json::Integer(1)),
        ("uniqueItems", Json::Bool(true)),
    ]
}

fn number(range: Range) -> Vec<(&'static str, Json)> {
    let (low, high) =
        if range.closed { ("minimum", "maximum") } else { ("exclusiveMinimum", "exclusiveMaximum") };
    let mut entries = vec![("type", Json::text("number")), (low, Json::Number(range.low))];
    if range.high.is_finite() {
        entries.push((high, Json::Number(range.high)));
    }
    entries
}
