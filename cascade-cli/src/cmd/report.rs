//! `cascade report`.

use super::fit::read_traffic;
use crate::cli::{Global, Report};
use crate::failure::{Answer, Result};
use crate::files;
use crate::project::Project;
use crate::report;
use crate::terminal::Terminal;
use cascade_sdk_core::config::Route;
use cascade_sdk_core::fit::route::{FitInput, FitOptions, prepare_for};
use cascade_sdk_core::fit::rows::traffic::Traffic;
use serde_json::json;
use std::num::NonZeroUsize;

/// Runs the command.
///
/// # Errors
/// A configuration or log that cannot be used, or a file that cannot be written.
pub(crate) fn run(global: &Global, args: &Report, terminal: Terminal) -> Result<Answer> {
    let project = Project::load(global, terminal)?;
    let route = project.route(&args.route)?;
    let reading = project.read_log(route, &project.read_options_as_fitted(route, &args.log)?, terminal)?;
    let schema = project.schema_text(route)?;
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let traffic = args.traffic.as_deref().map(read_traffic).transpose()?;
    if is_weighed_otherwise(&project, route, traffic.as_ref()) {
        terminal.note(&format!(
            "`{}` was fitted with other traffic than this report, whose figures are not the policy's; give the same file, or \
             none, with --traffic",
            route.policy
        ));
    }
    let input = FitInput {
        config: &project.config,
        route: &route.name,
        log: &reading.log,
        unreadable_rows: reading.skipped,
        schema: schema.as_deref(),
        options: FitOptions { threads, learning_curve: true, ..FitOptions::default() },
    };
    let fitted = || prepare_for(&input, traffic.as_ref())?.fit();
    let outcome = terminal.busy(format!("fitting {}", route.name), fitted)?;
    let mut written = vec![args.output.clone()];
    files::write_atomically(&args.output, report::page(&outcome.report).as_bytes())?;
    if let Some(directory) = &args.svg {
        for picture in report::pictures(&outcome.report) {
            let path = directory.join(picture.name).with_extension("svg");
            files::write_atomically(&path, report::alone(&picture).as_bytes())?;
            written.push(path);
        }
    }
    if terminal.is_json() {
        terminal.print_json(&json!({ "route": route.name, "written": written }));
    }
    for path in written {
        terminal.note(&format!("wrote `{}`", path.display()));
    }
    Ok(Answer::Yes)
}

/// True if the rows of the committed policy were not weighed as these requests weigh them.
fn is_weighed_otherwise(project: &Project, route: &Route, traffic: Option<&Traffic>) -> bool {
    project
        .committed_policy(route)
        .is_some_and(|policy| policy.fitted.traffic_hash.as_deref() != traffic.map(Traffic::hash))
}
