//! The log on disk: what it holds already, and how new results get into it.

use super::journal::{Cell, Pending};
use super::prompts::{Ask, Prompt};
use crate::failure::{Failure, Result};
use crate::files;
use cascade_sdk_core::diag::Diagnostic;
use cascade_sdk_core::log::{LogSource, RawJson, ReadOptions, ResultRecord, RowRecord, records, write_row};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

/// A log's rows as they stand in the file.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    rows: Vec<RowRecord<'static>>,
    place: BTreeMap<String, usize>,
}

/// What the log holds of one cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// The call ran and failed.
    pub(crate) failed: bool,
    /// Fingerprint of the request, if the log has one.
    pub(crate) request: Option<String>,
}

impl Recorded {
    /// What is to be known of a result.
    pub(crate) fn of(result: &ResultRecord<'_>) -> Self {
        Self {
            failed: result.error.is_some(),
            request: result.request_hash.as_ref().map(ToString::to_string),
        }
    }
}

impl Rows {
    /// Reads a log; no rows where there is no file.
    ///
    /// # Errors
    /// A file that cannot be read, or has a broken row: rewriting the log would lose it.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Failure::io("read", path, &error)),
        };
        let options = ReadOptions { strict: true, ..ReadOptions::default() };
        let rows = records([LogSource::new(path.display().to_string(), file)], &options)?.rows;
        let place = rows.iter().enumerate().map(|(at, row)| (row.id.to_string(), at)).collect();
        Ok(Self { rows, place })
    }

    fn row(&self, id: &str) -> Option<&RowRecord<'static>> {
        self.place.get(id).and_then(|at| self.rows.get(*at))
    }

    /// The result that the log has of a cell.
    pub(crate) fn result(&self, cell: &Cell) -> Option<&ResultRecord<'static>> {
        self.row(&cell.0)?.results.get(cell.1.as_str())
    }

    /// What the log holds of a cell.
    pub(crate) fn recorded(&self, id: &str, tier: &str) -> Option<Recorded> {
        self.row(id)?.results.get(tier).map(Recorded::of)
    }

    /// Ids whose text in the log is not the one in the prompts: their answers would belong to two different questions.
    pub(crate) fn changed<'p>(&self, prompts: &'p [Prompt]) -> Vec<&'p str> {
        let changed = |prompt: &&Prompt| self.row(&prompt.id).is_some_and(|row| !asks(row, &prompt.ask));
        prompts.iter().filter(changed).map(|prompt| prompt.id.as_str()).collect()
    }

    /// Adds results, and rows for prompts that have none yet; what is known of a prompt beside its text is taken from
    /// the prompts as they are now.
    ///
    /// # Errors
    /// A prompt that cannot be written as JSON.
    pub(crate) fn fold(&mut self, prompts: &[Prompt], pending: &BTreeMap<Cell, Pending>) -> Result<()> {
        let asked: BTreeMap<&str, &Prompt> =
            prompts.iter().map(|prompt| (prompt.id.as_str(), prompt)).collect();
        for ((id, tier), new) in pending {
            let Some(prompt) = asked.get(id.as_str()) else { continue };
            if !self.place.contains_key(id) {
                self.place.insert(id.clone(), self.rows.len());
                self.rows.push(RowRecord::new(id.clone()));
            }
            let Some(target) = self.place.get(id).and_then(|at| self.rows.get_mut(*at)) else { continue };
            describe(target, prompt)?;
            target.results.insert(tier.clone().into(), new.result.clone());
        }
        Ok(())
    }

    /// Recorded outputs of prompts that somebody outside grades, as answers that wait for it.
    pub(crate) fn to_grade_outside(&self, prompts: &[Prompt], hashes: &[String]) -> BTreeMap<Cell, Pending> {
        let mut waiting = BTreeMap::new();
        for (prompt, hash) in prompts.iter().zip(hashes).filter(|(prompt, _)| prompt.grader.is_external()) {
            let results = self.row(&prompt.id).into_iter().flat_map(|row| &row.results);
            for (tier, result) in results.filter(|(_, result)| result.error.is_none()) {
                let mut pending = Pending { prompt: hash.clone(), result: result.clone() };
                super::record::wait_for_grade(&mut pending.result);
                waiting.insert((prompt.id.clone(), tier.to_string()), pending);
            }
        }
        waiting
    }

    /// How many of these results have another quality than the recorded ones.
    pub(crate) fn differing(&self, results: &BTreeMap<Cell, Pending>) -> usize {
        let recorded = |(id, tier): &Cell| self.row(id)?.results.get(tier.as_str())?.quality;
        results.iter().filter(|(cell, pending)| recorded(cell) != pending.result.quality).count()
    }

    /// Grades every recorded output of these prompts again; returns how many qualities changed.
    pub(crate) fn regrade(
        &mut self,
        prompts: &[Prompt],
        answer: impl Fn(&str) -> Option<String>,
    ) -> Result<usize> {
        let mut changes = 0;
        for prompt in prompts {
            let Some(row) = self.place.get(&prompt.id).and_then(|at| self.rows.get_mut(*at)) else {
                continue;
            };
            describe(row, prompt)?;
            for result in row.results.values_mut().filter(|result| result.error.is_none()) {
                let Some(text) = result.output.as_deref().and_then(&answer) else { continue };
                let Some(quality) = prompt.grader.grade(&text) else { continue };
                changes += usize::from(result.quality != Some(quality));
                result.quality = Some(quality);
                result.graded_by = Some(prompt.graded_by.into());
            }
        }
        Ok(changes)
    }

    /// Writes the log whole: rows that are not among the prompts first, in the order they had, then the rest in the
    /// order of the prompts.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn write(&self, path: &Path, prompts: &[Prompt]) -> Result<()> {
        let asked: BTreeSet<&str> = prompts.iter().map(|prompt| prompt.id.as_str()).collect();
        let others = self.rows.iter().filter(|row| !asked.contains(&*row.id));
        let own = prompts.iter().filter_map(|prompt| self.row(&prompt.id));
        let mut bytes = Vec::new();
        for row in others.chain(own) {
            write_row(&mut bytes, row).map_err(|error| Failure::io("write", path, &error))?;
        }
        files::write_atomically(path, &bytes)
    }
}

fn asks(row: &RowRecord<'_>, ask: &Ask) -> bool {
    match ask {
        Ask::Input(input) => row.input.as_deref() == Some(input),
        Ask::Messages(messages) => {
            let written =
                row.messages.as_ref().map(|raw| serde_json::from_str::<serde_json::Value>(raw.get()));
            matches!((written, serde_json::to_value(messages)), (Some(Ok(old)), Ok(new)) if old == new)
        }
    }
}

/// Writes what the prompt says of itself into its row.
fn describe(row: &mut RowRecord<'static>, prompt: &Prompt) -> Result<()> {
    match &prompt.ask {
        Ask::Input(input) => row.input = Some(input.clone().into()),
        Ask::Messages(messages) => {
            row.messages = Some(RawJson::of(messages).map_err(|error| {
                Diagnostic::error("prompts::value", format!("prompt `{}`: {error}", prompt.id))
            })?);
        }
    }
    let about = &prompt.about;
    let text = |text: &Option<String>| text.clone().map(Into::into);
    row.split = text(&about.split);
    row.group = text(&about.group);
    row.weight = about.weight;
    row.features = about.features.iter().map(|(name, value)| (name.clone().into(), Some(*value))).collect();
    row.tags =
        about.tags.iter().map(|(name, value)| (name.clone().into(), Some(value.clone().into()))).collect();
    row.session = text(&about.session);
    row.turn = about.turn.map(u64::from);
    row.reference = RawJson::of(&prompt.reference).ok();
    Ok(())
}
