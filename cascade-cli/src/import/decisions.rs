//! Decision logs of a client: explored requests become eval rows; all others only say what traffic looks like.

use super::traffic::Traffic;
use super::{Import, json};
use crate::failure::{Failure, Result};
use cascade_sdk_core::diag::{Diagnostic, Source};
use cascade_sdk_core::log::{RawJson, ResultRecord};
use cascade_sdk_core::money::Usd;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Reads decision logs; `route` keeps that route only.
///
/// # Errors
/// A file that cannot be read, a line that is no row of a decision log, or rows of several routes where none is named.
pub(crate) fn read(paths: &[impl AsRef<Path>], route: Option<&str>, import: &mut Import) -> Result<Traffic> {
    let mut traffic = Traffic::default();
    let mut explored = Vec::new();
    // The latest score counts.
    let mut scores: BTreeMap<(String, Option<String>), f64> = BTreeMap::new();
    let mut first_route: Option<String> = None;
    for path in paths {
        let path = path.as_ref();
        let text = import.read_json(path)?;
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let row: Value = json(line, path, Some(number + 1))?;
            let Some(kind) = row["kind"].as_str() else {
                let source = Source::line(path.display().to_string(), number + 1, "");
                return Err(Diagnostic::error(
                    "import::format",
                    "the line is no row of a decision log: it has no `kind`",
                )
                .at(&source, 0..0, "")
                .help("take the file that `decision_log` names")
                .into());
            };
            let own = row["route"].as_str();
            if let (Some(wanted), Some(own)) = (route, own)
                && wanted != own
            {
                import.remark(format!("rows of route `{own}`, left out"));
                continue;
            }
            if route.is_none()
                && let Some(own) = own
            {
                let first = first_route.get_or_insert_with(|| own.to_owned());
                if first != own {
                    let message = format!("the log has rows of the routes `{first}` and `{own}`");
                    return Err(Failure::usage(message, "say which one with --route NAME"));
                }
            }
            match kind {
                "decision" => traffic.add(&row),
                "exploration" => explored.push(row),
                "feedback" => {
                    if let (Some(id), Some(score)) = (row["id"].as_str(), row["score"].as_f64()) {
                        scores.insert((id.to_owned(), row["tier"].as_str().map(str::to_owned)), score);
                    }
                }
                "dropped" => traffic.dropped += row["rows"].as_u64().unwrap_or(0),
                other => {
                    import.remark(format!("rows of the kind `{other}`, which this version does not know"));
                }
            }
        }
    }
    traffic.explored = explored.len();
    for row in explored {
        evidence(&row, &scores, import);
    }
    traffic.score(&scores);
    Ok(traffic)
}

/// A request that was run on all tiers.
fn evidence(row: &Value, scores: &BTreeMap<(String, Option<String>), f64>, import: &mut Import) {
    if !row["incomplete"].is_null() {
        return import
            .remark("explored requests that did not reach all tiers, left out: they are no fair sample");
    }
    let (Some(id), Some(probability)) = (row["id"].as_str(), row["probability"].as_f64()) else {
        return import.remark("explored requests without id or probability, left out");
    };
    if row["results"].as_object().into_iter().flatten().any(|(_, result)| is_outage(result)) {
        return import.remark(
            "explored requests whose call to a tier failed by an outage, left out: it says nothing of the tier",
        );
    }
    let mut results = Vec::new();
    for (tier, result) in row["results"].as_object().into_iter().flatten() {
        let answered = row["answered_by"].as_str() == Some(tier);
        let score = scores.get(&(id.to_owned(), Some(tier.clone())));
        let score = score.or_else(|| scores.get(&(id.to_owned(), None)).filter(|_| answered)).copied();
        let failed = result["error"].is_string();
        let Some(quality) = score.or(failed.then_some(0.0)) else {
            // A row of which only the policy's own answer was scored says nothing of the others.
            return import.remark(
                "explored requests of which not every tier has a score, left out: call `feedback_for`",
            );
        };
        results.push((tier.clone(), read_result(result, quality)));
    }
    if results.is_empty() {
        return import.remark("explored requests without results, left out");
    }
    let entry = import.row(id);
    entry.sampling_probability = Some(probability);
    entry.input = row["input"].as_str().map(|text| text.to_owned().into());
    entry.session = row["session"].as_str().map(|text| text.to_owned().into());
    entry.turn = row["turn"].as_u64();
    for (name, value) in row["features"].as_object().into_iter().flatten() {
        entry.features.insert(name.clone().into(), value.as_f64());
    }
    for (name, value) in row["tags"].as_object().into_iter().flatten() {
        entry.tags.insert(name.clone().into(), value.as_str().map(|text| text.to_owned().into()));
    }
    let text = entry.input.is_some();
    for (tier, result) in results {
        import.result(id, &tier, result);
    }
    if !text {
        import.remark("rows without their prompt, so that no router can learn from them: set `log_prompts`");
    }
}

/// Whether a call failed for a reason that says nothing of its tier. Newer clients mark such rows themselves; of older rows a status
/// that was worth another attempt is one of a server in trouble.
fn is_outage(result: &Value) -> bool {
    match result["error"].as_str() {
        Some("connection" | "auth" | "bad_body" | "circuit_open" | "unsupported") => true,
        Some("status") => result["retries"].as_array().is_some_and(|retries| !retries.is_empty()),
        _ => false,
    }
}

fn read_result(row: &Value, quality: f64) -> ResultRecord<'static> {
    let mut result = ResultRecord::default();
    let text = |name: &str| row[name].as_str().map(|text| text.to_owned().into());
    result.quality = Some(quality);
    result.graded_by = Some("feedback".into());
    result.cost_usd = money(&row["cost_usd"]);
    result.input_tokens = row["input_tokens"].as_u64();
    result.cached_input_tokens = row["cached_input_tokens"].as_u64();
    result.cache_write_tokens = row["cache_write_tokens"].as_u64();
    result.output_tokens = row["output_tokens"].as_u64();
    result.reasoning_tokens = row["reasoning_tokens"].as_u64();
    result.latency_ms = row["latency_ms"].as_f64();
    result.served_model = text("served_model");
    result.finish = text("finish");
    result.request_hash = text("request_hash");
    result.error = text("error");
    result.output = text("output");
    if let Some(logprobs) = row.get("token_logprobs") {
        result.token_logprobs = RawJson::of(logprobs).ok();
    }
    for (name, value) in row["signals"].as_object().into_iter().flatten() {
        result.signals.insert(name.clone().into(), value.as_f64());
    }
    for (name, value) in row["signal_cost_usd"].as_object().into_iter().flatten() {
        result.signal_cost_usd.insert(name.clone().into(), money(value));
    }
    result
}

/// Rounded half to even at 12 decimals, which gives the amount back exactly.
fn money(value: &Value) -> Option<Usd> {
    value.as_f64().and_then(|amount| Usd::from_f64(amount).ok())
}
