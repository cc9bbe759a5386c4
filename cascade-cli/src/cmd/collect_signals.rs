//! `cascade collect`: the signals of answers that take more than the answer.

use super::collect::{MOST_FAILURES, Work};
use super::collect_providers::{DEFAULT_CONCURRENCY, Providers};
use crate::cli::Collect;
use crate::collect::grading::LaneLimits;
use crate::collect::in_words;
use crate::collect::journal::{Cell, Journal, Past};
use crate::collect::pace::Pace;
use crate::collect::program::Program;
use crate::collect::progress::Progress;
use crate::collect::report::{Judging, Plan};
use crate::collect::run::{self, Summary};
use crate::collect::signals::{Again, ByProgram, Nobody, Signal, words_of};
use crate::collect::spend::Ledger;
use crate::failure::{Failure, Result};
use crate::project::Project;
use crate::words::some_of;
use cascade_sdk::money::Usd;
use cascade_sdk::provider::Provider;
use cascade_sdk::signal::{Scorer, Verifier};
use cascade_sdk_core::config::{Route, SignalKind, Tier, signal_fingerprint};
use cascade_sdk_core::diag::Diagnostic;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Semaphore;

impl Work<'_> {
    /// Computes the signals that answers lack.
    #[expect(clippy::too_many_arguments, reason = "a step of one job, which passes its journal on")]
    pub(super) fn score(
        &self,
        runtime: &tokio::runtime::Runtime,
        signals: &[Signal],
        past: Past,
        journal: Journal,
        providers: &mut Providers,
        args: &Collect,
        again: Again<'_>,
        summary: &mut Summary,
    ) -> Result<(Journal, Past)> {
        let mut lanes = Vec::new();
        for signal in signals {
            let mut signal = signal.clone();
            signal.gather(&self.job, &past, &self.rows, again);
            if !signal.answers.is_empty() {
                let (provider, limits) = self.signal_provider(&signal, providers, args.concurrency)?;
                lanes.push(signal.lane(provider, limits));
            }
        }
        if lanes.is_empty() {
            return Ok((journal, past));
        }
        let answers: usize = lanes.iter().map(|lane| lane.queue.len()).sum();
        let progress = Progress::new(answers as u64, self.terminal.is_json());
        let ledger = Ledger::new(self.cap, past.spent);
        let ran = run::run(Arc::clone(&self.job), lanes, journal, ledger, progress);
        let (journal, scored) = runtime.block_on(ran)?;
        let reasons = scored.reasons.iter().take(MOST_FAILURES);
        let reasons: Vec<Diagnostic> = reasons.map(|(cell, why)| no_value(cell, why)).collect();
        self.terminal.diagnostics(&reasons);
        summary.add_signals(scored);
        Ok((journal, Journal::read(&self.log, &self.route.name)?))
    }

    /// Who is asked for a signal, and what limits its calls.
    pub(super) fn signal_provider(
        &self,
        signal: &Signal,
        providers: &mut Providers,
        concurrency: Option<u32>,
    ) -> Result<(Arc<dyn Provider>, LaneLimits)> {
        if signal.takes_calls {
            let asked = signal.scorer.judge().unwrap_or(&signal.tier);
            return providers.get(self.project, &asked.provider, concurrency);
        }
        let limits = LaneLimits {
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            pace: Arc::new(Pace::new(None)),
            concurrency: concurrency.unwrap_or(DEFAULT_CONCURRENCY),
            key_variable: None,
        };
        Ok((Arc::new(Nobody), limits))
    }

    /// Most that the signals of all answers could cost: of those to come, and of recorded ones that lack them.
    pub(super) fn signals_price(
        &self,
        plans: &[Plan<'_>],
        past: &Past,
        args: &Collect,
        again: Again<'_>,
    ) -> Result<Vec<Judging>> {
        let unbounded = |why: String| {
            let help = "give every tier that is asked max_output_tokens, and check the prices";
            Failure::from(Diagnostic::error("collect::price", why).help(help))
        };
        let tiers: Vec<&Tier> = plans.iter().map(|plan| plan.tier).collect();
        let mut priced = Vec::new();
        for mut signal in signals_of(self.project, self.route, &tiers, args)? {
            signal.gather(&self.job, past, &self.rows, again);
            let mut calls = Vec::new();
            for prompt in signal.answers.keys() {
                if let Some(answered) = signal.answered(&self.job, *prompt) {
                    calls.extend(signal.scorer.worst_cases(answered).map_err(unbounded)?);
                }
            }
            let to_come = plans.iter().filter(|plan| plan.tier.name == signal.tier.name);
            for prompt in to_come.flat_map(|plan| &plan.queue) {
                calls.extend(signal.most_for_any(&self.job, *prompt).map_err(unbounded)?);
            }
            priced.push(Judging {
                tier: words_of(signal.scorer.name(), &signal.tier.name),
                calls: calls.len() as u64,
                most: Usd::sum(calls).map_err(|error| unbounded(error.to_string()))?,
            });
        }
        Ok(priced)
    }
}

/// The signals of a route that take more than the answer, for each of these tiers.
pub(super) fn signals_of(
    project: &Project,
    route: &Route,
    tiers: &[&Tier],
    args: &Collect,
) -> Result<Vec<Signal>> {
    let mut programs = BTreeMap::new();
    for given in &args.verifier {
        let known = route.signals.iter().filter(|signal| matches!(signal.kind, SignalKind::Verifier { .. }));
        let named =
            given.split_once('=').filter(|(name, _)| known.clone().any(|signal| signal.name == *name));
        let Some((name, command)) = named else {
            return Err(Failure::usage(
                format!("--verifier {given} names no signal of the kind `verifier`"),
                format!(
                    "write NAME=COMMAND; route `{}` has {}",
                    route.name,
                    some_of(known.map(|signal| signal.name.as_str()))
                ),
            ));
        };
        programs.insert(name, command);
    }
    if let Some(name) = &args.replace_signal
        && route.signal(name).is_none()
    {
        let message = format!("route `{}` has no signal `{name}`", route.name);
        return Err(Failure::usage(
            message,
            format!("declare it under [routes.{}.signals.{name}]", route.name),
        ));
    }
    let mut signals = Vec::new();
    // A run of other tiers needs no verifier of this one's answers.
    for declared in
        route.signals.iter().filter(|declared| tiers.iter().any(|tier| declared.covers(&tier.name)))
    {
        let mut verifier: Option<Arc<dyn Verifier>> = None;
        if matches!(declared.kind, SignalKind::Verifier { .. }) {
            let Some(command) = programs.get(declared.name.as_str()) else {
                let name = &declared.name;
                let message = format!("the signal `{name}` is the application's verifier, which is not here");
                return Err(Diagnostic::error("collect::verifier", message)
                    .help(format!("name a program in its place: --verifier {name}='COMMAND'"))
                    .into());
            };
            let flag = format!("--verifier {}=", declared.name);
            verifier = Some(Arc::new(ByProgram(Program::new(&flag, command, args.grader_memory_mb)?)));
        }
        let judge = declared.kind.judge().and_then(|name| project.config.tier(name));
        let scorer = Scorer::new(declared, judge, verifier).map_err(|why| {
            let help = format!("mend [routes.{}.signals.{}]", route.name, declared.name);
            Failure::from(Diagnostic::error("collect::signal", why).help(help))
        })?;
        for tier in tiers.iter().filter(|tier| declared.covers(&tier.name)) {
            signals.push(Signal {
                scorer: scorer.clone(),
                route: route.name.clone(),
                tier: (*tier).clone(),
                takes_calls: declared.kind.takes_calls(),
                fingerprint: signal_fingerprint(&project.config, declared),
                answers: BTreeMap::new(),
            });
        }
    }
    Ok(signals)
}

/// Why a signal of an answer has no value.
fn no_value((id, lane): &Cell, why: &str) -> Diagnostic {
    Diagnostic::warning("collect::signal", format!("`{}` has no value for `{id}`: {why}", in_words(lane)))
        .help("a program that broke runs again with the same command; a recorded null is computed again with --retry-failed")
}
