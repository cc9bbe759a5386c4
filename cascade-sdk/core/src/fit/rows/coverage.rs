//! What the rows of a log have in common, and what is left out because some lack it.

use crate::fit::rows::table::Table;
use crate::log::EvalLog;
use crate::name::{collect_command, shell_word};
use std::collections::BTreeMap;

/// In how many of the rows of a table each input of a router is known. That a held-out row has a label says nothing about
/// its outcome, so all rows count: a request that lacks what the router reads could not be decided.
#[derive(Debug)]
pub(in crate::fit) struct Coverage<'a> {
    rows: usize,
    prompts: usize,
    numbers: BTreeMap<&'a str, usize>,
    tags: BTreeMap<&'a str, usize>,
}

impl<'a> Coverage<'a> {
    pub(in crate::fit) fn of(log: &'a EvalLog, table: &Table) -> Self {
        let mut found =
            Self { rows: table.len(), prompts: 0, numbers: BTreeMap::new(), tags: BTreeMap::new() };
        for row in table.log_row.iter().map(|&row| &log.rows[row as usize]) {
            found.prompts += usize::from(row.text.is_some());
            for (name, _) in &row.features {
                *found.numbers.entry(name).or_default() += 1;
            }
            for (name, _) in &row.tags {
                *found.tags.entry(name).or_default() += 1;
            }
        }
        found
    }

    /// Whether every row has a prompt.
    pub(in crate::fit) fn has_prompts(&self) -> bool {
        self.prompts == self.rows
    }

    /// Whether every row has the number.
    pub(in crate::fit) fn has_number(&self, name: &str) -> bool {
        self.numbers.get(name) == Some(&self.rows)
    }

    /// Whether every row has the label.
    pub(in crate::fit) fn has_tag(&self, name: &str) -> bool {
        self.tags.get(name) == Some(&self.rows)
    }

    /// What routers do without because some rows lack it, in words.
    pub(in crate::fit) fn warnings(&self) -> impl Iterator<Item = String> {
        let numbers = self.numbers.iter().map(|(name, count)| (format!("feature `{name}`"), *count));
        let tags = self.tags.iter().map(|(name, count)| (format!("tag `{name}`"), *count));
        let prompts = std::iter::once(("prompt".to_owned(), self.prompts));
        let partly = move |(_, count): &(String, usize)| (1..self.rows).contains(count);
        prompts.chain(numbers).chain(tags).filter(partly).map(|(what, count)| {
            format!(
                "{} of {} rows have no {what}, so no router reads it: a request without it could not be decided",
                self.rows - count,
                self.rows
            )
        })
    }
}

/// Rows that have no result of a tier that takes part, in words.
pub(in crate::fit) fn rows_without_results(log: &EvalLog, table: &Table, route: &str) -> Vec<String> {
    let missing = |tier: &str| {
        log.tier(tier).map_or(0, |columns| columns.present.iter().filter(|present| !**present).count())
    };
    let tiers = table.tiers.iter().map(|tier| (tier.name.as_str(), missing(&tier.name)));
    tiers
        .filter(|(_, missing)| *missing > 0)
        .map(|(tier, missing)| {
            format!(
                "tier `{tier}` has no result in {missing} of {} rows: plans are compared on the rows that have all tiers; run \
                 `{}` to ask it, or record `error` where it failed",
                log.rows.len(),
                collect_command(route, &format!("--tiers {}", shell_word(tier)))
            )
        })
        .collect()
}
