//! The command line as clap sees it. Types only: what the flags mean is decided in [`crate::args`] and the commands.

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;

/// Fit, review and guard cost-quality policies for LLM calls.
///
/// Exit codes: 0 the answer is yes, 1 the answer is no (stale, infeasible, incomplete, check failed),
/// 2 could not run.
#[derive(Debug, Parser)]
#[command(
    name = "cascade",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Configuration file [default: the nearest cascade.toml, from here upwards].
    #[arg(long, global = true, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Form of what is printed.
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// Form of what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Text for people.
    Human,
    /// One JSON object on standard output; errors as JSON on standard error.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Ask every tier every prompt, grade the answers, and write an eval log.
    Collect(Collect),
}

/// `cascade collect`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "one for each flag")]
#[command(long_about = "Ask every tier every prompt, grade the answers, and write an eval log.

What is recorded is never asked again: an interrupted job goes on where it stopped when the same command \
is run again. Ctrl-C stops after the calls in flight; a second Ctrl-C stops at once.")]
pub(crate) struct Collect {
    /// Route whose requests are sent.
    pub(crate) route: String,
    /// Prompts with reference answers, one JSON object a line.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) prompts: PathBuf,
    /// Tiers to ask [default: all of the route].
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(crate) tiers: Vec<String>,
    /// Eval log to write or add to [default: the route's only log file].
    #[arg(long, value_name = "LOG", value_hint = ValueHint::FilePath)]
    pub(crate) out: Option<PathBuf>,
    /// Most calls in flight at once for each tier [default: the provider's max_concurrency, else 4].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) concurrency: Option<u32>,
    /// Most US dollars this job may cost, interrupted runs included.
    #[arg(long, value_name = "USD")]
    pub(crate) max_spend: Option<String>,
    /// Say what would be asked and what it could cost, and ask nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Ask again where a tier ran and failed.
    #[arg(long)]
    pub(crate) retry_failed: bool,
    /// Grade recorded answers again, by the references and graders that stand in the prompts now.
    #[arg(long)]
    pub(crate) regrade: bool,
    /// Keep the log-probability of each token in the log.
    #[arg(long)]
    pub(crate) keep_logprobs: bool,
}
