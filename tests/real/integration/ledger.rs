//! A budget store that counts to the last unit what calls are settled at.

use async_trait::async_trait;
use cascade_sdk::budget::{Ask, BudgetStore, Burn, InProcess, Lease, Ledger, Reserved, StoreError};
use cascade_sdk::money::Usd;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

#[derive(Clone, Debug, Default)]
pub(crate) struct Counting {
    inner: InProcess,
    settled: Arc<AtomicI64>,
}

#[derive(Debug)]
struct Counted {
    lease: Box<dyn Lease>,
    settled: Arc<AtomicI64>,
}

impl Counting {
    /// Everything that was settled so far.
    pub(crate) fn settled(&self) -> Usd {
        Usd::from_pico(self.settled.load(Ordering::SeqCst))
    }
}

#[async_trait]
impl BudgetStore for Counting {
    async fn reserve(&self, ask: &Ask<'_>) -> Result<Reserved, StoreError> {
        Ok(match self.inner.reserve(ask).await? {
            Reserved::Lease(lease) => {
                Reserved::Lease(Box::new(Counted { lease, settled: Arc::clone(&self.settled) }))
            }
            full => full,
        })
    }

    async fn burn(&self, ledger: &Ledger) -> Result<Burn, StoreError> {
        self.inner.burn(ledger).await
    }
}

#[async_trait]
impl Lease for Counted {
    async fn mark_sent(&mut self) -> Result<bool, StoreError> {
        self.lease.mark_sent().await
    }

    fn settle(self: Box<Self>, cost: Usd) {
        self.settled.fetch_add(cost.pico(), Ordering::SeqCst);
        self.lease.settle(cost);
    }
}
