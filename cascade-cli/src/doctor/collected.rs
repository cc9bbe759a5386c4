//! What is odd about how a log was collected: tiers that are never right, signals that are not there yet, failed calls, jobs
//! that have not ended.

use super::Advice;
use crate::collect::journal::Journal;
use crate::collect::tally::{in_a_fence, is_fenced, short};
use crate::project::Project;
use crate::words::some_of;
use cascade_sdk_core::config::Route;
use cascade_sdk_core::log::{EvalLog, LogFiles, TierColumns};
use cascade_sdk_core::name::collect_command;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Fewest rows from which it is odd that none is right.
const LEAST_ROWS: usize = 10;
/// A signal may be missing in so many of a hundred answers: some verifiers cannot tell of each.
const MISSING_PERCENT: usize = 10;

/// Looks at a route's log. `outputs` reads it again, with what the models returned; it is called only where that tells more.
pub(super) fn examine(route: &Route, log: &EvalLog, outputs: impl Fn() -> Option<EvalLog>) -> Vec<Advice> {
    let mut advice = Vec::new();
    for tier in route.tiers.iter().filter_map(|name| log.tier(name)) {
        advice.extend(never_right(route, log, tier, &outputs));
        advice.extend(failed(route, tier));
        advice.extend(missing_signals(route, tier));
    }
    advice
}

/// Rows of a tier in which it answered.
fn answered(tier: &TierColumns) -> impl Iterator<Item = usize> {
    let rows = tier.present.iter().zip(&tier.failed).enumerate();
    rows.filter(|(_, (present, failed))| **present && !**failed).map(|(row, _)| row)
}

/// A tier that one grader never calls right is more often graded by the wrong grader than wrong.
fn never_right(
    route: &Route,
    log: &EvalLog,
    tier: &TierColumns,
    outputs: &impl Fn() -> Option<EvalLog>,
) -> Vec<Advice> {
    let mut by_grader: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for row in answered(tier) {
        by_grader.entry(tier.graded_by.get(row).map_or("", short)).or_default().push(row);
    }
    let right = |row: &usize| tier.quality.get(*row).is_some_and(|quality| *quality > 0.0);
    by_grader.retain(|_, rows| rows.len() >= LEAST_ROWS && !rows.iter().any(right));
    if by_grader.is_empty() {
        return Vec::new();
    }
    let with_outputs = outputs();
    let advice = by_grader.into_iter().map(|(grader, rows)| {
        let graded = if grader.is_empty() { String::new() } else { format!(" graded {grader}") };
        let output = |row: &usize| with_outputs.as_ref()?.tier(&tier.name)?.output.get(*row)?.as_deref();
        let fenced = rows.iter().filter_map(output).filter(|output| is_fenced(output)).count();
        let why = if fenced > 0 {
            format!("in {fenced} of them {}", in_a_fence(&route.name))
        } else {
            let first = rows.first().and_then(|row| log.rows.get(*row)).map_or("", |row| &*row.id);
            format!("does the grader fit the answers? The first is that of row `{first}`")
        };
        let text = format!("`{}` is never right on {} rows{graded}; {why}", tier.name, rows.len());
        Advice { about: "quality", ok: false, text }
    });
    advice.collect()
}

fn failed(route: &Route, tier: &TierColumns) -> Option<Advice> {
    let rows: Vec<usize> =
        (0..tier.failed.len()).filter(|row| tier.failed.get(*row) == Some(&true)).collect();
    if rows.is_empty() {
        return None;
    }
    let words: BTreeSet<&str> = rows.iter().filter_map(|row| tier.error.get(*row)).collect();
    let words = some_of(words);
    let words = if words.is_empty() { words } else { format!(" ({words})") };
    let (results, count_as) = match rows.len() {
        1 => ("1 result".to_owned(), "counts"),
        more => (format!("{more} results"), "count"),
    };
    let text = format!(
        "{results} of `{}` failed{words} and {count_as} as quality 0; `{} --retry-failed` asks again",
        tier.name,
        collect_command(&route.name, "")
    );
    Some(Advice { about: "failed", ok: false, text })
}

/// Signals that the route declares for a tier and its answers do not have.
fn missing_signals(route: &Route, tier: &TierColumns) -> Vec<Advice> {
    let answers = answered(tier).count();
    let mut advice = Vec::new();
    for signal in route.signals.iter().filter(|signal| signal.covers(&tier.name) && answers > 0) {
        let has_value = |row: &usize| {
            let column = tier.signals.get(&signal.name);
            column.and_then(|column| column.value.get(*row)).is_some_and(|value| !value.is_nan())
        };
        let known = answered(tier).filter(has_value).count();
        if (answers - known) * 100 <= answers * MISSING_PERCENT {
            continue;
        }
        let text = format!(
            "signal `{}` of tier `{}` is in {known} of {answers} answers; `{}` computes it",
            signal.name,
            tier.name,
            collect_command(&route.name, "")
        );
        advice.push(Advice { about: "signal", ok: false, text });
    }
    advice
}

/// Says of each log of a route beside which the journal of a job stands that has not come to its end.
pub(crate) fn unfinished(project: &Project, route: &Route) -> Vec<String> {
    let mut logs: BTreeMap<String, PathBuf> = LogFiles::find(&project.directory, &route.log).files;
    // A job that was interrupted early has no log yet.
    let named = route.log.iter().filter(|name| !name.contains(['*', '?']));
    logs.extend(named.map(|name| (name.clone(), project.path(name))));
    let unfinished = logs.iter().filter(|(_, path)| Journal::path_for(path).exists());
    unfinished
        .map(|(name, _)| {
            format!(
                "`{name}.journal` is that of a job that is at work or was interrupted: what it has not asked, graded or \
                 scored is not in the log yet. `{}` goes on",
                collect_command(&route.name, "")
            )
        })
        .collect()
}

/// The same as advice.
pub(super) fn jobs(project: &Project, route: &Route) -> Vec<Advice> {
    let texts = unfinished(project, route).into_iter();
    texts.map(|text| Advice { about: "journal", ok: false, text }).collect()
}
