//! An embedding of each request that the router may read.

use super::Kind::{Number, Price, Table, Text, Whole};
use super::Need::{Default, Optional, Required};
use super::{Key, Range, key};
use crate::config::MOST_DIMENSIONS;

pub(super) const KEYS: &[Key] = &[
    key(
        "routes.*.embedding",
        Table,
        Optional,
        "",
        "An embedding of the prompt that the router may read: it does where that pays for itself.",
    ),
    key(
        "routes.*.embedding.model",
        Text,
        Required,
        "",
        "What makes the vectors, by a name; vectors of two models are never mixed.",
    ),
    key(
        "routes.*.embedding.dimensions",
        Whole { min: 1, max: MOST_DIMENSIONS },
        Required,
        "numbers",
        "Length of every vector.",
    ),
    key(
        "routes.*.embedding.cost_usd",
        Price,
        Default("0.0"),
        "USD a request",
        "What an embedding costs where neither the log nor the embedder says it.",
    ),
    key(
        "routes.*.embedding.timeout_s",
        Number(Range::open(0.0, 86_400.0)),
        Default("10.0"),
        "seconds",
        "Longest time that making it may take.",
    ),
    key(
        "routes.*.embedding.on_failure",
        Text,
        Optional,
        "",
        "Tier of the route that answers where the embedding cannot be had; an error where absent.",
    ),
];
