//! Google's generateContent format: requests to JSON, JSON to answers.

mod request;
mod response;
mod schema;
mod stream;

use super::error::{ProviderError, ProviderErrorKind};
use super::http::{HttpClient, Opened};
use super::{Capabilities, ModelCall, Provider, Response, ResponseStream};
use async_trait::async_trait;
use cascade_sdk_core::config::Api;

/// A server that speaks generateContent.
#[derive(Clone, Debug)]
pub struct Gemini {
    http: HttpClient,
    /// The same server, asked for events.
    events: HttpClient,
}

impl Gemini {
    pub(crate) fn new(http: HttpClient) -> Self {
        let events = http.clone().with_query(&[("alt".to_owned(), "sse".to_owned())]);
        Self { http, events }
    }
}

#[async_trait]
impl Provider for Gemini {
    fn capabilities(&self) -> Capabilities {
        Capabilities::of(Api::Gemini)
    }

    fn check(&self, call: &ModelCall<'_>) -> Result<(), ProviderError> {
        call.check(self.capabilities(), Some(Api::Gemini))?;
        request::check(call).map_err(|reason| ProviderError::new(ProviderErrorKind::Unsupported, reason))
    }

    async fn complete(&self, call: &ModelCall<'_>) -> Result<Response, ProviderError> {
        self.check(call)?;
        let body = request::body(call).to_string().into_bytes();
        let path = request::path(call.model, "generateContent");
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let answer = self.http.post(&path, body, call.timeout).await?;
        response::read(&answer)
    }

    async fn stream(&self, call: &ModelCall<'_>) -> Result<ResponseStream, ProviderError> {
        self.check(call)?;
        let body = request::body(call).to_string().into_bytes();
        let path = request::path(call.model, "streamGenerateContent");
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match self.events.open(&path, body, call.timeout).await? {
            Opened::Stream(body) => Ok(stream::read(body)),
            Opened::Whole(answer) => response::read(&answer).map(ResponseStream::whole),
        }
    }
}

#[cfg(test)]
mod tests;
