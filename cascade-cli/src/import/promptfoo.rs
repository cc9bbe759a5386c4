//! Results of promptfoo (`promptfoo eval -o results.json`).

use super::lm_eval::is_chat;
use super::names::Names;
use super::{Import, graded, json};
use crate::failure::Result;
use cascade_sdk_core::diag::Diagnostic;
use cascade_sdk_core::hash::Hasher;
use cascade_sdk_core::log::{RawJson, ResultRecord};
use cascade_sdk_core::money::Usd;
use serde_json::Value;
use std::path::Path;

/// Reads a file.
///
/// # Errors
/// A file that is no JSON of promptfoo's results.
pub(crate) fn read(path: &Path, names: &Names, import: &mut Import) -> Result<()> {
    let text = import.read_json(path)?;
    let file: Value = json(&text, path, None)?;
    // Version 2 and later hold a summary in between.
    let lists = [&file["results"]["results"], &file["results"], &file];
    let Some(results) =
        lists.into_iter().find_map(Value::as_array).filter(|list| list.iter().all(Value::is_object))
    else {
        let message = format!("`{}` holds no results of promptfoo", path.display());
        return Err(Diagnostic::error("import::format", message)
            .help("write them with `promptfoo eval -o results.json`")
            .into());
    };
    let several = results.iter().any(|result| result["promptIdx"].as_u64().is_some_and(|index| index > 0));
    for result in results {
        add(result, several, names, import);
    }
    if results.iter().any(|result| result["vars"].as_object().is_some_and(|vars| !vars.is_empty())) {
        import.remark("files whose vars are in the prompts only: no tags are made of them");
    }
    Ok(())
}

fn add(entry: &Value, several_prompts: bool, names: &Names, import: &mut Import) {
    let provider = &entry["provider"];
    let theirs = [&provider["label"], &provider["id"], provider];
    let Some(theirs) = theirs.into_iter().filter_map(Value::as_str).find(|name| !name.is_empty()) else {
        return import.remark("results without a provider, left out");
    };
    let Some(tier) = names.ours(theirs) else {
        return import.remark(format!("results of `{theirs}`, which --tier does not name, left out"));
    };
    let score = [&entry["gradingResult"]["score"], &entry["score"]].into_iter().find_map(Value::as_f64);
    let passed = entry["success"].as_bool().map(|good| f64::from(u8::from(good)));
    let failure = entry["error"].as_str().filter(|_| entry["response"]["output"].is_null());
    let quality = if failure.is_some() { Some(0.0) } else { score.or(passed) };
    let Some(quality) = quality else { return import.remark("results without a score, left out") };
    let Some(mut result) = graded(quality, "promptfoo") else {
        return import.remark("results with a score outside [0, 1], left out");
    };
    if failure.is_some() {
        result.error = Some("provider".into());
    }
    spent(entry, &mut result, import);
    result.output = match &entry["response"]["output"] {
        Value::Null => None,
        Value::String(text) => Some(text.clone().into()),
        other => Some(other.to_string().into()),
    };
    let raw =
        [&entry["prompt"]["raw"], &entry["prompt"]].into_iter().find_map(Value::as_str).unwrap_or_default();
    let id = id_of(entry, raw, several_prompts);
    let row = import.row(&id);
    match serde_json::from_str::<Value>(raw) {
        Ok(messages) if is_chat(&messages) => row.messages = RawJson::of(&messages).ok(),
        _ => row.input = Some(raw.to_owned().into()),
    }
    import.result(&id, &tier, result);
}

/// Cost, tokens and time. Those of an answer from promptfoo's cache are not those of a call.
fn spent(entry: &Value, result: &mut ResultRecord<'static>, import: &mut Import) {
    let response = &entry["response"];
    let usage = &response["tokenUsage"];
    if response["cached"].as_bool() == Some(true) {
        import.remark("results from promptfoo's cache, whose time is not taken: run it with --no-cache");
    } else {
        result.latency_ms = entry["latencyMs"].as_f64().or_else(|| response["latencyMs"].as_f64());
    }
    let cost = entry["cost"].as_f64().filter(|cost| *cost > 0.0).or_else(|| response["cost"].as_f64());
    result.cost_usd = cost.filter(|cost| *cost > 0.0).and_then(|cost| Usd::from_f64(cost).ok());
    result.input_tokens = usage["prompt"].as_u64();
    result.output_tokens = usage["completion"].as_u64();
}

/// Tests are numbered; files of older versions are not, and then the prompt names the row.
fn id_of(entry: &Value, prompt: &str, several_prompts: bool) -> String {
    match (entry["testIdx"].as_u64(), entry["promptIdx"].as_u64()) {
        (Some(test), Some(number)) if several_prompts => format!("test-{test}-prompt-{number}"),
        (Some(test), _) => format!("test-{test}"),
        _ => {
            let mut hash = Hasher::new();
            hash.add(prompt.as_bytes());
            hash.add(entry["vars"].to_string().as_bytes());
            format!("prompt-{}", &hash.hex()[..12])
        }
    }
}
