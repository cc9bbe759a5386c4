//! Finds and reads files, and says how the program embeds what was read. The only place that reads the environment.
//!
//! | variable | meaning |
//! |---|---|
//! | `CARGO_MANIFEST_DIR` | what the path in the attribute is relative to; set by Cargo |
//! | `CARGO_PKG_NAME` | the package's name; set by Cargo |
//! | `CASCADE_POLICY_DIR` | policies here, as `<package>/<route>.toml`, go before the committed ones; set by build scripts that refit |
//! | `CASCADE_MANIFEST_DIR` | goes before `CARGO_MANIFEST_DIR`; for tests whose sources are compiled from elsewhere |

use crate::plan::Embedded;
use std::io::Read as _;
use std::path::{Path, PathBuf};

const MANIFEST_DIR: &str = "CARGO_MANIFEST_DIR";
const MANIFEST_DIR_OVERRIDE: &str = "CASCADE_MANIFEST_DIR";
const POLICY_DIR: &str = "CASCADE_POLICY_DIR";

/// Variables that change what is found. Naming them in the program makes Cargo build it again when they change.
pub(crate) const WATCHED: [&str; 2] = [MANIFEST_DIR_OVERRIDE, POLICY_DIR];

/// Longest text that is read, in bytes: a mistyped path must not stop the compiler for minutes.
const LONGEST_TEXT: u64 = 16 << 20;

/// Longest weights of a router that are read, in bytes.
const LONGEST_WEIGHTS: u64 = 64 << 20;

/// Where the package that is being compiled has its files.
#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) root: PathBuf,
    /// The environment variable that holds `root`.
    pub(crate) variable: &'static str,
    pub(crate) package: String,
    pub(crate) policy_dir: Option<PathBuf>,
}

/// A file that was read.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) text: String,
    /// Its path as people know it.
    pub(crate) shown: String,
    pub(crate) embedded: Embedded,
}

/// Why a file was not read.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is none at this place.
    Missing,
    /// There is one, but this is wrong with it.
    Unreadable(String),
}

impl Project {
    /// The project as Cargo describes it to the compiler.
    pub(crate) fn from_env() -> Self {
        let variable = if std::env::var_os(MANIFEST_DIR_OVERRIDE).is_some() {
            MANIFEST_DIR_OVERRIDE
        } else {
            MANIFEST_DIR
        };
        Self {
            root: std::env::var_os(variable).unwrap_or_default().into(),
            variable,
            package: std::env::var("CARGO_PKG_NAME").unwrap_or_default(),
            policy_dir: std::env::var_os(POLICY_DIR).filter(|dir| !dir.is_empty()).map(PathBuf::from),
        }
    }

    /// Reads a text by its path relative to the project.
    pub(crate) fn read(&self, path: &str) -> Result<File, Failure> {
        let text = read_text(&self.root.join(path), path)?;
        let embedded = Embedded { variable: self.variable, path: path.to_owned() };
        Ok(File { text, shown: path.to_owned(), embedded })
    }

    /// Reads a policy: the refitted one where there is one, else the committed one at `path`.
    pub(crate) fn read_policy(&self, stem: &str, path: &str) -> Result<File, Failure> {
        if let Some(dir) = &self.policy_dir {
            if !dir.is_absolute() {
                return Err(Failure::Unreadable(format!(
                    "{POLICY_DIR} is not an absolute path: `{}`",
                    dir.display()
                )));
            }
            let refitted = format!("{}/{stem}.toml", self.package);
            let place = dir.join(&refitted);
            let shown = place.display().to_string();
            match read_text(&place, &shown) {
                Err(Failure::Missing) => {}
                read => {
                    let embedded = Embedded { variable: POLICY_DIR, path: refitted };
                    return read.map(|text| File { text, shown, embedded });
                }
            }
        }
        self.read(path)
    }

    /// Reads the bytes of a file in the directory of another.
    pub(crate) fn read_beside(&self, other: &Embedded, name: &str) -> Result<(Vec<u8>, Embedded), Failure> {
        let root = match &self.policy_dir {
            Some(dir) if other.variable == POLICY_DIR => dir,
            _ => &self.root,
        };
        let path = beside(&other.path, name);
        let bytes = read(&root.join(&path), name, LONGEST_WEIGHTS)?;
        Ok((bytes, Embedded { variable: other.variable, path }))
    }
}

/// Reads a text of at most [`LONGEST_TEXT`] bytes.
fn read_text(path: &Path, shown: &str) -> Result<String, Failure> {
    let bytes = read(path, shown, LONGEST_TEXT)?;
    String::from_utf8(bytes).map_err(|_| Failure::Unreadable(format!("`{shown}` is not UTF-8 text")))
}

/// A path that a file names relative to its own directory, relative to the directory of that file's path instead.
pub(crate) fn beside(config: &str, path: &str) -> String {
    match config.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/{path}"),
        None => path.to_owned(),
    }
}

/// Only relative paths can be joined with a variable in the program's text.
pub(crate) fn is_relative(path: &str) -> bool {
    !path.is_empty() && !path.starts_with('/') && Path::new(path).is_relative()
}

fn read(path: &Path, shown: &str, longest: u64) -> Result<Vec<u8>, Failure> {
    let unreadable =
        |why: &dyn std::fmt::Display| Failure::Unreadable(format!("`{shown}` cannot be read: {why}"));
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Failure::Missing);
        }
        Err(error) => return Err(unreadable(&error)),
    };
    if !metadata.is_file() {
        return Err(unreadable(&"it is not a file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(longest + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > longest {
        return Err(unreadable(&format_args!("it is longer than {} MiB", longest >> 20)));
    }
    Ok(bytes)
}
