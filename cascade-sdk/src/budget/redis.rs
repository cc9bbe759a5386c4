//! Ledgers in Redis, for a fleet of processes.

use super::{Ask, BudgetStore, Burn, Lease, Ledger, Reserved, StoreError};
use crate::money::Usd;
use async_trait::async_trait;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisError, Script, ScriptInvocation};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;

/// Shortest time that money is held for a call that is not sent: after it the money goes back.
const HOLD: Duration = Duration::from_secs(10);

/// Longest wait for the server.
const SERVER_TIMEOUT: Duration = Duration::from_secs(3);

/// How often a settlement is sent again before the lease is left to run out, which charges it in full.
const SETTLE_ATTEMPTS: u32 = 5;

/// Settlements that are on their way to the server at once.
const SETTLED_AT_ONCE: usize = 64;

/// Ledgers in a Redis (or Valkey) server from version 5 on, shared by all processes that name the same prefix.
///
/// Reserving, sending and settling are one atomic script each; windows and leases follow the server's clock. A call
/// whose process dies before it was sent is refunded after ten seconds, or after [`Ask::until_sent`] where that is longer; one
/// whose process dies afterwards is charged in full.
/// If the server cannot be reached, no call is sent. The connection is opened by the first reservation, which also starts one Tokio
/// task that sends settlements; settling itself never waits.
///
/// A server that loses data on a restart forgets what was spent: use persistence (`appendonly yes`) where that matters.
#[derive(Clone)]
pub struct RedisBudgets {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    prefix: String,
    script: Arc<Script>,
    connected: Mutex<Option<Connected>>,
    /// Leases are named by this and a count.
    name: u64,
    count: AtomicU64,
}

#[derive(Clone)]
struct Connected {
    manager: ConnectionManager,
    settlements: mpsc::UnboundedSender<Message>,
}

enum Message {
    Settle(Settlement),
    /// Answers when all settlements before it are done.
    Flush(oneshot::Sender<()>),
}

struct Settlement {
    keys: Vec<String>,
    lease: String,
    /// Cost minus what was reserved.
    change: i64,
}

struct Held {
    store: RedisBudgets,
    connected: Connected,
    keys: Vec<String>,
    lease: String,
    amount: Usd,
    lifetime: Duration,
    sent: bool,
    settled: bool,
}

impl RedisBudgets {
    /// Ledgers at an address such as `redis://127.0.0.1:6379/0`, or `rediss://` with TLS (feature `redis-tls`). Nothing is connected
    /// yet.
    ///
    /// # Errors
    /// [`StoreError`] if the address is not one. It does not repeat the address, which may hold a password.
    pub fn new(url: &str) -> Result<Self, StoreError> {
        let client = Client::open(url)
            .map_err(|error| StoreError::new(format!("not an address of Redis: {:?}", error.kind())))?;
        Ok(Self {
            inner: Arc::new(Inner {
                client,
                prefix: "cascade".to_owned(),
                script: Arc::new(Script::new(include_str!("ledger.lua"))),
                connected: Mutex::default(),
                name: RandomState::new().hash_one(0_u8),
                count: AtomicU64::new(0),
            }),
        })
    }

    /// Keeps the ledgers under another prefix than `cascade`: applications that share a server but not their budgets.
    #[must_use]
    pub fn with_prefix(self, prefix: impl Into<String>) -> Self {
        let Inner { client, script, name, .. } = &*self.inner;
        Self {
            inner: Arc::new(Inner {
                client: client.clone(),
                prefix: prefix.into(),
                script: Arc::clone(script),
                connected: Mutex::default(),
                name: *name,
                count: AtomicU64::new(0),
            }),
        }
    }

    /// Waits until every settlement so far has reached the server. What has not when the process ends is charged in full.
    pub async fn settled(&self) {
        let connected = self.inner.connected.lock().await.clone();
        if let Some(connected) = connected {
            let (done, wait) = oneshot::channel();
            // A queue that is gone has nothing left to wait for.
            if connected.settlements.send(Message::Flush(done)).is_ok() {
                let _ = wait.await;
            }
        }
    }

    async fn connected(&self) -> Result<Connected, StoreError> {
        let mut slot = self.inner.connected.lock().await;
        // The task ends with its runtime; another runtime needs another one.
        if let Some(connected) = slot.as_ref().filter(|connected| !connected.settlements.is_closed()) {
            return Ok(connected.clone());
        }
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_connection_timeout(Some(SERVER_TIMEOUT))
            .set_response_timeout(Some(SERVER_TIMEOUT));
        let manager = ConnectionManager::new_with_config(self.inner.client.clone(), config)
            .await
            .map_err(|error| unreachable(&error))?;
        let (settlements, queue) = mpsc::unbounded_channel();
        tokio::spawn(settle_all(Arc::clone(&self.inner.script), manager.clone(), queue));
        let connected = Connected { manager, settlements };
        *slot = Some(connected.clone());
        Ok(connected)
    }

    /// One hash tag, so that all keys of a reservation lie in one slot of a cluster.
    fn keys(&self, ledgers: &[Ledger]) -> Vec<String> {
        let prefix = &self.inner.prefix;
        ledgers
            .iter()
            .flat_map(|ledger| {
                ["state", "due", "held"].map(|part| format!("{{{prefix}}}:{}:{part}", ledger.key))
            })
            .collect()
    }

    fn invocation(&self, keys: &[String]) -> ScriptInvocation<'_> {
        let mut invocation = self.inner.script.prepare_invoke();
        for key in keys {
            invocation.key(key.as_str());
        }
        invocation
    }
}

/// How long money is held for a call that is yet to be sent.
fn hold(ask: &Ask<'_>) -> Duration {
    ask.until_sent.max(HOLD)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 50)
}

/// What went wrong, without the address.
fn unreachable(error: &RedisError) -> StoreError {
    StoreError::new(format!("the budget store in Redis does not answer: {:?}", error.kind()))
}

#[async_trait]
impl BudgetStore for RedisBudgets {
    async fn reserve(&self, ask: &Ask<'_>) -> Result<Reserved, StoreError> {
        let mut connected = self.connected().await?;
        let count = self.inner.count.fetch_add(1, Ordering::Relaxed);
        let lease = format!("{:016x}-{:x}-{count:x}", self.inner.name, std::process::id());
        let keys = self.keys(ask.ledgers);
        let answer: (i64, usize, u64) = {
            let mut call = self.invocation(&keys);
            call.arg("reserve").arg(&lease).arg(milliseconds(hold(ask))).arg(ask.amount.pico());
            for ledger in ask.ledgers {
                let over = ask.amount.saturating_sub(ledger.limit).pico();
                call.arg(milliseconds(ledger.window)).arg(over).arg(over.saturating_neg());
            }
            call.invoke_async(&mut connected.manager).await.map_err(|error| unreachable(&error))?
        };
        if answer.0 == 0 {
            let retry_after = Duration::from_millis(answer.2);
            return Ok(Reserved::Full { ledger: answer.1.saturating_sub(1), retry_after });
        }
        Ok(Reserved::Lease(Box::new(Held {
            store: self.clone(),
            connected,
            keys,
            lease,
            amount: ask.amount,
            lifetime: ask.lifetime,
            sent: false,
            settled: false,
        })))
    }

    async fn burn(&self, ledger: &Ledger) -> Result<Burn, StoreError> {
        let mut connected = self.connected().await?;
        let keys = self.keys(std::slice::from_ref(ledger));
        let window = milliseconds(ledger.window);
        let (taken, _, passed): (String, u64, u64) = {
            let mut call = self.invocation(&keys);
            call.arg("burn").arg("").arg(window);
            call.invoke_async(&mut connected.manager).await.map_err(|error| unreachable(&error))?
        };
        let taken = taken.parse().map(Usd::from_pico).map_err(|_| {
            StoreError::new("the budget store in Redis holds something that is not an amount")
        })?;
        Ok(Burn { spent: taken.to_f64() / ledger.limit.to_f64(), elapsed: passed as f64 / window as f64 })
    }
}

impl Held {
    fn close(&mut self, cost: Usd) {
        self.settled = true;
        let settlement = Settlement {
            keys: std::mem::take(&mut self.keys),
            lease: std::mem::take(&mut self.lease),
            change: cost.saturating_sub(self.amount).pico(),
        };
        // Without the task the lease runs out: refunded if it was not sent, else charged in full.
        let _ = self.connected.settlements.send(Message::Settle(settlement));
    }
}

#[async_trait]
impl Lease for Held {
    async fn mark_sent(&mut self) -> Result<bool, StoreError> {
        // If the answer gets lost the call is not sent, but the lease may be charged: the safe side.
        let (whole, _, _): (i64, u64, u64) = {
            let mut call = self.store.invocation(&self.keys);
            call.arg("sent").arg(&self.lease).arg(milliseconds(self.lifetime));
            call.invoke_async(&mut self.connected.manager).await.map_err(|error| unreachable(&error))?
        };
        self.sent = whole == 1;
        // What ran out was given back already.
        self.settled = whole != 1;
        Ok(self.sent)
    }

    fn settle(mut self: Box<Self>, cost: Usd) {
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

/// Sends settlements until the store and all its leases are gone. Their order does not matter: each is of a lease of its own.
async fn settle_all(
    script: Arc<Script>,
    manager: ConnectionManager,
    mut queue: mpsc::UnboundedReceiver<Message>,
) {
    let mut under_way = JoinSet::new();
    while let Some(message) = queue.recv().await {
        match message {
            Message::Flush(done) => {
                while under_way.join_next().await.is_some() {}
                // Whoever waited may have gone.
                let _ = done.send(());
            }
            Message::Settle(settlement) => {
                while under_way.try_join_next().is_some() {}
                if under_way.len() >= SETTLED_AT_ONCE {
                    under_way.join_next().await;
                }
                under_way.spawn(settle(Arc::clone(&script), manager.clone(), settlement));
            }
        }
    }
    while under_way.join_next().await.is_some() {}
}

/// Sends one, again where that may help.
async fn settle(script: Arc<Script>, mut manager: ConnectionManager, settlement: Settlement) {
    for attempt in 0..SETTLE_ATTEMPTS {
        let mut call = script.prepare_invoke();
        for key in &settlement.keys {
            call.key(key.as_str());
        }
        call.arg("settle").arg(&settlement.lease).arg(settlement.change);
        match call.invoke_async::<(i64, i64, i64)>(&mut manager).await {
            Ok(_) => break,
            Err(error) if attempt + 1 == SETTLE_ATTEMPTS => {
                tracing::warn!(
                    target: "cascade_sdk",
                    error = ?error.kind(),
                    "a call could not be settled in Redis: it is charged in full"
                );
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50 << attempt)).await,
        }
    }
}

impl fmt::Debug for RedisBudgets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBudgets").field("prefix", &self.inner.prefix).finish_non_exhaustive()
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("lease", &self.lease)
            .field("amount", &self.amount)
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_held_until_its_call_can_have_been_sent() {
        let held = |seconds| {
            let until_sent = Duration::from_secs(seconds);
            hold(&Ask { ledgers: &[], amount: Usd::ZERO, until_sent, lifetime: Duration::from_secs(900) })
        };
        assert_eq!((held(0), held(120)), (HOLD, Duration::from_secs(120)));
    }
}
