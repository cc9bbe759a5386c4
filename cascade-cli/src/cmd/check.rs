//! `cascade check`.

use crate::cli::{Check, Global, ReadLog};
use crate::doctor::{self, Advice};
use crate::failure::{Answer, Failure, Result};
use crate::github;
use crate::outlook::Outlook;
use crate::prices;
use crate::project::{ConfigFile, Project};
use crate::promise;
use crate::terminal::Terminal;
use crate::words::{count, item};
use cascade_sdk_core::config::{Config, Route};
use cascade_sdk_core::diag::{Diagnostic, Source};
use cascade_sdk_core::fit::rows::near;
use cascade_sdk_core::log::{LogFiles, LogReading, ReadOptions, leak, other_requests};
use cascade_sdk_core::policy::{self, Policy, Returns};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// What was found out about one route.
#[derive(Debug, Serialize)]
struct RouteState {
    outlook: Outlook,
    log: String,
    policy: String,
    /// The state of the policies that the client reads at run time, by the key that names them; those that are there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    runtime_policies: BTreeMap<&'static str, String>,
    doctor: Vec<Advice>,
}

/// Runs the command.
///
/// # Errors
/// A configuration that cannot be found or read; mistakes in it are an answer.
pub(crate) fn run(global: &Global, args: &Check, terminal: Terminal) -> Result<Answer> {
    let (project, mut findings) = ConfigFile::open(global)?.parse();
    let mut states = Vec::new();
    if let Some(project) = &project {
        for name in &args.routes {
            project.route(name)?;
        }
        let wanted = |route: &&Route| args.routes.is_empty() || args.routes.contains(&route.name);
        for route in project.config.routes.iter().filter(wanted) {
            let checked = || check_route(project, route, args, &mut findings);
            states.push(terminal.busy(format!("checking {}", route.name), checked));
        }
    }
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    let warnings = findings.len() - errors;
    let fine = errors == 0 && (warnings == 0 || !args.strict);
    if terminal.is_json() {
        let found = Terminal::diagnostics_json(&findings)?;
        terminal.print_json(&json!({ "ok": fine, "findings": found, "routes": states }));
        return Ok(if fine { Answer::Yes } else { Answer::No });
    }
    terminal.diagnostics(&findings);
    if terminal.is_github() {
        let advice = states.iter().flat_map(|state| &state.doctor).filter(|advice| !advice.ok);
        terminal.print(&advice.map(|advice| github::notice(&advice.text)).collect::<String>());
    }
    let odd = states.iter().flat_map(|state| &state.doctor).filter(|advice| !advice.ok).count();
    let mut lines = Vec::new();
    for state in &states {
        lines.extend(state.outlook.lines());
        lines.extend(item("  log: ", &state.log));
        lines.extend(item("  policy: ", &state.policy));
        for (key, policy) in &state.runtime_policies {
            lines.extend(item(&format!("  {key}: "), policy));
        }
        lines.extend(state.doctor.iter().flat_map(Advice::lines));
        lines.push(String::new());
    }
    lines.push(match (errors, warnings) {
        (0, 0) if odd > 0 => format!("no mistakes; {} to look at", count(odd, "thing")),
        (0, 0) => "all is well".into(),
        (0, warnings) if fine => format!("no errors, {} to read", count(warnings, "warning")),
        (0, warnings) => format!("{}, which --strict takes for errors", count(warnings, "warning")),
        (errors, warnings) => format!("{}, {}", count(errors, "error"), count(warnings, "warning")),
    });
    terminal.print_lines(&lines);
    Ok(if fine { Answer::Yes } else { Answer::No })
}

fn check_route(project: &Project, route: &Route, args: &Check, findings: &mut Vec<Diagnostic>) -> RouteState {
    if let Err(Failure(errors)) = project.answer_schema(route) {
        findings.extend(errors);
    }
    findings.extend(prices::of_tiers(&project.config, route, prices::today(), args.max_price_age));
    let reading = check_log(project, route, findings);
    let log = match &reading {
        Ok(reading) => {
            let schema = project.schema_text(route).ok().flatten();
            findings.extend(other_requests(&reading.log, &project.config, route, schema.as_deref()));
            findings.extend(leak(&reading.log));
            let names = near::group_keys(&reading.log);
            findings.extend(near::leak(&reading.log, &names, route.fit.seed, route.fit.held_out));
            findings.extend(prices::of_log(&project.config, route, &reading.log));
            let broken = match reading.skipped {
                0 => String::new(),
                skipped => format!(", {skipped} more are broken"),
            };
            format!("{} in {}{broken}", count(reading.log.rows.len(), "row"), route.log.join(", "))
        }
        Err(state) => (*state).to_owned(),
    };
    let policy = check_policy(project, route, reading.as_ref().ok(), findings);
    let runtime_policies = check_runtime_policies(project, route, findings);
    let outputs = || {
        // What an embedding is read from does not matter here.
        let options = ReadOptions { keep_outputs: true, ..ReadOptions::for_route(&project.config, route) };
        Some(LogFiles::find(&project.directory, &route.log).read(&options).ok()?.log)
    };
    let doctor = doctor::examine(project, route, reading.as_ref().ok().map(|reading| &reading.log), outputs);
    RouteState {
        outlook: Outlook::new(&project.config, route, reading.as_ref().ok().map(|reading| &reading.log)),
        log,
        policy,
        runtime_policies,
        doctor,
    }
}

fn read_options(project: &Project, route: &Route) -> Result<ReadOptions> {
    project.read_options_as_fitted(route, &ReadLog { reprice: false, strict: false })
}

/// The route's log, or in words why there is none to speak of.
fn check_log(
    project: &Project,
    route: &Route,
    findings: &mut Vec<Diagnostic>,
) -> std::result::Result<LogReading, &'static str> {
    let files = LogFiles::find(&project.directory, &route.log);
    if files.files.is_empty() {
        // Nothing is wrong with that: logs may be too large, or too private, to stand beside the configuration.
        return Err("none here yet; `cascade collect` makes one");
    }
    let options = match read_options(project, route) {
        Ok(options) => options,
        Err(Failure(errors)) => {
            findings.extend(errors);
            return Err("was not read");
        }
    };
    match files.read(&options) {
        Ok(reading) => {
            findings.extend(reading.diagnostics.iter().cloned());
            Ok(reading)
        }
        Err(errors) => {
            findings.extend(errors);
            Err("cannot be used")
        }
    }
}

fn check_policy(
    project: &Project,
    route: &Route,
    log: Option<&LogReading>,
    findings: &mut Vec<Diagnostic>,
) -> String {
    let path = project.path(&route.policy);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return without_policy(project, route, findings);
        }
        Err(error) => {
            findings.extend(Failure::io("read", &path, &error).0);
            return "cannot be read".into();
        }
    };
    let state = policy_state(project, &project.config, route, (&path, text), findings, |policy, stale| {
        stale.extend(log.and_then(|reading| policy::log_changed(policy, route, &reading.log.hash)));
        let certain = log.filter(|_| !stale.iter().any(Diagnostic::is_error));
        certain.map_or(Vec::new(), |reading| promise::kept(policy, route, &reading.log))
    });
    match state {
        Some(state) if log.is_none() => {
            format!("{state}; whether its log changed cannot be told without the log")
        }
        state => state.unwrap_or_else(unusable),
    }
}

fn unusable() -> String {
    "cannot be used".into()
}

/// The policies that a client reads when it starts, held to what it holds them to. One that is not there yet is rolled out
/// later.
fn check_runtime_policies(
    project: &Project,
    route: &Route,
    findings: &mut Vec<Diagnostic>,
) -> BTreeMap<&'static str, String> {
    let runtime = &route.runtime;
    let canary = runtime.canary.as_ref().map(|canary| ("canary", &canary.policy));
    let file = runtime.policy_file.as_ref().map(|path| ("policy_file", path));
    // A route that waits for its first policy may get it from a file.
    let mut config = project.config.clone();
    for waiting in config.routes.iter_mut().filter(|known| known.name == route.name) {
        waiting.until_fitted = None;
    }
    let mut states = BTreeMap::new();
    for (key, stated) in [canary, file].into_iter().flatten() {
        let path = project.path(stated);
        let before = findings.len();
        let state = match std::fs::read_to_string(&path) {
            Ok(text) => policy_state(project, &config, route, (&path, text), findings, |_, _| Vec::new())
                .unwrap_or_else(unusable),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                findings.extend(Failure::io("read", &path, &error).0);
                "cannot be read".into()
            }
        };
        states.insert(key, state);
        // Findings about the configuration do not say which of its policies they are about.
        let shown = path.display().to_string();
        for finding in findings.iter_mut().skip(before) {
            if !finding.labels.iter().any(|label| label.source.name == shown) {
                finding.message = format!("`{key}`, {stated}: {}", finding.message);
            }
        }
    }
    states
}

/// Whether a policy belongs to its route, and whether the signals that it reads can be had; in words how it stands, if it can be
/// read. `more` adds to what makes it stale, and finds what else there is.
fn policy_state(
    project: &Project,
    config: &Config,
    route: &Route,
    (path, text): (&Path, String),
    findings: &mut Vec<Diagnostic>,
    more: impl FnOnce(&Policy, &mut Vec<Diagnostic>) -> Vec<Diagnostic>,
) -> Option<String> {
    let mut policy = match policy::read(&Source::new(path.display().to_string(), text)) {
        Ok(policy) => policy,
        Err(errors) => {
            findings.extend(errors);
            return None;
        }
    };
    findings.extend(policy::complete(&mut policy, path.parent().unwrap_or(Path::new(""))).err());
    let schema = project.schema_text(route).ok().flatten();
    let mut stale = policy::staleness(&policy, config, &route.name, schema.as_deref());
    if stale.is_empty() {
        stale.extend(policy::other_vectors(&policy, config, route, &project.directory));
    }
    findings.extend(more(&policy, &mut stale));
    let fitted = &policy.fitted;
    let rows = fitted.calibration_rows + fitted.test_rows;
    // `until_fitted` beside a policy is a mistake, but none of the policy's.
    let fresh = stale.iter().all(|finding| finding.code == policy::codes::FITTED);
    let state = if fresh { "fresh" } else { "stale" };
    if !stale.iter().any(Diagnostic::is_error) {
        let returns = |tier| Returns::declared(config, tier);
        findings.extend(policy::unavailable_signals(&policy.rules, config, &route.name, returns));
    }
    findings.extend(stale);
    Some(format!("{state}: {} fitted on {}", policy.family.name(), count(rows, "row")))
}

fn without_policy(project: &Project, route: &Route, findings: &mut Vec<Diagnostic>) -> String {
    match policy::missing(&project.config, &route.name) {
        None => "none needed: the route has one tier".into(),
        Some(error) if error.is_error() => {
            findings.push(error);
            "none".into()
        }
        // That people declared it is no finding; the build reminds them.
        Some(warning) => format!("none yet: {}", warning.message),
    }
}
