//! Prompts that are nearly the same: variants of one stem, which a row-wise split would leak from one side to the other
//! (MATH.md 14: 4.1 points of gain row by row, 0.3 by stem).
//!
//! A prompt is the set of its runs of three words. Candidates share two of 64 minima of hashes (MinHash, Broder 1997).
//! Two prompts belong together if, apart from runs that stand in many prompts, at least half of the smaller set is in the
//! other. A stem with many variants stands in many prompts itself: prompts belong together as well if, apart from runs that
//! stand in half of all prompts, most of the larger set is in the other and the rest stands elsewhere as well. What half of
//! all prompts share is the template of the route and counts for nothing. Everything is a fixed function of the set of prompts.

use crate::diag::Diagnostic;
use crate::feature::text::hash_bytes;
use crate::log::{EvalLog, Split, group_key, half};
use crate::prompt::normalise;
use std::collections::{BTreeMap, BTreeSet};

/// Words of a run.
const RUN: usize = 3;

/// Runs that a prompt must have, besides those of the template, to be compared.
const LEAST_RUNS: usize = 5;

/// A run in more than one prompt of so many says little of two prompts that share it.
const COMMON_EVERY: usize = 10;

/// Minima of hashes, two to a band.
const BANDS: u64 = 32;

/// Earlier prompts of a band that each prompt is compared with.
const COMPARED: usize = 8;

/// A set of prompts that is joined by half of the smaller of two and holds more than this share of all hangs together by
/// what they have in common with their neighbours.
const MOST_SHARE: f64 = 0.2;

/// Sets of rows, and rows of each, that a warning names.
const SETS_NAMED: usize = 8;
const IDS_NAMED: usize = 4;

/// Longest start of a prompt that is read, in bytes.
const READ_BYTES: usize = 16 * 1024;

/// Whether half of the smaller set is in the other.
fn half_of_the_smaller(a: &[u64], b: &[u64]) -> bool {
    let (small, large) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let common = small.iter().filter(|run| large.binary_search(run).is_ok()).count();
    2 * common >= small.len()
}

/// Whether three quarters of the larger set are in the other, and most of what is not stands in other prompts too, by the
/// number of prompts that use each run: one of some questions about one of some stems. What follows a template is like
/// nothing else, so that prompts which share no more than instructions stay apart.
fn most_of_the_larger(a: &[u64], b: &[u64], uses: &BTreeMap<u64, usize>) -> bool {
    let (small, large) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let (mut common, mut elsewhere) = (0, 0);
    for run in large {
        if small.binary_search(run).is_ok() {
            common += 1;
        } else if uses[run] > 1 {
            elsewhere += 1;
        }
    }
    4 * common >= 3 * large.len() && 2 * elsewhere >= large.len() - common
}

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
    let sets: Vec<Vec<u64>> = prompts.values().cloned().collect();
    let joined = Joined::of(&sets);
    let leaders: BTreeMap<String, String> = names
        .iter()
        .enumerate()
        .map(|(prompt, name)| ((*name).clone(), names[joined.root(prompt)].clone()))
        .collect();
    for key in &mut keys {
        if let Some(leader) = leaders.get(key) {
            key.clone_from(leader);
        }
    }
    keys
}

/// Prompts that belong together: each points towards the first of its set.
#[derive(Clone, Debug)]
struct Joined {
    first: Vec<usize>,
}

impl Joined {
    fn none(prompts: usize) -> Self {
        Self { first: (0..prompts).collect() }
    }

    fn of(prompts: &[Vec<u64>]) -> Self {
        let mut uses: BTreeMap<u64, usize> = BTreeMap::new();
        for &run in prompts.iter().flatten() {
            *uses.entry(run).or_default() += 1;
        }
        let without = |set: &[u64], most: usize| -> Vec<u64> {
            set.iter().copied().filter(|run| uses[run] <= most).collect()
        };
        let rare = (prompts.len() / COMMON_EVERY).max(10);
        // Fewer than half of the prompts: two stems of a log would be its template, of which nothing can be said.
        let own = prompts.len().saturating_sub(1) / 2;
        let few: Vec<Vec<u64>> = prompts.iter().map(|set| without(set, rare)).collect();
        let stems: Vec<Vec<u64>> = prompts.iter().map(|set| without(set, own)).collect();
        // Prompts of which common runs make up most may be variants of a stem that many share: what is left of them is a
        // question that other stems have too.
        let is_shared: Vec<bool> =
            few.iter().zip(&stems).map(|(few, all)| 2 * few.len() < all.len()).collect();
        let all: Vec<usize> = (0..prompts.len()).collect();
        let mut joined = Self::none(prompts.len());
        joined.join(&few, &all, |a, b| {
            let whole = |at: usize| if is_shared[at] { &stems[at] } else { &few[at] };
            half_of_the_smaller(&few[a], &few[b]) && half_of_the_smaller(whole(a), whole(b))
        });
        joined.take_apart(&few, &uses);
        let shared: Vec<usize> = all.into_iter().filter(|&prompt| is_shared[prompt]).collect();
        joined.join(&stems, &shared, |a, b| most_of_the_larger(&stems[a], &stems[b], &uses));
        joined
    }

    fn root(&self, mut at: usize) -> usize {
        while self.first[at] != at {
            at = self.first[at];
        }
        at
    }

    /// Joins those of `which` that are alike.
    fn join(&mut self, sets: &[Vec<u64>], which: &[usize], alike: impl Fn(usize, usize) -> bool) {
        for (a, b) in candidates(sets, which, alike) {
            let (a, b) = (self.root(a), self.root(b));
            // The smaller index leads, so that the result does not depend on the order of unions.
            self.first[a.max(b)] = a.min(b);
        }
    }

    /// Joins sets that hold too much again, by prompts that are more alike.
    fn take_apart(&mut self, sets: &[Vec<u64>], uses: &BTreeMap<u64, usize>) {
        let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for prompt in 0..sets.len() {
            members.entry(self.root(prompt)).or_default().push(prompt);
        }
        for members in members.into_values() {
            if members.len() as f64 > MOST_SHARE * sets.len() as f64 && members.len() > 1 {
                for &prompt in &members {
                    self.first[prompt] = prompt;
                }
                self.join(sets, &members, |a, b| most_of_the_larger(&sets[a], &sets[b], uses));
            }
        }
    }
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

/// Hashes of the runs of words of a prompt, sorted, each once.
fn runs(text: &str) -> Vec<u64> {
    let mut end = text.len().min(READ_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let normal = normalise(&text[..end]);
    let words: Vec<u64> = normal
        .split(|letter: char| !in_word(letter))
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

/// Pairs of prompts that are alike: enough of them to join each set.
fn candidates(
    sets: &[Vec<u64>],
    which: &[usize],
    alike: impl Fn(usize, usize) -> bool,
) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for band in 0..BANDS {
        let mut seen: BTreeMap<[u64; 2], Vec<usize>> = BTreeMap::new();
        for &prompt in which.iter().filter(|&&prompt| sets[prompt].len() >= LEAST_RUNS) {
            let set = &sets[prompt];
            let least = |salt: u64| set.iter().map(|&run| mix(run ^ mix(salt))).min().unwrap_or(0);
            let earlier = seen.entry([least(2 * band + 1), least(2 * band + 2)]).or_default();
            for &other in earlier.iter() {
                if alike(other, prompt) {
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

/// Whether a letter is part of a word: letters and digits of ASCII, and everything beyond it but punctuation. A fixed list,
/// since the tables of the standard library change with the compiler.
fn in_word(letter: char) -> bool {
    match letter {
        '\0'..='\x7f' => letter.is_ascii_alphanumeric(),
        '\u{80}'..='\u{a9}'
        | '\u{ab}'..='\u{b4}'
        | '\u{b6}'..='\u{b9}'
        | '\u{bb}'..='\u{bf}'
        | '\u{d7}'
        | '\u{f7}'
        | '\u{2000}'..='\u{206f}'
        | '\u{2190}'..='\u{2bff}'
        | '\u{3000}'..='\u{3004}'
        | '\u{3008}'..='\u{3020}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff0f}'
        | '\u{ff1a}'..='\u{ff20}' => false,
        _ => true,
    }
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

    /// Stories of so many words with some questions each, all in the same template.
    fn stories(stories: usize, questions: usize, words: usize) -> EvalLog {
        log((0..stories * questions).map(|row| {
            let story: Vec<String> = (0..words).map(|at| word(row / questions * 131 + at * 17)).collect();
            let question = match row % questions {
                at @ 0..4 => ["who began it", "when did it end", "where was it found", "why does it matter"]
                    [at]
                    .to_owned(),
                at => format!("what {} had to do with {}", word(at * 3 + 1), word(at * 5 + 2)),
            };
            format!(
                "Read the story and answer briefly please.\n{}. Say {question} in one word only.",
                story.join(" ")
            )
        }))
    }

    fn stems() -> EvalLog {
        stories(60, 4, 12)
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
    fn a_stem_with_many_variants_is_found_as_well() {
        for (stems, questions) in [(6, 10), (6, 11), (4, 20), (9, 40), (3, 100)] {
            let keys = group_keys(&stories(stems, questions, 60));
            let sets: BTreeSet<&String> = keys.iter().collect();
            assert_eq!(sets.len(), stems, "{stems} stems with {questions} variants");
            for (row, key) in keys.iter().enumerate() {
                assert_eq!(*key, keys[row / questions * questions], "{stems} × {questions}: {row}");
            }
        }
    }

    #[test]
    fn a_template_joins_nothing() {
        // Instructions of fifty words before questions of twelve, all alike or in five kinds.
        let prompt = |kind: usize, row: usize| {
            let template: Vec<String> =
                (0..if kind == 0 { 50 } else { 20 }).map(|at| format!("k{kind}w{at}")).collect();
            let question: Vec<String> = (0..12).map(|at| format!("r{row}w{at}")).collect();
            format!("{}\n{}", template.join(" "), question.join(" "))
        };
        let one = log((0..300).map(|row| prompt(0, row)));
        assert_eq!(group_keys(&one).iter().collect::<BTreeSet<_>>().len(), 300);
        let five = log((0..300).map(|row| prompt(1 + row % 5, row)));
        assert_eq!(group_keys(&five).iter().collect::<BTreeSet<_>>().len(), 300);
    }

    #[test]
    fn words_end_at_the_same_letters_whatever_the_compiler() {
        assert!("aé9中ßµºª".chars().all(in_word));
        assert!(" .,;«»×÷“”–—…、。！？：".chars().all(|letter| !in_word(letter)));
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
