//! Ledgers in memory.

use super::{Ask, BudgetStore, Burn, Lease, Ledger, Reserved, StoreError};
use crate::money::Usd;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// Ledgers beyond this many make those of past windows go: tenants come and go.
const KEPT_LEDGERS: usize = 4_096;

/// Ledgers of this process, empty after a restart. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct InProcess {
    ledgers: Arc<Mutex<BTreeMap<String, State>>>,
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

    pub(crate) fn reserve_at(&self, ask: &Ask<'_>, now: SystemTime) -> Reserved {
        let now = since_1970(now);
        let mut ledgers = self.lock();
        if ledgers.len() > KEPT_LEDGERS {
            ledgers.retain(|_, state| state.ends > now);
        }
        let mut places = Vec::with_capacity(ask.ledgers.len());
        for (index, ledger) in ask.ledgers.iter().enumerate() {
            let state = current(&mut ledgers, ledger, now);
            if state.taken.saturating_add(ask.amount) > ledger.limit {
                return Reserved::Full { ledger: index, retry_after: state.ends.saturating_sub(now) };
            }
            places.push((ledger.key.clone(), state.window));
        }
        for (key, _) in &places {
            if let Some(state) = ledgers.get_mut(key) {
                state.taken = state.taken.saturating_add(ask.amount);
            }
        }
        drop(ledgers);
        Reserved::Lease(Box::new(Held {
            store: self.clone(),
            places,
            amount: ask.amount,
            sent: false,
            settled: false,
        }))
    }

    pub(crate) fn burn_at(&self, ledger: &Ledger, now: SystemTime) -> Burn {
        let now = since_1970(now);
        let mut ledgers = self.lock();
        let state = current(&mut ledgers, ledger, now);
        let left = state.ends.saturating_sub(now).as_secs_f64();
        Burn {
            spent: state.taken.to_f64() / ledger.limit.to_f64(),
            elapsed: 1.0 - left / ledger.window.as_secs_f64(),
        }
    }

    /// Nothing under this lock can panic half way, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        self.ledgers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A clock before 1970 counts as 1970.
fn since_1970(now: SystemTime) -> Duration {
    now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// The ledger's state in the window of now. Windows never go back, so a clock that does cannot reopen a spent one.
fn current<'m>(ledgers: &'m mut BTreeMap<String, State>, ledger: &Ledger, now: Duration) -> &'m mut State {
    let length = ledger.window.as_nanos().max(1);
    let window = now.as_nanos() / length;
    let state = ledgers.entry(ledger.key.clone()).or_default();
    if window > state.window {
        let ends = u64::try_from((window + 1) * length).map_or(Duration::MAX, Duration::from_nanos);
        *state = State { window, ends, taken: Usd::ZERO };
    } else if state.ends == Duration::ZERO {
        state.ends = ledger.window;
    }
    state
}

#[async_trait]
impl BudgetStore for InProcess {
    async fn reserve(&self, ask: &Ask<'_>) -> Result<Reserved, StoreError> {
        Ok(self.reserve_at(ask, SystemTime::now()))
    }

    async fn burn(&self, ledger: &Ledger) -> Result<Burn, StoreError> {
        Ok(self.burn_at(ledger, SystemTime::now()))
    }
}

impl Held {
    fn close(&self, cost: Usd) {
        let mut ledgers = self.store.lock();
        for (key, window) in &self.places {
            // A call that outlived its window was counted there in full when it was reserved.
            if let Some(state) = ledgers.get_mut(key).filter(|state| state.window == *window) {
                state.taken = state.taken.saturating_sub(self.amount).saturating_add(cost);
            }
        }
    }
}

#[async_trait]
impl Lease for Held {
    async fn mark_sent(&mut self) -> Result<bool, StoreError> {
        self.sent = true;
        Ok(true)
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

    fn reserve(store: &InProcess, ledgers: &[Ledger], pico: i64, seconds: u64) -> Option<Box<dyn Lease>> {
        let ask = Ask { ledgers, amount: Usd::from_pico(pico), until_sent: DAY, lifetime: DAY };
        match store.reserve_at(&ask, at(seconds)) {
            Reserved::Lease(lease) => Some(lease),
            Reserved::Full { .. } => None,
        }
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

    #[tokio::test]
    async fn dropping_refunds_what_was_not_sent_and_charges_what_was() {
        let (store, ledger) = (InProcess::new(), [ledger("b", 100)]);
        drop(reserve(&store, &ledger, 100, 0).unwrap());
        let mut sent = reserve(&store, &ledger, 70, 0).unwrap();
        assert_eq!(sent.mark_sent().await, Ok(true));
        drop(sent);
        assert!(reserve(&store, &ledger, 31, 0).is_none());
        assert!(reserve(&store, &ledger, 30, 0).is_some());
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
        let ask = Ask { ledgers: &ledger, amount: Usd::from_pico(50), until_sent: DAY, lifetime: DAY };
        let Reserved::Full { retry_after, .. } = store.reserve_at(&ask, at(86_400 + 86_000)) else {
            panic!("it fits")
        };
        assert_eq!(retry_after, Duration::from_secs(400));
    }

    #[test]
    fn a_reservation_fits_into_all_ledgers_or_touches_none() {
        let store = InProcess::new();
        let both = [ledger("tenant/a", 100), ledger("all", 150)];
        reserve(&store, &both, 100, 0).unwrap().settle(Usd::from_pico(100));
        let other = [ledger("tenant/b", 100), ledger("all", 150)];
        let ask = Ask { ledgers: &other, amount: Usd::from_pico(60), until_sent: DAY, lifetime: DAY };
        let Reserved::Full { ledger, .. } = store.reserve_at(&ask, at(0)) else { panic!("it fits") };
        assert_eq!(ledger, 1);
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
