//! What is asked of git: files as they were in a revision.

use crate::failure::{Failure, Result};
use cascade_sdk_core::diag::Diagnostic;
use std::path::Path;
use std::process::{Command, Output};

/// Makes sure that a revision exists.
///
/// # Errors
/// No git, no repository, or no such revision.
pub(crate) fn check_revision(directory: &Path, revision: &str) -> Result<()> {
    if !revision.starts_with('-') {
        let commit = format!("{revision}^{{commit}}");
        if run(directory, &["rev-parse", "--verify", "--quiet", &commit])?.status.success() {
            return Ok(());
        }
    }
    let known = run(directory, &["rev-parse", "--git-dir"])?.status.success();
    let (message, help) = if known {
        (
            format!("git knows no revision `{revision}`, and there is no such file"),
            "write `cascade diff OLD.toml NEW.toml`, or `cascade diff REVISION -- ROUTE`",
        )
    } else {
        (
            format!("`{revision}` is no file, and this is no git repository with revisions"),
            "name two policy files: `cascade diff OLD.toml NEW.toml`",
        )
    };
    Err(Failure::usage(message, help))
}

/// A file as it was in a revision; `None` if it did not exist. The path is relative to the directory.
///
/// # Errors
/// No git.
pub(crate) fn file(directory: &Path, revision: &str, path: &str) -> Result<Option<Vec<u8>>> {
    let name = format!("{revision}:./{}", path.trim_start_matches("./"));
    let output = run(directory, &["show", "--no-textconv", &name])?;
    Ok(output.status.success().then_some(output.stdout))
}

/// A file that any commit of any branch holds, for files that are named by their content.
///
/// # Errors
/// No git.
pub(crate) fn file_of_any_revision(directory: &Path, path: &str) -> Result<Option<Vec<u8>>> {
    let found = run(directory, &["log", "--all", "--diff-filter=AMR", "-1", "--format=%H", "--", path])?;
    let commit = String::from_utf8_lossy(&found.stdout).trim().to_owned();
    if !found.status.success() || commit.is_empty() {
        return Ok(None);
    }
    file(directory, &commit, path)
}

fn run(directory: &Path, arguments: &[&str]) -> Result<Output> {
    let place = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    Command::new("git").args(arguments).current_dir(place).output().map_err(|error| {
        Diagnostic::error("diff::git", format!("cannot run git: {error}"))
            .help("install git, or name two policy files: `cascade diff OLD.toml NEW.toml`")
            .into()
    })
}
