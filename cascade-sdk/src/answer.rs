//! The form of an answer: plain text, or JSON that follows a schema. Both `collect` and the client come here.

mod validate;

use serde_json::{Map, Value, json};
use std::fmt;
use validate::Schema;

/// The property that carries an answer whose schema is not an object: providers take only objects at the root.
const WRAPPER: &str = "answer";

/// What stands before the schema in a system prompt. `collect` and the client both send it, so changing it makes the policies of
/// such tiers stale without their noticing.
const WORDS: &str = "Answer with a single JSON value that follows this JSON Schema, and with nothing else: no explanation, no code fence.";

/// Keys that say something about a schema without restricting what it allows.
const ANNOTATIONS: [&str; 6] = ["$schema", "title", "description", "default", "examples", "$comment"];

/// What an answer must look like.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerSchema(Form);

#[derive(Clone, Debug, PartialEq)]
enum Form {
    Text,
    Json {
        /// As people and types state it, without `$schema`.
        stated: Value,
        /// As it is sent: an object at the root.
        sent: Value,
        /// Whether `sent` wraps `stated`.
        wrapped: bool,
    },
}

impl AnswerSchema {
    /// Plain text, returned as the model wrote it.
    pub const TEXT: Self = Self(Form::Text);

    /// Reads a JSON Schema. A schema that allows any string and nothing else means plain text; any other schema whose
    /// root is not an object is sent wrapped as `{"answer": …}`.
    ///
    /// # Errors
    /// [`AnswerError`] if the text is not a JSON object.
    pub fn from_json(schema: &str) -> Result<Self, AnswerError> {
        match serde_json::from_str(schema) {
            Ok(Value::Object(schema)) => Ok(Self::from_object(schema)),
            Ok(_) => Err(AnswerError("a JSON Schema must be a JSON object".to_owned())),
            Err(error) => Err(AnswerError(format!("the schema is not JSON: {error}"))),
        }
    }

    /// The schema of a type.
    pub fn of<T: schemars::JsonSchema>() -> Self {
        match schemars::schema_for!(T).to_value() {
            Value::Object(schema) => Self::from_object(schema),
            // `true` and `false`: any JSON value. Nothing could be returned for `false`, so it needs no case of its own.
            other => Self::wrap(other, Map::new()),
        }
    }

    fn from_object(mut schema: Map<String, Value>) -> Self {
        schema.remove("$schema");
        let is = |kind: &str| schema.get("type").and_then(Value::as_str) == Some(kind);
        if is("string") && schema.keys().all(|key| key == "type" || ANNOTATIONS.contains(&key.as_str())) {
            return Self::TEXT;
        }
        if is("object") {
            let stated = Value::Object(schema);
            return Self(Form::Json { sent: stated.clone(), stated, wrapped: false });
        }
        let definitions = match schema.get("$defs") {
            Some(definitions) => Map::from_iter([("$defs".to_owned(), definitions.clone())]),
            None => Map::new(),
        };
        Self::wrap(Value::Object(schema), definitions)
    }

    fn wrap(stated: Value, definitions: Map<String, Value>) -> Self {
        let mut inner = stated.clone();
        if let Value::Object(inner) = &mut inner {
            inner.remove("$defs");
        }
        let mut sent = Value::Object(definitions);
        sent["type"] = json!("object");
        sent["properties"] = json!({ WRAPPER: inner });
        sent["required"] = json!([WRAPPER]);
        sent["additionalProperties"] = json!(false);
        repoint_root(&mut sent);
        Self(Form::Json { stated, sent, wrapped: true })
    }

    /// True for plain text.
    pub fn is_text(&self) -> bool {
        matches!(self.0, Form::Text)
    }

    /// True if the answer comes as `{"answer": …}`.
    pub(crate) fn is_wrapped(&self) -> bool {
        matches!(self.0, Form::Json { wrapped: true, .. })
    }

    /// The schema as it is sent to a provider; `None` for plain text.
    pub fn sent(&self) -> Option<&Value> {
        match &self.0 {
            Form::Text => None,
            Form::Json { sent, .. } => Some(sent),
        }
    }

    /// What a model is told that cannot be held to the schema; `None` for plain text.
    pub fn in_words(&self) -> Option<String> {
        Some(format!("{WORDS}\n\n{}", self.sent()?))
    }

    /// The schema as pretty JSON with sorted keys and a final newline, ready to be committed beside `cascade.toml`.
    pub fn to_json(&self) -> String {
        let stated = match &self.0 {
            Form::Text => &json!({ "type": "string" }),
            Form::Json { stated, .. } => stated,
        };
        format!("{stated:#}\n")
    }

    /// The answer in a model's text: a string for plain text, else the JSON value without its wrapper.
    ///
    /// # Errors
    /// [`AnswerError`] if the text is not what the schema asked for. Nothing is repaired: a policy's thresholds were
    /// fitted with such answers counted as failures.
    pub fn read(&self, text: &str) -> Result<Value, AnswerError> {
        match &self.0 {
            Form::Text => Ok(Value::String(text.to_owned())),
            Form::Json { sent, wrapped, .. } => {
                let value: Value = serde_json::from_str(text).map_err(|error| AnswerError::json(&error))?;
                if !(Schema { root: sent, node: sent, depth: 0 }).allows(&value) {
                    return Err(AnswerError("the answer does not follow its schema".to_owned()));
                }
                match value {
                    Value::Object(mut object) if *wrapped => Ok(object.remove(WRAPPER).unwrap_or_default()),
                    value => Ok(value),
                }
            }
        }
    }

    /// Whether a value follows the schema as it is stated, without a wrapper.
    pub(crate) fn describes(&self, value: &Value) -> bool {
        match &self.0 {
            Form::Text => value.is_string(),
            Form::Json { stated, .. } => Schema { root: stated, node: stated, depth: 0 }.allows(value),
        }
    }

    /// Whether the arguments of a tool's call follow the tool's schema.
    pub(crate) fn describes_arguments(parameters: &Value, arguments: &Value) -> bool {
        Schema { root: parameters, node: parameters, depth: 0 }.allows(arguments)
    }

    /// The answer as text, the way logs and graders see it: a JSON string without its quotes, any other value as
    /// compact JSON.
    ///
    /// # Errors
    /// As [`AnswerSchema::read`].
    pub fn read_text(&self, text: &str) -> Result<String, AnswerError> {
        Ok(match self.read(text)? {
            Value::String(text) => text,
            value => value.to_string(),
        })
    }
}

/// A reference to the old root follows it into the wrapper.
fn repoint_root(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                if key == "$ref" && value.as_str() == Some("#") {
                    *value = json!(format!("#/properties/{WRAPPER}"));
                } else {
                    repoint_root(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(repoint_root),
        _ => {}
    }
}

/// Why a text is not the answer that was asked for. Never quotes the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerError(String);

impl AnswerError {
    pub(crate) fn calls_tools() -> Self {
        Self("the model asks for tools to be called instead of answering: `Call::turn` and `Call::stream_turn` take both".to_owned())
    }

    /// The same of an answer that ran into its length limit, which is why.
    pub(crate) fn of_cut_off(self) -> Self {
        Self(format!(
            "{}: it was cut off at the limit of its length, so a higher `max_output_tokens` may help",
            self.0
        ))
    }

    /// What serde says quotes values, so only place and kind are kept.
    pub(crate) fn json(error: &serde_json::Error) -> Self {
        let what = match error.classify() {
            serde_json::error::Category::Eof => "ends too early",
            serde_json::error::Category::Data => "does not fit the type",
            _ => "is not JSON",
        };
        // A value that was parsed before has no lines.
        match error.line() {
            0 => Self(format!("the answer {what}")),
            line => Self(format!("the answer {what} (line {line}, column {})", error.column())),
        }
    }
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AnswerError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_strings_are_text_and_closed_choices_are_not() {
        assert!(AnswerSchema::of::<String>().is_text());
        assert!(AnswerSchema::from_json(r#"{"type":"string","description":"a team"}"#).unwrap().is_text());
        let choice = AnswerSchema::from_json(r#"{"type":"string","enum":["billing","technical"]}"#).unwrap();
        assert_eq!(choice.read(r#"{"answer":"billing"}"#), Ok(json!("billing")));
        assert_eq!(choice.read_text(r#" {"answer":"billing"} "#), Ok("billing".to_owned()));
        for bad in [
            "billing",
            r#"{"answer":"sales"}"#,
            r#"{"answer":"billing","b":1}"#,
            r#"{"team":"billing"}"#,
            "[]",
            "",
        ] {
            assert!(choice.read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn objects_are_sent_as_they_are() {
        let text = r#"{"$schema":"x","type":"object","properties":{"a":{"type":"integer"}}}"#;
        let schema = AnswerSchema::from_json(text).unwrap();
        assert_eq!(schema.sent().unwrap()["properties"]["a"]["type"], "integer");
        assert_eq!(schema.read(r#"{"a":1}"#), Ok(json!({"a": 1})));
        assert!(schema.read("[1]").is_err());
    }

    #[test]
    fn definitions_and_root_references_survive_wrapping() {
        let text = r##"{"anyOf":[{"$ref":"#/$defs/Leaf"},{"type":"array","items":{"$ref":"#"}}],"$defs":{"Leaf":{"type":"null"}}}"##;
        let sent = AnswerSchema::from_json(text).unwrap().sent().cloned().unwrap();
        assert_eq!(sent["$defs"]["Leaf"]["type"], "null");
        assert_eq!(sent["properties"]["answer"]["anyOf"][1]["items"]["$ref"], "#/properties/answer");
    }

    #[test]
    fn errors_never_quote_the_answer() {
        let error = AnswerSchema::of::<u32>().read(r#"{"secret": tru}"#).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn what_is_committed_reads_back_equal() {
        let schema = AnswerSchema::of::<Vec<u32>>();
        assert_eq!(AnswerSchema::from_json(&schema.to_json()), Ok(schema));
    }
}
