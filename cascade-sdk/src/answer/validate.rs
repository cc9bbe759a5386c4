//! Does a value follow a schema? As much of JSON Schema as types generate and providers enforce.
//!
//! `collect` has no Rust type at hand, only the schema; without this check an answer outside an enum would count as good in
//! the log and fail in the client. Keywords that are not listed in [`Schema::allows`] restrict nothing here.

use serde_json::{Map, Value};

/// References may lead in circles that consume no value.
const DEEPEST: usize = 64;

/// A schema inside the document that its references point into.
#[derive(Clone, Copy)]
pub(super) struct Schema<'s> {
    pub(super) root: &'s Value,
    pub(super) node: &'s Value,
    pub(super) depth: usize,
}

impl<'s> Schema<'s> {
    fn at(self, node: &'s Value) -> Self {
        Self { node, depth: self.depth + 1, ..self }
    }

    /// Whether the value follows the schema: `type`, `enum`, `const`, `$ref` within the document, `anyOf`, `oneOf`,
    /// `allOf`, `properties`, `required`, `additionalProperties`, `items`, `prefixItems` and the bounds of numbers,
    /// strings and arrays.
    pub(super) fn allows(self, value: &Value) -> bool {
        if self.depth > DEEPEST {
            return false;
        }
        let keys = match self.node {
            Value::Bool(anything) => return *anything,
            Value::Object(keys) => keys,
            _ => return true,
        };
        let list = |key: &str| keys.get(key).and_then(Value::as_array);
        let passes = |node: &'s Value| self.at(node).allows(value);
        self.reference(keys, value)
            && has_type(keys.get("type"), value)
            && list("enum").is_none_or(|choices| choices.contains(value))
            && keys.get("const").is_none_or(|only| only == value)
            && list("allOf").is_none_or(|all| all.iter().all(passes))
            && list("anyOf").is_none_or(|any| any.iter().any(passes))
            && list("oneOf").is_none_or(|one| one.iter().filter(|node| passes(node)).count() == 1)
            && match value {
                Value::Object(object) => self.object(keys, object),
                Value::Array(items) => self.array(keys, items),
                Value::Number(number) => number.as_f64().is_none_or(|number| in_range(keys, number)),
                Value::String(text) => within(keys, "minLength", "maxLength", text.chars().count()),
                _ => true,
            }
    }

    fn reference(self, keys: &'s Map<String, Value>, value: &Value) -> bool {
        let Some(reference) = keys.get("$ref").and_then(Value::as_str) else { return true };
        // One that points elsewhere cannot be followed; the Rust type has the last word.
        let target = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        target.is_none_or(|target| self.at(target).allows(value))
    }

    fn object(self, keys: &'s Map<String, Value>, object: &Map<String, Value>) -> bool {
        let required = keys.get("required").and_then(Value::as_array);
        let has_all = required
            .is_none_or(|names| names.iter().filter_map(Value::as_str).all(|name| object.contains_key(name)));
        let properties = keys.get("properties").and_then(Value::as_object);
        let others = keys.get("additionalProperties");
        has_all
            && object.iter().all(|(name, value)| {
                let node = properties.and_then(|properties| properties.get(name)).or(others);
                node.is_none_or(|node| self.at(node).allows(value))
            })
    }

    fn array(self, keys: &'s Map<String, Value>, items: &[Value]) -> bool {
        let first = keys.get("prefixItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let rest = keys.get("items");
        within(keys, "minItems", "maxItems", items.len())
            && items
                .iter()
                .enumerate()
                .all(|(index, item)| first.get(index).or(rest).is_none_or(|node| self.at(node).allows(item)))
    }
}

fn has_type(stated: Option<&Value>, value: &Value) -> bool {
    let fits = |name: &Value| match name.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("string") => value.is_string(),
        Some("number") => value.is_number(),
        // `1.0` is an integer to JSON Schema but not to serde.
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => true,
    };
    match stated {
        None => true,
        Some(Value::Array(names)) => names.iter().any(fits),
        Some(name) => fits(name),
    }
}

fn in_range(keys: &Map<String, Value>, number: f64) -> bool {
    let bound = |key: &str| keys.get(key).and_then(Value::as_f64);
    bound("minimum").is_none_or(|least| number >= least)
        && bound("maximum").is_none_or(|most| number <= most)
        && bound("exclusiveMinimum").is_none_or(|below| number > below)
        && bound("exclusiveMaximum").is_none_or(|above| number < above)
}

fn within(keys: &Map<String, Value>, least: &str, most: &str, count: usize) -> bool {
    let bound = |key: &str| keys.get(key).and_then(Value::as_u64);
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    bound(least).is_none_or(|least| count >= least) && bound(most).is_none_or(|most| count <= most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn allows(schema: &Value, value: &Value) -> bool {
        Schema { root: schema, node: schema, depth: 0 }.allows(value)
    }

    #[test]
    fn every_keyword_restricts() {
        let node = json!({"$defs": {"even": {"enum": [0, 2, 4]}}, "$ref": "#/$defs/even"});
        for (schema, good, bad) in [
            (json!({"type": "integer"}), json!(1), json!(1.0)),
            (json!({"type": ["string", "null"]}), json!(null), json!(1)),
            (json!({"enum": ["a", "b"]}), json!("a"), json!("c")),
            (json!({"const": 1}), json!(1), json!(2)),
            (node, json!(2), json!(3)),
            (json!({"anyOf": [{"type": "string"}, {"minimum": 3}]}), json!(3), json!(2)),
            (json!({"oneOf": [{"type": "integer"}, {"minimum": 3}]}), json!(2), json!(4)),
            (json!({"allOf": [{"minimum": 1}, {"exclusiveMaximum": 2}]}), json!(1), json!(2)),
            (json!({"exclusiveMinimum": 0, "maximum": 1}), json!(1), json!(0)),
            (json!({"minLength": 2, "maxLength": 3}), json!("éé"), json!("é")),
            (json!({"items": {"type": "string"}, "maxItems": 1}), json!(["a"]), json!(["a", "b"])),
            (json!({"prefixItems": [{"type": "string"}], "items": false}), json!(["a"]), json!(["a", 1])),
            (json!({"required": ["a"]}), json!({"a": 1}), json!({"b": 1})),
            (json!({"properties": {"a": {"type": "null"}}}), json!({"b": 1}), json!({"a": 1})),
            (
                json!({"properties": {"a": true}, "additionalProperties": false}),
                json!({"a": 1}),
                json!({"b": 1}),
            ),
            (json!({"additionalProperties": {"type": "string"}}), json!({"b": "x"}), json!({"b": 1})),
        ] {
            assert!(allows(&schema, &good), "{schema} {good}");
            assert!(!allows(&schema, &bad), "{schema} {bad}");
        }
    }

    #[test]
    fn circles_end() {
        let circle = json!({"$ref": "#"});
        assert!(!allows(&circle, &json!(1)));
        let tree = json!({"type": "object", "properties": {"child": {"$ref": "#"}}});
        assert!(allows(&tree, &json!({"child": {"child": {}}})));
        assert!(!allows(&tree, &json!({"child": {"child": 1}})));
    }
}
