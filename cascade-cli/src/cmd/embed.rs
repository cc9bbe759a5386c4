//! `cascade embed`: the embeddings that a log lacks.

use super::collect::{parse_cap, runtime};
use super::collect_providers::DEFAULT_CONCURRENCY;
use crate::cli::{Embed, Global};
use crate::collect::pace::Pace;
use crate::collect::spend::Ledger;
use crate::embed::logs;
use crate::embed::run::{Job, Summary, most_cost};
use crate::failure::{Answer, Failure, Result};
use crate::money::dollars;
use crate::project::Project;
use crate::terminal::Terminal;
use crate::words::{count, item};
use cascade_sdk::provider::{DEFAULT_TIMEOUT, EmbeddingServer};
use cascade_sdk_core::config::{EmbeddingSettings, Provider, Route};
use cascade_sdk_core::diag::Diagnostic;
use cascade_sdk_core::money::Usd;
use serde_json::json;
use std::sync::Arc;

/// Runs the command.
///
/// # Errors
/// A configuration or log that cannot be used, a provider without its key, or a file that cannot be written.
pub(crate) fn run(global: &Global, args: &Embed, terminal: Terminal) -> Result<Answer> {
    let project = Project::load(global, terminal)?;
    let route = project.route(&args.route)?;
    let (settings, provider) = server_of(&project, route)?;
    let cap = args.max_spend.as_deref().map(parse_cap).transpose()?;
    let mut files = logs::read(&project, route, settings, !args.dry_run)?;
    let (missing, without_text) = logs::missing(&mut files, settings);
    let queue = logs::batches(missing);
    let rows: usize = queue.iter().map(Vec::len).sum();
    let most = queue.iter().fold(Usd::ZERO, |sum, batch| sum.saturating_add(most_cost(settings, batch)));
    if args.dry_run {
        if terminal.is_json() {
            terminal.print_json(&json!({
                "route": route.name, "model": settings.model, "rows": rows, "calls": queue.len(),
                "without_text": without_text, "most_cost_usd": most.to_f64(),
            }));
        } else {
            let calls = count(queue.len(), "call");
            let text = format!(
                "{} to embed by {} in {calls}, for {} at most",
                count(rows, "row"),
                settings.model,
                dollars(most)
            );
            terminal.print_lines(&item("", &text));
        }
        return Ok(Answer::Yes);
    }
    let before = files.iter().fold(Usd::ZERO, |sum, file| sum.saturating_add(file.spent_before));
    let mut ledger = Ledger::new(cap, before);
    let mut summary = Summary::default();
    if !queue.is_empty() {
        let server = connect(provider)?;
        // A call of many texts takes longer than that of one.
        let patient =
            EmbeddingSettings { timeout: settings.timeout.max(DEFAULT_TIMEOUT), ..settings.clone() };
        let job = Job {
            server,
            settings: Arc::new(patient),
            pace: Arc::new(Pace::new(provider.requests_per_minute)),
            concurrency: args.concurrency.or(provider.max_concurrency).unwrap_or(DEFAULT_CONCURRENCY)
                as usize,
        };
        runtime()?.block_on(job.run(queue, &mut files, &mut ledger, &mut summary))?;
    }
    let charged: Vec<Usd> = files.iter().flat_map(|file| file.may_have_been_charged.clone()).collect();
    for file in files {
        file.finish()?;
    }
    let this_run = ledger.spent().saturating_sub(before);
    let left = rows - summary.embedded.min(rows);
    if terminal.is_json() {
        terminal.print_json(&json!({
            "route": route.name, "model": settings.model, "embedded": summary.embedded, "left": left,
            "refused": summary.refused, "without_text": without_text, "tokens": summary.tokens,
            "cost_usd": this_run.to_f64(), "spent_usd": ledger.spent().to_f64(),
            "may_have_been_charged": charged.iter().map(|cost| cost.to_f64()).collect::<Vec<_>>(),
            "stopped": summary.stopped,
        }));
    } else {
        terminal.print_lines(&told(
            &summary,
            left,
            without_text,
            [this_run, ledger.spent()],
            &charged,
            settings,
        ));
    }
    Ok(if left == 0 { Answer::Yes } else { Answer::No })
}

/// The `/embeddings` endpoint of a provider.
///
/// # Errors
/// A key that is missing, or an address that cannot be used.
pub(super) fn connect(provider: &Provider) -> Result<EmbeddingServer> {
    EmbeddingServer::connect(provider, None, &|key| std::env::var(key).ok()).map_err(|error| {
        let help = format!("set what [providers.{}] names, or correct it there", provider.name);
        Diagnostic::error("collect::provider", error.to_string()).help(help).into()
    })
}

/// The route's embedding, and the provider that makes it.
fn server_of<'p>(project: &'p Project, route: &'p Route) -> Result<(&'p EmbeddingSettings, &'p Provider)> {
    let settings = route.embedding.as_ref();
    let served = settings.and_then(|settings| Some((settings, settings.served.as_ref()?)));
    let found =
        served.and_then(|(settings, served)| Some((settings, project.config.provider(&served.provider)?)));
    if let Some(file) = settings.and_then(|settings| settings.file.as_ref()) {
        return Err(Failure::usage(
            format!(
                "the embedding of route `{}` is read from `{file}`, so its log needs no vectors",
                route.name
            ),
            "run `cascade fit`, which reads them from the prompts",
        ));
    }
    found.ok_or_else(|| {
        Failure::usage(
            format!("route `{}` names no provider that makes its embeddings", route.name),
            format!(
                "set `provider` under [routes.{}.embedding], or write the vectors of your own model into the log as `embedding`",
                route.name
            ),
        )
    })
}

fn told(
    summary: &Summary,
    left: usize,
    without_text: usize,
    [this_run, spent]: [Usd; 2],
    charged: &[Usd],
    settings: &EmbeddingSettings,
) -> Vec<String> {
    let rows = count(summary.embedded, "row");
    let text =
        format!("{rows} embedded by {}: {}, {}", settings.model, tokens(summary.tokens), dollars(this_run));
    let mut lines = item("", &text);
    if spent > this_run {
        lines.extend(item("", &format!("{} spent by this job, earlier runs included", dollars(spent))));
    }
    if !charged.is_empty() {
        let most = charged.iter().fold(Usd::ZERO, |sum, cost| sum.saturating_add(*cost));
        let text = format!(
            "{} in flight when an earlier run was killed, counted at {}, the most they can have cost",
            count(charged.len(), "call"),
            dollars(most)
        );
        lines.extend(item("", &text));
    }
    if let Some(stopped) = &summary.stopped {
        lines.extend(item("stopped: ", stopped));
    }
    if let Some(refusal) = &summary.refusal {
        let text = format!("{}, the first because {refusal}", count(summary.refused, "row"));
        lines.extend(item("refused: ", &text));
    }
    if left > 0 {
        let text = format!("{} without a vector; the same command goes on", count(left, "row"));
        lines.extend(item("left: ", &text));
    }
    if without_text > 0 {
        let text = format!("{} with neither `input` nor `messages`", count(without_text, "row"));
        lines.extend(item("no text: ", &text));
    }
    lines
}

fn tokens(tokens: u64) -> String {
    format!("{tokens} token{}", if tokens == 1 { "" } else { "s" })
}
