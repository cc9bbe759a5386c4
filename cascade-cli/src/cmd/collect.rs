//! `cascade collect`.

use crate::cli::{Collect, Global};
use crate::collect::fold::{Recorded, Rows};
use crate::collect::journal::{Cell, Journal, Past};
use crate::collect::progress::Progress;
use crate::collect::prompts::{self, Ask, Prompt};
use crate::collect::report::{self, Plan};
use crate::collect::run::{self, Job, Lane};
use crate::collect::spend::Ledger;
use crate::failure::{Answer, Failure, Result};
use crate::project::Project;
use crate::terminal::Terminal;
use crate::words::some_of;
use cascade_sdk::money::Usd;
use cascade_sdk::provider;
use cascade_sdk::{AnswerSchema, Message, Request};
use cascade_sdk_core::config::{Route, Tier, request_fingerprint};
use cascade_sdk_core::diag::Diagnostic;
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Calls in flight for each tier where neither flag nor configuration says otherwise.
const DEFAULT_CONCURRENCY: u32 = 4;

/// Runs the command.
///
/// # Errors
/// A configuration, prompt file, log or journal that cannot be used, or a provider without its key.
pub(crate) fn run(global: &Global, args: &Collect, terminal: Terminal) -> Result<Answer> {
    let project = Project::load(global, terminal)?;
    let route = project.route(&args.route)?;
    let tiers = chosen_tiers(&project, route, &args.tiers)?;
    let cap = args.max_spend.as_deref().map(parse_cap).transpose()?;
    let log = log_path(&project, route, args)?;
    let (schema, schema_text) = project.answer_schema(route)?;
    let job = Job::new(prompts::read(&args.prompts)?, route.request.clone(), schema, args.keep_logprobs)?;
    let mut rows = Rows::read(&log)?;
    let past = Journal::read(&log, &route.name)?;
    refuse_changed(&job, &rows, &past, &log)?;
    if args.regrade {
        return regrade(&job, rows, &past, &log, terminal);
    }
    let mut plans = Vec::new();
    for tier in tiers {
        let request = request_fingerprint(&tier.model, &route.request, schema_text.as_deref());
        let queue = queue(&job, &rows, &past, tier, &request, &log, args.retry_failed)?;
        plans.push(Plan { tier, request, queue });
    }
    if args.dry_run {
        report::dry_run(&job, &plans, &past, cap, &log, terminal)?;
        return Ok(Answer::Yes);
    }
    report::past(&past, terminal);

    let lanes = lanes(&project, plans, args.concurrency)?;
    let calls: usize = lanes.iter().map(|lane| lane.queue.len()).sum();
    let (journal, past) = Journal::open(&log, &route.name)?;
    let progress = Progress::new(calls as u64, terminal.is_json());
    let ledger = Ledger::new(cap, past.spent);
    let job = Arc::new(job);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Diagnostic::error("cli::io", format!("cannot start the runtime: {error}")))?;
    let (journal, summary) =
        runtime.block_on(run::run(Arc::clone(&job), lanes, journal, ledger, progress))?;

    // Read again: the journal on disk is what a killed run would have left, so that both end in the same log.
    let after = Journal::read(&log, &route.name)?;
    rows.fold(&job.prompts, &after.results)?;
    if !after.results.is_empty() {
        rows.write(&log, &job.prompts)?;
    }
    journal.finish(after.spent, summary.is_complete())?;
    report::end(&route.name, &log, &summary, &after, terminal);
    Ok(if summary.is_complete() { Answer::Yes } else { Answer::No })
}

fn chosen_tiers<'a>(project: &'a Project, route: &'a Route, wanted: &[String]) -> Result<Vec<&'a Tier>> {
    if let Some(unknown) = wanted.iter().find(|name| !route.tiers.contains(name)) {
        return Err(Failure::usage(
            format!("route `{}` has no tier `{unknown}`", route.name),
            format!("its tiers are {}", some_of(route.tiers.iter().map(String::as_str))),
        ));
    }
    let names = route.tiers.iter().filter(|name| wanted.is_empty() || wanted.contains(name));
    Ok(names.filter_map(|name| project.config.tier(name)).collect())
}

fn parse_cap(text: &str) -> Result<Usd> {
    match Usd::parse(text.trim_start_matches('$')) {
        Ok(cap) if !cap.is_negative() => Ok(cap),
        Ok(_) => Err(Failure::usage("--max-spend is negative", "give an amount in US dollars, such as 2.50")),
        Err(error) => Err(Failure::usage(
            format!("--max-spend {text}: {error}"),
            "give an amount in US dollars, such as 2.50",
        )),
    }
}

fn log_path(project: &Project, route: &Route, args: &Collect) -> Result<PathBuf> {
    let path = match (&args.out, route.log.as_slice()) {
        (Some(out), _) => out.clone(),
        (None, [one]) if !one.contains(['*', '?', '[', '{']) => project.path(one),
        (None, _) => {
            return Err(Failure::usage(
                format!("route `{}` does not name exactly one log file", route.name),
                "say where to write with --out LOG",
            ));
        }
    };
    if path.extension().is_none_or(|extension| extension != "jsonl") {
        return Err(Failure::usage(
            format!("cannot write `{}`: collected logs are JSON Lines", path.display()),
            "give a file that ends in .jsonl with --out",
        ));
    }
    Ok(path)
}

impl Job {
    fn new(
        prompts: Vec<Prompt>,
        settings: cascade_sdk_core::config::RequestSettings,
        schema: AnswerSchema,
        keep_logprobs: bool,
    ) -> Result<Self> {
        let requests = prompts.iter().map(request).collect::<Result<Vec<_>>>()?;
        let prompt_hashes = prompts.iter().map(|prompt| prompt.ask.hash()).collect();
        Ok(Self { prompts, requests, prompt_hashes, settings, schema, keep_logprobs })
    }
}

fn request(prompt: &Prompt) -> Result<Request> {
    let request = match &prompt.ask {
        Ask::Input(input) => Request::new(input.as_str()),
        Ask::Messages(messages) => {
            let (system, rest) = match messages.split_first() {
                Some((first, rest)) if first.role == "system" => (Some(first), rest),
                _ => (None, messages.as_slice()),
            };
            let turns = rest.iter().map(|message| match message.role.as_str() {
                "user" => Ok(Message::user(message.content.as_str())),
                "assistant" => Ok(Message::assistant(message.content.as_str())),
                _ => Err(Diagnostic::error(
                    "prompts::value",
                    format!("prompt `{}` has a system message that is not its first message", prompt.id),
                )
                .help("put one system message in front")),
            });
            let request = Request::from_messages(turns.collect::<std::result::Result<Vec<_>, Diagnostic>>()?);
            match system {
                Some(system) => request.with_system(system.content.as_str()),
                None => request,
            }
        }
    };
    Ok(request.with_id(prompt.id.as_str()))
}

/// A prompt whose text is not the one that was asked would mix the answers of two questions in one row.
fn refuse_changed(job: &Job, rows: &Rows, past: &Past, log: &Path) -> Result<()> {
    let mut changed = rows.changed(&job.prompts);
    for (prompt, hash) in job.prompts.iter().zip(&job.prompt_hashes) {
        let pending = past.results.iter().any(|((id, _), result)| *id == prompt.id && result.prompt != *hash);
        if pending && !changed.contains(&prompt.id.as_str()) {
            changed.push(&prompt.id);
        }
    }
    if changed.is_empty() {
        return Ok(());
    }
    Err(Diagnostic::error(
        "collect::prompt-changed",
        format!("{} was asked with another text in `{}`", some_of(changed), log.display()),
    )
    .help("give changed prompts new ids, or collect into another log with --out")
    .into())
}

/// The prompts that a tier has still to be asked.
fn queue(
    job: &Job,
    rows: &Rows,
    past: &Past,
    tier: &Tier,
    request: &str,
    log: &Path,
    retry_failed: bool,
) -> Result<VecDeque<usize>> {
    let mut queue = VecDeque::new();
    let mut other_request = Vec::new();
    for (index, prompt) in job.prompts.iter().enumerate() {
        let cell: Cell = (prompt.id.clone(), tier.name.clone());
        let pending = past.results.get(&cell).map(|pending| Recorded::of(&pending.result));
        match pending.or_else(|| rows.recorded(&prompt.id, &tier.name)) {
            None => queue.push_back(index),
            Some(recorded) if recorded.request.as_deref().is_some_and(|before| before != request) => {
                other_request.push(prompt.id.as_str());
            }
            Some(recorded) if recorded.failed && retry_failed => queue.push_back(index),
            Some(_) => {}
        }
    }
    if other_request.is_empty() {
        return Ok(queue);
    }
    Err(Diagnostic::error(
        "collect::request-changed",
        format!(
            "`{}` has answers of tier `{}` to another request (model, system prompt, sampling or schema): {}",
            log.display(),
            tier.name,
            some_of(other_request)
        ),
    )
    .help("thresholds fitted on mixed requests mean nothing: collect into another log with --out, or give the changed tier another name")
    .into())
}

fn lanes(project: &Project, plans: Vec<Plan<'_>>, concurrency: Option<u32>) -> Result<Vec<Lane>> {
    let mut providers = BTreeMap::new();
    let mut lanes = Vec::new();
    for plan in plans {
        if plan.queue.is_empty() {
            continue;
        }
        let name = plan.tier.provider.as_str();
        let Some(settings) = project.config.provider(name) else { continue };
        if !providers.contains_key(name) {
            let connected = provider::connect(settings, None, &|key| std::env::var(key).ok())
                .map_err(|error| Diagnostic::error("collect::provider", error.to_string()))?;
            let permits = settings.max_concurrency.map_or(Semaphore::MAX_PERMITS, |limit| limit as usize);
            providers.insert(name, (connected, Arc::new(Semaphore::new(permits))));
        }
        let Some((provider, gate)) = providers.get(name) else { continue };
        lanes.push(Lane {
            tier: plan.tier.clone(),
            provider: Arc::clone(provider),
            gate: Arc::clone(gate),
            concurrency: concurrency.or(settings.max_concurrency).unwrap_or(DEFAULT_CONCURRENCY),
            request: plan.request,
            queue: plan.queue,
        });
    }
    Ok(lanes)
}

fn regrade(job: &Job, mut rows: Rows, past: &Past, log: &Path, terminal: Terminal) -> Result<Answer> {
    if !past.results.is_empty() {
        return Err(Diagnostic::error(
            "collect::unfinished",
            format!("an interrupted job left {} results that are not in the log yet", past.results.len()),
        )
        .help("finish it first: run the same command without --regrade")
        .into());
    }
    let changed = rows.regrade(&job.prompts, |output| job.schema.read_text(output).ok())?;
    rows.write(log, &job.prompts)?;
    if terminal.is_json() {
        terminal.print_json(&json!({ "log": log, "changed": changed }));
    } else {
        terminal.print(&format!("{changed} answers are graded differently now in `{}`\n", log.display()));
    }
    Ok(Answer::Yes)
}
