//! Choosing a family: cross-fitted values of the objective's Lagrangian on calibration rows (MATH.md 11, DESIGN.md 7).
//!
//! Everything a family fits (thresholds, signal, λ, router) is refitted without the fold it is judged on. The simplest
//! family whose paired difference from the best is within one standard error of that difference is chosen; held-out
//! rows take no part.

use crate::config::Family;
use crate::fit::rows::table::Table;
use crate::hash::Hasher;
use std::collections::{BTreeMap, BTreeSet};

/// Number of folds, where there are as many groups.
pub const FOLDS: u8 = 5;

/// The fold of each of `rows`, by the name of its group: groups of one name share a fold. A name's number of order is its
/// place in a seeded hash order, so that folds are equally large and do not depend on the order of rows.
pub fn folds(table: &Table, rows: &[u32], group_names: &[String], seed: u64) -> Vec<u8> {
    let name = |row: u32| group_names.get(table.group[row as usize] as usize).map_or("", String::as_str);
    let present: BTreeSet<&str> = rows.iter().map(|&row| name(row)).collect();
    let mut keyed: Vec<([u8; 32], &str)> = present
        .into_iter()
        .map(|name| (Hasher::new().part("fold").part(seed.to_le_bytes()).part(name).bytes(), name))
        .collect();
    keyed.sort_unstable();
    let folds = usize::from(FOLDS).min(keyed.len()).max(1);
    let fold_of: BTreeMap<&str, u8> = keyed
        .iter()
        .enumerate()
        .map(|(place, &(_, name))| (name, u8::try_from(place % folds).unwrap_or(0)))
        .collect();
    rows.iter().map(|&row| fold_of.get(name(row)).copied().unwrap_or(0)).collect()
}

/// A family and its cross-fitted value for each calibration row.
#[derive(Clone, Debug)]
pub struct Scored {
    /// The family.
    pub family: Family,
    /// Lagrangian value of each row under the policy fitted without the row's fold.
    pub values: Vec<f64>,
}

/// How a family compares with the best one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// The family.
    pub family: Family,
    /// Mean cross-fitted Lagrangian value, in quality.
    pub value: f64,
    /// Mean paired shortfall from the best family, in quality; 0 for the best.
    pub behind: f64,
    /// Standard error of that shortfall, by group.
    pub standard_error: f64,
}

/// Compares families and chooses: the first in order of simplicity that is within one standard error of the best.
pub fn choose(table: &Table, rows: &[u32], scored: &[Scored]) -> (Option<Family>, Vec<Standing>) {
    let mean = |values: &[f64]| weighted_mean(table, rows, values);
    // Equal means go to the simpler family, hence the strict comparison in order of simplicity.
    let mut ordered: Vec<&Scored> = scored.iter().collect();
    ordered.sort_by_key(|scored| scored.family);
    let Some(best) = ordered
        .iter()
        .copied()
        .reduce(|best, next| if mean(&next.values) > mean(&best.values) { next } else { best })
    else {
        return (None, Vec::new());
    };
    let standings: Vec<Standing> = ordered
        .iter()
        .map(|scored| {
            let difference: Vec<f64> = best.values.iter().zip(&scored.values).map(|(a, b)| a - b).collect();
            Standing {
                family: scored.family,
                value: mean(&scored.values),
                behind: mean(&difference),
                standard_error: clustered_error(table, rows, &difference),
            }
        })
        .collect();
    let chosen =
        standings.iter().find(|standing| standing.behind <= standing.standard_error).map(|s| s.family);
    (chosen, standings)
}

/// The family that may most be better than the chosen one, for all these rows tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rival {
    /// The family.
    pub family: Family,
    /// Its mean cross-fitted Lagrangian value minus the chosen family's, in quality.
    pub ahead: f64,
    /// Standard error of that difference, by group.
    pub standard_error: f64,
}

impl Rival {
    /// Upper end of the 95 % interval of what it gains, in quality.
    pub fn most(&self) -> f64 {
        self.ahead + 1.959_963_985 * self.standard_error
    }
}

/// The rival of the chosen family; `None` if there is no other family or one group gives no error.
pub fn rival(table: &Table, rows: &[u32], scored: &[Scored], chosen: Family) -> Option<Rival> {
    let own = scored.iter().find(|scored| scored.family == chosen)?;
    let rivals = scored.iter().filter(|scored| scored.family != chosen).map(|scored| {
        let difference: Vec<f64> = scored.values.iter().zip(&own.values).map(|(a, b)| a - b).collect();
        Rival {
            family: scored.family,
            ahead: weighted_mean(table, rows, &difference),
            standard_error: clustered_error(table, rows, &difference),
        }
    });
    rivals
        .filter(|rival| rival.standard_error.is_finite())
        .reduce(|most, next| if next.most() > most.most() { next } else { most })
}

/// Weighted mean of one value for each of `rows`.
pub(in crate::fit) fn weighted_mean(table: &Table, rows: &[u32], values: &[f64]) -> f64 {
    let sum: f64 =
        rows.iter().zip(values).map(|(&row, value)| table.weight[row as usize] as f64 * value).sum();
    sum / table.total_weight(rows) as f64
}

/// Standard error of a weighted mean with groups as the unit: √(G/(G−1) Σ_g (Σ_i w_i (x_i − x̄))²) / Σw.
pub fn clustered_error(table: &Table, rows: &[u32], values: &[f64]) -> f64 {
    let mean = weighted_mean(table, rows, values);
    let mut by_group = BTreeMap::<u32, f64>::new();
    for (&row, value) in rows.iter().zip(values) {
        *by_group.entry(table.group[row as usize]).or_default() +=
            table.weight[row as usize] as f64 * (value - mean);
    }
    let groups = by_group.len() as f64;
    if groups < 2.0 {
        return f64::INFINITY;
    }
    let spread: f64 = by_group.values().map(|sum| sum * sum).sum();
    libm::sqrt(spread * groups / (groups - 1.0)) / table.total_weight(rows) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: u32) -> Table {
        Table {
            tiers: Vec::new(),
            log_row: (0..rows).collect(),
            group: (0..rows).map(|row| row / 2).collect(),
            groups: rows.div_ceil(2) as usize,
            weight: vec![1; rows as usize],
            embedding_cost: Vec::new(),
            embedding_latency_ms: Vec::new(),
        }
    }

    #[test]
    fn groups_stay_in_one_fold_and_folds_are_equal() {
        let table = table(100);
        let rows: Vec<u32> = (0..100).collect();
        let names: Vec<String> = (0..50).map(|group| format!("g{group}")).collect();
        let folds = folds(&table, &rows, &names, 7);
        assert!(folds.chunks(2).all(|pair| pair[0] == pair[1]));
        assert!((0..FOLDS).all(|fold| folds.iter().map(|&f| usize::from(f == fold)).sum::<usize>() == 20));
    }

    #[test]
    fn groups_of_one_name_share_a_fold() {
        let table = table(100);
        let rows: Vec<u32> = (0..100).collect();
        let names: Vec<String> = (0..50).map(|group| format!("variants-{}", group / 5)).collect();
        let folds = folds(&table, &rows, &names, 7);
        assert!(folds.chunks(10).all(|variants| variants.iter().all(|fold| *fold == variants[0])));
        assert_eq!(folds.iter().collect::<BTreeSet<_>>().len(), usize::from(FOLDS));
    }

    #[test]
    fn the_simplest_family_within_one_standard_error_wins() {
        let table = table(200);
        let rows: Vec<u32> = (0..200).collect();
        let noise = |row: u32| f64::from(row * 37 % 101) / 101.0;
        let values = |gain: f64, spread: f64| -> Vec<f64> {
            rows.iter()
                .map(|&row| noise(row) + gain + spread * f64::from((row / 2) % 2 * 2) - spread)
                .collect()
        };
        let scored = |family, gain, spread| Scored { family, values: values(gain, spread) };
        let clear = [scored(Family::Single, 0.0, 0.0), scored(Family::Pair, 0.05, 0.1)];
        assert_eq!(choose(&table, &rows, &clear).0, Some(Family::Pair));
        let noisy = [scored(Family::Single, 0.0, 0.0), scored(Family::Pair, 0.05, 0.9)];
        assert_eq!(choose(&table, &rows, &noisy).0, Some(Family::Single));
        let equal = [scored(Family::Chain, 0.0, 0.0), scored(Family::Pair, 0.0, 0.0)];
        assert_eq!(choose(&table, &rows, &equal).0, Some(Family::Pair));
    }

    #[test]
    fn the_rival_is_the_family_that_may_gain_most() {
        let table = table(200);
        let rows: Vec<u32> = (0..200).collect();
        let scored = |family, gain: f64, spread: f64| {
            let value = |&row: &u32| gain + spread * (f64::from(row / 2 % 2) - 0.5);
            Scored { family, values: rows.iter().map(value).collect() }
        };
        let families = [
            scored(Family::Single, 0.0, 0.0),
            scored(Family::Pair, 0.02, 0.1),
            scored(Family::Router, -0.01, 2.0),
        ];
        let rival = rival(&table, &rows, &families, Family::Single).unwrap();
        assert_eq!(rival.family, Family::Router, "it is behind, but by an amount that says little");
        assert!((rival.ahead + 0.01).abs() < 1e-12 && rival.most() > 0.1, "{rival:?}");
        assert_eq!(super::rival(&table, &rows, &families[..1], Family::Single), None);
    }

    #[test]
    fn the_error_counts_groups_not_rows() {
        let table = table(100);
        let rows: Vec<u32> = (0..100).collect();
        let values: Vec<f64> = rows.iter().map(|&row| f64::from((row / 2) % 2)).collect();
        // 50 groups, half 0 and half 1: sd .5 over √50, with the correction 50/49.
        let expected = 0.5 / 50.0_f64.sqrt() * (50.0_f64 / 49.0).sqrt();
        assert!((clustered_error(&table, &rows, &values) - expected).abs() < 1e-12);
    }
}
