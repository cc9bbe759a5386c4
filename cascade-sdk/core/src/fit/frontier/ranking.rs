//! Rows in the order of a signal, with their tie groups: what every threshold search starts from (MATH.md 3).

/// Rows sorted by a signal from the least to the most confident.
#[derive(Clone, Debug, Default)]
pub struct Ranking {
    /// Rows of the table.
    pub order: Vec<u32>,
    /// Where each group of equal scores ends in `order`.
    pub ends: Vec<u32>,
    /// The score of each group. Missing scores are −∞ and come first; +∞ counts as the largest finite number, so that a
    /// finite cut can keep it.
    pub scores: Vec<f64>,
}

impl Ranking {
    /// Sorts `rows` (indices into `values`) by value; −0 equals +0, NaN counts as missing. O(n).
    pub fn new(values: &[f64], rows: &[u32]) -> Self {
        let keys: Vec<u64> = rows.iter().map(|&row| key(values[row as usize])).collect();
        let sorted = sort(&keys);
        let mut ranking = Self { order: Vec::with_capacity(rows.len()), ..Self::default() };
        let mut last = None;
        for position in sorted {
            let (key, row) = (keys[position as usize], rows[position as usize]);
            if last != Some(key) {
                if last.is_some() {
                    ranking.ends.push(length(&ranking.order));
                }
                ranking.scores.push(score(values[row as usize]));
                last = Some(key);
            }
            ranking.order.push(row);
        }
        if last.is_some() {
            ranking.ends.push(length(&ranking.order));
        }
        ranking
    }

    /// Number of groups of equal scores.
    pub fn groups(&self) -> usize {
        self.scores.len()
    }

    /// The rows of a group.
    pub fn group(&self, group: usize) -> &[u32] {
        let start = group.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.order[start..self.ends[group] as usize]
    }

    /// Joins groups until at most about `most` are left, each of roughly equal size: cuts at quantiles. A group of
    /// equal scores is never divided, and missing scores stay a group of their own.
    #[must_use]
    pub fn at_quantiles(&self, most: usize) -> Self {
        if self.groups() <= most {
            return self.clone();
        }
        let mut coarse = Self { order: self.order.clone(), ..Self::default() };
        let mut quota = 0;
        for group in 0..self.groups() {
            let start = group.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
            let after_missing = group == 1 && self.scores[0] == f64::NEG_INFINITY;
            if group == 0 || after_missing || start * most >= quota * self.order.len() {
                coarse.ends.extend(u32::try_from(start).ok().filter(|&start| start > 0));
                coarse.scores.push(self.scores[group]);
                quota = start * most / self.order.len().max(1) + 1;
            }
        }
        coarse.ends.push(length(&self.order));
        coarse
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a table numbers its rows in 32 bits")]
fn length(order: &[u32]) -> u32 {
    order.len() as u32
}

fn score(value: f64) -> f64 {
    if value.is_nan() { f64::NEG_INFINITY } else { value.min(f64::MAX) }
}

/// An integer in the order of the scores.
fn key(value: f64) -> u64 {
    // Adding +0 turns −0 into +0.
    let bits = (score(value) + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

const DIGIT: u32 = 11;

/// Positions of the keys in increasing order: three radix passes over the leading bits that differ, then the few runs
/// that agree in these are sorted by the whole key.
#[expect(clippy::cast_possible_truncation, reason = "a table numbers its rows in 32 bits")]
fn sort(keys: &[u64]) -> Vec<u32> {
    let (Some(&low), Some(&high)) = (keys.iter().min(), keys.iter().max()) else { return Vec::new() };
    if keys.len() < 256 {
        let mut order: Vec<u32> = (0..keys.len() as u32).collect();
        order.sort_by_key(|&position| keys[position as usize]);
        return order;
    }
    let spread = (high - low).leading_zeros().min(63);
    let leading = |key: u64| (((key - low) << spread) >> 32) as u32;
    let mut items: Vec<(u32, u32)> =
        keys.iter().enumerate().map(|(position, &key)| (leading(key), position as u32)).collect();
    let mut other = vec![(0, 0); items.len()];
    for pass in 0..32_u32.div_ceil(DIGIT) {
        let digit = |item: (u32, u32)| ((item.0 >> (pass * DIGIT)) & ((1 << DIGIT) - 1)) as usize;
        let mut starts = [0_u32; 1 << DIGIT];
        for &item in &items {
            starts[digit(item)] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += std::mem::replace(start, sum);
        }
        for &item in &items {
            let start = &mut starts[digit(item)];
            other[*start as usize] = item;
            *start += 1;
        }
        std::mem::swap(&mut items, &mut other);
    }
    for run in items.chunk_by_mut(|a, b| a.0 == b.0).filter(|run| run.len() > 1) {
        run.sort_by_key(|item| keys[item.1 as usize]);
    }
    items.into_iter().map(|item| item.1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(values: &[f64]) -> Vec<u32> {
        (0..values.len() as u32).collect()
    }

    #[test]
    fn ties_share_a_group_and_missing_scores_come_first() {
        let values = [0.5, f64::NAN, -0.0, 0.0, f64::INFINITY, f64::NEG_INFINITY, 0.5];
        let ranking = Ranking::new(&values, &all(&values));
        assert_eq!(ranking.scores, [f64::NEG_INFINITY, 0.0, 0.5, f64::MAX]);
        assert_eq!(ranking.ends, [2, 4, 6, 7]);
        assert_eq!(ranking.group(2), [0, 6]);
        assert_eq!(Ranking::new(&values, &[]).groups(), 0);
    }

    #[test]
    fn quantiles_join_groups_but_not_the_missing_one() {
        let values: Vec<f64> =
            (0..1000).map(|i| if i < 10 { f64::NEG_INFINITY } else { f64::from(i / 2) }).collect();
        let ranking = Ranking::new(&values, &all(&values)).at_quantiles(20);
        assert!((20..=22).contains(&ranking.groups()), "{}", ranking.groups());
        assert_eq!(ranking.ends[0], 10);
        assert_eq!(ranking.ends.last(), Some(&1000));
        for group in 0..ranking.groups() {
            let low =
                ranking.group(group).iter().map(|&row| values[row as usize]).fold(f64::INFINITY, f64::min);
            assert_eq!(low, ranking.scores[group]);
            assert!(ranking.group(group).len() <= 60);
        }
    }

    proptest! {
        #[test]
        fn sorting_agrees_with_the_standard_sort(
            values in prop::collection::vec(prop_oneof![-1e3..1e3, -1e-300..1e-300, Just(0.25), Just(-0.0)], 0..700),
        ) {
            let ranking = Ranking::new(&values, &all(&values));
            let mut expected = values.clone();
            expected.sort_by(f64::total_cmp);
            let sorted: Vec<f64> = ranking.order.iter().map(|&row| values[row as usize]).collect();
            prop_assert_eq!(sorted, expected);
            prop_assert!(ranking.scores.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
