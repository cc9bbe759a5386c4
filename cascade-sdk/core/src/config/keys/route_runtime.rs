//! What the client does around a route's calls.

use super::Kind::{Boolean, BooleanOr, Choice, Number, Table, Text, Whole};
use super::Need::{Default, Optional, Required};
use super::{Key, POSITIVE, Range, key};

pub(super) const KEYS: &[Key] = &[
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
        BooleanOr(&["fitted"]),
        Default("false"),
        "",
        "Streams stages that the policy may refuse, and gives an answer up once its score cannot reach the threshold; \
         `fitted` also by a rule on its first tokens, which `cascade fit` finds.",
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
        "For sessions: `up` starts each turn at the tier that the policy last came to, never below; `entry` keeps the first \
         turn's plan.",
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
        "How often the client looks, beside the calls, whether that file has changed; only at start where absent.",
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
