//! `cascade`: fit, review and guard cost-quality policies for LLM calls.
//!
//! [`cli`] holds what can be typed, [`project`] finds and reads the configuration, `cmd` has one file for each command,
//! and [`terminal`] is the only place that prints.

mod busy;
mod cli;
mod cmd;
mod collect;
mod diff;
mod doctor;
mod embed;
mod evaluation;
mod explanation;
mod failure;
mod files;
mod fit_report;
mod github;
mod import;
mod init;
mod money;
mod outlook;
mod pages;
mod policy_words;
mod prices;
mod project;
mod promise;
#[cfg(test)]
mod reference;
mod report;
mod table;
mod terminal;
mod words;

use clap::Parser;
use failure::Answer;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A reader that went away, such as `head`, is no failure of ours.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let terminal = terminal::Terminal::new(cli.global.format);
    let code = match cmd::run(&cli, terminal) {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Ok(Answer::Unclear) => ExitCode::from(2),
        Err(failure) => {
            terminal.diagnostics(&failure.0);
            ExitCode::from(2)
        }
    };
    terminal.finish();
    code
}
