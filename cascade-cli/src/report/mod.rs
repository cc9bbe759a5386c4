//! The report as one self-contained HTML page: no script, no network, readable on a phone and in print.

mod chart;
mod pictures;

use cascade_sdk_core::fit::report::{FamilyReport, FitReport};
use chart::{brief, escape};
use std::fmt::Write as _;

const STYLE: &str = include_str!("page.css");

/// A picture with its file name (for `--svg`), its title, an explanation, and the table behind it.
pub(crate) struct Picture {
    /// Name without an extension.
    pub(crate) name: &'static str,
    /// Heading.
    pub(crate) title: &'static str,
    /// The SVG.
    pub(crate) svg: String,
    /// Legend: colour class and name.
    pub(crate) legend: Vec<(String, String)>,
    /// One paragraph on how to read it.
    pub(crate) caption: String,
    /// Header and rows of the table behind the picture.
    pub(crate) table: (Vec<String>, Vec<Vec<String>>),
}

/// All pictures that the report has data for.
pub(crate) fn pictures(report: &FitReport) -> Vec<Picture> {
    pictures::all(report)
}

/// A picture as a file of its own, with the page's colours.
pub(crate) fn alone(picture: &Picture) -> String {
    picture.svg.replacen("<title>", &format!("<style>{STYLE}</style><title>"), 1)
}

/// The whole page.
pub(crate) fn page(report: &FitReport) -> String {
    let mut html = String::new();
    let title = format!("Cascade: route {}", escape(&report.route));
    let _ = write!(
        html,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>{title}</title><style>\n{STYLE}</style></head><body>\n\
         <h1>{title}</h1>\n<p class=\"soft\">{} rows: {} chose, {} were held out to report, {} could not be used.</p>\n",
        report.rows.used, report.rows.calibration, report.rows.test, report.rows.skipped
    );
    let class = if report.verdict.worth_it { "yes" } else { "no" };
    let _ = writeln!(html, "<div class=\"verdict {class}\">{}</div>", in_code(&report.verdict.text));
    for warning in &report.warnings {
        let _ = writeln!(html, "<p class=\"soft\">Note: {}.</p>", in_code(warning.trim_end_matches('.')));
    }
    html.push_str("<h2>What was tried</h2>\n");
    html.push_str(&families(report));
    if !report.slices.is_empty() {
        html.push_str("<h2>By label</h2>\n");
        html.push_str(&slices(report));
    }
    for picture in pictures(report) {
        let _ = write!(html, "<h2>{}</h2>\n<figure>\n{}\n", escape(picture.title), picture.svg);
        if !picture.legend.is_empty() {
            html.push_str("<ul class=\"legend\">");
            for (class, name) in &picture.legend {
                let _ = write!(
                    html,
                    "<li><i class=\"{class}\" style=\"background: currentColor\"></i>{}</li>",
                    escape(name)
                );
            }
            html.push_str("</ul>");
        }
        let _ = writeln!(html, "<figcaption>{}</figcaption></figure>", in_code(&picture.caption));
        let _ = writeln!(
            html,
            "<details><summary>The numbers</summary>{}</details>",
            table(&picture.table.0, &picture.table.1, None)
        );
    }
    html.push_str("</body></html>\n");
    html
}

fn families(report: &FitReport) -> String {
    let header = [
        "family",
        "plan",
        "quality",
        "95 %",
        "cost, USD",
        "95 %",
        "calls",
        "area (hull)",
        "keeps the constraint",
    ];
    let header: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
    let rows: Vec<Vec<String>> = report.families.iter().map(family_row).collect();
    let chosen = report.families.iter().position(|family| Some(family.family) == report.selected);
    table(&header, &rows, chosen)
}

fn family_row(family: &FamilyReport) -> Vec<String> {
    let interval = |ends: [f64; 2]| format!("{} … {}", brief(ends[0]), brief(ends[1]));
    let mut row = vec![family.family.replace('_', " "), plan(family)];
    match &family.held_out {
        Some(figures) => row.extend([
            brief(figures.quality),
            interval(figures.quality_ci),
            brief(figures.cost_usd),
            interval(figures.cost_usd_ci),
            format!("{:.2}", figures.calls),
        ]),
        None => row.extend(std::iter::repeat_n("–".to_owned(), 5)),
    }
    row.push(family.area_hull.map_or_else(|| "–".into(), |area| format!("{area:.4}")));
    row.push(if family.feasible { "yes" } else { "no" }.into());
    row
}

fn slices(report: &FitReport) -> String {
    let header =
        ["label", "rows", "quality", "cost, USD", "against the reference tier", "95 % for all at once"];
    let rows: Vec<Vec<String>> = report
        .slices
        .iter()
        .map(|slice| {
            let interval = slice.difference_ci.map_or_else(
                || "–".into(),
                |[low, high]| format!("{:+.1} … {:+.1} points", 100.0 * low, 100.0 * high),
            );
            vec![
                format!("{} = {}", slice.tag, slice.label),
                slice.rows.to_string(),
                brief(slice.quality),
                brief(slice.cost_usd),
                format!("{:+.1} points", 100.0 * slice.difference),
                interval,
            ]
        })
        .collect();
    table(&header.map(String::from), &rows, None)
}

/// A plan in one line: `small → large`.
pub(crate) fn plan(family: &FamilyReport) -> String {
    if family.plan.is_empty() {
        format!("router over {} plans", family.plans.len())
    } else {
        family.plan.iter().map(|stage| stage.tier.as_str()).collect::<Vec<_>>().join(" → ")
    }
}

fn table(header: &[String], rows: &[Vec<String>], chosen: Option<usize>) -> String {
    let mut html = String::from("<div class=\"scroll\"><table><thead><tr>");
    for name in header {
        let _ = write!(html, "<th scope=\"col\">{}</th>", escape(name));
    }
    html.push_str("</tr></thead><tbody>");
    for (index, row) in rows.iter().enumerate() {
        html.push_str(if chosen == Some(index) { "<tr class=\"chosen\">" } else { "<tr>" });
        for cell in row {
            let _ = write!(html, "<td>{}</td>", escape(cell));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>");
    html
}

/// Escapes text and sets what stands between backticks as code.
fn in_code(text: &str) -> String {
    escape(text)
        .split('`')
        .enumerate()
        .map(|(index, part)| if index % 2 == 1 { format!("<code>{part}</code>") } else { part.to_owned() })
        .collect()
}
