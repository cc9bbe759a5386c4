//! What `cascade collect` says: before, about earlier runs, and at the end.

use crate::collect::grading::spent_on_judging;
use crate::collect::journal::{Cell, Past};
use crate::collect::run::{Job, Stop, Summary};
use crate::collect::signals::spent_on_signals;
use crate::collect::spend;
use crate::collect::tally::Tally;
use crate::collect::{in_words, is_answer, replacing};
use crate::failure::{Failure, Result};
use crate::money::dollars;
use crate::terminal::Terminal;
use crate::words::{count, some_of, wrap};
use cascade_sdk::money::{MoneyError, Usd};
use cascade_sdk_core::config::Tier;
use cascade_sdk_core::diag::Diagnostic;
use serde_json::{Value, json};
use std::collections::{BTreeSet, VecDeque};
use std::path::Path;

/// What is to be asked of one tier.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) tier: &'a Tier,
    /// Fingerprint of the request.
    pub(crate) request: String,
    /// Indices of the prompts to ask, in order.
    pub(crate) queue: VecDeque<usize>,
}

/// What judging, or a signal of answers, could cost.
#[derive(Debug)]
pub(crate) struct Judging {
    /// Who judges, or what is computed.
    pub(crate) tier: String,
    pub(crate) calls: u64,
    pub(crate) most: Usd,
}

/// Says what a job would ask and what it could cost.
///
/// # Errors
/// Costs beyond the range of an amount.
pub(crate) fn dry_run(
    job: &Job,
    plans: &[Plan<'_>],
    (judging, signals): (Option<&Judging>, &[Judging]),
    past: &Past,
    cap: Option<Usd>,
    log: &Path,
    terminal: Terminal,
) -> Result<()> {
    let overflow = |error: MoneyError| {
        Failure::from(Diagnostic::error("collect::price", error.to_string()).help("check the prices"))
    };
    let mut rows = Vec::new();
    for plan in plans {
        let most = plan.queue.iter().map(|prompt| spend::most_cost(plan.tier, job.size(*prompt), 0));
        let most = most.collect::<std::result::Result<Vec<_>, _>>().and_then(Usd::sum).map_err(overflow)?;
        let input: u64 = plan.queue.iter().map(|prompt| job.size(*prompt).likely_input_tokens()).sum();
        rows.push((plan, most, input, plan.tier.max_output_tokens.is_some()));
    }
    let judged = judging.map_or(Usd::ZERO, |judging| judging.most);
    let of_signals = signals.iter().map(|signal| signal.most);
    let total = Usd::sum(rows.iter().map(|row| row.1).chain([judged]).chain(of_signals)).map_err(overflow)?;
    let bounded = rows.iter().all(|row| row.3);
    let fits = cap.is_none_or(|cap| past.spent.saturating_add(total) <= cap);
    if terminal.is_json() {
        let tier = |(plan, most, input, bounded): &(&Plan<'_>, Usd, u64, bool)| {
            json!({ "tier": plan.tier.name, "calls": plan.queue.len(), "likely_input_tokens": input,
                "most_usd": bounded.then(|| most.to_f64()) })
        };
        terminal.print_json(&json!({
            "judging": judging.map(|judging| json!({
                "tier": judging.tier, "calls": judging.calls, "most_usd": judging.most.to_f64() })),
            "signals": signals.iter().map(|signal| json!({
                "signal": signal.tier, "calls": signal.calls, "most_usd": signal.most.to_f64() })).collect::<Vec<_>>(),
            "log": log, "tiers": rows.iter().map(tier).collect::<Vec<_>>(),
            "most_usd": bounded.then(|| total.to_f64()), "spent_usd": past.spent.to_f64(),
            "fits_max_spend": fits && bounded,
        }));
        return Ok(());
    }
    let mut table = crate::table::new(["tier", "calls", "input tokens", "at most"]);
    for (plan, most, input, bounded) in &rows {
        let most = if *bounded { dollars(*most) } else { "no limit: set max_output_tokens".into() };
        table.add_row([plan.tier.name.clone(), plan.queue.len().to_string(), format!("about {input}"), most]);
    }
    if let Some(judging) = judging {
        let name = format!("{} as judge", judging.tier);
        table.add_row([name, judging.calls.to_string(), String::new(), dollars(judging.most)]);
    }
    for signal in signals {
        table.add_row([signal.tier.clone(), signal.calls.to_string(), String::new(), dollars(signal.most)]);
    }
    let mut lines = vec![
        format!("would collect into `{}`", log.display()),
        String::new(),
        table.to_string(),
        String::new(),
    ];
    if bounded {
        lines.push(format!("altogether at most {}", dollars(total)));
    }
    if past.spent > Usd::ZERO {
        lines.push(format!("spent by earlier runs of this job: {}", dollars(past.spent)));
    }
    if !fits {
        lines.push("this may not fit under --max-spend; the job would stop in time".into());
    }
    terminal.print_lines(&lines);
    Ok(())
}

/// Says what earlier runs of the job left; so many answers are not asked for again, wherever they stand.
pub(crate) fn past(past: &Past, recorded: usize, terminal: Terminal) {
    let others = past.results.keys().filter(|cell| !is_answer(cell)).count();
    let about_them = match others {
        0 => String::new(),
        others => format!(" and {others} grades or signals of them"),
    };
    if recorded + others > 0 {
        terminal.note(&format!("going on after {}{about_them}", count(recorded, "recorded answer")));
    }
    if !past.replaced.is_empty() {
        terminal.note(&format!(
            "an earlier run began to replace {}; the log keeps the old until all is there",
            replacing::names(&past.replaced)
        ));
    }
    if !past.may_have_been_charged.is_empty() {
        terminal
            .note(&format!("in flight when an earlier run ended: {}", charged(&past.may_have_been_charged)));
    }
}

fn charged<'a>(calls: impl IntoIterator<Item = &'a (Cell, Usd)>) -> String {
    let mut names = Vec::new();
    let mut most = Usd::ZERO;
    for ((id, lane), usd) in calls {
        names.push(format!("{id} on {}", in_words(lane)));
        most = most.saturating_add(*usd);
    }
    let names = some_of(names.iter().map(String::as_str));
    format!("{names}; may have been charged, at most {}, counted as spent", dollars(most))
}

/// How a run went.
#[derive(Debug)]
pub(crate) struct End<'a> {
    pub(crate) route: &'a str,
    pub(crate) log: &'a Path,
    /// What is recorded by now.
    pub(crate) tally: Tally,
    pub(crate) summary: Summary,
    /// The journal at its end.
    pub(crate) after: Past,
    /// Cells whose first call may have been charged and was lost, and that have an answer all the same.
    pub(crate) asked_again: BTreeSet<Cell>,
    /// What is still being replaced.
    pub(crate) replaced: BTreeSet<String>,
}

impl End<'_> {
    /// Says it.
    pub(crate) fn say(&self, terminal: Terminal) {
        if terminal.is_json() {
            terminal.print_json(&self.json());
            return;
        }
        let mut lines = self.tally.lines(self.route);
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.extend(self.recorded());
        lines.extend(self.missing());
        lines.extend(self.to_do());
        // Tables fit already, and their spaces count.
        let wrapped = |line: &String| if line.contains("  ") { vec![line.clone()] } else { wrap(line) };
        let lines: Vec<String> = lines.iter().flat_map(wrapped).collect();
        terminal.print_lines(&lines);
    }

    /// What there is, and what it cost.
    fn recorded(&self) -> Vec<String> {
        let summary = &self.summary;
        let failed = match summary.failed {
            0 => String::new(),
            failed => format!(", {failed} of them failures of the tier (--retry-failed asks again)"),
        };
        let part = |spent: Usd, what: &str| match spent {
            Usd::ZERO => String::new(),
            spent => format!(", {} of it for {what}", dollars(spent)),
        };
        let mut lines =
            vec![format!("{} answers recorded in `{}`{failed}", summary.recorded, self.log.display())];
        if summary.scored > 0 {
            lines.push(format!("{} signals of answers computed", summary.scored));
        }
        lines.push(format!(
            "{} spent by this job{}{}",
            dollars(self.after.spent),
            part(spent_on_judging(&self.after), "judging"),
            part(spent_on_signals(&self.after), "signals")
        ));
        lines
    }

    /// What is not there.
    fn missing(&self) -> Vec<String> {
        let summary = &self.summary;
        let mut lines = Vec::new();
        if summary.without_value > 0 {
            lines.push(format!(
                "{} signals of answers have no value and are recorded as null (--retry-failed computes them again)",
                summary.without_value
            ));
        }
        if summary.unscored > 0 {
            lines.push(format!("{} signals of answers are missing yet", summary.unscored));
        }
        if summary.ungraded > 0 {
            lines.push(format!(
                "{} answers are without a grade yet; they are kept beside the log",
                summary.ungraded
            ));
        }
        if summary.lost > 0 {
            lines.push(format!("{} calls failed without telling anything of the tier", summary.lost));
        }
        lines.extend(summary.stopped.iter().map(|(lane, stop)| stop.in_words(lane)));
        let (again, never): (Vec<_>, Vec<_>) =
            self.after.may_have_been_charged.iter().partition(|(cell, _)| self.asked_again.contains(cell));
        if !again.is_empty() {
            lines.push(format!(
                "asked again, because the answer of the first call was lost: {}",
                charged(again)
            ));
        }
        if !never.is_empty() {
            lines.push(format!("without an answer: {}", charged(never)));
        }
        if !self.replaced.is_empty() {
            lines.push(format!(
                "the log keeps what is being replaced until all is there: {}",
                replacing::names(&self.replaced)
            ));
        }
        lines
    }

    /// What to do next, where something is left.
    fn to_do(&self) -> Option<String> {
        let summary = &self.summary;
        if summary.is_complete() {
            return None;
        }
        // The same cap would stop it at the same place.
        let run = if summary.stopped.iter().any(|(_, stop)| *stop == Stop::Cap) {
            "raise --max-spend, which counts what earlier runs of the job spent, and run the command again"
        } else {
            "run the same command again"
        };
        Some(match summary.left + summary.lost + summary.unscored {
            0 => format!("{run} to finish"),
            left => format!("{left} calls are left; {run} to go on"),
        })
    }

    fn json(&self) -> Value {
        let (summary, after) = (&self.summary, &self.after);
        let charged = self.after.may_have_been_charged.iter();
        let charged: Vec<_> = charged
            .map(|((id, tier), most)| json!({ "id": id, "tier": in_words(tier), "most_usd": most.to_f64() }))
            .collect();
        let stopped = summary.stopped.iter().map(|(tier, stop)| match stop {
            Stop::Cap => json!({ "tier": in_words(tier), "reason": "max_spend" }),
            Stop::Provider(problem) => {
                json!({ "tier": in_words(tier), "reason": "provider", "problem": problem })
            }
        });
        json!({
            "route": self.route, "log": self.log, "complete": summary.is_complete(), "recorded": summary.recorded,
            "failed": summary.failed, "lost": summary.lost, "left": summary.left,
            "interrupted": summary.interrupted, "stopped": stopped.collect::<Vec<_>>(),
            "ungraded": summary.ungraded, "scored": summary.scored, "unscored": summary.unscored,
            "signals_without_value": summary.without_value, "signals_usd": spent_on_signals(after).to_f64(),
            "judging_usd": spent_on_judging(after).to_f64(), "spent_usd": after.spent.to_f64(),
            "may_have_been_charged": charged, "grades": self.tally.json(),
            "being_replaced": self.replaced.iter().map(|lane| in_words(lane)).collect::<Vec<_>>(),
        })
    }
}
