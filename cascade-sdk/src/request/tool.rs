//! Tools: functions of the application that a model may ask to be called.

use super::message::Bound;
use crate::answer::AnswerError;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt;

/// A function of the application that a model may ask to be called.
///
/// ```
/// use cascade_sdk::Tool;
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Weather {
///     city: String,
/// }
/// let tool = Tool::of::<Weather>("weather", "The weather in a city, now.");
/// assert_eq!(tool.parameters["properties"]["city"]["type"], "string");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tool {
    /// Its name: letters, digits, `_` and `-`, at most 64 of them.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// JSON Schema of its arguments, an object.
    pub parameters: Value,
}

impl Tool {
    /// A tool whose arguments follow a JSON Schema.
    pub fn new(name: impl Into<String>, description: impl Into<String>, parameters: Value) -> Self {
        Self { name: name.into(), description: description.into(), parameters }
    }

    /// A tool whose arguments are the fields of a type.
    pub fn of<Arguments: schemars::JsonSchema>(
        name: impl Into<String>,
        description: impl Into<String>,
    ) -> Self {
        let mut schema = schemars::schema_for!(Arguments).to_value();
        if let Value::Object(schema) = &mut schema {
            schema.remove("$schema");
        }
        Self::new(name, description, schema)
    }

    /// Whether every api takes a tool of this name and these parameters; what is wrong with it otherwise.
    pub(crate) fn check(&self) -> Result<(), String> {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if self.name.is_empty() || self.name.len() > 64 || !self.name.bytes().all(letter) {
            // What the caller wrote may be anything, so it is not repeated.
            return Err("the name of a tool is 1 to 64 letters, digits, `_` and `-`".to_owned());
        }
        if self.parameters.get("type") != Some(&json!("object")) {
            return Err(format!("the parameters of tool `{}` are not a JSON Schema of an object", self.name));
        }
        Ok(())
    }
}

/// A tool that a model asks to be called.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToolCall {
    /// Names the call within its conversation. Where an api gives none, the client does.
    pub id: String,
    /// Name of the tool.
    pub name: String,
    /// The arguments, a JSON object. Apis do not promise that they follow the tool's schema.
    pub arguments: Value,
    /// What the api wants back with the call, and no other can read.
    pub(crate) bound: Option<Bound>,
}

impl ToolCall {
    /// A call of an earlier turn, as an application kept it.
    pub fn new(id: impl Into<String>, name: impl Into<String>, arguments: Value) -> Self {
        Self { id: id.into(), name: name.into(), arguments, bound: None }
    }

    /// The arguments as a type.
    ///
    /// # Errors
    /// [`AnswerError`] if they are not one; it does not quote them.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, AnswerError> {
        T::deserialize(&self.arguments).map_err(|error| AnswerError::json(&error))
    }

    /// The result of the call, for [`super::Message::tool`].
    pub fn result(&self, content: impl Into<String>) -> ToolResult {
        ToolResult {
            call_id: self.id.clone(),
            name: self.name.clone(),
            content: content.into(),
            failed: false,
        }
    }
}

/// What a tool came to.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToolResult {
    /// [`ToolCall::id`] of the call.
    pub call_id: String,
    /// Name of the tool.
    pub name: String,
    /// What it returned, as text or JSON.
    pub content: String,
    /// Whether it failed; `content` then says why.
    pub failed: bool,
}

impl ToolResult {
    /// The result of the call of this id.
    pub fn new(call_id: impl Into<String>, name: impl Into<String>, content: impl Into<String>) -> Self {
        Self { call_id: call_id.into(), name: name.into(), content: content.into(), failed: false }
    }

    /// Says that the tool failed.
    #[must_use]
    pub fn as_failure(mut self) -> Self {
        self.failed = true;
        self
    }
}

/// Arguments and results do not belong in logs: `Debug` shows names and lengths only.
impl fmt::Debug for ToolCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ToolCall({})", self.name)
    }
}

impl fmt::Debug for ToolResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ToolResult({}, {} bytes)", self.name, self.content.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemars::JsonSchema;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize, JsonSchema)]
    struct Weather {
        city: String,
    }

    #[test]
    fn a_type_describes_and_reads_arguments() {
        let tool = Tool::of::<Weather>("weather", "now");
        assert_eq!(tool.check(), Ok(()));
        assert_eq!(tool.parameters["required"], json!(["city"]));
        let call = ToolCall::new("1", "weather", json!({"city": "SECRET"}));
        assert_eq!(call.parse::<Weather>().unwrap().city, "SECRET");
        let wrong = ToolCall::new("1", "weather", json!({"city": ["SECRET"]}));
        let error = wrong.parse::<Weather>().unwrap_err();
        assert!(!format!("{error} {wrong:?}").contains("SECRET"), "{error}");
    }

    #[test]
    fn names_and_parameters_are_checked() {
        for name in ["", "two words", "naïve", &"x".repeat(65)] {
            assert!(Tool::new(name, "", json!({"type": "object"})).check().is_err(), "{name}");
        }
        assert!(Tool::new("t", "", json!({"type": "string"})).check().is_err());
    }
}
