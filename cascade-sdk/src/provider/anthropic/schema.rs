//! JSON Schema as far as the format can hold an answer to it.

use crate::provider::schema::{each, has_type, is_closable, is_expressible, is_one_of};
use serde_json::{Map, Value, json};

/// Keywords that pass through as they are.
const KEPT: [&str; 10] =
    ["type", "enum", "const", "$ref", "title", "description", "default", "required", "format", "minItems"];

/// Formats of strings that can be enforced.
const FORMATS: [&str; 9] =
    ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6"];

/// Circles through `$ref` are refused by the format; nesting this deep is one.
const DEEPEST: usize = 32;

/// The schema as it is sent, or `None` if the format cannot express it: maps with free keys, tuples, values of any type,
/// types that hold themselves. The system prompt then asks for the schema instead.
///
/// Bounds of numbers, lengths and patterns are left out, and objects are closed. What comes back is checked against the
/// whole schema in any case.
pub(super) fn native(schema: &Value) -> Option<Value> {
    if is_circular(schema, schema, 0) {
        return None;
    }
    node(schema)
}

fn node(schema: &Value) -> Option<Value> {
    let keys = schema.as_object().filter(|keys| is_expressible(keys))?;
    let mut out = Map::new();
    for (key, value) in keys {
        let (key, value) = match key.as_str() {
            "format" if !is_one_of(value, &FORMATS) => continue,
            "minItems" if value.as_u64().is_none_or(|least| least > 1) => continue,
            kept if KEPT.contains(&kept) => (kept, value.clone()),
            "items" => ("items", node(value)?),
            // One of several and any of several differ only where an answer fits two, which the full check sees.
            "anyOf" | "oneOf" => ("anyOf", each(value, node)?),
            nested @ ("allOf" | "properties" | "$defs" | "definitions") => (nested, each(value, node)?),
            _ => continue,
        };
        out.insert(key.to_owned(), value);
    }
    if has_type(keys, "object") {
        if !is_closable(keys) {
            return None;
        }
        out.insert("additionalProperties".to_owned(), json!(false));
    }
    Some(Value::Object(out))
}

/// Whether following references from here never ends.
fn is_circular(root: &Value, node: &Value, depth: usize) -> bool {
    if depth > DEEPEST {
        return true;
    }
    match node {
        Value::Object(keys) => keys.iter().any(|(key, value)| match (key.as_str(), value.as_str()) {
            ("$ref", Some(reference)) => {
                let target = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
                // One that points elsewhere cannot be sent either.
                target.is_none_or(|target| is_circular(root, target, depth + 1))
            }
            // Definitions count where they are used.
            ("$defs" | "definitions" | "enum" | "const" | "default", _) => false,
            _ => is_circular(root, value, depth + 1),
        }),
        Value::Array(items) => items.iter().any(|item| is_circular(root, item, depth + 1)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::AnswerSchema;
    use schemars::JsonSchema;
    use std::collections::BTreeMap;

    /// Sorts.
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Ticket {
        team: Team,
        urgency: Option<u8>,
        #[schemars(length(min = 2, max = 5))]
        words: Vec<String>,
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    enum Team {
        /// Money.
        Billing,
        /// Machines.
        Technical,
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Tree {
        children: Vec<Tree>,
    }

    #[test]
    fn structs_and_enums_are_closed_and_freed_of_bounds() {
        let schema = native(AnswerSchema::of::<Ticket>().sent().unwrap()).unwrap();
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["urgency"], json!({"type": ["integer", "null"]}));
        assert_eq!(schema["properties"]["words"]["type"], "array");
        assert!(schema["properties"]["words"].get("maxItems").is_none());
        let team = &schema["$defs"]["Team"];
        assert_eq!(team["anyOf"][0]["const"], "Billing");
        assert!(team.get("oneOf").is_none());
        let choice = native(AnswerSchema::of::<Team>().sent().unwrap()).unwrap();
        assert_eq!(choice["properties"]["answer"]["anyOf"][1]["const"], "Technical");
    }

    #[test]
    fn what_cannot_be_expressed_is_not_sent_as_something_else() {
        assert_eq!(native(AnswerSchema::of::<Tree>().sent().unwrap()), None);
        assert_eq!(native(AnswerSchema::of::<BTreeMap<String, u32>>().sent().unwrap()), None);
        assert_eq!(native(AnswerSchema::of::<(u8, String)>().sent().unwrap()), None);
        assert_eq!(native(AnswerSchema::of::<serde_json::Value>().sent().unwrap()), None);
        assert_eq!(native(&json!({"type": "object"})), None);
    }
}
