//! The pictures of the report.

use super::Picture;
use super::chart::{Bar, Chart, Scale, brief, shares, waterfall};
use cascade_sdk_core::fit::report::{Benefit, FitReport, Reliability, StructuralCost};
use std::fmt::Write as _;

/// z of a two-sided 95 % interval.
const Z: f64 = 1.96;

/// Most switching points that a caption names.
const MOST_SWITCHES: usize = 4;

/// Every picture that there is data for.
pub(super) fn all(report: &FitReport) -> Vec<Picture> {
    let mut pictures = vec![plane(report)];
    pictures
        .extend(report.families.iter().any(|family| family.held_out.is_some()).then(|| tier_shares(report)));
    pictures.extend(report.benefit.as_ref().map(benefit));
    pictures.extend(report.reliability.as_ref().map(reliability));
    pictures.extend(report.structural_cost.as_ref().map(structural));
    pictures
}

/// Single tiers, held-out curves of all families with bands, the calibration envelope, and the chosen point.
fn plane(report: &FitReport) -> Picture {
    let singles = report.tiers.iter().map(|tier| {
        let held_out = tier.held_out.map_or((tier.cost_usd, tier.quality), |m| (m.cost_usd, m.quality));
        (tier.name.clone(), held_out)
    });
    let singles: Vec<(String, (f64, f64))> = singles.collect();
    let drawn: Vec<_> = report.curves.iter().filter(|(_, points)| !points.is_empty()).collect();
    let costs: Vec<f64> = singles
        .iter()
        .map(|(_, at)| at.0)
        .chain(drawn.iter().flat_map(|(_, points)| points.iter().map(|point| point.cost_usd)))
        .collect();
    let qualities = singles
        .iter()
        .map(|(_, at)| at.1)
        .chain(drawn.iter().flat_map(|(_, points)| points.iter().map(|point| point.quality)));
    let mut chart = Chart::new(
        Scale::costs(costs),
        Scale::linear(qualities.collect::<Vec<_>>()),
        "mean cost per request, USD",
        "mean quality",
    );
    chart.steps("quiet thin", &report.envelope.iter().map(|p| (p.cost_usd, p.quality)).collect::<Vec<_>>());
    let mut legend =
        vec![("quiet".to_owned(), "envelope of pairs on calibration rows (optimistic)".to_owned())];
    for (index, (family, points)) in drawn.iter().enumerate() {
        let class = format!("c{}", index % 8);
        let mut sorted: Vec<_> = points.iter().collect();
        sorted.sort_by(|a, b| a.cost_usd.total_cmp(&b.cost_usd));
        let band: Vec<(f64, f64, f64)> = sorted
            .iter()
            .map(|p| (p.cost_usd, p.quality - Z * p.quality_error, p.quality + Z * p.quality_error))
            .collect();
        if Some(**family) == report.selected {
            chart.band(&class, &band);
        }
        chart.line(&class, &sorted.iter().map(|p| (p.cost_usd, p.quality)).collect::<Vec<_>>());
        legend.push((class, family.replace('_', " ")));
    }
    for (name, at) in &singles {
        chart.dot("quiet", *at, name, &format!("{name}: quality {}, {} USD", brief(at.1), brief(at.0)));
    }
    if let Some(figures) = report
        .families
        .iter()
        .find(|family| Some(family.family) == report.selected)
        .and_then(|family| family.held_out.as_ref())
    {
        let at = (figures.cost_usd, figures.quality);
        chart.cross("ink", at, figures.cost_usd_ci, figures.quality_ci);
        chart.dot("ink", at, "", "the chosen policy on held-out rows");
        legend.push(("ink".to_owned(), "the chosen policy, 95 % both ways".to_owned()));
    }
    let switches: Vec<String> = report
        .switching_points
        .iter()
        .map(|point| {
            format!("{} → {} at {} USD", point.from.join(" → "), point.to.join(" → "), brief(point.cost_usd))
        })
        .collect();
    let mut caption =
        "Lines are held-out quality at 20 budgets, every policy chosen on calibration rows; the band is the \
                       95 % interval of the chosen family. Up and to the left is better."
            .to_owned();
    if switches.len() > MOST_SWITCHES {
        let _ = write!(caption, " The best pair changes {} times along the envelope.", switches.len());
    } else if !switches.is_empty() {
        caption.push_str(" The best pair changes along the envelope: ");
        caption.push_str(&switches.join("; "));
        caption.push('.');
    }
    let rows = drawn.iter().flat_map(|(family, points)| {
        points.iter().map(|p| {
            vec![
                family.replace('_', " "),
                brief(p.budget_usd),
                brief(p.cost_usd),
                format!("{:.4}", p.quality),
                format!("±{:.4}", Z * p.quality_error),
            ]
        })
    });
    Picture {
        name: "plane",
        title: "Cost and quality",
        svg: chart.finish("Mean quality against mean cost of single tiers and fitted families"),
        legend,
        caption,
        table: (
            ["family", "budget, USD", "cost, USD", "quality", "95 %"].map(String::from).to_vec(),
            rows.collect(),
        ),
    }
}

fn tier_shares(report: &FitReport) -> Picture {
    let colour = |name: &str| report.tiers.iter().position(|tier| tier.name == name).unwrap_or(0);
    let rows: Vec<Bar> = report
        .families
        .iter()
        .filter_map(|family| {
            let figures = family.held_out.as_ref()?;
            let mut parts: Vec<(usize, f64, String)> =
                figures.share.iter().map(|(name, share)| (colour(name), *share, name.clone())).collect();
            parts.sort_by_key(|part| part.0);
            Some(Bar { name: family.family.replace('_', " "), parts })
        })
        .collect();
    let used = |name: &str| rows.iter().any(|bar| bar.parts.iter().any(|part| part.2 == name));
    Picture {
        name: "shares",
        title: "Which tier answers",
        svg: shares(&rows, "Share of held-out requests that each tier answers, by family"),
        legend: report
            .tiers
            .iter()
            .enumerate()
            .filter(|(_, tier)| used(&tier.name))
            .map(|(index, tier)| (format!("c{}", index % 8), tier.name.clone()))
            .collect(),
        caption: "Share of held-out requests whose answer comes from each tier.".into(),
        table: (
            ["family", "tier", "share"].map(String::from).to_vec(),
            rows.iter()
                .flat_map(|bar| {
                    bar.parts.iter().map(move |(_, share, tier)| {
                        vec![bar.name.clone(), tier.clone(), format!("{:.1} %", 100.0 * share)]
                    })
                })
                .collect(),
        ),
    }
}

/// b(t): what escalation gains at each level of the signal, with its isotonic fit and the threshold.
fn benefit(data: &Benefit) -> Picture {
    let bins = data.bins.iter();
    let mut chart = Chart::new(
        Scale::linear(bins.clone().map(|bin| bin.signal).chain(data.at_least)),
        Scale::linear(
            bins.clone()
                .flat_map(|bin| [bin.benefit - Z * bin.error, bin.benefit + Z * bin.error])
                .chain(data.isotonic.iter().map(|step| step.benefit))
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
    chart.steps("c1", &data.isotonic.iter().map(|step| (step.signal, step.benefit)).collect::<Vec<_>>());
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
        table: (
            ["signal", "gain", "standard error", "rows"].map(String::from).to_vec(),
            bins.map(|bin| {
                vec![
                    brief(bin.signal),
                    format!("{:+.4}", bin.benefit),
                    format!("{:.4}", bin.error),
                    bin.rows.to_string(),
                ]
            })
            .collect(),
        ),
    }
}

fn reliability(data: &Reliability) -> Picture {
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
        legend: Vec::new(),
        caption: format!(
            "`{}` of `{}` was turned into a predicted quality on calibration rows and checked on held-out rows. Expected \
             calibration error {:.3}, area under the ROC curve {:.3}.",
            data.signal, data.tier, data.expected_calibration_error, data.auroc
        ),
        table: (
            ["predicted", "observed", "standard error", "rows"].map(String::from).to_vec(),
            data.bins
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
        ),
    }
}

fn structural(data: &StructuralCost) -> Picture {
    let steps = [("structural", data.structural), ("signal", data.signal), ("richness", data.richness)];
    let mut caption = format!(
        "Router minus cascade, averaged over budgets on held-out rows. Structural: not paying the cheap call first. Signal: \
         deciding before rather than after it. Richness: choosing among all tiers rather than two. The first two depend \
         on each other by {:+.2} points.",
        100.0 * data.interaction
    );
    if let Some(share) = data.tie_at_share {
        let _ = write!(
            caption,
            " The two would tie if an escalated request paid {:.0} % of its cheap call.",
            100.0 * share
        );
    }
    Picture {
        name: "structural-cost",
        title: "What paying the cheap call first costs",
        svg: waterfall(&steps, ("router − cascade", data.total), "Structural cost, signal and richness"),
        legend: Vec::new(),
        caption,
        table: (
            ["part", "quality points"].map(String::from).to_vec(),
            steps
                .iter()
                .copied()
                .chain([("router − cascade", data.total)])
                .map(|(name, value)| vec![name.to_owned(), format!("{:+.3}", 100.0 * value)])
                .collect(),
        ),
    }
}
