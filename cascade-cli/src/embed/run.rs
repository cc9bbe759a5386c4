//! Asking for vectors, with as many calls at once as the provider takes.

use super::journal::{Price, Vector};
use super::logs::{Batch, LogFile, Missing};
use crate::collect::pace::Pace;
use crate::collect::run::{Fault, fault, wait_for_interrupt};
use crate::collect::spend::Ledger;
use crate::failure::Result;
use cascade_sdk::embedding::EmbeddingFailure;
use cascade_sdk::provider::{
    EmbeddingBill, EmbeddingCall, EmbeddingReply, EmbeddingServer, ProviderError, ProviderErrorKind,
};
use cascade_sdk_core::config::EmbeddingSettings;
use cascade_sdk_core::diag::Diagnostic;
use cascade_sdk_core::money::Usd;
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How often a call is sent again.
const RETRIES: u32 = 4;

/// Texts that a server refuses one by one before it is left alone, where it has taken none.
const MOST_REFUSED: usize = 5;

/// What a call came to.
struct Done {
    batch: Batch,
    /// Its number in the journal.
    call: u64,
    reserved: Usd,
    bill: EmbeddingBill,
    took: Duration,
    result: std::result::Result<EmbeddingReply, ProviderError>,
}

/// What a run came to.
#[derive(Default)]
pub(crate) struct Summary {
    pub(crate) embedded: usize,
    pub(crate) refused: usize,
    pub(crate) tokens: u64,
    /// Why no more was asked for.
    pub(crate) stopped: Option<String>,
    /// The first refusal.
    pub(crate) refusal: Option<String>,
}

/// Who is asked, and how.
pub(crate) struct Job {
    pub(crate) server: EmbeddingServer,
    pub(crate) settings: Arc<EmbeddingSettings>,
    pub(crate) pace: Arc<Pace>,
    pub(crate) concurrency: usize,
}

impl Job {
    /// Asks for all, until an interrupt, the cap, or a failure that the next call would meet as well.
    ///
    /// # Errors
    /// A journal that cannot be written.
    pub(crate) async fn run(
        &self,
        mut queue: VecDeque<Batch>,
        files: &mut [LogFile],
        ledger: &mut Ledger,
        summary: &mut Summary,
    ) -> Result<()> {
        let mut running = JoinSet::new();
        let mut interrupt = pin!(wait_for_interrupt());
        // A server that took too long for so many texts would take too long for the next ones as well.
        let mut most_texts = usize::MAX;
        loop {
            while running.len() < self.concurrency && summary.stopped.is_none() {
                let Some(mut batch) = queue.pop_front() else { break };
                if batch.len() > most_texts {
                    queue.push_front(batch.split_off(most_texts));
                }
                let reserved = most_cost(&self.settings, &batch);
                if ledger.reserve(reserved) {
                    let file = batch.first().and_then(|row| files.get_mut(row.file));
                    let journal = file.and_then(|file| file.journal.as_mut());
                    let call = journal.map_or(Ok(0), |journal| journal.ask(batch.len(), reserved))?;
                    running.spawn(self.ask(batch, call, reserved));
                    continue;
                }
                queue.push_front(batch);
                if running.is_empty() {
                    summary.stopped = Some("--max-spend has no room for more".into());
                }
                break;
            }
            tokio::select! {
                done = running.join_next() => match done {
                    None => return Ok(()),
                    Some(Ok(done)) => {
                        let texts = done.batch.len();
                        let is_late = matches!(&done.result, Err(error) if error.kind() == ProviderErrorKind::Timeout);
                        if is_late {
                            most_texts = most_texts.min(texts.div_ceil(2));
                        }
                        self.settle(done, &mut queue, files, ledger, summary)?;
                    }
                    Some(Err(error)) => return Err(Diagnostic::error("cli::internal", error.to_string()).into()),
                },
                () = &mut interrupt, if summary.stopped.is_none() => summary.stopped = Some("interrupted".into()),
            }
        }
    }

    fn ask(&self, batch: Batch, call: u64, reserved: Usd) -> impl Future<Output = Done> + Send + 'static {
        let (server, settings, pace) =
            (self.server.clone(), Arc::clone(&self.settings), Arc::clone(&self.pace));
        async move {
            pace.turn().await;
            let started = Instant::now();
            let (bill, result) = {
                let texts = texts(&batch);
                let asked = EmbeddingCall::new(&settings, &texts);
                let result = server.embed(&asked, RETRIES).await;
                (asked.bill(&result), result)
            };
            Done { batch, call, reserved, bill, took: started.elapsed(), result }
        }
    }

    /// Writes down what a call came to.
    fn settle(
        &self,
        done: Done,
        queue: &mut VecDeque<Batch>,
        files: &mut [LogFile],
        ledger: &mut Ledger,
        summary: &mut Summary,
    ) -> Result<()> {
        let Done { mut batch, call, reserved, bill, took, result } = done;
        ledger.settle(reserved, bill.cost);
        let Some(file) = batch.first().and_then(|row| files.get_mut(row.file)) else { return Ok(()) };
        file.spent = file.spent.saturating_add(bill.cost);
        let reply = match result {
            Ok(reply) => reply,
            Err(error) => {
                if let Some(journal) = &mut file.journal {
                    journal.lost(call, bill.cost, &error.to_string())?;
                }
                let refused = matches!(fault(&error), Fault::Tier);
                if refused && batch.len() > 1 {
                    // One of the texts may be what the server does not take.
                    let rest = batch.split_off(batch.len() / 2);
                    queue.push_front(rest);
                    queue.push_front(batch);
                    return Ok(());
                }
                if refused {
                    summary.refused += 1;
                    summary.refusal.get_or_insert_with(|| error.to_string());
                }
                let hopeless = summary.embedded == 0 && summary.refused >= MOST_REFUSED;
                if hopeless || !refused {
                    summary.stopped.get_or_insert_with(|| error.to_string());
                }
                return Ok(());
            }
        };
        summary.tokens += reply.tokens.unwrap_or(0);
        let costs = shares(&batch, bill.cost);
        let latency_ms = 1_000.0 * took.as_secs_f64();
        let mut vectors = Vec::new();
        for ((row, vector), cost) in batch.iter().zip(reply.vectors).zip(costs) {
            match EmbeddingFailure::of_vector(&self.settings, &vector) {
                None => {
                    let price = Price { cost, latency_ms };
                    file.take(row.row, &self.settings, &vector, price);
                    vectors.push(Vector::new(file.id(row.row), &row.text, vector, price));
                    summary.embedded += 1;
                }
                Some(EmbeddingFailure::Length { expected, found }) => {
                    summary.stopped.get_or_insert_with(|| format!(
                        "the server's vectors have {found} numbers, not {expected}: set `dimensions = {found}`, or `send_dimensions = true` for a model whose vectors can be shortened"
                    ));
                }
                Some(failure) => {
                    summary.refused += 1;
                    summary.refusal.get_or_insert_with(|| failure.to_string());
                }
            }
        }
        file.journal.as_mut().map_or(Ok(()), |journal| journal.got(call, bill.cost, vectors))
    }
}

/// The cost of a call, shared out by the bytes of its texts: servers count the tokens of all together. The parts add up exactly.
fn shares(batch: &Batch, cost: Usd) -> Vec<Usd> {
    let all: i128 = batch.iter().map(|row| row.text.len() as i128).sum::<i128>().max(1);
    let until = |bytes: i128| i64::try_from(i128::from(cost.pico()) * bytes / all).unwrap_or(i64::MAX);
    let mut before = 0;
    let part = |row: &Missing| {
        let after = before + row.text.len() as i128;
        let share = Usd::from_pico(until(after) - until(before));
        before = after;
        share
    };
    batch.iter().map(part).collect()
}

fn texts(batch: &Batch) -> Vec<&str> {
    batch.iter().map(|row| &*row.text).collect()
}

/// The most that a call for these rows can cost.
pub(crate) fn most_cost(settings: &EmbeddingSettings, batch: &Batch) -> Usd {
    EmbeddingCall::new(settings, &texts(batch)).most_cost()
}
