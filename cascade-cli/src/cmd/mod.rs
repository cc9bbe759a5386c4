//! One file for each command.

mod check;
mod collect;
mod collect_providers;
mod collect_signals;
mod completions;
mod diff;
mod embed;
mod eval;
mod explain;
mod explain_code;
mod explain_embedding;
mod fit;
mod import;
mod init;
mod price;
mod report;
mod schema;

use crate::cli::{Cli, Command};
use crate::failure::{Answer, Result};
use crate::terminal::Terminal;
use cascade_sdk_core::config::Route;
use cascade_sdk_core::diag::Diagnostic;
use cascade_sdk_core::name::collect_command;
use cascade_sdk_core::replay::ReplayError;

/// Runs a command.
///
/// # Errors
/// Why it could not run.
pub(crate) fn run(cli: &Cli, terminal: Terminal) -> Result<Answer> {
    let global = &cli.global;
    match &cli.command {
        Command::Init(args) => init::run(args, terminal),
        Command::Check(args) => check::run(global, args, terminal),
        Command::Collect(args) => collect::run(global, args, terminal),
        Command::Embed(args) => embed::run(global, args, terminal),
        Command::Fit(args) => fit::run(global, args, terminal),
        Command::Report(args) => report::run(global, args, terminal),
        Command::Eval(args) => eval::run(global, args, terminal),
        Command::Explain(args) => explain::run(global, args, terminal),
        Command::Import(args) => import::run(args, terminal),
        Command::Price(args) => price::run(global, args, terminal),
        Command::Diff(args) => diff::run(global, args, terminal),
        Command::Schema(args) => Ok(schema::run(args, terminal)),
        Command::Completions(args) => Ok(completions::run(args, terminal)),
    }
}

/// A log that a policy cannot be run on, and what to do.
fn not_replayed(code: &'static str, error: &ReplayError, route: &Route) -> Diagnostic {
    let help = match error {
        ReplayError::NoSuchTier(_) | ReplayError::NotCollected { .. } => {
            format!("collect what is missing: `{}`", collect_command(&route.name, ""))
        }
        ReplayError::MissingInput { .. } => "add it to the row in the log, or leave the row out".to_owned(),
        _ => "correct the row in the log".to_owned(),
    };
    Diagnostic::error(code, error.to_string()).help(help)
}
