//! Diagnostics for tools: one JSON object each.

use super::{Diagnostic, Label, Severity};
use crate::document::json::Json;

/// `code`, `severity`, `message`, the place of the first label (`file`, `line`, `column`, all null without one),
/// `labels` (every place with its text) and `help`.
pub(super) fn value(diagnostic: &Diagnostic) -> Json {
    let place = diagnostic.labels.first().map(place);
    let [file, line, column] = place.unwrap_or([Json::Null, Json::Null, Json::Null]);
    let severity = match diagnostic.severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    let labels = diagnostic.labels.iter().map(|label| {
        let [file, line, column] = self::place(label);
        Json::object([("file", file), ("line", line), ("column", column), ("text", Json::text(&label.text))])
    });
    Json::object([
        ("code", Json::text(diagnostic.code)),
        ("severity", Json::text(severity)),
        ("message", Json::text(&diagnostic.message)),
        ("file", file),
        ("line", line),
        ("column", column),
        ("labels", Json::List(labels.collect())),
        ("help", Json::List(diagnostic.help.iter().map(Json::text).collect())),
    ])
}

fn place(label: &Label) -> [Json; 3] {
    let (line, column) = label.source.position(label.span.start);
    let number = |number| Json::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    [Json::text(&label.source.name), number(line), number(column)]
}
