//! The configuration: found, read, and what commands ask of it.

use crate::cli::{Global, ReadLog};
use crate::failure::{Failure, Result};
use crate::terminal::Terminal;
use crate::words::some_of;
use cascade_sdk::AnswerSchema;
use cascade_sdk_core::config::{self, AnswerForm, Config, Route};
use cascade_sdk_core::diag::{Diagnostic, Severity, Source};
use cascade_sdk_core::log::{LogFiles, LogReading, ReadOptions};
use cascade_sdk_core::name::nearest;
use cascade_sdk_core::policy::{self, Policy};
use cascade_sdk_core::static_embedding::StaticEmbedding;
use std::io::ErrorKind;
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

/// The text of a configuration file.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    text: String,
}

impl ConfigFile {
    /// Finds the configuration file.
    ///
    /// # Errors
    /// No file, or one that cannot be read.
    pub(crate) fn open(global: &Global) -> Result<Self> {
        let path = match &global.config {
            Some(path) => path.clone(),
            None => find_above(Path::new(""))?,
        };
        Self::read(path)
    }

    /// As [`ConfigFile::open`], from a directory upwards.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn open_above(global: &Global, directory: &Path) -> Result<Self> {
        match &global.config {
            Some(path) => Self::read(path.clone()),
            None => Self::read(find_above(directory)?),
        }
    }

    fn read(path: PathBuf) -> Result<Self> {
        let text = std::fs::read_to_string(&path).map_err(|error| Failure::io("read", &path, &error))?;
        Ok(Self { path, text })
    }

    /// Reads it; there is a project iff no finding is an error.
    pub(crate) fn parse(&self) -> (Option<Project>, Vec<Diagnostic>) {
        let source = Source::new(self.path.display().to_string(), self.text.as_str());
        let (config, findings) = config::read(&source);
        let directory = self.path.parent().map(Path::to_path_buf).unwrap_or_default();
        (config.map(|config| Project { config, directory }), findings)
    }
}

impl Project {
    /// Finds and reads the configuration; warnings are printed.
    ///
    /// # Errors
    /// No file, a file that cannot be read, or mistakes in it.
    pub(crate) fn load(global: &Global, terminal: Terminal) -> Result<Self> {
        let (project, findings) = ConfigFile::open(global)?.parse();
        match project {
            Some(project) => {
                terminal.diagnostics(&findings);
                Ok(project)
            }
            None => Err(findings.into()),
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
            let names = || self.config.routes.iter().map(|route| route.name.as_str());
            let help = match nearest(name, names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the routes of this configuration are {}", some_of(names())),
            };
            Failure::usage(format!("there is no route `{name}`"), help)
        })
    }

    /// The text of a route's schema file, where its answers have one.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) fn schema_text(&self, route: &Route) -> Result<Option<String>> {
        let AnswerForm::Schema { path } = &route.request.answer else { return Ok(None) };
        std::fs::read_to_string(self.path(path)).map(Some).map_err(|error| {
            if error.kind() == ErrorKind::NotFound {
                return config::schema_missing(&self.config, route, path).into();
            }
            let why = format!("the schema `{path}` cannot be read: {error}");
            config::schema_unreadable(&self.config, route, &why).into()
        })
    }

    /// The form of a route's answers, and the text of its schema file where it has one.
    ///
    /// # Errors
    /// A schema file that cannot be read or is none.
    pub(crate) fn answer_schema(&self, route: &Route) -> Result<(AnswerSchema, Option<String>)> {
        let Some(text) = self.schema_text(route)? else { return Ok((AnswerSchema::TEXT, None)) };
        let schema = AnswerSchema::from_json(&text)
            .map_err(|error| config::schema_invalid(&self.config, route, &error.to_string()))?;
        Ok((schema, Some(text)))
    }

    /// How the route's log is read.
    ///
    /// # Errors
    /// A file of word vectors that cannot be used.
    pub(crate) fn read_options(&self, route: &Route, args: &ReadLog) -> Result<ReadOptions> {
        let options = ReadOptions::for_route(&self.config, route);
        let options = ReadOptions { reprice: args.reprice, strict: args.strict, ..options };
        Ok(options
            .with_static_embedding(&self.directory)
            .map_err(|findings| self.of_embedding(route, findings))?)
    }

    /// The file of word vectors that a route names.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub(crate) fn static_embedding(
        &self,
        route: &Route,
        file: &str,
        dimensions: usize,
    ) -> Result<StaticEmbedding> {
        let opened = StaticEmbedding::open(&self.path(file), file, dimensions);
        Ok(opened.map_err(|findings| self.of_embedding(route, findings))?)
    }

    /// Findings about the file of word vectors: those without a line of its own point at the key that names it.
    fn of_embedding(&self, route: &Route, findings: Vec<Diagnostic>) -> Vec<Diagnostic> {
        let key = ["routes", &route.name, "embedding", "file"];
        let place = |finding: Diagnostic| match finding.labels.as_slice() {
            [] => self.config.places.label(finding, &key, ""),
            _ => finding,
        };
        findings.into_iter().map(place).collect()
    }

    /// How the log is read beside the committed policy: with the prices it was fitted with.
    ///
    /// # Errors
    /// As [`Project::read_options`].
    pub(crate) fn read_options_as_fitted(&self, route: &Route, args: &ReadLog) -> Result<ReadOptions> {
        let options = self.read_options(route, args)?;
        let repriced = self.committed_policy(route).is_some_and(|policy| policy.fitted.repriced);
        Ok(ReadOptions { reprice: options.reprice || repriced, ..options })
    }

    /// The route's policy file as far as it can be read, fresh or stale.
    pub(crate) fn committed_policy(&self, route: &Route) -> Option<Policy> {
        let path = self.path(&route.policy);
        committed_policy(&path, &std::fs::read_to_string(&path).ok()?)
    }

    /// The files of the route's log, if all are there.
    pub(crate) fn find_log(&self, route: &Route) -> Option<LogFiles> {
        let files = LogFiles::find(&self.directory, &route.log);
        (!files.files.is_empty() && files.missing.is_empty()).then_some(files)
    }

    /// Reads the route's log; what was found wrong with single rows is printed.
    ///
    /// # Errors
    /// A log that is missing or cannot be used.
    pub(crate) fn read_log(
        &self,
        route: &Route,
        options: &ReadOptions,
        terminal: Terminal,
    ) -> Result<LogReading> {
        if route.log.is_empty() {
            let error = Diagnostic::error("log::missing", format!("route `{}` names no log", route.name));
            let error = self.config.places.label(error, &["routes", &route.name], "");
            return Err(error.help("add `log = [\"evals/….jsonl\"]`").into());
        }
        let files = LogFiles::find(&self.directory, &route.log);
        let reading = terminal.busy("reading the log", || files.read(options))?;
        terminal.diagnostics(&reading.diagnostics);
        Ok(reading)
    }

    /// Reads a policy file, and checks that it belongs to the route; warnings are printed.
    ///
    /// # Errors
    /// A file that cannot be read, is no policy, or is stale.
    pub(crate) fn policy(&self, route: &Route, file: Option<&Path>, terminal: Terminal) -> Result<Policy> {
        let path = file.map_or_else(|| self.path(&route.policy), Path::to_path_buf);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let none = |path: &Path| {
                    let message = format!("there is no policy `{}`", path.display());
                    Diagnostic::error(policy::codes::MISSING, message)
                };
                let declared = policy::missing(&self.config, &route.name).filter(|_| file.is_none());
                return Err(declared.map_or_else(|| none(&path), as_error).into());
            }
            Err(error) => return Err(Failure::io("read", &path, &error)),
        };
        let mut policy = policy::read(&Source::new(path.display().to_string(), text))?;
        policy::complete(&mut policy, path.parent().unwrap_or(Path::new("")))?;
        let mut findings =
            policy::staleness(&policy, &self.config, &route.name, self.schema_text(route)?.as_deref());
        if findings.is_empty() {
            findings.extend(policy::other_vectors(&policy, &self.config, route, &self.directory));
        }
        if findings.iter().any(Diagnostic::is_error) {
            return Err(findings.into());
        }
        terminal.diagnostics(&findings);
        Ok(policy)
    }
}

/// The committed policy. Of one with merge conflicts, the side with more attempts at a certificate: merging must not
/// make them forgotten.
pub(crate) fn committed_policy(path: &Path, text: &str) -> Option<Policy> {
    let read = |text: &str| policy::read(&Source::new(path.display().to_string(), text)).ok();
    let attempts = |policy: &Policy| policy.certificate.as_ref().map_or(0, |certificate| certificate.attempt);
    match policy::conflict_sides(text) {
        Some(sides) => sides.iter().filter_map(|side| read(side)).max_by_key(attempts),
        None => read(text),
    }
}

/// What is a warning to a build is an error to a command that needs the policy.
fn as_error(mut finding: Diagnostic) -> Diagnostic {
    finding.severity = Severity::Error;
    finding
}

/// The nearest configuration file, from a directory (the working directory if empty) upwards.
fn find_above(directory: &Path) -> Result<PathBuf> {
    let here = std::env::current_dir()
        .map(|here| here.join(directory))
        .map_err(|error| Failure::io("read", Path::new("."), &error))?;
    for (up, above) in here.ancestors().enumerate() {
        if above.join(CONFIG_FILE).is_file() {
            // Relative, as people would type it: messages and files must not depend on where the project lies.
            let steps = std::iter::repeat_n("..", up).collect::<PathBuf>();
            return Ok(directory.join(steps).join(CONFIG_FILE));
        }
    }
    Err(Diagnostic::error(
        "cli::no-config",
        format!("there is no `{CONFIG_FILE}` here or in any directory above"),
    )
    .help("`cascade init` writes one; --config PATH names another place")
    .into())
}
