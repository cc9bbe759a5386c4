//! CSV in the long form: one line for each row and tier (DESIGN.md 5).

use super::read::Reader;
use std::io::Read;

/// The column that holds the value at `path`.
pub(super) fn column_of(path: &[String]) -> String {
    match path {
        [results, _, group, name] if results == "results" => {
            let prefix = if group == "signal_cost_usd" { "signal_cost" } else { "signal" };
            format!("{prefix}.{name}")
        }
        [results, _, name] if results == "results" => name.clone(),
        [results, _] if results == "results" => "tier".to_owned(),
        [group, name] => format!("{}.{name}", group.trim_end_matches('s')),
        [name, ..] => name.clone(),
        [] => String::new(),
    }
}

pub(super) fn read(
    reader: &mut Reader<'_>,
    file: &str,
    _file_index: u32,
    _source: Box<dyn Read + '_>,
    _gzip: bool,
) {
    reader
        .problems
        .fatal(crate::diag::Diagnostic::error("log::format", format!("`{file}`: CSV is not read yet")));
}
