//! Grades from outside: answers that a program or a judge has still to grade, and what became of them.

use super::fold::Rows;
use super::is_answer;
use super::journal::{Cell, Journal, Past, Pending};
use super::judge::{self, Judge};
use super::program::Program;
use super::progress::Progress;
use super::prompts::Prompt;
use super::record::waits_for_grade;
use super::run::{self, Job, Lane, Summary};
use super::spend::Ledger;
use crate::collect::grade::Grader;
use crate::failure::Result;
use cascade_sdk::money::Usd;
use cascade_sdk::provider::Provider;
use cascade_sdk_core::config::request_fingerprint;
use cascade_sdk_core::diag::Diagnostic;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Who grades answers that this process cannot grade.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    pub(crate) program: Option<Program>,
    /// How long the program may take for an answer.
    pub(crate) timeout: Duration,
    pub(crate) judge: Option<Judge>,
    /// Programs, or calls of the judge, at once.
    pub(crate) concurrency: u32,
}

impl Outside {
    /// Checks that somebody can grade every prompt.
    ///
    /// # Errors
    /// A prompt whose grader is not given.
    pub(crate) fn check(&self, prompts: &[Prompt]) -> Result<()> {
        let first = |wanted: fn(&Grader) -> bool| prompts.iter().find(|prompt| wanted(&prompt.grader));
        let program = first(|grader| matches!(grader, Grader::Command)).filter(|_| self.program.is_none());
        let judge = first(|grader| matches!(grader, Grader::Judge | Grader::JudgePairwise));
        let judge = judge.filter(|_| self.judge.is_none());
        let (prompt, help) = match (program, judge) {
            (Some(prompt), _) => (prompt, "name it with --grader-command 'python3 grade.py'"),
            (None, Some(prompt)) => {
                (prompt, "name the tier that judges and its rubric: --judge TIER --rubric FILE")
            }
            (None, None) => return Ok(()),
        };
        let message =
            format!("prompt `{}` is graded by `{}`, which is not given", prompt.id, prompt.graded_by);
        Err(Diagnostic::error("collect::grader", message).help(help).into())
    }
}

/// Answers that wait for a grade, by cell.
pub(crate) type Waiting = BTreeMap<Cell, Pending>;

/// Those in the journal.
pub(crate) fn waiting(past: &Past) -> Waiting {
    let waits = |(cell, pending): &(&Cell, &Pending)| is_answer(cell) && waits_for_grade(&pending.result);
    past.results.iter().filter(waits).map(|(cell, pending)| (cell.clone(), pending.clone())).collect()
}

/// The text of an answer as graders see it.
fn text_of(job: &Job, pending: &Pending) -> Option<String> {
    pending.result.output.as_deref().and_then(|output| job.schema.read_text(output).ok())
}

/// Asks programs for their grades, several at once, and writes them into the answers; what could not be graded is said,
/// and whether an interrupt ended it.
pub(crate) async fn by_program(
    job: &Job,
    outside: &Outside,
    waiting: &mut Waiting,
) -> (Vec<Diagnostic>, bool) {
    let Some(program) = &outside.program else { return (Vec::new(), false) };
    let prompts: BTreeMap<&str, &Prompt> =
        job.prompts.iter().map(|prompt| (prompt.id.as_str(), prompt)).collect();
    let gate = Arc::new(Semaphore::new(outside.concurrency.max(1) as usize));
    let mut running = tokio::task::JoinSet::new();
    for (cell, pending) in waiting.iter() {
        let Some(prompt) =
            prompts.get(cell.0.as_str()).filter(|prompt| matches!(prompt.grader, Grader::Command))
        else {
            continue;
        };
        let Some(answer) = text_of(job, pending) else { continue };
        let (program, prompt, cell) = (program.clone(), (*prompt).clone(), cell.clone());
        let (gate, timeout) = (Arc::clone(&gate), outside.timeout);
        running.spawn(async move {
            let _turn = gate.acquire().await;
            let score = program.grade(&prompt, &cell.1, &answer, timeout).await;
            (cell, prompt, score)
        });
    }
    let mut failed = Vec::new();
    let interrupted = loop {
        let ended = tokio::select! {
            ended = running.join_next() => ended,
            // Programs that run are ended; what is not graded yet waits in the journal for the next run.
            () = run::wait_for_interrupt() => break true,
        };
        let Some(ended) = ended else { break false };
        let Ok((cell, prompt, score)) = ended else { continue };
        match score {
            Ok(score) => grade(waiting, &cell, score, "command"),
            Err(why) => failed.push((cell.clone(), program.failed(&prompt, &cell.1, &why))),
        }
    };
    running.shutdown().await;
    failed.sort_by(|a, b| a.0.cmp(&b.0));
    (failed.into_iter().map(|(_, finding)| finding).collect(), interrupted)
}

fn grade(waiting: &mut Waiting, cell: &Cell, score: f64, by: &str) {
    if let Some(pending) = waiting.get_mut(cell) {
        pending.result.quality = Some(score);
        pending.result.graded_by = Some(by.to_owned().into());
    }
}

/// What a judging run needs beside the answers.
pub(crate) struct Court<'a> {
    pub(crate) judge: &'a Judge,
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) lane: LaneLimits,
    pub(crate) cap: Option<Usd>,
    pub(crate) quiet: bool,
}

/// What limits the calls of a provider.
#[derive(Clone, Debug)]
pub(crate) struct LaneLimits {
    pub(crate) gate: Arc<Semaphore>,
    pub(crate) pace: Arc<super::pace::Pace>,
    pub(crate) concurrency: u32,
    /// The environment variable that holds its key.
    pub(crate) key_variable: Option<String>,
}

/// Asks the judge for the verdicts that are missing. They stand in the journal like answers.
///
/// # Errors
/// A journal that cannot be written.
pub(crate) async fn by_judge(
    job: &Job,
    court: &Court<'_>,
    waiting: &Waiting,
    past: &Past,
    mut journal: Journal,
) -> Result<(Journal, Summary)> {
    let prompts: BTreeMap<&str, &Prompt> =
        job.prompts.iter().map(|prompt| (prompt.id.as_str(), prompt)).collect();
    let answers: BTreeMap<Cell, String> =
        waiting.iter().filter_map(|(cell, pending)| Some((cell.clone(), text_of(job, pending)?))).collect();
    let mut all = Summary::default();
    let mut spent = past.spent;
    for ((tier, scale), answers) in judge::waiting(court.judge, past, &prompts, &answers) {
        let judging = court.judge.job(scale, &answers);
        let tier = court.judge.lane_tier(scale, &tier);
        let lane = Lane {
            provider: Arc::clone(&court.provider),
            gate: Arc::clone(&court.lane.gate),
            pace: Arc::clone(&court.lane.pace),
            concurrency: court.lane.concurrency,
            key_variable: court.lane.key_variable.clone(),
            request: request_fingerprint(&tier.model, &judging.settings, None),
            queue: (0..judging.prompts.len()).collect::<VecDeque<_>>(),
            tier,
            signal: None,
        };
        let progress = Progress::new(answers.len() as u64, court.quiet);
        let ledger = Ledger::new(court.cap, spent);
        let (after, summary) = run::run(Arc::new(judging), vec![lane], journal, ledger, progress).await?;
        journal = after;
        spent = spent.saturating_add(summary.spent);
        all.add(summary);
        if all.interrupted {
            break;
        }
    }
    Ok((journal, all))
}

/// Writes the verdicts that the journal has into the answers.
pub(crate) fn apply_verdicts(job: &Job, judge: Option<&Judge>, past: &Past, waiting: &mut Waiting) {
    let Some(judge) = judge else { return };
    let prompts: BTreeMap<&str, &Prompt> =
        job.prompts.iter().map(|prompt| (prompt.id.as_str(), prompt)).collect();
    let name = judge.name();
    let cells: Vec<Cell> = waiting.keys().cloned().collect();
    for cell in cells {
        let quality = waiting.get(&cell).and_then(|pending| {
            let prompt = prompts.get(cell.0.as_str())?;
            judge.verdict(past, prompt, &cell.1, &text_of(job, pending)?)
        });
        if let Some(quality) = quality {
            grade(waiting, &cell, quality, &name);
        }
    }
}

/// What goes into the log now, and what the journal keeps: answers without a grade with their verdicts so far, and all
/// of a tier that is being replaced, so that the log never mixes two models under one name.
pub(crate) fn share_out(past: &Past, graded: &Waiting, held_back: &BTreeSet<String>) -> (Waiting, Waiting) {
    let (mut folded, mut kept) = (Waiting::new(), Waiting::new());
    let mut all: Waiting = past
        .results
        .iter()
        .filter(|(cell, _)| is_answer(cell))
        .map(|(cell, pending)| (cell.clone(), pending.clone()))
        .collect();
    all.extend(graded.iter().map(|(cell, pending)| (cell.clone(), pending.clone())));
    for (cell, pending) in all {
        let held = held_back.contains(&cell.1) || waits_for_grade(&pending.result);
        if held {
            kept.insert(cell, pending)
        } else {
            folded.insert(cell, pending)
        };
    }
    let open: BTreeSet<&str> = kept.keys().map(|(id, _)| id.as_str()).collect();
    let verdicts =
        past.results.iter().filter(|(cell, _)| judge::is_verdict(cell) && open.contains(cell.0.as_str()));
    let verdicts: Waiting = verdicts.map(|(cell, pending)| (cell.clone(), pending.clone())).collect();
    kept.extend(verdicts);
    (folded, kept)
}

/// Money spent on verdicts, as far as the journal knows.
pub(crate) fn spent_on_judging(past: &Past) -> Usd {
    let verdicts = past.results.iter().filter(|(cell, _)| judge::is_verdict(cell));
    verdicts.filter_map(|(_, pending)| pending.result.cost_usd).fold(Usd::ZERO, Usd::saturating_add)
}

/// Answers in the log that outside graders should grade again, as if they had just been given.
pub(crate) fn again(rows: &Rows, job: &Job) -> Waiting {
    rows.to_grade_outside(&job.prompts, &job.prompt_hashes)
}
