//! The comparison as people and tools read it.

use super::changes::{alone, changes, tiers};
use super::rows::{HeldOut, RowChange, RowsDiff};
use super::versions::Version;
use crate::money::dollars_f64;
use crate::policy_words::{Interval, amount, figure, per_1000_calls, percent};
use crate::table;
use crate::words::{item, some_of, wrap};
use cascade_sdk_core::money::DAYS_PER_MONTH;
use cascade_sdk_core::policy::{Abstained, Estimate, Policy};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Two versions and what was found out about them.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) route: String,
    pub(crate) old: Version,
    pub(crate) new: Version,
    /// Calls a day, where the configuration says so: costs are then shown in US dollars a month as well.
    pub(crate) calls_per_day: Option<f64>,
    /// What the log says, or in words why it says nothing.
    pub(crate) rows: Result<RowsDiff, String>,
}

/// A figure of both policies.
#[derive(Debug, Serialize)]
struct Figure {
    /// What it is a figure of.
    of: String,
    old: Option<Interval>,
    new: Option<Interval>,
}

impl Comparison {
    /// True if one policy does, promises or rests on something that the other does not.
    pub(crate) fn differ(&self) -> bool {
        self.old.policy != self.new.policy
    }

    /// The mean cost in US dollars a month.
    fn monthly(&self, policy: &Policy) -> Option<Estimate> {
        let calls = self.calls_per_day? * DAYS_PER_MONTH;
        let Estimate { value, low, high } = policy.expected.cost_usd;
        Some(Estimate { value: value * calls, low: low * calls, high: high * calls })
    }

    fn changes(&self) -> Vec<String> {
        match (&self.old.policy, &self.new.policy) {
            (Some(old), Some(new)) => changes(old, new),
            (Some(_), None) => vec!["the policy is gone".into()],
            (None, Some(_)) => vec!["the policy is new".into()],
            (None, None) => Vec::new(),
        }
    }

    fn share(version: &Version, tier: &str) -> Option<Estimate> {
        let policy = version.policy.as_ref()?;
        let place = policy.rules.tiers.iter().position(|name| name == tier)?;
        policy.expected.share.get(place).copied()
    }

    /// For tools.
    pub(crate) fn json(&self) -> Value {
        let read_of = |read: fn(&Policy) -> Estimate, version: &Version| {
            version.policy.as_ref().map(|policy| read(policy).into())
        };
        let figure = |name: &str, read: fn(&Policy) -> Estimate| Figure {
            of: name.into(),
            old: read_of(read, &self.old),
            new: read_of(read, &self.new),
        };
        let expected = [
            figure("quality", |policy| policy.expected.quality),
            figure("cost_usd", |policy| policy.expected.cost_usd),
            figure("calls", |policy| policy.expected.calls),
        ];
        let abstained = |version: &Version| version.policy.as_ref().and_then(|of| of.expected.abstained);
        let optional = |name: &str, read: fn(Abstained) -> Estimate| {
            let read = |version: &Version| abstained(version).map(|of| read(of).into());
            let (old, new) = (read(&self.old), read(&self.new));
            (old.is_some() || new.is_some()).then(|| Figure { of: name.into(), old, new })
        };
        let abstentions =
            [optional("abstained", |of| of.share), optional("quality_answered", |of| of.quality_answered)];
        let monthly = self.calls_per_day.map(|_| {
            let of =
                |version: &Version| version.policy.as_ref().and_then(|of| self.monthly(of)).map(Into::into);
            Figure { of: "usd_per_month".into(), old: of(&self.old), new: of(&self.new) }
        });
        let more = monthly.into_iter().chain(abstentions.into_iter().flatten());
        let expected: Vec<Figure> = expected.into_iter().chain(more).collect();
        let shares = tiers(self.old.policy.as_ref(), self.new.policy.as_ref());
        let shares = shares.into_iter().map(|tier| Figure {
            of: tier.to_owned(),
            old: Self::share(&self.old, tier).map(Into::into),
            new: Self::share(&self.new, tier).map(Into::into),
        });
        let side = |version: &Version| json!({ "name": version.name, "family": version.policy.as_ref().map(|policy| policy.family.name()) });
        let rows = match &self.rows {
            Ok(rows) => json!(rows),
            Err(why) => json!({ "not_compared": why }),
        };
        json!({
            "route": self.route, "old": side(&self.old), "new": side(&self.new), "differ": self.differ(),
            "changes": self.changes(), "expected": expected, "share": shares.collect::<Vec<_>>(), "rows": rows,
        })
    }

    /// For people, in 80 columns.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = wrap(&format!("{}: {} -> {}", self.route, self.old.name, self.new.name));
        match (&self.old.policy, &self.new.policy) {
            (None, None) => {
                lines.push("no policy on either side".into());
                return lines;
            }
            (None, Some(only)) | (Some(only), None) => {
                lines.extend(self.changes());
                lines.extend(alone(only).iter().flat_map(|fact| item("  ", fact)));
                return lines;
            }
            (Some(old), Some(new)) if old == new => {
                lines.push("no difference".into());
                return lines;
            }
            (Some(old), Some(new)) => {
                lines.push(String::new());
                let changes = self.changes();
                if changes.is_empty() {
                    lines.push("the rules are the same; the reported figures differ".into());
                }
                lines.extend(changes.iter().flat_map(|change| item("- ", change)));
                lines.push(String::new());
                lines.extend(self.expected(old, new));
            }
        }
        lines.push(String::new());
        lines.extend(self.row_lines());
        lines
    }

    fn expected(&self, old: &Policy, new: &Policy) -> Vec<String> {
        let mut table = table::new(["on held-out rows", "old [95 %]", "new [95 %]"]);
        let mut add = |name: String,
                       before: Option<Estimate>,
                       now: Option<Estimate>,
                       shown: fn(&Estimate) -> String| {
            let shown = |estimate: Option<Estimate>| estimate.as_ref().map_or_else(|| "-".into(), shown);
            table.add_row([name, shown(before), shown(now)]);
        };
        let (before, now) = (&old.expected, &new.expected);
        add("quality %".into(), Some(before.quality), Some(now.quality), percent);
        add("$ per 1000 calls".into(), Some(before.cost_usd), Some(now.cost_usd), per_1000_calls);
        if self.calls_per_day.is_some() {
            add("$ a month".into(), self.monthly(old), self.monthly(new), amount);
        }
        add("calls a request".into(), Some(before.calls), Some(now.calls), figure);
        if before.abstained.is_some() || now.abstained.is_some() {
            let (before, now) = (before.abstained, now.abstained);
            add("abstained %".into(), before.map(|of| of.share), now.map(|of| of.share), percent);
            let answered = |of: Option<Abstained>| of.map(|of| of.quality_answered);
            add("quality where it answers %".into(), answered(before), answered(now), percent);
        }
        for tier in tiers(Some(old), Some(new)) {
            let name = format!("answered by {tier} %");
            add(name, Self::share(&self.old, tier), Self::share(&self.new, tier), percent);
        }
        table::lines(&table)
    }

    fn row_lines(&self) -> Vec<String> {
        let rows = match &self.rows {
            Err(why) => return item("rows: ", &format!("not compared, {why}")),
            Ok(rows) => rows,
        };
        let mut lines = Vec::new();
        let left_out = match rows.left_out {
            0 => String::new(),
            left_out => format!("; {left_out} more lack a tier"),
        };
        lines.extend(wrap(&format!(
            "{} of {} rows of the log change tier{left_out}",
            rows.changed.len(),
            rows.compared
        )));
        let mut moves: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for RowChange { id, from, to } in &rows.changed {
            moves.entry((from, to)).or_default().push(id);
        }
        for ((from, to), ids) in moves {
            let lead = format!("  {from} -> {to}: ");
            lines.extend(item(&lead, &format!("{} ({})", ids.len(), some_of(ids.iter().copied()))));
        }
        lines.extend(rows.held_out.iter().flat_map(held_out));
        lines
    }
}

fn held_out(held: &HeldOut) -> Vec<String> {
    let points = |value: f64| format!("{:+.1}", 100.0 * value);
    let range =
        |[low, high]: [f64; 2], shown: &dyn Fn(f64) -> String| format!("[{}, {}]", shown(low), shown(high));
    let cost = if let (Some(change), Some(ci)) = (held.cost_change, held.cost_change_ci) {
        format!("cost {} % {}", points(change), range(ci, &points))
    } else {
        let thousand = |value: f64| dollars_f64(1_000.0 * value);
        format!(
            "cost {} per 1000 calls {}",
            thousand(held.cost_change_usd),
            range(held.cost_change_usd_ci, &thousand)
        )
    };
    wrap(&format!(
        "paired on {} held-out rows of the log as it is now: quality {} points {}, {cost}",
        held.rows,
        points(held.quality_change),
        range(held.quality_change_ci, &points),
    ))
}
