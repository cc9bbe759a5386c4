//! The files of a log: paths and globs of a configuration, found and read.

use super::{LogReading, LogSource, ReadOptions, read};
use crate::diag::Diagnostic;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Deepest directory that `**` goes down to: a link in a circle must come to an end.
const DEEPEST: usize = 32;

/// The files that some patterns stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogFiles {
    /// Files by their path relative to the configuration, with `/` between the parts: what messages show.
    pub files: BTreeMap<String, PathBuf>,
    /// Patterns that no file matches.
    pub missing: Vec<String>,
}

impl LogFiles {
    /// Finds the files. A pattern is a path relative to `directory`, in which `*` and `?` stand for letters of a name and
    /// `**` for any directories.
    pub fn find(directory: &Path, patterns: &[String]) -> Self {
        let mut found = Self::default();
        for pattern in patterns {
            let mut matches = BTreeMap::new();
            let parts: Vec<&str> =
                pattern.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
            let (start, name) = if pattern.starts_with('/') {
                (PathBuf::from("/"), "/".to_owned())
            } else {
                (directory.to_path_buf(), String::new())
            };
            walk(&start, &name, &parts, 0, &mut matches);
            if matches.is_empty() {
                found.missing.push(pattern.clone());
            }
            found.files.append(&mut matches);
        }
        found
    }

    /// Reads the files as one log.
    ///
    /// # Errors
    /// Patterns without a file, files that cannot be opened, and what [`read()`] finds.
    pub fn read(&self, options: &ReadOptions) -> Result<LogReading, Vec<Diagnostic>> {
        read(self.open()?, options)
    }

    /// The hash of the log, without reading its rows.
    ///
    /// # Errors
    /// Patterns without a file, and files that cannot be read.
    pub fn hash(&self) -> Result<String, Vec<Diagnostic>> {
        super::hash(self.open()?)
    }

    fn open(&self) -> Result<Vec<LogSource<'static>>, Vec<Diagnostic>> {
        let mut findings: Vec<Diagnostic> = self
            .missing
            .iter()
            .map(|pattern| {
                Diagnostic::error("log::missing", format!("there is no log `{pattern}`"))
                    .help("collect one with `cascade collect`, or correct `log` in the configuration")
            })
            .collect();
        let mut sources = Vec::new();
        for (name, path) in &self.files {
            match File::open(path) {
                Ok(file) => sources.push(LogSource::new(name.as_str(), file)),
                Err(error) => {
                    let message = format!("the log `{name}` cannot be opened: {error}");
                    findings.push(Diagnostic::error("log::unreadable", message));
                }
            }
        }
        if findings.is_empty() { Ok(sources) } else { Err(findings) }
    }
}

fn walk(directory: &Path, name: &str, parts: &[&str], depth: usize, found: &mut BTreeMap<String, PathBuf>) {
    let Some((part, rest)) = parts.split_first() else { return };
    if depth > DEEPEST {
        return;
    }
    let mut step = |child: &str, rest: &[&str]| {
        let path = directory.join(child);
        let separator = if name.is_empty() || name.ends_with('/') { "" } else { "/" };
        let name = format!("{name}{separator}{child}");
        if !rest.is_empty() {
            walk(&path, &name, rest, depth + 1, found);
        } else if path.is_file() {
            found.insert(name, path);
        }
    };
    if !part.contains(['*', '?']) {
        return step(part, rest);
    }
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    let names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    for child in &names {
        if *part == "**" {
            // The rest below this child, at any depth.
            if !child.starts_with('.') {
                step(child, parts);
            }
        } else if matches(part.as_bytes(), child.as_bytes()) {
            step(child, rest);
        }
    }
    if *part == "**" {
        walk(directory, name, rest, depth, found);
    }
}

/// Whether a name fits a pattern of letters, `?` and `*`. Hidden names are matched by their dot only.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    // Where to go on after a mismatch: behind the last star, one letter further on.
    let (mut p, mut n, mut retry) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, n + 1));
                p += 1;
            }
            Some(letter) if *letter == b'?' || *letter == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((after, from)) => {
                    (p, n) = (after, from);
                    retry = Some((after, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_patterns() {
        for (pattern, name, fits) in [
            ("*.jsonl", "a.jsonl", true),
            ("*.jsonl", "a.jsonl.gz", false),
            ("*.jsonl*", "a.jsonl.gz", true),
            ("t?-*b*", "t1-abcb", true),
            ("t?-*b*", "t-abc", false),
            ("*", ".hidden", false),
            ("a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_find_files_and_say_what_they_miss() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
        let find = |pattern: &str| LogFiles::find(directory, &[pattern.to_owned()]);
        let names = |pattern| find(pattern).files.into_keys().collect::<Vec<_>>();
        assert_eq!(names("src/log/file?.rs"), ["src/log/files.rs"]);
        assert_eq!(names("./src/**/files.rs"), ["src/log/files.rs"]);
        assert_eq!(names("**/log/files.*"), ["src/log/files.rs"]);
        assert_eq!(names("src/log/files.rs"), ["src/log/files.rs"]);
        assert_eq!(find("src/log/*.jsonl").missing, ["src/log/*.jsonl"]);
    }
}
