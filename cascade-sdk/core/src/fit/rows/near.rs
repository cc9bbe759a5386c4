//! Prompts that are nearly the same: variants of one stem, which a row-wise split would leak from one side to the other
//! (MATH.md 14: 4.1 points of gain row by row, 0.3 by stem).
//!
//! A prompt is the set of its runs of three words. Runs that stand in many prompts are the template and count for
//! nothing. Candidates share two of 64 minima of hashes (MinHash, Broder 1997); two prompts belong together if at least
//! half of the smaller set is in the other. Everything is a fixed function of the set of prompts.

use crate::diag::Diagnostic;
use crate::feature::text::hash_bytes;
use crate::log::{EvalLog, Split, group_key, half};
use crate::prompt::normalise;
use std::collections::{BTreeMap, BTreeSet};

/// Words of a run.
const RUN: usize = 3;

/// Runs that a prompt must have, besides those of the template, to be compared.
const LEAST_RUNS: usize = 5;

/// A run in more than one prompt of so many is part of the template.
const TEMPLATE_EVERY: usize = 10;

/// Minima of hashes, two to a band.
const BANDS: u64 = 32;

/// Earlier prompts of a band that each prompt is compared with.
const COMPARED: usize = 8;

/// A set of prompts that holds more than this share of all is a kind of request, not one request many times.
const MOST_SHARE: f64 = 0.2;

/// Sets of rows, and rows of each, that a warning names.
const SETS_NAMED: usize = 8;
const IDS_NAMED: usize = 4;

/// Longest start of a prompt that is read, in bytes.
const READ_BYTES: usize = 16 * 1024;

/// The group of each row ([`group_key`]), rows with nearly the same prompt in one. Rows that name their `group` keep it.
pub fn group_keys(log: &EvalLog) -> Vec<String> {
    let mut keys: Vec<String> = log.rows.iter().map(group_key).collect();
    // One prompt stands for all that are exactly the same.
    let mut prompts: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (row, key) in log.rows.iter().zip(&keys) {
        if let (None, Some(text)) = (&row.group, &row.text) {
            prompts.entry(key.clone()).or_insert_with(|| runs(text));
        }
    }
    let names: Vec<&String> = prompts.keys().collect();
    let sets = without_template(prompts.values().cloned().collect());
    let mut first: Vec<usize> = (0..sets.len()).collect();
    for (a, b) in candidates(&sets) {
        let (a, b) = (root(&first, a), root(&first, b));
        // The smaller index leads, so that the result does not depend on the order of unions.
        let (low, high) = (a.min(b), a.max(b));
        first[high] = low;
    }
    let mut size = vec![0_usize; sets.len()];
    for prompt in 0..sets.len() {
        size[root(&first, prompt)] += 1;
    }
    let joined: BTreeMap<String, String> = (0..sets.len())
        .map(|prompt| (prompt, root(&first, prompt)))
        .filter(|&(prompt, root)| prompt != root && size[root] as f64 <= MOST_SHARE * sets.len() as f64)
        .map(|(prompt, root)| (names[prompt].clone(), names[root].clone()))
        .collect();
    for key in &mut keys {
        if let Some(leader) = joined.get(key) {
            key.clone_from(leader);
        }
    }
    keys
}

/// What helps against near-duplicates in both halves.
pub const LEAK_REMEDY: &str =
    "give rows that are variants of one request the same `group`; the split then keeps them together";

/// A warning if held-out rows have a near-duplicate among the calibration rows: their figures are then flattered. The
/// split itself is by exact prompt, since the half of a row must not depend on other rows.
pub fn leak(log: &EvalLog, keys: &[String], seed: u64, held_out: f64) -> Option<Diagnostic> {
    let mut halves: BTreeMap<&str, [BTreeSet<String>; 2]> = BTreeMap::new();
    let mut test = 0_usize;
    let mut rows_of: BTreeMap<&str, usize> = BTreeMap::new();
    for (row, key) in log.rows.iter().zip(keys) {
        let side = usize::from(half(row, seed, held_out) == Split::Test);
        test += side;
        *rows_of.entry(key).or_default() += side;
        halves.entry(key).or_default()[side].insert(group_key(row));
    }
    let torn = halves.iter().filter(|(_, sides)| {
        !sides[0].is_empty() && !sides[1].is_empty() && sides[0].union(&sides[1]).count() > 1
    });
    let torn_keys: BTreeSet<&str> = torn.map(|(key, _)| *key).collect();
    let (sets, rows) = (torn_keys.len(), torn_keys.iter().map(|key| rows_of[key]).sum::<usize>());
    (rows > 0).then(|| {
        let message = format!(
            "{rows} of {test} held-out rows have nearly the same prompt as a calibration row, in {sets} sets: held-out \
             figures may be flattered"
        );
        let mut ids: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (row, key) in log.rows.iter().zip(keys).filter(|(_, key)| torn_keys.contains(key.as_str())) {
            ids.entry(key).or_default().push(&row.id);
        }
        let sets: Vec<String> = ids
            .values()
            .take(SETS_NAMED)
            .map(|ids| {
                let more = if ids.len() > IDS_NAMED { ", …" } else { "" };
                format!("{}{more}", ids[..ids.len().min(IDS_NAMED)].join(", "))
            })
            .collect();
        Diagnostic::warning("log::near-duplicates", message)
            .help(format!("rows that belong together: {}", sets.join("; ")))
            .help(LEAK_REMEDY)
    })
}

fn root(first: &[usize], mut at: usize) -> usize {
    while first[at] != at {
        at = first[at];
    }
    at
}

/// Hashes of the runs of words of a prompt, sorted, each once.
fn runs(text: &str) -> Vec<u64> {
    let mut end = text.len().min(READ_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let normal = normalise(&text[..end]).to_lowercase();
    let words: Vec<u64> = normal
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| hash_bytes(word.as_bytes()))
        .collect();
    let runs = words.windows(RUN).map(|run| run.iter().fold(0, |hash, &word| mix(hash ^ word)));
    runs.collect::<BTreeSet<u64>>().into_iter().collect()
}

fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 31).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (value ^ value >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

fn without_template(mut sets: Vec<Vec<u64>>) -> Vec<Vec<u64>> {
    let mut uses: BTreeMap<u64, usize> = BTreeMap::new();
    for &run in sets.iter().flatten() {
        *uses.entry(run).or_default() += 1;
    }
    let most = (sets.len() / TEMPLATE_EVERY).max(10);
    for set in &mut sets {
        set.retain(|run| uses[run] <= most);
    }
    sets
}

/// Pairs of prompts that are nearly the same: enough of them to join each set.
fn candidates(sets: &[Vec<u64>]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for band in 0..BANDS {
        let mut seen: BTreeMap<[u64; 2], Vec<usize>> = BTreeMap::new();
        for (prompt, set) in sets.iter().enumerate().filter(|(_, set)| set.len() >= LEAST_RUNS) {
            let least = |salt: u64| set.iter().map(|&run| mix(run ^ mix(salt))).min().unwrap_or(0);
            let earlier = seen.entry([least(2 * band + 1), least(2 * band + 2)]).or_default();
            for &other in earlier.iter() {
                if nearly_same(set, &sets[other]) {
                    found.push((other, prompt));
                }
            }
            if earlier.len() < COMPARED {
                earlier.push(prompt);
            }
        }
    }
    found
}

/// Whether half of the smaller set is in the other.
fn nearly_same(a: &[u64], b: &[u64]) -> bool {
    let (small, large) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let common = small.iter().filter(|run| large.binary_search(run).is_ok()).count();
    2 * common >= small.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Row;

    fn log(texts: impl IntoIterator<Item = String>) -> EvalLog {
        let row =
            |(at, text): (usize, String)| Row { text: Some(text.into()), ..Row::new(format!("q{at:04}")) };
        EvalLog { rows: texts.into_iter().enumerate().map(row).collect(), ..EvalLog::default() }
    }

    fn word(number: usize) -> String {
        ["alpha", "bravo", "delta", "gamma", "sigma", "omega", "kappa"][number % 7].to_owned()
            + &(number / 7 * 7919 % 1009).to_string()
    }

    /// 60 stories with four questions each, all in the same template.
    fn stems() -> EvalLog {
        log((0..240).map(|row| {
            let story: Vec<String> = (0..12).map(|at| word(row / 4 * 131 + at * 17)).collect();
            let question =
                ["who began it", "when did it end", "where was it found", "why does it matter"][row % 4];
            format!(
                "Read the story and answer briefly please.\n{}. Say {question} in one word only.",
                story.join(" ")
            )
        }))
    }

    #[test]
    fn variants_of_a_stem_are_found_and_others_are_not() {
        let keys = group_keys(&stems());
        for (row, key) in keys.iter().enumerate() {
            assert_eq!(*key, keys[row / 4 * 4], "{row}");
            assert!(row < 4 || *key != keys[row - 4], "{row}");
        }
    }

    #[test]
    fn short_and_unrelated_prompts_and_named_groups_stay_as_they_are() {
        let mut log =
            log((0..100).map(|row| format!("What is {row} + {}? Answer with the number only.", row * 7)));
        let plain: Vec<String> = log.rows.iter().map(group_key).collect();
        assert_eq!(group_keys(&log), plain);
        let mut named = stems();
        for (at, row) in named.rows.iter_mut().enumerate() {
            row.group = Some(format!("own {at}").into());
        }
        let keys = group_keys(&named);
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 240);
        log.rows.iter_mut().for_each(|row| row.text = None);
        assert_eq!(group_keys(&log).len(), 100);
    }

    #[test]
    fn near_duplicates_across_the_halves_are_counted_with_the_remedy() {
        let log = stems();
        let warning = leak(&log, &group_keys(&log), 7, 0.3).unwrap();
        assert!(warning.message.contains("held-out rows have nearly the same prompt"), "{}", warning.message);
        let plain: Vec<String> = log.rows.iter().map(group_key).collect();
        assert!(leak(&log, &plain, 7, 0.3).is_none());
    }
}
