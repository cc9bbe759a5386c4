//! From a provider's table in `cascade.toml` to something that answers calls.

use super::http::HttpClient;
use super::openai::OpenAi;
use super::secret::Secret;
use super::{Provider, SetupError};
use cascade_sdk_core::config::{self, Api};
use std::sync::Arc;

/// Connects to a provider: reads its key from the environment through `env`, checks its URL, opens no connection yet.
///
/// `base_url` replaces the provider's own, as `CASCADE_BASE_URL` does; a key that is not set is then not missed, since
/// local servers need none.
///
/// # Errors
/// [`SetupError`] if the key is missing, the URL unusable, or the wire format is not an HTTP one.
pub fn connect(
    provider: &config::Provider,
    base_url: Option<&str>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Arc<dyn Provider>, SetupError> {
    let context = |error: SetupError| SetupError::new(format!("provider `{}`: {error}", provider.name));
    let variable = provider.api_key_env.as_deref();
    let key = variable.and_then(env).filter(|key| !key.trim().is_empty());
    if let (Some(variable), None, None) = (variable, &key, base_url) {
        let message = format!("the environment variable `{variable}`, which holds its key, is not set");
        return Err(context(SetupError::new(message)));
    }
    let headers = provider.headers.iter().map(|(name, value)| (name.clone(), Secret::new(value.as_str())));
    match provider.api {
        Api::OpenAi => {
            let base = base_url
                .or(provider.base_url.as_deref())
                .or(provider.api.default_base_url())
                .unwrap_or_default();
            let authorization =
                key.map(|key| ("authorization".to_owned(), Secret::new(format!("Bearer {}", key.trim()))));
            let http =
                HttpClient::new(base, provider.allow_http, headers.chain(authorization)).map_err(context)?;
            Ok(Arc::new(OpenAi::new(http)))
        }
        other => Err(context(SetupError::new(format!("the wire format {other:?} is not available yet")))),
    }
}
