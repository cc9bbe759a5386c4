//! The journal beside a log that is being completed: what was asked, before it was asked, and the vectors that came back.

use crate::collect::appended::{self, Appended, line, whole_lines};
use crate::failure::{Failure, Result};
use cascade_sdk_core::config::EmbeddingSettings;
use cascade_sdk_core::diag::{Diagnostic, Source};
use cascade_sdk_core::hash::Hasher;
use cascade_sdk_core::money::Usd;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Format of the journal.
const VERSION: u32 = 1;

/// Letters of the hash of a text that are written down: enough to notice that a text has changed.
const HASH_LETTERS: usize = 16;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Entry {
    /// The first line.
    Job(Job),
    /// Money that this job spent on vectors that stand in the log by now.
    Spent { pico_usd: i64 },
    /// A call is about to be made.
    Ask { call: u64, rows: usize, reserved_pico_usd: i64 },
    /// It was answered.
    Got { call: u64, spent_pico_usd: i64, rows: Vec<Vector> },
    /// It failed.
    Lost { call: u64, spent_pico_usd: i64, error: String },
}

/// What a journal belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Job {
    version: u32,
    route: String,
    model: String,
    dimensions: usize,
}

/// The vector of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vector {
    id: String,
    /// Hash of the text that it was made of.
    text: String,
    cost_pico_usd: i64,
    latency_ms: f64,
    embedding: Vec<f32>,
}

impl Vector {
    /// The vector of a text.
    pub(crate) fn new(id: &str, text: &str, embedding: Vec<f32>, price: Price) -> Self {
        let Price { cost, latency_ms } = price;
        Self { id: id.to_owned(), text: hash_of(text), cost_pico_usd: cost.pico(), latency_ms, embedding }
    }

    /// The numbers and their price, if they are those of this text.
    pub(crate) fn of(&self, text: &str) -> Option<(&[f32], Price)> {
        let price = Price { cost: Usd::from_pico(self.cost_pico_usd), latency_ms: self.latency_ms };
        (self.text == hash_of(text)).then_some((self.embedding.as_slice(), price))
    }
}

/// What a vector cost, in money and time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Price {
    pub(crate) cost: Usd,
    /// Of the call that made it.
    pub(crate) latency_ms: f64,
}

fn hash_of(text: &str) -> String {
    let mut hash = Hasher::new().part(text).hex();
    hash.truncate(HASH_LETTERS);
    hash
}

/// What a journal says of the runs before this one.
#[derive(Debug, Default)]
pub(crate) struct Past {
    /// Vectors that may not be in the log yet, by id.
    pub(crate) vectors: BTreeMap<String, Vector>,
    /// The most that calls may have cost which were in flight when a run was killed.
    pub(crate) may_have_been_charged: Vec<Usd>,
    /// Money of the job until now, what may have been charged included.
    pub(crate) spent: Usd,
    next_call: u64,
}

/// The journal of one log, open for writing.
#[derive(Debug)]
pub(crate) struct Journal {
    file: Appended,
    job: Job,
    next_call: u64,
}

impl Journal {
    /// Where the journal of a log stands.
    pub(crate) fn path_for(log: &Path) -> PathBuf {
        let mut name = log.as_os_str().to_owned();
        name.push(".embed.journal");
        PathBuf::from(name)
    }

    /// Reads what earlier runs left, without changing it.
    ///
    /// # Errors
    /// A file that cannot be read, belongs to another job, or has a line that is no entry.
    pub(crate) fn read(log: &Path, route: &str, settings: &EmbeddingSettings) -> Result<Past> {
        let path = Self::path_for(log);
        parse(&path, &appended::read(&path)?, &Job::new(route, settings))
    }

    /// Opens the journal of a log for writing, and reads what earlier runs left.
    ///
    /// # Errors
    /// As [`Journal::read`], or a file that cannot be written.
    pub(crate) fn open(log: &Path, route: &str, settings: &EmbeddingSettings) -> Result<(Self, Past)> {
        let (path, job) = (Self::path_for(log), Job::new(route, settings));
        let bytes = appended::read(&path)?;
        let past = parse(&path, &bytes, &job)?;
        let whole = whole_lines(&bytes);
        let mut journal = Self { file: Appended::open(path, whole)?, job, next_call: past.next_call };
        if whole == 0 {
            journal.file.write(&Entry::Job(journal.job.clone()))?;
        }
        Ok((journal, past))
    }

    /// Notes that a call is about to be made; returns its number.
    pub(crate) fn ask(&mut self, rows: usize, reserved: Usd) -> Result<u64> {
        let call = self.next_call;
        self.next_call += 1;
        self.file.write(&Entry::Ask { call, rows, reserved_pico_usd: reserved.pico() })?;
        Ok(call)
    }

    /// Notes the vectors that a call gave.
    pub(crate) fn got(&mut self, call: u64, spent: Usd, rows: Vec<Vector>) -> Result<()> {
        self.file.write(&Entry::Got { call, spent_pico_usd: spent.pico(), rows })
    }

    /// Notes that a call failed.
    pub(crate) fn lost(&mut self, call: u64, spent: Usd, error: &str) -> Result<()> {
        self.file.write(&Entry::Lost { call, spent_pico_usd: spent.pico(), error: error.to_owned() })
    }

    /// After all vectors were written into the log: forgets them. What the job spent is kept until it is complete.
    ///
    /// # Errors
    /// A file that cannot be written or removed.
    pub(crate) fn finish(self, spent: Usd, complete: bool) -> Result<()> {
        let path = self.file.path();
        if complete || spent == Usd::ZERO {
            return std::fs::remove_file(path).map_err(|error| Failure::io("remove", path, &error));
        }
        let text =
            line(&Entry::Job(self.job), path)? + &line(&Entry::Spent { pico_usd: spent.pico() }, path)?;
        crate::files::write_atomically(path, text.as_bytes())
    }
}

impl Job {
    fn new(route: &str, settings: &EmbeddingSettings) -> Self {
        let (model, dimensions) = (settings.model.clone(), settings.dimensions);
        Self { version: VERSION, route: route.to_owned(), model, dimensions }
    }
}

fn parse(path: &Path, bytes: &[u8], job: &Job) -> Result<Past> {
    let mut past = Past::default();
    let mut open: BTreeMap<u64, Usd> = BTreeMap::new();
    let whole = bytes.get(..whole_lines(bytes)).unwrap_or_default();
    for (index, raw) in whole.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let entry: Entry = serde_json::from_slice(raw).map_err(|error| {
            Diagnostic::error("collect::journal", format!("not an entry of a journal: {error}"))
                .at(&Source::line(path.display().to_string(), index + 1, ""), 0..0, "")
                .help("the file was edited or damaged: mend the line or, to ask for everything in it again, delete the file")
        })?;
        let mut spend = |pico: i64| past.spent = past.spent.saturating_add(Usd::from_pico(pico));
        match entry {
            Entry::Job(found) if found != *job => {
                let message = format!(
                    "`{}` belongs to a job for {} numbers by `{}` of route `{}`",
                    path.display(),
                    found.dimensions,
                    found.model,
                    found.route
                );
                return Err(Diagnostic::error("collect::journal", message)
                    .help("finish that job first, with the configuration that it began with; or delete the file, and what it holds is asked for again")
                    .into());
            }
            Entry::Job(_) => {}
            Entry::Spent { pico_usd } => spend(pico_usd),
            Entry::Ask { call, reserved_pico_usd, .. } => {
                past.next_call = past.next_call.max(call + 1);
                open.insert(call, Usd::from_pico(reserved_pico_usd));
            }
            Entry::Got { call, spent_pico_usd, rows } => {
                spend(spent_pico_usd);
                open.remove(&call);
                past.vectors.extend(rows.into_iter().map(|vector| (vector.id.clone(), vector)));
            }
            Entry::Lost { call, spent_pico_usd, .. } => {
                spend(spent_pico_usd);
                open.remove(&call);
            }
        }
    }
    for reserved in open.into_values() {
        past.spent = past.spent.saturating_add(reserved);
        past.may_have_been_charged.push(reserved);
    }
    Ok(past)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn settings(dimensions: usize) -> EmbeddingSettings {
        EmbeddingSettings {
            model: "tiny".into(),
            dimensions,
            cost: Usd::ZERO,
            timeout: Duration::from_secs(1),
            on_failure: None,
            served: None,
            file: None,
        }
    }

    #[test]
    fn what_was_in_flight_is_counted_and_what_came_back_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log.jsonl");
        let usd = Usd::from_pico;
        let (mut journal, past) = Journal::open(&log, "ask", &settings(2)).unwrap();
        assert_eq!((past.spent, past.vectors.len()), (Usd::ZERO, 0));
        let first = journal.ask(1, usd(50)).unwrap();
        let second = journal.ask(2, usd(70)).unwrap();
        let third = journal.ask(1, usd(30)).unwrap();
        let price = Price { cost: usd(4), latency_ms: 12.5 };
        let vector = Vector::new("r1", "text", vec![0.1, 1e-30], price);
        journal.got(first, usd(4), vec![vector.clone()]).unwrap();
        journal.lost(third, usd(2), "busy").unwrap();
        drop(journal);
        // A write that never finished.
        let path = Journal::path_for(&log);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], b"{\"got\":{\"call\":1,"].concat()).unwrap();

        for _ in 0..2 {
            let past = Journal::read(&log, "ask", &settings(2)).unwrap();
            assert_eq!((past.spent, past.may_have_been_charged), (usd(4 + 2 + 70), vec![usd(70)]));
            assert_eq!(past.vectors["r1"].of("text"), Some((&[0.1, 1e-30][..], price)), "the same bits");
            assert_eq!(past.vectors["r1"].of("another text"), None);
        }
        let (mut journal, past) = Journal::open(&log, "ask", &settings(2)).unwrap();
        assert_eq!((past.spent, std::fs::read(&path).unwrap().len()), (usd(76), whole.len()));
        assert!(journal.ask(1, usd(1)).unwrap() > second);
        journal.finish(usd(80), false).unwrap();
        let past = Journal::read(&log, "ask", &settings(2)).unwrap();
        assert_eq!((past.spent, past.vectors.len()), (usd(80), 0));
        for (route, dimensions) in [("other", 2), ("ask", 3)] {
            let Failure(refused) = Journal::read(&log, route, &settings(dimensions)).unwrap_err();
            assert_eq!(refused[0].code, "collect::journal");
        }
        let (journal, past) = Journal::open(&log, "ask", &settings(2)).unwrap();
        journal.finish(past.spent, true).unwrap();
        assert!(!path.exists());
    }
}
