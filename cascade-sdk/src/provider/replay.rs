//! Answers from an eval log, offline: the same answers, signals, costs and latencies that the policy was fitted on.

use super::{
    Capabilities, Chunk, FinishReason, ModelCall, Provider, ProviderError, ProviderErrorKind, Response,
    ResponseStream, SetupError,
};
use crate::embedding::Embedding;
use crate::money::Price;
use async_trait::async_trait;
use cascade_sdk_core::config::Api;
use cascade_sdk_core::diag::{Style, render};
use cascade_sdk_core::log::{EvalLog, Index, LogFiles, ReadOptions, TierColumns};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// Answers each call from a row of an eval log: found by the request's id if that is the name of a row, else by its
/// routing text, if that is unique in the log.
///
/// Cost, usage, signals and latency are the row's. A row that failed fails again. What the log does not have is an error that
/// ends the request, because another tier's answer would hide it.
pub struct Replay {
    log: EvalLog,
    index: Index,
}

impl Replay {
    /// Replays a log in memory, read with its outputs.
    pub fn new(log: EvalLog) -> Self {
        let index = Index::new(&log);
        Self { log, index }
    }

    /// Reads the log that some paths and globs relative to `directory` stand for. `prices` by tier give the costs that
    /// the log does not state.
    ///
    /// # Errors
    /// [`SetupError`] if a file is missing or the log cannot be used.
    pub fn open(
        directory: &Path,
        patterns: &[String],
        prices: BTreeMap<String, Price>,
    ) -> Result<Self, SetupError> {
        let options = ReadOptions { prices, keep_tokens: true, ..ReadOptions::default() };
        Self::read(directory, patterns, &options)
    }

    /// The same with options of one's own.
    pub(crate) fn read(
        directory: &Path,
        patterns: &[String],
        options: &ReadOptions,
    ) -> Result<Self, SetupError> {
        if patterns.is_empty() {
            // Other routes may have one: only a call of this one is an error.
            return Ok(Self::new(EvalLog::default()));
        }
        let reading = LogFiles::find(directory, patterns).read(options).map_err(|findings| {
            let errors = findings.iter().filter(|finding| finding.is_error());
            SetupError::new(errors.map(|error| render(error, Style::Plain)).collect::<Vec<_>>().join("\n"))
        })?;
        if reading.skipped > 0 {
            tracing::warn!(target: "cascade_sdk", rows = reading.skipped, "broken rows of the log are left out: run `cascade check`");
        }
        Ok(Self::new(reading.log))
    }

    /// The embedding of a row that is found as its answers are, what it cost, and how long it took, where the log says it.
    pub(crate) fn embedding(
        &self,
        id: Option<&str>,
        text: &str,
    ) -> Result<(Embedding, Option<Duration>), String> {
        let row = self.index.find(&self.log, id, text).map_err(|error| error.to_string())?;
        let id = self.log.rows.get(row).map_or("", |row| &row.id);
        let embeddings = self.log.embeddings.as_ref();
        let vector = embeddings.and_then(|embeddings| embeddings.get(row));
        let vector = vector.ok_or_else(|| format!("row `{id}` of the log has no `embedding`"))?;
        let cost = embeddings.and_then(|embeddings| embeddings.cost.get(row)).copied();
        let latency = embeddings.map(|embeddings| embeddings.latency_ms(row));
        let latency = latency.and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok());
        Ok((Embedding { vector: vector.to_vec(), cost }, latency))
    }

    fn row(&self, call: &ModelCall<'_>) -> Result<usize, ProviderError> {
        let request = call.request;
        self.index.find(&self.log, request.id(), &request.routing_text()).map_err(unsupported)
    }
}

#[async_trait]
impl Provider for Replay {
    fn capabilities(&self) -> Capabilities {
        Capabilities { streaming: true, ..Capabilities::of(Api::Replay) }
    }

    /// What was answered does not depend on what could be sent.
    fn check(&self, _: &ModelCall<'_>) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn complete(&self, call: &ModelCall<'_>) -> Result<Response, ProviderError> {
        let (tier, row) = self.find(call)?;
        replayed(tier, row).unwrap_or_else(|| Err(self.no_output(row)))
    }

    /// One piece for each token whose numbers the log has, then all the rest in one: a log knows what its tokens looked like, not
    /// what they said.
    async fn stream(&self, call: &ModelCall<'_>) -> Result<ResponseStream, ProviderError> {
        let (tier, row) = self.find(call)?;
        let response = replayed(tier, row).unwrap_or_else(|| Err(self.no_output(row)))?;
        let mut arrived = 0;
        let tokens = tier.tokens_of(row).unwrap_or_default().iter();
        let mut pieces: Vec<_> = tokens
            .map(|token| {
                arrived += u64::from(token.tokens);
                Ok(Chunk {
                    token_numbers: vec![*token],
                    usage: tier.usage_until(row, arrived),
                    cost: Some(tier.cost_until(row, arrived)),
                    latency: response.latency,
                    ..Chunk::default()
                })
            })
            .collect();
        pieces.push(Ok(response.into()));
        Ok(ResponseStream::of_pieces(pieces))
    }
}

impl Replay {
    /// The row of a call, and what the log has of its tier.
    fn find(&self, call: &ModelCall<'_>) -> Result<(&TierColumns, usize), ProviderError> {
        if self.log.rows.is_empty() {
            return Err(unsupported("there is no log to replay: set `log` for the route"));
        }
        let row = self.row(call)?;
        let id = self.log.rows.get(row).map_or("", |row| &row.id);
        let tier = self.log.tier(call.tier).filter(|tier| tier.present.get(row) == Some(&true));
        let Some(tier) = tier else {
            return Err(unsupported(format!("row `{id}` of the log has no result of this tier")));
        };
        Ok((tier, row))
    }

    fn no_output(&self, row: usize) -> ProviderError {
        let id = self.log.rows.get(row).map_or("", |row| &row.id);
        unsupported(format!(
            "row `{id}` of the log has no output of this tier, so it can be evaluated but not answered"
        ))
    }
}

fn unsupported(message: impl fmt::Display) -> ProviderError {
    ProviderError::new(ProviderErrorKind::Unsupported, message.to_string())
}

/// What a row says about a tier; `None` without output.
fn replayed(tier: &TierColumns, row: usize) -> Option<Result<Response, ProviderError>> {
    let cost = tier.cost.get(row).copied()?;
    let latency =
        tier.latency_ms.get(row).and_then(|ms| Duration::try_from_secs_f64(f64::from(*ms) / 1000.0).ok());
    if *tier.failed.get(row)? {
        let why = tier.error.get(row).unwrap_or("unknown");
        let kind = match why {
            "timeout" => ProviderErrorKind::Timeout,
            "too_long" => ProviderErrorKind::TooLarge,
            _ => ProviderErrorKind::Status,
        };
        let message = format!("the call failed when the log was collected: {why}");
        return Some(Err(ProviderError::new(kind, message).with_cost(cost).with_latency(latency)));
    }
    let mut response = Response::text(tier.output.get(row)?.as_deref()?);
    response.finish = FinishReason::of_log_word(tier.finish.get(row));
    response.usage = tier.usage(row);
    for (name, signal) in &tier.signals {
        if let Some(value) = signal.value.get(row).filter(|value| !value.is_nan()) {
            response.signals.insert(name.clone(), *value);
        }
        if let Some(cost) = signal.cost.get(row) {
            response.signal_costs.insert(name.clone(), *cost);
        }
    }
    response.served_model = tier.served_model.get(row).map(str::to_owned);
    response.cost = Some(cost);
    response.latency = latency;
    Some(Ok(response))
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").field("rows", &self.log.rows.len()).finish_non_exhaustive()
    }
}
