//! Where each key of a configuration stands, kept for findings that come later.

use crate::diag::{Diagnostic, Source};
use crate::document::read;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use toml::de::DeTable;

/// Spans of keys by their full path, such as `routes.triage.policy`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Places {
    source: Option<Arc<Source>>,
    keys: BTreeMap<String, Range<usize>>,
}

impl Places {
    pub(super) fn new(source: &Arc<Source>, tree: &DeTable<'_>) -> Self {
        let mut keys = BTreeMap::new();
        collect(&mut keys, "", tree);
        Self { source: Some(Arc::clone(source)), keys }
    }

    /// Where a key of a table stands, such as `("routes", "my route", "policy")`; names are given as they are, unquoted.
    pub fn find(&self, path: &[&str]) -> Option<(&Arc<Source>, Range<usize>)> {
        let path = path.iter().fold(String::new(), |path, key| read::join(&path, key));
        Some((self.source.as_ref()?, self.keys.get(&path)?.clone()))
    }

    /// Points a diagnostic at the deepest part of the path that is written down; unchanged where none is.
    #[must_use]
    pub fn label(&self, diagnostic: Diagnostic, path: &[&str], text: &str) -> Diagnostic {
        match (1..=path.len()).rev().find_map(|length| self.find(&path[..length])) {
            Some((source, span)) => diagnostic.at(source, span, text),
            None => diagnostic,
        }
    }
}

fn collect(keys: &mut BTreeMap<String, Range<usize>>, path: &str, table: &DeTable<'_>) {
    for (key, value) in table {
        let path = read::join(path, key.get_ref());
        if let Some(table) = value.get_ref().as_table() {
            collect(keys, &path, table);
        }
        keys.insert(path, key.span());
    }
}
