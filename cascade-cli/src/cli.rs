//! The command line as clap sees it. Types only: what the flags mean is decided in the commands.

use crate::collect::grade::GraderName;
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
    /// As human, with findings as annotations of GitHub Actions.
    Github,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a first cascade.toml, sample prompts and a CI job.
    ///
    /// Asks for what is not given where there is a terminal to ask on; otherwise takes the defaults. Nothing that exists is
    /// overwritten.
    Init(Init),
    /// Check configuration, logs, policies and prices; say which families are possible and whether the log can carry them.
    ///
    /// For CI: exit code 0 if all is well, 1 if not. `--format github` writes annotations.
    Check(Check),
    /// Ask every tier every prompt, grade the answers, and write an eval log.
    ///
    /// What is recorded is never asked again: an interrupted job goes on where it stopped when the same command is run again.
    /// Ctrl-C stops after the calls in flight; a second Ctrl-C stops at once.
    ///
    /// A prompt has id, input or messages, reference, grader (exact, contains, numeric, choice, regex, json_schema,
    /// command, judge, judge_pairwise), and may have options (choice), tolerance (numeric), samples, tags, features, group,
    /// split, weight, session and turn. In CSV, options are separated by `|`; columns tag.NAME and feature.NAME.
    Collect(Collect),
    /// Ask a provider for the embeddings that rows of a route's log lack, and write them into the log.
    ///
    /// For routes whose [routes.ROUTE.embedding] names a provider. Rows that have a vector of the route's model and length
    /// stay as they are. Vectors are kept in a journal as they come; Ctrl-C stops after the calls in flight, and the same
    /// command goes on.
    Embed(Embed),
    /// Find the best policy for a route and prove it on held-out rows.
    Fit(Fit),
    /// Fit a route and show everything about it as one HTML page; the policy file stays as it is.
    Report(Report),
    /// Run a policy over a log: quality, cost and share of each tier.
    Eval(Eval),
    /// Show what a policy does with one request: which plan, which stage, why, at what price. Or what a message means.
    Explain(Explain),
    /// Look at prices: how old they are, which models retire or answered, and what the log would cost at them.
    ///
    /// Edit the prices in cascade.toml, then `cascade price ROUTE --refit` says how the policy would change, without
    /// asking any model again.
    Price(Price),
    /// Compare two versions of a policy: rules in words, quality, cost, shares, and which rows change tier.
    ///
    /// Two files: `cascade diff old.toml new.toml`. Revisions: `cascade diff HEAD~3 -- ROUTE` compares with the file as it
    /// is now, `cascade diff v1 v2 -- ROUTE` two revisions; without routes, all.
    ///
    /// In git: put `policies/*.toml diff=cascade` into .gitattributes, then
    /// `git config diff.cascade.command 'cascade diff'`; or, to keep the lines of git,
    /// `git config diff.cascade.textconv 'cascade diff --textconv'`.
    Diff(Diff),
    /// Turn a log of another tool, or a decision log, into an eval log.
    ///
    /// routerbench: wide tables of RouterBench, .csv or .parquet. lm-eval: sample logs of lm-evaluation-harness, each with
    /// --tier NAME=FILE. promptfoo: results as JSON. table: any .csv or .parquet with --map. decisions: what a client
    /// logged; only requests that were explored on all tiers, and scored, become rows, since all others were seen by the
    /// dear tier only where the policy escalated.
    Import(ImportLog),
    /// Print a JSON Schema of the configuration, of policies or of eval logs, for editors and other tools.
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
    /// Days after which a price is too old [default: 180]; once given, a price without a day is a warning too.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) max_price_age: Option<i64>,
}

/// `cascade price`.
#[derive(Debug, Args)]
pub(crate) struct Price {
    /// Route whose tiers are looked at.
    pub(crate) route: String,
    /// Days after which a price is too old [default: 180]; once given, a price without a day is a warning too.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) max_age: Option<i64>,
    /// Fit the log at these prices, in memory, and say how the policy would change.
    #[arg(long)]
    pub(crate) refit: bool,
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

/// `cascade embed`.
#[derive(Debug, Args)]
pub(crate) struct Embed {
    /// Route whose log is completed.
    pub(crate) route: String,
    /// Say what would be asked and what it could cost, and ask nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Most US dollars this job may cost, interrupted runs included.
    #[arg(long, value_name = "USD")]
    pub(crate) max_spend: Option<String>,
    /// Most calls in flight at once [default: the provider's max_concurrency, else 4].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) concurrency: Option<u32>,
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
    /// Also fit on parts of the calibration rows and say what more rows would buy; takes about three times as long.
    #[arg(long)]
    pub(crate) learning_curve: bool,
    /// Unlabelled production requests as JSON lines (`input` or `messages`, `tags`, `features`): rows are weighed by how
    /// often requests like them come.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) traffic: Option<PathBuf>,
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
    /// Unlabelled production requests, where the policy was fitted with them: rows are weighed as `fit --traffic` does.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) traffic: Option<PathBuf>,
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
    /// Log to run it on, whose rows may lack grades [default: the route's].
    #[arg(long = "on", value_name = "LOG", value_hint = ValueHint::FilePath)]
    pub(crate) logs: Vec<PathBuf>,
    /// Do not compare the log with that of the fit.
    #[arg(long)]
    pub(crate) no_drift: bool,
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
    /// Route whose policy is asked, or the code of a message such as config::unknown-key.
    #[arg(required_unless_present = "codes", value_name = "ROUTE|CODE")]
    pub(crate) subject: Option<String>,
    /// Text of a request; `-` reads it from standard input.
    #[arg(conflicts_with = "row")]
    pub(crate) text: Option<String>,
    /// List every code that a message can carry.
    #[arg(long, conflicts_with_all = ["subject", "text", "row"])]
    pub(crate) codes: bool,
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
    /// Ask the provider of [routes.ROUTE.embedding] for the embedding of the text, where the policy reads one: it costs money.
    #[arg(long, requires = "text")]
    pub(crate) embed: bool,
    /// Name the words of the prompt that moved the router.
    #[arg(long)]
    pub(crate) show_words: bool,
}

/// `cascade import`.
#[derive(Debug, Args)]
pub(crate) struct ImportLog {
    /// What the files are.
    #[arg(value_enum)]
    pub(crate) from: ImportFormat,
    /// Files to read.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// Eval log to write.
    #[arg(long, value_name = "LOG", value_hint = ValueHint::FilePath)]
    pub(crate) out: PathBuf,
    /// Replace the log if it exists.
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Name of a tier for a model (routerbench), provider (promptfoo) or file (lm-eval); with routerbench and promptfoo,
    /// models that are not named are left out once one is.
    #[arg(long, value_name = "NAME=WHAT")]
    pub(crate) tier: Vec<String>,
    /// Column of a table: `--map id=question_id`, `--map quality=score`; for wide tables with the tier in front,
    /// `--map small:quality=score_small`. Columns that are named as in a CSV log need no mention.
    #[arg(long, value_name = "WHAT=COLUMN")]
    pub(crate) map: Vec<String>,
    /// lm-eval: the metric that is the quality [default: acc, exact_match, …, the first that a sample has].
    #[arg(long, value_name = "NAME")]
    pub(crate) metric: Option<String>,
    /// lm-eval: take samples of this filter only.
    #[arg(long, value_name = "NAME")]
    pub(crate) filter: Option<String>,
    /// decisions: take rows of this route only.
    #[arg(long, value_name = "ROUTE")]
    pub(crate) route: Option<String>,
    /// Estimate token counts from the length of texts where nothing states them.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) bytes_per_token: Option<f64>,
}

/// Logs that can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImportFormat {
    /// Wide tables of RouterBench.
    Routerbench,
    /// Sample logs of lm-evaluation-harness.
    LmEval,
    /// Results of promptfoo.
    Promptfoo,
    /// Any table, with a map of its columns.
    Table,
    /// Decision logs of a client.
    Decisions,
}

/// `cascade diff`.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// Two policy files, or one or two git revisions [default: HEAD].
    #[arg(value_name = "VERSION", value_hint = ValueHint::FilePath)]
    pub(crate) versions: Vec<String>,
    /// Routes whose policies are compared between revisions [default: all].
    #[arg(last = true, value_name = "ROUTE")]
    pub(crate) routes: Vec<String>,
    /// Print one policy in words, as git's textconv.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["versions", "routes"], value_hint = ValueHint::FilePath)]
    pub(crate) textconv: Option<PathBuf>,
    /// Exit with 1 if the policies differ.
    #[arg(long)]
    pub(crate) exit_code: bool,
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
    /// Policy files, read as JSON.
    Policy,
    /// One line of an eval log.
    Log,
}

/// `cascade completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

fn grader(name: &str) -> Result<GraderName, String> {
    GraderName::parse(name)
        .ok_or_else(|| format!("the graders are {}", GraderName::ALL.map(GraderName::as_str).join(", ")))
}

/// `cascade collect`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "one for each flag")]
pub(crate) struct Collect {
    /// Route whose requests are sent.
    pub(crate) route: String,
    /// Prompts with reference answers: JSON Lines, or a .csv file with the same names as columns.
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
    /// Ask again where a tier ran and failed, and compute again the signals that could not be had.
    #[arg(long)]
    pub(crate) retry_failed: bool,
    /// Grade recorded answers again, by the references and graders that stand in the prompts now.
    #[arg(long)]
    pub(crate) regrade: bool,
    /// Keep the log-probability of each token in the log; a route whose early escalation is fitted always does.
    #[arg(long)]
    pub(crate) keep_logprobs: bool,
    /// Program in the place of the application's verifier, for the signal NAME: reads JSON (route, tier, id, input, text,
    /// answer) from standard input, prints a number, or null where it cannot tell.
    #[arg(long, value_name = "NAME=COMMAND")]
    pub(crate) verifier: Vec<String>,
    /// Compute this signal of every recorded answer again, because its rubric, its samples or its program changed; its old
    /// values stay until all new ones are there.
    #[arg(long, value_name = "NAME", conflicts_with = "regrade")]
    pub(crate) replace_signal: Option<String>,
    /// Ask this tier everything again, because its model changed; its old answers stay until all new ones are there.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["tiers", "regrade"])]
    pub(crate) replace_tier: Option<String>,
    /// Ask each prompt so often; samples of one prompt share a group [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) samples: Option<u32>,
    /// Grader of prompts that name none.
    #[arg(long, value_name = "NAME", value_parser = grader)]
    pub(crate) grader: Option<GraderName>,
    /// Program for the grader `command`: reads JSON (id, tier, input or messages, reference, answer) from standard
    /// input, prints a number from 0 to 1.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) grader_command: Option<String>,
    /// Longest run of the grading program in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    pub(crate) grader_timeout_s: f64,
    /// Most memory of the grading program in megabytes; not enforced on Windows.
    #[arg(long, value_name = "MB", default_value_t = 2048)]
    pub(crate) grader_memory_mb: u64,
    /// Tier that judges for the graders `judge` (a score) and `judge_pairwise` (better than the reference, asked in
    /// both orders).
    #[arg(long, value_name = "TIER", requires = "rubric")]
    pub(crate) judge: Option<String>,
    /// What a good answer is, for the judge.
    #[arg(long, value_name = "FILE", requires = "judge", value_hint = ValueHint::FilePath)]
    pub(crate) rubric: Option<PathBuf>,
}
