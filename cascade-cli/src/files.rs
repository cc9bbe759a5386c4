//! Writing files so that nobody ever sees half of one.

use crate::failure::{Failure, Result};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Writes a whole file: to a temporary one in the same directory, then renamed over the old one.
///
/// # Errors
/// A directory or file that cannot be written.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let fail = |error| Failure::io("write", path, &error);
    if let Some(parent) = path.parent()
        && !parent.as_os_str().is_empty()
    {
        std::fs::create_dir_all(parent).map_err(fail)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".tmp-{}", std::process::id()));
    let temporary: PathBuf = path.with_file_name(name);
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        // Without this a power failure after the rename could leave an empty file under the final name.
        file.sync_all()
    });
    written.and_then(|()| std::fs::rename(&temporary, path)).map_err(|error| {
        // What is left of a failed write is of no use to anyone.
        let _ = std::fs::remove_file(&temporary);
        fail(error)
    })
}
