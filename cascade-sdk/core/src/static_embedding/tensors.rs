//! model2vec's tensors: `embeddings`, and perhaps `weights` and `mapping`.

use super::word_piece::WordPiece;
use super::{MOST_NUMBERS, Table, Tokens, codes};
use crate::diag::Diagnostic;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// Names under which the vectors stand: model2vec's, and that of the library sentence-transformers.
const VECTORS: [&str; 2] = ["embeddings", "embedding.weight"];

/// Reads the tensors that belong to a vocabulary.
///
/// # Errors
/// Everything that is wrong with them.
pub(super) fn read(
    name: &str,
    bytes: &[u8],
    vocabulary: WordPiece,
    dimensions: usize,
) -> Result<Table, Vec<Diagnostic>> {
    let broken = |what: String, help: &str| {
        vec![Diagnostic::error(codes::VECTORS, format!("`{name}` {what}")).help(help.to_owned())]
    };
    let tensors = SafeTensors::deserialize(bytes).map_err(|why| {
        broken(format!("is no file of tensors: {why}"), "save or copy it again: it may have been cut off")
    })?;
    let vectors = VECTORS.iter().find_map(|name| tensors.tensor(name).ok()).ok_or_else(|| {
        let mut names: Vec<&str> = tensors.names();
        names.sort_unstable();
        let help = "save a static model with model2vec; other models cannot be read as a table";
        broken(format!("has no tensor `embeddings`, but `{}`", names.join("`, `")), help)
    })?;
    let [rows, length] = *vectors.shape() else {
        let message = format!("has vectors in {} dimensions, not as a table", vectors.shape().len());
        return Err(broken(message, "save a static model with model2vec"));
    };
    let mut findings = Vec::new();
    if length != dimensions {
        let message =
            format!("`{name}` has vectors of {length} numbers, and the configuration says {dimensions}");
        findings
            .push(Diagnostic::error(codes::DIMENSIONS, message).help(format!("set `dimensions = {length}`")));
    }
    if rows.saturating_mul(length) > MOST_NUMBERS {
        let message = format!("`{name}` holds more than {MOST_NUMBERS} numbers, 1 GiB in memory");
        findings.push(Diagnostic::error(codes::FILE, message).help("take a smaller embedding"));
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    let numbers = numbers(&vectors)
        .ok_or_else(|| broken(format!("has vectors of type {:?}", vectors.dtype()), FLOATS))?;
    let weights = tensors.tensor("weights").ok().map(|tensor| self::numbers(&tensor));
    let weights = match weights {
        None => None,
        Some(Some(weights)) => Some(weights),
        Some(None) => return Err(broken("has `weights` of a type that is not read".into(), FLOATS)),
    };
    let places = tensors.tensor("mapping").ok().map(|tensor| places(&tensor, rows));
    let places = match places {
        None => None,
        Some(Some(places)) => Some(places),
        Some(None) => {
            return Err(broken("has a `mapping` that points beside the vectors".into(), "save it again"));
        }
    };
    let tokens = vocabulary.len();
    let vectored = places.as_ref().map_or(rows, Vec::len);
    for (what, count) in [("vectors", vectored), ("weights", weights.as_ref().map_or(tokens, Vec::len))] {
        if count < tokens {
            let message = format!("`{name}` has {what} for {count} tokens, and the tokenizer names {tokens}");
            let help = "take `model.safetensors` and `tokenizer.json` of the same model";
            findings.push(Diagnostic::error(codes::TOKENIZER, message).help(help));
        }
    }
    let odd = numbers.iter().chain(weights.iter().flatten()).any(|value| !value.is_finite());
    if odd {
        findings.extend(broken("holds a number that is not finite".into(), "save it again"));
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    Ok(Table { tokens: Tokens::Pieces { vocabulary, places }, vectors: numbers, weights })
}

const FLOATS: &str = "save it as F32, F16, BF16, F64 or I8";

/// The numbers of a tensor in single precision.
#[expect(clippy::cast_possible_truncation, reason = "double precision is rounded")]
fn numbers(tensor: &TensorView<'_>) -> Option<Vec<f32>> {
    let data = tensor.data();
    Some(match tensor.dtype() {
        Dtype::F32 => data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        Dtype::F64 => data.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes) as f32).collect(),
        Dtype::F16 => data.as_chunks().0.iter().map(|bytes| half(u16::from_le_bytes(*bytes))).collect(),
        Dtype::BF16 => {
            let wide = |bytes: &[u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
            data.as_chunks().0.iter().map(wide).collect()
        }
        Dtype::I8 => data.iter().map(|byte| f32::from(byte.cast_signed())).collect(),
        _ => return None,
    })
}

/// The vector of each token, where tokens share them.
fn places(tensor: &TensorView<'_>, rows: usize) -> Option<Vec<u32>> {
    let data = tensor.data();
    let within = |place: i64| u32::try_from(place).ok().filter(|place| (*place as usize) < rows);
    match tensor.dtype() {
        Dtype::I64 => data.as_chunks().0.iter().map(|bytes| within(i64::from_le_bytes(*bytes))).collect(),
        Dtype::I32 => {
            data.as_chunks().0.iter().map(|bytes| within(i32::from_le_bytes(*bytes).into())).collect()
        }
        _ => None,
    }
}

/// A number of half precision (IEEE 754 binary16), exactly.
fn half(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (bits >> 15, bits >> 10 & 0x1F, u32::from(bits & 0x3FF));
    let size = match exponent {
        // Below the smallest normal number steps are of 2 to the −24.
        0 => f32::from(bits & 0x3FF) * (1.0 / 16_777_216.0),
        0x1F => f32::from_bits(0xFF << 23 | fraction << 13),
        _ => f32::from_bits((u32::from(exponent) + 112) << 23 | fraction << 13),
    };
    if sign == 1 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::half;

    #[test]
    fn half_precision_is_read_exactly() {
        for (bits, value) in [
            (0x0000, 0.0),
            (0x3C00, 1.0),
            (0xC000, -2.0),
            (0x7BFF, 65_504.0),
            (0x3555, 0.333_251_95),
            (0x0001, 5.960_464_5e-8),
            (0x03FF, 6.097_555e-5),
            (0x0400, 6.103_515_6e-5),
            (0x7C00, f32::INFINITY),
            (0xFC00, f32::NEG_INFINITY),
        ] {
            assert_eq!(half(bits), value, "{bits:04x}");
        }
        assert!(half(0x7E00).is_nan());
    }
}
