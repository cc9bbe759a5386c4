//! The files of a log that is being completed, and the rows that lack a vector.

use super::journal::{Journal, Past, Price, Vector};
use crate::collect::lock::Lock;
use crate::failure::{Failure, Result};
use crate::files;
use crate::project::Project;
use cascade_sdk_core::config::{EmbeddingSettings, Route};
use cascade_sdk_core::diag::Diagnostic;
use cascade_sdk_core::log::{LogFiles, LogSource, RawJson, ReadOptions, RowRecord, records, write_row};
use cascade_sdk_core::money::Usd;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most texts of one call.
const MOST_TEXTS: usize = 64;

/// Most bytes of one call, and so fewer tokens than the 300,000 that OpenAI takes at once.
const MOST_BYTES: usize = 256 << 10;

/// A file of the log.
pub(crate) struct LogFile {
    path: PathBuf,
    rows: Vec<RowRecord<'static>>,
    changed: bool,
    /// Vectors of earlier runs that were not written into the log.
    past: BTreeMap<String, Vector>,
    /// What earlier runs of the job spent on it or may have.
    pub(crate) spent_before: Usd,
    /// The part of it that calls may have cost which were in flight when a run was killed.
    pub(crate) may_have_been_charged: Vec<Usd>,
    /// What this run spent on it.
    pub(crate) spent: Usd,
    /// Rows that are to be asked for, less those that came.
    left: usize,
    /// `None` in a dry run.
    pub(crate) journal: Option<Journal>,
    /// Held until the file is written: what another job writes meanwhile would be lost. A dry run takes none.
    _lock: Option<Lock>,
}

/// A row without a vector, and its text.
#[derive(Clone)]
pub(crate) struct Missing {
    pub(crate) file: usize,
    pub(crate) row: usize,
    pub(crate) text: Arc<str>,
}

/// Rows of one file that are sent together.
pub(crate) type Batch = Vec<Missing>;

/// The files of the route's log, each with its rows as they stand.
pub(crate) fn read(
    project: &Project,
    route: &Route,
    settings: &EmbeddingSettings,
    to_write: bool,
) -> Result<Vec<LogFile>> {
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
        let (journal, past) = if to_write {
            let (journal, past) = Journal::open(&path, &route.name, settings)?;
            (Some(journal), past)
        } else {
            (None, Journal::read(&path, &route.name, settings)?)
        };
        let Past { vectors, may_have_been_charged, spent, .. } = past;
        let file = File::open(&path).map_err(|error| Failure::io("read", &path, &error))?;
        // Rewriting the log would lose a broken row.
        let prices = project.config.tiers.iter().map(|tier| (tier.name.clone(), tier.price)).collect();
        let options = ReadOptions { prices, strict: true, ungraded: true, ..ReadOptions::default() };
        let rows = records([LogSource::new(name, file)], &options)?.rows;
        files.push(LogFile {
            path,
            rows,
            changed: false,
            past: vectors,
            spent_before: spent,
            may_have_been_charged,
            spent: Usd::ZERO,
            left: 0,
            journal,
            _lock: lock,
        });
    }
    Ok(files)
}

/// Rows without a vector of the route's model and length, and how many of them have no text. Vectors of earlier runs are put
/// into their rows first. The vector of an empty text is known: zeros, as at run time.
pub(crate) fn missing(files: &mut [LogFile], settings: &EmbeddingSettings) -> (Vec<Missing>, usize) {
    let (mut missing, mut without_text) = (Vec::new(), 0);
    for (at, file) in files.iter_mut().enumerate() {
        for (row, record) in file.rows.iter_mut().enumerate() {
            let vector = record.embedding.as_ref().filter(|raw| !raw.is_null());
            let vector = vector.and_then(|raw| serde_json::from_str::<Vec<f64>>(raw.get()).ok());
            let own = record.embedding_model.as_ref().is_none_or(|model| *model == settings.model);
            if own && vector.is_some_and(|vector| vector.len() == settings.dimensions) {
                continue;
            }
            let Some(text) = record.routing_text().map(|text| Arc::<str>::from(&*text)) else {
                without_text += 1;
                continue;
            };
            let known = file.past.get(&*record.id).and_then(|vector| vector.of(&text));
            if let Some((vector, price)) = known {
                file.changed |= put(record, settings, vector, price);
            } else if text.is_empty() {
                let free = Price { cost: Usd::ZERO, latency_ms: 0.0 };
                file.changed |= put(record, settings, &vec![0.0; settings.dimensions], free);
            } else {
                file.left += 1;
                missing.push(Missing { file: at, row, text });
            }
        }
    }
    (missing, without_text)
}

/// What is sent together.
pub(crate) fn batches(missing: Vec<Missing>) -> VecDeque<Batch> {
    let mut batches: VecDeque<Batch> = VecDeque::new();
    let mut bytes = 0;
    for row in missing {
        let fits = |batch: &Batch| {
            batch.len() < MOST_TEXTS
                && bytes + row.text.len() <= MOST_BYTES
                && batch.first().is_some_and(|first| first.file == row.file)
        };
        if let Some(batch) = batches.back_mut().filter(|batch| fits(batch)) {
            bytes += row.text.len();
            batch.push(row);
        } else {
            bytes = row.text.len();
            batches.push_back(vec![row]);
        }
    }
    batches
}

impl LogFile {
    /// The id of a row.
    pub(crate) fn id(&self, row: usize) -> &str {
        self.rows.get(row).map_or("", |record| &record.id)
    }

    /// Takes the vector of a row.
    pub(crate) fn take(&mut self, row: usize, settings: &EmbeddingSettings, vector: &[f32], price: Price) {
        if let Some(record) = self.rows.get_mut(row) {
            self.changed |= put(record, settings, vector, price);
            self.left = self.left.saturating_sub(1);
        }
    }

    /// Writes the log if it has changed, and then lets go of the journal.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn finish(mut self) -> Result<()> {
        if self.changed {
            write(&self.path, &self.rows)?;
        }
        let spent = self.spent_before.saturating_add(self.spent);
        self.journal.take().map_or(Ok(()), |journal| journal.finish(spent, self.left == 0))
    }
}

/// Puts a vector into a row; false if it cannot be written.
fn put(row: &mut RowRecord<'static>, settings: &EmbeddingSettings, vector: &[f32], price: Price) -> bool {
    let Ok(raw) = RawJson::of(&vector) else { return false };
    row.embedding = Some(raw);
    row.embedding_model = Some(settings.model.clone().into());
    row.embedding_cost_usd = Some(price.cost);
    // No clock is that exact.
    row.embedding_latency_ms = Some((price.latency_ms * 10.0).round() / 10.0);
    true
}

fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz"))
}

fn write(path: &Path, rows: &[RowRecord<'_>]) -> Result<()> {
    let fail = |error| Failure::io("write", path, &error);
    let mut bytes = Vec::new();
    for row in rows {
        write_row(&mut bytes, row).map_err(fail)?;
    }
    if is_packed(path) {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(&bytes).map_err(fail)?;
        bytes = packed.finish().map_err(fail)?;
    }
    files::write_atomically(path, &bytes)
}
