//! Tables: CSV, and Parquet where the tool was built with it. Every cell becomes a text; empty ones are left out.

use crate::failure::{Failure, Result};
use cascade_sdk_core::diag::Diagnostic;
use std::path::Path;

/// A table in memory.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Names of the columns.
    pub(crate) columns: Vec<String>,
    /// Rows, as long as `columns`.
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    /// Reads a `.csv` or `.parquet` file.
    ///
    /// # Errors
    /// Another ending, or a file that cannot be read.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_lowercase();
        match ending.as_str() {
            "csv" | "tsv" => Self::read_csv(path, if ending == "tsv" { b'\t' } else { b',' }),
            "parquet" => Self::read_parquet(path),
            _ => Err(Diagnostic::error(
                "import::format",
                format!("`{}` is no table by its name", path.display()),
            )
            .help("tables end in .csv, .tsv or .parquet")
            .into()),
        }
    }

    fn read_csv(path: &Path, between: u8) -> Result<Self> {
        let wrong = |error: csv::Error| {
            let line = error.position().map_or(1, csv::Position::line);
            let what = match error.into_kind() {
                csv::ErrorKind::Io(error) => return Failure::io("read", path, &error),
                csv::ErrorKind::Utf8 { .. } => "is not UTF-8".to_owned(),
                csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                    format!("has {len} fields, the header {expected_len}")
                }
                _ => "cannot be read as CSV".to_owned(),
            };
            Diagnostic::error("import::format", format!("line {line} of `{}` {what}", path.display()))
                .help("quote fields that hold separators or line breaks, and save the file as UTF-8")
                .into()
        };
        let mut reader = csv::ReaderBuilder::new().delimiter(between).from_path(path).map_err(wrong)?;
        let columns = reader.headers().map_err(wrong)?.iter().map(|name| name.trim().to_owned()).collect();
        let rows =
            reader.records().map(|record| record.map(|record| record.iter().map(str::to_owned).collect()));
        Ok(Self { columns, rows: rows.collect::<std::result::Result<_, _>>().map_err(wrong)? })
    }

    #[cfg(feature = "parquet")]
    fn read_parquet(path: &Path) -> Result<Self> {
        super::parquet::read(path)
    }

    #[cfg(not(feature = "parquet"))]
    fn read_parquet(path: &Path) -> Result<Self> {
        let message = format!("`{}`: this build of cascade does not read Parquet", path.display());
        Err(Diagnostic::error("import::format", message)
            .help("install it with its default features, or save the table as CSV")
            .into())
    }

    /// Where a column stands.
    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }
}

/// A number in a cell: `True` and `False` are what Python writes.
pub(crate) fn number(cell: &str) -> Option<f64> {
    match cell.trim() {
        "True" | "true" => Some(1.0),
        "False" | "false" => Some(0.0),
        text => text.parse().ok().filter(|number: &f64| number.is_finite()),
    }
}
