//! Reading logs: one pass over every source, line by line.

use super::build::Builder;
use super::lines::{Line, Lines, LogHash, unpack};
use super::parse::{self, Fault};
use super::problems::{Place, Problems, RowText, short};
use super::record::RowRecord;
use super::{EvalLog, check, csv, embeddings, excerpt};
use crate::config::{Config, EarlyEscalation, EmbeddingSettings, Route, SignalKind, SignalSettings};
use crate::diag::{Diagnostic, Source};
use crate::money::Price;
#[cfg(feature = "static-embedding")]
use crate::money::Usd;
use crate::name::shell_word;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Read};

/// A log file: its name, which says its format, and its bytes.
pub struct LogSource<'a> {
    /// Path as the person would type it. Ends with `.jsonl`, `.csv`, `.jsonl.gz` or `.csv.gz`.
    pub name: String,
    /// The bytes.
    pub reader: Box<dyn Read + 'a>,
}

impl<'a> LogSource<'a> {
    /// A source; buffering is done here, so a plain `File` or byte slice will do.
    pub fn new(name: impl Into<String>, reader: impl Read + 'a) -> Self {
        Self { name: name.into(), reader: Box::new(reader) }
    }
}

impl fmt::Debug for LogSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogSource").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How a log is read.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, each named where it is set")]
pub struct ReadOptions {
    /// Prices by tier, to work out costs that the log does not state.
    pub prices: BTreeMap<String, Price>,
    /// Take costs from tokens and prices even where the log states them.
    pub reprice: bool,
    /// Only these tiers are read and checked; `None` reads all.
    pub tiers: Option<BTreeSet<String>>,
    /// By signal, the tier and the rubric of the judge it comes from: such a signal is refused on rows that the same judge
    /// graded ([`super::names_judge`]).
    pub judges: BTreeMap<String, (String, String)>,
    /// What made the rows' embeddings, and how long they are; without it they are passed over.
    pub embedding: Option<EmbeddingSettings>,
    /// The file of word vectors that the route names, read: the vectors of all rows with a prompt come from it.
    #[cfg(feature = "static-embedding")]
    pub static_embedding: Option<std::sync::Arc<crate::static_embedding::StaticEmbedding>>,
    /// A single broken row makes the whole log unusable.
    pub strict: bool,
    /// Rows may lack results and grades, as what production saw does: a quality that is missing is NaN. Not for the fit.
    pub ungraded: bool,
    /// Keep what the models returned; replay needs it, the fit does not.
    pub keep_outputs: bool,
    /// Keep the answers' tokens in numbers, so that they can be watched as they arrived; see [`crate::early`].
    pub keep_tokens: bool,
    /// Messages may show prompts and outputs.
    pub show_text: bool,
    /// Longest line (in CSV: longest record) in bytes.
    pub longest_line: usize,
    /// Most errors of single rows to list; the rest is counted.
    pub most_errors: usize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            prices: BTreeMap::new(),
            reprice: false,
            tiers: None,
            judges: BTreeMap::new(),
            embedding: None,
            #[cfg(feature = "static-embedding")]
            static_embedding: None,
            strict: false,
            ungraded: false,
            keep_outputs: true,
            keep_tokens: false,
            show_text: false,
            longest_line: 64 << 20,
            most_errors: 20,
        }
    }
}

impl ReadOptions {
    /// How the fit of a route reads its log: its own tiers at their prices, without outputs.
    pub fn for_route(config: &Config, route: &Route) -> Self {
        let price = |name: &String| Some((name.clone(), config.tier(name)?.price));
        let judge = |signal: &SignalSettings| match &signal.kind {
            SignalKind::Judge { tier, rubric } => Some((signal.name.clone(), (tier.clone(), rubric.clone()))),
            _ => None,
        };
        Self {
            judges: route.signals.iter().filter_map(judge).collect(),
            prices: route.tiers.iter().filter_map(price).collect(),
            tiers: Some(route.tiers.iter().cloned().collect()),
            embedding: route.embedding.clone(),
            keep_outputs: false,
            keep_tokens: route.runtime.early_escalation == EarlyEscalation::Fitted,
            ..Self::default()
        }
    }

    /// Reads the file of word vectors that the route names, if it names one. `directory` is that of the configuration.
    ///
    /// # Errors
    /// What is wrong with the file.
    #[cfg(feature = "static-embedding")]
    pub fn with_static_embedding(self, directory: &std::path::Path) -> Result<Self, Vec<Diagnostic>> {
        let Some((settings, file)) = self.embedding.as_ref().and_then(|all| Some((all, all.file.as_ref()?)))
        else {
            return Ok(self);
        };
        let table =
            crate::static_embedding::StaticEmbedding::open(&directory.join(file), file, settings.dimensions)?;
        Ok(Self { static_embedding: Some(std::sync::Arc::new(table)), ..self })
    }

    /// The hash of the file of word vectors that rows are embedded with, if they are.
    #[cfg_attr(
        not(feature = "static-embedding"),
        expect(clippy::unused_self, reason = "with the feature it reads the table")
    )]
    pub(super) fn static_hash(&self) -> Option<String> {
        #[cfg(feature = "static-embedding")]
        return self.static_embedding.as_ref().map(|table| table.sha256().to_owned());
        #[cfg(not(feature = "static-embedding"))]
        None
    }
}

/// A log and what was found wrong with it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogReading {
    /// The rows that can be used.
    pub log: EvalLog,
    /// Rows that cannot.
    pub skipped: usize,
    /// Errors of skipped rows, then warnings.
    pub diagnostics: Vec<Diagnostic>,
    /// Names of the sources; [`super::Row::place`] counts in this list.
    pub files: Vec<String>,
}

/// The rows of a log as they stand in it, for tools that add to them, and what was found wrong.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecordReading {
    /// The rows that are not broken, in the order in which they were read.
    pub rows: Vec<RowRecord<'static>>,
    /// Rows that are.
    pub skipped: usize,
    /// Errors of skipped rows, then warnings.
    pub diagnostics: Vec<Diagnostic>,
}

/// Format of a source, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Format {
    csv: bool,
    gzip: bool,
}

fn format_of(name: &str) -> Result<Format, Diagnostic> {
    let lower = name.to_ascii_lowercase();
    let (stem, gzip) = lower.strip_suffix(".gz").map_or((lower.as_str(), false), |stem| (stem, true));
    let extension = stem.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension {
        "jsonl" => return Ok(Format { csv: false, gzip }),
        "csv" => return Ok(Format { csv: true, gzip }),
        _ => {}
    }
    let diagnostic = Diagnostic::error("log::format", format!("`{name}` is not a log by its name"));
    Err(if extension == "parquet" {
        diagnostic.help(format!(
            "run `cascade import table {} --map id=COLUMN … --out LOG.jsonl` first",
            shell_word(name)
        ))
    } else {
        diagnostic.help(
            "logs are `.jsonl` or `.csv`, each also with `.gz`; `cascade import` reads other tools' logs",
        )
    })
}

/// Reads a log from all its sources.
///
/// Rows that are broken are left out, counted and reported; duplicate ids too. The result does not depend on the order of
/// the sources or of their lines.
///
/// # Errors
/// All findings, if the log cannot be used: no rows, a source that cannot be read to its end, a name of no known format, a
/// signal that comes from the judge that graded, or, with [`ReadOptions::strict`], any broken row.
///
/// ```
/// use cascade_sdk_core::log::{LogSource, ReadOptions, read};
/// let line = r#"{"id":"q-1","input":"2+2?","results":{"small":{"quality":1,"cost_usd":1e-5}}}"#;
/// let reading = read([LogSource::new("log.jsonl", line.as_bytes())], &ReadOptions::default()).unwrap();
/// assert_eq!(reading.log.rows.len(), 1);
/// ```
pub fn read<'a>(
    sources: impl IntoIterator<Item = LogSource<'a>>,
    options: &ReadOptions,
) -> Result<LogReading, Vec<Diagnostic>> {
    let mut reader = Reader::new(options);
    for source in sources {
        reader.source(source);
    }
    reader.finish(false)
}

/// Reads the rows of a log as they stand in it, unknown keys and raw JSON included, under the same checks as [`read`]. A
/// log without rows is no error here.
///
/// # Errors
/// As [`read`].
pub fn records<'a>(
    sources: impl IntoIterator<Item = LogSource<'a>>,
    options: &ReadOptions,
) -> Result<RecordReading, Vec<Diagnostic>> {
    let mut reader = Reader::new(options);
    reader.records = Some(Vec::new());
    for source in sources {
        reader.source(source);
    }
    let mut rows = reader.records.take().unwrap_or_default();
    let reading = reader.finish(true)?;
    // Those that share an id are not used.
    rows.retain(|row| reading.log.row_index(&row.id).is_some());
    Ok(RecordReading { rows, skipped: reading.skipped, diagnostics: reading.diagnostics })
}

/// The hash of a log without reading its rows: the [`EvalLog::hash`] that [`read`] finds for the same sources.
///
/// # Errors
/// If a source cannot be read to its end or has a name of no known format.
pub fn hash<'a>(sources: impl IntoIterator<Item = LogSource<'a>>) -> Result<String, Vec<Diagnostic>> {
    let (mut hash, mut findings) = (LogHash::default(), Vec::new());
    for source in sources {
        let format = match format_of(&source.name) {
            Ok(format) => format,
            Err(finding) => {
                findings.push(finding);
                continue;
            }
        };
        let mut lines = Lines::new(unpack(source.reader, format.gzip), ReadOptions::default().longest_line);
        loop {
            match lines.next() {
                Ok(Some(line)) => hash.add(line.digest),
                Ok(None) => break,
                Err(why) => {
                    findings.push(unreadable(&source.name, lines.number(), format.gzip, &why));
                    break;
                }
            }
        }
    }
    if findings.is_empty() { Ok(hash.finish()) } else { Err(findings) }
}

/// State of one reading.
pub(super) struct Reader<'o> {
    pub(super) options: &'o ReadOptions,
    pub(super) problems: Problems,
    pub(super) hash: LogHash,
    files: Vec<String>,
    builder: Builder,
    /// The rows as they stand, where they are asked for.
    records: Option<Vec<RowRecord<'static>>>,
}

impl<'o> Reader<'o> {
    fn new(options: &'o ReadOptions) -> Self {
        let problems = Problems::new(options.show_text, options.most_errors);
        Self {
            options,
            problems,
            hash: LogHash::default(),
            files: Vec::new(),
            builder: Builder::default(),
            records: None,
        }
    }

    fn source(&mut self, source: LogSource<'_>) {
        let LogSource { name, reader } = source;
        let file_index = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        self.files.push(name.clone());
        match format_of(&name) {
            Err(finding) => self.problems.fatal(finding),
            Ok(Format { csv: true, gzip }) => csv::read(self, &name, file_index, unpack(reader, gzip), gzip),
            Ok(Format { csv: false, gzip }) => self.json_lines(&name, file_index, unpack(reader, gzip), gzip),
        }
    }

    fn json_lines(&mut self, file: &str, file_index: u32, source: Box<dyn Read + '_>, gzip: bool) {
        let mut lines = Lines::new(source, self.options.longest_line);
        loop {
            match lines.next() {
                Ok(Some(line)) => {
                    self.hash.add(line.digest);
                    self.json_line(file, file_index, &line);
                }
                Ok(None) => return,
                Err(why) => {
                    let line = lines.number();
                    self.problems.fatal(unreadable(file, line, gzip, &why));
                    return;
                }
            }
        }
    }

    fn json_line(&mut self, file: &str, file_index: u32, line: &Line<'_>) {
        let number = line.number as usize;
        let Some(bytes) = line.bytes else {
            let longest = self.options.longest_line;
            self.problems.broken_line(|| too_long(file, number, longest));
            return;
        };
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(why) => {
                self.problems.broken_line(|| not_utf8(file, number, bytes, why.valid_up_to()));
                return;
            }
        };
        let mut faults = Vec::new();
        let mended;
        let mut parsed = parse::row(text, &mut faults);
        let mut read_text = text;
        if parsed.is_err()
            && let Some(text) = parse::mend_surrogates(text)
        {
            mended = text;
            faults.clear();
            parsed = parse::row(&mended, &mut faults);
            read_text = &mended;
            self.problems.tally("log::surrogate", file, || {
                let message = "an escape `\\uD800` to `\\uDFFF` that is half a character was read as U+FFFD";
                Diagnostic::warning("log::surrogate", message).at(&Source::line(file, number, ""), 0..0, "")
            });
        }
        match parsed {
            Ok(row) => {
                let place = Place { file, file_index, line: line.number, text: RowText::Json(read_text) };
                self.row(row, &place, faults);
            }
            Err(why) => {
                let show_text = self.options.show_text;
                self.problems.broken_line(|| not_json(file, number, text, &why, show_text));
            }
        }
    }

    /// Checks a row and takes it if nothing is wrong with it.
    pub(super) fn row(&mut self, mut row: RowRecord<'_>, place: &Place<'_>, mut faults: Vec<Fault>) {
        if let Some(tiers) = &self.options.tiers {
            let other = |name: &str| !tiers.contains(name);
            let had_results = !row.results.is_empty();
            row.results.retain(|name, _| !other(name));
            faults.retain(|fault| match fault.path.as_slice() {
                [results, tier, ..] => results != "results" || !other(tier),
                _ => true,
            });
            if had_results && row.results.is_empty() {
                self.problems.tally("log::no-tier", "", || {
                    let message = "the row has results of other tiers only and is not used";
                    place.mark(Diagnostic::warning("log::no-tier", message), &["results".to_owned()], false)
                });
                return;
            }
        }
        // Where there is no row at all, that it lacks everything goes without saying.
        if !faults.iter().any(|fault| fault.path.is_empty()) {
            check::row(&row, &mut faults);
        }
        if self.options.ungraded {
            check::forgive_ungraded(&row, &mut faults);
        }
        let record = self.records.is_some().then(|| row.clone().into_owned());
        let mut embedding = None;
        if faults.is_empty() {
            embedding = embeddings::of_row(&row, self.options, place, &mut self.problems, &mut faults);
            check::complete(&mut row, self.options, place, &mut self.problems, &mut faults);
            #[cfg(feature = "static-embedding")]
            if let (Some(table), Some(text)) = (&self.options.static_embedding, &row.input) {
                let vector = table.embed(text);
                embedding = Some(embeddings::Embedded { vector, cost: Usd::ZERO, latency_ms: 0.0 });
            }
            if self.options.ungraded {
                check::forgive_ungraded(&row, &mut faults);
            }
        }
        // A broken row must not be fitted on; u32 numbers rows everywhere.
        if faults.is_empty() && self.builder.len() < u32::MAX as usize {
            if let (Some(records), Some(record)) = (&mut self.records, record) {
                records.push(record);
            }
            self.builder.push(row, embedding, (place.file_index, place.line), self.options);
        } else {
            self.problems.broken_row(place, &row.id, &faults);
        }
    }

    fn finish(self, may_be_empty: bool) -> Result<LogReading, Vec<Diagnostic>> {
        let Self { options, mut problems, hash, files, builder, .. } = self;
        let (log, duplicates) = builder.finish(hash.finish(), options);
        let mut twice = 0;
        for duplicate in &duplicates {
            twice += duplicate.places.len();
            problems.broken_line(|| {
                let message = format!("id `{}` stands in {} rows; none of them is used", short(&duplicate.id), duplicate.places.len());
                let text = format!("\"id\":\"{}\"", short(&duplicate.id));
                let mut diagnostic = Diagnostic::error("log::duplicate-id", message);
                for (label, (file, line)) in ["", "and here"].into_iter().zip(&duplicate.places) {
                    let name = files.get(*file as usize).map_or("", String::as_str);
                    diagnostic = diagnostic.at(&Source::line(name, *line as usize, text.clone()), 0..text.len(), label);
                }
                diagnostic.help("ids must be unique over all files of a log; repeated samples of a prompt share a `group`")
            });
        }
        let skipped = problems.broken_rows() + twice - duplicates.len();
        if log.rows.is_empty() && !may_be_empty {
            let names = files.join("`, `");
            let message = match (files.len(), skipped) {
                (0, _) => "the log has no files".to_owned(),
                (_, 0) => format!("the log `{names}` has no rows"),
                _ => format!("none of the {skipped} rows of the log `{names}` can be used"),
            };
            problems
                .fatal(Diagnostic::error("log::empty", message).help("collect one with `cascade collect`"));
        }
        let unusable = problems.is_fatal() || (options.strict && skipped > 0);
        let diagnostics = problems.finish();
        if unusable { Err(diagnostics) } else { Ok(LogReading { log, skipped, diagnostics, files }) }
    }
}

/// The source ends with an error.
pub(super) fn unreadable(file: &str, line: u32, gzip: bool, why: &io::Error) -> Diagnostic {
    let (message, help) = match why.kind() {
        io::ErrorKind::UnexpectedEof if gzip && line == 0 => (
            format!("`{file}` is not a whole gzip file: it ends before its first line does"),
            "make or copy it again; a file that is not compressed must not be named `.gz`",
        ),
        io::ErrorKind::UnexpectedEof if gzip => (
            format!("`{file}` is a gzip file that ends too early, after line {line}"),
            "it was cut off while being written or copied: make or copy it again",
        ),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData if gzip => (
            format!("`{file}` is not a valid gzip file (after line {line})"),
            "make or copy it again; a file that is not compressed must not be named `.gz`",
        ),
        _ => (format!("`{file}` cannot be read after line {line}: {why}"), "check that the file is whole"),
    };
    Diagnostic::error("log::unreadable", message)
        .at(&Source::line(file, line.max(1) as usize, ""), 0..0, "")
        .help(help)
}

pub(super) fn too_long(file: &str, line: usize, longest: usize) -> Diagnostic {
    Diagnostic::error("log::line-length", format!("the line is longer than {longest} bytes"))
        .at(&Source::line(file, line, ""), 0..0, "")
        .help("each row must stand on a line of its own")
}

pub(super) fn not_utf8(file: &str, line: usize, bytes: &[u8], valid: usize) -> Diagnostic {
    let help = match bytes {
        [0x1F, 0x8B, ..] => "this is a gzip file: name it `.gz`",
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => "this is UTF-16: save the file as UTF-8",
        _ => "save the file as UTF-8",
    };
    let found: Vec<String> = bytes.iter().skip(valid).take(4).map(|byte| format!("{byte:02X}")).collect();
    let message = format!("byte {} of the line is not UTF-8 ({})", valid + 1, found.join(" "));
    Diagnostic::error("log::encoding", message).at(&Source::line(file, line, ""), 0..0, "").help(help)
}

fn not_json(file: &str, line: usize, text: &str, why: &serde_json::Error, show_text: bool) -> Diagnostic {
    // The message of serde_json ends with the place, which the label shows better.
    let reason = why.to_string();
    let reason = reason.split(" at line ").next().unwrap_or_default();
    let at = why.column().saturating_sub(1).min(text.len());
    // A bad word is noticed at one of its letters.
    let word = (at.saturating_sub(9)..=at)
        .filter(|start| text.get(..*start).is_some_and(|before| before.ends_with([':', ',', '[', ' '])))
        .find_map(|start| excerpt::number_like(text.get(start..)?).map(|word| (start, word)));
    let (message, at, help) = match word {
        Some((start, word)) => (
            format!("`{word}` is not JSON"),
            start,
            "write numbers as digits; a value that is missing or not a number is `null`",
        ),
        None if why.is_eof() => (
            "the line ends in the middle of its JSON object".to_owned(),
            text.len(),
            "each row must stand on one line; a last line may have been cut off while being written",
        ),
        None => (format!("not valid JSON: {reason}"), at, "each line must be one JSON object"),
    };
    let shown = excerpt::at_offset(text, at, show_text);
    let source = Source::excerpt(file, (line, shown.column), shown.text);
    Diagnostic::error("log::json", message).at(&source, shown.span, "").help(help)
}
