//! Servers that answer requests.

use super::Kind::{Boolean, Choice, Named, Table, Text, TextMap, Texts, Whole};
use super::Need::{Default, Optional, Required};
use super::{Key, key};

pub(super) const KEYS: &[Key] = &[
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
        "providers.*.signals",
        Texts,
        Optional,
        "",
        "Signals that come with the answers where the application brings a provider of its own; nothing else computes them.",
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
];
