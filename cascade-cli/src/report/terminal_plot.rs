//! The cost-quality plane in a few lines of a terminal.

use super::chart::Scale;
use super::pictures::Bound;
use crate::money::dollars_f64;
use cascade_sdk_core::fit::report::FitReport;

const COLUMNS: usize = 58;
const ROWS: usize = 11;

/// Costs of single calls are tiny; per this many calls they can be read.
const CALLS: f64 = 1_000.0;

/// Letters name at most this many tiers.
const MOST_TIERS: usize = 26;

/// The plane: single tiers as letters, the chosen family's held-out curve as dots, the chosen policy as an asterisk, the
/// objective's bound as a line.
/// Empty where nothing was held out or there is nothing to see.
pub(crate) fn lines(report: &FitReport) -> Vec<String> {
    let singles: Vec<(char, &str, (f64, f64))> = ('a'..='z')
        .zip(&report.tiers)
        .filter_map(|(letter, tier)| {
            let held = tier.held_out?;
            Some((letter, tier.name.as_str(), (held.cost_usd, held.quality)))
        })
        .collect();
    let selected = report.families.iter().find(|family| Some(family.family) == report.selected);
    let Some(chosen) = selected.and_then(|family| family.held_out.as_ref()) else { return Vec::new() };
    if singles.len() < 2 || report.tiers.len() > MOST_TIERS {
        return Vec::new();
    }
    let curve: Vec<(f64, f64)> = report
        .selected
        .and_then(|family| report.curves.get(family))
        .into_iter()
        .flatten()
        .map(|point| (point.cost_usd, point.quality))
        .collect();
    let chosen = (chosen.cost_usd, chosen.quality);
    let all = || singles.iter().map(|single| single.2).chain(curve.iter().copied()).chain([chosen]);
    let costs: Vec<f64> = all().map(|point| point.0).collect();
    let (low, high) = ends(&costs);
    let (worst, best) = ends(&all().map(|point| point.1).collect::<Vec<f64>>());
    let (x, y) = (Scale::costs(costs), Scale::linear([worst, best]));

    let mut cells = vec![vec![' '; COLUMNS]; ROWS];
    let within = |value: f64, [low, high]: [f64; 2]| (low..=high).contains(&value);
    let mut line = None;
    match Bound::of(report) {
        Some(Bound::Cost(most)) if within(most, [low, high]) => {
            let column = cell(x.place(most), COLUMNS);
            for row in &mut cells {
                row[column] = ':';
            }
            line = Some(": the budget");
        }
        Some(Bound::Quality(least, name)) if within(least, [worst, best]) => {
            cells[ROWS - 1 - cell(y.place(least), ROWS)] = vec!['-'; COLUMNS];
            line = Some(if name == "most loss" { "- the most loss" } else { "- the least quality" });
        }
        _ => {}
    }
    let mut put = |at: (f64, f64), mark: char| {
        let column = cell(x.place(at.0), COLUMNS);
        let row = ROWS - 1 - cell(y.place(at.1), ROWS);
        cells[row][column] = mark;
    };
    for &at in &curve {
        put(at, '·');
    }
    for &(letter, _, at) in &singles {
        put(at, letter);
    }
    put(chosen, '*');

    let percent = |quality: f64| format!("{:.1}", 100.0 * quality);
    let row_of = |quality: f64| ROWS - 1 - cell(y.place(quality), ROWS);
    let mut lines = vec!["quality % against $ per 1000 calls, held-out rows".to_owned()];
    for (row, cells) in cells.iter().enumerate() {
        let label = [best, worst].into_iter().find(|&quality| row_of(quality) == row);
        let text: String = cells.iter().collect();
        let label = label.map(percent).unwrap_or_default();
        lines.push(format!("{label:>7} |{text}").trim_end().to_owned());
    }
    lines.push(format!("{:>7} +{}", "", "-".repeat(COLUMNS)));
    let (from, to) = (dollars_f64(CALLS * low), dollars_f64(CALLS * high));
    let gap = COLUMNS.saturating_sub(from.chars().count() + to.chars().count());
    lines.push(format!("{:>9}{from}{}{to}", "", " ".repeat(gap)));
    let mut names: Vec<String> = singles.iter().map(|(letter, name, _)| format!("{letter} {name}")).collect();
    names.push("* chosen policy".into());
    names.push("· its family at other budgets".into());
    names.extend(line.map(str::to_owned));
    lines.extend(crate::words::item("  ", &names.join("; ")));
    lines
}

fn ends(values: &[f64]) -> (f64, f64) {
    values
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &value| (low.min(value), high.max(value)))
}

/// The cell of a place between 0 and 1.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the cells")]
fn cell(place: f64, count: usize) -> usize {
    (place.clamp(0.0, 1.0) * (count - 1) as f64).round() as usize
}
