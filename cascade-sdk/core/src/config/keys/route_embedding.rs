//! An embedding of each request that the router may read.

use super::Kind::{Boolean, Number, Price, Table, Text, TokenPrice, Whole};
use super::Need::{Default, Optional, Required};
use super::{Key, PER_MILLION, Range, key};
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
        "What makes the vectors, as its provider calls it or by a name of your own; vectors of two models are never mixed.",
    ),
    key(
        "routes.*.embedding.dimensions",
        Whole { min: 1, max: MOST_DIMENSIONS },
        Required,
        "numbers",
        "Length of every vector.",
    ),
    key(
        "routes.*.embedding.provider",
        Text,
        Optional,
        "",
        "Provider whose `/embeddings` endpoint makes it; the application's embedder does where absent.",
    ),
    key(
        "routes.*.embedding.file",
        Text,
        Optional,
        "",
        "File of word vectors that it is read from instead, relative to this file: text as GloVe and word2vec write it, or `model.safetensors` beside its `tokenizer.json`.",
    ),
    key(
        "routes.*.embedding.usd_per_million_tokens",
        TokenPrice,
        Optional,
        PER_MILLION,
        "What the provider charges for the tokens of a text; `cost_usd` for each text where absent.",
    ),
    key(
        "routes.*.embedding.send_dimensions",
        Boolean,
        Default("false"),
        "",
        "Whether the provider is asked for vectors of that length: only models whose vectors can be shortened take it.",
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
