//! Counts of hashed words and pieces, with signs, so that hashes which share a bucket cancel on average.

use super::inputs::single;
use std::sync::LazyLock;

/// Buckets of each of the two hashed blocks.
pub const BUCKETS: usize = 1 << BUCKET_BITS;

const BUCKET_BITS: u32 = 14;

/// Counts of signed hashes in one block, and which buckets are in use.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    /// Of every bucket; `None` before the first use.
    count: Option<Box<BucketCounts>>,
    /// Buckets in use, in the first `used` places.
    touched: Vec<u16>,
    used: usize,
}

impl Counts {
    /// Forgets all.
    pub(super) fn clear(&mut self) {
        let touched = &self.touched[..std::mem::take(&mut self.used)];
        if let Some(count) = &mut self.count {
            for &bucket in touched {
                count.0[usize::from(bucket)] = 0;
            }
        }
    }

    /// Adds the hashes that `each` hands on, at most so many.
    #[inline]
    pub(super) fn add_all(&mut self, most: usize, each: impl FnOnce(&mut Slots<'_>)) {
        if self.touched.len() < self.used + most {
            self.touched.resize((self.used + most).next_power_of_two(), 0);
        }
        let count = self.count.get_or_insert_default();
        let mut slots = Slots { count: &mut count.0, touched: &mut self.touched, used: self.used };
        each(&mut slots);
        self.used = slots.used;
    }

    /// Size of what grows with the length of a text.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.touched.capacity()
    }

    /// Moves the buckets in use, with sign · (1 + ln count), to `out`, in order of first use; each bucket once.
    pub(super) fn drain_into(&mut self, offset: u32, out: &mut Vec<(u32, f32)>) {
        let Some(count) = &mut self.count else { return };
        let damped = &*DAMPED;
        let mut end = out.len();
        out.resize(end + self.used, (0, 0.0));
        for &bucket in &self.touched[..self.used] {
            // A bucket whose counts cancelled may have been listed twice.
            let count = std::mem::take(&mut count.0[usize::from(bucket) % BUCKETS]);
            out[end] = (offset + u32::from(bucket), damped[usize::from(count.cast_unsigned())]);
            end += usize::from(count != 0);
        }
        out.truncate(end);
        self.used = 0;
    }
}

/// How often each bucket was hit, with signs.
#[derive(Clone, Debug)]
struct BucketCounts([i8; BUCKETS]);

impl Default for BucketCounts {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

/// [`Counts`] while hashes are added: `used` stays in a register.
pub(super) struct Slots<'c> {
    count: &'c mut [i8; BUCKETS],
    touched: &'c mut [u16],
    used: usize,
}

impl Slots<'_> {
    /// The high bits of a hash name the bucket, the next one the sign.
    #[inline]
    pub(super) fn add(&mut self, hash: u64) {
        let bucket = bucket(hash);
        let sign = 1 - 2 * i8::from(hash >> (63 - BUCKET_BITS) & 1 == 1);
        let count = &mut self.count[usize::from(bucket)];
        // Written always and kept if new: whether a piece is new cannot be predicted, and a branch would cost more.
        self.touched[self.used] = bucket;
        self.used += usize::from(*count == 0);
        // Uses beyond 127 count for nothing: a byte holds no more on both sides of zero.
        let sum = count.wrapping_add(sign);
        if sum != i8::MIN {
            *count = sum;
        }
    }
}

/// sign · (1 + ln |count|), by count as an unsigned byte.
static DAMPED: LazyLock<[f32; 256]> = LazyLock::new(|| {
    std::array::from_fn(|byte| {
        let count = u8::try_from(byte).unwrap_or_default().cast_signed();
        let value = single(1.0 + libm::log(f64::from(count.unsigned_abs().max(1))));
        if count < 0 { -value } else { value }
    })
});

/// The bucket that the high bits of a hash name.
#[inline]
pub(super) fn bucket(hash: u64) -> u16 {
    (hash >> (64 - BUCKET_BITS)) as u16
}
