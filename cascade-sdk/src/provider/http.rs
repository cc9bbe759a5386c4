//! The only file that names the HTTP client.

use super::error::{ProviderError, ProviderErrorKind, SetupError};
use super::secret::Secret;
use cascade_sdk_core::config::check_base_url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response, Url};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Largest body that is read: log-probabilities with twenty alternatives take about 2 kB a token.
const MAX_BODY_BYTES: usize = 32 << 20;

/// Longest silence of a stream whose text has begun, within the time that the call has. Before that a model may think.
const MAX_SILENCE: Duration = Duration::from_secs(30);

/// How long the end of a body is waited for once its last event was read, so that the connection can be used again.
const LAST_BYTES: Duration = Duration::from_millis(50);

/// How long a connection is kept for the next call. A call that is sent while its server closes the connection is lost, and has to
/// be charged in full since the server may have read it: so the client closes first. Load balancers wait a minute or more.
const KEPT_IDLE: Duration = Duration::from_secs(50);

/// The same for plain http. Model servers (uvicorn under vLLM, llama.cpp) wait five seconds.
const KEPT_IDLE_LOCALLY: Duration = Duration::from_secs(4);

/// Longest wait for a connection, within the time that the call has.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A server and how to talk to it.
#[derive(Clone, Debug)]
pub(crate) struct HttpClient {
    client: Client,
    base: Url,
    headers: HeaderMap,
}

/// What a server answered, whatever its status.
#[derive(Debug)]
pub(crate) struct HttpResponse {
    /// Status code.
    pub(crate) status: u16,
    /// The whole body.
    pub(crate) body: Vec<u8>,
    /// How long the server asks to wait.
    pub(crate) retry_after: Option<Duration>,
}

/// An answer whose head has been read.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one a call, and taken apart at once")]
pub(crate) enum Opened {
    /// The rest arrives piece by piece.
    Stream(HttpStream),
    /// It is no stream, and was read to its end.
    Whole(HttpResponse),
}

impl HttpClient {
    /// A client for one base URL. `headers` go with every request and are treated as secret.
    pub(crate) fn new(
        base: &str,
        allow_http: bool,
        headers: impl IntoIterator<Item = (String, Secret)>,
    ) -> Result<Self, SetupError> {
        check_base_url(base, allow_http).map_err(|error| SetupError::new(format!("its base URL {error}")))?;
        let url =
            Url::parse(base).map_err(|error| SetupError::new(format!("its base URL is not one: {error}")))?;
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let header = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| SetupError::new(format!("`{name}` is not a header name")))?;
            let mut value = HeaderValue::from_str(value.expose()).map_err(|_| {
                SetupError::new(format!(
                    "the value of header `{name}` has characters that headers cannot carry"
                ))
            })?;
            value.set_sensitive(true);
            map.insert(header, value);
        }
        let mut builder = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(if url.scheme() == "https" { KEPT_IDLE } else { KEPT_IDLE_LOCALLY })
            // A redirect could carry key and prompt to another host.
            .redirect(reqwest::redirect::Policy::none())
            // The client retries where it can account for it.
            .retry(reqwest::retry::never())
            .user_agent(concat!("cascade-sdk/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls(url.scheme() == "https")?);
        // Plain http that needs no permission stays on this machine, where a proxy has no business.
        if url.scheme() == "http" && check_base_url(base, false).is_ok() {
            builder = builder.no_proxy();
        }
        let client = builder
            .build()
            .map_err(|error| SetupError::new(format!("no HTTP client: {}", root_cause(&error))))?;
        Ok(Self { client, base: url, headers: map })
    }

    /// Sends these query parameters with every request.
    pub(crate) fn with_query(mut self, parameters: &[(String, String)]) -> Self {
        if !parameters.is_empty() {
            self.base.query_pairs_mut().extend_pairs(parameters);
        }
        self
    }

    /// The host of the base URL.
    pub(crate) fn host(&self) -> &str {
        self.base.host_str().unwrap_or("")
    }

    /// Posts JSON to `path` below the base URL and reads the whole answer within `timeout`.
    pub(crate) async fn post(
        &self,
        path: &[&str],
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<HttpResponse, ProviderError> {
        let response = self.send(path, body, timeout, false).await?;
        self.whole(response, timeout).await
    }

    /// Posts JSON and reads the answer as it arrives, all of it within `timeout`. An answer that is no event stream (an
    /// error, or a server that does not stream) is read whole.
    pub(crate) async fn open(
        &self,
        path: &[&str],
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<Opened, ProviderError> {
        // llama.cpp closes the connection after a stream without saying so, and the next call would be lost on it. Another
        // connection costs nothing there; over https it does, and nobody was seen to do that.
        let response = self.send(path, body, timeout, self.base.scheme() == "http").await?;
        let kind = response.headers().get("content-type").and_then(|value| value.to_str().ok());
        let kind = kind.and_then(|kind| kind.split(';').next()).map(|kind| kind.trim().to_ascii_lowercase());
        let is_stream = match kind.as_deref() {
            None | Some("text/event-stream") => true,
            Some(kind) if response.status().as_u16() >= 300 || kind == "application/json" => false,
            Some(_) => {
                let message =
                    format!("{} answered with something else than a stream of events", shown(&self.base));
                return Err(ProviderError::new(ProviderErrorKind::BadBody, message).after_sending());
            }
        };
        if is_stream && response.status().as_u16() < 300 {
            return Ok(Opened::Stream(HttpStream {
                client: self.clone(),
                response,
                timeout,
                received: 0,
                has_text: false,
            }));
        }
        self.whole(response, timeout).await.map(Opened::Whole)
    }

    /// Sends a request, on a connection that is not kept if `close` is set.
    async fn send(
        &self,
        path: &[&str],
        body: Vec<u8>,
        timeout: Duration,
        close: bool,
    ) -> Result<Response, ProviderError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let mut request = self
            .client
            .post(url)
            .headers(self.headers.clone())
            .header("content-type", "application/json")
            .timeout(timeout)
            .body(body);
        if close {
            request = request.header("connection", "close");
        }
        request.send().await.map_err(|error| self.error(&error, timeout))
    }

    async fn whole(&self, response: Response, timeout: Duration) -> Result<HttpResponse, ProviderError> {
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers(), SystemTime::now());
        // An error status is an answer by itself: a broken body must not hide it.
        let body = match self.read(response, timeout).await {
            Err(error) if status < 400 => return Err(error),
            body => body.unwrap_or_default(),
        };
        Ok(HttpResponse { status, body, retry_after })
    }

    async fn read(&self, mut response: Response, timeout: Duration) -> Result<Vec<u8>, ProviderError> {
        let mut body = Vec::new();
        while let Some(chunk) =
            response.chunk().await.map_err(|error| self.error(&error, timeout).after_sending())?
        {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(self.too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn too_large(&self) -> ProviderError {
        let message = format!("{} answered with more than {} MiB", shown(&self.base), MAX_BODY_BYTES >> 20);
        ProviderError::new(ProviderErrorKind::TooLarge, message).after_sending()
    }

    fn error(&self, error: &reqwest::Error, timeout: Duration) -> ProviderError {
        let server = shown(&self.base);
        let provider_error = if error.is_timeout() && !error.is_connect() {
            let message = format!("{server} did not answer within {timeout:?}");
            ProviderError::new(ProviderErrorKind::Timeout, message)
        } else {
            let what = if error.is_connect() { "cannot connect to" } else { "lost the connection to" };
            let message = format!("{what} {server}: {}", root_cause(error));
            ProviderError::new(ProviderErrorKind::Connection, message)
        };
        if error.is_connect() || error.is_builder() { provider_error } else { provider_error.after_sending() }
    }
}

/// An answer that is read while it arrives. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct HttpStream {
    client: HttpClient,
    response: Response,
    timeout: Duration,
    received: usize,
    /// Whether the text of the answer has begun.
    has_text: bool,
}

impl HttpStream {
    /// The next bytes; `None` at the end of the body.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Vec<u8>>, ProviderError> {
        let next = self.response.chunk();
        let chunk = if self.has_text {
            tokio::time::timeout(MAX_SILENCE, next).await.map_err(|_| {
                let message = format!("{} said nothing for {MAX_SILENCE:?}", shown(&self.client.base));
                ProviderError::new(ProviderErrorKind::Timeout, message).after_sending()
            })?
        } else {
            // The time of the whole call ends it.
            next.await
        };
        let chunk = chunk.map_err(|error| self.client.error(&error, self.timeout).after_sending())?;
        self.received += chunk.as_deref().map_or(0, <[u8]>::len);
        if self.received > MAX_BODY_BYTES {
            return Err(self.client.too_large());
        }
        Ok(chunk.map(Into::into))
    }

    /// Says that the text of the answer has begun.
    pub(crate) fn text_began(&mut self) {
        self.has_text = true;
    }

    /// Reads what is left after the last event, if it comes at once.
    pub(crate) async fn finish(&mut self) {
        let _ = tokio::time::timeout(LAST_BYTES, self.response.chunk()).await;
    }
}

/// A URL without path and query, which gateways use for keys.
fn shown(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// The innermost cause: the outer ones repeat the URL.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// TLS with the ring provider and the system's certificates, handed over explicitly: installing a process-wide default
/// would collide with the application's own. A server without TLS gets no certificates, so that machines without any
/// can still talk to it.
fn tls(needed: bool) -> Result<rustls::ClientConfig, SetupError> {
    use rustls_platform_verifier::BuilderVerifierExt as _;

    let refuse = |error: rustls::Error| SetupError::new(format!("no TLS on this system: {error}"));
    let builder =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(refuse)?;
    let builder = if needed {
        builder.with_platform_verifier().map_err(refuse)?
    } else {
        builder.with_root_certificates(rustls::RootCertStore::empty())
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// How long to wait by `retry-after-ms` (milliseconds) or `Retry-After` (seconds or a date, RFC 9110 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).ok();
    if let Some(wait) = text("retry-after-ms").and_then(|text| seconds(text.parse::<f64>().ok()? / 1000.0)) {
        return Some(wait);
    }
    let value = text("retry-after")?;
    if let Ok(number) = value.parse::<f64>() {
        return seconds(number);
    }
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(http_date(value)?);
    Some(at.duration_since(now).unwrap_or_default())
}

/// Seconds since 1970 of a date such as `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that servers may send.
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.split(' ');
    let day: u64 = words.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let name = words.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? as u64;
    let year: u64 = words.next()?.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<u64>().ok().filter(|part| *part <= 60));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if words.next() != Some("GMT") {
        return None;
    }
    // Days from the civil calendar, with years that start in March so that the leap day comes last.
    let (year, month) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    Some((days.checked_sub(719_468)? * 24 + hour) * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
    }

    #[test]
    fn waits_are_read_in_all_their_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_767);
        for (name, value, wait) in [
            ("retry-after", "7", Some(Duration::from_secs(7))),
            ("retry-after", "0.5", Some(Duration::from_millis(500))),
            ("retry-after-ms", "250", Some(Duration::from_millis(250))),
            ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT", Some(Duration::from_secs(10))),
            ("retry-after", "Sun, 06 Nov 1994 08:49:07 GMT", Some(Duration::ZERO)),
            ("retry-after", "-3", None),
            ("retry-after", "soon", None),
            ("retry-after", "NaN", None),
            ("retry-after", "1e300", None),
        ] {
            assert_eq!(retry_after(&headers(name, value), now), wait, "{name}: {value}");
        }
    }

    #[test]
    fn dates_cross_leap_years() {
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(http_date("Thu, 29 Feb 2024 23:59:59 GMT"), Some(1_709_251_199));
        assert_eq!(http_date("Fri, 01 Mar 2024 00:00:00 GMT"), Some(1_709_251_200));
        assert_eq!(http_date("Fri, 01 Foo 2024 00:00:00 GMT"), None);
    }

    /// A server that waits so long before its first words and after them, and what its stream ends with.
    async fn streamed(before: Duration, after: Duration) -> Result<String, ProviderError> {
        use crate::provider::{Chunk, sse};
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let _ = socket.read(&mut [0; 4096]).await;
            let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
            let _ = socket.write_all(head).await;
            tokio::time::sleep(before).await;
            let _ = socket.write_all(b"data: first \n\n").await;
            tokio::time::sleep(after).await;
            let _ = socket.write_all(b"data: second\n\n").await;
        });
        let client = HttpClient::new(&base, false, []).unwrap();
        let opened = client.open(&[], Vec::new(), Duration::from_secs(300)).await?;
        let Opened::Stream(body) = opened else { panic!("no stream") };
        let mut stream = sse::events(body, |data| Ok(sse::Event::Chunk(Chunk::text(data))));
        let mut text = String::new();
        while let Some(chunk) = stream.next().await {
            text.push_str(&chunk?.text);
        }
        server.await.unwrap();
        Ok(text)
    }

    // The clock stands still, and jumps to the next thing that is waited for.
    #[tokio::test(start_paused = true)]
    async fn a_model_may_think_before_its_first_words_and_not_fall_silent_after_them() {
        let seconds = Duration::from_secs;
        assert_eq!(streamed(seconds(40), seconds(20)).await.unwrap(), "first second");
        let error = streamed(seconds(40), seconds(40)).await.unwrap_err();
        assert_eq!(error.kind(), ProviderErrorKind::Timeout);
        assert!(error.to_string().contains("said nothing for 30s"), "{error}");
    }

    #[test]
    fn unusable_addresses_are_refused_before_anything_is_sent() {
        let client = |base: &str, allow| {
            HttpClient::new(base, allow, []).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(client("http://127.0.0.1:8080/v1", false), Ok(()));
        assert!(client("http://10.0.0.1/v1", false).unwrap_err().contains("plain http"));
        assert_eq!(client("http://10.0.0.1/v1", true), Ok(()));
        assert!(client("https://user:pass@example.com/v1", false).is_err());
        let bad_header = [("x y".to_owned(), Secret::new("v"))];
        assert!(
            HttpClient::new("http://127.0.0.1/", false, bad_header).unwrap_err().to_string().contains("x y")
        );
    }

    #[test]
    fn debug_shows_no_header_value() {
        let key = Secret::new("Bearer sk-12345");
        let client =
            HttpClient::new("http://127.0.0.1:1/v1", false, [("authorization".to_owned(), key)]).unwrap();
        let shown = format!("{client:?}");
        assert!(!shown.contains("sk-12345"), "{shown}");
    }
}
