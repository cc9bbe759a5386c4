//! The configuration: found, read, and what commands ask of it.

use crate::cli::Global;
use crate::collect::fold::some_of;
use crate::failure::{Failure, Result};
use crate::terminal::Terminal;
use cascade_sdk::AnswerSchema;
use cascade_sdk_core::config::{self, AnswerForm, Config, Route};
use cascade_sdk_core::diag::{Diagnostic, Source};
use std::path::{Path, PathBuf};

/// Name of the configuration file.
pub(crate) const CONFIG_FILE: &str = "cascade.toml";

/// A configuration and where it stands.
#[derive(Debug)]
pub(crate) struct Project {
    /// What it says.
    pub(crate) config: Config,
    /// Directory of the configuration file, which its paths are relative to.
    pub(crate) directory: PathBuf,
}

impl Project {
    /// Finds and reads the configuration; warnings are printed.
    ///
    /// # Errors
    /// No file, a file that cannot be read, or mistakes in it.
    pub(crate) fn load(global: &Global, terminal: Terminal) -> Result<Self> {
        let (project, warnings) = Self::read(global)?;
        terminal.diagnostics(&warnings);
        Ok(project)
    }

    /// As [`Project::load`], with the warnings as they are.
    ///
    /// # Errors
    /// As [`Project::load`].
    pub(crate) fn read(global: &Global) -> Result<(Self, Vec<Diagnostic>)> {
        let path = match &global.config {
            Some(path) => path.clone(),
            None => find()?,
        };
        let text = std::fs::read_to_string(&path).map_err(|error| Failure::io("read", &path, &error))?;
        let (config, findings) = config::read(&Source::new(path.display().to_string(), text));
        let directory = path.parent().map(Path::to_path_buf).unwrap_or_default();
        match config {
            Some(config) if !findings.iter().any(Diagnostic::is_error) => {
                Ok((Self { config, directory }, findings))
            }
            _ => Err(findings.into()),
        }
    }

    /// A path of the configuration, from here.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.directory.join(relative)
    }

    /// The route of that name.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn route(&self, name: &str) -> Result<&Route> {
        self.config.route(name).ok_or_else(|| {
            let names = self.config.routes.iter().map(|route| route.name.as_str());
            Failure::usage(
                format!("there is no route `{name}`"),
                format!("the routes of this configuration are {}", some_of(names)),
            )
        })
    }

    /// The form of a route's answers, and the text of its schema file where it has one.
    ///
    /// # Errors
    /// A schema file that cannot be read or is none.
    pub(crate) fn answer_schema(&self, route: &Route) -> Result<(AnswerSchema, Option<String>)> {
        let AnswerForm::Schema { path } = &route.request.answer else {
            return Ok((AnswerSchema::TEXT, None));
        };
        let path = self.path(path);
        let text = std::fs::read_to_string(&path).map_err(|error| Failure::io("read", &path, &error))?;
        let schema = AnswerSchema::from_json(&text)
            .map_err(|error| Diagnostic::error("config::schema", format!("`{}`: {error}", path.display())))?;
        Ok((schema, Some(text)))
    }
}

/// The nearest configuration file, from the working directory upwards.
fn find() -> Result<PathBuf> {
    let here = std::env::current_dir().map_err(|error| Failure::io("read", Path::new("."), &error))?;
    for (up, directory) in here.ancestors().enumerate() {
        if directory.join(CONFIG_FILE).is_file() {
            // Relative, as people would type it: messages and files must not depend on where the project lies.
            return Ok(std::iter::repeat_n("..", up).collect::<PathBuf>().join(CONFIG_FILE));
        }
    }
    Err(Diagnostic::error(
        "cli::no-config",
        format!("there is no `{CONFIG_FILE}` here or in any directory above"),
    )
    .help("`cascade init` writes one; --config PATH names another place")
    .into())
}
