//! `[routes.R.embedding]`: an embedding of each request that the router may read.

use crate::money::Usd;
use std::time::Duration;

/// The longest vector that a router reads.
pub const MOST_DIMENSIONS: u64 = 4096;

/// `[routes.R.embedding]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddingSettings {
    /// What makes the vectors, by a name.
    pub model: String,
    /// Length of every vector.
    pub dimensions: usize,
    /// What an embedding costs where neither the log nor the embedder says it.
    pub cost: Usd,
    /// Longest time that making one may take.
    pub timeout: Duration,
    /// Tier that answers where the embedding cannot be had.
    pub on_failure: Option<String>,
}
