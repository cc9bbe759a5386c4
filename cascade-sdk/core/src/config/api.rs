//! Wire formats and what each can give.

/// Wire format of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Api {
    /// OpenAI chat completions, and every server compatible with it.
    OpenAi,
    /// Anthropic messages.
    Anthropic,
    /// Google generateContent.
    Gemini,
    /// Answers from the route's own eval log, offline.
    Replay,
}

impl Api {
    /// Every wire format.
    pub const ALL: [Self; 4] = [Self::OpenAi, Self::Anthropic, Self::Gemini, Self::Replay];

    /// Its name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Replay => "replay",
        }
    }

    /// The wire format of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|api| api.name() == name)
    }

    /// Where requests go unless a provider says otherwise, without a trailing slash; `None` where nothing is sent.
    pub const fn default_base_url(self) -> Option<&'static str> {
        match self {
            Self::OpenAi => Some("https://api.openai.com/v1"),
            Self::Anthropic => Some("https://api.anthropic.com/v1"),
            Self::Gemini => Some("https://generativelanguage.googleapis.com/v1beta"),
            Self::Replay => None,
        }
    }

    /// True if requests leave the machine.
    pub const fn uses_network(self) -> bool {
        !matches!(self, Self::Replay)
    }

    /// True if it can return token log-probabilities, and with them every built-in signal that is made of them.
    pub const fn gives_log_probabilities(self) -> bool {
        !matches!(self, Self::Anthropic)
    }

    /// Most alternatives per token whose log-probabilities it can return; 0 if it returns none.
    pub const fn top_logprobs(self) -> u8 {
        // More than this no provider returns.
        if self.gives_log_probabilities() { 20 } else { 0 }
    }

    /// True if it can hold an answer to a JSON Schema. Where a model cannot, the schema becomes a part of the system prompt.
    pub const fn takes_json_schema(self) -> bool {
        true
    }

    /// True if it takes a sampling seed.
    pub const fn takes_seed(self) -> bool {
        !matches!(self, Self::Anthropic)
    }

    /// True if it can stream an answer.
    pub const fn streams(self) -> bool {
        !matches!(self, Self::Replay)
    }

    /// True if it takes tool definitions.
    pub const fn takes_tools(self) -> bool {
        !matches!(self, Self::Replay)
    }

    /// True if messages may hold images. A replayed log knows texts only.
    pub const fn takes_images(self) -> bool {
        !matches!(self, Self::Replay)
    }

    /// True if it has an endpoint for embeddings that is spoken here.
    pub const fn gives_embeddings(self) -> bool {
        matches!(self, Self::OpenAi)
    }

    /// True if every request must say how long its answer may become.
    pub const fn needs_max_output_tokens(self) -> bool {
        matches!(self, Self::Anthropic)
    }

    /// Highest sampling temperature that it takes.
    pub const fn highest_temperature(self) -> f64 {
        match self {
            Self::Anthropic => 1.0,
            _ => 2.0,
        }
    }

    /// Words of `reasoning_effort` that it takes.
    pub const fn reasoning_efforts(self) -> &'static [&'static str] {
        match self {
            Self::OpenAi | Self::Replay => &EFFORTS,
            Self::Anthropic => &["low", "medium", "high", "max"],
            Self::Gemini => &["minimal", "low", "medium", "high"],
        }
    }

    /// The header that carries the key unless a provider says otherwise; in `authorization` it stands after `Bearer`.
    pub const fn key_header(self) -> &'static str {
        match self {
            Self::OpenAi | Self::Replay => "authorization",
            Self::Anthropic => "x-api-key",
            Self::Gemini => "x-goog-api-key",
        }
    }
}

/// Every word of `reasoning_effort`.
pub const EFFORTS: [&str; 7] = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];
