//! What the wire formats share where they put a JSON Schema into the part of JSON Schema that they know.
//!
//! Each format has a file `schema` with the keywords that it takes. A keyword that it does not know is left out where that only
//! lets more answers through, because what comes back is checked against the whole schema in any case.

use serde_json::{Map, Value, json};

/// Keywords whose meaning would be lost by leaving them out: the answer would be held to something else.
const ESSENTIAL: [&str; 6] =
    ["prefixItems", "patternProperties", "not", "if", "dependentSchemas", "dependentRequired"];

/// Keywords of which a schema needs one: without them any value would do, which formats with closed schemas do not have.
const RESTRICTING: [&str; 7] = ["type", "enum", "const", "$ref", "anyOf", "oneOf", "allOf"];

/// Whether a format without those keywords can hold an answer to this schema, whatever stands inside.
pub(super) fn is_expressible(keys: &Map<String, Value>) -> bool {
    let has_any = |names: &[&str]| names.iter().any(|name| keys.contains_key(*name));
    has_any(&RESTRICTING) && !has_any(&ESSENTIAL)
}

/// A list or a map of schemas, each put through `node`; `None` if it is neither, or one of them cannot be expressed.
pub(super) fn each(schemas: &Value, node: impl Fn(&Value) -> Option<Value>) -> Option<Value> {
    match schemas {
        Value::Array(list) => list.iter().map(node).collect::<Option<Vec<_>>>().map(Value::Array),
        Value::Object(members) => {
            let members = members.iter().map(|(name, schema)| Some((name.clone(), node(schema)?)));
            members.collect::<Option<Map<_, _>>>().map(Value::Object)
        }
        _ => None,
    }
}

/// Whether the value of `format` is one of these.
pub(super) fn is_one_of(format: &Value, known: &[&str]) -> bool {
    format.as_str().is_some_and(|format| known.contains(&format))
}

/// Whether the schema's `type` is this, or a list that holds it.
pub(super) fn has_type(keys: &Map<String, Value>, name: &str) -> bool {
    keys.get("type").is_some_and(|stated| match stated {
        Value::Array(names) => names.iter().any(|known| known == name),
        stated => stated == name,
    })
}

/// Whether all that objects of this schema may hold is listed, so that closing them refuses nothing that is meant.
pub(super) fn is_closable(keys: &Map<String, Value>) -> bool {
    match keys.get("additionalProperties") {
        Some(more) => *more == json!(false),
        None => keys.contains_key("properties"),
    }
}
