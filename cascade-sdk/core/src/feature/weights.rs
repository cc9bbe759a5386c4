//! A router's arrays as bytes: inline in the policy where small, else in a file beside it, named by its hash.
//!
//! Little-endian, without gaps: mean and deviation of every surface statistic (f64), weights of the embedding (f32), dense
//! weights (f32), dense weights of costs (f32), then of the hashed inputs the steps (f32), one bit for every input that has a weight, and the weights
//! of those (i8). All lengths follow from what the policy says in words.

use super::inputs::Standard;
use super::router::Router;
use crate::hash::{hex, sha256};
use std::fmt;

/// Longest weights that stand in the policy itself, in bytes before encoding: 8 kB of text.
const MOST_INLINE: usize = 6 * 1024;

/// Ending of the name of a weights file.
pub const ENDING: &str = ".weights";

/// Why weights do not fit a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WeightsError {
    /// The bytes have another hash than the policy names.
    OtherFile,
    /// The bytes are too few or too many for the inputs that the policy lists.
    WrongLength,
    /// A weight is not a finite number.
    NotFinite,
}

impl fmt::Display for WeightsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherFile => "the weights are not those that the policy was written with",
            Self::WrongLength => "the weights do not fit the inputs that the policy lists",
            Self::NotFinite => "a weight is not a finite number",
        })
    }
}

impl std::error::Error for WeightsError {}

/// Weights that do not stand in the policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sidecar {
    /// File name, next to the policy: the SHA-256 of the bytes, and [`ENDING`].
    pub file: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

impl Router {
    /// The weights file that belongs beside the policy; `None` where the weights stand in the policy itself.
    pub fn sidecar(&self) -> Option<Sidecar> {
        let bytes = self.weights();
        (bytes.len() > MOST_INLINE).then(|| Sidecar { file: file_name(&bytes), bytes })
    }

    /// Hands over the bytes of the file that [`Router::awaits`] names.
    ///
    /// # Errors
    /// [`WeightsError`] if they are not the right ones; the router then still awaits them.
    pub fn complete(&mut self, bytes: &[u8]) -> Result<(), WeightsError> {
        if let Some(file) = &self.awaits {
            if *file != file_name(bytes) {
                return Err(WeightsError::OtherFile);
            }
            self.set_weights(bytes)?;
            self.awaits = None;
        }
        Ok(())
    }

    /// All arrays as bytes.
    pub(crate) fn weights(&self) -> Vec<u8> {
        let Self { inputs, heads, .. } = self;
        let mut out = Vec::new();
        for Standard { mean, deviation } in inputs.text.iter().flat_map(|text| &text.surface) {
            out.extend(mean.to_le_bytes());
            out.extend(deviation.to_le_bytes());
        }
        let costs = heads.cost.iter().flat_map(|cost| &cost.dense);
        let quality = heads.embedding.iter().chain(&heads.dense);
        out.extend(quality.chain(costs).flat_map(|weight| weight.to_le_bytes()));
        if inputs.hashed_len() > 0 {
            out.extend(heads.step.iter().flat_map(|step| step.to_le_bytes()));
            let rows = || heads.hashed.chunks_exact(heads.tiers().max(1));
            let used = |row: &[i8]| row.iter().any(|&weight| weight != 0);
            let mut bits = vec![0_u8; inputs.hashed_len().div_ceil(8)];
            for (at, _) in rows().enumerate().filter(|(_, row)| used(row)) {
                bits[at / 8] |= 1 << (at % 8);
            }
            out.extend(bits);
            out.extend(rows().filter(|row| used(row)).flatten().map(|&weight| weight.cast_unsigned()));
        }
        out
    }

    /// Takes all arrays from bytes; their lengths follow from inputs, tiers and the `dense` of the cost heads.
    pub(crate) fn set_weights(&mut self, bytes: &[u8]) -> Result<(), WeightsError> {
        let Self { inputs, heads, .. } = self;
        let (tiers, mut rest) = (heads.tiers(), Reader(bytes));
        if let Some(text) = &mut inputs.text {
            for standard in &mut text.surface {
                *standard = Standard { mean: rest.f64()?, deviation: rest.f64()? };
            }
        }
        heads.embedding = rest.f32s(inputs.embedding_len() * tiers)?;
        heads.dense = rest.f32s(inputs.dense_len() * tiers)?;
        for cost in &mut heads.cost {
            cost.dense = rest.f32s(cost.dense.len())?;
        }
        heads.step = vec![0.0; tiers];
        heads.hashed = Vec::new();
        if inputs.hashed_len() > 0 {
            heads.step = rest.f32s(tiers)?;
            let bits = rest.take(inputs.hashed_len().div_ceil(8))?;
            heads.hashed = vec![0; inputs.hashed_len() * tiers];
            for (at, row) in heads.hashed.chunks_exact_mut(tiers.max(1)).enumerate() {
                if bits[at / 8] >> (at % 8) & 1 == 1 {
                    for (weight, &byte) in row.iter_mut().zip(rest.take(tiers)?) {
                        *weight = byte.cast_signed();
                    }
                }
            }
        }
        if rest.0.is_empty() { Ok(()) } else { Err(WeightsError::WrongLength) }
    }
}

fn file_name(bytes: &[u8]) -> String {
    hex(&sha256(bytes)) + ENDING
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], WeightsError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(WeightsError::WrongLength)?;
        self.0 = rest;
        Ok(taken)
    }

    fn f64(&mut self) -> Result<f64, WeightsError> {
        let (number, rest) = self.0.split_first_chunk().ok_or(WeightsError::WrongLength)?;
        self.0 = rest;
        finite(f64::from_le_bytes(*number))
    }

    fn f32s(&mut self, count: usize) -> Result<Vec<f32>, WeightsError> {
        let bytes = self.take(count.checked_mul(4).ok_or(WeightsError::WrongLength)?)?;
        let (numbers, _) = bytes.as_chunks::<4>();
        numbers
            .iter()
            .map(|number| {
                let value = f32::from_le_bytes(*number);
                finite(f64::from(value)).map(|_| value)
            })
            .collect()
    }
}

fn finite(value: f64) -> Result<f64, WeightsError> {
    if value.is_finite() { Ok(value) } else { Err(WeightsError::NotFinite) }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 (RFC 4648) without padding.
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0_u32, |group, &byte| group << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        out.extend((0..=chunk.len()).map(|at| char::from(DIGITS[(group >> (18 - 6 * at) & 63) as usize])));
    }
    out
}

/// The bytes of base64 text without padding; `None` if it is none.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    for chunk in text.as_bytes().chunks(4) {
        let mut group = 0_u32;
        for &letter in chunk {
            let digit = DIGITS.iter().position(|&digit| digit == letter)?;
            group = group << 6 | u32::try_from(digit).ok()?;
        }
        group <<= 6 * (4 - chunk.len());
        let [_, bytes @ ..] = group.to_be_bytes();
        let (kept, spare) = bytes.split_at(chunk.len().checked_sub(1).filter(|&kept| kept > 0)?);
        // What the last letter holds beyond whole bytes must be nothing, so that one value has one spelling.
        if spare.iter().any(|&byte| byte != 0) {
            return None;
        }
        out.extend_from_slice(kept);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_standard_one() {
        for (plain, text) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(to_base64(plain.as_bytes()), text);
            assert_eq!(from_base64(text).as_deref(), Some(plain.as_bytes()));
        }
        for bad in ["Z", "Zg==", "Zh", "Zm9!", "Zm9vY", "ä"] {
            assert_eq!(from_base64(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_come_back(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..40)) {
            proptest::prop_assert_eq!(from_base64(&to_base64(&bytes)), Some(bytes));
        }
    }
}
