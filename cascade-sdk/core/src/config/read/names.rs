//! Names that people choose, and the identifiers that are made of them.

use crate::config::codes;
use crate::document::read::{Findings, Item, suggestion};
use crate::name::{self, NameError};
use std::ops::Range;

/// Methods that every generated client has; a route cannot be named like one.
pub const RESERVED_METHODS: &[&str] =
    &["builder", "clone", "from_env", "new", "policy_source", "write_eval_prompts"];

/// Checks the name of a provider, tier, budget or route.
pub(super) fn check(findings: &Findings, item: &Item<'_>) {
    let why = match name::check(item.key) {
        Ok(()) => return,
        Err(NameError::Empty) => "it holds no letter or digit".to_owned(),
        Err(NameError::TooLong) => format!("it is longer than {} bytes", name::MAX_LENGTH),
        Err(NameError::Control) => "it holds a control character".to_owned(),
    };
    let error = findings
        .error(codes::INVALID_NAME, "the name cannot be used", &item.key_span, why)
        .help("letters, digits, dots, slashes, dashes and spaces are fine");
    findings.push(error);
}

/// Two names must not become the same identifier.
pub(super) fn check_collisions(
    findings: &Findings,
    names: &[(&str, Range<usize>)],
    what: &str,
    identifier: impl Fn(&str) -> String,
) {
    for (index, (name, span)) in names.iter().enumerate() {
        let made = identifier(name);
        if let Some((first, first_span)) = names[..index].iter().find(|(first, _)| identifier(first) == made)
        {
            let error = findings.error(
                codes::NAME_COLLISION,
                format!("`{first}` and `{name}` would both become the {what} `{made}`"),
                span,
                "rename this one",
            );
            findings.push(findings.also(error, first_span, "or this one"));
        }
    }
}

/// A route must not be named like the method that streams another's answers.
pub(super) fn check_stream_methods(findings: &Findings, routes: &[(&str, Range<usize>)]) {
    for (name, span) in routes {
        let made = name::method(name);
        if let Some((other, other_span)) = routes.iter().find(|(other, _)| name::stream_method(other) == made)
        {
            let error = findings.error(
                codes::NAME_COLLISION,
                format!(
                    "the method `{made}` of `{name}` is also the one that streams the answers of `{other}`"
                ),
                span,
                "rename this one",
            );
            findings.push(findings.also(error, other_span, "or this one"));
        }
    }
}

/// A reference to a table that is not declared.
pub(super) fn unknown(
    findings: &Findings,
    code: &'static str,
    what: &str,
    found: &str,
    span: &Range<usize>,
    known: &[&str],
) {
    let message = format!("there is no {what} `{found}`");
    let error = findings.error(code, message, span, suggestion(found, known));
    let listed = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    findings.push(error.help(format!("declared: {listed}")));
}
