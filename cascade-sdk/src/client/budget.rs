//! Budgets in process: the worst case is reserved before a call is sent and settled after it.
//!
//! The promise is that what is reserved and spent in a window never exceeds its limit, whatever the concurrency. The
//! ledger is empty after a restart: a limit that must survive one needs a store outside the process.

use crate::money::Usd;
use cascade_sdk_core::config::Budget;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// One budget's ledger, shared by every route that names the budget.
#[derive(Debug)]
pub(super) struct Ledger {
    limit: Usd,
    window: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Which window the figures belong to, counted from 1970-01-01 UTC.
    window: u128,
    spent: Usd,
    reserved: Usd,
}

/// Money set aside for one call. Dropped before the call was sent it goes back; dropped after, it counts as spent,
/// because the provider may charge for it.
#[derive(Debug)]
pub(super) struct Reservation {
    ledger: Arc<Ledger>,
    window: u128,
    amount: Usd,
    sent: bool,
    settled: bool,
}

impl Ledger {
    pub(super) fn new(budget: &Budget) -> Arc<Self> {
        Arc::new(Self { limit: budget.limit, window: budget.window, state: Mutex::default() })
    }

    /// Sets `amount` aside, or returns `None` if it does not fit into what is left of the window.
    pub(super) fn reserve(self: &Arc<Self>, amount: Usd, now: SystemTime) -> Option<Reservation> {
        let mut state = self.state();
        let window = self.window_at(now);
        if window > state.window {
            *state = State { window, ..State::default() };
        }
        let taken = state.spent.saturating_add(state.reserved).saturating_add(amount);
        if taken > self.limit {
            return None;
        }
        state.reserved = state.reserved.saturating_add(amount);
        Some(Reservation {
            ledger: Arc::clone(self),
            window: state.window,
            amount,
            sent: false,
            settled: false,
        })
    }

    /// How long until the current window ends.
    pub(super) fn time_left(&self, now: SystemTime) -> Duration {
        let nanos = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let window = self.window.as_nanos().max(1);
        Duration::from_nanos(u64::try_from(window - nanos % window).unwrap_or(u64::MAX))
    }

    fn window_at(&self, now: SystemTime) -> u128 {
        // A clock before 1970 counts as 1970; windows never go back, so a clock that does cannot reopen a spent one.
        let nanos = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        nanos / self.window.as_nanos().max(1)
    }

    /// Nothing under this lock can panic half way, so a poisoned one is as good as any.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    /// What was set aside.
    pub(super) fn amount(&self) -> Usd {
        self.amount
    }

    /// Notes that the call goes out now.
    pub(super) fn mark_sent(&mut self) {
        self.sent = true;
    }

    /// Replaces the reservation by what the call really cost.
    pub(super) fn settle(mut self, cost: Usd) {
        self.settled = true;
        self.close(cost);
    }

    fn close(&self, cost: Usd) {
        let mut state = self.ledger.state();
        // A call that outlived its window was counted there in full when it was reserved.
        if state.window == self.window {
            state.reserved = state.reserved.saturating_sub(self.amount);
            state.spent = state.spent.saturating_add(cost);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.settled {
            self.close(if self.sent { self.amount } else { Usd::ZERO });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cascade_sdk_core::config::{BudgetScope, OnExceeded};

    const DAY: Duration = Duration::from_secs(86_400);

    fn ledger(pico: i64) -> Arc<Ledger> {
        Ledger::new(&Budget {
            name: "b".into(),
            limit: Usd::from_pico(pico),
            window: DAY,
            on_exceeded: OnExceeded::Reject,
            per: BudgetScope::All,
            within: None,
        })
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn reserve(ledger: &Arc<Ledger>, pico: i64, seconds: u64) -> Option<Reservation> {
        ledger.reserve(Usd::from_pico(pico), at(seconds))
    }

    #[test]
    fn the_limit_itself_may_be_spent_and_not_more() {
        let ledger = ledger(100);
        let first = reserve(&ledger, 60, 0).unwrap();
        assert!(reserve(&ledger, 41, 0).is_none());
        let second = reserve(&ledger, 40, 0).unwrap();
        first.settle(Usd::from_pico(10));
        second.settle(Usd::from_pico(40));
        assert!(reserve(&ledger, 51, 0).is_none());
        assert!(reserve(&ledger, 50, 0).is_some());
    }

    #[test]
    fn dropping_refunds_what_was_not_sent_and_charges_what_was() {
        let ledger = ledger(100);
        drop(reserve(&ledger, 100, 0).unwrap());
        let mut sent = reserve(&ledger, 70, 0).unwrap();
        sent.mark_sent();
        drop(sent);
        assert!(reserve(&ledger, 31, 0).is_none());
        assert!(reserve(&ledger, 30, 0).is_some());
    }

    #[test]
    fn windows_start_at_multiples_of_their_length_in_utc() {
        let ledger = ledger(100);
        let late = reserve(&ledger, 100, 86_399).unwrap();
        assert!(reserve(&ledger, 1, 86_399).is_none());
        let next = reserve(&ledger, 100, 86_400).unwrap();
        // Settling a call of the old window does not touch the new one.
        late.settle(Usd::from_pico(100));
        next.settle(Usd::from_pico(99));
        assert!(reserve(&ledger, 1, 86_400).is_some());
        // A clock that goes back does not reopen a window.
        assert!(reserve(&ledger, 50, 10).is_none());
        assert_eq!(ledger.time_left(at(86_000)), Duration::from_secs(400));
    }

    #[test]
    fn threads_cannot_overspend() {
        let ledger = ledger(500);
        let granted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let calls = (0..200).filter_map(|_| reserve(&ledger, 1, 0));
                        calls.map(|call| call.settle(Usd::from_pico(1))).count()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(granted, 500);
    }
}
