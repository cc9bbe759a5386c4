//! What a router reads of a request, as numbers: the same code in fit, replay and runtime.

use super::reasons::InputFamily;
use super::surface;
use super::text::{self, Affix, BUCKETS};
use super::{MissingInput, RequestView, Scratch};

/// Index of the first hashed piece; words come before.
#[expect(clippy::cast_possible_truncation, reason = "2 to the 14")]
pub(super) const FIRST_PIECE: u32 = BUCKETS as u32;

/// Standardised inputs are cut off at ± this many standard deviations.
const CLIP: f64 = 4.0;

/// What a router reads.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Inputs {
    /// An embedding of the prompt; `None` if the router does without.
    pub embedding: Option<EmbeddingInput>,
    /// The prompt's text; `None` if the router does without.
    pub text: Option<TextInput>,
    /// Numbers the application passes, sorted by name.
    pub numbers: Vec<NumberInput>,
    /// Labels the application passes, sorted by name.
    pub tags: Vec<TagInput>,
}

/// An embedding that the application or a model makes of the prompt. Vectors are scaled to length 1, as the other blocks of
/// inputs are, so that a penalty on weights means the same for all; a vector of zeros stays one and says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddingInput {
    /// What makes it, by the name in the configuration.
    pub model: String,
    /// Its length.
    pub dimensions: usize,
    /// Lower-case hexadecimal SHA-256 of the file that it is read from, if it is; vectors of another file mean other things.
    pub sha256: Option<String>,
}

impl EmbeddingInput {
    /// Scales a vector to length 1, into `out`.
    fn read(&self, vector: Option<&[f32]>, out: &mut Vec<f32>) -> Result<(), MissingInput> {
        let vector = vector.ok_or_else(|| MissingInput::Embedding(self.model.clone()))?;
        if vector.len() != self.dimensions {
            let (expected, found) = (self.dimensions, vector.len());
            return Err(MissingInput::EmbeddingLength { model: self.model.clone(), expected, found });
        }
        // Squares of the largest numbers in single precision fit into double precision by far.
        let square: f64 = vector.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
        if !square.is_finite() {
            return Err(MissingInput::EmbeddingNotFinite(self.model.clone()));
        }
        let factor = if square > 0.0 { 1.0 / libm::sqrt(square) } else { 0.0 };
        out.extend(vector.iter().map(|&value| single(f64::from(value) * factor)));
        Ok(())
    }
}

/// How the prompt is read.
#[derive(Clone, Debug, PartialEq)]
pub struct TextInput {
    /// What nearly all prompts begin with.
    pub prefix: Affix,
    /// What nearly all prompts end with.
    pub suffix: Affix,
    /// Mean and standard deviation of each surface statistic.
    pub surface: Vec<Standard>,
    /// Whether words and their pieces are hashed.
    pub hashed: bool,
}

/// Mean and standard deviation of an input on calibration rows.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Standard {
    /// Mean.
    pub mean: f64,
    /// Standard deviation; 0 switches the input off.
    pub deviation: f64,
}

impl Standard {
    /// The standardised value, within ± 4; 0 for NaN.
    fn apply(self, value: f64) -> f64 {
        let standardised = (value - self.mean) / self.deviation;
        // Not `clamp` alone: it keeps NaN, which an infinite or missing number would bring in.
        if self.deviation > 0.0 && !standardised.is_nan() { standardised.clamp(-CLIP, CLIP) } else { 0.0 }
    }
}

/// A number the application passes.
#[derive(Clone, Debug, PartialEq)]
pub struct NumberInput {
    /// Its name.
    pub name: String,
    /// Its distribution.
    pub standard: Standard,
}

/// A label the application passes.
#[derive(Clone, Debug, PartialEq)]
pub struct TagInput {
    /// Its name.
    pub name: String,
    /// The values that were seen often enough, sorted; every other value is "other".
    pub levels: Vec<String>,
}

/// A request as numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Encoded {
    /// Length of the prompt in bytes, without its shared parts.
    pub(crate) bytes: f64,
    /// The embedding, of length 1 or 0; empty if it is not read.
    pub(crate) embedding: Vec<f32>,
    /// Surface statistics, numbers and tag levels, in this order.
    pub(crate) dense: Vec<f32>,
    /// Hashed words (indices below [`BUCKETS`]) and pieces (above); each block has length 1 or 0.
    pub(crate) sparse: Vec<(u32, f32)>,
}

impl Inputs {
    /// Number of inputs that the embedding is.
    pub fn embedding_len(&self) -> usize {
        self.embedding.as_ref().map_or(0, |embedding| embedding.dimensions)
    }

    /// Number of dense inputs beside the embedding.
    pub fn dense_len(&self) -> usize {
        let surface = self.text.as_ref().map_or(0, |text| text.surface.len());
        surface + self.numbers.len() + self.tags.iter().map(|tag| tag.levels.len() + 1).sum::<usize>()
    }

    /// Number of hashed inputs.
    pub fn hashed_len(&self) -> usize {
        if self.text.as_ref().is_some_and(|text| text.hashed) { 2 * BUCKETS } else { 0 }
    }

    /// The name of a dense input, for explanations.
    pub fn dense_name(&self, mut index: usize) -> String {
        let surface = self.text.as_ref().map_or(0, |text| text.surface.len());
        if index < surface {
            return surface::NAMES.get(index).copied().unwrap_or_default().to_owned();
        }
        index -= surface;
        if let Some(number) = self.numbers.get(index) {
            return number.name.clone();
        }
        index -= self.numbers.len();
        for tag in &self.tags {
            if index <= tag.levels.len() {
                return format!("{} = {}", tag.name, tag.levels.get(index).map_or("other", String::as_str));
            }
            index -= tag.levels.len() + 1;
        }
        String::new()
    }

    /// What a dense input is made of, for explanations.
    pub(super) fn dense_family(&self, index: usize) -> InputFamily {
        let surface = self.text.as_ref().map_or(0, |text| text.surface.len());
        if index < surface {
            InputFamily::Surface
        } else if index < surface + self.numbers.len() {
            InputFamily::Number
        } else {
            InputFamily::Tag
        }
    }

    /// The prompt without its shared parts.
    pub(crate) fn stripped<'a>(&self, text: &'a str) -> &'a str {
        self.text.as_ref().map_or(text, |input| input.suffix.strip_end(input.prefix.strip_start(text)))
    }

    /// Turns a request into numbers, in `scratch.encoded`.
    pub(crate) fn encode(
        &self,
        request: &RequestView<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), MissingInput> {
        let Scratch { reading, encoded, surface, .. } = scratch;
        encoded.embedding.clear();
        encoded.dense.clear();
        encoded.sparse.clear();
        encoded.bytes = 0.0;
        if let Some(input) = &self.embedding {
            input.read(request.embedding, &mut encoded.embedding)?;
        }
        if let Some(input) = &self.text {
            let stripped = self.stripped(request.text);
            let window = text::window(stripped);
            encoded.bytes = stripped.len() as f64;
            reading.read(window, input.hashed);
            surface::compute(stripped.len(), window, reading, surface);
            let scale = 1.0 / libm::sqrt(surface::COUNT as f64);
            let standardised = input.surface.iter().zip(&surface.0);
            encoded.dense.extend(
                standardised.map(|(standard, &value)| single(standard.apply(f64::from(value)) * scale)),
            );
            if input.hashed {
                reading.words.drain_into(0, &mut encoded.sparse);
                normalise(&mut encoded.sparse);
                let pieces_start = encoded.sparse.len();
                reading.pieces.drain_into(FIRST_PIECE, &mut encoded.sparse);
                normalise(&mut encoded.sparse[pieces_start..]);
            }
        }
        let scale = 1.0 / libm::sqrt(self.numbers.len().max(1) as f64);
        for input in &self.numbers {
            let at = request
                .features
                .iter()
                .find(|(name, _)| *name == input.name)
                .ok_or_else(|| MissingInput::Feature(input.name.clone()))?;
            encoded.dense.push(single(input.standard.apply(at.1) * scale));
        }
        for input in &self.tags {
            let (_, value) = request
                .tags
                .iter()
                .find(|(name, _)| *name == input.name)
                .ok_or_else(|| MissingInput::Tag(input.name.clone()))?;
            let level = input
                .levels
                .binary_search_by(|level| level.as_str().cmp(value))
                .unwrap_or(input.levels.len());
            let start = encoded.dense.len();
            encoded.dense.resize(start + input.levels.len() + 1, 0.0);
            encoded.dense[start + level] = 1.0;
        }
        Ok(())
    }

    /// The surface statistics of a request, not standardised, for the fit.
    #[cfg(feature = "fit")]
    pub(crate) fn raw_surface(&self, request: &RequestView<'_>, scratch: &mut Scratch) -> surface::Values {
        let stripped = self.stripped(request.text);
        let window = text::window(stripped);
        scratch.reading.read(window, false);
        surface::compute(stripped.len(), window, &scratch.reading, &mut scratch.surface);
        scratch.surface
    }
}

/// Rounds to single precision, in which inputs and weights are kept.
#[expect(clippy::cast_possible_truncation, reason = "rounding is what it is for")]
pub(crate) fn single(value: f64) -> f32 {
    value as f32
}

/// Scales to Euclidean length 1.
fn normalise(values: &mut [(u32, f32)]) {
    let square = sum_of_squares(values);
    if square > 0.0 {
        let factor = 1.0 / square.sqrt();
        for (_, value) in values {
            *value *= factor;
        }
    }
}

/// In four sums, since each addition to one sum would wait for the last; in the same order on every system.
fn sum_of_squares(values: &[(u32, f32)]) -> f32 {
    let mut sums = [0.0_f32; 4];
    let (fours, rest) = values.as_chunks::<4>();
    for four in fours {
        for (sum, (_, value)) in sums.iter_mut().zip(four) {
            *sum += value * value;
        }
    }
    for (sum, (_, value)) in sums.iter_mut().zip(rest) {
        *sum += value * value;
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3])
}
