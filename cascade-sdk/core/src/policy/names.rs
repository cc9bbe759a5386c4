//! Policies hold names in their text and indices in memory.

use super::{Rules, ScoreInput, ScoreSource, codes};
use crate::document::read::{Findings, Item, Table, suggestion};

/// The names that a policy lists, in the order of their indices.
#[derive(Debug, Default)]
pub(crate) struct Names<'d> {
    pub(crate) tiers: Vec<&'d str>,
    pub(crate) signals: Vec<&'d str>,
    pub(crate) scores: Vec<&'d str>,
}

impl Names<'_> {
    pub(crate) fn tier(&self, findings: &Findings, item: &Item<'_>) -> Option<usize> {
        find(findings, item, "tier", &self.tiers)
    }

    pub(crate) fn signal(&self, findings: &Findings, item: &Item<'_>) -> Option<usize> {
        find(findings, item, "signal", &self.signals)
    }

    /// What an accept rule compares: signals and scores share one space of names.
    pub(crate) fn source(&self, findings: &Findings, item: &Item<'_>) -> Option<ScoreSource> {
        let all: Vec<_> = self.signals.iter().chain(&self.scores).copied().collect();
        let index = find(findings, item, "signal or score", &all)?;
        Some(match index.checked_sub(self.signals.len()) {
            None => ScoreSource::Signal(index),
            Some(score) => ScoreSource::Score(score),
        })
    }
}

fn find(findings: &Findings, item: &Item<'_>, what: &str, names: &[&str]) -> Option<usize> {
    let text = item.text(findings)?;
    let index = names.iter().position(|name| *name == text);
    if index.is_none() {
        let message = format!("the policy lists no {what} `{text}`");
        let error = item.error(findings, codes::UNKNOWN_NAME, message, suggestion(text, names));
        findings.push(error.help(format!("listed: {}", names.join(", "))));
    }
    index
}

/// A required list of names, each once; `None` if it is not there or not a list of strings.
pub(crate) fn read_list<'d>(table: &mut Table<'d>, key: &str, known: &[&str]) -> Option<Vec<&'d str>> {
    let findings = table.findings;
    let mut names = Vec::new();
    for item in table.required(key, known)?.list(findings)? {
        let name = item.text(findings)?;
        check_new(findings, &item, name, &names);
        names.push(name);
    }
    Some(names)
}

/// A name must not be listed already.
pub(crate) fn check_new(findings: &Findings, item: &Item<'_>, name: &str, earlier: &[&str]) {
    if earlier.contains(&name) {
        findings.push(item.error(findings, codes::DUPLICATE, format!("`{name}` is listed twice"), ""));
    }
}

/// The name of a tier; empty, which no reader accepts, for an index outside the rules.
pub(crate) fn tier(rules: &Rules, index: usize) -> &str {
    rules.tiers.get(index).map_or("", String::as_str)
}

/// The name of what an accept rule compares.
pub(crate) fn source(rules: &Rules, source: ScoreSource) -> &str {
    match source {
        ScoreSource::Signal(index) => rules.signals.get(index).map_or("", String::as_str),
        ScoreSource::Score(index) => rules.scores.get(index).map_or("", |score| score.name.as_str()),
    }
}

/// The key and the name of what a term of a score reads.
pub(crate) fn input(rules: &Rules, input: &ScoreInput) -> (&'static str, String) {
    match *input {
        ScoreInput::Signal(index) => ("signal", source(rules, ScoreSource::Signal(index)).to_owned()),
        ScoreInput::Prediction(index) => ("prediction", tier(rules, index).to_owned()),
    }
}
