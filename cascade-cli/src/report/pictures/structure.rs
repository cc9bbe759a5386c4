//! Router against cascade: structural cost, signal and richness, on average and by budget; both at equal budgets.

use super::super::bars;
use super::super::chart::{Chart, Scale, brief};
use super::super::{Numbers, Picture};
use super::{CALLS, header};
use cascade_sdk_core::fit::report::{FitReport, StructuralCost};
use std::fmt::Write as _;

fn in_points(value: f64) -> String {
    format!("{:+.2}", 100.0 * value)
}

/// The averages as steps.
pub(super) fn waterfall(data: &StructuralCost) -> Picture {
    let steps = [("structural", data.structural), ("signal", data.signal), ("richness", data.richness)];
    let total = ("router − cascade", data.total);
    let mut caption = format!(
        "Router minus cascade, averaged over budgets on held-out rows. Structural: not paying the cheap call first. Signal: \
         deciding before rather than after it. Richness: choosing among all tiers rather than two. The first two depend \
         on each other by {} points.",
        in_points(data.interaction)
    );
    match data.tie_at_share {
        Some(share) => {
            let _ = write!(
                caption,
                " The two would tie if an escalated request paid κ* = {:.0} % of its cheap call.",
                100.0 * share
            );
        }
        None if data.total > 0.0 => {
            caption.push_str(
                " The router leads even where an escalated request pays nothing for its cheap call.",
            );
        }
        None => {
            caption.push_str(" The cascade leads although an escalated request pays its cheap call in full.");
        }
    }
    Picture {
        name: "structural-cost",
        title: "What paying the cheap call first costs",
        svg: bars::waterfall(&steps, total, "Structural cost, signal and richness"),
        legend: Vec::new(),
        caption,
        numbers: vec![Numbers {
            title: "Averages",
            header: header(["part", "quality points"]),
            rows: steps
                .into_iter()
                .chain([total, ("interaction", data.interaction)])
                .map(|(name, value)| vec![name.to_owned(), in_points(value)])
                .collect(),
        }],
    }
}

/// The same at each budget.
pub(super) fn by_budget(report: &FitReport) -> Picture {
    let data = &report.structural_by_budget;
    let names = [("c2", "structural"), ("c5", "signal"), ("c0", "richness"), ("ink", "router − cascade")];
    let terms = |cost: &StructuralCost| [cost.structural, cost.signal, cost.richness, cost.total];
    let values = data.iter().flat_map(|at| terms(&at.cost)).map(|value| 100.0 * value);
    let mut chart = Chart::new(
        Scale::costs(data.iter().map(|at| CALLS * at.budget_usd).collect::<Vec<_>>()),
        Scale::linear(values.chain([0.0])),
        "budget for 1,000 requests, USD",
        "quality points",
    );
    chart.line("quiet thin", &[(f64::MIN, 0.0), (f64::MAX, 0.0)]);
    for (term, (class, _)) in names.iter().enumerate() {
        let line: Vec<(f64, f64)> =
            data.iter().map(|at| (CALLS * at.budget_usd, 100.0 * terms(&at.cost)[term])).collect();
        chart.line(class, &line);
    }
    Picture {
        name: "structural-by-budget",
        title: "The same, budget by budget",
        svg: chart.finish("Structural cost, signal, richness and their sum against the budget"),
        legend: names.iter().map(|(class, name)| ((*class).to_owned(), (*name).to_owned())).collect(),
        caption: "Held-out rows. The three parts add up to router − cascade at every budget.".into(),
        numbers: vec![Numbers {
            title: "Quality points",
            header: header([
                "budget, USD per 1,000",
                "structural",
                "signal",
                "richness",
                "router − cascade",
                "interaction",
            ]),
            rows: data
                .iter()
                .map(|at| {
                    let cost = &at.cost;
                    let parts = [cost.structural, cost.signal, cost.richness, cost.total, cost.interaction];
                    let mut row = vec![brief(CALLS * at.budget_usd)];
                    row.extend(parts.map(in_points));
                    row
                })
                .collect(),
        }],
    }
}

/// G_c((1 − ρ)p) against G_r(p): the whole question for one pair (MATH.md 2.1).
pub(super) fn equal_budgets(report: &FitReport) -> Picture {
    let data = &report.equal_budgets;
    let [cascade, router] = [0, 1].map(|which| {
        data.iter()
            .map(|at| (at.router_share, 100.0 * [at.cascade_gain, at.router_gain][which]))
            .collect::<Vec<(f64, f64)>>()
    });
    let mut chart = Chart::new(
        Scale::linear([0.0, 1.0]),
        Scale::linear(cascade.iter().chain(&router).map(|at| at.1).chain([0.0])),
        "share that the budget lets a router send to the dear tier",
        "quality points gained",
    );
    chart.line("quiet thin", &[(f64::MIN, 0.0), (f64::MAX, 0.0)]);
    chart.line("c0", &cascade);
    chart.line("c1", &router);
    Picture {
        name: "equal-budgets",
        title: "Cascade and router at equal budgets",
        svg: chart.finish("Gain of cascade and router by the share that a budget allows"),
        legend: vec![("c0".into(), "cascade".into()), ("c1".into(), "router between the same two".into())],
        caption: "Held-out rows, the pair shown above. For the same money a router may send more requests to the dear tier \
                  than a cascade, which has paid for a cheap answer first; the cascade knows that answer. The higher line \
                  wins at that budget."
            .into(),
        numbers: vec![Numbers {
            title: "Gains in quality points",
            header: header(["router sends", "cascade sends", "cascade gains", "router gains"]),
            rows: data
                .iter()
                .map(|at| {
                    vec![
                        format!("{:.0} %", 100.0 * at.router_share),
                        format!("{:.0} %", 100.0 * at.cascade_share),
                        in_points(at.cascade_gain),
                        in_points(at.router_gain),
                    ]
                })
                .collect(),
        }],
    }
}
