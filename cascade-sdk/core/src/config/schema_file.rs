//! The file that `request.answer` names: whoever reads it says the same where it cannot be read.

use super::{Config, Route};
use crate::diag::Diagnostic;

/// Remedy of every fault.
const REMEDY: &str =
    "write `AnswerSchema::of::<T>().to_json()` of the answer's type there, or use `answer = \"text\"`";

/// The finding about a schema file that does not exist, at the line that names it.
pub fn schema_missing(config: &Config, route: &Route, path: &str) -> Diagnostic {
    at(config, route, Diagnostic::error("request::schema-missing", format!("there is no schema `{path}`")))
        .help(REMEDY)
}

/// The finding about a schema file that exists and cannot be read; `why` says why, and names the file.
pub fn schema_unreadable(config: &Config, route: &Route, why: &str) -> Diagnostic {
    at(config, route, Diagnostic::error("request::schema-unreadable", why))
        .help("name a file that can be read as UTF-8 text")
        .help(REMEDY)
}

/// The finding about a schema file that is no schema.
pub fn schema_invalid(config: &Config, route: &Route, why: &str) -> Diagnostic {
    at(config, route, Diagnostic::error("config::schema", why))
        .help("mend the schema file, or use `answer = \"text\"`")
}

fn at(config: &Config, route: &Route, finding: Diagnostic) -> Diagnostic {
    config.places.label(finding, &["routes", &route.name, "request", "answer"], "")
}
