//! Static embeddings: a file with a vector for each word or piece of a word. A text's embedding is the mean of the vectors
//! of its tokens, scaled to length 1. No network, no model to run: microseconds a text.
//!
//! Two kinds of files are read:
//!
//! - **Word vectors as text**, as GloVe, word2vec and fastText write them: a word and its numbers on each line, all numbers
//!   of equal count; a first line with the two counts may stand before them.
//! - **model2vec's layout**: `model.safetensors` with a tensor `embeddings` (and perhaps `weights` and `mapping`), and beside
//!   it `tokenizer.json` with a `WordPiece` vocabulary.
//!
//! The same file and text give the same vector, bit for bit, in fit, replay and runtime: sums are made in double precision in
//! the order of the text.

pub mod codes;
mod split;
mod tensors;
#[cfg(test)]
mod tests;
mod word_piece;
mod words;

use crate::diag::Diagnostic;
use crate::feature::text;
use crate::hash::{Digest, Hasher};
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};
use word_piece::WordPiece;

/// Most numbers of one table: 1 GiB in single precision.
const MOST_NUMBERS: usize = 1 << 28;

/// Most bytes of a file of tensors.
const MOST_TENSOR_BYTES: u64 = 2 << 30;

/// Most bytes of a tokenizer.
const MOST_TOKENIZER_BYTES: u64 = 64 << 20;

/// Ending of the files that hold tensors.
const TENSORS: &str = "safetensors";

/// Name of the file beside the tensors that says how texts become tokens.
const TOKENIZER: &str = "tokenizer.json";

/// A table of token vectors in memory.
pub struct StaticEmbedding {
    dimensions: usize,
    tokens: Tokens,
    /// One vector after the other.
    vectors: Vec<f32>,
    /// What each token's vector is multiplied with, where the file says it.
    weights: Option<Vec<f32>>,
    sha256: String,
}

/// How a text becomes tokens.
enum Tokens {
    /// Whole words, each with the place of its vector.
    Words(HashMap<Box<str>, u32>),
    /// Pieces of words, and the place of each one's vector.
    Pieces { vocabulary: WordPiece, places: Option<Vec<u32>> },
}

/// Everything but the hash.
struct Table {
    tokens: Tokens,
    vectors: Vec<f32>,
    weights: Option<Vec<f32>>,
}

impl StaticEmbedding {
    /// Reads a file. `name` is its path as people would type it, for messages; `dimensions` the length that its vectors must
    /// have.
    ///
    /// # Errors
    /// Everything that is wrong with the file, with its lines.
    pub fn open(path: &Path, name: &str, dimensions: usize) -> Result<Self, Vec<Diagnostic>> {
        let (table, sha256) = if is_tensors(path) {
            let (tokenizer, tokenizer_name) = tokenizer_of(path, name);
            let tensors = whole(path, name, MOST_TENSOR_BYTES)?;
            let vocabulary = whole(&tokenizer, &tokenizer_name, MOST_TOKENIZER_BYTES)?;
            let sha256 = hash_of_both(&plain_hash(&tensors), &plain_hash(&vocabulary));
            let vocabulary = WordPiece::read(&tokenizer_name, &vocabulary)?;
            (tensors::read(name, &tensors, vocabulary, dimensions)?, sha256)
        } else {
            let file = File::open(path).map_err(|why| vec![unreadable(name, &why)])?;
            words::read(name, BufReader::with_capacity(1 << 18, file), dimensions)?
        };
        let Table { tokens, vectors, weights } = table;
        Ok(Self { dimensions, tokens, vectors, weights, sha256 })
    }

    /// The hash of a file as [`StaticEmbedding::sha256`] gives it, without reading its vectors.
    ///
    /// # Errors
    /// A file that cannot be read to its end.
    pub fn hash(path: &Path, name: &str) -> Result<String, Diagnostic> {
        let of = |path: &Path, name: &str| {
            let read = || -> io::Result<String> {
                let (mut file, mut digest) = (File::open(path)?, Digest::default());
                let mut buffer = vec![0; 1 << 18];
                loop {
                    match file.read(&mut buffer)? {
                        0 => return Ok(digest.hex()),
                        count => digest.add(&buffer[..count]),
                    }
                }
            };
            read().map_err(|why| unreadable(name, &why))
        };
        if !is_tensors(path) {
            return of(path, name);
        }
        let (tokenizer, tokenizer_name) = tokenizer_of(path, name);
        Ok(hash_of_both(&of(path, name)?, &of(&tokenizer, &tokenizer_name)?))
    }

    /// The files that are read for one: it, and the tokenizer beside tensors.
    pub fn files(path: &Path) -> Vec<PathBuf> {
        let mut files = vec![path.to_path_buf()];
        if is_tensors(path) {
            files.push(tokenizer_of(path, "").0);
        }
        files
    }

    /// Length of its vectors.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Number of its vectors.
    pub fn len(&self) -> usize {
        self.vectors.len() / self.dimensions.max(1)
    }

    /// Whether it holds no vector.
    pub fn is_empty(&self) -> bool {
        self.vectors.is_empty()
    }

    /// Lower-case hexadecimal SHA-256 of the file; of tensors and tokenizer together where there are both.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The embedding of a text, of length 1; all zeros for a text of which no token is known. It reads the part of a long text
    /// that routers read: [`text::HEAD_BYTES`] from its start and [`text::TAIL_BYTES`] from its end.
    pub fn embed(&self, text: &str) -> Vec<f32> {
        let mut sums = vec![0.0_f64; self.dimensions];
        let mut add = |place: usize, weight: f64| {
            let start = place * self.dimensions;
            let vector = self.vectors.get(start..start + self.dimensions).unwrap_or_default();
            for (sum, value) in sums.iter_mut().zip(vector) {
                *sum += weight * f64::from(*value);
            }
        };
        for part in text::window(text) {
            match &self.tokens {
                Tokens::Words(places) => split::words(part, |word| {
                    if let Some(place) = words::find(places, word) {
                        add(place, 1.0);
                    }
                }),
                Tokens::Pieces { vocabulary, places } => vocabulary.tokens(part, |token| {
                    let token = token as usize;
                    let place = places
                        .as_ref()
                        .map_or(Some(token), |places| places.get(token).map(|place| *place as usize));
                    let weight = self.weights.as_ref().and_then(|weights| weights.get(token));
                    if let Some(place) = place {
                        add(place, weight.map_or(1.0, |weight| f64::from(*weight)));
                    }
                }),
            }
        }
        scaled(&sums)
    }
}

/// To length 1 in single precision. The mean is their sum scaled, so that the number of tokens does not matter.
#[expect(clippy::cast_possible_truncation, reason = "rounding is what it is for")]
fn scaled(sums: &[f64]) -> Vec<f32> {
    let square: f64 = sums.iter().map(|sum| sum * sum).sum();
    let factor = if square > 0.0 { 1.0 / libm::sqrt(square) } else { 0.0 };
    sums.iter().map(|sum| (sum * factor) as f32).collect()
}

impl fmt::Debug for StaticEmbedding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticEmbedding")
            .field("vectors", &self.len())
            .field("dimensions", &self.dimensions)
            .field("sha256", &self.sha256)
            .finish_non_exhaustive()
    }
}

fn is_tensors(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(TENSORS))
}

/// The tokenizer beside a file of tensors, and its name in messages.
fn tokenizer_of(path: &Path, name: &str) -> (PathBuf, String) {
    let folder = name.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    (path.with_file_name(TOKENIZER), format!("{folder}{TOKENIZER}"))
}

/// All bytes of a file that is not too large.
fn whole(path: &Path, name: &str, most: u64) -> Result<Vec<u8>, Vec<Diagnostic>> {
    let read = || -> io::Result<Option<Vec<u8>>> {
        let file = File::open(path)?;
        // Its size may be wrong, or change.
        let mut bytes = Vec::new();
        file.take(most + 1).read_to_end(&mut bytes)?;
        Ok((bytes.len() as u64 <= most).then_some(bytes))
    };
    match read() {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => {
            let message = format!("`{name}` is larger than {} MiB", most >> 20);
            Err(vec![Diagnostic::error(codes::FILE, message).help("take a smaller embedding")])
        }
        Err(why) => Err(vec![unreadable(name, &why)]),
    }
}

fn unreadable(name: &str, why: &io::Error) -> Diagnostic {
    let error = Diagnostic::error(codes::FILE, format!("the embedding file `{name}` cannot be read: {why}"));
    error.help("correct `file` under [routes.ROUTE.embedding]; its path is relative to the configuration")
}

fn plain_hash(bytes: &[u8]) -> String {
    let mut digest = Digest::default();
    digest.add(bytes);
    digest.hex()
}

fn hash_of_both(tensors: &str, tokenizer: &str) -> String {
    Hasher::new().part("cascade static embedding 1").part(tensors).part(tokenizer).hex()
}
