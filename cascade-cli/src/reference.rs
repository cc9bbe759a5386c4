//! The reference of the command line as a document, made from what clap knows.

use crate::cli::Cli;
use clap::builder::StyledStr;
use clap::{Arg, Command, CommandFactory as _};
use std::fmt::Write as _;
use std::path::Path;

/// The whole document.
fn reference() -> String {
    let mut command = Cli::command();
    command.build();
    let mut out = String::from("# Command line\n\n");
    let about = command.get_long_about().or(command.get_about());
    let _ = writeln!(out, "{}\n", about.map(StyledStr::to_string).unwrap_or_default());
    let _ = writeln!(out, "| command | what it does |\n|---|---|");
    let commands: Vec<&Command> = command.get_subcommands().filter(|sub| sub.get_name() != "help").collect();
    for sub in &commands {
        let about = sentence(&sub.get_about().map(StyledStr::to_string).unwrap_or_default());
        let _ = writeln!(out, "| [`cascade {0}`](#cascade-{0}) | {1} |", sub.get_name(), cell(&about));
    }
    let _ = writeln!(out, "\n## Options of every command\n");
    table(&mut out, command.get_arguments().filter(|argument| argument.is_global_set()));
    for sub in commands {
        section(&mut out, sub);
    }
    out
}

/// One command, and those below it.
fn section(out: &mut String, command: &Command) {
    let _ = writeln!(out, "\n## `{}`\n", command.get_bin_name().unwrap_or_default());
    let about = command.get_long_about().or(command.get_about());
    let _ = writeln!(out, "{}\n", sentence(&about.map(StyledStr::to_string).unwrap_or_default()));
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    let _ = writeln!(out, "```text\n{usage}\n```\n");
    table(out, command.get_arguments().filter(|argument| !argument.is_global_set()));
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        section(out, sub);
    }
}

/// Arguments, one a line.
fn table<'a>(out: &mut String, arguments: impl Iterator<Item = &'a Arg>) {
    let shown = |argument: &&Arg| {
        !argument.is_hide_set() && !matches!(argument.get_id().as_str(), "help" | "version")
    };
    let mut arguments = arguments.filter(shown).peekable();
    if arguments.peek().is_none() {
        return;
    }
    let _ = writeln!(out, "| argument | default | meaning |\n|---|---|---|");
    for argument in arguments {
        let help =
            argument.get_long_help().or(argument.get_help()).map(StyledStr::to_string).unwrap_or_default();
        let (help, said) = help.split_once(" [default: ").unwrap_or((&help, ""));
        let mut meaning = sentence(help);
        let takes_values = argument.get_action().takes_values();
        if takes_values && !argument.is_hide_possible_values_set() {
            let words = argument.get_possible_values();
            let words: Vec<String> = words.iter().map(|word| format!("`{}`", word.get_name())).collect();
            if !words.is_empty() {
                let _ = write!(meaning, " One of {}.", words.join(", "));
            }
        }
        if let Some(variable) = argument.get_env() {
            let _ = write!(meaning, " Also `{}` in the environment.", variable.to_string_lossy());
        }
        let values = argument.get_default_values().iter().filter(|_| takes_values);
        let mut defaults: Vec<String> =
            values.map(|value| format!("`{}`", value.to_string_lossy())).collect();
        defaults.extend(said.strip_suffix(']').map(str::to_owned));
        let _ = writeln!(out, "| {} | {} | {} |", name(argument), defaults.join(" "), cell(&meaning));
    }
}

/// How an argument is written.
fn name(argument: &Arg) -> String {
    let values: Vec<String> = if argument.get_action().takes_values() {
        let names = argument.get_value_names().unwrap_or_default();
        names.iter().map(|name| format!("<{name}>")).collect()
    } else {
        Vec::new()
    };
    let long = argument.get_long().map(|long| format!("--{long}"));
    let short = argument.get_short().map(|short| format!("-{short}"));
    let flags: Vec<String> = [short, long].into_iter().flatten().collect();
    let whole = format!("{} {}", flags.join(", "), values.join(" "));
    format!("`{}`", whole.trim())
}

/// Text with a full stop; clap takes it off the short ones.
fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() || text.ends_with(['.', '?']) { text.to_owned() } else { format!("{text}.") }
}

/// Text that stays in its cell.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// Written out so that a change shows in a review; `BLESS=1` writes it anew.
#[test]
fn the_reference_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/cli.md");
    let text = reference();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "{} is not current: run the tests with BLESS=1", path.display());
}
