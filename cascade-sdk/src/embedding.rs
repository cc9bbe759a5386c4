//! Embeddings of requests: a vector for each prompt, which a policy's router may read before anything is generated.

use crate::money::Usd;
use crate::provider::ProviderError;
use async_trait::async_trait;
use cascade_sdk_core::config::EmbeddingSettings;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Why an embedder has no vector.
pub type EmbedderError = Box<dyn std::error::Error + Send + Sync>;

/// Makes the embedding of a text: the application's own model, a library, a service of its own. Given to
/// [`Builder::embedder`](crate::Builder::embedder) under the `model` of a route's `[routes.ROUTE.embedding]`.
///
/// It is asked once for each request whose policy's router reads an embedding, with the text that the router reads: the user
/// and tool text parts of the request, joined by newlines. The vectors must be those of the log that the policy was fitted on:
/// the same model, the same version of it, the same text before it.
///
/// ```
/// use cascade_sdk::embedding::{Embedder, EmbedderError, Embedding};
///
/// /// Counts of letters: a poor embedding, but a free one.
/// struct Letters;
///
/// #[async_trait::async_trait]
/// impl Embedder for Letters {
///     async fn embed(&self, text: &str) -> Result<Embedding, EmbedderError> {
///         let mut counts = vec![0.0; 26];
///         for letter in text.bytes().filter(u8::is_ascii_alphabetic) {
///             counts[usize::from(letter.to_ascii_lowercase() - b'a')] += 1.0;
///         }
///         Ok(counts.into())
///     }
/// }
/// ```
#[async_trait]
pub trait Embedder: Send + Sync + 'static {
    /// The embedding of a text. It must not block the thread for long: a model that is computed here belongs into
    /// [`tokio::task::spawn_blocking`].
    ///
    /// # Errors
    /// Anything that keeps it from a vector. What the error says is shown on request only.
    async fn embed(&self, text: &str) -> Result<Embedding, EmbedderError>;
}

/// A vector and what it cost.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Embedding {
    /// The vector, of the length that the configuration says. Its own length does not matter: routers read its direction.
    pub vector: Vec<f32>,
    /// What it cost in US dollars; `None` takes `cost_usd` of the configuration.
    pub cost: Option<Usd>,
}

impl Embedding {
    /// A vector that costs what the configuration says.
    pub fn new(vector: Vec<f32>) -> Self {
        Self { vector, cost: None }
    }

    /// Says what it cost in US dollars.
    #[must_use]
    pub fn with_cost(self, cost: Usd) -> Self {
        Self { cost: Some(cost), ..self }
    }
}

impl From<Vec<f32>> for Embedding {
    fn from(vector: Vec<f32>) -> Self {
        Self::new(vector)
    }
}

/// A vector may say much about its prompt.
impl fmt::Debug for Embedding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedding")
            .field("vector", &format_args!("{} numbers", self.vector.len()))
            .field("cost", &self.cost)
            .finish()
    }
}

/// The embedding that a request took, as its story tells it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EmbeddingUse {
    /// What it cost in US dollars.
    pub cost: Usd,
    /// The part of it that is an upper bound, because the server does not say.
    pub estimated: Usd,
    /// How long it took.
    pub latency: Duration,
    /// Why there was none; the tier named by `on_failure` then answered.
    pub failure: Option<EmbeddingFailure>,
}

/// Why a request has no embedding.
#[derive(Clone)]
#[non_exhaustive]
pub enum EmbeddingFailure {
    /// It took longer than `timeout_s`.
    Timeout,
    /// The embedder panicked.
    Panic,
    /// The embedder has none. What it says may quote the prompt, so it is shown by [`EmbeddingFailure::detail`] only.
    Error(Arc<str>),
    /// The provider's server gave none.
    Provider(ProviderError),
    /// The vector has another length than the configuration says.
    Length {
        /// The length that it should have.
        expected: usize,
        /// The length that it has.
        found: usize,
    },
    /// The vector holds something that is no finite number.
    NotFinite,
}

impl EmbeddingFailure {
    /// What is wrong with a vector, if anything is.
    pub fn of_vector(settings: &EmbeddingSettings, vector: &[f32]) -> Option<Self> {
        let (expected, found) = (settings.dimensions, vector.len());
        if expected != found {
            return Some(Self::Length { expected, found });
        }
        (!vector.iter().all(|value| value.is_finite())).then_some(Self::NotFinite)
    }

    /// The word for it in decision logs.
    pub fn log_word(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Panic => "panic",
            Self::Error(_) => "error",
            Self::Provider(error) => error.log_word(),
            Self::Length { .. } => "length",
            Self::NotFinite => "not_finite",
        }
    }

    /// What the embedder or the server says. It may quote the prompt: do not log it carelessly.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Error(detail) => Some(detail),
            Self::Provider(error) => error.detail(),
            _ => None,
        }
    }
}

impl fmt::Display for EmbeddingFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("the embedder took too long"),
            Self::Panic => f.write_str("the embedder panicked"),
            Self::Error(_) => f.write_str("the embedder has no vector"),
            Self::Provider(error) => write!(f, "no embedding from the provider: {error}"),
            Self::Length { expected, found } => {
                write!(f, "the embedder made a vector of {found} numbers, not of {expected}")
            }
            Self::NotFinite => f.write_str("the embedder made a vector that is not finite"),
        }
    }
}

impl fmt::Debug for EmbeddingFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.log_word())
    }
}
