//! The command line as clap sees it. Types only: what the flags mean is decided in the commands.

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;

/// Heading of the options that every command has.
const COMMON: &str = "Options of every command";

/// Fit, review and guard cost-quality policies for LLM calls.
///
/// Exit codes: 0 the answer is yes, 1 the answer is no (stale, infeasible, incomplete, check failed),
/// 2 could not run.
#[derive(Debug, Parser)]
#[command(
    name = "cascade",
    version,
    max_term_width = 80,
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
    #[arg(long, global = true, value_name = "PATH", value_hint = ValueHint::FilePath, help_heading = COMMON)]
    pub(crate) config: Option<PathBuf>,
    /// Form of what is printed.
    #[arg(long, global = true, value_enum, default_value_t = Format::Human, help_heading = COMMON)]
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
    /// Write a first cascade.toml, sample prompts and a CI job.
    ///
    /// Asks for what is not given where there is a terminal to ask on; otherwise takes the defaults. Nothing that exists is
    /// overwritten.
    Init(Init),
    /// Check configuration, logs and policies; say which families are possible and what collecting would cost.
    Check(Check),
    /// Ask every tier every prompt, grade the answers, and write an eval log.
    ///
    /// What is recorded is never asked again: an interrupted job goes on where it stopped when the same command is run again.
    /// Ctrl-C stops after the calls in flight; a second Ctrl-C stops at once.
    ///
    /// A prompt has id, input or messages, reference, grader (exact, contains, numeric, choice, regex), and may have
    /// options (choice), tolerance (numeric), tags, features, group, split, weight, session and turn.
    Collect(Collect),
    /// Find the best policy for a route and prove it on held-out rows.
    Fit(Fit),
    /// Fit a route and show everything about it as one HTML page; the policy file stays as it is.
    Report(Report),
    /// Run a policy over a log: quality, cost and share of each tier.
    Eval(Eval),
    /// Show what a policy does with one request: which plan, which stage, why, at what price.
    Explain(Explain),
    /// Print a JSON Schema for editors.
    Schema(Schema),
    /// Print completions for a shell.
    Completions(Completions),
}

/// `cascade init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Directory to write into.
    #[arg(default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) directory: PathBuf,
    /// Name of the first route [default: answer].
    #[arg(long, value_name = "NAME")]
    pub(crate) route: Option<String>,
    /// Wire format of the provider [default: openai].
    #[arg(long, value_enum)]
    pub(crate) api: Option<InitApi>,
    /// Address of the provider [default: that of the api].
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) base_url: Option<String>,
    /// Environment variable that holds the key; an empty one for a server without keys [default: that of the api].
    #[arg(long, value_name = "NAME")]
    pub(crate) api_key_env: Option<String>,
    /// A tier and its price in USD per million tokens, cheapest first; give it once for each tier.
    #[arg(long, value_name = "NAME=MODEL@INPUT/OUTPUT")]
    pub(crate) tier: Vec<String>,
    /// Take the defaults for everything that is not given.
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// Wire formats that `init` offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InitApi {
    /// OpenAI chat completions and every compatible server.
    Openai,
    /// Anthropic messages.
    Anthropic,
    /// Google generateContent.
    Gemini,
}

/// `cascade check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Routes to check [default: all].
    pub(crate) routes: Vec<String>,
    /// Warnings count as errors.
    #[arg(long, env = "CASCADE_STRICT", hide_env_values = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) strict: bool,
}

/// How a log is read.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReadLog {
    /// Take costs from tokens and the prices of the configuration, even where the log states them.
    #[arg(long)]
    pub(crate) reprice: bool,
    /// A single broken row is an error.
    #[arg(long, env = "CASCADE_STRICT", hide_env_values = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) strict: bool,
}

/// `cascade fit`.
#[derive(Debug, Args)]
pub(crate) struct Fit {
    /// Route to fit.
    pub(crate) route: String,
    /// Write nothing; fail if the committed policy is not what this fit gives.
    #[arg(long)]
    pub(crate) check: bool,
    /// How the log is read.
    #[command(flatten)]
    pub(crate) log: ReadLog,
    /// Most cuts listed for each pair of tiers in the JSON report.
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub(crate) max_points: usize,
    /// Once the report is made, fit thresholds on all rows; the figures stay those of the calibration fit.
    #[arg(long)]
    pub(crate) refit_on_all: bool,
    /// Threads to use [default: all cores]; the result does not depend on it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: Option<u16>,
}

/// `cascade report`.
#[derive(Debug, Args)]
pub(crate) struct Report {
    /// Route to report on.
    pub(crate) route: String,
    /// File to write.
    #[arg(long, short, value_name = "FILE", default_value = "report.html", value_hint = ValueHint::FilePath)]
    pub(crate) output: PathBuf,
    /// Directory to write each picture to as an SVG file of its own.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) svg: Option<PathBuf>,
    /// How the log is read.
    #[command(flatten)]
    pub(crate) log: ReadLog,
}

/// `cascade eval`.
#[derive(Debug, Args)]
pub(crate) struct Eval {
    /// Route whose policy is run.
    pub(crate) route: String,
    /// Policy to run [default: the route's].
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) policy: Option<PathBuf>,
    /// Log to run it on [default: the route's].
    #[arg(long = "on", value_name = "LOG", value_hint = ValueHint::FilePath)]
    pub(crate) logs: Vec<PathBuf>,
    /// Rows to run it on.
    #[arg(long, value_enum, default_value_t = Half::All)]
    pub(crate) split: Half,
    /// How the log is read.
    #[command(flatten)]
    pub(crate) log: ReadLog,
}

/// Rows of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Half {
    /// All rows.
    All,
    /// Rows the policy was chosen on.
    Calibration,
    /// Rows held out from choosing.
    Test,
}

/// `cascade explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Route whose policy is asked.
    pub(crate) route: String,
    /// Text of a request; `-` reads it from standard input.
    #[arg(required_unless_present = "row", conflicts_with = "row")]
    pub(crate) text: Option<String>,
    /// Id of a row of the route's log.
    #[arg(long, value_name = "ID")]
    pub(crate) row: Option<String>,
    /// A number the application knows of the request.
    #[arg(long, value_name = "NAME=NUMBER", conflicts_with = "row")]
    pub(crate) feature: Vec<String>,
    /// A label the application knows of the request.
    #[arg(long, value_name = "NAME=LABEL", conflicts_with = "row")]
    pub(crate) tag: Vec<String>,
    /// Policy to ask [default: the route's].
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) policy: Option<PathBuf>,
    /// Name the words of the prompt that moved the router.
    #[arg(long)]
    pub(crate) show_words: bool,
}

/// `cascade schema`.
#[derive(Debug, Args)]
pub(crate) struct Schema {
    /// What the schema is of.
    #[arg(value_enum, default_value_t = SchemaOf::Config)]
    pub(crate) of: SchemaOf,
}

/// Files that have a JSON Schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaOf {
    /// cascade.toml.
    Config,
}

/// `cascade completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// `cascade collect`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "one for each flag")]
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
