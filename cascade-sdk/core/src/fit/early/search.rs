//! The prefix rule of one stage: at which lengths, and below which running scores, giving an answer up is worth it.
//!
//! Giving answer `i` up after `k` tokens changes the Lagrangian of the objective (MATH.md 2) by
//! `v = (q_rest − q_i) − λ (c_rest − c_spared)`, less what it counts to exceed limits: for an answer that the policy would have refused anyway that is λ times the output
//! that is not generated, for one that it would have kept it is what escalating it gains less what that costs. A rule is worth
//! the sum of `v` over the answers that it gives up.
//!
//! For one length the best cut is found exactly, from one pass over the answers in the order of their running scores. The cuts of
//! several lengths are improved in turn, each exactly given the others, until none moves: the sum never falls, so the result is
//! at least as good as the best rule of one length, if not always the best of all.

use super::super::objective::Multipliers;
use crate::fit::limited::Sums;
use crate::policy::PrefixCut;

/// Prefix lengths that a rule may score.
pub(super) const LENGTHS: [u32; 16] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512];

/// Most rounds in which the cuts of several lengths are improved; few logs need more than three.
const MOST_ROUNDS: usize = 20;

/// One answer of the stage.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// Its place among the rows of the fit.
    pub(super) place: usize,
    /// The request's sums if the answer arrives to its end, or until it is certain that it cannot be kept.
    pub(super) whole: Sums,
    /// For each length that is reached: the running score, and the request's sums if the answer is given up then.
    pub(super) prefixes: Vec<(u32, f64, Sums)>,
}

impl Answer {
    /// The request's sums under a rule.
    pub(super) fn under(&self, cuts: &[PrefixCut]) -> Sums {
        let stops = |(length, score, sums): &(u32, f64, Sums)| {
            let below = cuts.iter().find(|cut| cut.after == *length)?.below;
            (*score < below).then_some(*sums)
        };
        self.prefixes.iter().find_map(stops).unwrap_or(self.whole)
    }

    fn at(&self, length: u32) -> Option<(f64, Sums)> {
        self.prefixes.iter().find(|prefix| prefix.0 == length).map(|prefix| (prefix.1, prefix.2))
    }
}

/// The best rule that scores one length; empty if none is worth it.
pub(super) fn one_length(answers: &[&Answer], length: u32, price: Multipliers) -> Vec<PrefixCut> {
    best_cut(answers, length, &[], price).into_iter().collect()
}

/// A rule that scores all lengths; `singles` has the best rule of each length alone.
pub(super) fn all_lengths(
    answers: &[&Answer],
    lengths: &[u32],
    singles: &[Vec<PrefixCut>],
    price: Multipliers,
) -> Vec<PrefixCut> {
    let value = |cuts: &[PrefixCut]| {
        let gained =
            answers.iter().fold(Sums::default(), |sum, answer| sum + answer.under(cuts) - answer.whole);
        price.value_of(gained)
    };
    let valued = singles.iter().map(|cuts| (value(cuts), cuts));
    let best = valued.reduce(|best, next| if next.0 > best.0 { next } else { best });
    let mut cuts = best.map_or_else(Vec::new, |(_, cuts)| cuts.clone());
    for _ in 0..MOST_ROUNDS {
        let before = cuts.clone();
        // Later lengths first: what is given up late is known best.
        for &length in lengths.iter().rev() {
            cuts.retain(|cut| cut.after != length);
            let best = best_cut(answers, length, &cuts, price);
            cuts.extend(best);
            cuts.sort_by_key(|cut| cut.after);
        }
        if cuts == before {
            break;
        }
    }
    cuts
}

/// The cut at one length that is best beside the others; `None` if giving nothing up there is as good. Some answer always
/// goes on: a stage that gives all of them up is one that the policy is better without.
fn best_cut(answers: &[&Answer], length: u32, others: &[PrefixCut], price: Multipliers) -> Option<PrefixCut> {
    let earlier: Vec<PrefixCut> = others.iter().filter(|cut| cut.after < length).copied().collect();
    let mut reached: Vec<(f64, Sums)> = answers
        .iter()
        .filter_map(|answer| {
            let (score, given_up) = answer.at(length).filter(|(score, _)| !score.is_nan())?;
            let stopped_before = answer
                .prefixes
                .iter()
                .take_while(|prefix| prefix.0 < length)
                .any(|prefix| earlier.iter().any(|cut| cut.after == prefix.0 && prefix.1 < cut.below));
            // One that is given up before takes its place in the order, so that the cuts at hand are always the same.
            let gain = if stopped_before { Sums::default() } else { given_up - answer.under(others) };
            Some((score, gain))
        })
        .collect();
    reached.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut gained, mut best, mut cut) = (Sums::default(), 0.0, None);
    let mut at = 0;
    while let Some(&(score, _)) = reached.get(at) {
        // Equal scores move together.
        if at > 0 {
            let value = price.value_of(gained);
            if value > best {
                (best, cut) = (value, Some(PrefixCut { after: length, below: score }));
            }
        }
        while let Some(&(_, gain)) = reached.get(at).filter(|next| next.0.total_cmp(&score).is_eq()) {
            gained += gain;
            at += 1;
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::random::SplitMix64;

    const PRICE: Multipliers = Multipliers { quality: 1.0, cost: 0.5, over: [1e-12, 0.0] };

    fn value(answers: &[&Answer], cuts: &[PrefixCut]) -> f64 {
        let gained =
            answers.iter().fold(Sums::default(), |sum, answer| sum + answer.under(cuts) - answer.whole);
        PRICE.value_of(gained)
    }

    fn all(answers: &[&Answer]) -> Vec<PrefixCut> {
        let singles = [4, 8].map(|length| one_length(answers, length, PRICE));
        all_lengths(answers, &[4, 8], &singles, PRICE)
    }

    /// Requests that cost more than 11 exceed a limit.
    fn sums(quality: i128, cost: i128) -> Sums {
        Sums { quality, cost, over: [i64::from(cost > 11), 0] }
    }

    /// Answers with few different scores, so that there are ties, and some that end before the second length.
    fn answers(random: &mut SplitMix64, count: usize) -> Vec<Answer> {
        let mut number = |below: usize| i128::try_from(random.below(below)).unwrap();
        (0..count)
            .map(|place| {
                let lengths = 1 + number(2);
                let prefix = |length: u32, score: i128, quality: i128, cost: i128| {
                    (length, score as f64 / 4.0 - 1.0, sums(quality, cost))
                };
                let whole = sums(number(9), 6 + number(9));
                let first = prefix(4, number(5), number(9), number(9));
                let second = prefix(8, number(5), number(9), number(12));
                let prefixes = if lengths == 1 { vec![first] } else { vec![first, second] };
                Answer { place, whole, prefixes }
            })
            .collect()
    }

    /// Every cut at a length that lets something go on, and none.
    fn cuts(answers: &[&Answer], length: u32) -> Vec<Vec<PrefixCut>> {
        let mut scores: Vec<f64> = answers.iter().filter_map(|answer| Some(answer.at(length)?.0)).collect();
        scores.sort_by(f64::total_cmp);
        scores.dedup();
        let cut = |below| vec![PrefixCut { after: length, below }];
        std::iter::once(Vec::new()).chain(scores.into_iter().map(cut)).collect()
    }

    #[test]
    fn one_length_is_as_good_as_brute_force() {
        let mut random = SplitMix64::new(11, 0);
        for _ in 0..300 {
            let count = 1 + random.below(12);
            let owned = answers(&mut random, count);
            let answers: Vec<&Answer> = owned.iter().collect();
            for length in [4, 8] {
                let best = cuts(&answers, length).iter().map(|cut| value(&answers, cut)).fold(0.0, f64::max);
                let found = one_length(&answers, length, PRICE);
                assert!((value(&answers, &found) - best).abs() < 1e-18, "{found:?} {owned:?}");
            }
        }
    }

    #[test]
    fn several_lengths_are_no_worse_than_one_and_seldom_short_of_brute_force() {
        let (mut random, mut short) = (SplitMix64::new(12, 0), 0);
        for _ in 0..300 {
            let count = 1 + random.below(12);
            let owned = answers(&mut random, count);
            let answers: Vec<&Answer> = owned.iter().collect();
            let found = value(&answers, &all(&answers));
            let single = [4, 8].map(|length| value(&answers, &one_length(&answers, length, PRICE)));
            let best = cuts(&answers, 4)
                .iter()
                .flat_map(|first| {
                    cuts(&answers, 8).into_iter().map(|second| [first.as_slice(), &second].concat())
                })
                .map(|cuts| value(&answers, &cuts))
                .fold(0.0, f64::max);
            let single = single[0].max(single[1]);
            assert!(found <= best + 1e-18 && found + 1e-18 >= single, "{found} {best} {single}");
            short += i32::from(found + 1e-18 < best);
        }
        assert!(short <= 30, "{short} of 300 are short of the best");
    }

    #[test]
    fn missing_scores_and_short_answers_go_on() {
        let short = Answer { place: 0, whole: sums(0, 9), prefixes: Vec::new() };
        let missing = Answer { prefixes: vec![(4, f64::NAN, Sums::default())], ..short.clone() };
        let answers = [&short, &missing];
        assert!(one_length(&answers, 4, PRICE).is_empty() && all(&answers).is_empty());
        let cuts = [PrefixCut { after: 4, below: 9.0 }];
        assert_eq!((short.under(&cuts), missing.under(&cuts)), (short.whole, missing.whole));
    }
}
