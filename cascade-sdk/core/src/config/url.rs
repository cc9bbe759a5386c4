//! The little that must be known of a base URL before anything is sent to it.

/// What is wrong with a base URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlError {
    /// Not `http://host…` or `https://host…`.
    Shape,
    /// A user name or password, which belongs in the environment.
    UserInfo,
    /// A query or fragment, to which no path can be added.
    Query,
    /// Plain http to another machine.
    Insecure,
}

impl std::fmt::Display for UrlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Shape => "is not a URL of the form `https://host/path`",
            Self::UserInfo => "holds a user name or password",
            Self::Query => "has a query or fragment",
            Self::Insecure => "is plain http to another machine: keys and prompts could be read on the way",
        })
    }
}

/// Checks a base URL: of a provider in the configuration, or one that replaces it at run time.
///
/// # Errors
/// What is wrong with it. Plain http is only for this machine, unless `allow_http` is set.
pub fn check_base_url(url: &str, allow_http: bool) -> Result<(), UrlError> {
    let (secure, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return Err(UrlError::Shape),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split_once(']').ok_or(UrlError::Shape)?.0,
        None => authority.split(':').next().unwrap_or(authority),
    };
    if authority.contains('@') {
        Err(UrlError::UserInfo)
    } else if host.is_empty() || url.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
        Err(UrlError::Shape)
    } else if url.contains(['?', '#']) {
        Err(UrlError::Query)
    } else if !secure && !allow_http && !is_loopback(host) {
        Err(UrlError::Insecure)
    } else {
        Ok(())
    }
}

fn is_loopback(host: &str) -> bool {
    let name = host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost");
    name || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls() {
        for (url, expected) in [
            ("https://api.openai.com/v1", Ok(())),
            ("http://localhost:8080", Ok(())),
            ("http://127.0.0.1:1/v1", Ok(())),
            ("http://[::1]:1/v1", Ok(())),
            ("http://127.evil.com", Err(UrlError::Insecure)),
            ("http://localhost.evil.com", Err(UrlError::Insecure)),
            ("http://[::2]/", Err(UrlError::Insecure)),
            ("http://me@localhost", Err(UrlError::UserInfo)),
            ("https://a/b?key=1", Err(UrlError::Query)),
            ("https://", Err(UrlError::Shape)),
            ("ftp://a", Err(UrlError::Shape)),
            ("https://a b", Err(UrlError::Shape)),
            ("http://[::1", Err(UrlError::Shape)),
        ] {
            assert_eq!(check_base_url(url, false), expected, "{url}");
        }
        assert_eq!(check_base_url("http://10.0.0.5", true), Ok(()));
    }
}
