//! `[routes.R.embedding]`: an embedding of each request that the router may read.

use crate::money::{TokenPrice, Usd};
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
    /// The provider that makes it, unless the application does.
    pub served: Option<ServedEmbedding>,
    /// The file of token vectors that it is read from, relative to the configuration; such an embedding is free, and nothing
    /// makes it but the file.
    pub file: Option<String>,
}

/// An embedding that a provider's `/embeddings` endpoint makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedEmbedding {
    /// Name of the provider.
    pub provider: String,
    /// What input tokens cost; `None` takes [`EmbeddingSettings::cost`] for each text.
    pub price: Option<TokenPrice>,
    /// Whether the server is asked for vectors of the route's length.
    pub send_dimensions: bool,
}

/// More tokens than any server adds to a text.
const ADDED_TOKENS: u64 = 32;

impl EmbeddingSettings {
    /// What a server's embedding of a text of so many bytes costs at most, where it can count no more tokens than bytes.
    pub fn most_cost(&self, bytes: usize) -> Usd {
        let price = self.served.as_ref().and_then(|served| served.price);
        let tokens = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(ADDED_TOKENS);
        price.map_or(self.cost, |price| at_price(price, tokens))
    }

    /// What embedding some texts cost that a server counts so many tokens of; `None` where tokens have no price.
    pub fn cost_of(&self, tokens: u64) -> Option<Usd> {
        Some(at_price(self.served.as_ref()?.price?, tokens))
    }
}

/// An amount beyond all bounds is the largest there is.
fn at_price(price: TokenPrice, tokens: u64) -> Usd {
    i64::try_from(price.times(tokens)).map_or(Usd::MAX, Usd::from_pico)
}
