//! Cost and quality: single tiers, families, the envelope, the chosen point; and which tier answers.

use super::super::bars::{Bar, shares};
use super::super::chart::{Chart, Scale, brief};
use super::super::{Numbers, Picture};
use super::{CALLS, Z, colour, header};
use cascade_sdk_core::config::Goal;
use cascade_sdk_core::fit::report::{FitReport, SwitchingPoint};

/// Single tiers, held-out curves of all families with bands, the calibration envelope with its switching points, and
/// the chosen point.
pub(super) fn plane(report: &FitReport) -> Picture {
    let singles: Vec<(&str, (f64, f64))> = report
        .tiers
        .iter()
        .map(|tier| {
            let at = tier.held_out.map_or((tier.cost_usd, tier.quality), |m| (m.cost_usd, m.quality));
            (tier.name.as_str(), (CALLS * at.0, at.1))
        })
        .collect();
    // The chosen family last, on top of the others.
    let mut drawn: Vec<_> = report.curves.iter().filter(|(_, points)| !points.is_empty()).collect();
    drawn.sort_by_key(|(family, _)| Some(**family) == report.selected);
    let curves = || drawn.iter().flat_map(|(_, points)| points.iter());
    let mut costs: Vec<f64> =
        singles.iter().map(|(_, at)| at.0).chain(curves().map(|point| CALLS * point.cost_usd)).collect();
    let chosen = report
        .families
        .iter()
        .find(|family| Some(family.family) == report.selected)
        .and_then(|family| family.held_out.as_ref());
    let mut qualities: Vec<f64> = singles
        .iter()
        .map(|(_, at)| at.1)
        .chain(curves().map(|point| point.quality))
        .chain(chosen.into_iter().flat_map(|figures| figures.quality_ci))
        .collect();
    let bound = Bound::of(report);
    let is_far = bound.as_ref().is_some_and(|bound| !bound.widen(&mut costs, &mut qualities));
    let mut chart = Chart::new(
        Scale::costs(costs),
        Scale::linear(qualities),
        "mean cost of 1,000 requests, USD",
        "mean quality",
    );
    let envelope: Vec<(f64, f64)> = report.envelope.iter().map(|p| (CALLS * p.cost_usd, p.quality)).collect();
    let mut legend =
        vec![("quiet".to_owned(), "envelope of pairs on calibration rows (optimistic)".to_owned())];
    for (family, points) in &drawn {
        let chosen = Some(**family) == report.selected;
        let class = colour(report, family);
        let mut sorted: Vec<_> = points.iter().collect();
        sorted.sort_by(|a, b| a.cost_usd.total_cmp(&b.cost_usd));
        let band: Vec<(f64, f64, f64)> = sorted
            .iter()
            .map(|p| (CALLS * p.cost_usd, p.quality - Z * p.quality_error, p.quality + Z * p.quality_error))
            .collect();
        chart.band(&format!("{class}{}", if chosen { "" } else { " faint" }), &band);
        let line: Vec<(f64, f64)> = sorted.iter().map(|p| (CALLS * p.cost_usd, p.quality)).collect();
        chart.line(&format!("{class}{}", if chosen { " thick" } else { "" }), &line);
        let note = if chosen { " (chosen)" } else { "" };
        legend.push((class, format!("{}{note}", family.replace('_', " "))));
    }
    chart.steps("quiet thin", &envelope);
    match &bound {
        Some(Bound::Cost(most)) if !is_far => chart.rule("", CALLS * most, "budget"),
        Some(Bound::Quality(least, name)) if !is_far => chart.level("", *least, name),
        _ => {}
    }
    for point in &report.switching_points {
        let at = report.envelope.iter().rev().find(|step| step.cost_usd <= point.cost_usd * (1.0 + 1e-9));
        if let Some(step) = at {
            chart.diamond("quiet", (CALLS * point.cost_usd, step.quality), point.stable, &switch(point));
        }
    }
    for (name, at) in &singles {
        let title = format!("{name}: quality {}, {} USD for 1,000 requests", brief(at.1), brief(at.0));
        chart.dot("quiet", *at, name, &title);
    }
    if let Some(figures) = chosen {
        let at = (CALLS * figures.cost_usd, figures.quality);
        chart.cross("ink", at, figures.cost_usd_ci.map(|cost| CALLS * cost), figures.quality_ci);
        chart.dot("ink", at, "", "the chosen policy on held-out rows");
        legend.push(("ink".to_owned(), "the chosen policy, 95 % both ways".to_owned()));
    }
    let mut caption =
        "Lines are held-out quality at 20 budgets, every policy chosen on calibration rows, with bands of \
                       95 % pointwise. Up and to the left is better."
            .to_owned();
    if !report.switching_points.is_empty() {
        caption.push_str(
            " Diamonds: the best pair changes along the envelope; filled where at least 80 % of resamples agree.",
        );
    }
    if let Some(bound) = &bound {
        caption.push_str(&bound.words(is_far));
    }
    let mut numbers = vec![Numbers {
        title: "Held-out curves",
        header: header(["family", "budget, USD per 1,000", "cost", "quality", "95 %"]),
        rows: report
            .curves
            .iter()
            .flat_map(|(family, points)| {
                points.iter().map(|p| {
                    vec![
                        family.replace('_', " "),
                        brief(CALLS * p.budget_usd),
                        brief(CALLS * p.cost_usd),
                        format!("{:.4}", p.quality),
                        format!("±{:.4}", Z * p.quality_error),
                    ]
                })
            })
            .collect(),
    }];
    if !report.switching_points.is_empty() {
        numbers.push(Numbers {
            title: "Where the best pair changes",
            header: header(["from", "to", "cost, USD per 1,000", "resamples that agree", "stable"]),
            rows: report
                .switching_points
                .iter()
                .map(|point| {
                    vec![
                        point.from.join(" → "),
                        point.to.join(" → "),
                        brief(CALLS * point.cost_usd),
                        agreement(point),
                        if point.stable { "yes" } else { "no" }.into(),
                    ]
                })
                .collect(),
        });
    }
    Picture {
        name: "plane",
        title: "Cost and quality",
        svg: chart.finish("Mean quality against mean cost of single tiers and fitted families"),
        legend,
        caption,
        numbers,
    }
}

/// A bound of the objective that is a line in the plane.
pub(in super::super) enum Bound {
    /// On mean cost, in US dollars a request.
    Cost(f64),
    /// On mean quality, and what it is called.
    Quality(f64, &'static str),
}

impl Bound {
    /// A loss is measured from the held-out quality of its reference tier.
    pub(in super::super) fn of(report: &FitReport) -> Option<Self> {
        match &report.objective.0.goal {
            Goal::MaxCost(most) => Some(Self::Cost(most.to_f64())),
            Goal::MinQuality(least) => Some(Self::Quality(*least, "least quality")),
            Goal::MaxQualityLoss { versus, by } => {
                let tier = report.tiers.iter().find(|tier| &tier.name == versus)?;
                let quality = tier.held_out.map_or(tier.quality, |held| held.quality);
                Some(Self::Quality(quality - by, "most loss"))
            }
            _ => None,
        }
    }

    /// Makes room for the line; false if it is so far out that everything else would shrink.
    fn widen(&self, costs: &mut Vec<f64>, qualities: &mut Vec<f64>) -> bool {
        let ends = |values: &[f64]| {
            let low = values.iter().copied().fold(f64::INFINITY, f64::min);
            (low, values.iter().copied().fold(f64::NEG_INFINITY, f64::max))
        };
        match self {
            Self::Cost(most) => {
                let (most, (low, high)) = (CALLS * most, ends(costs));
                let is_near = most >= low / 2.0 && most <= 2.0 * high;
                costs.extend(is_near.then_some(most));
                is_near
            }
            Self::Quality(least, _) => {
                let (low, high) = ends(qualities);
                let room = high - low;
                let is_near = *least >= low - room && *least <= high + room;
                qualities.extend(is_near.then_some(*least));
                is_near
            }
        }
    }

    fn words(&self, is_far: bool) -> String {
        let (line, at) = match self {
            Self::Cost(most) => ("budget", format!("{} USD", brief(CALLS * most))),
            Self::Quality(least, name) => (*name, brief(*least)),
        };
        let place = if is_far { "lies outside the picture" } else { "is the dashed line" };
        format!(" The objective's bound ({line}, {at}) {place}.")
    }
}

fn agreement(point: &SwitchingPoint) -> String {
    point.frequency.map_or_else(|| "–".into(), |frequency| format!("{:.0} %", 100.0 * frequency))
}

fn switch(point: &SwitchingPoint) -> String {
    format!(
        "{} → {} at {} USD for 1,000 requests; {} of resamples agree",
        point.from.join(" → "),
        point.to.join(" → "),
        brief(CALLS * point.cost_usd),
        agreement(point)
    )
}

/// In place of a tier, where a policy abstains.
const NOBODY: &str = "nobody (abstains)";

/// Share of held-out requests that each tier answers, by family.
pub(super) fn tier_shares(report: &FitReport) -> Picture {
    let colour = |name: &str| report.tiers.iter().position(|tier| tier.name == name).unwrap_or(0);
    let rows: Vec<Bar> = report
        .families
        .iter()
        .filter_map(|family| {
            let figures = family.held_out.as_ref()?;
            let mut parts: Vec<(usize, f64, String)> =
                figures.share.iter().map(|(name, share)| (colour(name), *share, name.clone())).collect();
            parts.sort_by_key(|part| part.0);
            parts.extend(figures.abstained.map(|share| (report.tiers.len(), share, NOBODY.to_owned())));
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
            .chain(used(NOBODY).then(|| (format!("c{}", report.tiers.len() % 8), NOBODY.to_owned())))
            .collect(),
        caption: "Share of held-out requests whose answer comes from each tier.".into(),
        numbers: vec![Numbers {
            title: "Shares",
            header: header(["family", "tier", "share"]),
            rows: rows
                .iter()
                .flat_map(|bar| {
                    bar.parts.iter().map(move |(_, share, tier)| {
                        vec![bar.name.clone(), tier.clone(), format!("{:.1} %", 100.0 * share)]
                    })
                })
                .collect(),
        }],
    }
}
