//! The embedding of a text that `cascade explain` is asked about: read from the route's file, or asked for where that is wanted.

use super::collect::runtime;
use super::embed::connect;
use crate::failure::Result;
use crate::money::dollars;
use crate::project::Project;
use cascade_sdk::embedding::EmbeddingFailure;
use cascade_sdk::provider::EmbeddingCall;
use cascade_sdk_core::config::{EmbeddingSettings, Route, ServedEmbedding};
use cascade_sdk_core::diag::Diagnostic;
use cascade_sdk_core::money::Usd;

/// How often a call is sent again.
const RETRIES: u32 = 2;

/// A text's vector.
pub(super) struct Embedded {
    pub(super) vector: Vec<f32>,
    /// What asking for it cost; `None` where nobody was asked.
    pub(super) cost: Option<Usd>,
}

/// The vector of a text. A provider is asked for it only if `ask` says so.
///
/// # Errors
/// A file or answer that cannot be used, or nobody to make it.
pub(super) fn of_text(project: &Project, route: &Route, text: &str, ask: bool) -> Result<Embedded> {
    let Some(settings) = &route.embedding else {
        return Err(needed(
            "the policy's router needs an embedding",
            "declare it with [routes.ROUTE.embedding]",
        ));
    };
    if let Some(file) = &settings.file {
        let table = project.static_embedding(route, file, settings.dimensions)?;
        return Ok(Embedded { vector: table.embed(text), cost: None });
    }
    let model = &settings.model;
    let message = format!("the policy's router needs an embedding by `{model}`");
    let Some(served) = &settings.served else {
        let help = "your application makes it: explain a row of the log that has one, with --row ID";
        return Err(needed(message, help));
    };
    if text.is_empty() {
        // As at run time, where an empty text is not sent.
        return Ok(Embedded { vector: vec![0.0; settings.dimensions], cost: None });
    }
    if !ask {
        let most = dollars(EmbeddingCall::new(settings, &[text]).most_cost());
        let help = format!(
            "`--embed` sends the text to provider `{}` for it, for {most} at most; --row ID explains a row of the log that has one",
            served.provider
        );
        return Err(needed(message, help));
    }
    asked(project, settings, served, text)
}

fn asked(
    project: &Project,
    settings: &EmbeddingSettings,
    served: &ServedEmbedding,
    text: &str,
) -> Result<Embedded> {
    let missing =
        || Diagnostic::error("cli::internal", format!("there is no provider `{}`", served.provider));
    let server = connect(project.config.provider(&served.provider).ok_or_else(missing)?)?;
    let texts = [text];
    let call = EmbeddingCall::new(settings, &texts);
    let result = runtime()?.block_on(server.embed(&call, RETRIES));
    let cost = call.bill(&result).cost;
    let failed = |why: String| {
        let error =
            Diagnostic::error("explain::embedding", format!("no embedding by `{}`: {why}", settings.model));
        error.help(format!(
            "it cost {}; `cascade explain ROUTE --row ID` takes the vector of the log",
            dollars(cost)
        ))
    };
    let reply = result.map_err(|error| failed(error.to_string()))?;
    let vector = reply.vectors.into_iter().next().unwrap_or_default();
    match EmbeddingFailure::of_vector(settings, &vector) {
        Some(failure) => Err(failed(failure.to_string()).into()),
        None => Ok(Embedded { vector, cost: Some(cost) }),
    }
}

fn needed(message: impl Into<String>, help: impl Into<String>) -> crate::failure::Failure {
    Diagnostic::error("explain::missing-input", message).help(help).into()
}
