//! What more rows would buy: held-out areas of fits on parts of the calibration rows.

use super::super::chart::{Chart, Scale};
use super::super::{Numbers, Picture};
use super::{colour, header};
use cascade_sdk_core::fit::report::{FitReport, LearningPoint};
use std::fmt::Write as _;

/// Held-out area against calibration rows, by family.
pub(super) fn curve(report: &FitReport) -> Picture {
    let points = &report.learning_curve;
    let families: Vec<&str> = points.last().iter().flat_map(|point| point.areas.keys().copied()).collect();
    let line = |family: &str| -> Vec<(f64, f64)> {
        let at =
            |point: &LearningPoint| Some((point.rows as f64, 100.0 * point.areas.get(family)?.area_hull));
        points.iter().filter_map(at).collect()
    };
    let heights = families.iter().flat_map(|family| line(family)).map(|at| at.1);
    let mut chart = Chart::new(
        Scale::costs(points.iter().map(|point| point.rows as f64).collect::<Vec<_>>()),
        Scale::linear(heights),
        "calibration rows",
        "area, quality points",
    );
    let mut legend = Vec::new();
    for family in &families {
        let class = colour(report, family);
        let thick = if Some(*family) == report.selected { " thick" } else { "" };
        chart.line(&format!("{class}{thick}"), &line(family));
        legend.push((class, family.replace('_', " ")));
    }
    let mut caption = "Each family fitted on parts of the calibration rows; mean held-out quality over the budgets between \
                       the cheapest and the best tier, at equal cost. A line that still rises says that more rows would help."
        .to_owned();
    if let Some(sentence) = last_doubling(report) {
        let _ = write!(caption, " {sentence}");
    }
    Picture {
        name: "learning-curve",
        title: "What more rows would buy",
        svg: chart.finish("Held-out area of each family against the number of calibration rows"),
        legend,
        caption,
        numbers: vec![Numbers {
            title: "Areas in quality points",
            header: header(["calibration rows", "parts", "family", "mean", "lowest", "highest"]),
            rows: points
                .iter()
                .flat_map(|point| {
                    point.areas.iter().map(|(family, area)| {
                        let mut row =
                            vec![point.rows.to_string(), point.parts.to_string(), family.replace('_', " ")];
                        row.extend(
                            [area.area_hull, area.range[0], area.range[1]]
                                .map(|area| format!("{:.2}", 100.0 * area)),
                        );
                        row
                    })
                })
                .collect(),
        }],
    }
}

/// What the last step of the curve bought the chosen family, as a sentence: a measure of what the next one might.
pub(crate) fn last_doubling(report: &FitReport) -> Option<String> {
    let [.., before, last] = report.learning_curve.as_slice() else { return None };
    let family = report.selected?;
    let (from, to) = (before.areas.get(family)?, last.areas.get(family)?);
    let gain = 100.0 * (to.area_hull - from.area_hull);
    let spread = 100.0 * (from.range[1] - from.range[0]);
    Some(format!(
        "From {} to {} rows the chosen family ({}) went {gain:+.2} points: {}.",
        before.rows,
        last.rows,
        family.replace('_', " "),
        verdict(gain, spread)
    ))
}

/// What a gain says, beside the spread between parts of the smaller size.
fn verdict(gain: f64, spread: f64) -> &'static str {
    if gain > spread {
        "more rows are likely to help"
    } else if gain < -spread {
        "that is a fall beyond the spread between parts of the smaller size, so more rows alone will not help"
    } else {
        "that is within the spread between parts of the smaller size, so more rows promise little"
    }
}

#[cfg(test)]
mod tests {
    use super::verdict;

    #[test]
    fn a_fall_beyond_the_spread_is_none_within_it() {
        assert!(verdict(1.5, 1.0).contains("likely to help"));
        for within in [1.0, 0.0, -1.0] {
            assert!(verdict(within, 1.0).starts_with("that is within the spread"), "{within}");
        }
        assert!(verdict(-1.5, 1.0).starts_with("that is a fall beyond the spread"));
    }
}
