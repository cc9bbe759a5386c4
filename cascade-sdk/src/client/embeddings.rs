//! Who makes the embeddings of a route.

use super::vector_file::VectorFile;
use crate::embedding::{Embedder, Embedding, EmbeddingFailure};
use crate::money::Usd;
#[cfg(feature = "replay")]
use crate::provider::Replay;
#[cfg(feature = "http")]
use crate::provider::{EmbeddingBill, EmbeddingCall, EmbeddingServer};
use crate::signal::unless_it_panics;
use cascade_sdk_core::config::EmbeddingSettings;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Who makes them.
pub(super) enum EmbeddingSource {
    /// The application.
    Own(Arc<dyn Embedder>),
    /// The server of a provider.
    #[cfg(feature = "http")]
    Server(EmbeddingServer),
    /// A file of word vectors.
    File(Arc<VectorFile>),
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

/// What came of making one.
pub(super) struct Made {
    /// Of the right length and finite.
    pub(super) vector: Result<Vec<f32>, EmbeddingFailure>,
    pub(super) bill: Bill,
    /// How long it took when the log was written; `None` for one that is made now.
    pub(super) latency: Option<Duration>,
}

/// What it cost.
#[derive(Clone, Copy, Default)]
pub(super) struct Bill {
    pub(super) cost: Usd,
    /// The part of it that is an upper bound.
    pub(super) estimated: Usd,
}

impl EmbeddingSetup {
    pub(super) fn new(settings: EmbeddingSettings, source: EmbeddingSource) -> Self {
        Self { settings, source }
    }

    /// Whether nobody is paid for it now.
    pub(super) fn is_free(&self) -> bool {
        match self.source {
            EmbeddingSource::File(_) => true,
            #[cfg(feature = "replay")]
            EmbeddingSource::Log(_) => true,
            _ => false,
        }
    }

    /// The hash of the file of word vectors that they are read from, if they are; it is read now.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(super) fn file_hash(&self) -> Result<Option<&str>, String> {
        match &self.source {
            EmbeddingSource::File(file) => file.sha256().map(Some),
            _ => Ok(None),
        }
    }

    /// The most that the embedding of a text costs, as far as is known.
    pub(super) fn most_cost(&self, text: &str) -> Usd {
        #[cfg(not(feature = "http"))]
        let _ = text;
        match &self.source {
            #[cfg(feature = "http")]
            EmbeddingSource::Server(_) if text.is_empty() => Usd::ZERO,
            #[cfg(feature = "http")]
            EmbeddingSource::Server(_) => EmbeddingCall::new(&self.settings, &[text]).most_cost(),
            _ => self.settings.cost,
        }
    }

    /// The embedding of a text, or of the row of that id.
    pub(super) async fn make(&self, id: Option<&str>, text: &str, max_retries: u32) -> Made {
        #[cfg(not(feature = "replay"))]
        let _ = id;
        #[cfg(not(feature = "http"))]
        let _ = max_retries;
        match &self.source {
            EmbeddingSource::Own(embedder) => {
                let work = unless_it_panics(async { embedder.embed(text).await });
                self.given(match tokio::time::timeout(self.settings.timeout, work).await {
                    Err(_) => Err(EmbeddingFailure::Timeout),
                    Ok(None) => Err(EmbeddingFailure::Panic),
                    Ok(Some(made)) => made.map_err(|error| EmbeddingFailure::Error(error.to_string().into())),
                })
            }
            EmbeddingSource::File(file) => {
                let vector = file.embed(text).map_err(|why| EmbeddingFailure::Error(why.into()));
                self.given(vector.map(Embedding::new))
            }
            #[cfg(feature = "replay")]
            EmbeddingSource::Log(replay) => match replay.embedding(id, text) {
                Ok((embedding, latency)) => Made { latency, ..self.given(Ok(embedding)) },
                Err(why) => self.given(Err(EmbeddingFailure::Error(why.into()))),
            },
            #[cfg(feature = "http")]
            EmbeddingSource::Server(server) => self.served(server, text, max_retries).await,
        }
    }

    /// What an embedder gives. One that fails has sent no bill; of one that was cut short or panicked nobody knows what it spent, so it
    /// is charged as if it had given an embedding.
    fn given(&self, made: Result<Embedding, EmbeddingFailure>) -> Made {
        let made = made.and_then(|made| match EmbeddingFailure::of_vector(&self.settings, &made.vector) {
            Some(failure) => Err(failure),
            None => Ok(made),
        });
        match made {
            Ok(Embedding { vector, cost }) => {
                let cost = cost.unwrap_or(self.settings.cost);
                Made { vector: Ok(vector), bill: Bill { cost, ..Bill::default() }, latency: None }
            }
            Err(failure) => {
                let cost = match failure {
                    EmbeddingFailure::Timeout | EmbeddingFailure::Panic => self.settings.cost,
                    _ => Usd::ZERO,
                };
                Made { vector: Err(failure), bill: Bill { cost, estimated: cost }, latency: None }
            }
        }
    }

    /// What a server gives. It is paid for a vector that cannot be used as well.
    #[cfg(feature = "http")]
    async fn served(&self, server: &EmbeddingServer, text: &str, max_retries: u32) -> Made {
        if text.is_empty() {
            // Servers refuse it; the vector of zeros says nothing either.
            let vector = Ok(vec![0.0; self.settings.dimensions]);
            return Made { vector, bill: Bill::default(), latency: None };
        }
        let texts = [text];
        let call = EmbeddingCall::new(&self.settings, &texts);
        let result = server.embed(&call, max_retries).await;
        let EmbeddingBill { cost, estimated } = call.bill(&result);
        let vector = result.map_err(EmbeddingFailure::Provider).and_then(|reply| {
            let vector = reply.vectors.into_iter().next().unwrap_or_default();
            EmbeddingFailure::of_vector(&self.settings, &vector).map_or(Ok(vector), Err)
        });
        Made { vector, bill: Bill { cost, estimated }, latency: None }
    }
}

impl fmt::Debug for EmbeddingSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own(_) => "the application's embedder",
            Self::File(_) => "a file",
            #[cfg(feature = "http")]
            Self::Server(_) => "a provider",
            #[cfg(feature = "replay")]
            Self::Log(_) => "a log",
        })
    }
}
