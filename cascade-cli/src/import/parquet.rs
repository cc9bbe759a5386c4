//! Parquet files through the row interface, without Arrow.

use super::table::Table;
use crate::failure::{Failure, Result};
use cascade_sdk_core::diag::Diagnostic;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use std::fs::File;
use std::path::Path;

/// Reads a whole file.
///
/// # Errors
/// A file that is no Parquet, or is compressed in a way that this build does not read.
pub(super) fn read(path: &Path) -> Result<Table> {
    let wrong = |error: &dyn std::fmt::Display| -> Failure {
        Diagnostic::error(
            "import::format",
            format!("`{}` cannot be read as Parquet: {error}", path.display()),
        )
        .help("snappy, gzip and uncompressed files are read; save others as CSV")
        .into()
    };
    let file = File::open(path).map_err(|error| Failure::io("read", path, &error))?;
    let reader = SerializedFileReader::new(file).map_err(|error| wrong(&error))?;
    let schema = reader.metadata().file_metadata().schema();
    let columns: Vec<String> = schema.get_fields().iter().map(|field| field.name().to_owned()).collect();
    let mut rows = Vec::new();
    for row in reader.get_row_iter(None).map_err(|error| wrong(&error))? {
        let row = row.map_err(|error| wrong(&error))?;
        rows.push(row.get_column_iter().map(|(_, field)| text(field)).collect());
    }
    Ok(Table { columns, rows })
}

fn text(field: &Field) -> String {
    match field {
        Field::Null => String::new(),
        Field::Str(text) => text.clone(),
        Field::Bytes(bytes) => String::from_utf8_lossy(bytes.data()).into_owned(),
        other => other.to_string(),
    }
}
