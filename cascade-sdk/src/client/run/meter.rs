//! What the stage that is running may have cost already.

use crate::money::Usd;
use std::sync::atomic::{AtomicI64, Ordering};

/// An amount that calls at once add to. It is read where their futures were dropped, so it lives outside them.
#[derive(Debug, Default)]
pub(in crate::client) struct Meter(AtomicI64);

impl Meter {
    /// The amount now.
    pub(in crate::client) fn get(&self) -> Usd {
        Usd::from_pico(self.0.load(Ordering::Relaxed))
    }

    /// Counts `cost` instead of `before`.
    pub(super) fn replace(&self, before: Usd, cost: Usd) {
        let change = |amount: i64| Some(amount.saturating_sub(before.pico()).saturating_add(cost.pico()));
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
    }

    /// Begins anew.
    pub(super) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}
