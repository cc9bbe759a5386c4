//! Prompts as a CSV file: a header, then one prompt a line.

use super::grade::GraderName;
use super::prompts::{Defaults, Found, Line, Prompt, Reference, check};
use crate::failure::Result;
use crate::words::some_of;
use cascade_sdk_core::diag::{Diagnostic, Source};
use std::str::FromStr;

/// Columns beside `tag.NAME` and `feature.NAME`.
const COLUMNS: [&str; 12] = [
    "id",
    "input",
    "reference",
    "grader",
    "options",
    "tolerance",
    "samples",
    "split",
    "group",
    "weight",
    "session",
    "turn",
];

/// Separates the options of one prompt.
const BETWEEN_OPTIONS: char = '|';

/// Reads the file; every mistake is found in one run.
///
/// # Errors
/// A header that lacks `id` or `input` or has a column that is not known, and lines that are wrong.
pub(super) fn parse(name: &str, bytes: &[u8], defaults: Defaults) -> Result<Vec<(Prompt, u32)>> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(bytes);
    let headers = reader.headers().map_err(|error| broken(name, 1, &error))?.clone();
    let known = |column: &&str| {
        !COLUMNS.contains(column) && !column.starts_with("tag.") && !column.starts_with("feature.")
    };
    let unknown: Vec<&str> = headers.iter().filter(known).collect();
    let missing = ["id", "input"].into_iter().find(|column| !headers.iter().any(|header| header == *column));
    if !unknown.is_empty() || missing.is_some() {
        let message = match missing {
            Some(missing) => format!("`{name}` has no column `{missing}`"),
            None => format!("`{name}` has columns that no prompt has: {}", some_of(unknown)),
        };
        let shown = Source::line(name, 1, headers.iter().collect::<Vec<_>>().join(","));
        let help = match headers.get(0).filter(|_| headers.len() == 1).and_then(|only| only.find([';', '\t']))
        {
            Some(_) => "the header is separated by semicolons or tabs: save the file with commas".to_owned(),
            None => format!("the columns are {}, tag.NAME and feature.NAME", COLUMNS.join(", ")),
        };
        return Err(Diagnostic::error("prompts::line", message).at(&shown, 0..0, "").help(help).into());
    }
    let mut found = Found::default();
    let mut lines = Lines { bytes, at: 0, number: 1 };
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let number = lines.of(error.position());
                found.wrong(broken(name, number, &error));
                continue;
            }
        };
        let number = lines.of(record.position());
        let fields: Vec<(&str, &str)> =
            headers.iter().zip(&record).filter(|(_, value)| !value.is_empty()).collect();
        let at = |key: &str, finding: Diagnostic| {
            let value = fields.iter().find(|(name, _)| *name == key).map_or("", |(_, value)| *value);
            finding.at(
                &Source::line(name, number, format!("{key} = {}", value.lines().next().unwrap_or(""))),
                0..0,
                "",
            )
        };
        match line(&fields).map_err(|(key, message)| {
            Box::new(at(
                key,
                Diagnostic::error("prompts::value", message).help("correct the cell, or leave it empty"),
            ))
        }) {
            Ok(line) => match check(line, defaults, at) {
                Ok(prompt) => {
                    found.add(number, prompt, || at("id", Diagnostic::error("prompts::duplicate-id", "")));
                }
                Err(finding) => found.wrong(*finding),
            },
            Err(finding) => {
                found.wrong(finding.help("write the value as the column needs it, or leave it empty"));
            }
        }
    }
    found.finish(name)
}

/// Counts lines up to records. The reader of CSV looks for a record from where the one before ended, and so before a line
/// break in CR LF and before blank lines.
struct Lines<'b> {
    bytes: &'b [u8],
    at: usize,
    number: usize,
}

impl Lines<'_> {
    /// The line on which the record starts that the reader looked for from there on. Records are asked for in order.
    fn of(&mut self, position: Option<&csv::Position>) -> usize {
        let from = position.and_then(|place| usize::try_from(place.byte()).ok()).unwrap_or(self.at);
        let rest = self.bytes.get(from..).unwrap_or_default();
        let start = from + rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let passed = self.bytes.get(self.at..start).unwrap_or_default();
        self.number += passed.split(|byte| *byte == b'\n').count() - 1;
        self.at = start.max(self.at);
        self.number
    }
}

fn broken(name: &str, line: usize, error: &csv::Error) -> Diagnostic {
    let what = match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "the line is not UTF-8".to_owned(),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("the line has {len} fields, the header {expected_len}")
        }
        _ => "the file cannot be read as CSV".to_owned(),
    };
    Diagnostic::error("prompts::line", what)
        .at(&Source::line(name, line, ""), 0..0, "")
        .help("quote fields that hold commas, quotes or line breaks, and save the file as UTF-8")
}

/// The line's fields; on failure the column and what is wrong with it.
fn line<'f>(fields: &[(&'f str, &str)]) -> std::result::Result<Line, (&'f str, String)> {
    let mut line = Line::default();
    for (column, value) in fields {
        let text = || Some((*value).to_owned());
        match *column {
            "id" => (*value).clone_into(&mut line.id),
            "input" => line.input = text(),
            "reference" => line.reference = text().map(Reference::Text),
            "grader" => {
                let name = GraderName::parse(value);
                let graders = || GraderName::ALL.map(GraderName::as_str).join(", ");
                let none =
                    || (*column, format!("there is no grader `{value}`; the graders are {}", graders()));
                line.grader = Some(name.ok_or_else(none)?);
            }
            "options" => {
                line.options = value.split(BETWEEN_OPTIONS).map(|option| option.trim().to_owned()).collect();
            }
            "tolerance" => line.tolerance = Some(number(column, value)?),
            "samples" => line.samples = Some(number(column, value)?),
            "split" => line.split = text(),
            "group" => line.group = text(),
            "weight" => line.weight = Some(number(column, value)?),
            "session" => line.session = text(),
            "turn" => line.turn = Some(number(column, value)?),
            column => {
                if let Some(tag) = column.strip_prefix("tag.") {
                    line.tags.insert(tag.to_owned(), (*value).to_owned());
                } else if let Some(feature) = column.strip_prefix("feature.") {
                    line.features.insert(feature.to_owned(), number(column, value)?);
                }
            }
        }
    }
    Ok(line)
}

fn number<'c, T: FromStr>(column: &'c str, value: &str) -> std::result::Result<T, (&'c str, String)> {
    value.trim().parse().map_err(|_| (column, format!("`{value}` is no number that `{column}` can have")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    #[test]
    fn a_table_of_prompts() {
        let text = "id,input,reference,grader,options,tag.kind,feature.words\n\
                    a,\"2+2, please?\",4,numeric,,sum,3\nb,Which?,yes,choice,yes | no,,\n";
        let prompts = parse("p.csv", text.as_bytes(), Defaults::default()).unwrap();
        let prompt = &prompts[0].0;
        assert_eq!((prompt.id.as_str(), prompt.about.tags["kind"].as_str()), ("a", "sum"));
        assert_eq!(prompt.about.features["words"].to_bits(), 3.0_f64.to_bits());
        assert_eq!(prompts[1].0.grader.grade("No!"), Some(0.0));
    }

    #[test]
    fn all_mistakes_are_found_in_one_run() {
        let messages = |text: &str| match parse("p.csv", text.as_bytes(), Defaults::default()) {
            Ok(_) => Vec::new(),
            Err(Failure(found)) => found.iter().map(|finding| finding.message.clone()).collect(),
        };
        let text = "id,input,reference,grader,weight\na,x,4,numeric,\na,x,4,numeric,\nb,x,4,fuzzy,\nc,x,four,numeric,\n\
                    d,x,4,numeric,heavy\ne,x,4\nf,,4,numeric,\n";
        let found = messages(text);
        assert_eq!(found.len(), 6, "{found:#?}");
        assert_eq!(found[0], "the id `a` was used on line 2");
        assert!(
            found[1].starts_with("there is no grader `fuzzy`; the graders are exact, contains,"),
            "{}",
            found[1]
        );
        assert_eq!(messages(&text.replace('\n', "\r\n\r\n"))[0], "the id `a` was used on line 3");
        assert_eq!(messages("id,question\n"), ["`p.csv` has no column `input`"]);
        assert_eq!(messages("id,input,answer\n"), ["`p.csv` has columns that no prompt has: `answer`"]);
    }
}
