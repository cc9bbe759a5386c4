//! Links between documents.

use crate::{documents, workspace};
use cascade_book::markdown::{anchors, links};
use std::collections::BTreeSet;
use std::path::Path;

/// Says what is wrong with a link, seen from the file that has it.
fn broken(from: &Path, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let here = workspace().join(from);
    let target = if path.is_empty() { here } else { here.parent().unwrap().join(path) };
    if !target.exists() {
        return Some(format!("{}: `{link}` leads nowhere", from.display()));
    }
    if !anchor.is_empty() && !anchors(&std::fs::read_to_string(target).unwrap()).iter().any(|a| a == anchor) {
        return Some(format!("{}: `{link}` names no heading", from.display()));
    }
    None
}

#[test]
fn every_relative_link_leads_somewhere() {
    let documents = documents();
    let mut count = 0;
    let mut wrong = Vec::new();
    for (path, text) in &documents {
        let links = links(text);
        count += links.len();
        wrong.extend(links.iter().filter_map(|link| broken(path, link)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The walk itself has found something.
    assert!(count > 50, "only {count} links in {} files", documents.len());
}

/// mdBook leaves out what its summary does not name.
#[test]
fn the_summary_names_every_page_once() {
    let summary = std::fs::read_to_string(workspace().join("docs/SUMMARY.md")).unwrap();
    let named = links(&summary);
    let unique: BTreeSet<&str> = named.iter().map(String::as_str).collect();
    assert_eq!(unique.len(), named.len(), "a page is named twice");
    let pages = documents();
    let pages = pages.iter().filter_map(|(path, _)| path.strip_prefix("docs").ok()?.to_str());
    let missing: Vec<&str> = pages.filter(|page| *page != "SUMMARY.md" && !unique.contains(page)).collect();
    assert!(missing.is_empty(), "docs/SUMMARY.md does not name {missing:?}");
}
