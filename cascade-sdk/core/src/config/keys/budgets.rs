//! Spending that must not be exceeded.

use super::Kind::{Choice, Money, Named, Table, Text, Window};
use super::Need::{Default, Optional, Required};
use super::{Key, key};

pub(super) const KEYS: &[Key] = &[
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
];
