//! Is a log fit to decide on? Whole, with tiers that differ, signals that say something, rows enough.
//!
//! What is found is advice: it does not fail a check, since more rows may be out of reach.

mod collected;

pub(crate) use collected::unfinished;

use crate::project::Project;
use crate::words::item;
use cascade_sdk_core::config::Route;
use cascade_sdk_core::fit::analysis::diagnostics;
use cascade_sdk_core::fit::inference::compare::Comparison;
use cascade_sdk_core::fit::inference::simulate::Outcomes;
use cascade_sdk_core::fit::rows::table::{QUALITY_ONE, Table};
use cascade_sdk_core::fit::verdict::{rows_are_needed, rows_show, rows_to_show, visible_gain};
use cascade_sdk_core::log::{EvalLog, Split, half};
use serde::Serialize;

/// Half width of a 95 % interval in standard errors.
const TWO_SIDED_95: f64 = 1.959_963_984_540_054;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(crate) struct Advice {
    /// What was looked at: `tiers`, `signal`, `rows`, `quality`, `failed` or `journal`.
    pub(crate) about: &'static str,
    /// Whether it is as one would wish.
    pub(crate) ok: bool,
    /// The figures, in words.
    pub(crate) text: String,
}

impl Advice {
    /// For people.
    pub(crate) fn lines(&self) -> Vec<String> {
        item(if self.ok { "  ok: " } else { "  look: " }, &self.text)
    }
}

/// Looks at a route's log and at what stands beside it. `outputs` reads the log again, with what the models returned.
pub(crate) fn examine(
    project: &Project,
    route: &Route,
    log: Option<&EvalLog>,
    outputs: impl Fn() -> Option<EvalLog>,
) -> Vec<Advice> {
    let mut advice = collected::jobs(project, route);
    if let Some(log) = log {
        advice.extend(collected::examine(route, log, outputs));
        advice.extend(figures(route, log));
    }
    advice
}

/// Nothing is said of a log that lacks a tier or has too few rows for figures.
fn figures(route: &Route, log: &EvalLog) -> Vec<Advice> {
    let tiers: Vec<&str> =
        route.tiers.iter().map(String::as_str).filter(|name| log.tier(name).is_some()).collect();
    let mut table = Table::grouped(log, &tiers);
    let rows: Vec<u32> = (0_u32..).take(table.len()).collect();
    if tiers.len() < 2 || rows.len() < 10 {
        return Vec::new();
    }
    table.order_by_cost(&rows);
    let (mut calibration, mut held_out) = (Vec::new(), Vec::new());
    for &row in &rows {
        let log_row = table.log_row.get(row as usize).and_then(|place| log.rows.get(*place as usize));
        let split = log_row.map(|row| half(row, route.fit.seed, route.fit.held_out));
        if split == Some(Split::Test) { held_out.push(row) } else { calibration.push(row) }
    }
    let mut advice = tiers_differ(&table, &rows, route.fit.seed);
    if !calibration.is_empty() && !held_out.is_empty() {
        advice.extend(signals_tell(&table, &calibration, &held_out));
        advice.extend(rows_suffice(&table, &held_out, route.fit.smallest_gain));
    }
    advice
}

/// Each tier against the next dearer one: a dearer tier that is not better needs a reason to stay.
fn tiers_differ(table: &Table, rows: &[u32], seed: u64) -> Vec<Advice> {
    let singles: Vec<Outcomes> =
        (0..table.tiers.len()).map(|tier| Outcomes::single(table, tier, rows)).collect();
    let policies: Vec<(&Outcomes, usize)> = singles.iter().map(|outcomes| (outcomes, 0)).collect();
    let comparison = Comparison::new(table, rows, &policies, seed, 1);
    let pairs = (1..singles.len()).map(|dear| {
        let gain = comparison.paired(|means| means(dear).quality - means(dear - 1).quality);
        let name = |tier: usize| table.tiers.get(tier).map_or("", |tier| tier.name.as_str());
        let points = |value: f64| format!("{:+.1}", 100.0 * value);
        let figures = format!("{} points [{}, {}]", points(gain.value), points(gain.low), points(gain.high));
        let (ok, text) = if gain.low > 0.0 {
            (true, format!("{} is better than {}: {figures}", name(dear), name(dear - 1)))
        } else if gain.high < 0.0 {
            (false, format!("{} costs more than {} and is worse: {figures}", name(dear), name(dear - 1)))
        } else {
            (
                false,
                format!(
                    "no difference shows between {} and the cheaper {}: {figures}",
                    name(dear),
                    name(dear - 1)
                ),
            )
        };
        Advice { about: "tiers", ok, text }
    });
    pairs.collect()
}

/// The best signal of each tier: one that cannot tell good answers from bad ones cannot carry a cascade.
fn signals_tell(table: &Table, calibration: &[u32], held_out: &[u32]) -> Vec<Advice> {
    let mut found = diagnostics::signals(table, calibration, held_out);
    found.sort_by(|a, b| a.tier.cmp(&b.tier).then(b.auroc.total_cmp(&a.auroc)));
    found.dedup_by(|later, first| later.tier == first.tier);
    let advice = found.iter().filter_map(|signal| {
        let tier = table.tiers.iter().find(|tier| tier.name == signal.tier)?;
        let quality = |row: &u32| {
            tier.quality.get(*row as usize).map_or(0.0, |quality| *quality as f64 / QUALITY_ONE as f64)
        };
        let good: f64 =
            held_out.iter().map(quality).sum::<f64>() / held_out.len() as f64 * signal.rows as f64;
        let [low, high] = auroc_interval(signal.auroc, good, signal.rows as f64 - good)?;
        let ok = low > 0.5;
        let what = if ok { "tells good answers from bad ones" } else { "may say nothing about its answers" };
        let text = format!(
            "{} of {} {what}: AUROC {:.2} [{low:.2}, {high:.2}] on {} held-out rows",
            signal.signal, signal.tier, signal.auroc, signal.rows
        );
        Some(Advice { about: "signal", ok, text })
    });
    advice.collect()
}

/// 95 % interval of an AUROC from the numbers of good and bad answers (Newcombe, Statistics in Medicine 25:559, 2006,
/// method 5): the areas from which it is no further than so many of their own standard errors. A standard error at the
/// area itself is 0 where every pair is in order, however few there are. `None` where one of the numbers is none.
fn auroc_interval(auroc: f64, good: f64, bad: f64) -> Option<[f64; 2]> {
    if good < 1.0 || bad < 1.0 {
        return None;
    }
    let more = f64::midpoint(good, bad) - 1.0;
    let error = |area: f64| {
        let (one, two) = ((1.0 - area) / (2.0 - area), area / (1.0 + area));
        (area * (1.0 - area) * (1.0 + more * one + more * two) / (good * bad)).sqrt()
    };
    // The further end is too far, and a fixed number of halvings reaches the last bit.
    let end = |mut far: f64| {
        let mut near = auroc;
        for _ in 0..60 {
            let middle = f64::midpoint(near, far);
            if (auroc - middle).abs() <= TWO_SIDED_95 * error(middle) { near = middle } else { far = middle }
        }
        near
    };
    Some([end(0.0), end(1.0)])
}

/// Whether the gain that the configuration calls worth deciding on would show.
fn rows_suffice(table: &Table, held_out: &[u32], smallest_gain: f64) -> Option<Advice> {
    let (cheap, dear) = (table.tiers.first()?, table.tiers.last()?);
    let difference = |row: &u32| -> Option<f64> {
        let (cheap, dear) = (cheap.quality.get(*row as usize)?, dear.quality.get(*row as usize)?);
        Some((*dear - *cheap) as f64 / QUALITY_ONE as f64)
    };
    let differences: Vec<f64> = held_out.iter().filter_map(difference).collect();
    let count = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / count;
    let variance =
        differences.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    let (visible, needed) =
        (visible_gain(differences.len() as u64, variance), rows_to_show(smallest_gain, variance));
    let ok = visible <= smallest_gain;
    let possible = Some(visible).filter(|gain| *gain <= 1.0);
    let shows = rows_show(differences.len() as u64, "held-out", possible);
    let text = if ok {
        format!("{shows}; smallest_gain is {:.1}", 100.0 * smallest_gain)
    } else {
        format!("{shows}; {}", rows_are_needed(smallest_gain, needed, "held-out"))
    };
    Some(Advice { about: "rows", ok, text })
}

#[cfg(test)]
mod tests {
    use super::auroc_interval;

    #[test]
    fn few_answers_leave_an_area_open() {
        let width = |auroc, good, bad| auroc_interval(auroc, good, bad).map(|[low, high]| high - low);
        // Hanley and McNeil 1982, table I: an area of 0.893 with 51 abnormal and 58 normal images has a standard error of
        // 0.032.
        let wide = width(0.893, 51.0, 58.0).unwrap();
        assert!((wide - 2.0 * 1.96 * 0.032).abs() < 0.01, "{wide}");
        // All pairs in order: certain only with many of them.
        let low = |each: f64| auroc_interval(1.0, each, each).unwrap()[0];
        assert!(low(2.0) < 0.5 && low(100.0) > 0.95, "{} {}", low(2.0), low(100.0));
        assert!((auroc_interval(1.0, 2.0, 2.0).unwrap()[1] - 1.0).abs() < 1e-12);
        assert_eq!(auroc_interval(0.9, 0.0, 5.0), None);
    }
}
