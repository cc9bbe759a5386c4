//! One file for each command.

mod collect;

use crate::cli::{Cli, Command};
use crate::failure::{Answer, Result};
use crate::terminal::Terminal;

/// Runs a command.
///
/// # Errors
/// Why it could not run.
pub(crate) fn run(cli: &Cli, terminal: Terminal) -> Result<Answer> {
    match &cli.command {
        Command::Collect(args) => collect::run(&cli.global, args, terminal),
    }
}
