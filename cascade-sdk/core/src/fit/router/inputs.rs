//! What a router reads: learned from calibration prompts, labels and numbers, never from their outcomes.

use crate::feature::{
    EmbeddingInput, Encoded, Inputs, NumberInput, RequestView, SURFACE_STATISTICS, Scratch, Standard,
    TagInput, TextInput,
};
use crate::fit::logistic::Design;
use crate::fit::rows::affix;
use crate::fit::rows::coverage::Coverage;
use crate::fit::rows::table::Table;
use crate::fit::threads;
use crate::log::{EvalLog, Row};
use std::collections::{BTreeMap, BTreeSet};

/// Rows with a value of a label before the value gets a level of its own.
const LEAST_LEVEL_ROWS: usize = 5;

/// Most levels of one label: the rarest join "other".
const MOST_LEVELS: usize = 256;

/// Rows that must use a hashed bucket before it gets a weight: what a single prompt says does not carry over.
const LEAST_BUCKET_ROWS: u32 = 2;

/// Rows per unit of parallel work.
const CHUNK: usize = 256;

/// The requests of some rows as the router will see them.
#[derive(Debug)]
pub(in crate::fit) struct Requests<'a> {
    rows: Vec<&'a Row>,
    features: Vec<Vec<(&'a str, f64)>>,
    tags: Vec<Vec<(&'a str, &'a str)>>,
    embeddings: Vec<Option<&'a [f32]>>,
    /// What made all of them; `None` unless every row has one.
    embedded: Option<EmbeddingInput>,
}

impl<'a> Requests<'a> {
    /// The requests of table rows.
    pub(in crate::fit) fn new(log: &'a EvalLog, table: &Table, rows: &[u32]) -> Self {
        let places: Vec<usize> = rows.iter().map(|&row| table.log_row[row as usize] as usize).collect();
        let rows: Vec<&Row> = places.iter().map(|&row| &log.rows[row]).collect();
        let embeddings: Vec<_> =
            places.iter().map(|&row| log.embeddings.as_ref().and_then(|all| all.get(row))).collect();
        let embedded = log.embeddings.as_ref().filter(|_| embeddings.iter().all(Option::is_some));
        let embedded = embedded.map(|all| EmbeddingInput {
            model: all.model.clone(),
            dimensions: all.dimensions,
            sha256: all.sha256.clone(),
        });
        let features = rows
            .iter()
            .map(|row| row.features.iter().map(|(name, value)| (&**name, *value)).collect())
            .collect();
        let tags = rows
            .iter()
            .map(|row| row.tags.iter().map(|(name, value)| (&**name, &**value)).collect())
            .collect();
        Self { rows, features, tags, embeddings, embedded }
    }

    pub(in crate::fit) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(in crate::fit) fn get(&self, row: usize) -> RequestView<'_> {
        RequestView {
            text: self.rows[row].text.as_deref().unwrap_or(""),
            features: &self.features[row],
            tags: &self.tags[row],
            embedding: self.embeddings[row],
            id: None,
        }
    }

    /// Learns what the router may read of what every row has.
    pub(in crate::fit) fn inputs(&self, known: &Coverage<'_>, threads: usize) -> Inputs {
        let mut inputs = Inputs {
            embedding: self.embedded.clone(),
            text: None,
            numbers: self.numbers(known),
            tags: self.tags(known),
        };
        if !self.rows.is_empty() && known.has_prompts() {
            let texts: Vec<&str> = self.rows.iter().filter_map(|row| row.text.as_deref()).collect();
            let (prefix, suffix) = affix::learn(&texts);
            inputs.text = Some(TextInput { prefix, suffix, surface: Vec::new(), hashed: true });
            let surface = self.surface(&inputs, threads);
            if let Some(text) = &mut inputs.text {
                text.surface = surface;
            }
        }
        inputs
    }

    fn surface(&self, inputs: &Inputs, threads: usize) -> Vec<Standard> {
        let chunks = threads::map(threads, self.len().div_ceil(CHUNK), |chunk| {
            let mut scratch = Scratch::default();
            let rows = chunk * CHUNK..(chunk * CHUNK + CHUNK).min(self.len());
            rows.map(|row| inputs.raw_surface(&self.get(row), &mut scratch)).collect::<Vec<_>>()
        });
        (0..SURFACE_STATISTICS)
            .map(|at| standard(chunks.iter().flatten().map(|values| f64::from(values.0[at]))))
            .collect()
    }

    fn numbers(&self, known: &Coverage<'_>) -> Vec<NumberInput> {
        let mut columns: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for (name, value) in self.features.iter().flatten() {
            columns.entry(name).or_default().push(*value);
        }
        columns
            .into_iter()
            .filter(|(name, _)| known.has_number(name))
            .map(|(name, values)| NumberInput { name: name.into(), standard: standard(values.into_iter()) })
            .filter(|input| input.standard.deviation > 0.0 && input.standard.deviation.is_finite())
            .collect()
    }

    fn tags(&self, known: &Coverage<'_>) -> Vec<TagInput> {
        let mut columns: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
        for (name, value) in self.tags.iter().flatten() {
            *columns.entry(name).or_default().entry(value).or_default() += 1;
        }
        columns
            .into_iter()
            // A label with one value says nothing; one with a value of its own for every row, neither.
            .filter(|(name, counts)| known.has_tag(name) && counts.len() > 1)
            .map(|(name, counts)| {
                let mut common: Vec<(usize, &str)> = counts
                    .into_iter()
                    .filter(|(_, count)| *count >= LEAST_LEVEL_ROWS)
                    .map(|(value, count)| (count, value))
                    .collect();
                common.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
                common.truncate(MOST_LEVELS);
                let levels: BTreeSet<String> =
                    common.into_iter().map(|(_, value)| value.to_owned()).collect();
                TagInput { name: name.into(), levels: levels.into_iter().collect() }
            })
            .filter(|input| !input.levels.is_empty())
            .collect()
    }
}

/// Mean and standard deviation.
fn standard(values: impl Iterator<Item = f64> + Clone) -> Standard {
    let count = values.clone().count().max(1) as f64;
    let mean = values.clone().sum::<f64>() / count;
    let variance = values.map(|value| (value - mean) * (value - mean)).sum::<f64>() / count;
    // What differs only by rounding is constant.
    let deviation = libm::sqrt(variance);
    Standard { mean, deviation: if deviation > 1e-9 * (1.0 + mean.abs()) { deviation } else { 0.0 } }
}

/// Requests as a design, with a column for every hashed bucket that several rows use.
#[derive(Debug)]
pub(in crate::fit) struct Encoding {
    /// The requests.
    pub(in crate::fit) design: Design,
    /// Length of each prompt in bytes without its shared parts.
    pub(in crate::fit) bytes: Vec<f64>,
    /// The hashed input of each sparse column of the design.
    pub(in crate::fit) bucket: Vec<u32>,
}

impl Encoding {
    /// Encodes all requests; they have what `inputs` needs because the inputs were learned from them.
    pub(in crate::fit) fn new(requests: &Requests<'_>, inputs: &Inputs, threads: usize) -> Self {
        let chunks: Vec<Vec<Encoded>> = threads::map(threads, requests.len().div_ceil(CHUNK), |chunk| {
            let mut scratch = Scratch::default();
            let rows = chunk * CHUNK..(chunk * CHUNK + CHUNK).min(requests.len());
            rows.map(|row| {
                // Cannot fail, as said above; an empty encoding would be read as a row of zeros.
                let _ = inputs.encode(&requests.get(row), &mut scratch);
                scratch.encoded().clone()
            })
            .collect()
        });
        let mut uses = vec![0_u32; inputs.hashed_len()];
        for &(bucket, _) in chunks.iter().flatten().flat_map(|row| &row.sparse) {
            uses[bucket as usize] += 1;
        }
        let bucket: Vec<u32> =
            (0_u32..).zip(&uses).filter(|(_, uses)| **uses >= LEAST_BUCKET_ROWS).map(|(b, _)| b).collect();
        let mut column = vec![u32::MAX; uses.len()];
        for (at, &bucket) in (0_u32..).zip(&bucket) {
            column[bucket as usize] = at;
        }
        let embedding_len = inputs.embedding_len();
        let dense_len = embedding_len + inputs.dense_len();
        let mut design = Design { dense_len, embedding_len, sparse_len: bucket.len(), ..Design::default() };
        let mut bytes = Vec::with_capacity(requests.len());
        for row in chunks.into_iter().flatten() {
            design.dense.extend(row.embedding.iter().chain(&row.dense));
            let known = |&(bucket, value): &(u32, f32)| (column[bucket as usize], value);
            design.sparse.extend(row.sparse.iter().map(known).filter(|(column, _)| *column != u32::MAX));
            design.sparse_end.push(design.sparse.len());
            bytes.push(row.bytes);
        }
        Self { design, bytes, bucket }
    }
}
