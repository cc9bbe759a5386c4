//! JSON Schema as far as strict decoding takes it; anything else in a schema is an error of the request there.

use crate::provider::schema::{each, has_type, is_closable, is_expressible, is_one_of};
use serde_json::{Map, Value, json};

/// Keywords that pass through as they are.
const KEPT: [&str; 13] = [
    "type",
    "enum",
    "title",
    "description",
    "format",
    "pattern",
    "multipleOf",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minItems",
    "maxItems",
];

/// Formats of strings that can be enforced.
const FORMATS: [&str; 9] =
    ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"];

/// The schema as strict decoding takes it, or `None` if it cannot express it: maps with free keys, tuples, values of any type,
/// properties that may be left out and not be null.
///
/// Objects are closed. A property that may be left out or null is always written. Lengths of strings and the like are left out.
/// What comes back is checked against the whole schema in any case.
pub(super) fn strict(schema: &Value) -> Option<Value> {
    // The root must be one object, not a choice of several.
    let is_choice = ["anyOf", "oneOf"].iter().any(|key| schema.get(*key).is_some());
    if is_choice {
        return None;
    }
    node(schema)
}

fn node(schema: &Value) -> Option<Value> {
    let keys = schema.as_object().filter(|keys| is_expressible(keys) && !keys.contains_key("allOf"))?;
    let mut out = Map::new();
    for (key, value) in keys {
        let (key, value) = match key.as_str() {
            "format" if !is_one_of(value, &FORMATS) => continue,
            // Looking around is not known.
            "pattern" if value.as_str().is_none_or(|pattern| pattern.contains("(?")) => continue,
            kept if KEPT.contains(&kept) => (kept, value.clone()),
            "const" => ("enum", json!([value])),
            "items" => ("items", node(value)?),
            "$ref" => ("$ref", reference(value)?),
            // One of several and any of several differ only where an answer fits two, which the full check sees.
            "anyOf" | "oneOf" => ("anyOf", each(value, node)?),
            nested @ ("properties" | "$defs" | "definitions") => (nested, each(value, node)?),
            _ => continue,
        };
        out.insert(key.to_owned(), value);
    }
    if has_type(keys, "object") {
        if !is_closable(keys) {
            return None;
        }
        out.insert("additionalProperties".to_owned(), json!(false));
        out.insert("required".to_owned(), required(keys)?);
    }
    // Choices need a type.
    if let Some(choices) = out.get("enum").filter(|_| !out.contains_key("type")) {
        let kind = type_of_all(choices.as_array()?)?;
        out.insert("type".to_owned(), json!(kind));
    }
    // Beside a reference nothing may stand.
    if out.len() > 1
        && let Some(reference) = out.remove("$ref")
    {
        out.insert("anyOf".to_owned(), json!([{ "$ref": reference }]));
    }
    Some(Value::Object(out))
}

/// References may lead to the root and to its definitions.
fn reference(target: &Value) -> Option<Value> {
    let known = |target: &str| {
        target == "#" || target.starts_with("#/$defs/") || target.starts_with("#/definitions/")
    };
    target.as_str().is_some_and(known).then(|| target.clone())
}

/// All properties, if each is required or may be null.
fn required(keys: &Map<String, Value>) -> Option<Value> {
    let stated = keys.get("required").and_then(Value::as_array);
    let is_required = |name: &String| stated.is_some_and(|stated| stated.iter().any(|known| known == name));
    let properties = keys.get("properties").and_then(Value::as_object);
    let names = properties
        .into_iter()
        .flatten()
        .map(|(name, schema)| (is_required(name) || takes_null(schema)).then(|| Value::String(name.clone())));
    names.collect::<Option<Vec<_>>>().map(Value::Array)
}

/// Whether null is among the values, as far as can be seen without following references.
fn takes_null(schema: &Value) -> bool {
    let Some(keys) = schema.as_object() else { return false };
    let choices = ["anyOf", "oneOf"].iter().filter_map(|key| keys.get(*key)?.as_array()).flatten();
    has_type(keys, "null") || choices.into_iter().any(takes_null)
}

/// The one type of all these values.
fn type_of_all(values: &[Value]) -> Option<&'static str> {
    let name = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let first = name(values.first()?);
    values.iter().all(|value| name(value) == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::AnswerSchema;
    use schemars::JsonSchema;
    use std::collections::{BTreeMap, BTreeSet};

    /// Sorts.
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Ticket {
        /// Who should have it.
        team: Team,
        urgency: Option<u32>,
        second: Option<Team>,
        #[schemars(length(min = 2, max = 5))]
        words: Vec<String>,
        letter: char,
        about: BTreeSet<String>,
        parts: Vec<Ticket>,
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    enum Team {
        /// Money.
        Billing,
        /// Machines.
        Technical,
        Other,
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Optional {
        #[serde(default)]
        count: u8,
    }

    fn strict_of<T: JsonSchema>() -> Option<Value> {
        strict(AnswerSchema::of::<T>().sent().unwrap())
    }

    #[test]
    fn structs_and_documented_enums_become_what_strict_decoding_takes() {
        let documented = json!({"anyOf": [
            {"type": "string", "enum": ["Other"]},
            {"type": "string", "enum": ["Billing"], "description": "Money."},
            {"type": "string", "enum": ["Technical"], "description": "Machines."},
        ]});
        assert_eq!(
            strict_of::<Team>().unwrap(),
            json!({
                "type": "object", "required": ["answer"], "additionalProperties": false,
                "properties": {"answer": {"title": "Team", "anyOf": documented["anyOf"]}},
            })
        );
        let ticket = strict_of::<Ticket>().unwrap();
        assert_eq!(ticket["$defs"]["Team"], documented);
        let names = json!(["about", "letter", "parts", "second", "team", "urgency", "words"]);
        assert_eq!((&ticket["required"], &ticket["additionalProperties"]), (&names, &json!(false)));
        let property = |name: &str| ticket["properties"][name].clone();
        assert_eq!(
            property("team"),
            json!({"description": "Who should have it.", "anyOf": [{"$ref": "#/$defs/Team"}]})
        );
        assert_eq!(property("urgency"), json!({"type": ["integer", "null"], "minimum": 0}));
        assert_eq!(property("second"), json!({"anyOf": [{"$ref": "#/$defs/Team"}, {"type": "null"}]}));
        let words = json!({"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 5});
        assert_eq!(property("words"), words);
        assert_eq!(property("letter"), json!({"type": "string"}));
        assert_eq!(property("about"), json!({"type": "array", "items": {"type": "string"}}));
        assert_eq!(property("parts"), json!({"type": "array", "items": {"$ref": "#"}}));
    }

    #[test]
    fn what_cannot_be_expressed_is_not_strict() {
        assert_eq!(strict_of::<BTreeMap<String, u32>>(), None);
        assert_eq!(strict_of::<(u8, String)>(), None);
        assert_eq!(strict_of::<Value>(), None);
        assert_eq!(strict_of::<Optional>(), None);
        let answer = |schema: Value| {
            strict(&json!({
                "type": "object", "properties": {"answer": schema}, "required": ["answer"],
            }))
        };
        assert!(answer(json!({"enum": [1, 2]})).is_some());
        for schema in [
            json!({"enum": [1, "a"]}),
            json!({"allOf": [{"type": "string"}]}),
            json!({"type": "string", "not": {"enum": ["a"]}}),
            json!({"type": "array", "prefixItems": [{"type": "string"}]}),
            json!({"type": "object", "patternProperties": {"a": {"type": "string"}}, "properties": {}}),
            json!({"$ref": "#/properties/answer"}),
            json!({"type": "object"}),
            json!(true),
        ] {
            assert_eq!(answer(schema.clone()), None, "{schema}");
        }
        let choice =
            json!({"type": "object", "properties": {}, "anyOf": [{"type": "object", "properties": {}}]});
        assert_eq!(strict(&choice), None);
        assert!(
            strict(&json!({"type": "object", "properties": {}, "additionalProperties": false})).is_some()
        );
    }

    #[test]
    fn patterns_that_look_around_are_left_to_the_check() {
        let schema = |pattern: &str| {
            json!({"type": "object", "required": ["a"],
                   "properties": {"a": {"type": "string", "pattern": pattern}}})
        };
        assert_eq!(strict(&schema("^a+$")).unwrap()["properties"]["a"]["pattern"], "^a+$");
        assert_eq!(strict(&schema("^(?!a)")).unwrap()["properties"]["a"], json!({"type": "string"}));
    }
}
