//! `cascade completions`.

use crate::cli::{Cli, Completions};
use crate::failure::Answer;
use crate::terminal::Terminal;
use clap::CommandFactory;

/// Prints the completions of a shell.
pub(crate) fn run(args: &Completions, terminal: Terminal) -> Answer {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "cascade", &mut script);
    terminal.print(&String::from_utf8_lossy(&script));
    Answer::Yes
}
