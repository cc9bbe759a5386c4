//! Who makes the embeddings of a route.

use crate::embedding::{Embedder, Embedding, EmbeddingFailure};
#[cfg(feature = "replay")]
use crate::provider::Replay;
use crate::signal::unless_it_panics;
use cascade_sdk_core::config::EmbeddingSettings;
use std::fmt;
use std::sync::Arc;

/// Who makes them.
pub(super) enum EmbeddingSource {
    /// The application.
    Own(Arc<dyn Embedder>),
    /// The log that answers the route's calls.
    #[cfg(feature = "replay")]
    Log(Replay),
}

/// The embeddings of a route.
#[derive(Debug)]
pub(super) struct EmbeddingSetup {
    pub(super) settings: EmbeddingSettings,
    source: EmbeddingSource,
}

impl EmbeddingSetup {
    pub(super) fn new(settings: EmbeddingSettings, source: EmbeddingSource) -> Self {
        Self { settings, source }
    }

    /// Whether nobody is paid for it now.
    pub(super) fn is_replayed(&self) -> bool {
        !matches!(self.source, EmbeddingSource::Own(_))
    }

    /// The embedding of a text, or of the row of that id: of the right length, finite, and with its cost.
    pub(super) async fn make(&self, id: Option<&str>, text: &str) -> Result<Embedding, EmbeddingFailure> {
        let made = match &self.source {
            EmbeddingSource::Own(embedder) => {
                let work = unless_it_panics(async { embedder.embed(text).await });
                match tokio::time::timeout(self.settings.timeout, work).await {
                    Err(_) => return Err(EmbeddingFailure::Timeout),
                    Ok(None) => return Err(EmbeddingFailure::Panic),
                    Ok(Some(made)) => made.map_err(|error| error.to_string()),
                }
            }
            #[cfg(feature = "replay")]
            EmbeddingSource::Log(replay) => replay.embedding(id, text),
        };
        #[cfg(not(feature = "replay"))]
        let _ = id;
        let Embedding { vector, cost } = made.map_err(|detail| EmbeddingFailure::Error(detail.into()))?;
        let (expected, found) = (self.settings.dimensions, vector.len());
        if expected != found {
            return Err(EmbeddingFailure::Length { expected, found });
        }
        if !vector.iter().all(|value| value.is_finite()) {
            return Err(EmbeddingFailure::NotFinite);
        }
        Ok(Embedding { vector, cost: Some(cost.unwrap_or(self.settings.cost)) })
    }
}

impl fmt::Debug for EmbeddingSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own(_) => "the application's embedder",
            #[cfg(feature = "replay")]
            Self::Log(_) => "a log",
        })
    }
}
