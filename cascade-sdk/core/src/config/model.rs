//! The valid configuration, after every rule was checked.

use super::api::Api;
use super::date::Date;
use super::embedding_settings::EmbeddingSettings;
use super::places::Places;
use super::runtime_settings::{Circuit, RuntimeSettings};
use super::signal_settings::SignalSettings;
use crate::money::{Price, Usd};
use std::time::Duration;

/// A whole valid `cascade.toml`, in the order in which people wrote it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// `[providers.*]`.
    pub providers: Vec<Provider>,
    /// `[tiers.*]`.
    pub tiers: Vec<Tier>,
    /// `[budgets.*]`.
    pub budgets: Vec<Budget>,
    /// `[routes.*]`.
    pub routes: Vec<Route>,
    /// Where each key stands, for findings that need more than this file (a stale policy, a missing log).
    pub places: Places,
}

impl Config {
    /// The tier of that name.
    pub fn tier(&self, name: &str) -> Option<&Tier> {
        self.tiers.iter().find(|tier| tier.name == name)
    }

    /// The provider of that name.
    pub fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.name == name)
    }

    /// The route of that name.
    pub fn route(&self, name: &str) -> Option<&Route> {
        self.routes.iter().find(|route| route.name == name)
    }

    /// The budget of that name.
    pub fn budget(&self, name: &str) -> Option<&Budget> {
        self.budgets.iter().find(|budget| budget.name == name)
    }
}

/// `[providers.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// The table's name.
    pub name: String,
    /// Wire format.
    pub api: Api,
    /// Base URL; the api's default where absent.
    pub base_url: Option<String>,
    /// Name of the environment variable that holds the key, never the key.
    pub api_key_env: Option<String>,
    /// Header that carries the key; the api's own where absent.
    pub api_key_header: Option<String>,
    /// Extra request headers, for gateways.
    pub headers: Vec<(String, String)>,
    /// Query parameters of every request.
    pub query: Vec<(String, String)>,
    /// For `openai`: what the server calls the longest output, where people say so.
    pub length_key: Option<LengthKey>,
    /// Plain `http` to a host that is not loopback is refused unless this is set.
    pub allow_http: bool,
    /// For `replay`: a log of its own instead of the route's.
    pub log: Vec<String>,
    /// Signals that a provider of the application's own returns with its answers.
    pub signals: Vec<String>,
    /// Most requests in flight at once during `collect`.
    pub max_concurrency: Option<u32>,
    /// Most requests begun in a minute during `collect`.
    pub requests_per_minute: Option<u32>,
}

/// What a server that speaks the format of OpenAI calls the longest output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LengthKey {
    /// `max_tokens`
    MaxTokens,
    /// `max_completion_tokens`
    MaxCompletionTokens,
}

impl LengthKey {
    /// Its name in a request.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }

    /// The key of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::MaxTokens, Self::MaxCompletionTokens].into_iter().find(|key| key.name() == name)
    }
}

/// `[tiers.NAME]`: one model at one price.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// The table's name.
    pub name: String,
    /// Name of its provider.
    pub provider: String,
    /// The model as the provider calls it.
    pub model: String,
    /// What it costs.
    pub price: Price,
    /// Day on which the price was last compared with the provider's list.
    pub price_as_of: Option<Date>,
    /// Day from which the model is no longer served.
    pub retires: Option<Date>,
    /// Longest input in tokens.
    pub max_input_tokens: Option<u64>,
    /// Longest output in tokens; sent with each request.
    pub max_output_tokens: Option<u64>,
    /// Longest wait for one call.
    pub timeout: Option<Duration>,
    /// Whether the model gives log-probabilities; where it does not, none are asked for.
    pub log_probabilities: bool,
    /// When it is left alone because its server is failing.
    pub circuit: Circuit,
    /// Whether the model can be held to a JSON Schema; where it cannot, the schema stands in the system prompt.
    pub json_schema: bool,
    /// Whether the model calls tools.
    pub tools: bool,
    /// Whether the model takes images.
    pub images: bool,
    /// Whether the model takes a temperature; where it does not, none is sent.
    pub takes_temperature: bool,
    /// How much the model reasons before it answers, in the api's word.
    pub reasoning_effort: Option<String>,
}

/// `[budgets.NAME]`: spending that must not be exceeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The table's name.
    pub name: String,
    /// Most that may be spent in one window.
    pub limit: Usd,
    /// Length of a window; windows start at multiples of it since 1970-01-01 UTC.
    pub window: Duration,
    /// What happens to a request that does not fit.
    pub on_exceeded: OnExceeded,
    /// Who has the limit.
    pub per: BudgetScope,
    /// Name of a larger budget that its requests must fit into as well.
    pub within: Option<String>,
}

/// Who has the limit of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BudgetScope {
    /// All routes that name the budget, together.
    #[default]
    All,
    /// Each route that names it.
    Route,
    /// Each tenant: a request without one is refused.
    Tenant,
}

/// What a budget does with a request that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnExceeded {
    /// Refuse it.
    Reject,
    /// Answer with the cheapest tier that still fits, else refuse.
    Cheapest,
}

/// `[routes.NAME]`: a named kind of call.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The table's name.
    pub name: String,
    /// Candidate tiers, as people ordered them.
    pub tiers: Vec<String>,
    /// Eval logs: paths or globs relative to the configuration file.
    pub log: Vec<String>,
    /// Policy file relative to the configuration file; `policies/<route>.toml` where absent.
    pub policy: String,
    /// Name of its budget.
    pub budget: Option<String>,
    /// What is to be optimised; absent only for one tier or before the first fit.
    pub objective: Option<Objective>,
    /// How it is fitted.
    pub fit: FitSettings,
    /// Everything that shapes a request except its messages.
    pub request: RequestSettings,
    /// Keeps slices that lose too much on a reference tier.
    pub guard: Option<GuardSettings>,
    /// Calls a day, to state comparisons in dollars a month.
    pub calls_per_day: Option<f64>,
    /// Tier that answers everything until a policy exists.
    pub until_fitted: Option<String>,
    /// An embedding of each request that the router may read.
    pub embedding: Option<EmbeddingSettings>,
    /// Signals that need more than the answer itself.
    pub signals: Vec<SignalSettings>,
    /// What the client does beside applying the policy.
    pub runtime: RuntimeSettings,
}

/// `[routes.R.guard]`: slices that lose more than `max_loss` against a reference tier are kept on it.
#[derive(Clone, Debug, PartialEq)]
pub struct GuardSettings {
    /// The tag whose labels are the slices.
    pub by: String,
    /// The loss of mean quality that is tolerated.
    pub max_loss: f64,
    /// Calibration rows that a slice needs to be judged.
    pub min_rows: u64,
    /// The reference tier; the objective's, else the best single tier that keeps the constraints.
    pub tier: Option<String>,
}

/// `[routes.R.objective]`: one goal, constraints on latency, and how sure to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// What is maximised or bounded.
    pub goal: Goal,
    /// Upper bound on the 95th percentile of path latency, in milliseconds.
    pub max_latency_ms_p95: Option<f64>,
    /// Upper bound on the share of dear requests.
    pub max_cost_tail: Option<CostTail>,
    /// Confidence with which the constraint is to hold on fresh data; `None` estimates it only.
    pub confidence: Option<f64>,
}

impl Objective {
    /// True if it bounds a tail: latency or the cost of single requests.
    pub fn limits_a_tail(&self) -> bool {
        self.max_latency_ms_p95.is_some() || self.max_cost_tail.is_some()
    }
}

/// At most `share` of requests may cost more than `usd`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CostTail {
    /// The bound on the cost of one request.
    pub usd: Usd,
    /// The share of requests that may cost more.
    pub share: f64,
}

/// The four forms of the same search (MATH.md 2).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Goal {
    /// Best quality at a mean cost per call of at most this.
    MaxCost(Usd),
    /// Least cost at a mean quality of at least this.
    MinQuality(f64),
    /// Least cost at a mean quality of at most `by` below that of the tier `versus`.
    MaxQualityLoss {
        /// Name of the reference tier.
        versus: String,
        /// Loss allowed, in quality.
        by: f64,
    },
    /// Most quality − λ · cost, with λ in quality per US dollar.
    ShadowPrice(f64),
    /// Best quality under bounds on tails alone.
    MaxQuality,
}

impl Goal {
    /// The key of the configuration that states it.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::MaxCost(_) => "max_cost_usd",
            Self::MinQuality(_) => "min_quality",
            Self::MaxQualityLoss { .. } => "max_quality_loss",
            Self::ShadowPrice(_) => "shadow_price",
            Self::MaxQuality => "max_quality",
        }
    }
}

/// A family of policies (DESIGN.md 2), from the simplest on: selection breaks ties in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Family {
    /// One model for everything.
    Single,
    /// A two-stage cascade.
    Pair,
    /// A model chosen from the prompt.
    Router,
    /// A cascade of up to `max_stages` stages.
    Chain,
    /// The cascade of all tiers that are not dominated; reported, never selected ahead of `Chain`.
    FullChain,
    /// A plan chosen from the prompt.
    RoutedCascade,
}

impl Family {
    /// Every family, in order.
    pub const ALL: [Self; 6] =
        [Self::Single, Self::Pair, Self::Router, Self::Chain, Self::FullChain, Self::RoutedCascade];

    /// Its name in files and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Pair => "pair",
            Self::Router => "router",
            Self::Chain => "chain",
            Self::FullChain => "full_chain",
            Self::RoutedCascade => "routed_cascade",
        }
    }

    /// The family of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }
}

/// `[routes.R.fit]`.
#[derive(Clone, Debug, PartialEq)]
pub struct FitSettings {
    /// Families to try.
    pub families: Vec<Family>,
    /// Longest chain, in stages.
    pub max_stages: usize,
    /// Share of rows kept for the report where the log has no `split`.
    pub held_out: f64,
    /// The gain in quality worth deciding on.
    pub smallest_gain: f64,
    /// What an answer "don't know" loses, where a wrong one loses 1; `None` never abstains.
    pub abstain_loss: Option<f64>,
    /// Whether a policy may be a mixture of two operating points.
    pub mixtures: bool,
    /// Level of the tests for drift together.
    pub drift_alpha: f64,
    /// Seed of every random choice.
    pub seed: u64,
}

impl Default for FitSettings {
    fn default() -> Self {
        Self {
            families: Family::ALL.to_vec(),
            max_stages: 3,
            held_out: 0.3,
            smallest_gain: 0.01,
            abstain_loss: None,
            mixtures: false,
            drift_alpha: 0.05,
            seed: 7,
        }
    }
}

/// `[routes.R.request]`: the same for `collect` and the client.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct RequestSettings {
    /// System prompt.
    pub system: Option<String>,
    /// Sampling temperature.
    pub temperature: Option<f64>,
    /// Alternatives asked for per token; `None` asks for no log-probabilities.
    pub top_logprobs: Option<u8>,
    /// Sampling seed sent to providers that take one.
    pub seed: Option<u64>,
    /// Whether requests may define tools.
    pub tools: bool,
    /// Form of the answer.
    pub answer: AnswerForm,
}

/// What an answer is.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AnswerForm {
    /// Plain text.
    #[default]
    Text,
    /// JSON that follows the schema in this file (relative to the configuration file).
    Schema {
        /// Path as written.
        path: String,
    },
}
