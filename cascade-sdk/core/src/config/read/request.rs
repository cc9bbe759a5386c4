//! `[routes.R.request]`.

use crate::config::section::Section;
use crate::config::{AnswerForm, RequestSettings};
use crate::document::read::Item;
use std::ops::Range;

/// Where a route asks for something that not every api has.
#[derive(Debug, Default)]
pub(super) struct Asks {
    pub(super) logprobs: Option<Range<usize>>,
    pub(super) temperature: Option<Range<usize>>,
    pub(super) tools: Option<Range<usize>>,
}

/// The settings, and what they ask of tiers.
pub(super) fn read(mut section: Section<'_>) -> (RequestSettings, Asks) {
    let system = section.text("system");
    let temperature = section.number("temperature");
    let top_logprobs = section.whole("top_logprobs");
    let seed = section.whole("seed");
    let tools = section.boolean("tools").filter(|tools| tools.value);
    let answer = section.item("answer").and_then(|item| answer(&section, &item));
    section.finish();
    let asks = Asks {
        logprobs: top_logprobs.as_ref().map(|read| read.item.key_span.clone()),
        temperature: temperature.as_ref().map(|read| read.item.key_span.clone()),
        tools: tools.as_ref().map(|read| read.item.key_span.clone()),
    };
    let settings = RequestSettings {
        system: system.map(|read| read.value.to_owned()),
        temperature: temperature.map(|read| read.value),
        top_logprobs: top_logprobs.and_then(|read| u8::try_from(read.value).ok()),
        seed: seed.map(|read| read.value),
        tools: tools.is_some(),
        answer: answer.unwrap_or_default(),
    };
    (settings, asks)
}

fn answer(section: &Section<'_>, item: &Item<'_>) -> Option<AnswerForm> {
    let findings = section.findings();
    if item.is_text() {
        let text = item.text(findings)?;
        if text != "text" {
            let error = item.unknown_value(findings, text, &["text"]);
            findings.push(error.help("or `{ schema = \"path\" }` for JSON that follows a JSON Schema"));
        }
        return Some(AnswerForm::Text);
    }
    let mut table = item.table(findings)?;
    let path = table.required("schema", &["schema"]).and_then(|item| item.text(findings));
    table.finish(&["schema"]);
    Some(AnswerForm::Schema { path: path?.to_owned() })
}
