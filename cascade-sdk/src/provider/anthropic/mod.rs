//! Anthropic's messages format: requests to JSON, JSON to answers.
//!
//! It gives no log-probabilities, so policies read other signals of its tiers or none.

mod request;
mod response;
mod schema;
mod stream;

use super::error::{ProviderError, ProviderErrorKind};
use super::http::{HttpClient, Opened};
use super::{Capabilities, ModelCall, Provider, Response, ResponseStream};
use async_trait::async_trait;
use cascade_sdk_core::config::Api;

/// The header that says which version of the format is spoken.
pub(super) const VERSION_HEADER: &str = "anthropic-version";

/// The version of the format that is spoken, sent with every request.
pub(super) const VERSION: &str = "2023-06-01";

/// A server that speaks Anthropic messages.
#[derive(Clone, Debug)]
pub struct Anthropic {
    http: HttpClient,
}

impl Anthropic {
    pub(crate) fn new(http: HttpClient) -> Self {
        Self { http }
    }
}

#[async_trait]
impl Provider for Anthropic {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(Api::Anthropic)
    }

    fn check(&self, call: &ModelCall<'_>) -> Result<(), ProviderError> {
        call.check(self.capabilities(), Some(Api::Anthropic))?;
        request::check(call).map_err(|reason| ProviderError::new(ProviderErrorKind::Unsupported, reason))
    }

    async fn complete(&self, call: &ModelCall<'_>) -> Result<Response, ProviderError> {
        self.check(call)?;
        let body = request::body(call).to_string().into_bytes();
        let answer = self.http.post(&["messages"], body, call.timeout).await?;
        response::read(&answer)
    }

    async fn stream(&self, call: &ModelCall<'_>) -> Result<ResponseStream, ProviderError> {
        self.check(call)?;
        let body = stream::streamed(request::body(call)).to_string().into_bytes();
        match self.http.open(&["messages"], body, call.timeout).await? {
            Opened::Stream(body) => Ok(stream::read(body)),
            Opened::Whole(answer) => response::read(&answer).map(ResponseStream::whole),
        }
    }
}

#[cfg(test)]
mod tests;
