//! For build scripts: is the committed policy still the one that its configuration and log give, and if not, another one
//! for this build.
//!
//! ```no_run
//! // In `main` of build.rs:
//! cascade_sdk::build::Fit::new("cascade.toml").check();
//! ```
//!
//! with, in `Cargo.toml`:
//!
//! ```toml
//! [build-dependencies]
//! cascade-sdk = { version = "0.1", default-features = false, features = ["build"] }
//! ```
//!
//! | variable | meaning |
//! |---|---|
//! | `CASCADE_REFIT=1` | fits stale routes anew, into `OUT_DIR`; `#[client]` then takes those policies |
//! | `CASCADE_STRICT=1` | a stale policy fails the build instead of warning |
//!
//! Nothing is ever written into the source tree, and nothing goes over the network. Logs that are not there, as in a
//! published package, are not checked.

use cascade_sdk_core::config::{self, AnswerForm, Config, Route};
use cascade_sdk_core::diag::{Diagnostic, Source};
use cascade_sdk_core::feature::Router;
use cascade_sdk_core::fit::route::{FitInput, FitOptions, fit_route};
use cascade_sdk_core::log::{LogFiles, ReadOptions};
use cascade_sdk_core::policy::{self, Policy, Returns};
#[cfg(feature = "static-embedding")]
use cascade_sdk_core::static_embedding::StaticEmbedding;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Variables that change what a check does.
const REFIT: &str = "CASCADE_REFIT";
const STRICT: &str = "CASCADE_STRICT";

/// Where `#[client]` looks for policies before the committed ones.
const POLICY_DIR: &str = "CASCADE_POLICY_DIR";

/// Checks, and on request refits, the policies of a configuration from a build script.
#[derive(Clone, Debug)]
#[must_use = "nothing is checked until `check` is called"]
pub struct Fit {
    config: PathBuf,
    refit: Option<bool>,
}

impl Fit {
    /// For the configuration at this path, relative to the package.
    pub fn new(config: impl Into<PathBuf>) -> Self {
        Self { config: config.into(), refit: None }
    }

    /// Whether stale routes are fitted anew, into `OUT_DIR`. Unless set, `CASCADE_REFIT=1` decides.
    pub fn refit(mut self, refit: bool) -> Self {
        self.refit = Some(refit);
        self
    }

    /// Checks every route, refits where asked, and tells Cargo what to watch and what was found. What is wrong becomes a
    /// warning of the build, or an error where it cannot go on.
    pub fn check(self) {
        let env = |name: &str| std::env::var(name).ok();
        let mut out = std::io::stdout().lock();
        for directive in Check::new(&self, &env).run() {
            // Without Cargo at the other end there is nobody to tell.
            let _ = writeln!(out, "{directive}");
        }
    }
}

/// One run of a build script.
struct Check {
    config: PathBuf,
    root: PathBuf,
    /// Where refitted policies go: `<out>/<package>/<route>.toml`. `None` where nothing is refitted.
    out: Option<PathBuf>,
    package: String,
    threads: usize,
    strict: bool,
    directives: Vec<String>,
    watched: BTreeSet<PathBuf>,
}

impl Check {
    fn new(fit: &Fit, env: &dyn Fn(&str) -> Option<String>) -> Self {
        let on = |name| env(name).is_some_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
        let out = env("OUT_DIR").map(|out| Path::new(&out).join("cascade-policies"));
        Self {
            config: fit.config.clone(),
            root: env("CARGO_MANIFEST_DIR").unwrap_or_default().into(),
            out: out.filter(|_| fit.refit.unwrap_or_else(|| on(REFIT))),
            package: env("CARGO_PKG_NAME").unwrap_or_default(),
            threads: env("NUM_JOBS").and_then(|jobs| jobs.parse().ok()).unwrap_or(1),
            strict: on(STRICT),
            directives: Vec::new(),
            watched: BTreeSet::new(),
        }
    }

    fn run(mut self) -> Vec<String> {
        for name in [REFIT, STRICT] {
            self.say(&format!("rerun-if-env-changed={name}"));
        }
        let path = self.root.join(&self.config);
        self.watch(&path);
        let shown = self.config.display().to_string();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                self.error(&format!("`{shown}` cannot be read: {error}"));
                return self.directives;
            }
        };
        let (config, findings) = config::read(&Source::new(shown, text));
        self.report(&findings);
        if let Some(config) = config {
            let directory = path.parent().unwrap_or(&self.root).to_path_buf();
            for route in &config.routes {
                self.route(&config, route, &directory);
            }
            if let Some(out) = self.out.clone() {
                self.say(&format!("rustc-env={POLICY_DIR}={}", out.display()));
            }
        }
        self.directives
    }

    fn route(&mut self, config: &Config, route: &Route, directory: &Path) {
        let schema = match &route.request.answer {
            AnswerForm::Schema { path } => {
                let file = directory.join(path);
                self.watch(&file);
                match std::fs::read_to_string(&file) {
                    Ok(text) => Some(text),
                    // The macro shows the same mistake at its place in the program.
                    Err(_) => return,
                }
            }
            _ => None,
        };
        let logs = LogFiles::find(directory, &route.log);
        for pattern in &route.log {
            self.watch_log(directory, pattern);
        }
        for file in logs.files.values() {
            self.watch(file);
        }
        let committed = directory.join(&route.policy);
        self.watch(&committed);
        let mut stale = self.stale(config, route, &committed, schema.as_deref(), &logs);
        stale.extend(self.other_vectors(config, route, &committed, directory));
        let Some(refitted) = self.refitted(route) else {
            for message in stale {
                self.stale_policy(&message);
            }
            return;
        };
        let fittable = route.objective.is_some() && route.tiers.len() > 1;
        if stale.is_empty() || !fittable || !logs.missing.is_empty() || logs.files.is_empty() {
            // A policy of an earlier build must not outlive what it was fitted from.
            let _ = std::fs::remove_file(&refitted);
            for message in stale {
                self.stale_policy(&format!("{message}; it is not refitted, since its log is not here"));
            }
            return;
        }
        let made = std::fs::read_to_string(&committed).ok();
        let made = made.and_then(|text| policy::read(&Source::new(route.policy.as_str(), text)).ok());
        match self.fit(config, route, directory, schema.as_deref(), &logs, made.as_ref()) {
            Some(policy) => {
                self.write(&refitted, policy::write(&policy).as_bytes());
                if let Some(weights) = policy.rules.router.as_ref().and_then(Router::sidecar) {
                    self.write(&refitted.with_file_name(weights.file), &weights.bytes);
                }
            }
            None => {
                let _ = std::fs::remove_file(&refitted);
            }
        }
    }

    /// What makes the committed policy stale; empty if it is fresh or none is needed.
    fn stale(
        &mut self,
        config: &Config,
        route: &Route,
        committed: &Path,
        schema: Option<&str>,
        logs: &LogFiles,
    ) -> Vec<String> {
        let text = match std::fs::read_to_string(committed) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return policy::missing(config, &route.name).iter().map(one_line).collect();
            }
            Err(error) => return vec![format!("the policy `{}` cannot be read: {error}", route.policy)],
        };
        let policy = match policy::read(&Source::new(route.policy.as_str(), text)) {
            Ok(policy) => policy,
            Err(findings) => return findings.iter().map(one_line).collect(),
        };
        let found = policy::staleness(&policy, config, &route.name, schema);
        if !found.iter().any(Diagnostic::is_error) {
            let returns = |tier| Returns::declared(config, tier);
            let lacking = policy::unavailable_signals(&policy.rules, config, &route.name, returns);
            self.report(&lacking);
        }
        let mut stale: Vec<String> = found.iter().map(one_line).collect();
        if route.log.is_empty() || !logs.missing.is_empty() {
            for pattern in &logs.missing {
                self.warning(&format!(
                    "note: there is no log `{pattern}`, so whether the policy of route `{}` belongs to it was not checked",
                    route.name
                ));
            }
            return stale;
        }
        match logs.hash() {
            Ok(hash) => stale.extend(policy::log_changed(&policy, route, &hash).iter().map(one_line)),
            Err(findings) => stale.extend(findings.iter().map(one_line)),
        }
        stale
    }

    /// That the file of word vectors is not the one of the committed policy.
    #[cfg(feature = "static-embedding")]
    fn other_vectors(
        &mut self,
        config: &Config,
        route: &Route,
        committed: &Path,
        directory: &Path,
    ) -> Option<String> {
        let file = route.embedding.as_ref()?.file.as_ref()?;
        let path = directory.join(file);
        for path in StaticEmbedding::files(&path) {
            self.watch(&path);
        }
        let text = std::fs::read_to_string(committed).ok()?;
        let policy = policy::read(&Source::new(route.policy.as_str(), text)).ok()?;
        match policy::other_vectors(&policy, config, route, directory) {
            Some(finding) if path.exists() => Some(one_line(&finding)),
            // Published packages may leave it out.
            Some(_) => {
                self.warning(&format!(
                    "note: there is no `{file}`, so whether the policy of route `{}` was fitted with it was not checked",
                    route.name
                ));
                None
            }
            None => None,
        }
    }

    #[cfg(not(feature = "static-embedding"))]
    #[expect(clippy::unused_self, reason = "with the feature it watches files")]
    fn other_vectors(&mut self, _: &Config, _: &Route, _: &Path, _: &Path) -> Option<String> {
        None
    }

    /// Writes a file of a refitted policy.
    fn write(&mut self, path: &Path, bytes: &[u8]) {
        if let Err(error) = write_if_changed(path, bytes) {
            self.error(&format!("`{}` cannot be written: {error}", path.display()));
        }
    }

    /// A policy fitted anew, in the way the committed one was made; what is wrong has been said where there is none.
    fn fit(
        &mut self,
        config: &Config,
        route: &Route,
        directory: &Path,
        schema: Option<&str>,
        logs: &LogFiles,
        made: Option<&Policy>,
    ) -> Option<Policy> {
        #[cfg(not(feature = "static-embedding"))]
        let _ = directory;
        let made = made.map(|policy| &policy.fitted);
        let mut reading = ReadOptions::for_route(config, route);
        reading.reprice = made.is_some_and(|made| made.repriced);
        #[cfg(feature = "static-embedding")]
        if route.embedding.is_some() {
            reading = match reading.with_static_embedding(directory) {
                Ok(reading) => reading,
                Err(findings) => {
                    self.report(&findings);
                    return None;
                }
            };
        }
        let reading = match logs.read(&reading) {
            Ok(reading) => reading,
            Err(findings) => {
                self.report(&findings);
                return None;
            }
        };
        let input = FitInput {
            config,
            route: &route.name,
            log: &reading.log,
            unreadable_rows: reading.skipped,
            schema,
            options: FitOptions {
                threads: self.threads,
                details: false,
                refit_on_all: made.is_some_and(|made| made.refit_on_all),
                ..FitOptions::default()
            },
        };
        let outcome = match fit_route(&input) {
            Ok(outcome) => outcome,
            Err(findings) => {
                self.report(&findings);
                return None;
            }
        };
        for warning in &outcome.report.warnings {
            self.warning(&format!("fitting route `{}`: {warning}", route.name));
        }
        let policy = outcome.policy;
        if policy.is_none() {
            self.error(&format!(
                "no policy keeps the objective of route `{0}`: run `cascade fit {0}` to see by how much",
                route.name
            ));
        }
        policy
    }

    fn refitted(&self, route: &Route) -> Option<PathBuf> {
        let name = format!("{}.toml", config::policy_stem(&route.name));
        Some(self.out.as_ref()?.join(&self.package).join(name))
    }

    /// Watches a file. One that is not there must not be named: Cargo would run the script every time.
    fn watch(&mut self, path: &Path) {
        if path.exists() && self.watched.insert(path.to_path_buf()) {
            self.say(&format!("rerun-if-changed={}", path.display()));
        }
    }

    /// Watches the directory in which files of a glob, or a log that is not there yet, would appear; never the package
    /// itself, in which something always changes.
    fn watch_log(&mut self, directory: &Path, pattern: &str) {
        let fixed = pattern.split(['*', '?']).next().unwrap_or(pattern);
        let folder = directory.join(fixed.rsplit_once('/').map_or("", |(folder, _)| folder));
        let is_glob = fixed.len() < pattern.len();
        if (is_glob || !directory.join(pattern).exists()) && !self.root.starts_with(&folder) {
            self.watch(&folder);
        }
    }

    fn report(&mut self, findings: &[Diagnostic]) {
        for finding in findings {
            if finding.is_error() {
                self.error(&one_line(finding));
            } else {
                self.warning(&one_line(finding));
            }
        }
    }

    fn stale_policy(&mut self, message: &str) {
        if self.strict { self.error(message) } else { self.warning(message) }
    }

    fn warning(&mut self, message: &str) {
        self.say(&format!("warning={message}"));
    }

    fn error(&mut self, message: &str) {
        self.say(&format!("error={message}"));
    }

    /// A directive is one line.
    fn say(&mut self, directive: &str) {
        self.directives.push(format!("cargo::{}", directive.replace(['\n', '\r'], " ")));
    }
}

/// A finding as one line: place, message, remedies.
fn one_line(finding: &Diagnostic) -> String {
    let place = finding.labels.first().map_or(String::new(), |label| {
        let (line, column) = label.source.position(label.span.start);
        format!("{}:{line}:{column}: ", label.source.name)
    });
    let help: Vec<&str> = finding.help.iter().map(String::as_str).collect();
    let help = if help.is_empty() { String::new() } else { format!(" ({})", help.join("; ")) };
    format!("{place}{}{help}", finding.message)
}

/// Leaves a file alone that already has these bytes, so that nothing is built again without need.
fn write_if_changed(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, bytes)
}

#[cfg(test)]
mod tests;
