//! Eval logs: what each tier answered to each request, how good that was and what it cost.
//!
//! [`read()`] takes the bytes of all files of a log and yields an [`EvalLog`]: columns in memory, rows sorted by id. The
//! format is that of DESIGN.md 5; [`RowRecord`] is one row of it as a struct, with the meaning of every key.

mod build;
mod check;
mod columns;
mod csv;
mod embeddings;
mod excerpt;
mod files;
mod index;
mod lines;
pub(crate) mod nested;
mod parse;
mod problems;
mod read;
mod record;
mod requests;
mod schema;
mod split;
mod write;

pub use crate::prompt::{Role, normalise, routing_text};
pub use columns::*;
pub use embeddings::Embeddings;
pub use files::LogFiles;
pub use index::{Index, LookupError};
pub use parse::mend_surrogates;
pub use read::{LogReading, LogSource, ReadOptions, RecordReading, hash, read, records};
pub use record::{RawJson, ResultRecord, RowRecord};
pub use requests::other_requests;
pub use schema::json_schema;
pub use split::{group_key, half, leak};
pub use write::write_row;

/// The name under which a model's judgement stands in `graded_by`: its tier and its rubric.
pub fn judge_name(tier: &str, rubric: &str) -> String {
    format!("judge {tier}: {rubric}")
}

/// Whether `graded_by` names this judge: as [`judge_name`] writes it, in another usual spelling (`judge:TIER`,
/// `TIER/RUBRIC`), or by the tier alone, whose rubric is then not known to be another one.
pub fn names_judge(graded_by: &str, tier: &str, rubric: &str) -> bool {
    const BETWEEN: [char; 3] = [' ', ':', '/'];
    let without = graded_by.strip_prefix("judge").map(|rest| rest.trim_start_matches(BETWEEN));
    [Some(graded_by), without].into_iter().flatten().any(|name| {
        let rest = name.strip_prefix(tier).map(|rest| rest.trim_start_matches(BETWEEN));
        rest.is_some_and(|rest| rest.is_empty() || rest == rubric)
    })
}
