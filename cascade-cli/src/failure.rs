//! What a command answers, and why it could not run.

use cascade_sdk_core::diag::Diagnostic;
use std::io;
use std::path::Path;

/// What a command that ran has to say: the process exit code is made of it in `main` alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Exit code 0.
    Yes,
    /// Exit code 1: stale, infeasible, incomplete, a check failed.
    No,
    /// Exit code 2: it ran, but there is too little to tell.
    Unclear,
}

/// Why a command could not run: findings to print, at least one of them an error. Exit code 2.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) Vec<Diagnostic>);

/// What a command returns.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl From<Diagnostic> for Failure {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl From<Vec<Diagnostic>> for Failure {
    fn from(diagnostics: Vec<Diagnostic>) -> Self {
        Self(diagnostics)
    }
}

impl Failure {
    /// An error about the command line itself.
    pub(crate) fn usage(message: impl Into<String>, help: impl Into<String>) -> Self {
        Diagnostic::error("cli::usage", message).help(help).into()
    }

    /// A file that cannot be read or written.
    pub(crate) fn io(doing: &str, path: &Path, error: &io::Error) -> Self {
        let found = Diagnostic::error("cli::io", format!("cannot {doing} `{}`: {error}", path.display()));
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => "check the path: it starts from the folder that the command runs in",
            io::ErrorKind::PermissionDenied => "check who may read and write there",
            io::ErrorKind::IsADirectory => "name a file, not a folder",
            io::ErrorKind::InvalidData => "it is no UTF-8 text: save it as UTF-8",
            io::ErrorKind::StorageFull => "make room on the disk and run the command again",
            _ => return found.into(),
        };
        found.help(remedy).into()
    }
}
