//! The tables of the report that stand on their own.

use super::chart::brief;
use super::table;
use crate::fit_report::signed;
use cascade_sdk_core::fit::analysis::break_even::BreakEven;
use cascade_sdk_core::fit::report::{FamilyReport, FitReport, StageReport};

/// Costs of single calls are tiny; per this many calls they can be read.
const CALLS: f64 = 1_000.0;

fn header<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(String::from).to_vec()
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn points(difference: f64, ends: [f64; 2]) -> String {
    with_interval(difference, ends, |value| signed(100.0 * value, 1))
}

fn with_interval(value: f64, ends: [f64; 2], shown: impl Fn(f64) -> String) -> String {
    format!("{} [{}, {}]", shown(value), shown(ends[0]), shown(ends[1]))
}

/// Every family that was tried, on held-out rows.
pub(super) fn families(report: &FitReport) -> String {
    let header = header([
        "family",
        "plan",
        "quality, % [95\u{a0}%]",
        "USD per 1,000 [95\u{a0}%]",
        "calls",
        "area (hull)",
        "keeps the constraint",
    ]);
    let rows: Vec<Vec<String>> = report.families.iter().map(family_row).collect();
    let chosen = report.families.iter().position(|family| Some(family.family) == report.selected);
    table(&header, &rows, chosen)
}

fn family_row(family: &FamilyReport) -> Vec<String> {
    let bare = |share: f64| format!("{:.1}", 100.0 * share);
    let cost = |cost: f64| brief(CALLS * cost);
    let mut row = vec![family.family.replace('_', " "), plan(family)];
    match &family.held_out {
        Some(figures) => row.extend([
            with_interval(figures.quality, figures.quality_ci, bare),
            with_interval(figures.cost_usd, figures.cost_usd_ci, cost),
            format!("{:.2}", figures.calls),
        ]),
        None => row.extend([bare(family.calibration.quality), cost(family.calibration.cost_usd), "–".into()]),
    }
    row.push(family.area_hull.map_or_else(|| "–".into(), |area| format!("{area:.4}")));
    row.push(if family.feasible { "yes" } else { "no" }.into());
    row
}

/// A plan in one line: `small → large`.
fn plan(family: &FamilyReport) -> String {
    if let Some(share) = family.mixture_share {
        let tiers = |plan: &Vec<StageReport>| {
            plan.iter().map(|stage| stage.tier.as_str()).collect::<Vec<_>>().join(" → ")
        };
        let plans = family.plans.iter().map(tiers).collect::<Vec<_>>().join(" or ");
        format!("mixture: {plans} ({} of requests)", percent(share))
    } else if family.plan.is_empty() {
        format!("router over {} plans", family.plans.len())
    } else {
        let tiers = family.plan.iter().map(|stage| stage.tier.as_str()).collect::<Vec<_>>().join(" → ");
        match family.held_out.as_ref().and_then(|held| held.abstained.zip(held.quality_answered)) {
            Some((share, quality)) => {
                format!("{tiers}, abstains {}, else {} right", percent(share), percent(quality))
            }
            None => tiers,
        }
    }
}

/// The chosen policy against always using each single tier.
pub(super) fn against(report: &FitReport) -> Option<String> {
    let rows: Vec<Vec<String>> = report
        .tiers
        .iter()
        .filter_map(|tier| {
            let held = tier.held_out?;
            let change = |saving: f64| signed(-100.0 * saving, 0);
            let cost = held.cost_saving.zip(held.cost_saving_ci).map_or_else(
                || "–".into(),
                |(saving, [low, high])| with_interval(saving, [high, low], change),
            );
            Some(vec![
                tier.name.clone(),
                percent(held.quality),
                brief(CALLS * held.cost_usd),
                points(held.quality_gain?, held.quality_gain_ci?),
                cost,
            ])
        })
        .collect();
    let header = header([
        "always",
        "quality",
        "USD per 1,000",
        "chosen policy: points [95\u{a0}%]",
        "its cost, % [95\u{a0}%]",
    ]);
    (!rows.is_empty()).then(|| table(&header, &rows, None))
}

/// The chosen policy label by label.
pub(super) fn slices(report: &FitReport) -> Option<String> {
    let header = header([
        "label",
        "rows",
        "quality",
        "USD per 1,000",
        "against the reference tier, points [95\u{a0}% for all at once]",
    ]);
    let rows: Vec<Vec<String>> = report
        .slices
        .iter()
        .map(|slice| {
            let difference = slice
                .difference_ci
                .map_or_else(|| signed(100.0 * slice.difference, 1), |ends| points(slice.difference, ends));
            vec![
                format!("{} = {}", slice.tag, slice.label),
                slice.rows.to_string(),
                percent(slice.quality),
                brief(CALLS * slice.cost_usd),
                difference,
            ]
        })
        .collect();
    (!rows.is_empty()).then(|| table(&header, &rows, None))
}

/// The break-even laws for the chosen pair (MATH.md 2.1).
pub(super) fn break_even(laws: &BreakEven) -> String {
    let [cheap, dear] = &laws.tiers;
    let yes = |holds: bool| if holds { "yes" } else { "no" }.to_owned();
    let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), brief);
    let rows = vec![
        vec![
            format!("cheaper than always `{dear}`").replace('`', ""),
            format!("{} escalate, at most {}", percent(laws.escalated), percent(laws.most_escalated)),
            yes(laws.cheaper_than_dear),
        ],
        vec![
            "better than a random mixture of both at its cost".into(),
            format!("lift {}, at least {}", number(laws.lift), number(laws.least_lift)),
            yes(laws.beats_mixture),
        ],
        vec![
            "the dear tier betters what the signal doubts".into(),
            format!("{} of answers, AUROC {:.3}", percent(laws.bettered), laws.benefit_auroc),
            yes(laws.benefit_auroc > 0.5),
        ],
        vec![
            "and worsens what the signal trusts".into(),
            format!("{} of answers, AUROC {:.3}", percent(laws.worsened), laws.harm_auroc),
            yes(laws.harm_auroc < 0.5),
        ],
        vec![
            "frontier above escalating at random".into(),
            format!("{:+.2} points per unit of escalation", 100.0 * laws.area_over_chance),
            yes(laws.area_over_chance > 0.0),
        ],
    ];
    let note = format!(
        "<p class=\"soft\">{} → {} on held-out rows. The first call costs {} of the second one.</p>",
        super::escape(cheap),
        super::escape(dear),
        percent(laws.cost_ratio)
    );
    note + &table(&header(["law", "here", "holds"]), &rows, None)
}

/// Every signal on held-out rows.
pub(super) fn signals(report: &FitReport) -> Option<String> {
    let optional = |value: Option<f64>| value.map_or_else(|| "–".into(), |value| format!("{value:.3}"));
    let rows: Vec<Vec<String>> = report
        .signals
        .iter()
        .map(|signal| {
            vec![
                signal.tier.clone(),
                signal.signal.clone(),
                format!("{:.3}", signal.auroc),
                optional(signal.benefit_auroc),
                optional(signal.harm_auroc),
                format!("{:.3}", signal.expected_calibration_error),
                format!("{:.3}", signal.brier),
                signal.rows.to_string(),
            ]
        })
        .collect();
    let header = header([
        "tier",
        "signal",
        "AUROC",
        "benefit-AUROC",
        "harm-AUROC",
        "calibration error",
        "Brier score",
        "rows",
    ]);
    (!rows.is_empty()).then(|| table(&header, &rows, None))
}
