//! JSON Schema of one row of an eval log.

use crate::document::json::Json;

/// JSON Schema, draft-07, of one line of a `.jsonl` log. Keys that it does not list are kept and not used.
pub fn json_schema() -> String {
    let mut entries = vec![
        ("$schema", Json::text("http://json-schema.org/draft-07/schema#")),
        ("title", Json::text("Row of a Cascade eval log")),
        ("description", Json::text("One prompt and what each tier returned for it; one JSON object a line.")),
        ("type", Json::text("object")),
        ("required", Json::List(vec![Json::text("id"), Json::text("results")])),
    ];
    let properties = [
        ("id", text("Unique name.")),
        ("input", text("Text of the prompt; either this or `messages`.")),
        ("messages", messages()),
        (
            "split",
            words(&["calibration", "test"], "Half that the row belongs to; by `held_out` where absent."),
        ),
        ("group", text("Rows that belong together share it.")),
        ("weight", positive("Weight; 1 where absent.")),
        ("sampling_probability", share("Probability with which a request became a row: divides the weight.")),
        ("features", by_name(nullable("number"), "Numbers the application knows.")),
        ("tags", by_name(nullable("string"), "Labels the application knows.")),
        ("embedding", vector("Embedding of the prompt; equally long in all rows.")),
        ("embedding_model", text("What made the embedding.")),
        ("embedding_cost_usd", amount("What making the embedding cost in US dollars.")),
        ("embedding_latency_ms", amount("How long the call took that made the embedding, in milliseconds.")),
        ("session", text("Conversation the row is part of.")),
        ("turn", count("Position in the conversation.")),
        ("reference", anything("What a grader compared the outputs with.")),
        ("results", by_name(result(), "Results by tier.")),
    ];
    entries.push(("properties", Json::object(properties.map(|(name, value)| (name, or_null(name, value))))));
    Json::object(entries).pretty()
}

/// Optional keys may be null, which is the same as absent.
fn or_null(name: &str, value: Json) -> Json {
    if matches!(name, "id" | "results" | "reference") {
        return value;
    }
    Json::object([("anyOf", Json::List(vec![value, Json::object([("type", Json::text("null"))])]))])
}

fn result() -> Json {
    let properties = [
        ("quality", share("Quality of the answer; may be absent where `error` is set.")),
        ("cost_usd", amount("Cost of the call in US dollars, without the costs of signals.")),
        ("input_tokens", count("All input tokens, cached ones included.")),
        ("cached_input_tokens", count("Input tokens read from the provider's cache.")),
        ("cache_write_tokens", count("Input tokens written to the provider's cache.")),
        ("output_tokens", count("All output tokens, hidden reasoning included.")),
        ("reasoning_tokens", count("Hidden reasoning tokens.")),
        ("latency_ms", amount("Wall-clock time in milliseconds.")),
        (
            "signals",
            by_name(nullable("number"), "Signals by name; larger means more confident, null is missing."),
        ),
        (
            "signal_cost_usd",
            by_name(nullable("number"), "Price in US dollars of signals that need an extra call."),
        ),
        ("output", text("What the model returned.")),
        ("token_logprobs", anything("Log-probabilities of the output's tokens, natural logarithms.")),
        ("graded_by", text("Who graded the output.")),
        ("served_model", text("The model that the provider says it served.")),
        (
            "finish",
            text("Why the model stopped, where it was not simply done: length where the answer was cut off."),
        ),
        ("request_hash", text("Fingerprint of model, request table and schema.")),
        ("error", text("Why the call failed: timeout, refused, too_long and the like.")),
    ];
    let optional = |(name, value): (&'static str, Json)| {
        let free = matches!(name, "token_logprobs");
        (name, if free { value } else { or_null(name, value) })
    };
    Json::object([("type", Json::text("object")), ("properties", Json::object(properties.map(optional)))])
}

fn messages() -> Json {
    let message = Json::object([
        ("type", Json::text("object")),
        ("properties", Json::object([("role", text("system, user, assistant or tool."))])),
        ("required", Json::List(vec![Json::text("role"), Json::text("content")])),
    ]);
    Json::object([
        ("type", Json::text("array")),
        ("items", message),
        ("description", Json::text("Chat messages, in place of `input`.")),
    ])
}

fn kind(kind: &'static str, meaning: &str) -> Vec<(&'static str, Json)> {
    vec![("type", Json::text(kind)), ("description", Json::text(meaning))]
}

fn text(meaning: &str) -> Json {
    Json::object(kind("string", meaning))
}

fn words(words: &[&str], meaning: &str) -> Json {
    let words = words.iter().map(|word| Json::text(*word)).collect();
    Json::object([("enum", Json::List(words)), ("description", Json::text(meaning))])
}

fn with(kind: Vec<(&'static str, Json)>, bounds: &[(&'static str, i64)]) -> Json {
    Json::object(kind.into_iter().chain(bounds.iter().map(|(key, bound)| (*key, Json::Integer(*bound)))))
}

fn count(meaning: &str) -> Json {
    with(kind("integer", meaning), &[("minimum", 0)])
}

fn amount(meaning: &str) -> Json {
    with(kind("number", meaning), &[("minimum", 0)])
}

fn positive(meaning: &str) -> Json {
    with(kind("number", meaning), &[("exclusiveMinimum", 0)])
}

fn share(meaning: &str) -> Json {
    with(kind("number", meaning), &[("minimum", 0), ("maximum", 1)])
}

fn nullable(of: &str) -> Json {
    Json::object([("type", Json::List(vec![Json::text(of), Json::text("null")]))])
}

fn by_name(values: Json, meaning: &str) -> Json {
    Json::object([
        ("type", Json::text("object")),
        ("additionalProperties", values),
        ("description", Json::text(meaning)),
    ])
}

fn vector(meaning: &str) -> Json {
    let number = Json::object([("type", Json::text("number"))]);
    Json::object(
        kind("array", meaning).into_iter().chain([("items", number), ("minItems", Json::Integer(1))]),
    )
}

fn anything(meaning: &str) -> Json {
    Json::object([("description", Json::text(meaning))])
}
