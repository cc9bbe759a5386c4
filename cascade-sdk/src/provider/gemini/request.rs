//! From a call to the JSON of a request.

use super::schema;
use crate::provider::ModelCall;
use crate::request::{Image, Message, Part, Role, Tool, ToolCall, ToolResult};
use serde_json::{Map, Value, json};

/// What the format cannot carry, found before anything is sent.
pub(super) fn check(call: &ModelCall<'_>) -> Result<(), &'static str> {
    let mut spoken = call.request.messages.iter().skip_while(|message| message.role == Role::System);
    if spoken.any(|message| message.role == Role::System) {
        return Err("the format has system messages at the start of a conversation only");
    }
    Ok(())
}

/// The path below the base URL. A model may say where it lives, as in `tunedModels/NAME`.
pub(super) fn path(model: &str, method: &str) -> Vec<String> {
    let named = if model.contains('/') { model.to_owned() } else { format!("models/{model}") };
    format!("{named}:{method}").split('/').map(str::to_owned).collect()
}

/// The body of a request.
pub(super) fn body(call: &ModelCall<'_>) -> Value {
    let tools = &call.request.tools;
    // Models before the third generation refuse a schema beside tools.
    let native = call.native_schema().filter(|_| tools.is_empty());
    let system = if native.is_some() { call.system.clone() } else { call.system_with_schema() };
    let leading = call.request.messages.iter().take_while(|message| message.role == Role::System);
    let texts = system.into_iter().chain(leading.map(Message::text)).filter(|text| !text.is_empty());
    let system: Vec<Value> = texts.map(|text| json!({ "text": text })).collect();

    let mut config = Map::new();
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            config.insert(key.to_owned(), value);
        }
    };
    set("maxOutputTokens", call.max_output_tokens.map(Value::from));
    set("temperature", call.temperature.map(Value::from));
    set("seed", call.seed.map(Value::from));
    set("responseLogprobs", call.top_logprobs.map(|_| json!(true)));
    // None is asked for by leaving the count out.
    set("logprobs", call.top_logprobs.filter(|count| *count > 0).map(Value::from));
    set("responseMimeType", native.map(|_| json!("application/json")));
    set("responseJsonSchema", native.map(schema::native));
    set("thinkingConfig", call.reasoning_effort.map(|effort| json!({ "thinkingLevel": effort })));

    let mut body = Map::new();
    if !system.is_empty() {
        body.insert("systemInstruction".to_owned(), json!({ "parts": system }));
    }
    body.insert("contents".to_owned(), turns(&call.request.messages));
    if !tools.is_empty() {
        let declared: Vec<Value> = tools.iter().map(declaration).collect();
        body.insert("tools".to_owned(), json!([{ "functionDeclarations": declared }]));
    }
    if !config.is_empty() {
        body.insert("generationConfig".to_owned(), Value::Object(config));
    }
    Value::Object(body)
}

fn declaration(tool: &Tool) -> Value {
    json!({
        "name": tool.name, "description": tool.description,
        "parametersJsonSchema": schema::native(&tool.parameters),
    })
}

/// The conversation. Neighbours of one side become one turn: all results of one turn's calls must stand together.
fn turns(messages: &[Message]) -> Value {
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in messages.iter().skip_while(|message| message.role == Role::System) {
        let role = if message.role == Role::Assistant { "model" } else { "user" };
        let parts = message.parts.iter().map(part);
        match turns.last_mut() {
            Some((last, content)) if *last == role => content.extend(parts),
            _ => turns.push((role, parts.collect())),
        }
    }
    turns.into_iter().map(|(role, parts)| json!({ "role": role, "parts": parts })).collect()
}

fn part(part: &Part) -> Value {
    match part {
        Part::Text(text) => json!({ "text": text }),
        Part::Image(Image::Inline { media_type, base64 }) => {
            json!({ "inlineData": { "mimeType": media_type, "data": base64 } })
        }
        Part::Image(Image::Url { url, media_type }) => {
            let mut file = json!({ "fileUri": url });
            if let Some(media_type) = media_type {
                file["mimeType"] = json!(media_type);
            }
            json!({ "fileData": file })
        }
        Part::ToolCall(call) => tool_call(call),
        Part::ToolResult(result) => tool_result(result),
        Part::Bound(bound) => bound.data.clone(),
    }
}

fn tool_call(call: &ToolCall) -> Value {
    let mut part = json!({ "functionCall": { "id": call.id, "name": call.name, "args": call.arguments } });
    if let Some(bound) = &call.bound {
        part["thoughtSignature"] = bound.data.clone();
    }
    part
}

/// A result must be an object; one that is not is put into one, under the name that models are trained on.
fn tool_result(result: &ToolResult) -> Value {
    let key = if result.failed { "error" } else { "output" };
    let content = match serde_json::from_str(&result.content) {
        Ok(Value::Object(object)) if !result.failed => Value::Object(object),
        _ => json!({ key: result.content }),
    };
    json!({ "functionResponse": { "id": result.call_id, "name": result.name, "response": content } })
}
