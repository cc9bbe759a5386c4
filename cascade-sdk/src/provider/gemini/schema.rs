//! JSON Schema as far as the format can hold an answer to it.

use crate::provider::schema::{each, is_one_of};
use serde_json::{Map, Value, json};

/// Keywords that the format knows and whose values are no schemas.
const KEPT: [&str; 13] = [
    "type",
    "enum",
    "$ref",
    "$id",
    "$anchor",
    "title",
    "description",
    "required",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    "format",
];

/// Formats that can be enforced.
const FORMATS: [&str; 3] = ["date-time", "date", "time"];

/// The schema as it is sent: keywords that the format does not know are left out or put in those that it knows. What
/// comes back is checked against the whole schema in any case.
pub(super) fn native(schema: &Value) -> Value {
    let Value::Object(keys) = schema else { return schema.clone() };
    // Beside a reference nothing else may stand.
    if let Some(reference) = keys.get("$ref") {
        let mut out = Map::from_iter([("$ref".to_owned(), reference.clone())]);
        if let Some(definitions) = keys.get("$defs") {
            out.insert("$defs".to_owned(), all(definitions));
        }
        return Value::Object(out);
    }
    let mut out = Map::new();
    for (key, value) in keys {
        let (key, value) = match key.as_str() {
            "format" if !is_one_of(value, &FORMATS) => continue,
            kept if KEPT.contains(&kept) => (kept, value.clone()),
            "const" => ("enum", json!([value])),
            "items" | "additionalProperties" => (key.as_str(), native(value)),
            "prefixItems" | "anyOf" | "oneOf" | "properties" | "$defs" => (key.as_str(), all(value)),
            _ => continue,
        };
        out.insert(key.to_owned(), value);
    }
    Value::Object(out)
}

fn all(schemas: &Value) -> Value {
    each(schemas, |schema| Some(native(schema))).unwrap_or_else(|| schemas.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_format_does_not_know_is_left_out_or_put_otherwise() {
        let schema = json!({
            "type": "object", "required": ["a"], "additionalProperties": false,
            "properties": {
                "a": {"$ref": "#/$defs/A", "description": "beside a reference"},
                "b": {"type": ["integer", "null"], "format": "uint8", "minimum": 0, "exclusiveMaximum": 9},
                "c": {"type": "string", "format": "date", "minLength": 3},
                "d": {"type": "array", "prefixItems": [{"const": 1}], "maxItems": 1},
            },
            "$defs": {"A": {"oneOf": [{"const": "x", "description": "one"}]}},
        });
        assert_eq!(
            native(&schema),
            json!({
                "type": "object", "required": ["a"], "additionalProperties": false,
                "properties": {
                    "a": {"$ref": "#/$defs/A"},
                    "b": {"type": ["integer", "null"], "minimum": 0},
                    "c": {"type": "string", "format": "date"},
                    "d": {"type": "array", "prefixItems": [{"enum": [1]}], "maxItems": 1},
                },
                "$defs": {"A": {"oneOf": [{"enum": ["x"], "description": "one"}]}},
            })
        );
    }
}
