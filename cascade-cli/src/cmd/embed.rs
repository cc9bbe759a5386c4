//! `cascade embed`: the embeddings that a log lacks.

use super::collect::{parse_cap, runtime};
use super::collect_providers::DEFAULT_CONCURRENCY;
use crate::cli::{Embed, Global};
use crate::collect::lock::Lock;
use crate::collect::pace::Pace;
use crate::collect::run::{Fault, fault, wait_for_interrupt};
use crate::collect::spend::Ledger;
use crate::failure::{Answer, Failure, Result};
use crate::files;
use crate::money::dollars;
use crate::project::Project;
use crate::terminal::Terminal;
use crate::words::{count, item};
use cascade_sdk::embedding::EmbeddingFailure;
use cascade_sdk::provider::{
    DEFAULT_TIMEOUT, EmbeddingBill, EmbeddingCall, EmbeddingReply, EmbeddingServer, ProviderError,
};
use cascade_sdk_core::config::{EmbeddingSettings, Provider, Route};
use cascade_sdk_core::diag::Diagnostic;
use cascade_sdk_core::log::{LogFiles, LogSource, RawJson, ReadOptions, RowRecord, records, write_row};
use cascade_sdk_core::money::Usd;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Most texts of one call.
const MOST_TEXTS: usize = 64;

/// Most bytes of one call, and so fewer tokens than the 300,000 that OpenAI takes at once.
const MOST_BYTES: usize = 256 << 10;

/// How often a call is sent again.
const RETRIES: u32 = 4;

/// Texts that a server refuses one by one before it is left alone, where it has taken none.
const MOST_REFUSED: usize = 5;

/// A file of the log.
struct LogFile {
    path: PathBuf,
    rows: Vec<RowRecord<'static>>,
    changed: bool,
    /// Held until the file is written: what another job writes meanwhile would be lost. A dry run takes none.
    _lock: Option<Lock>,
}

/// A row without a vector, and its text.
#[derive(Clone)]
struct Missing {
    file: usize,
    row: usize,
    text: Arc<str>,
}

/// Rows that are sent together.
type Batch = Vec<Missing>;

/// What a call came to.
struct Done {
    batch: Batch,
    reserved: Usd,
    bill: EmbeddingBill,
    result: std::result::Result<EmbeddingReply, ProviderError>,
}

/// What a run came to.
#[derive(Default)]
struct Summary {
    embedded: usize,
    refused: usize,
    tokens: u64,
    /// Why no more was asked for.
    stopped: Option<String>,
    /// The first refusal.
    refusal: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// A configuration or log that cannot be used, a provider without its key, or a file that cannot be written.
pub(crate) fn run(global: &Global, args: &Embed, terminal: Terminal) -> Result<Answer> {
    let project = Project::load(global, terminal)?;
    let route = project.route(&args.route)?;
    let (settings, provider) = server_of(&project, route)?;
    let cap = args.max_spend.as_deref().map(parse_cap).transpose()?;
    let mut files = read(&project, route, !args.dry_run)?;
    let (missing, without_text) = missing(&mut files, settings);
    let queue = batches(missing);
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
    let mut ledger = Ledger::new(cap, Usd::ZERO);
    let mut summary = Summary::default();
    if !queue.is_empty() {
        let server =
            EmbeddingServer::connect(provider, None, &|key| std::env::var(key).ok()).map_err(|error| {
                let help = format!("set what [providers.{}] names, or correct it there", provider.name);
                Diagnostic::error("collect::provider", error.to_string()).help(help)
            })?;
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
    for file in files.iter().filter(|file| file.changed) {
        write(file)?;
    }
    let left = rows - summary.embedded.min(rows);
    if terminal.is_json() {
        terminal.print_json(&json!({
            "route": route.name, "model": settings.model, "embedded": summary.embedded, "left": left,
            "refused": summary.refused, "without_text": without_text, "tokens": summary.tokens,
            "cost_usd": ledger.spent().to_f64(), "stopped": summary.stopped,
        }));
    } else {
        terminal.print_lines(&told(&summary, left, without_text, ledger.spent(), settings));
    }
    Ok(if left == 0 { Answer::Yes } else { Answer::No })
}

/// The route's embedding, and the provider that makes it.
fn server_of<'p>(project: &'p Project, route: &'p Route) -> Result<(&'p EmbeddingSettings, &'p Provider)> {
    let settings = route.embedding.as_ref();
    let served = settings.and_then(|settings| Some((settings, settings.served.as_ref()?)));
    let found =
        served.and_then(|(settings, served)| Some((settings, project.config.provider(&served.provider)?)));
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

/// The files of the route's log, each with its rows as they stand.
fn read(project: &Project, route: &Route, to_write: bool) -> Result<Vec<LogFile>> {
    let found = LogFiles::find(&project.directory, &route.log);
    if let Some(pattern) = found.missing.first() {
        let error = Diagnostic::error("log::missing", format!("there is no log `{pattern}`"));
        return Err(error
            .help("collect one with `cascade collect`, or correct `log` in the configuration")
            .into());
    }
    let mut files = Vec::new();
    for (name, path) in found.files {
        let plain = if is_packed(&path) { path.with_extension("") } else { path.clone() };
        if !plain.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("jsonl")) {
            return Err(Failure::usage(
                format!("cannot write embeddings into `{name}`: only logs of JSON Lines are completed"),
                "turn it into one with `cascade import table`, or write the column `embedding` yourself",
            ));
        }
        let lock = to_write.then(|| Lock::take(&path)).transpose()?;
        let file = File::open(&path).map_err(|error| Failure::io("read", &path, &error))?;
        // Rewriting the log would lose a broken row.
        let prices = project.config.tiers.iter().map(|tier| (tier.name.clone(), tier.price)).collect();
        let options = ReadOptions { prices, strict: true, ungraded: true, ..ReadOptions::default() };
        let rows = records([LogSource::new(name, file)], &options)?.rows;
        files.push(LogFile { path, rows, changed: false, _lock: lock });
    }
    Ok(files)
}

/// Rows without a vector of the route's model and length, and how many of them have no text. The vector of an empty text is
/// known: zeros, as at run time.
fn missing(files: &mut [LogFile], settings: &EmbeddingSettings) -> (Vec<Missing>, usize) {
    let (mut missing, mut without_text) = (Vec::new(), 0);
    for (at, file) in files.iter_mut().enumerate() {
        for (row, record) in file.rows.iter_mut().enumerate() {
            let vector = record.embedding.as_ref().filter(|raw| !raw.is_null());
            let vector = vector.and_then(|raw| serde_json::from_str::<Vec<f64>>(raw.get()).ok());
            let own = record.embedding_model.as_ref().is_none_or(|model| *model == settings.model);
            if own && vector.is_some_and(|vector| vector.len() == settings.dimensions) {
                continue;
            }
            match record.routing_text().map(|text| Arc::from(&*text)) {
                None => without_text += 1,
                Some(text) if str::is_empty(&text) => {
                    file.changed |= put(record, settings, &vec![0.0; settings.dimensions], Usd::ZERO);
                }
                Some(text) => missing.push(Missing { file: at, row, text }),
            }
        }
    }
    (missing, without_text)
}

fn batches(missing: Vec<Missing>) -> VecDeque<Batch> {
    let mut batches: VecDeque<Batch> = VecDeque::new();
    let mut bytes = 0;
    for row in missing {
        match batches.back_mut() {
            Some(batch) if batch.len() < MOST_TEXTS && bytes + row.text.len() <= MOST_BYTES => {
                bytes += row.text.len();
                batch.push(row);
            }
            _ => {
                bytes = row.text.len();
                batches.push_back(vec![row]);
            }
        }
    }
    batches
}

fn texts(batch: &Batch) -> Vec<&str> {
    batch.iter().map(|row| &*row.text).collect()
}

fn most_cost(settings: &EmbeddingSettings, batch: &Batch) -> Usd {
    EmbeddingCall::new(settings, &texts(batch)).most_cost()
}

/// Who is asked, and how.
struct Job {
    server: EmbeddingServer,
    settings: Arc<EmbeddingSettings>,
    pace: Arc<Pace>,
    concurrency: usize,
}

impl Job {
    /// Asks for all, until an interrupt, the cap, or a failure that the next call would meet as well.
    async fn run(
        &self,
        mut queue: VecDeque<Batch>,
        files: &mut [LogFile],
        ledger: &mut Ledger,
        summary: &mut Summary,
    ) -> Result<()> {
        let mut running = JoinSet::new();
        let mut interrupt = pin!(wait_for_interrupt());
        loop {
            while running.len() < self.concurrency && summary.stopped.is_none() {
                let Some(batch) = queue.pop_front() else { break };
                let reserved = most_cost(&self.settings, &batch);
                if ledger.reserve(reserved) {
                    running.spawn(self.ask(batch, reserved));
                    continue;
                }
                queue.push_front(batch);
                if running.is_empty() {
                    summary.stopped = Some("--max-spend has no room for more".into());
                }
                break;
            }
            tokio::select! {
                done = running.join_next() => match done {
                    None => return Ok(()),
                    Some(Ok(done)) => self.settle(done, &mut queue, files, ledger, summary),
                    Some(Err(error)) => return Err(Diagnostic::error("cli::internal", error.to_string()).into()),
                },
                () = &mut interrupt, if summary.stopped.is_none() => summary.stopped = Some("interrupted".into()),
            }
        }
    }

    fn ask(&self, batch: Batch, reserved: Usd) -> impl Future<Output = Done> + Send + 'static {
        let (server, settings, pace) =
            (self.server.clone(), Arc::clone(&self.settings), Arc::clone(&self.pace));
        async move {
            pace.turn().await;
            let (bill, result) = {
                let texts = texts(&batch);
                let call = EmbeddingCall::new(&settings, &texts);
                let result = server.embed(&call, RETRIES).await;
                (call.bill(&result), result)
            };
            Done { batch, reserved, bill, result }
        }
    }

    fn settle(
        &self,
        done: Done,
        queue: &mut VecDeque<Batch>,
        files: &mut [LogFile],
        ledger: &mut Ledger,
        summary: &mut Summary,
    ) {
        let Done { mut batch, reserved, bill, result } = done;
        ledger.settle(reserved, bill.cost);
        let reply = match result {
            Ok(reply) => reply,
            Err(error) if matches!(fault(&error), Fault::Tier) && batch.len() > 1 => {
                // One of the texts may be what the server does not take.
                let rest = batch.split_off(batch.len() / 2);
                queue.push_front(rest);
                return queue.push_front(batch);
            }
            Err(error) => {
                if matches!(fault(&error), Fault::Tier) {
                    summary.refused += 1;
                    summary.refusal.get_or_insert_with(|| error.to_string());
                }
                let hopeless = summary.embedded == 0 && summary.refused >= MOST_REFUSED;
                if hopeless || !matches!(fault(&error), Fault::Tier) {
                    summary.stopped.get_or_insert_with(|| error.to_string());
                }
                return;
            }
        };
        summary.tokens += reply.tokens.unwrap_or(0);
        for ((row, vector), cost) in batch.iter().zip(&reply.vectors).zip(shares(&batch, bill.cost)) {
            match EmbeddingFailure::of_vector(&self.settings, vector) {
                None => {
                    let Some(file) = files.get_mut(row.file) else { continue };
                    let Some(record) = file.rows.get_mut(row.row) else { continue };
                    file.changed |= put(record, &self.settings, vector, cost);
                    summary.embedded += 1;
                }
                Some(EmbeddingFailure::Length { expected, found }) => {
                    summary.stopped.get_or_insert_with(|| format!(
                        "the server's vectors have {found} numbers, not {expected}: set `dimensions = {found}`, or `send_dimensions = true` for a model whose vectors can be shortened"
                    ));
                }
                Some(failure) => {
                    summary.refused += 1;
                    summary.refusal.get_or_insert_with(|| failure.to_string());
                }
            }
        }
    }
}

/// The cost of a call, shared out by the bytes of its texts: servers count the tokens of all together. The parts add up exactly.
fn shares(batch: &Batch, cost: Usd) -> Vec<Usd> {
    let all: i128 = batch.iter().map(|row| row.text.len() as i128).sum::<i128>().max(1);
    let until = |bytes: i128| i64::try_from(i128::from(cost.pico()) * bytes / all).unwrap_or(i64::MAX);
    let mut before = 0;
    let part = |row: &Missing| {
        let after = before + row.text.len() as i128;
        let share = Usd::from_pico(until(after) - until(before));
        before = after;
        share
    };
    batch.iter().map(part).collect()
}

/// Puts a vector into a row; false if it cannot be written.
fn put(row: &mut RowRecord<'static>, settings: &EmbeddingSettings, vector: &[f32], cost: Usd) -> bool {
    let Ok(raw) = RawJson::of(&vector) else { return false };
    row.embedding = Some(raw);
    row.embedding_model = Some(settings.model.clone().into());
    row.embedding_cost_usd = Some(cost);
    true
}

fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz"))
}

fn write(file: &LogFile) -> Result<()> {
    let fail = |error| Failure::io("write", &file.path, &error);
    let mut bytes = Vec::new();
    for row in &file.rows {
        write_row(&mut bytes, row).map_err(fail)?;
    }
    if is_packed(&file.path) {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(&bytes).map_err(fail)?;
        bytes = packed.finish().map_err(fail)?;
    }
    files::write_atomically(&file.path, &bytes)
}

fn told(
    summary: &Summary,
    left: usize,
    without_text: usize,
    spent: Usd,
    settings: &EmbeddingSettings,
) -> Vec<String> {
    let rows = count(summary.embedded, "row");
    let text =
        format!("{rows} embedded by {}: {}, {}", settings.model, tokens(summary.tokens), dollars(spent));
    let mut lines = item("", &text);
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
