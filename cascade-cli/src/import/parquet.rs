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

#[cfg(test)]
mod tests {
    use super::read;
    use parquet::basic::Compression;
    use parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    use std::fs::File;
    use std::sync::Arc;

    #[test]
    fn a_snappy_file_becomes_a_table_of_texts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t.parquet");
        let message = "message table { REQUIRED BINARY id (UTF8); OPTIONAL DOUBLE score; }";
        let schema = Arc::new(parse_message_type(message).unwrap());
        let properties = Arc::new(WriterProperties::builder().set_compression(Compression::SNAPPY).build());
        let mut writer = SerializedFileWriter::new(File::create(&path).unwrap(), schema, properties).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let ids = [ByteArray::from("a"), ByteArray::from("b")];
        column.typed::<ByteArrayType>().write_batch(&ids, None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<DoubleType>().write_batch(&[0.5], Some(&[1, 0]), None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();

        let table = read(&path).unwrap();
        assert_eq!(table.columns, ["id", "score"]);
        assert_eq!(table.rows, [["a", "0.5"], ["b", ""]]);
        std::fs::write(&path, b"no parquet").unwrap();
        assert!(read(&path).is_err());
    }
}
