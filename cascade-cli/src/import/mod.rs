//! Logs of other tools, as eval logs. What has no place in an eval log is said, never dropped in silence.

pub(crate) mod columns;
pub(crate) mod decisions;
pub(crate) mod lm_eval;
pub(crate) mod names;
#[cfg(feature = "parquet")]
mod parquet;
pub(crate) mod promptfoo;
pub(crate) mod routerbench;
pub(crate) mod table;
pub(crate) mod traffic;

use crate::failure::{Failure, Result};
use cascade_sdk_core::diag::{Diagnostic, Source};
use cascade_sdk_core::log::{ResultRecord, RowRecord, mend_surrogates};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Rows under way, and what could not be taken along.
#[derive(Debug, Default)]
pub(crate) struct Import {
    rows: Vec<RowRecord<'static>>,
    place: BTreeMap<String, usize>,
    /// How often each remark applies, in the order in which they came up.
    remarks: Vec<(String, usize)>,
}

impl Import {
    /// The row of an id, new if there is none yet.
    pub(crate) fn row(&mut self, id: &str) -> &mut RowRecord<'static> {
        let place = *self.place.entry(id.to_owned()).or_insert_with(|| {
            self.rows.push(RowRecord::new(id));
            self.rows.len() - 1
        });
        &mut self.rows[place]
    }

    /// Adds a result; a second one of the same id and tier is counted, and the first kept.
    pub(crate) fn result(&mut self, id: &str, tier: &str, result: ResultRecord<'static>) {
        let results = &mut self.row(id).results;
        if results.contains_key(tier) {
            self.remark("results that their row had already: the first is kept");
        } else {
            results.insert(tier.to_owned().into(), result);
        }
    }

    /// Counts something that could not be taken along.
    pub(crate) fn remark(&mut self, what: impl Into<String>) {
        let what = what.into();
        match self.remarks.iter_mut().find(|(known, _)| *known == what) {
            Some((_, count)) => *count += 1,
            None => self.remarks.push((what, 1)),
        }
    }

    /// The text of a file of JSON, with escapes that are half a character mended.
    pub(crate) fn read_json(&mut self, path: &Path) -> Result<String> {
        let text = std::fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))?;
        let Some(mended) = mend_surrogates(&text) else { return Ok(text) };
        self.remark("files with escapes that are half a character, read as U+FFFD");
        Ok(mended)
    }

    /// Rows with at least one result, and the remarks.
    pub(crate) fn finish(mut self) -> (Vec<RowRecord<'static>>, Vec<(String, usize)>) {
        let before = self.rows.len();
        self.rows.retain(|row| !row.results.is_empty());
        if self.rows.len() < before {
            self.remarks.push(("rows without any result, left out".into(), before - self.rows.len()));
        }
        (self.rows, self.remarks)
    }

    /// Estimates token counts from the length of texts where nothing states them; prices then give the costs.
    pub(crate) fn estimate_tokens(&mut self, bytes_per_token: f64) {
        let mut estimated = 0_usize;
        for row in &mut self.rows {
            let asked = row.input.as_ref().map(|input| input.len());
            let asked = asked.or_else(|| row.messages.as_ref().map(|messages| messages.get().len()));
            for result in row.results.values_mut() {
                if result.cost_usd.is_some() || result.input_tokens.is_some() {
                    continue;
                }
                let (Some(input), Some(output)) = (asked, result.output.as_ref().map(|output| output.len()))
                else {
                    continue;
                };
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a length is small and positive"
                )]
                let tokens = |bytes: usize| (bytes as f64 / bytes_per_token).ceil().max(1.0) as u64;
                result.input_tokens = Some(tokens(input));
                result.output_tokens = Some(tokens(output));
                estimated += 1;
            }
        }
        if estimated > 0 {
            let what = format!("results whose tokens are estimated at {bytes_per_token} bytes each");
            self.remarks.push((what, estimated));
        }
    }

    /// Counts results that state neither a cost nor token counts: no policy can be fitted from them.
    pub(crate) fn without_cost(&self) -> usize {
        let results = self.rows.iter().flat_map(|row| row.results.values());
        results.filter(|result| result.cost_usd.is_none() && result.input_tokens.is_none()).count()
    }
}

/// A result of that quality; `None` outside [0, 1].
#[expect(clippy::field_reassign_with_default, reason = "the record is non-exhaustive: no struct expression")]
pub(crate) fn graded(quality: f64, by: &str) -> Option<ResultRecord<'static>> {
    let mut result = ResultRecord::default();
    result.quality = (0.0..=1.0).contains(&quality).then_some(quality);
    result.graded_by = Some(by.to_owned().into());
    result.quality.is_some().then_some(result)
}

/// The JSON of one line, or of a whole file where `line` is `None`.
///
/// # Errors
/// Where it is none, without its text.
pub(crate) fn json(text: &str, path: &Path, line: Option<usize>) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| {
        let name = path.display().to_string();
        let message = format!("no valid JSON: {error}");
        let finding = Diagnostic::error("import::format", message);
        finding
            .at(&Source::line(name, line.unwrap_or(error.line()), ""), 0..0, "")
            .help("write the file with a JSON library")
            .into()
    })
}
