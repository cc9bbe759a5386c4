//! Reading eval logs: good ones, bad ones, and the real ones where they are at hand.
#![cfg(feature = "log")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests say what is wrong by panicking")]
#![expect(clippy::float_cmp, reason = "values are read back exactly")]
#![expect(clippy::format_collect, clippy::format_push_string, reason = "speed is no matter here")]

#[path = "log/broken.rs"]
mod broken;
#[path = "log/csv.rs"]
mod csv;
#[path = "log/embeddings.rs"]
mod embeddings;
#[path = "log/good.rs"]
mod good;
#[path = "log/real.rs"]
mod real;
#[path = "log/warnings.rs"]
mod warnings;

use cascade_sdk_core::diag::Diagnostic;
use cascade_sdk_core::log::{LogReading, LogSource, ReadOptions, read};

/// Reads files given as (name, contents).
fn read_files(files: &[(&str, &[u8])], options: &ReadOptions) -> Result<LogReading, Vec<Diagnostic>> {
    read(files.iter().map(|(name, bytes)| LogSource::new(*name, *bytes)), options)
}

/// Reads one JSON Lines file.
fn read_lines(text: &str) -> Result<LogReading, Vec<Diagnostic>> {
    read_files(&[("log.jsonl", text.as_bytes())], &ReadOptions::default())
}

/// `file:line: code: message | excerpt [marked part]`, with helps.
fn show(diagnostic: &Diagnostic) -> String {
    let mut out = String::new();
    if let Some(label) = diagnostic.labels.first() {
        out += &format!("{}:{}: ", label.source.name, label.source.first_line);
    }
    out += &format!("{}: {}", diagnostic.code, diagnostic.message);
    for label in &diagnostic.labels {
        out += &format!(" | {} [{}]", label.source.text, &label.source.text[label.span.clone()]);
    }
    for help in &diagnostic.help {
        out += &format!(" = {help}");
    }
    out
}

fn show_all(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(show).collect::<Vec<_>>().join("\n")
}

/// A row that is fine, of that id.
fn good(id: &str) -> String {
    format!(
        r#"{{"id":"{id}","input":"prompt of {id}","results":{{"small":{{"quality":1,"cost_usd":1e-5}}}}}}"#
    )
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
