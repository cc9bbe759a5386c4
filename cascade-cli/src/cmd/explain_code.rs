//! `cascade explain CODE`: the page of a message.

use crate::failure::{Answer, Result};
use crate::pages;
use crate::terminal::Terminal;
use crate::words::wrap;
use cascade_sdk_core::diag::Diagnostic;
use cascade_sdk_core::name::nearest;
use serde_json::json;

/// What a code means.
///
/// # Errors
/// A code without a page.
pub(super) fn page(code: &str, terminal: Terminal) -> Result<Answer> {
    let Some(text) = pages::find(code) else {
        let error = Diagnostic::error("explain::no-code", format!("there is no page for `{code}`"));
        let error = match nearest(code, pages::all().map(|(code, _)| code)) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error,
        };
        return Err(error.help("`cascade explain --codes` lists all").into());
    };
    if terminal.is_json() {
        terminal.print_json(&json!({ "code": code, "page": text }));
    } else {
        let mut lines = vec![code.to_owned()];
        for paragraph in text.split("\n\n") {
            lines.push(String::new());
            lines.extend(wrap(paragraph));
        }
        terminal.print_lines(&lines);
    }
    Ok(Answer::Yes)
}

/// Every code.
pub(super) fn list(terminal: Terminal) -> Answer {
    let codes: Vec<&str> = pages::all().map(|(code, _)| code).collect();
    if terminal.is_json() {
        terminal.print_json(&json!({ "codes": codes }));
    } else {
        terminal.print_lines(&codes);
    }
    Answer::Yes
}
