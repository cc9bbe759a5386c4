//! SHA-256 with the project's framing: lengths are hashed with the parts, so that parts cannot run into each other.

use sha2::{Digest as _, Sha256};

/// Collects parts and yields their hash.
#[derive(Clone, Debug, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// An empty hasher.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one part, framed by its length.
    #[must_use]
    pub fn part(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.add(bytes.as_ref());
        self
    }

    /// Adds one part in place.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// The 32 bytes.
    pub fn bytes(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    /// Lower-case hexadecimal, 64 characters.
    pub fn hex(self) -> String {
        hex(&self.bytes())
    }

    /// The first eight bytes as a fraction in [0, 1): for splits, mixtures and canaries.
    pub fn fraction(self) -> f64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.bytes()[..8]);
        // 53 bits, the most an f64 holds exactly.
        let bits = u64::from_be_bytes(first) >> 11;
        bits as f64 / (1_u64 << 53) as f64
    }
}

/// The plain SHA-256 of bytes that come piece by piece: how they are cut does not count.
#[cfg(feature = "static-embedding")]
#[derive(Clone, Debug, Default)]
pub(crate) struct Digest(Sha256);

#[cfg(feature = "static-embedding")]
impl Digest {
    /// Adds some bytes.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Lower-case hexadecimal, 64 characters.
    pub(crate) fn hex(self) -> String {
        hex(&self.0.finalize())
    }
}

/// The plain SHA-256 of some bytes, unframed.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(Hasher::new().part("ab").part("c").hex(), Hasher::new().part("a").part("bc").hex());
    }

    #[test]
    fn plain_hash_is_the_standard_one() {
        assert_eq!(hex(&sha256(b"abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn fractions_are_uniform_enough() {
        let mean =
            (0..2000).map(|i: i32| Hasher::new().part(i.to_le_bytes()).fraction()).sum::<f64>() / 2000.0;
        assert!((mean - 0.5).abs() < 0.03, "{mean}");
    }
}
