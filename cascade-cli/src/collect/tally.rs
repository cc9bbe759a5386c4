//! How the answers were graded, by tier and grader: a grader that does not fit the answers shows here, before anything is
//! fitted to it.

use super::fold::Rows;
use super::grading::Waiting;
use super::record::waits_for_grade;
use super::run::Job;
use crate::table;
use crate::words::count;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The error of an answer that does not follow the route's schema.
const INVALID_ANSWER: &str = "invalid_answer";

/// The answers of one tier that one grader graded.
#[derive(Debug, Default, PartialEq)]
struct Group {
    answers: u64,
    /// Sum of the qualities of those that have a grade, failures included.
    quality: f64,
    failed: u64,
    ungraded: u64,
    /// Answers read as JSON that are none because a code fence stands around them.
    fenced: u64,
}

impl Group {
    /// The mean quality, where there is one.
    fn mean(&self) -> Option<f64> {
        let graded = self.answers - self.ungraded;
        (graded > 0).then(|| self.quality / graded as f64)
    }
}

/// All answers to the prompts of a job that are recorded by now.
#[derive(Debug)]
pub(crate) struct Tally {
    groups: Vec<(String, String, Group)>,
}

impl Tally {
    /// Counts what the log holds of these tiers, and what the journal keeps beside it.
    pub(crate) fn new(tiers: &[String], job: &Job, rows: &Rows, kept: &Waiting) -> Self {
        let mut groups = Vec::new();
        for tier in tiers {
            let mut of_tier: BTreeMap<String, Group> = BTreeMap::new();
            for prompt in &job.prompts {
                let cell = (prompt.id.clone(), tier.clone());
                let kept = kept.get(&cell).map(|pending| &pending.result);
                let Some(result) = kept.or_else(|| rows.result(&cell)) else { continue };
                let waits = waits_for_grade(result);
                let grader = result.graded_by.as_deref().filter(|_| !waits).unwrap_or(prompt.graded_by);
                let group = of_tier.entry(short(grader).to_owned()).or_default();
                group.answers += 1;
                group.failed += u64::from(result.error.is_some());
                if waits {
                    group.ungraded += 1;
                    continue;
                }
                group.quality += result.quality.unwrap_or(0.0);
                let read_as_json = match result.error.as_deref() {
                    Some(error) => error == INVALID_ANSWER,
                    None => grader == "json_schema",
                };
                let wrong = result.quality.unwrap_or(0.0) <= 0.0;
                let fenced = result.output.as_deref().is_some_and(is_fenced);
                group.fenced += u64::from(read_as_json && wrong && fenced);
            }
            groups.extend(of_tier.into_iter().map(|(grader, group)| (tier.clone(), grader, group)));
        }
        Self { groups }
    }

    /// For people: a table, and what is odd about it.
    pub(crate) fn lines(&self, route: &str) -> Vec<String> {
        if self.groups.is_empty() {
            return Vec::new();
        }
        let mut shown = table::new(["tier", "grader", "answers", "right", "failed", "ungraded"]);
        for (tier, grader, group) in &self.groups {
            let right = group.mean().map_or_else(String::new, |mean| format!("{:.1} %", 100.0 * mean));
            let [answers, failed, ungraded] =
                [group.answers, group.failed, group.ungraded].map(|number| number.to_string());
            shown.add_row([tier.clone(), grader.clone(), answers, right, failed, ungraded]);
        }
        let mut lines = table::lines(&shown);
        for (tier, _, group) in self.groups.iter().filter(|(_, _, group)| group.fenced > 0) {
            let answers = count(usize::try_from(group.fenced).unwrap_or(usize::MAX), "answer");
            lines.push(format!("{} of `{tier}`: {}", answers, in_a_fence(route)));
        }
        lines
    }

    /// For machines.
    pub(crate) fn json(&self) -> Value {
        let groups = self.groups.iter().map(|(tier, grader, group)| {
            json!({ "tier": tier, "grader": grader, "answers": group.answers, "quality": group.mean(),
                "failed": group.failed, "ungraded": group.ungraded, "in_code_fence": group.fenced })
        });
        groups.collect()
    }
}

/// A grader's name without the rubric that judges have in theirs.
pub(crate) fn short(grader: &str) -> &str {
    grader.split(':').next().unwrap_or(grader)
}

/// True if a Markdown code fence stands around the whole of a text.
pub(crate) fn is_fenced(output: &str) -> bool {
    let text = output.trim();
    text.len() > 6 && text.starts_with("```") && text.ends_with("```")
}

/// What is wrong with answers in a fence, and what to do.
pub(crate) fn in_a_fence(route: &str) -> String {
    format!(
        "a code fence (```) stands around the JSON, so it is not read, here as in the client. Ask for bare JSON, or name the \
         schema as `answer` in [routes.{route}.request], which holds the models to it"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_stand_around_the_whole() {
        for fenced in ["```json\n{}\n```", " ```\n[1]\n```\n", "```{}```"] {
            assert!(is_fenced(fenced), "{fenced}");
        }
        for bare in ["{}", "```", "``````", "Here it is:\n```json\n{}\n```", ""] {
            assert!(!is_fenced(bare), "{bare}");
        }
    }

    #[test]
    fn a_judge_is_named_without_its_rubric() {
        assert_eq!(short("judge large: Is it: right?"), "judge large");
        assert_eq!(short("numeric"), "numeric");
    }
}
