//! Signals that need more than the answer itself.

use super::Kind::{Choice, Named, Number, Table, Text, Texts, Whole};
use super::Need::{Default, Optional, Required};
use super::{Key, Range, key};

pub(super) const KEYS: &[Key] = &[
    key(
        "routes.*.signals",
        Named,
        Optional,
        "",
        "Signals that need more than the answer itself. Rules may read them beside those made of log-probabilities.",
    ),
    key("routes.*.signals.*", Table, Optional, "", "One signal; logs and policies know it by its name."),
    key(
        "routes.*.signals.*.kind",
        Choice(&["self_consistency", "judge", "schema_valid", "verifier"]),
        Required,
        "",
        "How it comes about: samples that agree with the answer, a model's verdict, a JSON Schema, or the application's code.",
    ),
    key(
        "routes.*.signals.*.tiers",
        Texts,
        Optional,
        "",
        "Tiers of the route whose answers get it; all where absent. The dearest one seldom needs it.",
    ),
    key(
        "routes.*.signals.*.samples",
        Whole { min: 2, max: 64 },
        Optional,
        "samples",
        "For `self_consistency`: samples, the answer included; the signal is the share that agrees with the answer.",
    ),
    key(
        "routes.*.signals.*.temperature",
        Number(Range::closed(0.0, 2.0)),
        Optional,
        "",
        "For `self_consistency`: sampling temperature, above 0, of all samples but the answer.",
    ),
    key(
        "routes.*.signals.*.concurrency",
        Whole { min: 1, max: 64 },
        Default("4"),
        "requests",
        "For `self_consistency`: samples that a client asks for at once.",
    ),
    key(
        "routes.*.signals.*.tier",
        Text,
        Optional,
        "",
        "For `judge`: the tier that judges; any tier of the file.",
    ),
    key("routes.*.signals.*.rubric", Text, Optional, "", "For `judge`: what a good answer is, in words."),
    key(
        "routes.*.signals.*.schema",
        Text,
        Optional,
        "",
        "For `schema_valid`: the JSON Schema, as JSON; that of the route's answers where absent.",
    ),
    key(
        "routes.*.signals.*.timeout_s",
        Number(Range::open(0.0, 86_400.0)),
        Default("10.0"),
        "seconds",
        "For `verifier`: longest time that it may take.",
    ),
];
