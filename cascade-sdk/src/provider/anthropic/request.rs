//! From a call to the JSON of a request.

use super::schema;
use crate::provider::ModelCall;
use crate::request::{Image, Message, Part, Role, Tool};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// What the format cannot carry, found before anything is sent.
pub(super) fn check(call: &ModelCall<'_>) -> Result<(), &'static str> {
    if call.max_output_tokens.is_none() {
        return Err(
            "every request must say how long its answer may become: set `max_output_tokens` for the tier",
        );
    }
    let spoken = call.request.messages.iter().skip_while(|message| message.role == Role::System);
    for message in spoken {
        if message.role == Role::System {
            return Err("the format has system messages at the start of a conversation only");
        }
        for part in &message.parts {
            if let Part::ToolCall(call) = part
                && !is_id(&call.id)
            {
                return Err("the id of an earlier tool call has characters that the format does not carry");
            }
        }
    }
    Ok(())
}

fn is_id(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// The body of a request.
pub(super) fn body(call: &ModelCall<'_>) -> Value {
    let native = call.native_schema().and_then(schema::native);
    let asked = match native {
        Some(_) => call.system.clone(),
        None => call.system_with_schema(),
    };
    let system = leading_system(&call.request.messages).fold(asked, |system, text| {
        Some(system.map_or(text.clone(), |all| format!("{all}\n\n{text}").into()))
    });
    let mut body = Map::new();
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(key.to_owned(), value);
        }
    };
    set("model", Some(json!(call.model)));
    set("max_tokens", call.max_output_tokens.map(Value::from));
    set("system", system.filter(|text| !text.is_empty()).map(|text| json!(text)));
    set("messages", Some(turns(&call.request.messages)));
    set("temperature", call.temperature.map(Value::from));
    let tools = &call.request.tools;
    set("tools", (!tools.is_empty()).then(|| tools.iter().map(tool).collect()));
    let mut output = Map::new();
    if let Some(schema) = native {
        output.insert("format".to_owned(), json!({ "type": "json_schema", "schema": schema }));
    }
    if let Some(effort) = call.reasoning_effort {
        output.insert("effort".to_owned(), json!(effort));
    }
    set("output_config", (!output.is_empty()).then_some(Value::Object(output)));
    Value::Object(body)
}

fn leading_system(messages: &[Message]) -> impl Iterator<Item = Cow<'_, str>> {
    messages.iter().take_while(|message| message.role == Role::System).map(Message::text)
}

fn tool(tool: &Tool) -> Value {
    json!({ "name": tool.name, "description": tool.description, "input_schema": tool.parameters })
}

/// The conversation. Neighbours of one side become one turn: all results of one turn's calls must stand together.
fn turns(messages: &[Message]) -> Value {
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in messages.iter().skip_while(|message| message.role == Role::System) {
        let role = if message.role == Role::Assistant { "assistant" } else { "user" };
        let blocks = message.parts.iter().filter_map(block);
        match turns.last_mut() {
            Some((last, content)) if *last == role => content.extend(blocks),
            _ => turns.push((role, blocks.collect())),
        }
    }
    let spoken = turns.into_iter().filter(|(_, content)| !content.is_empty());
    spoken.map(|(role, content)| json!({ "role": role, "content": content })).collect()
}

/// A part of a message; `None` for an empty text, which the format refuses.
fn block(part: &Part) -> Option<Value> {
    Some(match part {
        Part::Text(text) if text.is_empty() => return None,
        Part::Text(text) => json!({ "type": "text", "text": text }),
        Part::Image(Image::Url { url, .. }) => {
            json!({ "type": "image", "source": { "type": "url", "url": url } })
        }
        Part::Image(Image::Inline { media_type, base64 }) => json!({
            "type": "image", "source": { "type": "base64", "media_type": media_type, "data": base64 },
        }),
        Part::ToolCall(call) => {
            json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments })
        }
        Part::ToolResult(result) => json!({
            "type": "tool_result", "tool_use_id": result.call_id, "content": result.content,
            "is_error": result.failed,
        }),
        Part::Bound(bound) => bound.data.clone(),
    })
}
