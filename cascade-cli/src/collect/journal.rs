//! The journal beside the log: what was asked, before it was asked, and what came back.
//!
//! One JSON object a line, each written with one call and never changed. A call whose `ask` has no `got` or `lost` was
//! in flight when the process died, so it may have been charged. A torn last line is a write that never finished: the
//! call it announces was not made, or its answer is lost.

use super::appended::{self, Appended, line, whole_lines};
use crate::failure::{Failure, Result};
use cascade_sdk_core::diag::{Diagnostic, Source};
use cascade_sdk_core::log::{LogSource, ReadOptions, ResultRecord, RowRecord, records};
use cascade_sdk_core::money::Usd;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Format of the journal.
const VERSION: u32 = 1;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Entry {
    /// The first line.
    Job { version: u32, route: String },
    /// Money that this job spent on results that stand in the log by now, and below.
    Spent { pico_usd: i64 },
    /// All results of a tier, or of a signal of a tier, are being made anew. Until they are there, the log keeps the old ones.
    Replace { tier: String },
    /// A call is about to be made.
    Ask { id: String, tier: String, prompt: String, reserved_pico_usd: i64 },
    /// It was answered, or failed in a way that counts as the tier's answer. `row` is a row of the log with nothing but
    /// its id and this result.
    Got { id: String, tier: String, prompt: String, spent_pico_usd: i64, row: Box<RawValue> },
    /// It failed in a way that says nothing of the tier: it will be asked again.
    Lost { id: String, tier: String, spent_pico_usd: i64, error: String },
}

/// Names one cell of the log: prompt id, then tier.
pub(crate) type Cell = (String, String);

/// A result that is not in the log yet.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    /// Hash of what was asked.
    pub(crate) prompt: String,
    /// What came back.
    pub(crate) result: ResultRecord<'static>,
}

/// What a journal says of the runs before this one.
#[derive(Debug, Default)]
pub(crate) struct Past {
    /// Results that are not in the log yet.
    pub(crate) results: BTreeMap<Cell, Pending>,
    /// Tiers, and signals of tiers, that are being replaced.
    pub(crate) replaced: BTreeSet<String>,
    /// Calls that were in flight when a run was killed, with the most they may have cost.
    pub(crate) may_have_been_charged: Vec<(Cell, Usd)>,
    /// Money of the job until now, what may have been charged included.
    pub(crate) spent: Usd,
}

/// The journal of one job, open for writing.
#[derive(Debug)]
pub(crate) struct Journal {
    file: Appended,
    route: String,
}

impl Journal {
    /// Where the journal of a log stands.
    pub(crate) fn path_for(log: &Path) -> PathBuf {
        let mut name = log.as_os_str().to_owned();
        name.push(".journal");
        PathBuf::from(name)
    }

    /// Reads what earlier runs left without changing it; nothing where there is no journal.
    ///
    /// # Errors
    /// A file that cannot be read, belongs to another route, or has a line that is no journal entry.
    pub(crate) fn read(log: &Path, route: &str) -> Result<Past> {
        let path = Self::path_for(log);
        parse(&path, &appended::read(&path)?, route)
    }

    /// Opens the journal of a log for writing, and reads what earlier runs left.
    ///
    /// # Errors
    /// As [`Journal::read`], or a file that cannot be written.
    pub(crate) fn open(log: &Path, route: &str) -> Result<(Self, Past)> {
        let path = Self::path_for(log);
        let bytes = appended::read(&path)?;
        let past = parse(&path, &bytes, route)?;
        let whole = whole_lines(&bytes);
        let mut journal = Self { file: Appended::open(path, whole)?, route: route.to_owned() };
        if whole == 0 {
            journal.file.write(&Entry::Job { version: VERSION, route: route.to_owned() })?;
        }
        Ok((journal, past))
    }

    /// Notes that all results of a tier, or of a signal of a tier, are to be made anew.
    pub(crate) fn replace(&mut self, tier: &str) -> Result<()> {
        self.file.write(&Entry::Replace { tier: tier.to_owned() })
    }

    /// Notes that a call is about to be made.
    pub(crate) fn ask(&mut self, cell: &Cell, prompt: &str, reserved: Usd) -> Result<()> {
        self.file.write(&Entry::Ask {
            id: cell.0.clone(),
            tier: cell.1.clone(),
            prompt: prompt.to_owned(),
            reserved_pico_usd: reserved.pico(),
        })
    }

    /// Notes what a call came to.
    pub(crate) fn got(&mut self, cell: &Cell, prompt: &str, spent: Usd, row: &RowRecord<'_>) -> Result<()> {
        let row = serde_json::value::to_raw_value(row)
            .map_err(|error| Failure::io("write", self.file.path(), &error.into()))?;
        self.file.write(&Entry::Got {
            id: cell.0.clone(),
            tier: cell.1.clone(),
            prompt: prompt.to_owned(),
            spent_pico_usd: spent.pico(),
            row,
        })
    }

    /// Notes that a call failed in a way that says nothing of the tier.
    pub(crate) fn lost(&mut self, cell: &Cell, spent: Usd, error: &str) -> Result<()> {
        self.file.write(&Entry::Lost {
            id: cell.0.clone(),
            tier: cell.1.clone(),
            spent_pico_usd: spent.pico(),
            error: error.to_owned(),
        })
    }

    /// After results were folded into the log: forgets them. What the job spent, what is still being replaced, and the
    /// results that could not be folded yet, are kept until it is complete.
    ///
    /// # Errors
    /// A file that cannot be written or removed.
    pub(crate) fn finish(
        self,
        spent: Usd,
        replaced: &BTreeSet<String>,
        kept: &BTreeMap<Cell, Pending>,
        complete: bool,
    ) -> Result<()> {
        let path = self.file.path().to_owned();
        if complete && replaced.is_empty() {
            return std::fs::remove_file(&path).map_err(|error| Failure::io("remove", &path, &error));
        }
        let mut text = line(&Entry::Job { version: VERSION, route: self.route }, &path)?;
        text.push_str(&line(&Entry::Spent { pico_usd: spent.pico() }, &path)?);
        for tier in replaced {
            text.push_str(&line(&Entry::Replace { tier: tier.clone() }, &path)?);
        }
        for ((id, tier), Pending { prompt, result }) in kept {
            let mut row = RowRecord::new(id.clone());
            row.results.insert(tier.clone().into(), result.clone());
            let row = serde_json::value::to_raw_value(&row)
                .map_err(|error| Failure::io("write", &path, &error.into()))?;
            let (id, tier, prompt) = (id.clone(), tier.clone(), prompt.clone());
            text.push_str(&line(&Entry::Got { id, tier, prompt, spent_pico_usd: 0, row }, &path)?);
        }
        crate::files::write_atomically(&path, text.as_bytes())
    }
}

/// What the entries say.
fn parse(path: &Path, bytes: &[u8], route: &str) -> Result<Past> {
    let whole = whole_lines(bytes);
    let mut past = Past::default();
    let mut open: BTreeMap<Cell, Usd> = BTreeMap::new();
    let mut got: BTreeMap<String, BTreeMap<String, (String, Box<RawValue>)>> = BTreeMap::new();
    for (index, raw) in bytes[..whole].split_inclusive(|byte| *byte == b'\n').enumerate() {
        let entry: Entry = serde_json::from_slice(raw).map_err(|error| {
            let text = String::from_utf8_lossy(raw).trim_end().to_owned();
            Diagnostic::error("collect::journal", format!("not an entry of a journal: {error}"))
                .at(&Source::line(path.display().to_string(), index + 1, text), 0..0, "")
                .help("the file was edited or damaged: mend the line or, to ask everything in it again, delete the file")
        })?;
        let mut spend = |pico: i64| past.spent = past.spent.saturating_add(Usd::from_pico(pico));
        match entry {
            Entry::Job { version, route: other } => {
                if version != VERSION {
                    return Err(Diagnostic::error(
                        "collect::journal",
                        format!(
                            "`{}` has journal version {version}; this tool reads {VERSION}",
                            path.display()
                        ),
                    )
                    .help("finish the job with the version of the tool that began it")
                    .into());
                }
                if other != route {
                    return Err(Diagnostic::error(
                        "collect::journal",
                        format!("`{}` belongs to a job for route `{other}`, not `{route}`", path.display()),
                    )
                    .help(format!("finish that job first (`cascade collect {other} …`), or write to another log with --out"))
                    .into());
                }
            }
            Entry::Spent { pico_usd } => spend(pico_usd),
            Entry::Replace { tier } => {
                past.replaced.insert(tier);
            }
            Entry::Ask { id, tier, reserved_pico_usd, .. } => {
                // Asked again after a kill: the first call may have been charged as well.
                if let Some(first) =
                    open.insert((id.clone(), tier.clone()), Usd::from_pico(reserved_pico_usd))
                {
                    spend(first.pico());
                    past.may_have_been_charged.push(((id, tier), first));
                }
            }
            Entry::Got { id, tier, prompt, spent_pico_usd, row } => {
                spend(spent_pico_usd);
                open.remove(&(id.clone(), tier.clone()));
                got.entry(tier).or_default().insert(id, (prompt, row));
            }
            Entry::Lost { id, tier, spent_pico_usd, .. } => {
                spend(spent_pico_usd);
                open.remove(&(id, tier));
            }
        }
    }
    for (tier, answers) in got {
        read_results(path, &tier, answers, &mut past.results)?;
    }
    for (cell, reserved) in open {
        past.spent = past.spent.saturating_add(reserved);
        past.may_have_been_charged.push((cell, reserved));
    }
    Ok(past)
}

/// Reads the rows of one tier, each of another prompt, with the reader of logs: what is folded into the log has passed
/// the checks that the log will pass.
fn read_results(
    path: &Path,
    tier: &str,
    mut answers: BTreeMap<String, (String, Box<RawValue>)>,
    results: &mut BTreeMap<Cell, Pending>,
) -> Result<()> {
    let rows: Vec<&str> = answers.values().map(|(_, row)| row.get()).collect();
    let text = rows.join("\n");
    // The reader knows formats by name.
    let name = format!("{}.jsonl", path.display());
    let options = ReadOptions { strict: true, ..ReadOptions::default() };
    for mut row in records([LogSource::new(name, text.as_bytes())], &options)?.rows {
        let Some(result) = row.results.remove(tier) else { continue };
        let Some((prompt, _)) = answers.remove(&*row.id) else { continue };
        results.insert((row.id.into_owned(), tier.to_owned()), Pending { prompt, result });
    }
    Ok(())
}
