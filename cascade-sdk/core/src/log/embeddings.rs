//! Embeddings of the rows' prompts: checked against the route's settings, kept in one flat vector.

use super::parse::Fault;
use super::problems::{Place, Problems};
use super::record::RowRecord;
use super::{ReadOptions, nested};
use crate::config::EmbeddingSettings;
use crate::diag::Diagnostic;
use crate::money::Usd;

/// The embeddings of a log, one entry a row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embeddings {
    /// What made them, by the name in the configuration.
    pub model: String,
    /// Length of each.
    pub dimensions: usize,
    /// Hash of the file of word vectors that they were read from, if they were.
    pub sha256: Option<String>,
    /// The vectors, one after the other in the order of `at`.
    values: Vec<f32>,
    /// Place of each row's vector in `values`, in vectors; [`NONE`] without one.
    at: Vec<u32>,
    /// What each cost; zero for a row without.
    pub cost: Vec<Usd>,
    /// How long each took in milliseconds; [`UNKNOWN`] where nobody says it.
    latency_ms: Vec<f32>,
}

/// Stands for a time that is not known. No NaN, so that equal logs are equal.
const UNKNOWN: f32 = -1.0;

/// The embedding of a row.
pub(super) struct Embedded {
    pub(super) vector: Vec<f32>,
    pub(super) cost: Usd,
    /// NaN where that is not known.
    pub(super) latency_ms: f64,
}

const NONE: u32 = u32::MAX;

impl Embeddings {
    /// None so far.
    pub fn new(model: impl Into<String>, dimensions: usize) -> Self {
        Self { model: model.into(), dimensions, ..Self::default() }
    }

    /// Says of which file of word vectors they are.
    #[must_use]
    pub(super) fn of_file(self, sha256: Option<String>) -> Self {
        Self { sha256, ..self }
    }

    /// Adds that of the next row, of which nobody knows how long it took; a vector of another length counts as none.
    pub fn push(&mut self, vector: Option<&[f32]>, cost: Usd) {
        self.push_timed(vector, cost, f64::NAN);
    }

    /// Adds that of the next row.
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds in single precision")]
    pub(super) fn push_timed(&mut self, vector: Option<&[f32]>, cost: Usd, latency_ms: f64) {
        self.latency_ms.push(if latency_ms.is_nan() { UNKNOWN } else { latency_ms as f32 });
        let Some(vector) = vector.filter(|vector| vector.len() == self.dimensions) else {
            self.at.push(NONE);
            self.cost.push(Usd::ZERO);
            return;
        };
        let next = self.values.len() / self.dimensions.max(1);
        self.at.push(u32::try_from(next).unwrap_or(NONE));
        self.values.extend_from_slice(vector);
        self.cost.push(cost);
    }

    /// The vector of a row, as it stands in the log.
    pub fn get(&self, row: usize) -> Option<&[f32]> {
        let at = *self.at.get(row).filter(|at| **at != NONE)? as usize;
        self.values.get(at * self.dimensions..(at + 1) * self.dimensions)
    }

    /// How long that of a row took in milliseconds; NaN where that is not known.
    pub fn latency_ms(&self, row: usize) -> f64 {
        self.latency_ms
            .get(row)
            .filter(|latency| **latency >= 0.0)
            .map_or(f64::NAN, |latency| f64::from(*latency))
    }

    /// Whether any row says how long its own took.
    pub fn has_latencies(&self) -> bool {
        self.latency_ms.iter().any(|latency| *latency >= 0.0)
    }

    /// Rows without one.
    pub fn missing(&self) -> usize {
        self.at.iter().filter(|at| **at == NONE).count()
    }

    /// Those of some rows, in their order.
    pub(super) fn pick(&self, rows: &[u32]) -> Self {
        let mut picked = Self::new(self.model.clone(), self.dimensions).of_file(self.sha256.clone());
        for row in rows {
            let row = *row as usize;
            let latency = self.latency_ms(row);
            picked.push_timed(self.get(row), self.cost.get(row).copied().unwrap_or_default(), latency);
        }
        picked
    }
}

/// The vector of a row, where the route reads embeddings, and what it cost.
pub(super) fn of_row(
    row: &RowRecord<'_>,
    options: &ReadOptions,
    place: &Place<'_>,
    problems: &mut Problems,
    faults: &mut Vec<Fault>,
) -> Option<Embedded> {
    let raw = row.embedding.as_ref()?;
    let Some(settings) = &options.embedding else {
        if options.tiers.is_some() {
            problems.tally("log::embedding-unused", "", || {
                let message = "the row's `embedding` is not used: the route does not say what made it";
                let path = ["embedding".to_owned()];
                place
                    .mark(Diagnostic::warning("log::embedding-unused", message), &path, false)
                    .help("add `[routes.ROUTE.embedding]` with `model` and `dimensions`")
            });
        }
        return None;
    };
    if let Some(file) = &settings.file {
        problems.tally("log::embedding-unused", "", || {
            let message = format!("the row's `embedding` is not used: the route reads `{file}` instead");
            let path = ["embedding".to_owned()];
            place
                .mark(Diagnostic::warning("log::embedding-unused", message), &path, false)
                .help("leave the vectors out of the log, or take `file` out of [routes.ROUTE.embedding]")
        });
        return None;
    }
    let EmbeddingSettings { model, dimensions, cost, .. } = settings;
    if let Some(own) = row.embedding_model.as_ref().filter(|own| *own != model) {
        let message =
            format!("is `{}`, but the route reads embeddings of `{model}`", super::problems::short(own));
        let fault = Fault::new("log::embedding", "embedding_model", message);
        faults
            .push(fault.help("vectors of two models do not mix: embed the prompts again, or change `model`"));
    }
    match nested::numbers(raw.get(), "embedding") {
        Ok(vector) if vector.len() == *dimensions => {
            return Some(Embedded {
                vector,
                cost: row.embedding_cost_usd.unwrap_or(*cost),
                latency_ms: row.embedding_latency_ms.unwrap_or(f64::NAN),
            });
        }
        Ok(vector) => {
            let message = format!("has {} numbers, but the route's have {dimensions}", vector.len());
            let fault = Fault::new("log::embedding", "embedding", message);
            faults.push(
                fault.help("embed all prompts with the same model, and set `dimensions` to its length"),
            );
        }
        Err(fault) => faults.push(fault),
    }
    None
}
