//! `cascade diff`.

use crate::cli::{Diff, Global, ReadLog};
use crate::diff::show::Comparison;
use crate::diff::versions::{Version, same_route};
use crate::diff::{git, rows};
use crate::failure::{Answer, Failure, Result};
use crate::policy_words;
use crate::project::{ConfigFile, Project};
use crate::terminal::Terminal;
use cascade_sdk_core::config::Route;
use cascade_sdk_core::diag::{Source, Style, render_all};
use cascade_sdk_core::log::LogFiles;
use cascade_sdk_core::policy;
use serde_json::json;
use std::path::Path;

/// Arguments that git gives an external diff program; two more for a file that was renamed.
const GIT_ARGUMENTS: [usize; 2] = [7, 9];

/// Runs the command.
///
/// # Errors
/// Policies that cannot be read, or a revision or route that does not exist.
pub(crate) fn run(global: &Global, args: &Diff, terminal: Terminal) -> Result<Answer> {
    if let Some(file) = &args.textconv {
        return textconv(file, terminal);
    }
    let given: Vec<&str> = args.versions.iter().map(String::as_str).collect();
    match given.as_slice() {
        [path, old, _, _, new, ..] if GIT_ARGUMENTS.contains(&given.len()) => {
            return Ok(for_git(global, Path::new(path), Path::new(old), Path::new(new), terminal));
        }
        [_, _, _, ..] => {
            return Err(Failure::usage(
                "more than two versions are given",
                "compare two: `cascade diff OLD NEW`, or `cascade diff OLD NEW -- ROUTE` for revisions",
            ));
        }
        _ => {}
    }
    let comparisons = match given.as_slice() {
        [old, new] if args.routes.is_empty() && (Path::new(old).is_file() || Path::new(new).is_file()) => {
            let (old, new) =
                (Version::of_file(Path::new(old), None)?, Version::of_file(Path::new(new), None)?);
            same_route(&old, &new)?;
            let project = near(global, Path::new(given.last().copied().unwrap_or_default()));
            vec![terminal.busy("comparing", || compare(project.as_ref(), old, new))]
        }
        [file] if args.routes.is_empty() && Path::new(file).is_file() => {
            return Err(Failure::usage(
                format!("there is nothing to compare `{file}` with"),
                "write `cascade diff OLD.toml NEW.toml`, or `cascade diff REVISION -- ROUTE`",
            ));
        }
        given => between_revisions(global, args, given, terminal)?,
    };
    let differ = comparisons.iter().any(Comparison::differ);
    if terminal.is_json() {
        let all: Vec<_> = comparisons.iter().map(Comparison::json).collect();
        terminal.print_json(&json!({ "policies": all }));
    } else {
        let mut lines = Vec::new();
        for comparison in &comparisons {
            if !lines.is_empty() {
                lines.push(String::new());
            }
            lines.extend(comparison.lines());
        }
        terminal.print_lines(&lines);
    }
    Ok(if differ && args.exit_code { Answer::No } else { Answer::Yes })
}

/// A policy in words, for `git diff` to compare line by line. What is no policy is shown as it is: git would stop at an
/// error.
fn textconv(file: &Path, terminal: Terminal) -> Result<Answer> {
    let text = std::fs::read_to_string(file).map_err(|error| Failure::io("read", file, &error))?;
    match policy::read(&Source::new(file.display().to_string(), text.as_str())) {
        Ok(policy) => terminal.print_lines(&policy_words::describe(&policy)),
        Err(_) => terminal.print(&text),
    }
    Ok(Answer::Yes)
}

/// As git's external diff program: problems are part of the output, since git ends at the first program that fails.
fn for_git(global: &Global, path: &Path, old: &Path, new: &Path, terminal: Terminal) -> Answer {
    terminal.print(&format!("cascade diff of {}\n", path.display()));
    let versions = Version::of_file(old, Some(path)).and_then(|old| {
        let new = Version::of_file(new, Some(path))?;
        same_route(&old, &new)?;
        Ok((old, new))
    });
    match versions {
        Ok((mut old, mut new)) => {
            let name = |version: &Version, name: &str| match version.policy {
                Some(_) => name.to_owned(),
                None => "no policy".to_owned(),
            };
            old.name = name(&old, "before");
            new.name = name(&new, "after");
            terminal.print_lines(&compare(near(global, path).as_ref(), old, new).lines());
        }
        Err(Failure(findings)) => terminal.print(&render_all(&findings, Style::Plain)),
    }
    terminal.print("\n");
    Answer::Yes
}

/// The configuration that a policy file belongs to, if one is found and can be read.
fn near(global: &Global, policy: &Path) -> Option<Project> {
    ConfigFile::open_above(global, policy.parent()?).ok()?.parse().0
}

fn between_revisions(
    global: &Global,
    args: &Diff,
    given: &[&str],
    terminal: Terminal,
) -> Result<Vec<Comparison>> {
    let (old, new) = match given {
        [] => ("HEAD", None),
        [one] => match one.split_once("..") {
            Some((old, new)) => (old, Some(new)),
            None => (*one, None),
        },
        [old, new, ..] => (*old, Some(*new)),
    };
    let project = Project::load(global, terminal)?;
    for revision in [Some(old), new].into_iter().flatten() {
        git::check_revision(&project.directory, revision)?;
    }
    let routes: Vec<&Route> = if args.routes.is_empty() {
        project.config.routes.iter().collect()
    } else {
        args.routes.iter().map(|name| project.route(name)).collect::<Result<_>>()?
    };
    let mut comparisons = Vec::new();
    for route in routes {
        let before = Version::of_revision(&project.directory, old, &route.policy)?;
        let now = match new {
            Some(revision) => Version::of_revision(&project.directory, revision, &route.policy)?,
            None => working_tree(&project, route)?,
        };
        // Routes that never had a policy are of no interest unless asked for.
        if before.policy.is_some() || now.policy.is_some() || !args.routes.is_empty() {
            same_route(&before, &now)?;
            comparisons.push(terminal.busy("comparing", || compare(Some(&project), before, now)));
        }
    }
    Ok(comparisons)
}

fn working_tree(project: &Project, route: &Route) -> Result<Version> {
    let path = project.path(&route.policy);
    if !path.exists() {
        return Ok(Version::absent(path.display().to_string()));
    }
    Version::of_file(&path, None)
}

/// Compares two versions of one route's policy, on the route's log where it is at hand.
fn compare(project: Option<&Project>, old: Version, new: Version) -> Comparison {
    let policy = new.policy.as_ref().or(old.policy.as_ref());
    let name = policy.map(|policy| policy.route.clone()).unwrap_or_default();
    let rows = on_log(project, &name, &old, &new);
    let calls_per_day =
        project.and_then(|project| project.config.route(&name)).and_then(|route| route.calls_per_day);
    Comparison { route: name, old, new, calls_per_day, rows }
}

fn on_log(
    project: Option<&Project>,
    name: &str,
    old: &Version,
    new: &Version,
) -> std::result::Result<rows::RowsDiff, String> {
    if old.policy == new.policy {
        return Err("the policies are the same".into());
    }
    let project = project.ok_or("no cascade.toml is found that names the log")?;
    let route = project.config.route(name).ok_or("the configuration has no such route")?;
    let files = LogFiles::find(&project.directory, &route.log);
    if files.files.is_empty() {
        return Err("the log of the route is not here".into());
    }
    let unreadable = "the log of the route cannot be read: run `cascade check`";
    let as_is = ReadLog { reprice: false, strict: false };
    let options = project.read_options_as_fitted(route, &as_is).map_err(|_| unreadable)?;
    let reading = files.read(&options).map_err(|_| unreadable)?;
    rows::compare(&reading.log, route, old, new)
}
