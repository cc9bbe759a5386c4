//! Budgets under load: never over the limit, and nearly all of it usable.

use crate::setup::{Tier, baked, route};
use async_trait::async_trait;
use cascade_sdk::__private::v1::Builder;
use cascade_sdk::money::{Usage, Usd};
use cascade_sdk::provider::{Capabilities, ModelCall, Provider, ProviderError, Response};
use cascade_sdk::{Client, Request};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a call costs: 10 input and 10 output tokens. Its worst case, by bytes and `max_output_tokens`, is about five times
/// as much.
const COST: Usd = Usd::from_pico(20_000_000);

/// Calls that the budget pays for.
const CALLS: i64 = 500;

fn config(runtime: &str) -> String {
    format!(
        "schema = 1
[providers.local]
api = 'openai'
base_url = 'http://127.0.0.1:9/v1'
[tiers.small]
provider = 'local'
model = 's'
price = {{ input = 1.0, output = 1.0 }}
max_output_tokens = 20
[budgets.b]
limit_usd = 0.01
window = '366d'
{runtime}
[routes.one]
tiers = ['small']
budget = 'b'
"
    )
}

/// Answers after a while, and counts what it charges.
#[derive(Clone, Debug, Default)]
struct Charging {
    calls: Arc<AtomicU64>,
    slow: Duration,
}

#[async_trait]
impl Provider for Charging {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn complete(&self, _: &ModelCall<'_>) -> Result<Response, ProviderError> {
        tokio::time::sleep(self.slow).await;
        self.calls.fetch_add(1, Ordering::SeqCst);
        Ok(Response::text("a").with_usage(Usage { input_tokens: 10, output_tokens: 10, ..Usage::default() }))
    }
}

fn builder(runtime: &str) -> Builder {
    baked(Path::new("/nowhere"), &config(runtime), vec![route("one")])
}

/// Asks again while the budget is full, because reservations that are settled make room, until `patience` attempts in a
/// row found none.
async fn persist(client: Client, patience: u32) -> bool {
    let mut refused = 0;
    loop {
        match client.call::<Tier>(0, Request::new("x")).await {
            Ok(routed) => {
                assert_eq!(routed.cost(), COST);
                return true;
            }
            Err(error) => {
                assert!(error.is_budget(), "{error}");
                refused += 1;
                if refused > patience {
                    return false;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// How many of so many concurrent callers get an answer.
async fn answered(client: &Client, callers: usize, patience: u32) -> i64 {
    let tasks: Vec<_> = (0..callers).map(|_| tokio::spawn(persist(client.clone(), patience))).collect();
    let mut answered = 0;
    for task in tasks {
        answered += i64::from(task.await.unwrap());
    }
    answered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_in_process() {
    let provider = Charging { slow: Duration::from_millis(2), ..Charging::default() };
    let client = builder("").provider("local", provider.clone()).build().unwrap();
    let answered = answered(&client, 1_000, 100).await;
    assert_eq!(u64::try_from(answered).unwrap(), provider.calls.load(Ordering::SeqCst));
    assert!(answered <= CALLS, "{answered} calls were paid for");
    assert!(answered >= CALLS * 99 / 100, "only {answered} calls were paid for");
}

#[tokio::test]
async fn tenants_have_limits_of_their_own_within_a_larger_one() {
    let keys = "per = 'tenant'\nwithin = 'all'\n[budgets.all]\nlimit_usd = 0.015\nwindow = '366d'";
    let client = builder(keys).provider("local", Charging::default()).build().unwrap();
    let ask = async |tenant: &str| client.call::<Tier>(0, "x").with_tenant(tenant).await;
    let mut counts = [0; 2];
    for (tenant, count) in ["acme", "globex"].into_iter().zip(&mut counts) {
        let error = loop {
            match ask(tenant).await {
                Ok(_) => *count += 1,
                Err(error) => break error,
            }
        };
        let full = if tenant == "acme" { "budget `b`" } else { "budget `all`" };
        assert!(error.is_budget() && error.to_string().contains(full), "{error}");
        assert!(error.retry_after().is_some());
    }
    // The first tenant spends its own limit, the second what is left of the larger one; a call's worst case is the slack.
    assert!((490..=500).contains(&counts[0]) && (240..=260).contains(&counts[1]), "{counts:?}");
    let error = client.call::<Tier>(0, Request::new("x")).await.unwrap_err();
    assert!(error.is_config() && error.to_string().contains("with_tenant"), "{error}");
}

#[cfg(feature = "redis")]
mod redis {
    use super::*;
    use cascade_sdk::budget::{Ask, BudgetStore, Ledger, RedisBudgets, Reserved};
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::process::{Child, Command, Stdio};
    use tokio::sync::Notify;

    /// A Redis of the test's own on loopback, gone when dropped.
    struct Server {
        process: Child,
        url: String,
        _data: tempfile::TempDir,
    }

    impl Server {
        /// `None`, with a message, where no `redis-server` is installed.
        fn start() -> Option<Self> {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let data = tempfile::tempdir().unwrap();
            let started = Command::new("redis-server")
                .args([
                    "--port",
                    &port.to_string(),
                    "--bind",
                    "127.0.0.1",
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                ])
                .arg("--dir")
                .arg(data.path())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            let process = match started {
                Ok(process) => process,
                Err(error) => {
                    let mut out = std::io::stderr().lock();
                    let _ = writeln!(out, "skipped: no `redis-server` to test budgets against ({error})");
                    return None;
                }
            };
            let server = Self { process, url: format!("redis://127.0.0.1:{port}/0"), _data: data };
            for _ in 0..500 {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Some(server);
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            panic!("redis-server does not listen on port {port}");
        }

        fn signal(&self, signal: &str) {
            let kill = format!("kill -{signal} {}", self.process.id());
            assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }

    fn ledger(limit: Usd, window: Duration) -> Ledger {
        Ledger::new("b", limit, window)
    }

    const YEAR: Duration = Duration::from_secs(366 * 86_400);

    async fn spent(store: &RedisBudgets) -> i64 {
        let limit = Usd::parse("0.01").unwrap();
        let burn = store.burn(&ledger(limit, YEAR)).await.unwrap();
        #[expect(clippy::cast_possible_truncation, reason = "a share of a cent")]
        let pico = (burn.spent * limit.to_f64() * 1e12).round() as i64;
        pico
    }

    /// Runs in a process of its own: asks through a client whose budget lies in the Redis of the environment.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "a part of `four_processes_of_which_one_is_killed`"]
    async fn worker() {
        let Ok(url) = std::env::var("CASCADE_TEST_REDIS") else { return };
        let store = RedisBudgets::new(&url).unwrap();
        let provider = Charging { slow: Duration::from_millis(20), ..Charging::default() };
        let client = builder("").provider("local", provider).budget_store(store.clone()).build().unwrap();
        let mut out = std::io::stdout();
        writeln!(out, "\nstarted").unwrap();
        let answered = answered(&client, 250, 150).await;
        store.settled().await;
        writeln!(out, "\nanswered {answered}").unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn four_processes_of_which_one_is_killed() {
        let Some(server) = Server::start() else { return };
        let store = RedisBudgets::new(&server.url).unwrap();
        let limit = COST.pico() * CALLS;
        let worker = || {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "budgets::redis::worker", "--ignored", "--nocapture"])
                .env("CASCADE_TEST_REDIS", &server.url)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let mut workers: Vec<Child> = (0..4).map(|_| worker()).collect();
        let mut lines: Vec<_> = workers
            .iter_mut()
            .map(|worker| BufReader::new(worker.stdout.take().unwrap()).lines().map_while(Result::ok))
            .collect();
        for lines in &mut lines {
            assert!(lines.any(|line| line == "started"));
        }
        // In the middle of its calls, with some of them under way.
        while spent(&store).await < limit / 4 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        workers[0].kill().unwrap();
        workers[0].wait().unwrap();
        let mut answered = 0;
        for (worker, lines) in workers.iter_mut().zip(&mut lines).skip(1) {
            while worker.try_wait().unwrap().is_none() {
                assert!(spent(&store).await <= limit);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let line = lines.find_map(|line| line.strip_prefix("answered ")?.parse::<i64>().ok());
            answered += line.unwrap();
        }
        let spent = spent(&store).await;
        // The killed process's calls that were sent count, settled or not.
        assert!(answered * COST.pico() <= spent, "{answered} answers, {spent} pico-dollars");
        assert!(spent <= limit, "{spent} of {limit}");
        assert!(spent * 100 >= limit * 99, "only {spent} of {limit}");
    }

    #[tokio::test]
    async fn leases_run_out() {
        let Some(server) = Server::start() else { return };
        let store = RedisBudgets::new(&server.url).unwrap();
        // Amounts beyond what a Lua number holds exactly.
        let limit = Usd::from_pico(9_000_000_000_000_000_003);
        let ledgers = [ledger(limit, YEAR)];
        let lease = async |amount: i64, lifetime: u64| {
            let lifetime = Duration::from_millis(lifetime);
            let ask = Ask::new(&ledgers, Usd::from_pico(amount), lifetime);
            match store.reserve(&ask).await.unwrap() {
                Reserved::Lease(lease) => Some(lease),
                _ => None,
            }
        };
        let most = limit.pico();
        drop(lease(most, 1_000).await.unwrap());
        store.settled().await;
        lease(most - 10, 1_000).await.unwrap().settle(Usd::from_pico(most - 12));
        store.settled().await;
        assert!(lease(13, 1_000).await.is_none());
        let mut sent = lease(12, 1).await.unwrap();
        assert!(sent.mark_sent().await.unwrap());
        std::mem::forget(sent);
        tokio::time::sleep(Duration::from_millis(20)).await;
        // It ran out after it was sent: charged in full.
        assert!(lease(1, 1_000).await.is_none());
    }

    #[tokio::test]
    async fn a_window_ends_by_the_clock_of_the_server() {
        let Some(server) = Server::start() else { return };
        let store = RedisBudgets::new(&server.url).unwrap().with_prefix("short");
        let ledgers = [ledger(Usd::from_pico(10), Duration::from_secs(1))];
        let ask = Ask::new(&ledgers, Usd::from_pico(10), YEAR);
        let mut windows = 0;
        while windows < 2 {
            match store.reserve(&ask).await.unwrap() {
                Reserved::Lease(lease) => {
                    windows += 1;
                    lease.settle(Usd::from_pico(10));
                }
                Reserved::Full { retry_after, .. } => {
                    assert!(retry_after <= Duration::from_secs(1));
                    tokio::time::sleep(retry_after).await;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn without_the_server_nothing_is_sent() {
        let provider = Charging::default();
        let store = RedisBudgets::new("redis://:hunter2@127.0.0.1:1/0").unwrap();
        let client = builder("").provider("local", provider.clone()).budget_store(store).build().unwrap();
        let error = client.call::<Tier>(0, Request::new("x")).await.unwrap_err();
        assert!(error.is_budget() && error.spent() == Usd::ZERO, "{error}");
        assert!(!format!("{error} {error:?} {client:?}").contains("hunter2"));
        assert_eq!(provider.calls.load(Ordering::SeqCst), 0);
        let wrong = RedisBudgets::new("http://hunter2@nowhere").unwrap_err();
        assert!(!wrong.to_string().contains("hunter2"));
    }
    /// Answers when it is told to.
    #[derive(Clone, Debug, Default)]
    struct Waiting {
        asked: Arc<Notify>,
        go: Arc<Notify>,
        charging: Charging,
    }

    #[async_trait]
    impl Provider for Waiting {
        fn capabilities(&self) -> Capabilities {
            self.charging.capabilities()
        }

        async fn complete(&self, call: &ModelCall<'_>) -> Result<Response, ProviderError> {
            self.asked.notify_one();
            self.go.notified().await;
            self.charging.complete(call).await
        }
    }

    impl Waiting {
        /// Makes a call during which something happens, and says what the caller gets.
        async fn call_during(&self, client: &Client, meanwhile: impl FnOnce()) -> Usd {
            let (routed, ()) = tokio::join!(client.call::<Tier>(0, Request::new("x")), async {
                self.asked.notified().await;
                meanwhile();
                self.go.notify_one();
            });
            routed.unwrap().cost()
        }
    }

    #[tokio::test]
    async fn a_server_that_goes_away_in_the_middle_of_a_call_costs_no_answer() {
        let Some(server) = Server::start() else { return };
        let store = RedisBudgets::new(&server.url).unwrap();
        let provider = Waiting::default();
        let client =
            builder("").provider("local", provider.clone()).budget_store(store.clone()).build().unwrap();
        // The answer does not wait for a server that says nothing; once it speaks again the call is settled.
        assert_eq!(provider.call_during(&client, || server.signal("STOP")).await, COST);
        server.signal("CONT");
        store.settled().await;
        assert_eq!(spent(&store).await, COST.pico());
        // Nor for one that is gone, and then nothing more is sent.
        assert_eq!(provider.call_during(&client, || server.signal("KILL")).await, COST);
        let error = client.call::<Tier>(0, Request::new("x")).await.unwrap_err();
        assert!(error.is_budget() && error.spent() == Usd::ZERO, "{error}");
        assert!(error.to_string().contains("nothing was sent"), "{error}");
        assert_eq!(provider.charging.calls.load(Ordering::SeqCst), 2);
        // Settling is given up at some time.
        store.settled().await;
    }
}
