//! Tests that cross the packages.
#![allow(clippy::unwrap_used, reason = "what is used by tests only is a test, too")]

mod compat;
mod dependencies;
#[path = "../ui/pass/mod.rs"]
mod pass;
mod rebuild;
mod ui;

use std::path::Path;

/// The directory of the workspace.
fn workspace() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}
