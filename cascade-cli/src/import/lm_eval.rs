//! Sample logs of lm-evaluation-harness (`--log_samples`): one JSON object a line, one file for each model and task.

use super::names::Names;
use super::{Import, graded, json};
use crate::failure::Result;
use cascade_sdk_core::diag::{Diagnostic, Source};
use cascade_sdk_core::log::RawJson;
use serde_json::Value;
use std::path::Path;

/// Metrics that are a quality where a sample does not list its own.
const METRICS: [&str; 6] = ["acc", "exact_match", "acc_norm", "f1", "pass@1", "score"];

/// Which of a sample's figures is its quality.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    /// Name of the metric.
    pub(crate) metric: Option<String>,
    /// Name of the filter that the metric is of.
    pub(crate) filter: Option<String>,
}

/// Reads one file for each `NAME=FILE`.
///
/// # Errors
/// A file that cannot be read or has a line that is no sample.
pub(crate) fn read(files: &Names, choice: &Choice, import: &mut Import) -> Result<()> {
    for (tier, file) in files.pairs() {
        let path = Path::new(file);
        let text = import.read_json(path)?;
        let task = task_of(path);
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let sample: Value = json(line, path, Some(number + 1))?;
            let Some(id) = sample.get("doc_id").filter(|id| id.is_number() || id.is_string()) else {
                let message = "the line is no sample of lm-evaluation-harness: it has no `doc_id`";
                return Err(Diagnostic::error("import::format", message)
                    .at(&Source::line(file, number + 1, ""), 0..0, "")
                    .help("take the files `samples_TASK_….jsonl` that --log_samples writes")
                    .into());
            };
            let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
            add(&format!("{task}/{id}"), tier, &task, &sample, choice, import);
        }
    }
    Ok(())
}

/// `samples_gsm8k_2026-01-31T23-59-59.123.jsonl` is of task `gsm8k`.
fn task_of(path: &Path) -> String {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let name = stem.strip_prefix("samples_").unwrap_or(stem);
    match name.rsplit_once('_') {
        Some((task, time)) if time.starts_with(|c: char| c.is_ascii_digit()) && time.contains('T') => {
            task.to_owned()
        }
        _ => name.to_owned(),
    }
}

fn add(id: &str, tier: &str, task: &str, sample: &Value, choice: &Choice, import: &mut Import) {
    let filter = sample["filter"].as_str().unwrap_or("none");
    if choice.filter.as_deref().is_some_and(|wanted| wanted != filter) {
        return import.remark(format!("samples of the filter `{filter}`, left out"));
    }
    let Some((metric, quality)) = quality(sample, choice.metric.as_deref()) else {
        return import.remark("samples without a metric that is a quality, left out: name one with --metric");
    };
    let Some(mut result) = graded(quality, &format!("lm-eval {metric}")) else {
        return import.remark(format!("samples whose {metric} is outside [0, 1], left out"));
    };
    let requests = requests(&sample["arguments"]);
    let chosen =
        choices(&requests, &sample["filtered_resps"]).or_else(|| choices(&requests, &sample["resps"]));
    if let Some((text, margin)) = chosen {
        result.output = Some(text.into());
        result.signals.insert("choice_margin".into(), Some(margin));
    } else {
        let output = first_text(&sample["resps"]).or_else(|| first_text(&sample["filtered_resps"]));
        result.output = output.map(|text| text.to_owned().into());
    }
    let row = import.row(id);
    row.tags.insert("task".into(), Some(task.to_owned().into()));
    if row.reference.is_none() && !sample["target"].is_null() {
        row.reference = RawJson::of(&sample["target"]).ok();
    }
    if row.input.is_none() && row.messages.is_none() {
        match requests.first().map(|(prompt, _)| *prompt) {
            Some(Value::String(text)) => match serde_json::from_str::<Value>(text) {
                // A chat template's input is written as JSON in a text.
                Ok(messages) if is_chat(&messages) => row.messages = RawJson::of(&messages).ok(),
                _ => row.input = Some(text.clone().into()),
            },
            Some(messages) if is_chat(messages) => row.messages = RawJson::of(messages).ok(),
            _ => {}
        }
    }
    import.result(id, tier, result);
}

/// The quality and the metric it is of. Keys are `acc`, or `acc,none` with the filter.
fn quality(sample: &Value, wanted: Option<&str>) -> Option<(String, f64)> {
    let value = |metric: &str| {
        let object = sample.as_object()?;
        let plain = object.get(metric);
        let value = plain.or_else(|| {
            let of = |key: &&String| key.split_once(',').is_some_and(|(name, _)| name == metric);
            object.get(object.keys().find(of)?)
        })?;
        value.as_f64().or_else(|| value.as_bool().map(|good| f64::from(u8::from(good))))
    };
    if let Some(metric) = wanted {
        return value(metric).map(|quality| (metric.to_owned(), quality));
    }
    let listed = sample["metrics"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let known = METRICS.iter().copied();
    let found = known
        .filter(|metric| value(metric).is_some())
        .chain(listed)
        .find_map(|metric| Some((metric.to_owned(), value(metric)?)));
    found.filter(|(_, quality)| (0.0..=1.0).contains(quality))
}

/// Prompt and continuation of each request: `{"gen_args_0": {"arg_0": …, "arg_1": …}}`, or lists in older files.
fn requests(arguments: &Value) -> Vec<(&Value, Option<&str>)> {
    match arguments {
        Value::Object(requests) => {
            let mut numbered: Vec<(usize, &Value)> = requests
                .iter()
                .filter_map(|(name, request)| Some((name.strip_prefix("gen_args_")?.parse().ok()?, request)))
                .collect();
            numbered.sort_by_key(|(number, _)| *number);
            numbered.into_iter().map(|(_, request)| (&request["arg_0"], request["arg_1"].as_str())).collect()
        }
        Value::Array(requests) => requests.iter().map(|request| (&request[0], request[1].as_str())).collect(),
        _ => Vec::new(),
    }
}

/// A multiple-choice sample: the continuation the model finds likeliest, and by how much of probability it is ahead of
/// the second.
fn choices(requests: &[(&Value, Option<&str>)], responses: &Value) -> Option<(String, f64)> {
    let responses =
        responses.as_array().filter(|responses| responses.len() == requests.len() && responses.len() > 1)?;
    let scores: Vec<f64> = responses.iter().map(log_likelihood).collect::<Option<_>>()?;
    let best = (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b]))?;
    let text = requests.get(best).and_then(|(_, continuation)| *continuation)?;
    let total: f64 = scores.iter().map(|score| (score - scores[best]).exp()).sum();
    let second = (0..scores.len())
        .filter(|place| *place != best)
        .map(|place| scores[place])
        .fold(f64::NEG_INFINITY, f64::max);
    Some((text.trim().to_owned(), (1.0 - (second - scores[best]).exp()) / total))
}

/// `[-1.5, false]`, `["-1.5", "False"]`, or the same in a further list.
fn log_likelihood(response: &Value) -> Option<f64> {
    let pair = response.as_array()?;
    match pair.first()? {
        Value::Array(_) if pair.len() == 1 => log_likelihood(&pair[0]),
        Value::Number(score) if pair.len() == 2 => score.as_f64(),
        Value::String(score) if pair.len() == 2 => score.parse().ok(),
        _ => None,
    }
    .filter(|score: &f64| score.is_finite())
}

fn first_text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        Value::Array(items) => items.first().and_then(first_text),
        _ => None,
    }
}

/// True for a list of messages with roles.
pub(super) fn is_chat(value: &Value) -> bool {
    value.as_array().is_some_and(|messages| {
        !messages.is_empty()
            && messages.iter().all(|message| message["role"].is_string() && !message["content"].is_null())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_likeliest_choice_and_its_lead() {
        let arguments =
            json!({"gen_args_1": {"arg_0": "q", "arg_1": " b"}, "gen_args_0": {"arg_0": "q", "arg_1": " a"}});
        let requests = requests(&arguments);
        for responses in [
            json!([[["-1.0", "False"]], [["-2.0", "False"]]]),
            json!([[-1.0, false], [-2.0, false]]),
            json!([["-1.0", "False"], ["-2.0", "False"]]),
        ] {
            let (text, margin) = choices(&requests, &responses).unwrap();
            let lead = (1.0 - (-1.0_f64).exp()) / (1.0 + (-1.0_f64).exp());
            assert!(text == "a" && (margin - lead).abs() < 1e-12, "{text} {margin}");
        }
        assert_eq!(choices(&requests, &json!([["text"]])), None);
    }

    #[test]
    fn tasks_come_from_file_names() {
        for (name, task) in [
            ("samples_gsm8k_2026-01-31T23-59-59.123.jsonl", "gsm8k"),
            ("samples_mmlu_law_2026-01-31T23-59-59.jsonl", "mmlu_law"),
            ("mine.jsonl", "mine"),
        ] {
            assert_eq!(task_of(Path::new(name)), task);
        }
    }

    #[test]
    fn metrics_with_and_without_their_filter() {
        let sample = json!({"exact_match,strict": 1.0, "f1": 0.5, "bleu": 31.0, "metrics": ["bleu"]});
        assert_eq!(quality(&sample, None), Some(("exact_match".into(), 1.0)));
        assert_eq!(quality(&sample, Some("f1")), Some(("f1".into(), 0.5)));
        assert_eq!(quality(&json!({"bleu": 31.0, "metrics": ["bleu"]}), None), None);
    }
}
