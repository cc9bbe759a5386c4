//! The budget of a route: which ledgers a request must fit into, and what the run does with its reservation.

use super::policy::{ActivePolicy, CheaperPoint};
use crate::budget::{Ask, BudgetStore, Lease, Ledger, Reserved, StoreError};
use crate::error::{Error, Kind};
use crate::money::Usd;
use cascade_sdk_core::config::{Budget, BudgetScope, Config, OnExceeded};
use cascade_sdk_core::pace;
use std::sync::Arc;
use std::time::Duration;

/// A lease lives this much longer than it should have to.
const MARGIN: Duration = Duration::from_secs(30);

/// A budget, the larger ones around it, and who keeps their ledgers.
#[derive(Debug)]
pub(super) struct BudgetSetup {
    pub(super) name: String,
    pub(super) on_exceeded: OnExceeded,
    /// The budget itself, then those that it lies within.
    levels: Vec<Budget>,
    store: Arc<dyn BudgetStore>,
}

/// Why nothing was reserved.
#[derive(Debug)]
pub(super) enum NotReserved {
    /// A budget is full.
    Full {
        /// Its name.
        budget: String,
        /// Until its window ends.
        retry_after: Duration,
    },
    /// The store does not answer.
    Store(StoreError),
}

/// Money set aside for a call that goes out later. Dropped it goes back.
#[derive(Debug)]
pub(super) struct Held {
    lease: Box<dyn Lease>,
    amount: Usd,
}

/// Money set aside for one call that went out. Dropped it counts as spent, as far as the call can have spent it.
#[derive(Debug)]
pub(super) struct Reservation {
    /// Until it is settled.
    lease: Option<Box<dyn Lease>>,
    /// The most that the call can cost, which may be less than was set aside for it.
    worst: Usd,
}

impl BudgetSetup {
    /// The budget of that name with all it lies within; `None` if there is none.
    pub(super) fn new(config: &Config, name: &str, store: &Arc<dyn BudgetStore>) -> Option<Self> {
        let budget = config.budget(name)?;
        let mut levels = vec![budget.clone()];
        // The reader refuses circles; one that it did not see ends here all the same.
        while let Some(next) = levels.last().and_then(|level| config.budget(level.within.as_deref()?))
            && levels.len() <= config.budgets.len()
        {
            levels.push(next.clone());
        }
        Some(Self {
            name: budget.name.clone(),
            on_exceeded: budget.on_exceeded,
            levels,
            store: Arc::clone(store),
        })
    }

    /// The ledgers of a request.
    pub(super) fn ledgers(&self, route: &str, tenant: Option<&str>) -> Result<Vec<Ledger>, Error> {
        let ledger = |level: &Budget| {
            let name = &level.name;
            let key = match (level.per, tenant) {
                (BudgetScope::All, _) => name.clone(),
                (BudgetScope::Route, _) => format!("{name}/route/{route}"),
                (BudgetScope::Tenant, Some(tenant)) => format!("{name}/tenant/{tenant}"),
                (_, _) => {
                    let message = format!(
                        "route `{route}`: the budget `{name}` is per tenant: name one with `Request::with_tenant`"
                    );
                    return Err(Error::new(Kind::Config, message));
                }
            };
            Ok(Ledger { key, limit: level.limit, window: level.window })
        };
        self.levels.iter().map(ledger).collect()
    }

    /// Sets the worst case of a call aside in every ledger, for a call that waits until it is sent.
    pub(super) async fn hold(
        &self,
        ledgers: &[Ledger],
        amount: Usd,
        until_sent: Duration,
        timeout: Duration,
    ) -> Result<Held, NotReserved> {
        let until_sent = until_sent.saturating_add(MARGIN);
        self.lease(Ask { ledgers, amount, until_sent, lifetime: timeout.saturating_add(MARGIN) }).await
    }

    async fn lease(&self, ask: Ask<'_>) -> Result<Held, NotReserved> {
        let amount = ask.amount;
        match self.store.reserve(&ask).await.map_err(NotReserved::Store)? {
            Reserved::Full { ledger, retry_after } => {
                let budget = self.levels.get(ledger).map_or(&self.name, |level| &level.name).clone();
                Err(NotReserved::Full { budget, retry_after })
            }
            Reserved::Lease(lease) => Ok(Held { lease, amount }),
        }
    }

    /// Sets the worst case of a call aside that goes out now. A lease that runs out before the call is sent is asked for
    /// anew, once.
    pub(super) async fn reserve_and_send(
        &self,
        ledgers: &[Ledger],
        amount: Usd,
        timeout: Duration,
    ) -> Result<Reservation, NotReserved> {
        let lifetime = timeout.saturating_add(MARGIN);
        for _ in 0..2 {
            let held = self.lease(Ask { ledgers, amount, until_sent: Duration::ZERO, lifetime }).await?;
            if let Some(reservation) = held.send(amount).await.map_err(NotReserved::Store)? {
                return Ok(reservation);
            }
        }
        Err(NotReserved::Store(StoreError::new("the budget store lets leases run out before calls are sent")))
    }

    /// The cheaper operating point that a budget which runs hot leaves room for; `None` if the deployed one can stay.
    pub(super) async fn pace<'p>(
        &self,
        policy: &'p ActivePolicy,
        ledgers: &[Ledger],
    ) -> Option<&'p CheaperPoint> {
        let deployed = policy.cost_usd?;
        let mut allowance = 1.0_f64;
        for ledger in ledgers {
            // A store that does not answer will say so when money is reserved.
            if let Ok(burn) = self.store.burn(ledger).await {
                allowance = allowance.min(pace::allowance(burn.spent, burn.elapsed));
            }
        }
        let chosen = pace::choose(allowance, deployed, policy.cheaper.iter().map(|point| point.cost_usd))?;
        policy.cheaper.get(chosen)
    }
}

impl Held {
    /// Notes that a call of at most `amount` goes out now. `None` if the money has run out, or is not enough: it must then
    /// not be sent.
    pub(super) async fn send(mut self, amount: Usd) -> Result<Option<Reservation>, StoreError> {
        if amount > self.amount || !self.lease.mark_sent().await? {
            return Ok(None);
        }
        Ok(Some(Reservation { lease: Some(self.lease), worst: amount }))
    }
}

impl Reservation {
    /// Replaces the reservation by what the call really cost.
    pub(super) fn settle(mut self, cost: Usd) {
        if let Some(lease) = self.lease.take() {
            lease.settle(cost);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.settle(self.worst);
        }
    }
}
