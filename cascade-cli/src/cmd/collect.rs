//! `cascade collect`.

use super::collect_providers::{DEFAULT_CONCURRENCY, Providers, lanes};
use super::collect_signals::signals_of;
use crate::cli::{Collect, Global};
use crate::collect::fold::{Recorded, Rows};
use crate::collect::grading::{self, Court, Outside, Waiting};
use crate::collect::is_answer;
use crate::collect::journal::{Cell, Journal, Past, Pending};
use crate::collect::judge::{self, Judge};
use crate::collect::lock::Lock;
use crate::collect::program::Program;
use crate::collect::progress::Progress;
use crate::collect::prompts::{self, Ask, Defaults, Prompt};
use crate::collect::record::{self, KeepTokens};
use crate::collect::replacing::Replacing;
use crate::collect::report::{self, Judging, Plan};
use crate::collect::run::{self, Job, Summary};
use crate::collect::signals::{Again, Column};
use crate::collect::spend::{self, Ledger, Size};
use crate::collect::tally::Tally;
use crate::failure::{Answer, Failure, Result};
use crate::project::Project;
use crate::terminal::Terminal;
use crate::words::{count, some_of};
use cascade_sdk::money::{MoneyError, Usd};
use cascade_sdk::{AnswerSchema, Message, Request};
use cascade_sdk_core::config::{EarlyEscalation, Route, Tier, request_fingerprint};
use cascade_sdk_core::diag::Diagnostic;
use serde_json::json;
use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Failures of programs that are shown.
pub(super) const MOST_FAILURES: usize = 5;

/// More bytes than tokens of any language have on average.
const BYTES_OF_A_TOKEN: u64 = 8;

/// Runs the command.
///
/// # Errors
/// A configuration, prompt file, log or journal that cannot be used, or a provider without its key.
pub(crate) fn run(global: &Global, args: &Collect, terminal: Terminal) -> Result<Answer> {
    let project = Project::load(global, terminal)?;
    let route = project.route(&args.route)?;
    let wanted: Vec<String> = args.replace_tier.iter().chain(&args.tiers).cloned().collect();
    let tiers = chosen_tiers(&project, route, &wanted)?;
    let cap = args.max_spend.as_deref().map(parse_cap).transpose()?;
    let log = log_path(&project, route, args)?;
    let (schema, schema_text) = project.answer_schema(route)?;
    let defaults = Defaults { grader: args.grader, samples: args.samples };
    let prompts = prompts::read(&args.prompts, defaults, |text| terminal.note(text))?;
    let keep = match route.runtime.early_escalation {
        EarlyEscalation::Fitted => KeepTokens::Whole,
        _ if args.keep_logprobs => KeepTokens::LogProbabilities,
        _ => KeepTokens::No,
    };
    let job = Job::new(prompts, route.request.clone(), schema, keep)?;
    note_like_samples(&job, terminal);
    let outside = outside(&project, args)?;
    outside.check(&job.prompts)?;
    // Before the log is read: what another job is about to write must not be missed.
    let _lock = if args.dry_run { None } else { Some(Lock::take(&log)?) };
    let rows = Rows::read(&log)?;
    let past = Journal::read(&log, &route.name)?;
    refuse_changed(&job, &rows, &past, &log)?;
    let (tier, signal) = (args.replace_tier.as_deref(), args.replace_signal.as_deref());
    let replacing = Replacing::of(route, &tiers, &past, tier, signal);
    let mut work = Work { project: &project, route, job: Arc::new(job), outside, rows, log, cap, terminal };
    if args.regrade {
        return work.regrade(&past);
    }
    let mut plans = Vec::new();
    for tier in tiers {
        let request = request_fingerprint(&tier.model, &route.request, schema_text.as_deref());
        let replaced = replacing.contains(&tier.name);
        let queue = work.queue(&past, tier, &request, replaced, args.retry_failed)?;
        plans.push(Plan { tier, request, queue });
    }
    if args.dry_run {
        let judging = work.judging_price(&plans)?;
        let again = Again { replacing: &replacing, failed: args.retry_failed };
        let signals = work.signals_price(&plans, &past, args, again)?;
        report::dry_run(&work.job, &plans, (judging.as_ref(), &signals), &past, cap, &work.log, terminal)?;
        return Ok(Answer::Yes);
    }
    let to_ask: usize = plans.iter().map(|plan| plan.queue.len()).sum();
    report::past(&past, plans.len() * work.job.prompts.len() - to_ask, terminal);
    work.collect(plans, replacing, args)
}

/// Samples of a prompt differ only where sampling is left to chance.
fn note_like_samples(job: &Job, terminal: Terminal) {
    let several = job.prompts.iter().any(|prompt| prompt.id.contains('#') && prompt.about.group.is_some());
    if several && (job.settings.temperature == Some(0.0) || job.settings.seed.is_some()) {
        terminal.note("the samples of a prompt will be alike: the route has temperature 0 or a seed");
    }
}

/// Who grades what this process cannot.
fn outside(project: &Project, args: &Collect) -> Result<Outside> {
    let timeout = Duration::from_secs_f64(args.grader_timeout_s.clamp(0.001, 86_400.0));
    let program = args.grader_command.as_deref();
    let program = program.map(|line| Program::new("--grader-command ", line, args.grader_memory_mb));
    let program = program.transpose()?;
    let judge = match (&args.judge, &args.rubric) {
        (Some(name), Some(rubric)) => {
            let tier = project.config.tier(name).ok_or_else(|| {
                Failure::usage(
                    format!("there is no tier `{name}` to judge"),
                    format!(
                        "the tiers are {}",
                        some_of(project.config.tiers.iter().map(|tier| tier.name.as_str()))
                    ),
                )
            })?;
            let text =
                std::fs::read_to_string(rubric).map_err(|error| Failure::io("read", rubric, &error))?;
            if text.trim().is_empty() {
                return Err(Failure::usage(
                    format!("the rubric `{}` is empty", rubric.display()),
                    "say what a good answer is",
                ));
            }
            Some(Judge { tier: tier.clone(), rubric: text.trim().to_owned() })
        }
        _ => None,
    };
    Ok(Outside { program, timeout, judge, concurrency: args.concurrency.unwrap_or(DEFAULT_CONCURRENCY) })
}

/// One job and what it works on.
pub(super) struct Work<'a> {
    pub(super) project: &'a Project,
    pub(super) route: &'a Route,
    pub(super) job: Arc<Job>,
    outside: Outside,
    pub(super) rows: Rows,
    pub(super) log: PathBuf,
    pub(super) cap: Option<Usd>,
    pub(super) terminal: Terminal,
}

impl Work<'_> {
    fn collect(mut self, plans: Vec<Plan<'_>>, replacing: Replacing, args: &Collect) -> Result<Answer> {
        let mut providers = Providers::default();
        let scored: Vec<&Tier> = plans.iter().map(|plan| plan.tier).collect();
        let tiers: Vec<String> = scored.iter().map(|tier| tier.name.clone()).collect();
        let lanes = lanes(self.project, plans, args.concurrency, &mut providers)?;
        // Its key is missed before any money is spent, and so is a verifier.
        let court = self.court(&mut providers, args.concurrency)?;
        let signals = signals_of(self.project, self.route, &scored, args)?;
        for signal in &signals {
            self.signal_provider(signal, &mut providers, args.concurrency)?;
        }
        let calls: usize = lanes.iter().map(|lane| lane.queue.len()).sum();
        let (mut journal, past) = Journal::open(&self.log, &self.route.name)?;
        replacing.remember(&mut journal, &past)?;
        let progress = Progress::new(calls as u64, self.terminal.is_json());
        let ledger = Ledger::new(self.cap, past.spent);
        let runtime = runtime()?;
        let (mut journal, mut summary) =
            runtime.block_on(run::run(Arc::clone(&self.job), lanes, journal, ledger, progress))?;

        // Read again: the journal on disk is what a killed run would have left, so that both end in the same log.
        let mut after = Journal::read(&self.log, &self.route.name)?;
        let mut waiting = grading::waiting(&after);
        if !summary.interrupted && !waiting.is_empty() {
            (journal, after) =
                self.grade(&runtime, &mut waiting, after, journal, court.as_ref(), &mut summary)?;
        }
        if !summary.interrupted && !signals.is_empty() {
            let again = Again { replacing: &replacing, failed: args.retry_failed };
            (journal, after) =
                self.score(&runtime, &signals, after, journal, &mut providers, args, again, &mut summary)?;
        }
        grading::apply_verdicts(&self.job, self.outside.judge.as_ref(), &after, &mut waiting);
        summary.ungraded = ungraded(&waiting);
        let complete = summary.is_complete();
        let held_back = replacing.unfinished(complete);
        let (mut folded, mut kept) = grading::share_out(&after, &waiting, &held_back);
        for column in Column::all(&self.project.config, self.route, &held_back) {
            column.merge(&self.job, &after, &self.rows, &mut folded, &mut kept);
        }
        self.rows.fold(&self.job.prompts, &folded)?;
        if !folded.is_empty() {
            self.rows.write(&self.log, &self.job.prompts)?;
        }
        journal.finish(after.spent, &held_back, &kept, complete)?;
        let end = report::End {
            route: &self.route.name,
            log: &self.log,
            tally: Tally::new(&tiers, &self.job, &self.rows, &kept),
            asked_again: self.answered_since(&after),
            summary,
            after,
            replaced: held_back,
        };
        end.say(self.terminal);
        Ok(if complete { Answer::Yes } else { Answer::No })
    }

    /// Cells that may have been charged without an answer and have one now, from another call.
    fn answered_since(&self, after: &Past) -> BTreeSet<Cell> {
        let cells = after.may_have_been_charged.iter().map(|(cell, _)| cell);
        let has_one = |cell: &&Cell| after.results.contains_key(*cell) || self.rows.result(cell).is_some();
        cells.filter(has_one).cloned().collect()
    }

    /// Lets programs and the judge grade what waits.
    fn grade(
        &self,
        runtime: &tokio::runtime::Runtime,
        waiting: &mut Waiting,
        past: Past,
        journal: Journal,
        court: Option<&Court<'_>>,
        summary: &mut Summary,
    ) -> Result<(Journal, Past)> {
        let (failed, interrupted) = runtime.block_on(grading::by_program(&self.job, &self.outside, waiting));
        let shown = failed.len().min(MOST_FAILURES);
        self.terminal.diagnostics(&failed[..shown]);
        summary.interrupted |= interrupted;
        if interrupted {
            return Ok((journal, past));
        }
        let Some(court) = court else { return Ok((journal, past)) };
        let judged = grading::by_judge(&self.job, court, waiting, &past, journal);
        let (journal, verdicts) = runtime.block_on(judged)?;
        summary.add(verdicts);
        Ok((journal, Journal::read(&self.log, &self.route.name)?))
    }

    fn court<'w>(&'w self, providers: &mut Providers, concurrency: Option<u32>) -> Result<Option<Court<'w>>> {
        let Some(judge) = &self.outside.judge else { return Ok(None) };
        let (provider, lane) = providers.get(self.project, &judge.tier.provider, concurrency)?;
        Ok(Some(Court { judge, provider, lane, cap: self.cap, quiet: self.terminal.is_json() }))
    }

    /// Most that judging all answers could cost: what the answers will be is not known, but how long they may be is.
    fn judging_price(&self, plans: &[Plan<'_>]) -> Result<Option<Judging>> {
        let Some(judge) = &self.outside.judge else { return Ok(None) };
        let overflow = |error: MoneyError| {
            Diagnostic::error("collect::price", error.to_string()).help("check the prices")
        };
        let mut judging = Judging { tier: judge.tier.name.clone(), calls: 0, most: Usd::ZERO };
        for plan in plans {
            let longest = plan.tier.max_output_tokens.unwrap_or(0).saturating_mul(BYTES_OF_A_TOKEN);
            for prompt in plan.queue.iter().filter_map(|place| self.job.prompts.get(*place)) {
                for scale in judge::scales(&prompt.grader) {
                    let bytes = judge.question(prompt, "", *scale).len() as u64 + longest;
                    let most =
                        spend::most_cost(&judge.tier, Size { bytes, messages: 1 }, 0).map_err(overflow)?;
                    judging.calls += 1;
                    judging.most = judging.most.saturating_add(most);
                }
            }
        }
        Ok(Some(judging))
    }

    /// The prompts that a tier has still to be asked.
    fn queue(
        &self,
        past: &Past,
        tier: &Tier,
        request: &str,
        replaced: bool,
        retry_failed: bool,
    ) -> Result<VecDeque<usize>> {
        let mut queue = VecDeque::new();
        let mut other_request = Vec::new();
        for (index, prompt) in self.job.prompts.iter().enumerate() {
            let cell: Cell = (prompt.id.clone(), tier.name.clone());
            let pending = past.results.get(&cell).map(|pending| Recorded::of(&pending.result));
            // Of a tier that is being replaced, only what this job asked counts.
            let recorded = || self.rows.recorded(&prompt.id, &tier.name).filter(|_| !replaced);
            match pending.or_else(recorded) {
                None => queue.push_back(index),
                Some(recorded) if recorded.request.as_deref().is_some_and(|before| before != request) => {
                    other_request.push(prompt.id.as_str());
                }
                Some(recorded) if recorded.failed && retry_failed => queue.push_back(index),
                Some(_) => {}
            }
        }
        if other_request.is_empty() {
            return Ok(queue);
        }
        Err(Diagnostic::error(
            "collect::request-changed",
            format!(
                "`{}` has answers of tier `{}` to another request (model, system prompt, sampling or schema): {}",
                self.log.display(),
                tier.name,
                some_of(other_request)
            ),
        )
        .help("thresholds fitted on mixed requests mean nothing: collect into another log with --out")
        .help(format!("if the tier changed for good, ask it everything again: --replace-tier {}", tier.name))
        .into())
    }

    fn regrade(&mut self, past: &Past) -> Result<Answer> {
        if !past.results.is_empty() || !past.replaced.is_empty() {
            let left = count(past.results.len(), "result");
            return Err(Diagnostic::error(
                "collect::unfinished",
                format!("an interrupted job left {left} that are not in the log yet"),
            )
            .help("finish it first: run the same command without --regrade")
            .into());
        }
        let schema = self.job.schema.clone();
        let mut changed = self.rows.regrade(&self.job.prompts, |output| schema.read_text(output).ok())?;
        let mut waiting = grading::again(&self.rows, &self.job);
        let mut summary = Summary::default();
        let mut judged = Usd::ZERO;
        if !waiting.is_empty() {
            let court = self.court(&mut Providers::default(), None)?;
            let runtime = runtime()?;
            let (journal, past) = Journal::open(&self.log, &self.route.name)?;
            let (journal, after) =
                self.grade(&runtime, &mut waiting, past, journal, court.as_ref(), &mut summary)?;
            grading::apply_verdicts(&self.job, self.outside.judge.as_ref(), &after, &mut waiting);
            summary.ungraded = ungraded(&waiting);
            waiting.retain(|_, pending| !record::waits_for_grade(&pending.result));
            changed += self.rows.differing(&waiting);
            self.rows.fold(&self.job.prompts, &waiting)?;
            judged = after.spent;
            // Verdicts of a run that could not grade everything are paid for: the next one finds them.
            let kept = if summary.is_complete() { Waiting::new() } else { after.results.clone() };
            journal.finish(after.spent, &BTreeSet::new(), &kept, summary.is_complete())?;
        }
        self.rows.write(&self.log, &self.job.prompts)?;
        let ungraded = summary.ungraded;
        if self.terminal.is_json() {
            let spent = judged.to_f64();
            self.terminal.print_json(
                &json!({ "log": self.log, "changed": changed, "ungraded": ungraded, "spent_usd": spent }),
            );
        } else {
            let log = self.log.display();
            self.terminal.print(&format!("{changed} answers are graded differently now in `{log}`\n"));
            if ungraded > 0 {
                self.terminal
                    .print(&format!("{ungraded} answers keep their grade: nobody graded them again\n"));
            }
        }
        Ok(if summary.is_complete() { Answer::Yes } else { Answer::No })
    }
}

fn ungraded(waiting: &Waiting) -> u64 {
    waiting.values().filter(|pending| record::waits_for_grade(&pending.result)).count() as u64
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|error| Diagnostic::error("cli::io", format!("cannot start the runtime: {error}")).into())
}

fn chosen_tiers<'a>(project: &'a Project, route: &'a Route, wanted: &[String]) -> Result<Vec<&'a Tier>> {
    if let Some(unknown) = wanted.iter().find(|name| !route.tiers.contains(name)) {
        return Err(Failure::usage(
            format!("route `{}` has no tier `{unknown}`", route.name),
            format!("its tiers are {}", some_of(route.tiers.iter().map(String::as_str))),
        ));
    }
    let names = route.tiers.iter().filter(|name| wanted.is_empty() || wanted.contains(name));
    Ok(names.filter_map(|name| project.config.tier(name)).collect())
}

pub(super) fn parse_cap(text: &str) -> Result<Usd> {
    match Usd::parse(text.trim_start_matches('$')) {
        Ok(cap) if !cap.is_negative() => Ok(cap),
        Ok(_) => Err(Failure::usage("--max-spend is negative", "give an amount in US dollars, such as 2.50")),
        Err(error) => Err(Failure::usage(
            format!("--max-spend {text}: {error}"),
            "give an amount in US dollars, such as 2.50",
        )),
    }
}

fn log_path(project: &Project, route: &Route, args: &Collect) -> Result<PathBuf> {
    let path = match (&args.out, route.log.as_slice()) {
        (Some(out), _) => out.clone(),
        (None, [one]) if !one.contains(['*', '?', '[', '{']) => project.path(one),
        (None, _) => {
            return Err(Failure::usage(
                format!("route `{}` does not name exactly one log file", route.name),
                "say where to write with --out LOG",
            ));
        }
    };
    if path.extension().is_none_or(|extension| extension != "jsonl") {
        return Err(Failure::usage(
            format!("cannot write `{}`: collected logs are JSON Lines", path.display()),
            "give a file that ends in .jsonl with --out",
        ));
    }
    Ok(path)
}

impl Job {
    fn new(
        prompts: Vec<Prompt>,
        settings: cascade_sdk_core::config::RequestSettings,
        schema: AnswerSchema,
        keep_tokens: KeepTokens,
    ) -> Result<Self> {
        let requests = prompts.iter().map(request).collect::<Result<Vec<_>>>()?;
        let prompt_hashes = prompts.iter().map(|prompt| prompt.ask.hash()).collect();
        Ok(Self { prompts, requests, prompt_hashes, settings, schema, keep_tokens })
    }
}

fn request(prompt: &Prompt) -> Result<Request> {
    let request = match &prompt.ask {
        Ask::Input(input) => Request::new(input.as_str()),
        Ask::Messages(messages) => {
            let (system, rest) = match messages.split_first() {
                Some((first, rest)) if first.role == "system" => (Some(first), rest),
                _ => (None, messages.as_slice()),
            };
            let turns = rest.iter().map(|message| match message.role.as_str() {
                "user" => Ok(Message::user(message.content.as_str())),
                "assistant" => Ok(Message::assistant(message.content.as_str())),
                _ => Err(Diagnostic::error(
                    "prompts::value",
                    format!("prompt `{}` has a system message that is not its first message", prompt.id),
                )
                .help("put one system message in front")),
            });
            let request = Request::from_messages(turns.collect::<std::result::Result<Vec<_>, Diagnostic>>()?);
            match system {
                Some(system) => request.with_system(system.content.as_str()),
                None => request,
            }
        }
    };
    Ok(request.with_id(prompt.id.as_str()))
}

/// A prompt whose text is not the one that was asked would mix the answers of two questions in one row.
fn refuse_changed(job: &Job, rows: &Rows, past: &Past, log: &Path) -> Result<()> {
    let mut changed = rows.changed(&job.prompts);
    for (prompt, hash) in job.prompts.iter().zip(&job.prompt_hashes) {
        let other = |(cell, pending): (&Cell, &Pending)| {
            cell.0 == prompt.id && pending.prompt != *hash && is_answer(cell)
        };
        let pending = past.results.iter().any(other);
        if pending && !changed.contains(&prompt.id.as_str()) {
            changed.push(&prompt.id);
        }
    }
    if changed.is_empty() {
        return Ok(());
    }
    Err(Diagnostic::error(
        "collect::prompt-changed",
        format!("{} was asked with another text in `{}`", some_of(changed), log.display()),
    )
    .help("give changed prompts new ids, or collect into another log with --out")
    .into())
}
