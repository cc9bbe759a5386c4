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
use cascade_sdk::provider::Capabilities;
use cascade_sdk_core::config::{Api, Route};
use cascade_sdk_core::diag::{Diagnostic, Source};
use cascade_sdk_core::fit::rows::near;
use cascade_sdk_core::log::{LogFiles, LogReading, ReadOptions, leak, other_requests};
use cascade_sdk_core::policy::{self, Returns};
use serde::Serialize;
use serde_json::json;
use std::path::Path;

/// What was found out about one route.
#[derive(Debug, Serialize)]
struct RouteState {
    outlook: Outlook,
    log: String,
    policy: String,
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
            states.push(check_route(project, route, args, &mut findings));
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
    check_request(project, route, findings);
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
    let outputs = || {
        let options = ReadOptions { keep_outputs: true, ..read_options(project, route) };
        Some(LogFiles::find(&project.directory, &route.log).read(&options).ok()?.log)
    };
    let doctor = doctor::examine(project, route, reading.as_ref().ok().map(|reading| &reading.log), outputs);
    RouteState {
        outlook: Outlook::new(&project.config, route, reading.as_ref().ok().map(|reading| &reading.log)),
        log,
        policy,
        doctor,
    }
}

/// A schema that cannot be read, and one that a tier's api cannot be held to.
fn check_request(project: &Project, route: &Route, findings: &mut Vec<Diagnostic>) {
    match project.answer_schema(route) {
        Err(Failure(errors)) => findings.extend(errors),
        Ok((schema, _)) if !schema.is_text() => {
            for tier in route.tiers.iter().filter_map(|name| project.config.tier(name)) {
                let api =
                    project.config.provider(&tier.provider).map_or(Api::Replay, |provider| provider.api);
                if !Capabilities::of(api).json_schema {
                    let message = format!(
                        "tier `{}` cannot be held to a JSON Schema by its api `{}`",
                        tier.name,
                        api.name()
                    );
                    findings.push(Diagnostic::warning("check::schema", message));
                }
            }
        }
        Ok(_) => {}
    }
}

fn read_options(project: &Project, route: &Route) -> ReadOptions {
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
    match files.read(&read_options(project, route)) {
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
    let mut policy = match policy::read(&Source::new(path.display().to_string(), text)) {
        Ok(policy) => policy,
        Err(errors) => {
            findings.extend(errors);
            return "cannot be used".into();
        }
    };
    findings.extend(policy::complete(&mut policy, path.parent().unwrap_or(Path::new(""))).err());
    let schema = project.schema_text(route).ok().flatten();
    let mut stale = policy::staleness(&policy, &project.config, &route.name, schema.as_deref());
    stale.extend(log.and_then(|reading| policy::log_changed(&policy, route, &reading.log.hash)));
    if let Some(reading) = log.filter(|_| !stale.iter().any(Diagnostic::is_error)) {
        findings.extend(promise::kept(&policy, route, &reading.log));
    }
    let fitted = &policy.fitted;
    let rows = fitted.calibration_rows + fitted.test_rows;
    // `until_fitted` beside a policy is a mistake, but none of the policy's.
    let fresh = stale.iter().all(|finding| finding.code == policy::codes::FITTED);
    let state = if fresh { "fresh" } else { "stale" };
    if !stale.iter().any(Diagnostic::is_error) {
        let returns = |tier| Returns::declared(&project.config, tier);
        findings.extend(policy::unavailable_signals(&policy.rules, &project.config, &route.name, returns));
    }
    let known = if log.is_some() { "" } else { "; whether its log changed cannot be told without the log" };
    findings.extend(stale);
    format!("{state}: {} fitted on {}{known}", policy.family.name(), count(rows, "row"))
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
