//! `[router]` in a policy file.

use super::names::Names;
use crate::document::read::Table;
use crate::document::write::{Writer, number};
use crate::feature::Router;

const KEYS: &[&str] = &["shadow_price"];

/// Adds the table's lines.
pub(super) fn write(writer: &mut Writer, router: &Router) {
    writer.table("router");
    writer.pair("shadow_price", number(router.shadow_price));
}

/// Reads the table; names stand for indices into the policy's lists.
pub(super) fn read(mut table: Table<'_>, _names: &Names<'_>) -> Option<Router> {
    let findings = table.findings;
    let shadow_price = table.required("shadow_price", KEYS).and_then(|item| item.number(findings));
    table.finish(KEYS);
    Some(Router { shadow_price: shadow_price? })
}
