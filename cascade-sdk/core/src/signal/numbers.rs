//! What the built-in signals need of one token, worked out once: logs keep these, so that an answer can be watched again as it
//! arrived.

use super::{TokenLogprob, known, spread};

/// One generated token in numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenNumbers {
    /// Natural logarithm of its probability, in nats, at most 0; NaN where unknown.
    pub logprob: f64,
    /// Probability of the likeliest alternative minus that of the next; NaN with fewer than two.
    pub margin: f64,
    /// Negentropy over the alternatives; NaN with fewer than two.
    pub negentropy: f64,
    /// The most tokens that the entry can stand for; see [`TokenLogprob::most_tokens`].
    pub tokens: u32,
}

impl TokenNumbers {
    /// The numbers of a token.
    pub fn of(token: &TokenLogprob) -> Self {
        let (margin, negentropy) = spread(&token.alternatives).unwrap_or((f64::NAN, f64::NAN));
        let tokens = u32::try_from(token.most_tokens()).unwrap_or(u32::MAX);
        Self { logprob: known(token.logprob).unwrap_or(f64::NAN), margin, negentropy, tokens }
    }

    /// The numbers of an answer's tokens, without those that end the sequence.
    pub fn of_answer(tokens: &[TokenLogprob]) -> Vec<Self> {
        super::without_end(tokens).iter().filter(|token| !token.ends_sequence()).map(Self::of).collect()
    }
}
