//! Writes TOML in one canonical form, so that the same values give the same bytes.

/// The shortest decimal that reads back as the same number; whole numbers keep `.0`.
pub(crate) fn number(value: f64) -> String {
    format!("{value:?}")
}

/// A key: bare where TOML allows it, else quoted.
pub(crate) fn key(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare { key.to_owned() } else { string(key) }
}

/// A basic string. JSON's escapes are all TOML's as well.
pub(crate) fn string(text: &str) -> String {
    super::json::Json::text(text).compact()
}
