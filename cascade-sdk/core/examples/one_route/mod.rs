//! A configuration with one route `log`, for programs that fit logs as they are.

use cascade_sdk_core::config::{self, Config};
use cascade_sdk_core::diag::{Source, Style, render_all};
use std::fmt::Write as _;

/// The route has these tiers and this line as its objective. Prices do not matter: the log states costs.
pub(crate) fn config(tiers: &[String], objective: &str) -> Result<Config, String> {
    let mut text = String::from("schema = 1\n[providers.log]\napi = \"replay\"\n");
    for tier in tiers {
        let _ = write!(
            text,
            "[tiers.{tier:?}]\nprovider = \"log\"\nmodel = {tier:?}\nprice = {{ input = 0.0, output = 0.0 }}\n"
        );
    }
    let _ = write!(
        text,
        "[routes.log]\ntiers = {tiers:?}\nlog = [\"log.jsonl\"]\n[routes.log.objective]\n{objective}\n"
    );
    let (config, findings) = config::read(&Source::new("cascade.toml", text));
    config.ok_or_else(|| render_all(&findings, Style::Plain))
}
