//! One job at a time on a log: a lock of the operating system, which ends with the process, however that ends.

use crate::failure::{Failure, Result};
use cascade_sdk_core::diag::Diagnostic;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Attempts to lock a file that others make and remove at the same time.
const ATTEMPTS: u32 = 10;

/// Held from before a log and its journal are read until both are written.
///
/// The lock is that of a file of its own: log and journal are replaced by new files while it is held.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    /// `None` where the file system knows no locks: the journal then notices a second writer, later.
    file: Option<File>,
}

impl Lock {
    /// Locks a log.
    ///
    /// # Errors
    /// `collect::two-jobs` if another process has it, or a folder that cannot be written.
    pub(crate) fn take(log: &Path) -> Result<Self> {
        let path = path_for(log);
        let fail = |error| Failure::io("lock", &path, &error);
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(fail)?;
        }
        for _ in 0..ATTEMPTS {
            let mut file =
                OpenOptions::new().create(true).write(true).truncate(false).open(&path).map_err(fail)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(held(log, &path)),
                Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
                    return Ok(Self { path, file: None });
                }
                Err(TryLockError::Error(error)) => return Err(fail(error)),
            }
            if is_at(&file, &path) {
                // For people who look into it: whose lock this is.
                let named = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
                named.map_err(fail)?;
                return Ok(Self { path, file: Some(file) });
            }
        }
        Err(held(log, &path))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while it is held, so that nobody else's is. Elsewhere an open file cannot be told from a newer one of its
        // name, so there it stays.
        if cfg!(unix) && self.file.is_some() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Where the lock of a log stands.
fn path_for(log: &Path) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// False if the process that held the lock has removed the file since it was opened.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

fn held(log: &Path, path: &Path) -> Failure {
    let process = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u32>().ok());
    let process = process.map_or_else(String::new, |process| format!(", process {process},"));
    Diagnostic::error(
        "collect::two-jobs",
        format!("another `cascade collect` or `cascade embed`{process} is at work on `{}`", log.display()),
    )
    .help("wait until it has ended, which after Ctrl-C takes as long as its calls in flight; then run this command again")
    .help("or collect into another log with --out")
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("deep/log.jsonl");
        let first = Lock::take(&log).unwrap();
        let Failure(refused) = Lock::take(&log).unwrap_err();
        assert_eq!(refused[0].code, "collect::two-jobs");
        let text = &refused[0].message;
        assert!(text.contains("log.jsonl`") && text.contains(&std::process::id().to_string()), "{text}");
        drop(first);
        assert_eq!(path_for(&log).exists(), cfg!(not(unix)));
        Lock::take(&log).unwrap();
        // What a killed process leaves is no lock.
        std::fs::write(path_for(&log), "1\n").unwrap();
        Lock::take(&log).unwrap();
    }
}
