//! CSV in the long form: one line for each row and tier, with the columns of DESIGN.md 5. An empty cell is a value that is
//! not there.

use super::lines::{BYTE_ORDER_MARK, LogHash, trimmed};
use super::parse::Fault;
use super::problems::{Place, RowText};
use super::read::{self, Reader};
use super::record::{RawJson, ResultRecord, RowRecord};
use crate::diag::{Diagnostic, Source};
use crate::money::Usd;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Read};

/// The column that holds the value at `path`.
pub(super) fn column_of(path: &[String]) -> String {
    match path {
        [results, _, group, name] if results == "results" => {
            let prefix = if group == "signal_cost_usd" { "signal_cost" } else { "signal" };
            format!("{prefix}.{name}")
        }
        [results, _, name] if results == "results" => name.clone(),
        [results, _] if results == "results" => "tier".to_owned(),
        [group, name] => format!("{}.{name}", group.trim_end_matches('s')),
        [name, ..] => name.clone(),
        [] => String::new(),
    }
}

/// The rows of one file, put together from their lines.
#[derive(Debug, Default)]
struct Rows(BTreeMap<String, Pending>);

/// A row of which some lines were read.
#[derive(Debug, Default)]
struct Pending {
    row: RowRecord<'static>,
    faults: Vec<Fault>,
    first_line: u32,
    /// The line of each tier.
    lines: BTreeMap<String, u32>,
}

/// Reads a CSV file.
pub(super) fn read(
    reader: &mut Reader<'_>,
    file: &str,
    file_index: u32,
    source: Box<dyn Read + '_>,
    gzip: bool,
) {
    let longest = reader.options.longest_line;
    let tap = Tap {
        source,
        line: Vec::new(),
        hash: LogHash::default(),
        lines: Lines::default(),
        since_record: 0,
        longest,
    };
    let mut csv = ::csv::ReaderBuilder::new().flexible(true).from_reader(tap);
    match rows(reader, file, &mut csv) {
        Ok(rows) => {
            for pending in rows.0.into_values() {
                let Pending { row, faults, first_line, lines } = pending;
                let place = Place { file, file_index, line: first_line, text: RowText::Csv(&lines) };
                reader.row(row, &place, faults);
            }
        }
        Err(Stop::Said) => {}
        Err(Stop::Failed(why)) => {
            let line = line_of(csv.position());
            let finding = match why.into_kind() {
                ::csv::ErrorKind::Io(why) if why.kind() == io::ErrorKind::FileTooLarge => {
                    read::too_long(file, line as usize, longest).help("or a quote is never closed")
                }
                ::csv::ErrorKind::Io(why) => read::unreadable(file, line, gzip, &why),
                other => read::unreadable(file, line, gzip, &io::Error::other(format!("{other:?}"))),
            };
            reader.problems.fatal(finding);
        }
    }
    reader.hash.append(csv.into_inner().finish());
}

/// Why a file's rows are not used.
enum Stop {
    /// It was reported.
    Said,
    /// The source or the format failed.
    Failed(::csv::Error),
}

impl From<::csv::Error> for Stop {
    fn from(why: ::csv::Error) -> Self {
        Self::Failed(why)
    }
}

fn rows(
    reader: &mut Reader<'_>,
    file: &str,
    csv: &mut ::csv::Reader<Tap<Box<dyn Read + '_>>>,
) -> Result<Rows, Stop> {
    let Some(columns) = header(reader, file, csv.byte_headers()?) else { return Err(Stop::Said) };
    let mut rows = Rows::default();
    let mut record = ::csv::ByteRecord::new();
    loop {
        csv.get_mut().since_record = 0;
        if !csv.read_byte_record(&mut record)? {
            return Ok(rows);
        }
        let start = record.position().map_or(0, ::csv::Position::byte);
        let line = csv.get_mut().lines.at(start);
        if let Err(finding) = rows.line(file, &columns, &record, line) {
            reader.problems.broken_line(|| finding);
        }
    }
}

fn line_of(position: &::csv::Position) -> u32 {
    u32::try_from(position.line()).unwrap_or(u32::MAX)
}

/// The names of the columns, if they can be used.
fn header(reader: &mut Reader<'_>, file: &str, header: &::csv::ByteRecord) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for name in header {
        match std::str::from_utf8(name) {
            Ok(name) => names.push(name.trim().to_owned()),
            Err(why) => {
                reader.problems.fatal(read::not_utf8(file, 1, name, why.valid_up_to()));
                return None;
            }
        }
    }
    // A file without a single line is an empty log, which is reported for the log as a whole.
    if names.is_empty() {
        return None;
    }
    let source = Source::line(file, 1, names.join(","));
    let mut fatal = |message: String, help: &str| {
        let finding = Diagnostic::error("log::csv-header", message).at(&source, 0..source.text.len(), "");
        reader.problems.fatal(finding.help(help));
    };
    let missing: Vec<&str> =
        ["id", "tier"].into_iter().filter(|name| !names.iter().any(|n| n == name)).collect();
    let mut seen = BTreeSet::new();
    let twice = names.iter().find(|name| !seen.insert(name.as_str()));
    if !missing.is_empty() {
        let message = format!("the CSV has no column `{}`", missing.join("` and no column `"));
        fatal(
            message,
            "the first line names the columns, separated by commas; there is one line for each row and tier",
        );
        return None;
    }
    if let Some(name) = twice {
        fatal(format!("the CSV has two columns `{name}`"), "keep one of them");
        return None;
    }
    Some(names)
}

impl Rows {
    /// Takes one line. An error is of a line that cannot be told to belong to any row.
    fn line(
        &mut self,
        file: &str,
        columns: &[String],
        record: &::csv::ByteRecord,
        line: u32,
    ) -> Result<(), Diagnostic> {
        let cell = |name: &str| {
            let at = columns.iter().position(|column| column == name)?;
            std::str::from_utf8(record.get(at)?).ok().filter(|text| !text.is_empty())
        };
        let Some(id) = cell("id") else {
            let finding = Diagnostic::error("log::missing", "the line has no `id`");
            return Err(finding.at(&Source::line(file, line as usize, "id"), 0..2, ""));
        };
        let pending = self.0.entry(id.to_owned()).or_insert_with(|| Pending {
            row: RowRecord::new(id),
            first_line: line,
            ..Pending::default()
        });
        let tier = cell("tier").unwrap_or_default().to_owned();
        let earlier = pending.lines.insert(tier.clone(), line);
        let mut fault = |code, message: String| {
            pending.faults.push(Fault {
                code,
                path: vec!["results".to_owned(), tier.clone()],
                message,
                help: None,
            });
        };
        if tier.is_empty() {
            fault("log::missing", format!("has no `tier` in line {line}"));
        } else if let Some(earlier) = earlier {
            fault("log::duplicate-id", format!("stands in lines {earlier} and {line}"));
        } else if record.len() != columns.len() {
            let (fields, wanted) = (record.len(), columns.len());
            fault(
                "log::csv-fields",
                format!("has {fields} fields in line {line}, but the header has {wanted}"),
            );
        } else {
            pending.cells(&tier, columns, record);
        }
        Ok(())
    }
}

impl Pending {
    fn cells(&mut self, tier: &str, columns: &[String], record: &::csv::ByteRecord) {
        let mut result = ResultRecord::default();
        for (column, cell) in columns.iter().zip(record) {
            if cell.is_empty() {
                continue;
            }
            let before = self.faults.len();
            let belongs = if let Ok(cell) = std::str::from_utf8(cell) {
                set_result(&mut result, column, cell, &mut self.faults)
                    .or_else(|| set_row(&mut self.row, column, cell, &mut self.faults))
            } else {
                let fault = Fault::new("log::encoding", column, "is not UTF-8");
                self.faults.push(fault.help("save the file as UTF-8"));
                Some(Belongs::Result)
            };
            match belongs {
                Some(Belongs::Result) => {
                    for fault in self.faults.iter_mut().skip(before) {
                        fault.path.splice(0..0, ["results".to_owned(), tier.to_owned()]);
                    }
                }
                Some(Belongs::Row) => {}
                None => {
                    let text = String::from_utf8_lossy(cell);
                    if let Ok(text) = RawJson::of(&text) {
                        self.row.unknown.insert(Cow::Owned(column.clone()), text);
                    }
                }
            }
        }
        self.row.results.insert(Cow::Owned(tier.to_owned()), result);
    }
}

/// What a column says something about.
enum Belongs {
    Row,
    Result,
}

/// Puts a cell into a result; `None` if the column is none of a result's.
fn set_result(
    result: &mut ResultRecord<'static>,
    column: &str,
    cell: &str,
    faults: &mut Vec<Fault>,
) -> Option<Belongs> {
    let text = || Some(Cow::Owned(cell.to_owned()));
    match column {
        "tier" => {}
        "quality" => result.quality = number(column, cell, faults),
        "cost_usd" => result.cost_usd = money(column, cell, faults),
        "input_tokens" => result.input_tokens = count(column, cell, faults),
        "cached_input_tokens" => result.cached_input_tokens = count(column, cell, faults),
        "cache_write_tokens" => result.cache_write_tokens = count(column, cell, faults),
        "output_tokens" => result.output_tokens = count(column, cell, faults),
        "reasoning_tokens" => result.reasoning_tokens = count(column, cell, faults),
        "latency_ms" => result.latency_ms = number(column, cell, faults),
        "output" => result.output = text(),
        "graded_by" => result.graded_by = text(),
        "served_model" => result.served_model = text(),
        "finish" => result.finish = text(),
        "request_hash" => result.request_hash = text(),
        "error" => result.error = text(),
        _ => match column.split_once('.')? {
            ("signal", name) => {
                let value = nested("signals", faults, |faults| number(name, cell, faults));
                result.signals.insert(Cow::Owned(name.to_owned()), value);
            }
            ("signal_cost", name) => {
                let value = nested("signal_cost_usd", faults, |faults| money(name, cell, faults));
                result.signal_cost_usd.insert(Cow::Owned(name.to_owned()), value);
            }
            _ => return None,
        },
    }
    Some(Belongs::Result)
}

/// Puts a cell into a row, where it must not contradict an earlier line; `None` if the column is none of a row's.
fn set_row(
    row: &mut RowRecord<'static>,
    column: &str,
    cell: &str,
    faults: &mut Vec<Fault>,
) -> Option<Belongs> {
    let text = || Cow::Owned(cell.to_owned());
    let agrees = match column {
        "id" => true,
        "input" => same(&mut row.input, Some(text())),
        "split" => same(&mut row.split, Some(text())),
        "group" => same(&mut row.group, Some(text())),
        "embedding" => {
            let vector = RawJson::parse(cell);
            if vector.is_none() {
                faults.push(
                    Fault::new("log::type", column, "should be an array of numbers, as JSON")
                        .help("leave the cell empty where it is not known"),
                );
            }
            same(&mut row.embedding, vector)
        }
        "embedding_model" => same(&mut row.embedding_model, Some(text())),
        "embedding_cost_usd" => same(&mut row.embedding_cost_usd, money(column, cell, faults)),
        "embedding_latency_ms" => same(&mut row.embedding_latency_ms, number(column, cell, faults)),
        "session" => same(&mut row.session, Some(text())),
        "turn" => same(&mut row.turn, count(column, cell, faults)),
        "weight" => same(&mut row.weight, number(column, cell, faults)),
        "sampling_probability" => same(&mut row.sampling_probability, number(column, cell, faults)),
        _ => match column.split_once('.')? {
            ("feature", name) => {
                let value = nested("features", faults, |faults| number(name, cell, faults));
                same(row.features.entry(Cow::Owned(name.to_owned())).or_default(), value)
            }
            ("tag", name) => same(row.tags.entry(Cow::Owned(name.to_owned())).or_default(), Some(text())),
            _ => return None,
        },
    };
    if !agrees {
        faults.push(
            Fault::new("log::csv-contradiction", column, "differs between the lines of the row")
                .help("a row has one line a tier, and what is not of the tier is the same in all"),
        );
    }
    Some(Belongs::Row)
}

/// Keeps the first value; false if another one follows.
fn same<V: PartialEq>(slot: &mut Option<V>, value: Option<V>) -> bool {
    match (&slot, &value) {
        (Some(earlier), Some(value)) => earlier == value,
        (None, _) => {
            *slot = value;
            true
        }
        (Some(_), None) => true,
    }
}

/// Puts the name of the map in front of the paths of faults in one of its values.
fn nested<V>(key: &str, faults: &mut Vec<Fault>, read: impl FnOnce(&mut Vec<Fault>) -> V) -> V {
    let before = faults.len();
    let value = read(faults);
    for fault in faults.iter_mut().skip(before) {
        fault.path.insert(0, key.to_owned());
    }
    value
}

fn number(column: &str, cell: &str, faults: &mut Vec<Fault>) -> Option<f64> {
    let value = cell.trim().parse().ok();
    if value.is_none() {
        faults.push(
            Fault::new("log::type", column, "should be a number")
                .help("leave the cell empty where it is not known"),
        );
    }
    value
}

fn money(column: &str, cell: &str, faults: &mut Vec<Fault>) -> Option<Usd> {
    let dollars: f64 = number(column, cell, faults)?;
    Usd::from_f64(dollars)
        .inspect_err(|why| faults.push(Fault::new("log::value", column, format!("is {dollars}: {why}"))))
        .ok()
}

fn count(column: &str, cell: &str, faults: &mut Vec<Fault>) -> Option<u64> {
    let cell = cell.trim();
    // Tools that keep whole numbers as floats write 132.0.
    let value = cell.strip_suffix(".0").unwrap_or(cell).parse().ok();
    if value.is_none() {
        faults.push(Fault::new("log::type", column, "should be a whole number, zero or more"));
    }
    value
}

/// Where the lines start that were read and whose records were not yet asked for. The reader of CSV counts the line breaks
/// that it has seen, and has not seen the one before a record where lines end in CR LF, nor blank lines.
#[derive(Debug, Default)]
struct Lines {
    /// Byte of the start and number of each line that is not blank.
    starts: VecDeque<(u64, u32)>,
    /// Lines and bytes that came to their end.
    ended: u32,
    bytes: u64,
}

impl Lines {
    fn end(&mut self, length: usize, blank: bool) {
        self.ended = self.ended.saturating_add(1);
        if !blank {
            self.starts.push_back((self.bytes, self.ended));
        }
        self.bytes += length as u64;
    }

    /// The line of the record for which the reader looked from this byte on. Records are asked for in order.
    fn at(&mut self, byte: u64) -> u32 {
        while self.starts.front().is_some_and(|(start, _)| *start < byte) {
            self.starts.pop_front();
        }
        // A last line without an end.
        self.starts.front().map_or(self.ended.saturating_add(1), |(_, number)| *number)
    }
}

/// Passes bytes on unchanged, hashes the lines they make, and bounds the length of a record.
struct Tap<R> {
    source: R,
    line: Vec<u8>,
    hash: LogHash,
    lines: Lines,
    since_record: usize,
    longest: usize,
}

impl<R: Read> Read for Tap<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // An unclosed quote would otherwise take the rest of the file into memory.
        if self.since_record > self.longest {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let length = self.source.read(buffer)?;
        self.since_record = self.since_record.saturating_add(length);
        for part in buffer.get(..length).unwrap_or_default().split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
        Ok(length)
    }
}

impl<R> Tap<R> {
    fn end_line(&mut self) {
        let mut line = trimmed(&self.line);
        if self.lines.ended == 0 {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        let blank = line.trim_ascii().is_empty();
        if !blank {
            self.hash.add(Sha256::digest(line).into());
        }
        self.lines.end(self.line.len(), blank);
        self.line.clear();
    }

    fn finish(mut self) -> LogHash {
        self.end_line();
        self.hash
    }
}
