//! What the documents say besides Rust: links lead somewhere, configuration is valid.
#![allow(clippy::unwrap_used, reason = "what is used by tests only is a test, too")]

mod links;
mod tables;

use std::path::{Path, PathBuf};

/// The directory of the workspace.
fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().and_then(Path::parent).unwrap()
}

/// Every Markdown file that people read, by its path from the workspace.
fn documents() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for place in ["docs", "examples", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"] {
        find(&workspace().join(place), &mut found);
    }
    for package in ["cascade-sdk", "cascade-sdk/core", "cascade-macros", "cascade-cli"] {
        find(&workspace().join(package).join("README.md"), &mut found);
    }
    found.sort();
    found
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path.strip_prefix(workspace()).unwrap().to_owned(), text)
        })
        .collect()
}

fn find(place: &Path, found: &mut Vec<PathBuf>) {
    if place.is_dir() {
        for entry in std::fs::read_dir(place).unwrap() {
            find(&entry.unwrap().path(), found);
        }
    } else if place.extension().is_some_and(|extension| extension == "md") {
        assert!(place.exists(), "{} is missing", place.display());
        found.push(place.to_owned());
    }
}
