//! What the signal of the chosen pair is worth, and whether it can be believed.

use super::super::chart::{Chart, Scale, brief};
use super::super::{Numbers, Picture};
use super::{Z, header};
use cascade_sdk_core::fit::report::{Benefit, Reliability};

/// b(t): what escalation gains at each level of the signal, with its isotonic fit and the threshold.
pub(super) fn benefit(data: &Benefit) -> Picture {
    let bins = data.bins.iter();
    // A few outlying scores would squeeze all others together: the bins' means and the threshold set the scale.
    let scale = Scale::linear(bins.clone().map(|bin| bin.signal).chain(data.at_least));
    let fit = data.isotonic.iter().filter(|step| (0.0..=1.0).contains(&scale.place(step.signal)));
    let mut chart = Chart::new(
        scale,
        Scale::linear(
            bins.clone()
                .flat_map(|bin| [bin.benefit - Z * bin.error, bin.benefit + Z * bin.error])
                .chain(fit.map(|step| step.benefit))
                .chain([0.0]),
        ),
        &format!("{} of {}", data.signal, data.tiers[0]),
        "quality gained by escalating",
    );
    chart.line("quiet thin", &[(f64::MIN, 0.0), (f64::MAX, 0.0)]);
    for bin in bins.clone() {
        chart.line(
            "c0 thin",
            &[(bin.signal, bin.benefit - Z * bin.error), (bin.signal, bin.benefit + Z * bin.error)],
        );
        chart.dot("c0", (bin.signal, bin.benefit), "", &format!("{} rows: {:+.3}", bin.rows, bin.benefit));
    }
    let mut steps: Vec<(f64, f64)> = data.isotonic.iter().map(|step| (step.signal, step.benefit)).collect();
    steps.extend(steps.last().map(|last| (f64::MAX, last.1)));
    chart.steps("c1", &steps);
    if let Some(cut) = data.at_least {
        chart.rule("", cut, "threshold");
    }
    Picture {
        name: "benefit",
        title: "What escalation gains, by signal",
        svg: chart.finish("Escalation benefit against the signal, with isotonic fit and threshold"),
        legend: vec![
            ("c0".into(), "mean gain in bins of equal size, 95 %".into()),
            ("c1".into(), "decreasing fit".into()),
        ],
        caption: format!(
            "Calibration rows. Left of the threshold `{}` answers are handed to `{}`. A gain that falls to the right means \
             that the signal works; a flat one means that it does not.",
            data.tiers[0], data.tiers[1]
        ),
        numbers: vec![
            Numbers {
                title: "Bins",
                header: header(["signal", "gain", "standard error", "rows"]),
                rows: bins
                    .map(|bin| {
                        vec![
                            brief(bin.signal),
                            format!("{:+.4}", bin.benefit),
                            format!("{:.4}", bin.error),
                            bin.rows.to_string(),
                        ]
                    })
                    .collect(),
            },
            Numbers {
                title: "Decreasing fit",
                header: header(["from signal", "gain"]),
                rows: data
                    .isotonic
                    .iter()
                    .map(|step| vec![brief(step.signal), format!("{:+.4}", step.benefit)])
                    .collect(),
            },
        ],
    }
}

/// λ(t): what a dollar spent on escalating buys at each level of the signal; `None` where nothing is bought anywhere.
pub(super) fn shadow_prices(data: &Benefit) -> Option<Picture> {
    let bins = data.bins.iter();
    let scale = Scale::linear(bins.map(|bin| bin.signal).chain(data.at_least));
    // A quality of 1 for a dollar is one point for a cent.
    let mut steps: Vec<(f64, f64)> = data
        .shadow_prices
        .iter()
        .map(|step| (step.signal.unwrap_or(f64::MIN), step.quality_per_usd.max(0.0)))
        .collect();
    if steps.iter().all(|step| step.1 <= 0.0) {
        return None;
    }
    // A step without width in the picture must not set its scale.
    let shown = steps.iter().filter(|step| (0.0..=1.0).contains(&scale.place(step.0))).map(|step| step.1);
    let levels = Scale::linear(shown.chain([0.0]));
    steps.extend(steps.last().map(|last| (f64::MAX, last.1)));
    let mut chart = Chart::new(
        scale,
        levels,
        &format!("{} of {}", data.signal, data.tiers[0]),
        "points of quality for a cent",
    );
    chart.steps("c1", &steps);
    if let Some(cut) = data.at_least {
        chart.rule("", cut, "threshold");
    }
    Some(Picture {
        name: "shadow-prices",
        title: "What escalation buys for its price, by signal",
        svg: chart.finish("Shadow price against the signal, as a step function, with the threshold"),
        legend: vec![("c1".into(), "shadow price".into())],
        caption: format!(
            "Calibration rows. The decreasing fit of quality gained to the cost of `{}`, which is the slope of the pair's              concave frontier. A budget is best spent where this is highest: the threshold stands where it falls to the              budget's shadow price. Single steps rest on few rows and have no intervals.",
            data.tiers[1]
        ),
        numbers: vec![Numbers {
            title: "Shadow prices",
            header: header(["from signal", "points for a cent", "USD for a point"]),
            rows: data
                .shadow_prices
                .iter()
                .map(|step| {
                    vec![
                        step.signal.map_or_else(|| "no signal".into(), brief),
                        brief(step.quality_per_usd),
                        step.usd_per_quality.map_or_else(|| "–".into(), |price| brief(price / 100.0)),
                    ]
                })
                .collect(),
        }],
    })
}

/// Predicted against observed quality.
pub(super) fn reliability(data: &Reliability) -> Picture {
    let ends = [0.0, 1.0];
    let mut chart = Chart::new(
        Scale::linear(ends),
        Scale::linear(ends),
        "predicted quality",
        "observed quality, held-out rows",
    );
    chart.line("quiet thin", &[(0.0, 0.0), (1.0, 1.0)]);
    for bin in &data.bins {
        let (low, high) = (bin.observed - Z * bin.error, bin.observed + Z * bin.error);
        chart.line("c2 thin", &[(bin.predicted, low.max(0.0)), (bin.predicted, high.min(1.0))]);
        chart.dot("c2", (bin.predicted, bin.observed), "", &format!("{} rows", bin.rows));
    }
    Picture {
        name: "reliability",
        title: "Can the signal be believed",
        svg: chart.finish("Reliability diagram of the first stage's signal"),
        legend: vec![
            ("c2".into(), "bins of equal size, 95 %".into()),
            ("quiet".into(), "perfect calibration".into()),
        ],
        caption: format!(
            "`{}` of `{}` was turned into a predicted quality on calibration rows and checked on held-out rows. Expected \
             calibration error {:.3}, area under the ROC curve {:.3}.",
            data.signal, data.tier, data.expected_calibration_error, data.auroc
        ),
        numbers: vec![Numbers {
            title: "Bins",
            header: header(["predicted", "observed", "standard error", "rows"]),
            rows: data
                .bins
                .iter()
                .map(|bin| {
                    vec![
                        format!("{:.3}", bin.predicted),
                        format!("{:.3}", bin.observed),
                        format!("{:.3}", bin.error),
                        bin.rows.to_string(),
                    ]
                })
                .collect(),
        }],
    }
}
