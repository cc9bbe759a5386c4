//! Files that only grow: one JSON object a line, each written with one call and never changed. A torn last line is a write that
//! never finished.

use crate::failure::{Failure, Result};
use cascade_sdk_core::diag::Diagnostic;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// One of them, open for writing.
#[derive(Debug)]
pub(crate) struct Appended {
    path: PathBuf,
    file: File,
    /// Its length as this process knows it.
    length: u64,
}

/// All bytes of one; none where there is no file.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Failure::io("read", path, &error)),
    }
}

/// How many bytes the whole lines take.
pub(crate) fn whole_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
}

/// An entry as its line.
///
/// # Errors
/// An entry that JSON cannot hold.
pub(crate) fn line(entry: &impl Serialize, path: &Path) -> Result<String> {
    let mut text = serde_json::to_string(entry).map_err(|error| Failure::io("write", path, &error.into()))?;
    text.push('\n');
    Ok(text)
}

impl Appended {
    /// Opens one whose whole lines take so many bytes; what comes after them is dropped.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn open(path: PathBuf, whole: usize) -> Result<Self> {
        let fail = |error| Failure::io("write", &path, &error);
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(fail)?;
        // A torn last line must not run into the next entry.
        file.set_len(whole as u64).map_err(fail)?;
        Ok(Self { path, file, length: whole as u64 })
    }

    /// Where it stands.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// A file that cannot be written, or that another process has written into.
    pub(crate) fn write(&mut self, entry: &impl Serialize) -> Result<()> {
        let text = line(entry, &self.path)?;
        let fail = |error| Failure::io("write", &self.path, &error);
        // The lock keeps other jobs away; some file systems know no locks.
        if self.file.metadata().map_err(fail)?.len() != self.length {
            return Err(Diagnostic::error(
                "collect::two-jobs",
                format!("another process writes into `{}`", self.path.display()),
            )
            .help("let one command end before another begins on the same log, then run it again")
            .into());
        }
        // No buffer of our own: what was written survives the end of this process, however it comes.
        self.file.write_all(text.as_bytes()).map_err(fail)?;
        self.length += text.len() as u64;
        Ok(())
    }
}
