//! The entries of a table of a policy, read by type.

use super::Estimate;
use crate::document::read::{Item, Table};

/// A table all of whose keys are known and, unless said otherwise, required.
pub(super) struct Fields<'d> {
    pub(super) table: Table<'d>,
    pub(super) known: &'d [&'d str],
}

impl<'d> Fields<'d> {
    pub(super) fn item(&mut self, key: &str) -> Option<Item<'d>> {
        self.table.required(key, self.known)
    }

    pub(super) fn text(&mut self, key: &str) -> Option<&'d str> {
        let findings = self.table.findings;
        self.item(key)?.text(findings)
    }

    pub(super) fn number(&mut self, key: &str) -> Option<f64> {
        let findings = self.table.findings;
        self.item(key)?.number(findings)
    }

    pub(super) fn optional_number(&mut self, key: &str) -> Option<f64> {
        let findings = self.table.findings;
        self.table.take(key)?.number(findings)
    }

    /// A whole number that its type can hold.
    pub(super) fn whole<T: TryFrom<u64>>(&mut self, key: &str) -> Option<T> {
        let findings = self.table.findings;
        let item = self.item(key)?;
        let number = T::try_from(item.natural(findings)?).ok();
        if number.is_none() {
            findings.push(item.out_of_range(findings, "is too large"));
        }
        number
    }

    /// A SHA-256 in lower-case hexadecimal.
    pub(super) fn hash(&mut self, key: &str) -> Option<String> {
        let findings = self.table.findings;
        let item = self.item(key)?;
        let text = item.text(findings)?;
        if text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Some(text.to_owned());
        }
        findings.push(item.out_of_range(findings, "must be a SHA-256 of 64 hexadecimal digits"));
        None
    }

    pub(super) fn estimate(&mut self, key: &str) -> Option<Estimate> {
        let mut fields = self.table(key, &["value", "low", "high"])?;
        let [value, low, high] = ["value", "low", "high"].map(|key| fields.number(key));
        fields.finish();
        Some(Estimate { value: value?, low: low?, high: high? })
    }

    pub(super) fn list(&mut self, key: &str) -> Vec<Item<'d>> {
        let findings = self.table.findings;
        self.item(key).and_then(|item| item.list(findings)).unwrap_or_default()
    }

    pub(super) fn table<'k>(&mut self, key: &str, known: &'k [&'k str]) -> Option<Fields<'k>>
    where
        'd: 'k,
    {
        let findings = self.table.findings;
        let table = self.item(key)?.table(findings)?;
        Some(Fields { table, known })
    }

    pub(super) fn optional_table(&mut self, key: &str, known: &'d [&'d str]) -> Option<Fields<'d>> {
        let findings = self.table.findings;
        let table = self.table.take(key)?.table(findings)?;
        Some(Fields { table, known })
    }

    /// `[[key]]`, as often as it stands there.
    pub(super) fn tables(&mut self, key: &str, known: &'d [&'d str]) -> Vec<Fields<'d>> {
        let findings = self.table.findings;
        let items = self.table.take(key).and_then(|item| item.list(findings)).unwrap_or_default();
        items.iter().filter_map(|item| Some(Fields { table: item.table(findings)?, known })).collect()
    }

    pub(super) fn finish(self) {
        self.table.finish(self.known);
    }
}
