//! Keeps secrets out of diagnostics: whatever looks like one is blanked before a file is shown.
//!
//! Works on the text, not on the parsed tree, so that a file that is not even TOML is safe to show.

use std::ops::Range;

/// Ways in which well-known services begin their keys.
const PREFIXES: &[&str] = &[
    "sk-",
    "sk_",
    "rk_",
    "pk-lf-",
    "AIza",
    "AKIA",
    "ASIA",
    "xai-",
    "gsk_",
    "hf_",
    "ghp_",
    "gho_",
    "github_pat_",
    "glpat-",
    "eyJ",
    "r8_",
    "nvapi-",
    "pplx-",
    "fw_",
    "csk-",
    "tgp_v1_",
    "ya29",
];

/// Keys whose value is a secret unless it is the name of an environment variable.
const SECRET_KEYS: &[&str] = &[
    "api_key_env",
    "api_key",
    "apikey",
    "api-key",
    "x-api-key",
    "x-goog-api-key",
    "authorization",
    "key",
    "token",
    "secret",
    "password",
];

/// The same text, byte for byte as long, with secrets replaced by `*`.
pub(super) fn mask(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for span in tokens(text).chain(values(text)).chain(user_infos(text)) {
        // Every byte of a character goes, so the text stays UTF-8.
        bytes[span].fill(b'*');
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// True for what services hand out as keys: a known beginning, or a long run of mixed letters and digits.
pub(super) fn looks_like_key(token: &str) -> bool {
    let known = PREFIXES.iter().any(|prefix| token.len() >= prefix.len() + 8 && token.starts_with(prefix));
    let random = |part: &str| {
        part.len() >= 20
            && part.bytes().any(|byte| byte.is_ascii_digit())
            && part.bytes().any(|byte| byte.is_ascii_alphabetic())
    };
    known || token.split(['-', '_']).any(random)
}

/// True for the name of an environment variable.
pub(super) fn is_variable(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !looks_like_key(name)
}

/// True for headers that carry credentials.
pub(super) fn is_secret_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_KEYS.contains(&name.as_str()) || name == "cookie" || name == "proxy-authorization"
}

/// Words that look like keys.
fn tokens(text: &str) -> impl Iterator<Item = Range<usize>> {
    split(text, |byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        .filter(|span| looks_like_key(&text[span.clone()]))
}

/// Runs of bytes that belong to words.
fn split(text: &str, belongs: fn(u8) -> bool) -> impl Iterator<Item = Range<usize>> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + bytes.get(at..)?.iter().position(|&byte| belongs(byte))?;
        let length = bytes[start..].iter().position(|&byte| !belongs(byte));
        at = length.map_or(bytes.len(), |length| start + length);
        Some(start..at)
    })
}

/// Values of [`SECRET_KEYS`] that are not the name of an environment variable.
fn values(text: &str) -> impl Iterator<Item = Range<usize>> {
    split(text, |byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-').filter_map(|span| {
        let key = text[span.clone()].to_ascii_lowercase();
        if !SECRET_KEYS.contains(&key.as_str()) {
            return None;
        }
        let rest = text[span.end..].trim_start_matches(['"', '\'']).trim_start_matches([' ', '\t']);
        let rest = rest.strip_prefix('=')?.trim_start_matches([' ', '\t']);
        let start = text.len() - rest.len();
        let value = value(rest);
        let inner = value.trim_matches(['"', '\'', ' ', '\t', '\r']);
        let offset = value.find(inner).unwrap_or(0);
        (!is_variable(inner)).then_some(start + offset..start + offset + inner.len())
    })
}

/// The value at the start of the text: a string of any of TOML's four kinds, or what stands before the next separator.
fn value(text: &str) -> &str {
    for quote in ["\"\"\"", "'''"] {
        if let Some(rest) = text.strip_prefix(quote) {
            return &text[..rest.find(quote).map_or(text.len(), |end| end + 2 * quote.len())];
        }
    }
    let line = &text[..text.find('\n').unwrap_or(text.len())];
    match line.as_bytes().first() {
        Some(b'"') => {
            let mut escaped = false;
            let end = line.bytes().enumerate().skip(1).find(|&(_, byte)| {
                let closes = byte == b'"' && !escaped;
                escaped = byte == b'\\' && !escaped;
                closes
            });
            &line[..end.map_or(line.len(), |(at, _)| at + 1)]
        }
        Some(b'\'') => &line[..line[1..].find('\'').map_or(line.len(), |end| end + 2)],
        _ => &line[..line.find([',', '}', '#']).unwrap_or(line.len())],
    }
}

/// `user:password` in `https://user:password@host`.
fn user_infos(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices("://").filter_map(|(at, mark)| {
        let start = at + mark.len();
        let authority = text[start..].split(['/', '"', '\'', '\n', ' ', '?', '#']).next()?;
        let end = authority.rfind('@')?;
        Some(start..start + end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_blanked_wherever_they_stand() {
        for (text, shown) in [
            ("api_key_env = \"OPENAI_API_KEY\"", "api_key_env = \"OPENAI_API_KEY\""),
            ("api_key_env = \"sk-abcdefgh12\"", "api_key_env = \"*************\""),
            ("api_key_env = \"my secret é\" # x", "api_key_env = \"************\" # x"),
            ("x = { api_key_env = 'a b', y = 1 }", "x = { api_key_env = '***', y = 1 }"),
            ("api_key_env = abc def", "api_key_env = *******"),
            ("api_key_env = \"\"\"a\nb c\"\"\"", "api_key_env = \"\"\"*****\"\"\""),
            ("api_key_env = \"a\\\" b\"", "api_key_env = \"*****\""),
            ("\"Authorization\" = \"Bearer x\"", "\"Authorization\" = \"********\""),
            ("url = \"https://me:pass@host/v1\"", "url = \"https://*******@host/v1\""),
            ("note = \"0123456789abcdef0123456789abcdef\"", "note = \"********************************\""),
            (
                "model = \"Meta-Llama-3.1-70B-Instruct-Turbo\"",
                "model = \"Meta-Llama-3.1-70B-Instruct-Turbo\"",
            ),
            ("model = \"claude-3-5-sonnet-20241022\"", "model = \"claude-3-5-sonnet-20241022\""),
            ("max_output_tokens = 512", "max_output_tokens = 512"),
            ("key", "key"),
            ("key =", "key ="),
            ("key = \"", "key = \""),
        ] {
            assert_eq!(mask(text), shown);
        }
    }

    proptest::proptest! {
        #[test]
        fn masking_keeps_every_length(text in "(api_key_env|key|https://|@|\"\"\"|[\"'=\\\\ \n]|é|sk-abcdefgh|[a-z0-9]){0,40}") {
            proptest::prop_assert_eq!(mask(&text).len(), text.len());
        }
    }
}
