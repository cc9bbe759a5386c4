//! A fit's report for people, in 80 columns.

use crate::money::dollars_f64;
use crate::policy_words;
use crate::report::{last_doubling, terminal_plot};
use crate::table;
use crate::words::{item, wrap};
use cascade_sdk_core::config::Family;
use cascade_sdk_core::decide::ShownScore;
use cascade_sdk_core::fit::report::{
    Certification, EarlyReport, FamilyReport, FitReport, GuardReport, GuardedSlice, HeldOut, MixtureReport,
    StageReport, TailReport, TrafficReport,
};
use cascade_sdk_core::policy::Cut;
use std::fmt::Write as _;

/// Costs of single calls are tiny; per this many calls they can be read.
const CALLS: f64 = 1_000.0;

/// The report as lines.
pub(crate) fn lines(report: &FitReport) -> Vec<String> {
    let rows = &report.rows;
    let mut lines = wrap(&format!(
        "{}: {} rows, {} to choose on, {} held out to report on; {} left out",
        report.route, rows.used, rows.calibration, rows.test, rows.skipped
    ));
    lines.extend(wrap(&format!("asked for: {}", policy_words::objective(&report.objective.0))));
    lines.push(String::new());
    lines.extend(families(report));
    let plot = terminal_plot::lines(report);
    if !plot.is_empty() {
        lines.push(String::new());
        lines.extend(plot);
    }
    lines.push(String::new());
    lines.extend(chosen(report));
    let against = against(report);
    if !against.is_empty() {
        lines.push(String::new());
        lines.extend(against);
    }
    lines.push(String::new());
    lines.extend(wrap(&report.verdict.text));
    lines.extend(learning_curve(report));
    for tier in &report.left_out {
        lines.extend(item(
            "left out: ",
            &format!(
                "{} has only {} rows (quality {} on them); {}",
                tier.name,
                tier.rows,
                percent(tier.quality),
                tier.text
            ),
        ));
    }
    for missing in &report.missing_signals {
        let share = percent(missing.share);
        lines.extend(item(
            "missing: ",
            &format!("{} of {} in {share} % of rows", missing.signal, missing.tier),
        ));
    }
    for warning in &report.warnings {
        lines.extend(item("warning: ", warning));
    }
    lines
}

/// The learning curve as a table.
fn learning_curve(report: &FitReport) -> Vec<String> {
    let Some(last) = report.learning_curve.last() else { return Vec::new() };
    let families: Vec<&str> = last.areas.keys().copied().collect();
    let mut header = vec!["rows".to_owned()];
    header.extend(families.iter().map(|family| family.replace('_', " ")));
    let mut areas = table::with_header(header);
    for point in &report.learning_curve {
        let area = |family: &&str| {
            point
                .areas
                .get(family)
                .map_or_else(|| "–".into(), |area| format!("{:.2}", 100.0 * area.area_hull))
        };
        areas.add_row(std::iter::once(point.rows.to_string()).chain(families.iter().map(area)));
    }
    let mut lines = vec![String::new()];
    lines.extend(wrap("Held-out area, in quality points, of fits on fewer calibration rows:"));
    lines.extend(table::lines(&areas));
    lines.extend(last_doubling(report).iter().flat_map(|sentence| wrap(sentence)));
    lines
}

/// What certifying takes, said before the fit begins.
pub(crate) fn before(certification: &Certification) -> Vec<String> {
    let mut lines = wrap(&format!(
        "{} rows in {} groups are set aside to certify with confidence {}",
        certification.rows, certification.groups, certification.confidence
    ));
    for promise in &certification.promises {
        let mut text = match promise.least_rows {
            Some(rows) if rows > certification.groups as u64 => {
                format!("{}: no policy can pass with fewer than {rows} groups, so none will", promise.promise)
            }
            Some(rows) => format!("{}: no policy can pass with fewer than {rows} groups", promise.promise),
            None => format!("{}: no policy can pass with a million groups", promise.promise),
        };
        if let Some(rows) = promise.least_rows_at_no_loss {
            let _ = write!(text, "; one exactly as good as the reference needs {rows}");
        }
        if let Some(ratio) = promise.most_to_bound {
            let _ = write!(
                text,
                "; a request to the cheapest tier can cost {ratio:.1} times the bound, and the larger that is the more \
                 rows it takes"
            );
        }
        lines.extend(item("  ", &text));
    }
    lines
}

/// What the traffic changed.
fn traffic(report: &TrafficReport) -> Vec<String> {
    let mut text = format!(
        "{} requests, rows weighed by {}: {:.0} effective rows to choose on, {:.0} held out",
        report.requests, report.strata, report.effective_calibration_rows, report.effective_test_rows
    );
    if let (Some(logged), Some(now)) = (&report.as_logged, &report.on_traffic) {
        let _ = write!(
            text,
            "; {} per 1000 calls instead of {} as logged, {} % escalated instead of {} %",
            per_calls(now.cost_usd),
            per_calls(logged.cost_usd),
            percent(now.escalated),
            percent(logged.escalated)
        );
    }
    if report.uncovered_share > 0.0 {
        let _ = write!(text, "; {} % of the requests are like no row", percent(report.uncovered_share));
    }
    if report.undecided_share > 0.0 {
        let _ = write!(text, "; {} % lack what the policy needs", percent(report.undecided_share));
    }
    item("traffic: ", &text)
}

/// Which slices stay on the reference tier.
fn guard(report: &GuardReport) -> Vec<String> {
    let points = |loss: f64| signed(100.0 * loss, 1);
    let slice = |slice: &GuardedSlice| match slice.loss_ci {
        Some(ci) => format!("{} (loses {})", slice.label, interval(&points(slice.loss), ci.map(points))),
        None => slice.label.clone(),
    };
    let named = |slices: &[GuardedSlice]| slices.iter().map(slice).collect::<Vec<_>>().join(", ");
    let kept = if report.kept.is_empty() {
        format!("no {} loses more than {} points beyond doubt", report.tag, points(report.max_loss))
    } else {
        format!("stays on {}: {} {}", report.tier, report.tag, named(&report.kept))
    };
    let mut lines = item("guard: ", &kept);
    if !report.too_few.is_empty() {
        let labels: Vec<&str> = report.too_few.iter().map(|slice| slice.label.as_str()).collect();
        let text = format!("fewer than {} rows, so not judged: {}", report.min_rows, labels.join(", "));
        lines.extend(item("guard: ", &text));
    }
    lines
}

/// Which answers are given up while they arrive, and what that does.
fn early(report: &EarlyReport) -> Vec<String> {
    let mut lines = Vec::new();
    for stage in &report.stages {
        let below: Vec<String> =
            stage.below.iter().map(|cut| format!("{} after {} tokens", ShownScore(cut.1), cut.0)).collect();
        let rule = if below.is_empty() {
            "only once they cannot be kept; no rule on their first tokens is worth it".to_owned()
        } else {
            format!("once they cannot be kept, or are below {}", below.join(", "))
        };
        lines.extend(item("early: ", &format!("answers of {} are given up {rule}", stage.tier)));
    }
    if let (Some(fitted), Some(bounds)) = (&report.fitted, &report.bounds) {
        let points = |change: f64| signed(100.0 * change, 2);
        let text = format!(
            "held out, against whole answers: {} % of these tokens spared (bounds alone {} %), {} % of the cost saved, \
             quality {} points",
            interval(&percent(fitted.tokens_spared), fitted.tokens_spared_ci.map(percent)),
            percent(bounds.tokens_spared),
            interval(&percent(fitted.cost_saving), fitted.cost_saving_ci.map(percent)),
            interval(&points(fitted.quality_change), fitted.quality_change_ci.map(points))
        );
        lines.extend(item("early: ", &text));
    }
    lines
}

/// A limit on a tail: how often the chosen policy exceeds it.
fn tail(report: &TailReport) -> Vec<String> {
    let mut text = format!(
        "{} of {}: exceeded by {} % of the rows to choose on",
        report.limit,
        report.bound,
        percent(report.calibration_share)
    );
    if let Some(share) = report.held_out_share {
        let share = match report.held_out_share_ci {
            Some(ci) => interval(&percent(share), ci.map(percent)),
            None => percent(share),
        };
        let _ = write!(text, ", by {share} % of those held out; {} % may", percent(report.share_allowed));
    }
    if let Some(quantile) = report.held_out_quantile {
        let _ = write!(text, "; held-out {:.0} % quantile {quantile}", 100.0 * (1.0 - report.share_allowed));
    }
    item("limit: ", &text)
}

/// Every family that was tried, on held-out rows.
fn families(report: &FitReport) -> Vec<String> {
    let mut table = table::new(["family", "quality % [95 %]", "$ per 1000 calls [95 %]", "calls"]);
    for family in &report.families {
        let mark = if report.selected == Some(family.family) { "* " } else { "  " };
        let name = format!("{mark}{}", family.family);
        match &family.held_out {
            Some(held) => table.add_row([
                name,
                interval(&percent(held.quality), held.quality_ci.map(percent)),
                interval(&per_calls(held.cost_usd), held.cost_usd_ci.map(per_calls)),
                format!("{:.2}", held.calls),
            ]),
            None => table.add_row([
                name,
                percent(family.calibration.quality),
                per_calls(family.calibration.cost_usd),
                String::new(),
            ]),
        };
    }
    let mut lines = table::lines(&table);
    let infeasible: Vec<&str> =
        report.families.iter().filter(|family| !family.feasible).map(|family| family.family).collect();
    if !infeasible.is_empty() {
        lines.extend(item("  ", &format!("do not keep the constraint: {}", infeasible.join(", "))));
    }
    lines
}

fn chosen(report: &FitReport) -> Vec<String> {
    let Some(selected) = report.selected else {
        // The verdict says why.
        return vec!["chosen: nothing".into()];
    };
    let mut lines = vec![format!("chosen: {selected}")];
    if let Some(family) = report.families.iter().find(|family| family.family == selected) {
        lines.extend(plans(family));
        lines.extend(family.held_out.iter().flat_map(abstentions));
        lines.extend(family.limits.iter().flat_map(tail));
    }
    lines.extend(report.mixture.iter().flat_map(mixture));
    lines.extend(report.guard.iter().flat_map(guard));
    lines.extend(report.early_escalation.iter().flat_map(early));
    lines.extend(report.traffic.iter().flat_map(traffic));
    lines.extend(item("why: ", &why(report, selected)));
    if let Some(price) = report.shadow_price.usd_per_quality {
        let text =
            format!("one more point of quality costs {} per 1000 calls here", per_calls(price / 100.0));
        lines.extend(item("shadow price: ", &text));
    }
    lines
}

/// What the mixture gains over its best part that keeps the constraint.
fn mixture(report: &MixtureReport) -> Vec<String> {
    let points = signed(100.0 * report.quality_gain, 2);
    let cost = signed(-CALLS * report.cost_saving_usd, 6);
    let text = format!(
        "against the best policy that is none, on the rows to choose on: quality {points} points, cost {cost} $ per \
         1000 calls"
    );
    item("mixture: ", &text)
}

/// How often the chosen policy answers "don't know", and how good it is where it answers.
fn abstentions(held: &HeldOut) -> Vec<String> {
    let (Some(share), Some(share_ci)) = (held.abstained, held.abstained_ci) else { return Vec::new() };
    let (Some(quality), Some(ci)) = (held.quality_answered, held.quality_answered_ci) else {
        return Vec::new();
    };
    let text = format!(
        "{} % of the held-out requests; quality where it answers: {} %",
        interval(&percent(share), share_ci.map(percent)),
        interval(&percent(quality), ci.map(percent))
    );
    item("abstains: ", &text)
}

fn plans(family: &FamilyReport) -> Vec<String> {
    if family.plans.is_empty() {
        return stages("  ", &family.plan);
    }
    let mut lines = match family.mixture_share {
        Some(share) => {
            let text = format!(
                "a mixture: the request's id draws the first plan for {} % of requests, else the second",
                percent(1.0 - share)
            );
            item("  ", &text)
        }
        None => vec!["  a router picks from the prompt, before anything is generated, one of".to_owned()],
    };
    for plan in &family.plans {
        lines.extend(stages("  - ", plan));
    }
    lines
}

fn stages(lead: &str, plan: &[StageReport]) -> Vec<String> {
    let text = plan
        .iter()
        .map(|stage| {
            let abstains = match (&stage.signal, stage.abstain_below) {
                (Some(signal), Some(below)) => format!(" (abstains if {signal} < {})", ShownScore(below)),
                _ => String::new(),
            };
            let name = format!("{}{abstains}", stage.tier);
            match (&stage.signal, stage.at_least) {
                (Some(signal), Some(cut)) if cut.0.needs_score() => {
                    format!("{name}, kept if {signal} >= {}, else", ShownScore(cut.0.0))
                }
                (_, Some(cut)) if cut.0 == Cut::ESCALATE_ALL => format!("{name}, never kept, then"),
                _ => name,
            }
        })
        .collect::<Vec<_>>()
        .join(" ");
    item(lead, &text)
}

fn why(report: &FitReport, selected: &str) -> String {
    let certification = report.certification.as_ref();
    if let Some(reference) = certification.and_then(|outlook| outlook.nothing_cheaper_than.as_deref()) {
        return format!("nothing cheaper than `{reference}` passed its test");
    }
    let Some(own) = report.selection.iter().find(|standing| standing.family == selected) else {
        return "it is the only family to choose from".into();
    };
    let best = report.selection.iter().max_by(|a, b| a.value.total_cmp(&b.value));
    match best {
        Some(best) if best.family != selected => {
            let error = own
                .standard_error
                .map_or_else(String::new, |error| format!(" (one standard error: {:.2})", 100.0 * error));
            format!(
                "{} is ahead by {:.2} points on cross-fitted rows, which is no more than noise{error}; {selected} is simpler",
                best.family,
                100.0 * own.behind
            )
        }
        _ if selected == Family::Single.name() => {
            "no other family is ahead of it on cross-fitted rows".into()
        }
        _ => "the best on cross-fitted rows, and no simpler family comes within one standard error".into(),
    }
}

/// The chosen policy against always using each single tier, on held-out rows.
fn against(report: &FitReport) -> Vec<String> {
    let mut table =
        table::new(["always", "quality %", "$ / 1000", "chosen: points [95 %]", "chosen: cost % [95 %]"]);
    for tier in &report.tiers {
        let Some(held) = &tier.held_out else { continue };
        let (Some(gain), Some(gain_ci)) = (held.quality_gain, held.quality_gain_ci) else { continue };
        let points = |gain: f64| signed(100.0 * gain, 1);
        // A saving of 30 % is a cost of -30 %.
        let cost = match (held.cost_saving, held.cost_saving_ci) {
            (Some(saving), Some([low, high])) => {
                let change = |saving: f64| signed(-100.0 * saving, 0);
                interval(&change(saving), [change(high), change(low)])
            }
            _ => String::new(),
        };
        table.add_row([
            tier.name.clone(),
            percent(held.quality),
            per_calls(held.cost_usd),
            interval(&points(gain), gain_ci.map(points)),
            cost,
        ]);
    }
    if table.is_empty() { Vec::new() } else { table::lines(&table) }
}

fn interval(value: &str, [low, high]: [String; 2]) -> String {
    format!("{value} [{low}, {high}]")
}

/// With its sign, and without a sign where it rounds to zero.
pub(crate) fn signed(value: f64, decimals: usize) -> String {
    let text = format!("{value:+.decimals$}");
    let zero = text.chars().all(|c| !c.is_ascii_digit() || c == '0');
    if zero { text.trim_start_matches(['+', '-']).to_owned() } else { text }
}

fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

fn per_calls(cost_usd: f64) -> String {
    dollars_f64(CALLS * cost_usd)
}
