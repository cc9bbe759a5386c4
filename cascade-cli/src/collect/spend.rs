//! Money of a collecting job: what was spent, what is reserved for calls in flight, and the cap.

use cascade_sdk_core::config::Tier;
use cascade_sdk_core::money::{MoneyError, Usd};

/// Tokens that a chat template adds to a request, and to each of its messages: more than any known template does.
const TEMPLATE_TOKENS: u64 = 64;
const TEMPLATE_TOKENS_PER_MESSAGE: u64 = 16;

/// What a request can be charged for before it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// UTF-8 bytes of all texts sent.
    pub(crate) bytes: u64,
    /// Messages sent, the system prompt included.
    pub(crate) messages: u64,
}

impl Size {
    /// An upper bound of the input in tokens: no tokeniser in use yields more tokens than bytes.
    pub(crate) fn most_input_tokens(self) -> u64 {
        self.bytes + TEMPLATE_TOKENS + TEMPLATE_TOKENS_PER_MESSAGE * self.messages
    }

    /// A rough figure for people: four bytes a token.
    pub(crate) fn likely_input_tokens(self) -> u64 {
        self.bytes.div_ceil(4) + 4 * self.messages
    }
}

/// The most one call can cost, where the tier limits its output; else the most as far as is known, with the longest
/// output seen until now.
///
/// # Errors
/// [`MoneyError::Overflow`] beyond the range of an amount.
pub(crate) fn most_cost(tier: &Tier, size: Size, longest_output_seen: u64) -> Result<Usd, MoneyError> {
    let output = tier.max_output_tokens.unwrap_or(longest_output_seen);
    tier.price.worst_case(size.most_input_tokens(), output)
}

/// What was spent and what may still be charged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    cap: Option<Usd>,
    spent: Usd,
    reserved: Usd,
}

impl Ledger {
    /// A ledger that begins with what earlier runs of the job spent or may have spent.
    pub(crate) fn new(cap: Option<Usd>, spent: Usd) -> Self {
        Self { cap, spent, reserved: Usd::ZERO }
    }

    /// Sets an amount aside for a call; false if spent, reserved and this amount together would exceed the cap.
    pub(crate) fn reserve(&mut self, amount: Usd) -> bool {
        let after = self.spent.saturating_add(self.reserved).saturating_add(amount);
        if self.cap.is_some_and(|cap| after > cap) {
            return false;
        }
        self.reserved = self.reserved.saturating_add(amount);
        true
    }

    /// Replaces a reservation by what the call cost.
    pub(crate) fn settle(&mut self, reserved: Usd, cost: Usd) {
        self.reserved = self.reserved.saturating_sub(reserved);
        self.spent = self.spent.saturating_add(cost);
    }

    /// Spent until now.
    pub(crate) fn spent(&self) -> Usd {
        self.spent
    }

    /// Set aside for calls in flight.
    pub(crate) fn reserved(&self) -> Usd {
        self.reserved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cap_counts_what_is_in_flight() {
        let usd = Usd::from_pico;
        let mut ledger = Ledger::new(Some(usd(100)), usd(30));
        assert!(ledger.reserve(usd(40)));
        assert!(!ledger.reserve(usd(31)));
        assert!(ledger.reserve(usd(30)));
        assert!(!ledger.reserve(usd(1)));
        ledger.settle(usd(40), usd(10));
        assert_eq!((ledger.spent(), ledger.reserved()), (usd(40), usd(30)));
        assert!(ledger.reserve(usd(30)));
    }

    #[test]
    fn without_a_cap_everything_fits() {
        let mut ledger = Ledger::new(None, Usd::ZERO);
        assert!(ledger.reserve(Usd::MAX));
        assert!(ledger.reserve(Usd::MAX));
    }
}
