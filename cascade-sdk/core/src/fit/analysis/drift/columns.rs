//! What is compared, as indicators: every number becomes one of at most ten quantile bins, every label and every word a
//! bucket of its own. A row is the set of its indicators.

use super::Input;
use super::vectors::{self, Vectors};
use crate::feature::{
    Inputs, RequestView, SURFACE_STATISTICS, Scratch, TextInput, surface_name, text::BUCKETS,
};
use crate::fit::rows::{affix, near};
use crate::hash::Hasher;
use crate::log::{EvalLog, TierColumns};
use std::collections::{BTreeMap, BTreeSet};

/// Bins of a number.
const BINS: usize = 10;

/// Columns that words are folded into.
const WORD_COLUMNS: u32 = 512;

/// Groups of a side that are used at most: a fixed choice by hash, and plenty to see what matters.
const MOST_GROUPS: usize = 4_000;

/// A tier that is absent from more than this share of the answered rows was called on a choice of them.
const ABSENT_SHARE: f64 = 0.05;

/// The rows of both sides, those of the fit first, and their groups.
#[derive(Clone, Debug)]
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
            let names = near::group_keys(log);
            let mut by_group: BTreeMap<[u8; 32], Vec<usize>> = BTreeMap::new();
            for &row in rows {
                let key = Hasher::new().part("drift").part(input.seed.to_le_bytes()).part(&names[row]);
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

    /// The rows that are kept, by their place, and the groups that are left.
    fn only(&self, keep: &[bool]) -> Self {
        let mut sides = Self { rows: Vec::new(), group: Vec::new(), is_new: Vec::new() };
        let mut last = None;
        // Rows of a group stand together.
        for (at, &group) in self.group.iter().enumerate().filter(|(at, _)| keep[*at]) {
            if last != Some(group) {
                sides.is_new.push(self.is_new[group as usize]);
                last = Some(group);
            }
            sides.rows.push(self.rows[at]);
            sides.group.push(u32::try_from(sides.is_new.len() - 1).unwrap_or(u32::MAX));
        }
        sides
    }

    fn has_both(&self) -> bool {
        self.is_new.contains(&false) && self.is_new.contains(&true)
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
    /// The rows that have something to compare; `None` for all.
    pub(super) some: Option<Sides>,
    /// Vectors, which are compared in place of the columns; those are then for the size of the effect.
    pub(super) vectors: Option<Vectors>,
}

/// What is compared and what cannot be.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) families: Vec<Family>,
    /// In words, what is not compared and why.
    pub(super) not_compared: Vec<String>,
}

impl Family {
    fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            inputs: Vec::new(),
            columns: 0,
            on: Vec::new(),
            end: Vec::new(),
            some: None,
            vectors: None,
        }
    }

    /// The rows that it is about.
    pub(super) fn sides<'a>(&'a self, all: &'a Sides) -> &'a Sides {
        self.some.as_ref().unwrap_or(all)
    }

    /// From one column number per row and input.
    pub(super) fn of(name: impl Into<String>, inputs: Vec<(String, Vec<u32>)>) -> Self {
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
pub(super) fn bins(values: &[f64]) -> Vec<u32> {
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
pub(super) fn families(input: &Input<'_>, sides: &Sides) -> Found {
    let log = |new: bool| -> &EvalLog { if new { input.new } else { input.reference } };
    let mut found = Found::default();
    let prompted: Vec<bool> =
        sides.rows.iter().map(|&(row, new)| log(new).rows[row].text.is_some()).collect();
    let with_prompts = sides.only(&prompted);
    if with_prompts.has_both() {
        found.families.extend(text(input, &with_prompts));
    }
    let embedded = |&(row, new): &(usize, bool)| {
        log(new).embeddings.as_ref().is_some_and(|embeddings| embeddings.get(row).is_some())
    };
    let with_vectors = sides.only(&sides.rows.iter().map(embedded).collect::<Vec<_>>());
    if with_vectors.has_both() {
        found.families.extend(vectors::family(input, with_vectors));
    }
    let mut numbers: [BTreeSet<&str>; 2] = Default::default();
    let mut labels: [BTreeSet<&str>; 2] = Default::default();
    for &(row, new) in &sides.rows {
        let row = &log(new).rows[row];
        numbers[usize::from(new)].extend(row.features.iter().map(|(name, _)| &**name));
        labels[usize::from(new)].extend(row.tags.iter().map(|(name, _)| &**name));
    }
    let numbers = in_both("feature", &numbers, sides, &mut found.not_compared);
    let labels = in_both("tag", &labels, sides, &mut found.not_compared);
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
        found.families.push(Family::of("features", numbers));
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
        found.families.push(Family::of("tags", labels));
    }
    Outcomes::new(input, sides).families(&mut found);
    found
}

/// Names that both sides use. What only one knows says how the logs were made, not how requests are.
fn in_both<'a>(
    kind: &str,
    [reference, new]: &[BTreeSet<&'a str>; 2],
    sides: &Sides,
    not_compared: &mut Vec<String>,
) -> Vec<&'a str> {
    if sides.has_both() {
        for (own, other, place) in [(reference, new, "log of the fit"), (new, reference, "new log")] {
            not_compared
                .extend(own.difference(other).map(|name| format!("{kind} {name}: only the {place} has it")));
        }
    }
    reference.intersection(new).copied().collect()
}

/// What the policy's tiers did, in both logs.
struct Outcomes<'a> {
    sides: &'a Sides,
    /// The tiers that both logs have: in that of the fit and in the new one.
    tiers: Vec<[&'a TierColumns; 2]>,
    /// Rows of the fit that all tiers answered, and new ones that some tier answered.
    answered: Vec<bool>,
    /// Whether each tier answered only some of the new ones.
    partial: Vec<bool>,
}

impl<'a> Outcomes<'a> {
    fn new(input: &Input<'a>, sides: &'a Sides) -> Self {
        let tiers: Vec<[&TierColumns; 2]> = input
            .tiers
            .iter()
            .filter_map(|tier| Some([input.reference.tier(tier)?, input.new.tier(tier)?]))
            .collect();
        let has = |tier: &[&TierColumns; 2], (row, new): (usize, bool)| tier[usize::from(new)].present[row];
        // The fit saw the rows that all tiers answered; the new log's are what they are.
        let answered: Vec<bool> = sides
            .rows
            .iter()
            .map(|&row| {
                if row.1 {
                    tiers.iter().any(|tier| has(tier, row))
                } else {
                    tiers.iter().all(|tier| has(tier, row))
                }
            })
            .collect();
        let partial = tiers
            .iter()
            .map(|tier| {
                let new: Vec<bool> = sides
                    .rows
                    .iter()
                    .zip(&answered)
                    .filter(|(row, answered)| row.1 && **answered)
                    .map(|(&row, _)| has(tier, row))
                    .collect();
                let absent = new.iter().filter(|&&present| !present).count();
                absent as f64 > ABSENT_SHARE * new.len() as f64
            })
            .collect();
        Self { sides, tiers, answered, partial }
    }

    /// Signals and, where both logs are graded, quality of each tier.
    ///
    /// Rows without a call of the tier say nothing of it, so they are left out; of a call that ran, a signal that is missing
    /// is a value like any other. A tier that answered only some of the rows answered those that were escalated, which are
    /// the harder ones: they are no sample of what it would have done on all, and nothing is compared.
    fn families(&self, found: &mut Found) {
        for (tier, &partial) in self.tiers.iter().zip(&self.partial) {
            let [reference, new] = *tier;
            if partial && self.sides.has_both() {
                let name = &reference.name;
                found.not_compared.push(format!(
                    "signals and quality of {name}: it answered only some of the rows, which may be the harder ones"
                ));
                continue;
            }
            let rows = self.sides.rows.iter().zip(&self.answered);
            let called: Vec<bool> =
                rows.map(|(row, &answered)| answered && tier[usize::from(row.1)].present[row.0]).collect();
            for name in reference.signals.keys().filter(|name| new.signals.contains_key(*name)) {
                let value = |&(row, is_new): &(usize, bool)| {
                    tier[usize::from(is_new)].signals.get(name).map_or(f64::NAN, |signal| signal.value[row])
                };
                let title = format!("signal {name} of {}", reference.name);
                self.add(&title, &called, value, found);
            }
            let title = format!("quality of {}", reference.name);
            let quality = |&(row, is_new): &(usize, bool)| tier[usize::from(is_new)].quality[row];
            let rows = self.sides.rows.iter().zip(&self.answered);
            let is_graded = |(&row, &answered): (&(usize, bool), &bool)| {
                answered && tier[usize::from(row.1)].present[row.0] && !quality(&row).is_nan()
            };
            let graded: Vec<bool> = rows.map(is_graded).collect();
            if self.only_the_escalated(&graded) {
                found.not_compared.push(format!(
                    "{title}: only rows are graded that another tier answered too, which may be the harder ones"
                ));
                continue;
            }
            self.add(&title, &graded, quality, found);
        }
    }

    /// Whether new rows are graded in part, and only where a tier answered that did not answer all.
    fn only_the_escalated(&self, graded: &[bool]) -> bool {
        let new = || {
            let rows = self.sides.rows.iter().zip(graded).zip(&self.answered);
            rows.filter(|((row, _), answered)| row.1 && **answered).map(|((row, graded), _)| (row.0, *graded))
        };
        let in_part = new().any(|(_, graded)| !graded) && new().any(|(_, graded)| graded);
        in_part
            && self.tiers.iter().zip(&self.partial).any(|([_, tier], &partial)| {
                partial && new().all(|(row, graded)| !graded || tier.present[row])
            })
    }

    fn add(&self, title: &str, keep: &[bool], value: impl Fn(&(usize, bool)) -> f64, found: &mut Found) {
        let sides = self.sides.only(keep);
        let values: Vec<f64> = sides.rows.iter().map(value).collect();
        let known =
            |side: bool| sides.rows.iter().zip(&values).any(|(row, value)| row.1 == side && !value.is_nan());
        if known(false) && known(true) {
            let family = Family::of(title, vec![(title.to_owned(), bins(&values))]);
            found.families.push(Family { some: Some(sides), ..family });
        }
    }
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
        .map(|family| Family { some: Some(sides.clone()), ..family })
}
