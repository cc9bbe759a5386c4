//! Ledgers in memory.

use super::{Ask, BudgetStore, Burn, Lease, Ledger, Reserved, StoreError};
use crate::money::Usd;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// Ledgers beyond this many, and beyond twice as many as the last look left, make those of past windows go: tenants come and go.
const KEPT_LEDGERS: usize = 4_096;

/// Ledgers of this process, empty after a restart. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct InProcess {
    ledgers: Arc<Mutex<Ledgers>>,
}

#[derive(Debug, Default)]
struct Ledgers {
    by_key: BTreeMap<String, State>,
    /// How many the last look for past windows left.
    left: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Which window the figures belong to, counted from 1970-01-01 UTC.
    window: u128,
    /// When that window ends, since 1970-01-01 UTC.
    ends: Duration,
    /// Spent and reserved.
    taken: Usd,
}

#[derive(Debug)]
struct Held {
    store: InProcess,
    /// Each ledger's key and window.
    places: Vec<(String, u128)>,
    amount: Usd,
    sent: bool,
    settled: bool,
}

impl InProcess {
    /// Empty ledgers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets an amount aside in all ledgers; else says which of them is full, and for how long.
    fn hold_at(&self, ask: &Ask<'_>, now: SystemTime) -> Result<Held, (usize, Duration)> {
        let now = since_1970(now);
        let mut ledgers = self.lock();
        ledgers.sweep(now);
        let mut places = Vec::with_capacity(ask.ledgers.len());
        for (index, ledger) in ask.ledgers.iter().enumerate() {
            let state = ledgers.current(ledger, now);
            if state.taken.saturating_add(ask.amount) > ledger.limit {
                return Err((index, state.ends.saturating_sub(now)));
            }
            places.push((ledger.key.clone(), state.window));
        }
        for (key, _) in &places {
            if let Some(state) = ledgers.by_key.get_mut(key) {
                state.taken = state.taken.saturating_add(ask.amount);
            }
        }
        drop(ledgers);
        Ok(Held { store: self.clone(), places, amount: ask.amount, sent: false, settled: false })
    }

    pub(crate) fn burn_at(&self, ledger: &Ledger, now: SystemTime) -> Burn {
        let now = since_1970(now);
        let mut ledgers = self.lock();
        let state = ledgers.current(ledger, now);
        let left = state.ends.saturating_sub(now).as_secs_f64();
        Burn {
            spent: state.taken.to_f64() / ledger.limit.to_f64(),
            elapsed: 1.0 - left / ledger.window.as_secs_f64(),
        }
    }

    /// Nothing under this lock can panic half way, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, Ledgers> {
        self.ledgers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A clock before 1970 counts as 1970.
fn since_1970(now: SystemTime) -> Duration {
    now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

impl Ledgers {
    /// Drops the ledgers of past windows, once there are many more than the last time: so a reservation pays for a look at two
    /// ledgers on average, however many are in use.
    fn sweep(&mut self, now: Duration) {
        if self.by_key.len() > KEPT_LEDGERS.max(2 * self.left) {
            self.by_key.retain(|_, state| state.ends > now);
            self.left = self.by_key.len();
        }
    }

    /// The ledger's state in the window of now. Windows never go back, so a clock that does cannot reopen a spent one.
    fn current(&mut self, ledger: &Ledger, now: Duration) -> &mut State {
        let length = ledger.window.as_nanos().max(1);
        let window = now.as_nanos() / length;
        let state = self.by_key.entry(ledger.key.clone()).or_default();
        if window > state.window {
            let ends = u64::try_from((window + 1) * length).map_or(Duration::MAX, Duration::from_nanos);
            *state = State { window, ends, taken: Usd::ZERO };
        } else if state.ends == Duration::ZERO {
            state.ends = ledger.window;
        }
        state
    }
}

#[async_trait]
impl BudgetStore for InProcess {
    async fn reserve(&self, ask: &Ask<'_>) -> Result<Reserved, StoreError> {
        Ok(match self.hold_at(ask, SystemTime::now()) {
            Ok(held) => Reserved::Lease(Box::new(held)),
            Err((ledger, retry_after)) => Reserved::Full { ledger, retry_after },
        })
    }

    async fn burn(&self, ledger: &Ledger) -> Result<Burn, StoreError> {
        Ok(self.burn_at(ledger, SystemTime::now()))
    }
}

impl Held {
    /// Notes that the call goes out, unless one of its windows is over: the new one does not know of it.
    fn mark_sent_at(&mut self, now: SystemTime) -> bool {
        let now = since_1970(now);
        let holds = {
            let ledgers = self.store.lock();
            self.places.iter().all(|(key, window)| {
                ledgers.by_key.get(key).is_some_and(|state| state.window == *window && now < state.ends)
            })
        };
        if holds {
            self.sent = true;
        } else {
            self.settled = true;
            self.close(Usd::ZERO);
        }
        holds
    }

    fn close(&self, cost: Usd) {
        let mut ledgers = self.store.lock();
        for (key, window) in &self.places {
            // A call that outlived its window was counted there in full when it was reserved.
            if let Some(state) = ledgers.by_key.get_mut(key).filter(|state| state.window == *window) {
                state.taken = state.taken.saturating_sub(self.amount).saturating_add(cost);
            }
        }
    }
}

#[async_trait]
impl Lease for Held {
    async fn mark_sent(&mut self) -> Result<bool, StoreError> {
        Ok(self.mark_sent_at(SystemTime::now()))
    }

    fn settle(mut self: Box<Self>, cost: Usd) {
        self.settled = true;
        self.close(cost);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.settled {
            self.close(if self.sent { self.amount } else { Usd::ZERO });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn ledger(key: &str, pico: i64) -> Ledger {
        Ledger { key: key.into(), limit: Usd::from_pico(pico), window: DAY }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn hold(
        store: &InProcess,
        ledgers: &[Ledger],
        pico: i64,
        seconds: u64,
    ) -> Result<Held, (usize, Duration)> {
        let ask = Ask { ledgers, amount: Usd::from_pico(pico), until_sent: DAY, lifetime: DAY };
        store.hold_at(&ask, at(seconds))
    }

    fn reserve(store: &InProcess, ledgers: &[Ledger], pico: i64, seconds: u64) -> Option<Box<Held>> {
        hold(store, ledgers, pico, seconds).ok().map(Box::new)
    }

    #[test]
    fn the_limit_itself_may_be_spent_and_not_more() {
        let (store, ledger) = (InProcess::new(), [ledger("b", 100)]);
        let first = reserve(&store, &ledger, 60, 0).unwrap();
        assert!(reserve(&store, &ledger, 41, 0).is_none());
        let second = reserve(&store, &ledger, 40, 0).unwrap();
        first.settle(Usd::from_pico(10));
        second.settle(Usd::from_pico(40));
        assert!(reserve(&store, &ledger, 51, 0).is_none());
        assert!(reserve(&store, &ledger, 50, 0).is_some());
    }

    #[test]
    fn dropping_refunds_what_was_not_sent_and_charges_what_was() {
        let (store, ledger) = (InProcess::new(), [ledger("b", 100)]);
        drop(reserve(&store, &ledger, 100, 0).unwrap());
        let mut sent = reserve(&store, &ledger, 70, 0).unwrap();
        assert!(sent.mark_sent_at(at(0)));
        drop(sent);
        assert!(reserve(&store, &ledger, 31, 0).is_none());
        assert!(reserve(&store, &ledger, 30, 0).is_some());
    }

    #[test]
    fn a_call_whose_window_is_over_before_it_goes_out_must_be_reserved_anew() {
        let month = Ledger { window: 30 * DAY, ..ledger("month", 100) };
        let (store, ledgers) = (InProcess::new(), [ledger("day", 100), month]);
        let mut held = reserve(&store, &ledgers, 60, 86_399).unwrap();
        // Nobody has asked in the new window yet, so the ledger still shows the old one.
        assert!(!held.mark_sent_at(at(86_400)));
        drop(held);
        // What was set aside went back to the ledger whose window goes on.
        let mut anew = reserve(&store, &ledgers, 100, 86_400).unwrap();
        assert!(anew.mark_sent_at(at(86_400)));
        drop(anew);
        assert!(reserve(&store, &ledgers, 1, 86_400).is_none());
    }

    #[test]
    fn ledgers_of_past_windows_go_and_those_in_use_are_not_looked_through_each_time() {
        let store = InProcess::new();
        let fill = |day: u64, tenants: usize| {
            for tenant in 0..tenants {
                let key = format!("b/tenant/{day}-{tenant}");
                reserve(&store, &[ledger(&key, 1)], 1, day * 86_400).unwrap().settle(Usd::ZERO);
            }
        };
        let counts = || {
            let ledgers = store.lock();
            (ledgers.by_key.len(), ledgers.left)
        };
        fill(0, KEPT_LEDGERS + 1);
        assert_eq!(counts(), (KEPT_LEDGERS + 1, 0));
        // All are in use, so none goes; the next look comes at twice as many.
        fill(0, KEPT_LEDGERS + 2);
        assert_eq!(counts(), (KEPT_LEDGERS + 2, KEPT_LEDGERS + 1));
        fill(1, KEPT_LEDGERS + 2);
        let (all, left) = counts();
        assert!(all <= KEPT_LEDGERS + 3 && left <= KEPT_LEDGERS + 2, "{all} of which {left}");
    }

    #[test]
    fn windows_start_at_multiples_of_their_length_in_utc() {
        let (store, ledger) = (InProcess::new(), [ledger("b", 100)]);
        let late = reserve(&store, &ledger, 100, 86_399).unwrap();
        assert!(reserve(&store, &ledger, 1, 86_399).is_none());
        let next = reserve(&store, &ledger, 100, 86_400).unwrap();
        // Settling a call of the old window does not touch the new one.
        late.settle(Usd::from_pico(100));
        next.settle(Usd::from_pico(99));
        assert!(reserve(&store, &ledger, 1, 86_400).is_some());
        // A clock that goes back does not reopen a window.
        assert!(reserve(&store, &ledger, 50, 10).is_none());
        let full = hold(&store, &ledger, 50, 86_400 + 86_000).map(drop);
        assert_eq!(full, Err((0, Duration::from_secs(400))));
    }

    #[test]
    fn a_reservation_fits_into_all_ledgers_or_touches_none() {
        let store = InProcess::new();
        let both = [ledger("tenant/a", 100), ledger("all", 150)];
        reserve(&store, &both, 100, 0).unwrap().settle(Usd::from_pico(100));
        let other = [ledger("tenant/b", 100), ledger("all", 150)];
        let full = hold(&store, &other, 60, 0).map(drop);
        assert_eq!(full.map_err(|(ledger, _)| ledger), Err(1));
        // Nothing of the refused reservation is left in the tenant's ledger.
        assert!((store.burn_at(&other[0], at(43_200)).spent).abs() < 1e-12);
        let burn = store.burn_at(&both[0], at(43_200));
        assert!((burn.spent - 1.0).abs() < 1e-12 && (burn.elapsed - 0.5).abs() < 1e-12, "{burn:?}");
    }

    #[test]
    fn threads_cannot_overspend() {
        let (store, ledger) = (InProcess::new(), [ledger("b", 500)]);
        let granted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let calls = (0..200).filter_map(|_| reserve(&store, &ledger, 1, 0));
                        calls.map(|call| call.settle(Usd::from_pico(1))).count()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(granted, 500);
    }
}
