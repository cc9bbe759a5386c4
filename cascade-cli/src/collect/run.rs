//! Asking: every tier has a lane of its own, all lanes share one ledger and one journal.

use super::journal::{Cell, Journal};
use super::pace::Pace;
use super::progress::Progress;
use super::prompts::Prompt;
use super::record::{self, KeepTokens};
use super::signals::Signal;
use super::spend::{self, Ledger, Size};
use super::state::{LaneState, State};
pub(crate) use super::summary::{Stop, Summary};
use crate::failure::{Failure, Result};
use cascade_sdk::money::Usd;
use cascade_sdk::provider::{ModelCall, Provider, ProviderError, ProviderErrorKind, Response};
use cascade_sdk::{AnswerSchema, Request};
use cascade_sdk_core::config::{RequestSettings, Tier};
use cascade_sdk_core::diag::Diagnostic;
use cascade_sdk_core::log::{ResultRecord, RowRecord};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore, watch};

/// Calls made for one prompt before the failure is believed.
pub(super) const ATTEMPTS: u32 = 4;
/// Wait before the second attempt; doubled each time, unless the server names a time.
pub(super) const FIRST_WAIT: Duration = Duration::from_millis(500);
/// A server that asks for more patience than this is not waited for.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(120);

/// What is asked of one tier.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) tier: Tier,
    pub(crate) provider: Arc<dyn Provider>,
    /// Limits the calls in flight at the provider, which several tiers may share.
    pub(crate) gate: Arc<Semaphore>,
    /// Spaces the calls of the provider.
    pub(crate) pace: Arc<Pace>,
    /// Calls in flight of this lane.
    pub(crate) concurrency: u32,
    /// The environment variable that holds the provider's key.
    pub(crate) key_variable: Option<String>,
    /// Fingerprint of model, request and schema.
    pub(crate) request: String,
    /// Indices of the prompts to ask, in order.
    pub(crate) queue: VecDeque<usize>,
    /// Set where not answers are asked for but a signal of answers.
    pub(crate) signal: Option<Signal>,
}

impl Lane {
    /// What is wrong with the set-up; a key that is refused is named by its variable.
    fn in_words(&self, error: &ProviderError) -> String {
        match &self.key_variable {
            Some(variable) if error.kind() == ProviderErrorKind::Auth => format!("{error}, `{variable}`"),
            _ => error.to_string(),
        }
    }

    /// The most that a prompt can cost here.
    fn most(&self, job: &Job, prompt: usize, longest_output: u64) -> std::result::Result<Usd, String> {
        let sum = |calls: Vec<Usd>| Usd::sum(calls).map_err(|error| error.to_string());
        match &self.signal {
            None => spend::most_cost(&self.tier, job.size(prompt), longest_output)
                .map_err(|error| error.to_string()),
            Some(signal) => match signal.answered(job, prompt) {
                Some(answered) => sum(signal.scorer.worst_cases(answered)?),
                None => Ok(Usd::ZERO),
            },
        }
    }
}

/// What all lanes need and nobody changes.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) prompts: Vec<Prompt>,
    /// One for each prompt.
    pub(crate) requests: Vec<Request>,
    /// Hash of each prompt's text.
    pub(crate) prompt_hashes: Vec<String>,
    pub(crate) settings: RequestSettings,
    pub(crate) schema: AnswerSchema,
    pub(crate) keep_tokens: KeepTokens,
}

impl Job {
    /// What a prompt may be charged for.
    pub(crate) fn size(&self, prompt: usize) -> Size {
        let mut size = Size { bytes: 0, messages: 0 };
        let mut add = |text: &str| {
            size.bytes += text.len() as u64;
            size.messages += 1;
        };
        if let Some(system) = &self.settings.system {
            add(system);
        }
        if let Some(prompt) = self.prompts.get(prompt) {
            prompt.ask.texts().for_each(&mut add);
        }
        // Providers put the schema before the model as text.
        if let Some(words) = self.schema.in_words() {
            add(&words);
        }
        size
    }
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) job: Arc<Job>,
    lanes: Vec<Lane>,
    state: Mutex<State>,
    /// Woken when money was settled.
    settled: Notify,
    stop: watch::Sender<bool>,
}

/// A call that may be made now.
pub(super) struct Ticket {
    pub(super) prompt: usize,
    pub(super) cell: Cell,
    pub(super) reserved: Usd,
}

enum Next {
    Call(Ticket),
    /// Not before money in flight is settled.
    Wait,
    Done,
}

/// Asks everything in the lanes' queues.
///
/// # Errors
/// A journal that cannot be written; what was recorded before stands in it.
pub(crate) async fn run(
    job: Arc<Job>,
    lanes: Vec<Lane>,
    journal: Journal,
    ledger: Ledger,
    progress: Progress,
) -> Result<(Journal, Summary)> {
    let before = ledger.spent();
    let begun = Instant::now();
    let states = lanes.iter().map(|lane| LaneState::new(lane, begun)).collect();
    let state = State { journal, ledger, progress, lanes: states, summary: Summary::default(), broken: None };
    let shared = Arc::new(Shared {
        job,
        lanes,
        state: Mutex::new(state),
        settled: Notify::new(),
        stop: watch::channel(false).0,
    });
    let mut workers = tokio::task::JoinSet::new();
    for (index, lane) in shared.lanes.iter().enumerate() {
        for _ in 0..lane.concurrency {
            workers.spawn(work(Arc::clone(&shared), index));
        }
    }
    let all = async { while workers.join_next().await.is_some() {} };
    tokio::select! {
        () = all => {}
        () = interrupts(&shared) => {}
    }
    // After a second interrupt: calls in flight are given up, and stay in the journal as asked but not answered.
    workers.shutdown().await;
    let shared = Arc::into_inner(shared)
        .ok_or_else(|| Failure::from(Diagnostic::error("collect::internal", "a worker outlived the job")))?;
    let state = shared.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    state.progress.finish();
    if let Some(broken) = state.broken {
        return Err(broken);
    }
    let mut summary = state.summary;
    summary.spent = state.ledger.spent().saturating_sub(before);
    for (lane, state) in shared.lanes.iter().zip(state.lanes) {
        summary.left += state.queue.len() as u64;
        if let Some(stop) = state.stopped {
            summary.stopped.push((lane.tier.name.clone(), stop));
        }
    }
    summary.interrupted = *shared.stop.borrow();
    Ok((state.journal, summary))
}

/// Returns at the second interrupt; the first one lets the calls in flight come home.
async fn interrupts(shared: &Shared) {
    wait_for_interrupt().await;
    shared.stop.send_replace(true);
    shared.lock().progress.say("stopping after the calls in flight; interrupt again to stop at once");
    shared.settled.notify_waiters();
    wait_for_interrupt().await;
}

#[cfg(unix)]
pub(crate) async fn wait_for_interrupt() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        result = tokio::signal::ctrl_c() => if result.is_err() { std::future::pending::<()>().await },
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
pub(crate) async fn wait_for_interrupt() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn work(shared: Arc<Shared>, lane: usize) {
    while let Some(here) = shared.lanes.get(lane) {
        let Ok(permit) = here.gate.acquire().await else { return };
        if !shared.turn(here).await {
            return;
        }
        // Registered before looking, so that a settlement in between is not missed.
        let settled = shared.settled.notified();
        match shared.next(lane) {
            Next::Done => return,
            Next::Wait => {
                drop(permit);
                settled.await;
            }
            Next::Call(ticket) => shared.call(here, lane, ticket).await,
        }
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A worker that panicked left whole entries behind: the journal is written entry by entry.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next call of a lane, paid for and announced.
    fn next(&self, lane: usize) -> Next {
        let mut state = self.lock();
        let Some(prompt) = state.lanes.get(lane).and_then(|lane| lane.queue.front().copied()) else {
            return Next::Done;
        };
        let next = self.announce(&mut state, lane, prompt);
        if matches!(next, Next::Call(_))
            && let Some(lane) = state.lanes.get_mut(lane)
        {
            lane.queue.pop_front();
        }
        next
    }

    /// Reserves the money for a call and writes it into the journal.
    fn announce(&self, state: &mut State, lane: usize, prompt: usize) -> Next {
        let (Some(here), Some(own), Some(asked), Some(hash)) = (
            self.lanes.get(lane),
            state.lanes.get_mut(lane),
            self.job.prompts.get(prompt),
            self.job.prompt_hashes.get(prompt),
        ) else {
            return Next::Done;
        };
        if state.broken.is_some() || own.stopped.is_some() || *self.stop.borrow() {
            return Next::Done;
        }
        let reserved = match here.most(&self.job, prompt, own.longest_output) {
            Ok(reserved) => reserved,
            Err(error) => {
                state.stop(lane, Stop::Provider(format!("the price of a call: {error}")));
                return Next::Done;
            }
        };
        if !state.ledger.reserve(reserved) {
            if state.ledger.reserved() > Usd::ZERO {
                return Next::Wait;
            }
            state.stop(lane, Stop::Cap);
            return Next::Done;
        }
        let cell = (asked.id.clone(), here.tier.name.clone());
        let of_signal = here.signal.as_ref().and_then(|signal| signal.hash_of(&self.job, prompt));
        if let Err(failure) = state.journal.ask(&cell, of_signal.as_ref().unwrap_or(hash), reserved) {
            state.ledger.settle(reserved, Usd::ZERO);
            state.broken = Some(failure);
            return Next::Done;
        }
        Next::Call(Ticket { prompt, cell, reserved })
    }

    /// Makes a call, again where that may help, and writes down what it came to.
    async fn call(&self, lane: &Lane, index: usize, mut ticket: Ticket) {
        let prompt = ticket.prompt;
        if let Some(signal) = &lane.signal {
            return self.score(lane, index, &ticket, signal).await;
        }
        let (Some(request), Some(asked)) = (self.job.requests.get(prompt), self.job.prompts.get(prompt))
        else {
            return;
        };
        let mut wait = FIRST_WAIT;
        for attempt in 1.. {
            let call = ModelCall::new(&lane.tier, &self.job.settings, &self.job.schema, request);
            let started = Instant::now();
            let outcome = match call.check_length(&lane.tier) {
                Ok(()) => lane.provider.complete(&call).await,
                Err(error) => Err(error),
            };
            let elapsed = started.elapsed();
            let error = match outcome {
                Ok(response) => return self.answered(lane, index, &ticket, asked, &response, elapsed),
                Err(error) => error,
            };
            let pause = error.retry_after().unwrap_or(wait);
            let again = error.is_retryable() && attempt < ATTEMPTS && pause <= LONGEST_WAIT;
            self.failed(lane, index, &ticket, asked, &error, elapsed, again);
            if !again {
                return;
            }
            wait *= 2;
            self.pause(pause).await;
            self.turn(lane).await;
            ticket = loop {
                let settled = self.settled.notified();
                let next = self.announce(&mut self.lock(), index, prompt);
                match next {
                    Next::Call(ticket) => break ticket,
                    Next::Wait => settled.await,
                    Next::Done => {
                        // Given up between two attempts: the prompt stays to be asked by the next run.
                        if let Some(lane) = self.lock().lanes.get_mut(index) {
                            lane.queue.push_front(prompt);
                        }
                        return;
                    }
                }
            };
        }
    }

    /// Waits for the provider's pace; false after an interrupt.
    pub(super) async fn turn(&self, lane: &Lane) -> bool {
        let mut stop = self.stop.subscribe();
        tokio::select! {
            () = lane.pace.turn() => true,
            _ = stop.wait_for(|stop| *stop) => false,
        }
    }

    /// Sleeps, but not past an interrupt.
    pub(super) async fn pause(&self, time: Duration) {
        let mut stop = self.stop.subscribe();
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    fn answered(
        &self,
        lane: &Lane,
        index: usize,
        ticket: &Ticket,
        asked: &Prompt,
        response: &Response,
        elapsed: Duration,
    ) {
        let made = record::of_response(lane, &self.job, asked, response, elapsed);
        let mut state = self.lock();
        let (cost, result) = match made {
            Ok(made) => made,
            Err(problem) => {
                // Nothing tells what it cost, so the most that it can have cost is counted.
                self.give_up(&mut state, index, ticket, ticket.reserved, &problem);
                return;
            }
        };
        state.ledger.settle(ticket.reserved, cost);
        if let Some(own) = state.lanes.get_mut(index) {
            own.failures_in_a_row = 0;
            own.attempts_in_a_row = 0;
            own.longest_output = own.longest_output.max(result.output_tokens.unwrap_or(0));
        }
        self.write_result(&mut state, index, ticket, cost, result);
    }

    #[expect(clippy::too_many_arguments, reason = "one place that knows how a call ended")]
    fn failed(
        &self,
        lane: &Lane,
        index: usize,
        ticket: &Ticket,
        asked: &Prompt,
        error: &ProviderError,
        elapsed: Duration,
        again: bool,
    ) {
        let cost = if error.may_have_been_charged() { ticket.reserved } else { Usd::ZERO };
        let mut state = self.lock();
        if error.is_retryable() {
            state.count_attempt(index, error);
        }
        if again {
            self.lose(&mut state, ticket, cost, error.log_word());
            return;
        }
        match fault(error) {
            Fault::Tier => {
                state.ledger.settle(ticket.reserved, cost);
                let result = record::of_failure(lane, asked, error, cost, elapsed);
                let suspicious = error.kind() == ProviderErrorKind::Status;
                self.write_result(&mut state, index, ticket, cost, result);
                state.count_failure(index, suspicious, error);
            }
            Fault::Server => {
                state.summary.lost += 1;
                state.ended(index);
                self.lose(&mut state, ticket, cost, error.log_word());
                state.count_failure(index, true, error);
            }
            Fault::Setup => self.give_up(&mut state, index, ticket, cost, &lane.in_words(error)),
        }
    }

    fn write_result(
        &self,
        state: &mut State,
        index: usize,
        ticket: &Ticket,
        cost: Usd,
        result: ResultRecord<'static>,
    ) {
        let hash = self.job.prompt_hashes.get(ticket.prompt).map_or("", String::as_str);
        let failed = result.error.is_some();
        let (id, tier) = ticket.cell.clone();
        let mut row = RowRecord::new(id);
        row.results.insert(tier.into(), result);
        if let Err(failure) = state.journal.got(&ticket.cell, hash, cost, &row) {
            state.broken = Some(failure);
        }
        state.summary.recorded += 1;
        state.summary.failed += u64::from(failed);
        state.ended(index);
        self.settle(state);
    }

    pub(super) fn lose(&self, state: &mut State, ticket: &Ticket, cost: Usd, error: &str) {
        state.ledger.settle(ticket.reserved, cost);
        if let Err(failure) = state.journal.lost(&ticket.cell, cost, error) {
            state.broken = Some(failure);
        }
        self.settle(state);
    }

    /// Stops a lane: asking it more prompts would only cost more.
    pub(super) fn give_up(&self, state: &mut State, index: usize, ticket: &Ticket, cost: Usd, problem: &str) {
        state.ledger.settle(ticket.reserved, cost);
        if let Err(failure) = state.journal.lost(&ticket.cell, cost, "stopped") {
            state.broken = Some(failure);
        }
        state.summary.lost += 1;
        state.ended(index);
        state.stop(index, Stop::Provider(problem.to_owned()));
        self.settle(state);
    }

    pub(super) fn settle(&self, state: &mut State) {
        let standing = state.standing();
        state.progress.step(standing);
        self.settled.notify_waiters();
    }
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The tier's: it counts as its answer to this prompt.
    Tier,
    /// The server's at the moment: the prompt is asked again by the next run.
    Server,
    /// The set-up's: no prompt would be answered.
    Setup,
}

pub(crate) fn fault(error: &ProviderError) -> Fault {
    match error.kind() {
        _ if error.is_evidence() => Fault::Tier,
        ProviderErrorKind::Status if error.status() == Some(404) => Fault::Setup,
        ProviderErrorKind::Auth | ProviderErrorKind::Unsupported => Fault::Setup,
        _ => Fault::Server,
    }
}
