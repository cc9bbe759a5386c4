//! Embeddings from a file of word vectors: read when a policy first needs it, then shared by all routes that name it.

use std::path::PathBuf;
use std::sync::OnceLock;

#[cfg(feature = "static-embedding")]
use cascade_sdk_core::diag::{Style, render};
#[cfg(feature = "static-embedding")]
use cascade_sdk_core::static_embedding::StaticEmbedding;

/// A file that may not have been read yet.
#[derive(Debug)]
pub(super) struct VectorFile {
    path: PathBuf,
    /// As messages show it.
    name: String,
    dimensions: usize,
    table: OnceLock<Result<Table, String>>,
}

#[cfg(feature = "static-embedding")]
type Table = StaticEmbedding;

/// There is none without the feature.
#[cfg(not(feature = "static-embedding"))]
#[derive(Debug)]
enum Table {}

impl VectorFile {
    pub(super) fn new(path: PathBuf, name: String, dimensions: usize) -> Self {
        Self { path, name, dimensions, table: OnceLock::new() }
    }

    fn table(&self) -> Result<&Table, String> {
        self.table.get_or_init(|| self.open()).as_ref().map_err(String::clone)
    }

    #[cfg(feature = "static-embedding")]
    fn open(&self) -> Result<Table, String> {
        StaticEmbedding::open(&self.path, &self.name, self.dimensions).map_err(|findings| {
            findings.iter().map(|finding| render(finding, Style::Plain)).collect::<Vec<_>>().join("\n")
        })
    }

    #[cfg(not(feature = "static-embedding"))]
    fn open(&self) -> Result<Table, String> {
        let Self { path, name, dimensions, .. } = self;
        Err(format!(
            "`{name}` ({}, vectors of {dimensions} numbers) is not read: switch the feature `static-embedding` of cascade-sdk on",
            path.display()
        ))
    }

    /// The file's hash.
    pub(super) fn sha256(&self) -> Result<&str, String> {
        #[cfg(feature = "static-embedding")]
        return self.table().map(StaticEmbedding::sha256);
        #[cfg(not(feature = "static-embedding"))]
        self.table().map(|table| match *table {})
    }

    /// The vector of a text.
    pub(super) fn embed(&self, text: &str) -> Result<Vec<f32>, String> {
        #[cfg(feature = "static-embedding")]
        return self.table().map(|table| table.embed(text));
        #[cfg(not(feature = "static-embedding"))]
        {
            let _ = text;
            self.table().map(|table| match *table {})
        }
    }
}
