//! `cascade fit`.

use crate::cli::{Fit, Global};
use crate::doctor;
use crate::failure::{Answer, Failure, Result};
use crate::files;
use crate::fit_report;
use crate::project::{Project, committed_policy};
use crate::terminal::Terminal;
use cascade_sdk_core::config::Route;
use cascade_sdk_core::diag::{Diagnostic, Source};
use cascade_sdk_core::feature::Router;
use cascade_sdk_core::fit::route::{FitInput, FitOptions, prepare_for};
use cascade_sdk_core::fit::rows::traffic::Traffic;
use cascade_sdk_core::log::EvalLog;
use cascade_sdk_core::policy::Policy;
use cascade_sdk_core::{config, policy};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// Runs the command.
///
/// # Errors
/// A configuration or log that cannot be used, or a policy that cannot be written.
pub(crate) fn run(global: &Global, args: &Fit, terminal: Terminal) -> Result<Answer> {
    let project = Project::load(global, terminal)?;
    let route = project.route(&args.route)?;
    let path = project.path(&route.policy);
    let committed = match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(Failure::io("read", &path, &error)),
    };
    let before = committed.as_deref().and_then(|text| committed_policy(&path, text));
    // What is checked is whether the committed policy can be made again, in the way it was made.
    let made = before.as_ref().map(|before| &before.fitted);
    let refit_on_all = args.refit_on_all || args.check && made.is_some_and(|made| made.refit_on_all);
    let repriced = made.is_some_and(|made| made.repriced);
    let mut options = project.read_options(route, &args.log)?;
    options.reprice |= args.check && repriced;
    if repriced && !options.reprice {
        terminal.note(
            "the committed policy was fitted with --reprice; this fit takes the costs that the log states",
        );
    }
    let reading = project.read_log(route, &options, terminal)?;
    for text in doctor::unfinished(&project, route) {
        terminal.note(&format!("note: {text}"));
    }
    let schema = project.schema_text(route)?;
    let traffic = args.traffic.as_deref().map(read_traffic).transpose()?;
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let input = FitInput {
        config: &project.config,
        route: &route.name,
        log: &reading.log,
        unreadable_rows: reading.skipped,
        schema: schema.as_deref(),
        options: FitOptions {
            threads: args.threads.map_or(cores, usize::from),
            max_points: args.max_points,
            refit_on_all,
            details: true,
            learning_curve: args.learning_curve,
            attempt: attempt(
                &project,
                route,
                &reading.log,
                schema.as_deref(),
                traffic.as_ref(),
                before.as_ref(),
            ),
        },
    };
    let fitting = format!("fitting {}", route.name);
    let prepared = terminal.busy(&fitting, || prepare_for(&input, traffic.as_ref()))?;
    for line in prepared.certification().iter().flat_map(fit_report::before) {
        terminal.note(&line);
    }
    let outcome = terminal.busy(&fitting, || prepared.fit())?;
    if terminal.is_json() {
        terminal.print_json(&outcome.report);
    } else {
        terminal.print_lines(&fit_report::lines(&outcome.report));
    }
    let Some(fitted) = outcome.policy else {
        terminal.note(&match committed {
            Some(_) => format!("no policy is written; `{}` stays as it is", path.display()),
            None => "no policy is written".to_owned(),
        });
        return Ok(Answer::No);
    };
    let text = policy::write(&fitted);
    let weights = fitted.rules.router.as_ref().and_then(Router::sidecar);
    let weights = weights.map(|weights| (path.with_file_name(&weights.file), weights.bytes));
    let kept = |(path, bytes): &(PathBuf, Vec<u8>)| std::fs::read(path).is_ok_and(|old| old == *bytes);
    let fresh = committed.as_deref() == Some(text.as_str()) && weights.as_ref().is_none_or(kept);
    if args.check {
        if fresh {
            terminal.note(&format!("`{}` is what this fit gives", path.display()));
            return Ok(Answer::Yes);
        }
        let weighed = before.as_ref().is_some_and(|before| before.fitted.traffic_hash.is_some());
        let traffic = if weighed || traffic.is_some() { " --traffic FILE" } else { "" };
        let flag = [traffic, if options.reprice { " --reprice" } else { "" }].concat();
        terminal.diagnostics(&[differs(
            &path.display().to_string(),
            committed.as_deref(),
            &text,
            &format!("cascade fit {}{flag}", route.name),
        )]);
        return Ok(Answer::No);
    }
    if fresh {
        terminal.note(&format!("`{}` is unchanged", path.display()));
    } else {
        // The weights first: a policy must never name a file that is not there.
        if let Some((path, bytes)) = &weights {
            files::write_atomically(path, bytes)?;
        }
        files::write_atomically(&path, text.as_bytes())?;
        remove_old_weights(before.as_ref(), &fitted, &path);
        match &weights {
            Some((weights, _)) => {
                terminal
                    .note(&format!("wrote `{}`; review it and commit it with its weights:", path.display()));
                terminal.note(&format!("  {}", weights.display()));
            }
            None => terminal.note(&format!("wrote `{}`; review and commit it", path.display())),
        }
        if route.until_fitted.is_some() {
            terminal.note("now take `until_fitted` out of cascade.toml: the policy decides");
        }
    }
    Ok(Answer::Yes)
}

/// Reads a file of unlabelled requests.
pub(super) fn read_traffic(file: &Path) -> Result<Traffic> {
    let text = std::fs::read_to_string(file).map_err(|error| Failure::io("read", file, &error))?;
    Ok(Traffic::read(&file.display().to_string(), &text)?)
}

/// Which attempt at a certificate this is. Fitting the same inputs again is no new attempt; other rows, other
/// traffic or another configuration are, because trying until one passes would void the promise.
fn attempt(
    project: &Project,
    route: &Route,
    log: &EvalLog,
    schema: Option<&str>,
    traffic: Option<&Traffic>,
    before: Option<&Policy>,
) -> u32 {
    let Some((before, certificate)) = before.and_then(|before| Some((before, before.certificate.as_ref()?)))
    else {
        return 1;
    };
    let config_hash = config::fingerprint(&project.config, &route.name, schema);
    let same = before.fitted.log_hash == log.hash
        && Some(&before.fitted.config_hash) == config_hash.as_ref()
        && before.fitted.traffic_hash.as_deref() == traffic.map(Traffic::hash);
    if same { certificate.attempt } else { certificate.attempt.saturating_add(1) }
}

/// Weights files are named by their hash, so that those of earlier fits would pile up. Routes with the same log share
/// theirs, so one that any policy beside this one names is kept.
fn remove_old_weights(before: Option<&Policy>, fitted: &Policy, path: &Path) {
    let Some(old) = before.and_then(|before| before.rules.router.as_ref()?.awaits.as_deref()) else { return };
    if fitted.rules.router.as_ref().and_then(Router::sidecar).is_some_and(|weights| weights.file == old) {
        return;
    }
    let Some(Ok(beside)) = path.parent().map(std::fs::read_dir) else { return };
    let names_it = |file: PathBuf| std::fs::read_to_string(file).is_ok_and(|text| text.contains(old));
    if !beside.flatten().map(|entry| entry.path()).any(names_it) {
        let _ = std::fs::remove_file(path.with_file_name(old));
    }
}

/// The committed policy is not what the fit gives: names the first line that differs.
fn differs(path: &str, committed: Option<&str>, fitted: &str, command: &str) -> Diagnostic {
    let help = format!("run `{command}`, review the change and commit it");
    let Some(committed) = committed else {
        return Diagnostic::error(policy::codes::MISSING, format!("there is no `{path}`")).help(help);
    };
    if committed == fitted {
        let message = format!("the router's weights beside `{path}` are not what this fit gives");
        return Diagnostic::error(policy::codes::STALE, message).help(help);
    }
    let mut at = 0;
    let mut lines = committed.split_inclusive('\n');
    let mut fitted = fitted.split_inclusive('\n');
    let span = loop {
        match (lines.next(), fitted.next()) {
            (Some(old), Some(new)) if old == new => at += old.len(),
            (old, new) => break (at..at + old.map_or(0, |old| old.trim_end().len()), new),
        }
    };
    let new = span.1.map_or("nothing", str::trim_end);
    Diagnostic::error(policy::codes::STALE, format!("`{path}` is not what this fit gives"))
        .at(&Source::new(path, committed), span.0, format!("now: {new}"))
        .help(help)
}
