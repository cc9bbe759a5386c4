//! The test: groups change sides at random.

use super::Family;
use super::columns::Sides;
use super::vectors::Sums;
use crate::fit::random::SplitMix64;

/// Least and most permutations where fewer would do.
const ROUNDS: (usize, usize) = (999, 9_999);

/// Most permutations where a strict level needs them.
const MOST_ROUNDS: usize = 99_999;

/// Permutations so that the smallest possible p-value is well below what Holm's method asks of the first of `tests`, or
/// below it at least.
pub(super) fn rounds(tests: usize, alpha: f64) -> usize {
    let first = tests as f64 / alpha;
    let wanted = (10.0 * first).clamp(ROUNDS.0 as f64, ROUNDS.1 as f64).max(2.0 * first);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let wanted = wanted.min(MOST_ROUNDS as f64) as usize;
    wanted
}

/// Whether any result of so many permutations is significant after Holm's correction.
pub(super) fn can_reject(tests: usize, alpha: f64) -> bool {
    tests as f64 / (rounds(tests, alpha) + 1) as f64 <= alpha
}

/// Share of permutations, the real sides counted in, in which the sides differ at least as much as they do.
pub(super) fn p_value(family: &Family, sides: &Sides, rounds: usize, seed: u64) -> f64 {
    let groups = sides.is_new.len();
    let new_groups = sides.groups()[1];
    if new_groups == 0 || new_groups == groups {
        return 1.0;
    }
    let mut vectors = family.vectors.as_ref().map(|vectors| Sums::new(vectors, sides));
    let by_group = ByGroup::new(family, sides);
    let mut counts = vec![0_u32; family.columns as usize];
    let mut difference = |new: &[u32]| match &mut vectors {
        Some(sums) => sums.difference(new),
        None => by_group.difference(new, &mut counts),
    };
    let real: Vec<u32> =
        (0..groups).filter(|&group| sides.is_new[group]).filter_map(|g| u32::try_from(g).ok()).collect();
    let observed = difference(&real);
    let mut order: Vec<u32> = (0..u32::try_from(groups).unwrap_or(u32::MAX)).collect();
    let mut random = SplitMix64::new(seed, 77);
    let mut as_far = 1;
    for _ in 0..rounds {
        // The first `new_groups` places of a random order are a random choice of groups.
        for place in 0..new_groups {
            let other = place + random.below(groups - place);
            order.swap(place, other);
        }
        // Sums of the same numbers in another order may differ in the last bits.
        if difference(&order[..new_groups]) >= observed * (1.0 - 1e-9) {
            as_far += 1;
        }
    }
    f64::from(as_far) / (rounds + 1) as f64
}

/// Columns that are on, group by group.
struct ByGroup {
    rows: Vec<u32>,
    on: Vec<u32>,
    end: Vec<usize>,
    /// Over all groups.
    total: Vec<u32>,
    all_rows: u32,
}

impl ByGroup {
    /// Rows of a group stand together.
    fn new(family: &Family, sides: &Sides) -> Self {
        let groups = sides.is_new.len();
        let mut by_group = Self {
            rows: vec![0; groups],
            on: Vec::with_capacity(family.on.len()),
            end: vec![0; groups],
            total: vec![0; family.columns as usize],
            all_rows: 0,
        };
        for (row, &group) in sides.group.iter().enumerate() {
            by_group.rows[group as usize] += 1;
            by_group.all_rows += 1;
            for &column in family.row(row) {
                by_group.on.push(column);
                by_group.total[column as usize] += 1;
            }
            by_group.end[group as usize] = by_group.on.len();
        }
        by_group
    }

    /// Σ over the columns of (share on the new side − share on the other)² / (share · (1 − share)).
    fn difference(&self, new: &[u32], counts: &mut [u32]) -> f64 {
        counts.fill(0);
        let mut rows = 0;
        for &group in new {
            let group = group as usize;
            let start = group.checked_sub(1).map_or(0, |before| self.end[before]);
            rows += self.rows[group];
            for &column in &self.on[start..self.end[group]] {
                counts[column as usize] += 1;
            }
        }
        let (new_rows, other_rows) = (f64::from(rows), f64::from(self.all_rows - rows));
        let mut sum = 0.0;
        for (&count, &total) in counts.iter().zip(&self.total) {
            let share = f64::from(total) / f64::from(self.all_rows);
            if total > 0 && total < self.all_rows {
                let gap = f64::from(count) / new_rows - f64::from(total - count) / other_rows;
                sum += gap * gap / (share * (1.0 - share));
            }
        }
        sum
    }
}
