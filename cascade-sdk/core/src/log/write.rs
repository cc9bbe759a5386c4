//! Rows out: for tools that make logs or add to them.

use super::record::RowRecord;
use std::io::{self, Write};

/// Writes a row as one line of JSON, keys in the order of [`RowRecord`], ending with a newline, in one call to the writer:
/// where the writer is a file opened for appending, a line is whole or absent.
///
/// # Errors
/// Those of the writer.
pub fn write_row(out: &mut impl Write, row: &RowRecord<'_>) -> io::Result<()> {
    let mut line = serde_json::to_vec(row)?;
    line.push(b'\n');
    out.write_all(&line)
}
