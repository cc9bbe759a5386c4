//! From a provider's table in `cascade.toml` to something that answers calls.

use super::anthropic::{self, Anthropic};
use super::gemini::Gemini;
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
    let http = http(provider, base_url, env)?;
    Ok(match provider.api {
        Api::Anthropic => Arc::new(Anthropic::new(http)),
        Api::Gemini => Arc::new(Gemini::new(http)),
        _ => Arc::new(OpenAi::new(http, provider.length_key)),
    })
}

/// The server of a provider, and how to talk to it.
pub(super) fn http(
    provider: &config::Provider,
    base_url: Option<&str>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<HttpClient, SetupError> {
    let context = |error: SetupError| SetupError::new(format!("provider `{}`: {error}", provider.name));
    let variable = provider.api_key_env.as_deref();
    let set = variable.and_then(env);
    let is_empty = set.is_some();
    let key = set.filter(|key| !key.trim().is_empty());
    if let (Some(variable), None, None) = (variable, &key, base_url) {
        let state = if is_empty { "is set, but empty" } else { "is not set" };
        let message = format!("the environment variable `{variable}`, which holds its key, {state}");
        return Err(context(SetupError::new(message)));
    }
    if !provider.api.uses_network() {
        return Err(context(SetupError::new("it answers from a log, not over the network")));
    }
    let base = base_url.or(provider.base_url.as_deref()).or(provider.api.default_base_url());
    let headers = headers(provider, key.as_deref().map(str::trim));
    let http = HttpClient::new(base.unwrap_or_default(), provider.allow_http, headers).map_err(context)?;
    Ok(http.with_query(&provider.query))
}

/// The headers of every request: those of the configuration, the key, and what the api wants to be told.
fn headers(provider: &config::Provider, key: Option<&str>) -> Vec<(String, Secret)> {
    let stated = provider.headers.iter().map(|(name, value)| (name.clone(), Secret::new(value.as_str())));
    let mut headers: Vec<_> = stated.collect();
    if let Some(key) = key {
        let name = provider.api_key_header.as_deref().unwrap_or(provider.api.key_header());
        let bearer = name.eq_ignore_ascii_case("authorization");
        let value = if bearer { format!("Bearer {key}") } else { key.to_owned() };
        headers.push((name.to_owned(), Secret::new(value)));
    }
    let states = |name: &str| provider.headers.iter().any(|(stated, _)| stated.eq_ignore_ascii_case(name));
    if provider.api == Api::Anthropic && !states(anthropic::VERSION_HEADER) {
        headers.push((anthropic::VERSION_HEADER.to_owned(), Secret::new(anthropic::VERSION)));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(api: Api, key_header: Option<&str>, stated: &[(&str, &str)]) -> Vec<(String, String)> {
        let provider = config::Provider {
            api_key_header: key_header.map(str::to_owned),
            headers: stated.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ..provider(api)
        };
        headers(&provider, Some("k"))
            .into_iter()
            .map(|(name, value)| (name, value.expose().to_owned()))
            .collect()
    }

    fn provider(api: Api) -> config::Provider {
        config::Provider {
            name: "p".into(),
            api,
            base_url: None,
            api_key_env: Some("KEY".into()),
            api_key_header: None,
            headers: Vec::new(),
            query: Vec::new(),
            length_key: None,
            allow_http: false,
            log: Vec::new(),
            signals: Vec::new(),
            max_concurrency: None,
            requests_per_minute: None,
        }
    }

    #[test]
    fn each_api_gets_its_key_where_it_looks_for_it() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(shown(Api::OpenAi, None, &[]), [pair("authorization", "Bearer k")]);
        assert_eq!(shown(Api::OpenAi, Some("api-key"), &[]), [pair("api-key", "k")]);
        assert_eq!(shown(Api::Gemini, None, &[]), [pair("x-goog-api-key", "k")]);
        assert_eq!(shown(Api::Gemini, Some("Authorization"), &[]), [pair("Authorization", "Bearer k")]);
        assert_eq!(
            shown(Api::Anthropic, None, &[]),
            [pair("x-api-key", "k"), pair("anthropic-version", "2023-06-01")]
        );
        assert_eq!(
            shown(Api::Anthropic, None, &[("Anthropic-Version", "2030-01-01")]),
            [pair("Anthropic-Version", "2030-01-01"), pair("x-api-key", "k")]
        );
    }

    #[test]
    fn every_network_api_connects_with_its_own_address_and_no_other_does() {
        let env = |_: &str| Some("k".to_owned());
        for api in Api::ALL {
            assert_eq!(connect(&provider(api), None, &env).is_ok(), api.uses_network(), "{api:?}");
        }
    }

    #[test]
    fn a_key_that_is_missing_and_one_that_is_empty_are_told_apart() {
        let refused = |key: Option<&str>| {
            let env = |_: &str| key.map(str::to_owned);
            connect(&provider(Api::Gemini), None, &env).map(drop).map_err(|error| error.to_string())
        };
        let message = |state: &str| {
            Err(format!("provider `p`: the environment variable `KEY`, which holds its key, {state}"))
        };
        assert_eq!(refused(None), message("is not set"));
        for empty in ["", " ", "\n"] {
            assert_eq!(refused(Some(empty)), message("is set, but empty"), "{empty:?}");
        }
        assert_eq!(refused(Some("k")), Ok(()));
    }
}
