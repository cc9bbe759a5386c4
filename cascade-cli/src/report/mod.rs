//! The report as one self-contained HTML page: no script, no network, readable on a phone and in print.

mod bars;
mod chart;
mod pictures;
mod tables;
pub(crate) mod terminal_plot;

use crate::policy_words;
use cascade_sdk_core::fit::report::FitReport;
use chart::escape;
use std::fmt::Write as _;

const STYLE: &str = include_str!("page.css");

/// A picture with its file name (for `--svg`), its title, an explanation, and the tables behind it.
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
    /// What it shows, in numbers.
    pub(crate) numbers: Vec<Numbers>,
}

/// A table behind a picture.
pub(crate) struct Numbers {
    /// What it lists.
    pub(crate) title: &'static str,
    /// Names of the columns.
    pub(crate) header: Vec<String>,
    /// Cells.
    pub(crate) rows: Vec<Vec<String>>,
}

pub(crate) use pictures::last_doubling;

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
         content=\"width=device-width, initial-scale=1\"><title>{title}</title><style>\n{STYLE}</style></head><body><main>\n\
         <h1>{title}</h1>\n<p class=\"soft\">{} rows: {} chose, {} were held out to report, {} could not be used.</p>\n\
         <p>Asked for: {}.</p>\n",
        report.rows.used,
        report.rows.calibration,
        report.rows.test,
        report.rows.skipped,
        escape(&policy_words::objective(&report.objective.0))
    );
    // "Use one model" and "undecided" are answers too, not failures.
    let broken = report.verdict.objective.as_ref().is_some_and(|held| held.holds == "no");
    let class = match (report.verdict.worth_it, report.selected) {
        _ if broken => "no",
        (true, _) => "yes",
        (false, Some(_)) => "plain",
        (false, None) => "no",
    };
    let _ = writeln!(html, "<div class=\"verdict {class}\">{}</div>", in_code(&report.verdict.text));
    // The verdict says itself what does not hold.
    if let Some(held) = report.verdict.objective.as_ref().filter(|_| !broken) {
        let _ = writeln!(html, "<p>{}.</p>", in_code(&sentence(&held.text)));
    }
    for warning in &report.warnings {
        let _ = writeln!(html, "<p class=\"soft\">Note: {}.</p>", in_code(warning.trim_end_matches('.')));
    }
    let mut section = |title: &str, body: Option<String>| {
        if let Some(body) = body {
            let _ = writeln!(html, "<h2>{title}</h2>\n{body}");
        }
    };
    let keeps = "<p class=\"soft\">The constraint is judged on calibration rows. Area (hull) is held-out quality averaged over \
                 20 budgets between the cheapest and the best tier's cost, at the multiplier of each budget and mixtures \
                 included: of two families the one with more is better over the whole range.</p>";
    section("What was tried", Some(tables::families(report) + keeps));
    section("Against always using one tier", tables::against(report));
    section("By label", tables::slices(report));
    for picture in pictures(report) {
        section(&escape(picture.title), Some(figure(&picture)));
    }
    section("When the pair pays", report.break_even.as_ref().map(tables::break_even));
    section("How good the signals are", tables::signals(report));
    html.push_str("</main></body></html>\n");
    html
}

fn figure(picture: &Picture) -> String {
    let mut html = format!("<figure>\n{}\n", picture.svg);
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
    html.push_str("<details><summary>The numbers</summary>");
    for numbers in &picture.numbers {
        let _ = write!(html, "<h3>{}</h3>{}", numbers.title, table(&numbers.header, &numbers.rows, None));
    }
    let _ = writeln!(
        html,
        "</details><p class=\"soft save\"><a download=\"{}.svg\" href=\"data:image/svg+xml,{}\">Save as SVG</a></p>",
        picture.name,
        percent_encoded(&alone(picture))
    );
    html
}

/// Text for a `data:` address inside a quoted attribute.
fn percent_encoded(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len() * 5 / 4), |mut out, c| {
        match c {
            '%' | '#' | '<' | '>' | '"' | '&' | '\n' | '{' | '}' => {
                let _ = write!(out, "%{:02X}", u32::from(c));
            }
            c => out.push(c),
        }
        out
    })
}

fn table(header: &[String], rows: &[Vec<String>], chosen: Option<usize>) -> String {
    // Columns of words go left and may break over lines; numbers do neither.
    let of_words = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).any(|cell| cell.contains('→') || cell.len() > 32)
    };
    let classes: Vec<&str> =
        (0..header.len()).map(|column| if of_words(column) { " class=\"words\"" } else { "" }).collect();
    // The roles are those that the elements have; browsers forget them where rows are laid out as lists. A box that scrolls
    // must be reachable by keyboard.
    let mut html = String::from(
        "<div class=\"scroll\" tabindex=\"0\"><table role=\"table\"><thead role=\"rowgroup\"><tr role=\"row\">",
    );
    for (name, class) in header.iter().zip(&classes) {
        let _ = write!(html, "<th role=\"columnheader\" scope=\"col\"{class}>{}</th>", escape(name));
    }
    html.push_str("</tr></thead><tbody role=\"rowgroup\">");
    for (index, row) in rows.iter().enumerate() {
        let is_chosen = chosen == Some(index);
        html.push_str(if is_chosen { "<tr role=\"row\" class=\"chosen\">" } else { "<tr role=\"row\">" });
        for (place, ((cell, class), name)) in row.iter().zip(&classes).zip(header).enumerate() {
            // On a phone a row is a list, and each cell says what it is.
            let name = escape(name);
            let cell = escape(cell);
            let _ = if place == 0 {
                let mark = if is_chosen { " (chosen)" } else { "" };
                write!(
                    html,
                    "<th role=\"rowheader\" scope=\"row\"{class} data-name=\"{name}\">{cell}{mark}</th>"
                )
            } else {
                write!(html, "<td role=\"cell\"{class} data-name=\"{name}\">{cell}</td>")
            };
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>");
    html
}

/// Text with a capital letter at its start.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Escapes text and sets what stands between backticks as code.
fn in_code(text: &str) -> String {
    escape(text)
        .split('`')
        .enumerate()
        .map(|(index, part)| if index % 2 == 1 { format!("<code>{part}</code>") } else { part.to_owned() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_survives_its_address() {
        let encoded = percent_encoded("<svg fill=\"#fff\">50 % & {}\n</svg>");
        assert_eq!(encoded, "%3Csvg fill=%22%23fff%22%3E50 %25 %26 %7B%7D%0A%3C/svg%3E");
    }
}
