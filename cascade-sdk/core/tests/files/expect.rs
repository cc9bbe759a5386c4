//! Files that carry their own expected text.

use std::fs;
use std::path::{Path, PathBuf};

/// Marks a line of expected text.
const MARK: &str = "#|";

/// The files of a directory below `tests`, sorted.
pub(crate) fn files(directory: &str) -> Vec<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(directory);
    let mut files: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", path.display());
    files
}

/// The name of a file without its directory.
pub(crate) fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap()
}

/// The part of a file above its expected text.
pub(crate) fn input(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<_> = text.lines().take_while(|line| !line.starts_with(MARK)).collect();
    lines.join("\n").trim_end().to_owned() + "\n"
}

/// Compares the expected text of a file with the actual one, or writes it with `BLESS=1`.
pub(crate) fn check(path: &Path, actual: &str) {
    let mut text = input(path) + "\n";
    for line in actual.lines() {
        text.push_str(format!("{MARK} {line}").trim_end());
        text.push('\n');
    }
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, text).unwrap();
        return;
    }
    let expected = fs::read_to_string(path).unwrap();
    assert!(
        expected == text,
        "{}: expected\n{expected}\n\nbut found\n{text}\n(BLESS=1 accepts it)",
        path.display()
    );
}
