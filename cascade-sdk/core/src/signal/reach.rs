//! What the signals of an answer can still become while it arrives (so that one that cannot be kept is not paid for to
//! its end).
//!
//! Let `n ≥ 0` tokens have arrived, with sums and minima as [`Accumulator`] keeps them, and let the answer have at most
//! `M` tokens (the call's limit). Then `m ∈ [0, M − n]` tokens are still to come. Every log-probability is at most 0, every
//! margin lies in [0, 1], every negentropy is at most 1. Hence, for every way in which the answer can go on:
//!
//! | signal | at most | because |
//! |---|---|---|
//! | `min_logprob`, `min_negentropy` | the minimum so far | a minimum over more terms is no larger |
//! | `sequence_logprob` | S, the sum so far | no term is positive |
//! | `mean_logprob` | S / M | (S + S′)/(n + m) ≤ S/(n + m) as S′ ≤ 0, and S/(n + m) ≤ S/M as S ≤ 0 and n + m ≤ M |
//! | `mean_margin` | (G + M − n) / M | (G + G′)/(n + m) ≤ (G + m)/(n + m), which grows with m as G ≤ n |
//! | `mean_negentropy` | (E + M − n) / M | the same, as E ≤ n |
//!
//! Without a limit `M` the means are bounded by 0 and 1 only. The bounds of log-probabilities hold for the computed numbers
//! too: rounding is monotone, so a float sum never grows by a term that is not positive, and a quotient of a larger
//! numerator ≤ 0 by a larger denominator is no smaller. The bounds of the other two means are widened by `4 M ε`, more than the
//! rounding of `M` additions of numbers in [0, 1] and one division can amount to.

use super::{Accumulator, BuiltIn};

/// Where a signal of the whole answer can lie, given what has arrived of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reach {
    /// Within these bounds, or missing.
    Between {
        /// The least value.
        least: f64,
        /// The largest value.
        most: f64,
    },
    /// It will be missing: a token without the numbers it needs has arrived.
    Missing,
}

impl Reach {
    /// Nothing is known of it.
    pub const ANYTHING: Self = Self::Between { least: f64::NEG_INFINITY, most: f64::INFINITY };

    fn at_most(most: f64) -> Self {
        Self::Between { least: f64::NEG_INFINITY, most }
    }
}

impl Accumulator {
    /// Where a signal of the whole answer can lie. `limit` is the most tokens that the answer can have.
    pub fn reach(&self, signal: BuiltIn, limit: Option<u64>) -> Reach {
        let known = if signal.needs_alternatives() { self.alternatives_known } else { self.logprobs_known };
        if !known {
            return Reach::Missing;
        }
        let n = self.tokens as f64;
        // A server that has gone beyond the limit keeps to none.
        let limit = limit.map(|limit| limit as f64).filter(|limit| *limit >= n && *limit > 0.0);
        let share = |sum: f64| {
            limit.map_or(1.0, |limit| ((sum + (limit - n)) / limit + 4.0 * limit * f64::EPSILON).min(1.0))
        };
        match signal {
            BuiltIn::MinLogprob => Reach::at_most(self.logprob_min.min(0.0)),
            BuiltIn::SequenceLogprob => Reach::at_most(self.logprob_sum),
            BuiltIn::MeanLogprob => Reach::at_most(limit.map_or(0.0, |limit| self.logprob_sum / limit)),
            BuiltIn::MinNegentropy => Reach::at_most(self.negentropy_min.min(1.0)),
            BuiltIn::MeanNegentropy => Reach::at_most(share(self.negentropy_sum)),
            BuiltIn::MeanMargin => Reach::Between { least: 0.0, most: share(self.margin_sum) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TokenLogprob, built_in};
    use super::*;

    /// Numbers in [0, 1) that look random.
    fn noise(state: &mut u64) -> f64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn token(state: &mut u64) -> TokenLogprob {
        // Certain tokens are common, and the extreme case of every bound.
        let first = if noise(state) < 0.5 { 0.0 } else { libm::log(0.5 + noise(state) / 2.0) };
        let logprob = if noise(state) < 0.7 { first } else { -4.0 * noise(state) };
        TokenLogprob { bytes: None, logprob, alternatives: vec![first, -5.0 - noise(state)] }
    }

    #[test]
    fn no_way_of_going_on_leaves_the_bounds() {
        let mut state = 7;
        for case in 0..400_usize {
            let tokens: Vec<_> = (0..=case % 23).map(|_| token(&mut state)).collect();
            let values = built_in(&tokens);
            for limit in
                [tokens.len(), tokens.len() + 1, 64].map(|limit| Some(limit as u64)).into_iter().chain([None])
            {
                let mut sums = Accumulator::default();
                for arrived in 0..=tokens.len() {
                    for signal in BuiltIn::ALL {
                        let Reach::Between { least, most } = sums.reach(signal, limit) else {
                            panic!("known")
                        };
                        let value = values.get(signal);
                        assert!(
                            least <= value && value <= most,
                            "{}: {value} is not in [{least}, {most}] after {arrived} of {} (limit {limit:?})",
                            signal.name(),
                            tokens.len()
                        );
                    }
                    if let Some(token) = tokens.get(arrived) {
                        sums.push(token);
                    }
                }
            }
        }
    }

    #[test]
    fn the_bounds_are_met_by_the_best_way_of_going_on() {
        let mut sums = Accumulator::default();
        sums.push(&TokenLogprob { bytes: None, logprob: -1.0, alternatives: vec![-1.0, -1.0] });
        let most = |signal, limit| match sums.reach(signal, limit) {
            Reach::Between { most, .. } => most,
            Reach::Missing => f64::NAN,
        };
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(close(most(BuiltIn::MeanLogprob, Some(4)), -0.25));
        assert!(close(most(BuiltIn::MeanMargin, Some(4)), 0.75));
        assert!(close(most(BuiltIn::MinLogprob, Some(4)), -1.0));
        assert!(close(most(BuiltIn::SequenceLogprob, None), -1.0));
        assert!(close(most(BuiltIn::MeanLogprob, None), 0.0));
        // Beyond its limit a server is believed nothing.
        assert!(close(most(BuiltIn::MeanLogprob, Some(0)), 0.0));
    }

    #[test]
    fn what_is_missing_stays_missing() {
        let mut sums = Accumulator::default();
        sums.push(&TokenLogprob { bytes: None, logprob: -1.0, alternatives: Vec::new() });
        assert_eq!(sums.reach(BuiltIn::MeanMargin, Some(9)), Reach::Missing);
        assert_ne!(sums.reach(BuiltIn::MeanLogprob, Some(9)), Reach::Missing);
    }
}
