//! What is compared, as indicators: every number becomes one of at most ten quantile bins, every label and every word a
//! bucket of its own. A row is the set of its indicators.

use super::Input;
use crate::feature::{
    Inputs, RequestView, SURFACE_STATISTICS, Scratch, TextInput, surface_name, text::BUCKETS,
};
use crate::fit::rows::affix;
use crate::hash::Hasher;
use crate::log::{EvalLog, group_key};
use std::collections::{BTreeMap, BTreeSet};

/// Bins of a number.
const BINS: usize = 10;

/// Columns that words are folded into.
const WORD_COLUMNS: u32 = 512;

/// Groups of a side that are used at most: a fixed choice by hash, and plenty to see what matters.
const MOST_GROUPS: usize = 4_000;

/// The rows of both sides, those of the fit first, and their groups.
#[derive(Debug)]
pub(super) struct Sides {
    /// Row of the log, and which log: true is the new one.
    pub(super) rows: Vec<(usize, bool)>,
    /// Group of each row.
    pub(super) group: Vec<u32>,
    /// Which groups are new.
    pub(super) is_new: Vec<bool>,
}

impl Sides {
    pub(super) fn new(input: &Input<'_>) -> Self {
        let mut sides = Self { rows: Vec::new(), group: Vec::new(), is_new: Vec::new() };
        let all: Vec<usize> = (0..input.new.rows.len()).collect();
        for (log, rows, new) in
            [(input.reference, input.reference_rows, false), (input.new, all.as_slice(), true)]
        {
            let mut by_group: BTreeMap<[u8; 32], Vec<usize>> = BTreeMap::new();
            for &row in rows {
                let key = Hasher::new()
                    .part("drift")
                    .part(input.seed.to_le_bytes())
                    .part(group_key(&log.rows[row]));
                by_group.entry(key.bytes()).or_default().push(row);
            }
            for rows in by_group.into_values().take(MOST_GROUPS) {
                let group = u32::try_from(sides.is_new.len()).unwrap_or(u32::MAX);
                sides.is_new.push(new);
                for row in rows {
                    sides.rows.push((row, new));
                    sides.group.push(group);
                }
            }
        }
        sides
    }

    pub(super) fn rows(&self) -> [usize; 2] {
        let new = self.rows.iter().filter(|row| row.1).count();
        [self.rows.len() - new, new]
    }

    pub(super) fn groups(&self) -> [usize; 2] {
        let new = self.is_new.iter().filter(|&&new| new).count();
        [self.is_new.len() - new, new]
    }
}

/// Indicators that are tested together.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: String,
    /// What each input is, and where its columns begin.
    pub(super) inputs: Vec<(String, u32)>,
    /// Number of columns.
    pub(super) columns: u32,
    /// Columns of all rows that are on.
    pub(super) on: Vec<u32>,
    /// End of each row in `on`.
    pub(super) end: Vec<usize>,
}

impl Family {
    fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), inputs: Vec::new(), columns: 0, on: Vec::new(), end: Vec::new() }
    }

    /// From one column number per row and input.
    fn of(name: impl Into<String>, inputs: Vec<(String, Vec<u32>)>) -> Self {
        let mut family = Self::new(name);
        let rows = inputs.first().map_or(0, |input| input.1.len());
        let mut values = Vec::new();
        for (name, bins) in inputs {
            family.inputs.push((name, family.columns));
            values.push((family.columns, bins));
            family.columns +=
                values.last().and_then(|(_, bins)| bins.iter().max()).map_or(0, |most| most + 1);
        }
        for row in 0..rows {
            family.on.extend(values.iter().map(|(start, bins)| start + bins[row]));
            family.end.push(family.on.len());
        }
        family
    }

    pub(super) fn row(&self, row: usize) -> &[u32] {
        let start = row.checked_sub(1).map_or(0, |before| self.end[before]);
        &self.on[start..self.end[row]]
    }
}

/// Bins of a number by quantiles of all rows; a missing number has the first bin.
fn bins(values: &[f64]) -> Vec<u32> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    // A bin begins at each edge; equal edges, where many values are equal, make one.
    let edges: BTreeSet<u64> = (0..BINS)
        .filter_map(|bin| sorted.get(bin * sorted.len() / BINS))
        .map(|edge| if edge.is_sign_negative() { !edge.to_bits() } else { edge.to_bits() | 1 << 63 })
        .collect();
    let edges: Vec<u64> = edges.into_iter().collect();
    let key =
        |value: f64| if value.is_sign_negative() { !value.to_bits() } else { value.to_bits() | 1 << 63 };
    values
        .iter()
        .map(|&value| {
            let bin = if value.is_nan() { 0 } else { edges.partition_point(|&edge| edge <= key(value)) };
            u32::try_from(bin).unwrap_or(u32::MAX)
        })
        .collect()
}

/// Everything that both logs have, one family each.
pub(super) fn families(input: &Input<'_>, sides: &Sides) -> Vec<Family> {
    let log = |new: bool| -> &EvalLog { if new { input.new } else { input.reference } };
    let mut families = Vec::new();
    let both = |has: &dyn Fn(usize, bool) -> bool| {
        [false, true].iter().all(|&side| sides.rows.iter().any(|&(row, new)| new == side && has(row, new)))
    };
    if both(&|row, new| log(new).rows[row].text.is_some()) {
        families.extend(text(input, sides));
    }
    let mut numbers: BTreeSet<&str> = BTreeSet::new();
    let mut labels: BTreeSet<&str> = BTreeSet::new();
    for &(row, new) in &sides.rows {
        numbers.extend(log(new).rows[row].features.iter().map(|(name, _)| &**name));
        labels.extend(log(new).rows[row].tags.iter().map(|(name, _)| &**name));
    }
    let number = |row: usize, new: bool, name: &str| {
        let found = log(new).rows[row].features.iter().find(|(key, _)| &**key == name);
        found.map_or(f64::NAN, |(_, value)| *value)
    };
    let numbers: Vec<(String, Vec<u32>)> = numbers
        .into_iter()
        .map(|name| {
            let values: Vec<f64> = sides.rows.iter().map(|&(row, new)| number(row, new, name)).collect();
            (format!("feature {name}"), bins(&values))
        })
        .collect();
    if !numbers.is_empty() {
        families.push(Family::of("features", numbers));
    }
    let labels: Vec<(String, Vec<u32>)> = labels
        .into_iter()
        .map(|name| {
            let label = |&(row, new): &(usize, bool)| {
                log(new).rows[row].tags.iter().find(|(key, _)| &**key == name).map(|(_, value)| &**value)
            };
            let known: BTreeSet<&str> = sides.rows.iter().filter_map(label).collect();
            let known: Vec<&str> = known.into_iter().collect();
            let column = |row| {
                let at = label(row).and_then(|label| known.binary_search(&label).ok()).map_or(0, |at| at + 1);
                u32::try_from(at).unwrap_or(u32::MAX)
            };
            (format!("tag {name}"), sides.rows.iter().map(column).collect())
        })
        .collect();
    if !labels.is_empty() {
        families.push(Family::of("tags", labels));
    }
    for tier in input.tiers {
        outcomes(input, sides, tier, &mut families);
    }
    families
}

/// Signals and, where both logs are graded, quality of a tier.
fn outcomes(input: &Input<'_>, sides: &Sides, tier: &str, families: &mut Vec<Family>) {
    let (Some(reference), Some(new)) = (input.reference.tier(tier), input.new.tier(tier)) else { return };
    let names: Vec<&String> =
        reference.signals.keys().filter(|name| new.signals.contains_key(*name)).collect();
    let column = |of: &dyn Fn(usize, bool) -> f64| -> Option<Vec<u32>> {
        let values: Vec<f64> = sides
            .rows
            .iter()
            .map(|&(row, is_new)| {
                let results = if is_new { new } else { reference };
                if results.present[row] { of(row, is_new) } else { f64::NAN }
            })
            .collect();
        let known =
            |side: bool| sides.rows.iter().zip(&values).any(|(row, value)| row.1 == side && !value.is_nan());
        (known(false) && known(true)).then(|| bins(&values))
    };
    for name in names {
        let value = |row: usize, is_new: bool| {
            let results = if is_new { new } else { reference };
            results.signals.get(name).map_or(f64::NAN, |signal| signal.value[row])
        };
        let title = format!("signal {name} of {tier}");
        families.extend(column(&value).map(|bins| Family::of(&*title, vec![(title.clone(), bins)])));
    }
    let graded: BTreeSet<usize> = input.graded_rows.iter().copied().collect();
    let quality = |row: usize, is_new: bool| match is_new {
        true if !graded.contains(&row) => f64::NAN,
        true => new.quality[row],
        false => reference.quality[row],
    };
    let title = format!("quality of {tier}");
    families.extend(column(&quality).map(|bins| Family::of(&*title, vec![(title.clone(), bins)])));
}

/// Form and words of the prompts, without what those of the fit share.
fn text(input: &Input<'_>, sides: &Sides) -> [Family; 2] {
    let text = |&(row, new): &(usize, bool)| {
        let log = if new { input.new } else { input.reference };
        log.rows[row].text.as_deref().unwrap_or("")
    };
    let of_fit: Vec<&str> = sides.rows.iter().filter(|row| !row.1).map(text).collect();
    let (prefix, suffix) = affix::learn(&of_fit);
    let inputs = Inputs {
        text: Some(TextInput { prefix, suffix, surface: Vec::new(), hashed: true }),
        ..Inputs::default()
    };
    let mut scratch = Scratch::default();
    let mut statistics: Vec<Vec<f64>> = vec![Vec::new(); SURFACE_STATISTICS];
    let mut words = Family::new("words of the prompts");
    words.columns = WORD_COLUMNS;
    for row in &sides.rows {
        let view = RequestView { text: text(row), ..RequestView::default() };
        let values = inputs.raw_surface(&view, &mut scratch);
        for (column, &value) in statistics.iter_mut().zip(&values.0) {
            column.push(f64::from(value));
        }
        // Nothing is missing: these inputs read the text alone.
        let _ = inputs.encode(&view, &mut scratch);
        let mut on: Vec<u32> = scratch
            .encoded()
            .sparse
            .iter()
            .filter(|(bucket, _)| (*bucket as usize) < BUCKETS)
            .map(|(bucket, _)| bucket % WORD_COLUMNS)
            .collect();
        on.sort_unstable();
        on.dedup();
        words.on.extend(on);
        words.end.push(words.on.len());
    }
    let form = statistics
        .into_iter()
        .enumerate()
        .map(|(at, values)| (surface_name(at).to_owned(), bins(&values)))
        .collect();
    [Family::of("form of the prompts", form), words]
}
