//! Budgets: the worst case of a call is reserved before it is sent, and settled at what it cost.
//!
//! The promise is that what is reserved and spent in a window never exceeds its limit, whatever the concurrency, crashes
//! included. [`InProcess`] keeps the ledgers in memory: each process has the whole limit to itself, and a restart begins
//! an empty window. A fleet shares ledgers through `RedisBudgets` (feature `redis`), or through a [`BudgetStore`] of its own.

mod in_process;
#[cfg(feature = "redis")]
mod redis;

pub use in_process::InProcess;
#[cfg(feature = "redis")]
pub use redis::RedisBudgets;

use crate::money::Usd;
use async_trait::async_trait;
use std::fmt;
use std::time::Duration;

/// One limit that a reservation must fit into.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ledger {
    /// Whose it is: `support`, `support/route/triage` or `support/tenant/acme`.
    pub key: String,
    /// Most that may be spent in one window.
    pub limit: Usd,
    /// Length of a window; windows start at multiples of it since 1970-01-01 UTC.
    pub window: Duration,
}

impl Ledger {
    /// A limit of its own: stores get theirs from the client.
    pub fn new(key: impl Into<String>, limit: Usd, window: Duration) -> Self {
        Self { key: key.into(), limit, window }
    }
}

/// What is asked of a store.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Ask<'a> {
    /// The limits: the reservation fits into all of them, or none is touched.
    pub ledgers: &'a [Ledger],
    /// The most that the call can cost.
    pub amount: Usd,
    /// How long it may take until the call is sent: zero for one that goes out at once, longer for calls that wait for an
    /// answer. A store that outlives the process gives the money of a call that was not sent by then back, soon after.
    pub until_sent: Duration,
    /// How long the call may take once it is sent. A store that outlives the process charges a call that was not settled
    /// by then in full.
    pub lifetime: Duration,
}

impl<'a> Ask<'a> {
    /// Asks for an amount for a call that goes out at once and may take so long: for tests of stores, which get theirs from the
    /// client.
    pub fn new(ledgers: &'a [Ledger], amount: Usd, lifetime: Duration) -> Self {
        Self { ledgers, amount, until_sent: Duration::ZERO, lifetime }
    }
}

/// The answer of a store.
#[derive(Debug)]
#[non_exhaustive]
pub enum Reserved {
    /// The amount is set aside.
    Lease(Box<dyn Lease>),
    /// It does not fit.
    Full {
        /// Position in [`Ask::ledgers`] of the limit that is in the way.
        ledger: usize,
        /// Until that ledger's window ends.
        retry_after: Duration,
    },
}

/// How far a ledger's window is spent, and how far it has passed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Burn {
    /// Share of the limit that is spent or reserved.
    pub spent: f64,
    /// Share of the window that has passed.
    pub elapsed: f64,
}

impl Burn {
    /// So much of the limit is spent or reserved, and so much of the window has passed; both are shares.
    pub fn new(spent: f64, elapsed: f64) -> Self {
        Self { spent, elapsed }
    }
}

/// Keeps ledgers.
#[async_trait]
pub trait BudgetStore: Send + Sync + fmt::Debug {
    /// Sets an amount aside in all ledgers, or in none.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be reached; the call is then not sent.
    async fn reserve(&self, ask: &Ask<'_>) -> Result<Reserved, StoreError>;

    /// How far a ledger's window is spent.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be reached.
    async fn burn(&self, ledger: &Ledger) -> Result<Burn, StoreError>;
}

/// Money set aside for one call. Dropped before the call was sent it goes back; dropped after, it counts as spent,
/// because the provider may charge for it.
#[async_trait]
pub trait Lease: Send + Sync + fmt::Debug {
    /// Notes that the call goes out now. False if the lease has run out: the call must then not be sent.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be reached; the call must then not be sent.
    async fn mark_sent(&mut self) -> Result<bool, StoreError>;

    /// Replaces the reservation by what the call cost. It does not wait.
    fn settle(self: Box<Self>, cost: Usd);
}

/// A store that cannot be reached or does not answer as it should. Never holds a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError(String);

impl StoreError {
    /// An error with this message, which must hold no secret.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StoreError {}
