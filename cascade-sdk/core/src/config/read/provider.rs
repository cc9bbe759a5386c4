//! `[providers.*]`.

use super::{Declared, names};
use crate::config::section::{Read, Section};
use crate::config::{Api, LengthKey, Provider, UrlError, check_base_url, codes, secrets};
use crate::document::read::{Findings, Item};

pub(super) fn read_all<'d>(root: &mut Section<'d>) -> Declared<'d, Provider> {
    let entries = root.named("providers");
    let names = entries.iter().map(|entry| (entry.item.key, entry.item.key_span.clone())).collect();
    Declared::new(names, entries.into_iter().filter_map(read).collect())
}

fn read(entry: Read<'_, Section<'_>>) -> Option<Provider> {
    let Read { value: mut section, item } = entry;
    let findings = section.findings();
    names::check(findings, &item);
    let api = section.choice("api");
    let base_url = section.text("base_url");
    let api_key_env = section.text("api_key_env");
    let api_key_header = section.text("api_key_header");
    let headers = section.item("headers");
    let query = section.item("query");
    let length_key = section.choice("length_key");
    let allow_http = section.boolean("allow_http");
    let log = section.item("log").map(|item| (section.texts_of(&item, "log").unwrap_or_default(), item));
    let signals =
        section.item("signals").map(|item| (section.texts_of(&item, "signals").unwrap_or_default(), item));
    let max_concurrency = section.whole("max_concurrency");
    let requests_per_minute = section.whole("requests_per_minute");
    section.finish();

    let url = base_url.as_ref().filter(|url| {
        check_url(findings, url, allow_http.as_ref().is_some_and(|allow| allow.value));
        true
    });
    let variable = api_key_env.as_ref().filter(|variable| check_variable(findings, variable));
    let key_header = api_key_header.as_ref().filter(|header| check_key_header(findings, header));
    let sent = headers.as_ref().map(|headers| read_headers(findings, headers)).unwrap_or_default();
    let asked = query.as_ref().map(|query| read_query(findings, query)).unwrap_or_default();
    let api = Api::parse(api?.value)?;

    let mut unused: Vec<&Item<'_>> = if api.uses_network() {
        log.iter().map(|(_, item)| item).collect()
    } else {
        let texts = [&base_url, &api_key_env, &api_key_header].into_iter().flatten().map(|read| &read.item);
        let others = allow_http.iter().map(|read| &read.item).chain(signals.iter().map(|(_, item)| item));
        texts.chain(&headers).chain(&query).chain(others).collect()
    };
    unused.extend(length_key.iter().filter(|_| api != Api::OpenAi).map(|read| &read.item));
    for item in unused {
        let message = format!("`{}` does nothing with api `{}`", item.path, api.name());
        findings.push(findings.error(codes::KEY_UNUSED, message, &item.key_span, "").help("remove it"));
    }
    if api.uses_network() && base_url.is_none() && api_key_env.is_none() {
        let warning = findings
            .warning(
                codes::NO_KEY,
                format!("the provider `{}` has no key for a public api", item.key),
                &item.key_span,
                "",
            )
            .help("add `api_key_env`, the name of the environment variable that holds the key")
            .help("or `base_url`, if a server of your own answers");
        findings.push(warning);
    }
    Some(Provider {
        name: item.key.to_owned(),
        api,
        base_url: url.map(|url| url.value.trim_end_matches('/').to_owned()),
        api_key_env: variable.map(|variable| variable.value.to_owned()),
        api_key_header: key_header.map(|header| header.value.to_owned()),
        headers: sent,
        query: asked,
        length_key: length_key.and_then(|key| LengthKey::parse(key.value)),
        allow_http: allow_http.is_some_and(|allow| allow.value),
        log: log
            .map(|(log, _)| log.into_iter().map(|read| read.value.to_owned()).collect())
            .unwrap_or_default(),
        signals: signals
            .map(|(signals, _)| signals.into_iter().map(|read| read.value.to_owned()).collect())
            .unwrap_or_default(),
        max_concurrency: max_concurrency.and_then(|most| u32::try_from(most.value).ok()),
        requests_per_minute: requests_per_minute.and_then(|most| u32::try_from(most.value).ok()),
    })
}

fn check_url(findings: &Findings, url: &Read<'_, &str>, allow_http: bool) {
    let Err(error) = check_base_url(url.value, allow_http) else { return };
    let (code, help) = match error {
        UrlError::Shape => (codes::INVALID_URL, "such as `https://api.openai.com/v1`"),
        UrlError::Query => (codes::INVALID_URL, "requests add a path to it, so it ends at the path"),
        UrlError::UserInfo => {
            (codes::SECRET_IN_FILE, "put the key in an environment variable and name that in `api_key_env`")
        }
        UrlError::Insecure => {
            (codes::INSECURE_URL, "use https, or set `allow_http = true` if the network is yours")
        }
    };
    findings.push(url.item.error(findings, code, format!("`{}` {error}", url.item.path), "").help(help));
}

fn check_variable(findings: &Findings, variable: &Read<'_, &str>) -> bool {
    if secrets::is_variable(variable.value) {
        return true;
    }
    let path = &variable.item.path;
    let message = if secrets::looks_like_key(variable.value) {
        format!("`{path}` holds what looks like a key")
    } else {
        format!("`{path}` is not the name of an environment variable")
    };
    let error = variable
        .item
        .error(findings, codes::SECRET_IN_FILE, message, "")
        .help("write the variable's name, such as `api_key_env = \"OPENAI_API_KEY\"`, and put the key in the variable")
        .help("a key that was committed or shared should be revoked");
    findings.push(error);
    false
}

fn read_headers(findings: &Findings, item: &Item<'_>) -> Vec<(String, String)> {
    let Some(mut table) = item.table(findings) else { return Vec::new() };
    let mut headers = Vec::new();
    for item in table.take_all() {
        let Some(value) = item.text(findings) else { continue };
        if secrets::is_secret_header(item.key) || value.split([' ', ';', '=']).any(secrets::looks_like_key) {
            let error = item
                .error(
                    findings,
                    codes::SECRET_IN_FILE,
                    format!("the header `{}` would carry a secret", item.key),
                    "",
                )
                .help("keys come from the environment only: use `api_key_env`");
            findings.push(error);
        } else if !is_header_name(item.key) || value.chars().any(char::is_control) || !value.is_ascii() {
            let error = item
                .error(
                    findings,
                    codes::INVALID_HEADER,
                    format!("the header `{}` cannot be sent", item.key),
                    "",
                )
                .help("names are letters, digits and dashes; values are printable ASCII");
            findings.push(error);
        } else {
            headers.push((item.key.to_owned(), value.to_owned()));
        }
    }
    headers
}

fn read_query(findings: &Findings, item: &Item<'_>) -> Vec<(String, String)> {
    let Some(mut table) = item.table(findings) else { return Vec::new() };
    let mut parameters = Vec::new();
    for item in table.take_all() {
        let Some(value) = item.text(findings) else { continue };
        if secrets::is_secret_header(item.key) || secrets::looks_like_key(value) {
            let message = format!("the query parameter `{}` would carry a secret", item.key);
            let error = item
                .error(findings, codes::SECRET_IN_FILE, message, "")
                .help("keys come from the environment only, and travel in a header: use `api_key_env`");
            findings.push(error);
        } else {
            parameters.push((item.key.to_owned(), value.to_owned()));
        }
    }
    parameters
}

fn check_key_header(findings: &Findings, header: &Read<'_, &str>) -> bool {
    let usable = is_header_name(header.value);
    if !usable {
        let message = format!("`{}` is not the name of a header", header.item.path);
        let error = header.item.error(findings, codes::INVALID_HEADER, message, "");
        findings.push(error.help("names are letters, digits and dashes, such as `api-key`"));
    }
    usable
}

/// RFC 9110's token, without the marks nobody uses.
fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}
