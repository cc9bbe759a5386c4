//! What `cascade eval` found, as people and tools read it: figures on a log beside those that the policy promises.

use crate::money::dollars_f64;
use crate::policy_words::{Interval, amount, figure, per_1000_calls, percent};
use crate::table;
use crate::words::{count, item, wrap};
use cascade_sdk_core::fit::analysis::drift::Drift;
use cascade_sdk_core::fit::report::{AlwaysTier, HeldOut};
use cascade_sdk_core::policy::{Estimate, Policy};
use serde::Serialize;

/// What `--format json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Evaluation {
    pub(crate) route: String,
    pub(crate) family: &'static str,
    /// The policy's figures; absent where no row is graded.
    #[serde(flatten)]
    pub(crate) measured: Option<Measured>,
    /// What the policy promises beside what was measured.
    pub(crate) promises: Vec<Promised>,
    /// Whether the log looks like that of the fit; absent for the log of the fit itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) drift: Option<Drift>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) split: &'static str,
    pub(crate) rows: usize,
    /// Rows without a result or grade of some tier.
    pub(crate) skipped: usize,
    pub(crate) figures: HeldOut,
    /// The mean cost in US dollars a month and its interval, where the route says how many calls a day it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) usd_per_month: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) usd_per_month_ci: Option<[f64; 2]>,
    /// Always using each tier on the same rows, cheapest first.
    pub(crate) tiers: Vec<Always>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Always {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) figures: AlwaysTier,
}

/// A figure that the policy file promises in `[expected]`, and the same figure on the log.
#[derive(Debug, Serialize)]
pub(crate) struct Promised {
    /// What it is a figure of: `quality`, `cost_usd`, `usd_per_month`, `calls`, `abstained`, `quality_answered`, or
    /// `share.TIER`.
    of: String,
    expected: Interval,
    /// Absent where no row is graded.
    measured: Option<Interval>,
    /// True if the two 95 % intervals have no value in common.
    apart: bool,
}

impl Promised {
    fn new(of: impl Into<String>, expected: Estimate, measured: Option<Estimate>) -> Self {
        let apart =
            measured.is_some_and(|measured| measured.low > expected.high || measured.high < expected.low);
        Self { of: of.into(), expected: expected.into(), measured: measured.map(Into::into), apart }
    }
}

/// Every figure that the policy promises; `calls_per_month` where the route says how many it has.
pub(crate) fn promises(
    policy: &Policy,
    figures: Option<&HeldOut>,
    calls_per_month: Option<f64>,
) -> Vec<Promised> {
    let expected = &policy.expected;
    let measured = |read: fn(&HeldOut) -> Option<Estimate>| figures.and_then(read);
    let cost = measured(|of| Some(estimate(of.cost_usd, of.cost_usd_ci)));
    let mut promises = vec![
        Promised::new("quality", expected.quality, measured(|of| Some(estimate(of.quality, of.quality_ci)))),
        Promised::new("cost_usd", expected.cost_usd, cost),
    ];
    if let Some(calls) = calls_per_month {
        let monthly = |Estimate { value, low, high }: Estimate| Estimate {
            value: value * calls,
            low: low * calls,
            high: high * calls,
        };
        promises.push(Promised::new("usd_per_month", monthly(expected.cost_usd), cost.map(monthly)));
    }
    promises.push(Promised::new(
        "calls",
        expected.calls,
        measured(|of| Some(estimate(of.calls, of.calls_ci))),
    ));
    if let Some(abstained) = expected.abstained {
        let share = measured(|of| Some(estimate(of.abstained?, of.abstained_ci?)));
        let answered = measured(|of| Some(estimate(of.quality_answered?, of.quality_answered_ci?)));
        promises.push(Promised::new("abstained", abstained.share, share));
        promises.push(Promised::new("quality_answered", abstained.quality_answered, answered));
    }
    for (tier, share) in policy.rules.tiers.iter().zip(&expected.share) {
        let here = figures.and_then(|of| Some(estimate(*of.share.get(tier)?, *of.share_ci.get(tier)?)));
        promises.push(Promised::new(format!("share.{tier}"), *share, here));
    }
    promises
}

fn estimate(value: f64, [low, high]: [f64; 2]) -> Estimate {
    Estimate { value, low, high }
}

impl Evaluation {
    /// For people, in 80 columns.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = match &self.measured {
            Some(measured) => wrap(&format!(
                "{}: the {} policy on {} rows ({}); {} left out",
                self.route, self.family, measured.rows, measured.split, measured.skipped
            )),
            None => wrap(&format!("{}: the {} policy; no row is graded", self.route, self.family)),
        };
        if let Some(measured) = &self.measured {
            lines.push(String::new());
            lines.extend(self.promised());
            lines.push(String::new());
            lines.extend(measured.always());
        }
        if let Some(drift) = &self.drift {
            lines.push(String::new());
            lines.extend(drift_lines(drift));
        }
        lines
    }

    fn promised(&self) -> Vec<String> {
        let mut table = table::new(["", "expected [95 %]", "measured [95 %]"]);
        let mut apart = Vec::new();
        for Promised { of, expected, measured, apart: is_apart } in &self.promises {
            let (name, shown): (String, fn(&Estimate) -> String) = match of.as_str() {
                "quality" => ("quality %".into(), percent),
                "cost_usd" => ("$ per 1000 calls".into(), per_1000_calls),
                "usd_per_month" => ("$ a month".into(), amount),
                "calls" => ("calls a request".into(), figure),
                "abstained" => ("abstained %".into(), percent),
                "quality_answered" => ("quality where it answers %".into(), percent),
                share => (format!("answered by {} %", share.trim_start_matches("share.")), percent),
            };
            if *is_apart {
                apart.push(name.clone());
            }
            let measured = measured.map_or_else(|| "-".to_owned(), |measured| shown(&measured.into()));
            table.add_row([name, shown(&(*expected).into()), measured]);
        }
        let mut lines = table::lines(&table);
        if !apart.is_empty() {
            let text = "here the intervals of what the policy promises and of what was measured have nothing in common";
            lines.extend(item("not as promised: ", &format!("{}; {text}", apart.join(", "))));
        }
        lines
    }
}

impl Measured {
    fn always(&self) -> Vec<String> {
        let mut table = table::new(["always", "quality %", "$ per 1000 calls"]);
        for tier in &self.tiers {
            let quality = format!("{:.1}", 100.0 * tier.figures.quality);
            table.add_row([tier.name.clone(), quality, dollars_f64(1_000.0 * tier.figures.cost_usd)]);
        }
        table::lines(&table)
    }
}

/// The answer, then the inputs that drifted; the others are only counted.
fn drift_lines(drift: &Drift) -> Vec<String> {
    let [fit, new] = drift.rows;
    let mut lines = wrap(&format!("{fit} rows of the fit against {new} rows: {}", drift.text));
    let (drifted, quiet): (Vec<_>, Vec<_>) = drift.tests.iter().partition(|test| test.drifted);
    if !drifted.is_empty() {
        lines.push(String::new());
        let mut table = table::new(["drifted", "p (corrected)", "moved most", "stability index (by chance)"]);
        for test in drifted {
            table.add_row([
                test.name.clone(),
                format!("{:.3}", test.p_corrected),
                test.most.clone().unwrap_or_default(),
                format!("{:.2} ({:.2})", test.stability_index, test.stability_index_by_chance),
            ]);
        }
        lines.extend(table::lines(&table));
    }
    if !quiet.is_empty() {
        let names: Vec<&str> = quiet.iter().map(|test| test.name.as_str()).collect();
        lines.extend(item(
            "no drift in ",
            &format!("{}: {}", count(quiet.len(), "other test"), names.join(", ")),
        ));
    }
    for what in &drift.not_compared {
        lines.extend(item("not compared: ", what));
    }
    if !drift.calibration.is_empty() {
        lines.push(String::new());
        let mut table = table::new(["predictions of", "error at the fit", "error here", "too high by"]);
        for tier in &drift.calibration {
            let before = tier.error_at_fit.map_or_else(|| "-".to_owned(), |error| format!("{error:.3}"));
            let (error, bias) = (format!("{:.3}", tier.error), format!("{:+.3}", tier.bias));
            table.add_row([tier.tier.clone(), before, error, bias]);
        }
        lines.extend(table::lines(&table));
    }
    lines
}
