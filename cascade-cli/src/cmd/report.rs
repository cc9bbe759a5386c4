//! `cascade report`.

use crate::cli::{Global, Report};
use crate::failure::{Answer, Result};
use crate::files;
use crate::project::Project;
use crate::report;
use crate::terminal::Terminal;
use cascade_sdk_core::fit::route::{FitInput, FitOptions, fit_route};
use std::num::NonZeroUsize;

/// Runs the command.
///
/// # Errors
/// A configuration or log that cannot be used, or a file that cannot be written.
pub(crate) fn run(global: &Global, args: &Report, terminal: Terminal) -> Result<Answer> {
    let project = Project::load(global, terminal)?;
    let route = project.route(&args.route)?;
    let reading = project.read_log(route, &project.read_options(route, &args.log), terminal)?;
    let schema = project.schema_text(route)?;
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let outcome = fit_route(&FitInput {
        config: &project.config,
        route: &route.name,
        log: &reading.log,
        unreadable_rows: reading.skipped,
        schema: schema.as_deref(),
        options: FitOptions { threads, learning_curve: true, ..FitOptions::default() },
    })?;
    files::write_atomically(&args.output, report::page(&outcome.report).as_bytes())?;
    terminal.note(&format!("wrote `{}`", args.output.display()));
    if let Some(directory) = &args.svg {
        for picture in report::pictures(&outcome.report) {
            let path = directory.join(picture.name).with_extension("svg");
            files::write_atomically(&path, report::alone(&picture).as_bytes())?;
            terminal.note(&format!("wrote `{}`", path.display()));
        }
    }
    Ok(Answer::Yes)
}
