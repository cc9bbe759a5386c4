//! Every key of `cascade.toml`, once: the reader, the JSON Schema and the reference are made from this table.

/// One key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Key {
    /// Dotted path; `*` stands for a name that people choose.
    pub path: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// Whether it must be there.
    pub need: Need,
    /// Unit of the value; empty where there is none.
    pub unit: &'static str,
    /// What it does, as one sentence.
    pub meaning: &'static str,
}

/// Whether a key must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// An error without it.
    Required,
    /// Nothing without it.
    Optional,
    /// This, in TOML, without it.
    Default(&'static str),
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A table with the keys listed below it.
    Table,
    /// A table whose keys are names that people choose.
    Named,
    /// A string.
    Text,
    /// A list of strings, not empty and without repetition.
    Texts,
    /// A table of strings.
    TextMap,
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Whole {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A number.
    Number(Range),
    /// An amount of money above zero, read from its digits.
    Money,
    /// An amount of money from zero on, read from its digits.
    Price,
    /// US dollars per million tokens from zero on, read from its digits; at most six decimals.
    TokenPrice,
    /// One of these strings.
    Choice(&'static [&'static str]),
    /// A list of these strings, not empty and without repetition.
    Choices(&'static [&'static str]),
    /// A length of time such as `30s`, `15m`, `1h`, `1d`.
    Window,
    /// A day such as `2026-11-01`.
    Date,
    /// `"text"` or `{ schema = "path" }`.
    Answer,
}

/// Numbers that a key accepts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Whether the ends themselves are accepted.
    pub closed: bool,
}

impl Range {
    const fn open(low: f64, high: f64) -> Self {
        Self { low, high, closed: false }
    }

    const fn closed(low: f64, high: f64) -> Self {
        Self { low, high, closed: true }
    }

    /// True if the number lies in the range.
    pub fn contains(self, number: f64) -> bool {
        if self.closed {
            (self.low..=self.high).contains(&number)
        } else {
            number > self.low && number < self.high
        }
    }

    /// Completes `must be …`.
    pub fn describe(self) -> String {
        let Self { low, high, closed } = self;
        match (high.is_finite(), closed) {
            (true, true) => format!("between {low} and {high}"),
            (true, false) => format!("strictly between {low} and {high}"),
            (false, true) => format!("at least {low}"),
            (false, false) => format!("greater than {low}"),
        }
    }
}

const POSITIVE: Range = Range::open(0.0, f64::INFINITY);
const TOKENS: Kind = Kind::Whole { min: 1, max: 1_000_000_000 };
/// The seed's upper end is TOML's largest integer.
const SEED: Kind = Kind::Whole { min: 0, max: i64::MAX as u64 };
const PER_MILLION: &str = "USD per million tokens";

const fn key(path: &'static str, kind: Kind, need: Need, unit: &'static str, meaning: &'static str) -> Key {
    Key { path, kind, need, unit, meaning }
}

use Kind::{
    Answer, Boolean, Choice, Choices, Date, Money, Named, Number, Price, Table, Text, TextMap, Texts,
    TokenPrice, Whole, Window,
};
use Need::{Default, Optional, Required};

/// The table. Parents stand before their children.
pub const KEYS: &[Key] = &[
    key("schema", Whole { min: 1, max: 1 }, Required, "", "Version of this file's format."),
    key("providers", Named, Required, "", "Servers that answer requests."),
    key("providers.*", Table, Optional, "", "One server."),
    key(
        "providers.*.api",
        Choice(&["openai", "anthropic", "gemini", "replay"]),
        Required,
        "",
        "Wire format; `openai` fits every compatible server, `replay` answers from an eval log, offline.",
    ),
    key("providers.*.base_url", Text, Optional, "", "Where requests go; each api has its default."),
    key(
        "providers.*.api_key_env",
        Text,
        Optional,
        "",
        "Name of the environment variable that holds the key, never the key.",
    ),
    key(
        "providers.*.api_key_header",
        Text,
        Optional,
        "",
        "Header that carries the key, such as `api-key` for Azure; each api has its default. In `authorization` it stands after `Bearer`.",
    ),
    key("providers.*.headers", TextMap, Optional, "", "Extra request headers, for gateways."),
    key(
        "providers.*.query",
        TextMap,
        Optional,
        "",
        "Query parameters of every request, such as `api-version` for Azure.",
    ),
    key(
        "providers.*.length_key",
        Choice(&["max_tokens", "max_completion_tokens"]),
        Optional,
        "",
        "For `openai`: what the server calls the longest output. OpenAI and Azure get the new name and others the old one where absent.",
    ),
    key(
        "providers.*.allow_http",
        Boolean,
        Default("false"),
        "",
        "Allows plain `http` to a host that is not this machine.",
    ),
    key(
        "providers.*.log",
        Texts,
        Optional,
        "",
        "For `replay`: eval logs of its own instead of the route's; paths or globs relative to this file.",
    ),
    key(
        "providers.*.max_concurrency",
        Whole { min: 1, max: 10_000 },
        Optional,
        "requests",
        "Most requests in flight at once while collecting.",
    ),
    key(
        "providers.*.requests_per_minute",
        Whole { min: 1, max: 1_000_000 },
        Optional,
        "requests",
        "Most requests begun in a minute while collecting, evenly spaced.",
    ),
    key("tiers", Named, Required, "", "Models that routes choose from."),
    key("tiers.*", Table, Optional, "", "One model at one price."),
    key("tiers.*.provider", Text, Required, "", "Name of the provider that serves it."),
    key("tiers.*.model", Text, Required, "", "The model, as the provider calls it."),
    key("tiers.*.price", Table, Required, "", "What the model costs; zeros for a model of your own."),
    key("tiers.*.price.input", TokenPrice, Required, PER_MILLION, "Input tokens."),
    key(
        "tiers.*.price.output",
        TokenPrice,
        Required,
        PER_MILLION,
        "Output tokens, hidden reasoning included.",
    ),
    key(
        "tiers.*.price.cached_input",
        TokenPrice,
        Optional,
        PER_MILLION,
        "Input read from the provider's cache; as `input` where absent.",
    ),
    key(
        "tiers.*.price.cache_write",
        TokenPrice,
        Optional,
        PER_MILLION,
        "Input written to the provider's cache; as `input` where absent.",
    ),
    key("tiers.*.price.per_request", Price, Default("0.0"), "USD", "Charged once a request."),
    key("tiers.*.price.batch", Table, Optional, "", "Rates of the provider's batch endpoint."),
    key("tiers.*.price.batch.input", TokenPrice, Required, PER_MILLION, "Input tokens in a batch."),
    key("tiers.*.price.batch.output", TokenPrice, Required, PER_MILLION, "Output tokens in a batch."),
    key("tiers.*.price.batch.cached_input", TokenPrice, Optional, PER_MILLION, "Cached input in a batch."),
    key("tiers.*.price.batch.cache_write", TokenPrice, Optional, PER_MILLION, "Cache writes in a batch."),
    key(
        "tiers.*.price.above_tokens",
        Table,
        Optional,
        "",
        "Rates for the whole of a request whose input is longer than a number of tokens.",
    ),
    key("tiers.*.price.above_tokens.tokens", TOKENS, Required, "tokens", "Longest input at ordinary rates."),
    key("tiers.*.price.above_tokens.input", TokenPrice, Required, PER_MILLION, "Input tokens beyond it."),
    key("tiers.*.price.above_tokens.output", TokenPrice, Required, PER_MILLION, "Output tokens beyond it."),
    key(
        "tiers.*.price.above_tokens.cached_input",
        TokenPrice,
        Optional,
        PER_MILLION,
        "Cached input beyond it.",
    ),
    key(
        "tiers.*.price.above_tokens.cache_write",
        TokenPrice,
        Optional,
        PER_MILLION,
        "Cache writes beyond it.",
    ),
    key(
        "tiers.*.price_as_of",
        Date,
        Optional,
        "",
        "Day on which the price was last compared with the provider's list; `cascade check` warns when it is old.",
    ),
    key(
        "tiers.*.retires",
        Date,
        Optional,
        "",
        "Day from which the provider no longer serves the model; `cascade check` warns before it.",
    ),
    key("tiers.*.max_input_tokens", TOKENS, Optional, "tokens", "Longest input the model takes."),
    key(
        "tiers.*.max_output_tokens",
        TOKENS,
        Optional,
        "tokens",
        "Longest output; sent with each request. A budget needs it to bound a call's cost in advance.",
    ),
    key(
        "tiers.*.timeout_s",
        Number(Range::open(0.0, 86_400.0)),
        Optional,
        "seconds",
        "Longest wait for one call.",
    ),
    key(
        "tiers.*.log_probabilities",
        Boolean,
        Optional,
        "",
        "Whether the model gives log-probabilities; what its provider's api gives where absent.",
    ),
    key(
        "tiers.*.circuit",
        Table,
        Optional,
        "",
        "When the model is left alone because its server is failing.",
    ),
    key(
        "tiers.*.circuit.failures",
        Whole { min: 0, max: 1_000 },
        Default("10"),
        "calls",
        "Failed calls in a row after which it is not asked for a while; 0 never stops asking.",
    ),
    key(
        "tiers.*.circuit.open_s",
        Number(Range::open(0.0, 86_400.0)),
        Default("10.0"),
        "seconds",
        "How long it is left alone before one call tries it again.",
    ),
    key(
        "tiers.*.json_schema",
        Boolean,
        Default("true"),
        "",
        "Whether the model can be held to a JSON Schema; without it the schema stands in the system prompt.",
    ),
    key(
        "tiers.*.tools",
        Boolean,
        Optional,
        "",
        "Whether the model calls tools; what its provider's api takes where absent.",
    ),
    key(
        "tiers.*.images",
        Boolean,
        Optional,
        "",
        "Whether the model takes images; what its provider's api takes where absent.",
    ),
    key(
        "tiers.*.takes_temperature",
        Boolean,
        Default("true"),
        "",
        "Whether the model takes a temperature; many that reason refuse one, and none is sent to them.",
    ),
    key(
        "tiers.*.reasoning_effort",
        Choice(&super::api::EFFORTS),
        Optional,
        "",
        "How much the model reasons before it answers; the model's own default where absent.",
    ),
    key("budgets", Named, Optional, "", "Spending that must not be exceeded."),
    key("budgets.*", Table, Optional, "", "One budget."),
    key("budgets.*.limit_usd", Money, Required, "USD", "Most that may be spent in one window."),
    key(
        "budgets.*.window",
        Window,
        Required,
        "s, m, h or d",
        "Length of a window; windows start at multiples of it since 1970-01-01 UTC.",
    ),
    key(
        "budgets.*.on_exceeded",
        Choice(&["reject", "cheapest"]),
        Default("\"reject\""),
        "",
        "What happens to a request that does not fit: refuse it, or answer with the cheapest tier that still fits.",
    ),
    key(
        "budgets.*.per",
        Choice(&["all", "route", "tenant"]),
        Default("\"all\""),
        "",
        "Who has the limit: all routes that name the budget together, each route, or each tenant.",
    ),
    key(
        "budgets.*.within",
        Text,
        Optional,
        "",
        "Name of a larger budget that its requests must fit into as well.",
    ),
    key("routes", Named, Required, "", "Named kinds of call."),
    key("routes.*", Table, Optional, "", "One kind of call."),
    key("routes.*.tiers", Texts, Required, "", "Tiers to choose from."),
    key(
        "routes.*.log",
        Texts,
        Optional,
        "",
        "Eval logs (.jsonl, .jsonl.gz, .csv, .parquet): paths or globs relative to this file.",
    ),
    key("routes.*.policy", Text, Optional, "", "The policy file; `policies/<route>.toml` where absent."),
    key("routes.*.budget", Text, Optional, "", "Name of the budget that pays for it."),
    key(
        "routes.*.until_fitted",
        Text,
        Optional,
        "",
        "Tier that answers everything until a policy exists; an error afterwards.",
    ),
    key(
        "routes.*.objective",
        Table,
        Optional,
        "",
        "What is optimised: exactly one of the first four, with or without bounds on tails; bounds alone maximise quality.",
    ),
    key("routes.*.objective.max_cost_usd", Money, Optional, "USD a call", "Best quality at this mean cost."),
    key(
        "routes.*.objective.min_quality",
        Number(Range::closed(0.0, 1.0)),
        Optional,
        "quality",
        "Least cost at this mean quality.",
    ),
    key(
        "routes.*.objective.max_quality_loss",
        Table,
        Optional,
        "",
        "Least cost at a mean quality not far below a tier's.",
    ),
    key("routes.*.objective.max_quality_loss.versus", Text, Required, "", "The tier that is compared with."),
    key(
        "routes.*.objective.max_quality_loss.by",
        Number(Range::closed(0.0, 1.0)),
        Required,
        "quality",
        "The loss allowed.",
    ),
    key(
        "routes.*.objective.shadow_price",
        Number(POSITIVE),
        Optional,
        "quality per USD",
        "Most quality − shadow price · cost.",
    ),
    key(
        "routes.*.objective.max_latency_ms_p95",
        Number(POSITIVE),
        Optional,
        "milliseconds",
        "Upper bound on the 95th percentile of the time a request takes, summed over the tiers asked. Latencies come from \
         the log, so they are without the load of production.",
    ),
    key(
        "routes.*.objective.max_cost_tail",
        Table,
        Optional,
        "",
        "Upper bound on how often a single request is dear.",
    ),
    key(
        "routes.*.objective.max_cost_tail.usd",
        Money,
        Required,
        "USD a request",
        "What counts as dear: more than this.",
    ),
    key(
        "routes.*.objective.max_cost_tail.share",
        Number(Range::open(0.0, 1.0)),
        Required,
        "share of requests",
        "The share of requests that may be dear.",
    ),
    key(
        "routes.*.objective.confidence",
        Number(Range::open(0.0, 1.0)),
        Optional,
        "probability",
        "Certify the constraint on fresh data with this confidence instead of only estimating it.",
    ),
    key(
        "routes.*.guard",
        Table,
        Optional,
        "",
        "Keeps slices of requests that would lose too much on a reference tier.",
    ),
    key(
        "routes.*.guard.by",
        Text,
        Required,
        "",
        "The tag whose labels are the slices; every request must have it.",
    ),
    key(
        "routes.*.guard.max_loss",
        Number(Range::closed(0.0, 1.0)),
        Required,
        "quality",
        "A slice whose loss against the reference tier is larger, and beyond doubt, is kept on that tier.",
    ),
    key(
        "routes.*.guard.min_rows",
        Whole { min: 2, max: 1_000_000_000 },
        Default("100"),
        "rows",
        "Calibration rows that a slice needs to be judged; one with fewer is not kept, and named.",
    ),
    key(
        "routes.*.guard.tier",
        Text,
        Optional,
        "",
        "The reference tier; where absent that of `max_quality_loss`, else the best single tier that keeps the constraints.",
    ),
    key("routes.*.fit", Table, Optional, "", "How the policy is fitted."),
    key(
        "routes.*.fit.families",
        Choices(&["single", "pair", "router", "chain", "full_chain", "routed_cascade"]),
        Default(r#"["single", "pair", "router", "chain", "full_chain", "routed_cascade"]"#),
        "",
        "Families of policies to try.",
    ),
    key("routes.*.fit.max_stages", Whole { min: 1, max: 8 }, Default("3"), "stages", "Longest chain."),
    key(
        "routes.*.fit.held_out",
        Number(Range::open(0.0, 1.0)),
        Default("0.3"),
        "share",
        "Rows kept for the report where the log has no `split`.",
    ),
    key(
        "routes.*.fit.smallest_gain",
        Number(Range::open(0.0, 1.0)),
        Default("0.01"),
        "quality",
        "The gain worth deciding on; sets how many rows would do.",
    ),
    key(
        "routes.*.fit.drift_alpha",
        Number(Range::open(0.0, 1.0)),
        Default("0.05"),
        "probability",
        "How often `cascade eval` may see drift in a log that has none.",
    ),
    key("routes.*.fit.seed", SEED, Default("7"), "", "Seed of every random choice."),
    key("routes.*.traffic", Table, Optional, "", "What production looks like."),
    key(
        "routes.*.traffic.calls_per_day",
        Number(POSITIVE),
        Optional,
        "calls",
        "States every comparison also in US dollars a month.",
    ),
    key("routes.*.request", Table, Optional, "", "What shapes a request except its messages."),
    key("routes.*.request.system", Text, Optional, "", "System prompt."),
    key(
        "routes.*.request.temperature",
        Number(Range::closed(0.0, 2.0)),
        Optional,
        "",
        "Sampling temperature.",
    ),
    key(
        "routes.*.request.top_logprobs",
        Whole { min: 0, max: 20 },
        Optional,
        "alternatives",
        "Log-probabilities with this many alternatives a token; none are asked for where absent.",
    ),
    key(
        "routes.*.request.tools",
        Boolean,
        Default("false"),
        "",
        "Whether requests may define tools that the model calls; every tier must be able to.",
    ),
    key("routes.*.request.seed", SEED, Optional, "", "Sampling seed, sent to providers that take one."),
    key(
        "routes.*.request.answer",
        Answer,
        Default("\"text\""),
        "",
        "What an answer is: `\"text\"`, or `{ schema = \"path\" }` for JSON that follows a JSON Schema.",
    ),
    key("routes.*.runtime", Table, Optional, "", "What the client does beside applying the policy."),
    key(
        "routes.*.runtime.deadline_s",
        Number(Range::open(0.0, 86_400.0)),
        Optional,
        "seconds",
        "Longest time a request may take, all tiers and retries together, unless the call says otherwise.",
    ),
    key(
        "routes.*.runtime.max_retries",
        Whole { min: 0, max: 20 },
        Default("2"),
        "retries",
        "How often a call that failed is sent again at most.",
    ),
    key(
        "routes.*.runtime.pace",
        Boolean,
        Default("false"),
        "",
        "Moves to cheaper points of the policy's frontier while its budget is spent faster than its window passes.",
    ),
    key(
        "routes.*.runtime.early_escalation",
        Boolean,
        Default("false"),
        "",
        "Streams stages that the policy may refuse, and gives an answer up once its score cannot reach the threshold.",
    ),
    key(
        "routes.*.runtime.failover",
        Text,
        Optional,
        "",
        "Tier that is asked where the call of the last stage fails; no other is where absent.",
    ),
    key(
        "routes.*.runtime.sticky",
        Choice(&["up", "entry"]),
        Optional,
        "",
        "For sessions: `up` starts each turn at the tier that answered the last one, `entry` keeps the first turn's plan.",
    ),
    key(
        "routes.*.runtime.decision_log",
        Text,
        Optional,
        "",
        "File that gets one line for each request: what was decided and what it cost; relative to this file.",
    ),
    key(
        "routes.*.runtime.log_prompts",
        Boolean,
        Default("false"),
        "",
        "Writes prompts and answers into the decision log.",
    ),
    key(
        "routes.*.runtime.explore",
        Number(Range::closed(0.0, 1.0)),
        Optional,
        "share",
        "Share of requests that also run the other tiers, off the caller's path, for the next fit.",
    ),
    key(
        "routes.*.runtime.explore_budget",
        Text,
        Optional,
        "",
        "Name of the budget that pays for those calls.",
    ),
    key(
        "routes.*.runtime.mode",
        Choice(&["policy", "shadow"]),
        Default("\"policy\""),
        "",
        "`shadow`: the current tier answers every request, and the decision log says what the policy would have done.",
    ),
    key(
        "routes.*.runtime.current_tier",
        Text,
        Optional,
        "",
        "The tier that answers in `shadow` mode; `until_fitted` where absent.",
    ),
    key(
        "routes.*.runtime.policy_file",
        Text,
        Optional,
        "",
        "A newer policy of the route, taken instead of the one compiled in if it is valid; relative to this file.",
    ),
    key(
        "routes.*.runtime.policy_reload_s",
        Number(POSITIVE),
        Optional,
        "seconds",
        "How often calls look whether that file has changed; only at start where absent.",
    ),
    key("routes.*.runtime.canary", Table, Optional, "", "A second policy for a share of the requests."),
    key(
        "routes.*.runtime.canary.policy",
        Text,
        Required,
        "",
        "Its file, read at start; relative to this file.",
    ),
    key(
        "routes.*.runtime.canary.share",
        Number(Range::closed(0.0, 1.0)),
        Required,
        "share",
        "Share of requests, by a hash of their id or session, that it decides.",
    ),
];

/// The key of that path, names replaced by `*`.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The keys directly below a path; the empty path is the document.
pub fn children(path: &str) -> impl Iterator<Item = (&'static str, &'static Key)> {
    KEYS.iter().filter_map(move |key| {
        let name = match path {
            "" => key.path,
            _ => key.path.strip_prefix(path)?.strip_prefix('.')?,
        };
        (!name.contains('.') && name != "*").then_some((name, key))
    })
}
