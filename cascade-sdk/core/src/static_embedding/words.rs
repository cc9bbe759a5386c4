//! Word vectors as text: `word number number …` on each line.

use super::{MOST_NUMBERS, Table, Tokens, codes, unreadable};
use crate::diag::{Diagnostic, Source};
use crate::hash::Digest;
use std::collections::HashMap;
use std::io::{BufRead, Read as _};

/// Longest line in bytes: 4,096 numbers of 60 letters, and a word.
const LONGEST_LINE: u64 = 256 << 10;

/// Most broken lines that are listed.
const MOST_LISTED: usize = 5;

/// Letters of a broken line that are shown.
const SHOWN: usize = 60;

/// Reads a file to its end, and its hash.
///
/// # Errors
/// The first broken lines.
pub(super) fn read(
    name: &str,
    mut reader: impl BufRead,
    dimensions: usize,
) -> Result<(Table, String), Vec<Diagnostic>> {
    let (mut digest, mut places, mut vectors) = (Digest::default(), HashMap::new(), Vec::new());
    let (mut line, mut number, mut findings) = (Vec::new(), 0, Vec::new());
    loop {
        line.clear();
        let longest = LONGEST_LINE + 1;
        let read = reader.by_ref().take(longest).read_until(b'\n', &mut line);
        match read {
            Err(why) => return Err(vec![unreadable(name, &why)]),
            Ok(0) => break,
            Ok(_) => number += 1,
        }
        digest.add(&line);
        let kept = vectors.len();
        let fault = match std::str::from_utf8(&line) {
            _ if line.len() as u64 == longest => Some(Fault::NotText),
            Err(_) => Some(Fault::NotText),
            Ok(text) => read_line(text.trim_end_matches(['\r', '\n']), number, dimensions, &mut vectors)
                .map_or_else(Some, |word| {
                    let place = u32::try_from(kept / dimensions).ok();
                    match (word, place) {
                        // Where a word stands twice, the first is meant: files list frequent words first.
                        (Some(word), Some(place)) if !places.contains_key(word) => {
                            places.insert(Box::from(word), place);
                        }
                        _ => vectors.truncate(kept),
                    }
                    None
                }),
        };
        if let Some(fault) = fault {
            vectors.truncate(kept);
            let is_last = matches!(fault, Fault::NotText | Fault::Header(_));
            findings.push(fault.told(name, number, &line, dimensions));
            if is_last || findings.len() == MOST_LISTED {
                break;
            }
        }
        if vectors.len() > MOST_NUMBERS {
            let message = format!("`{name}` holds more than {MOST_NUMBERS} numbers, 1 GiB in memory");
            let kept = MOST_NUMBERS / dimensions.max(1);
            let help = format!("keep its first lines, of the most frequent words: at most {kept}");
            findings.push(Diagnostic::error(codes::FILE, message).help(help));
            break;
        }
    }
    if findings.is_empty() && vectors.is_empty() {
        let error = Diagnostic::error(codes::VECTORS, format!("`{name}` holds no vectors"));
        findings.push(error.help("each line must be a word and its numbers, with spaces between them"));
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    vectors.shrink_to_fit();
    Ok((Table { tokens: Tokens::Words(places), vectors, weights: None }, digest.hex()))
}

/// The place of a word's vector: as it is written, else in small letters.
pub(super) fn find(places: &HashMap<Box<str>, u32>, word: &str) -> Option<usize> {
    let place = places.get(word).copied();
    place.or_else(|| places.get(word.to_lowercase().as_str()).copied()).map(|place| place as usize)
}

/// What is wrong with a line.
enum Fault<'l> {
    /// It is no text, or endless.
    NotText,
    /// The first line says that vectors are so long.
    Header(usize),
    /// It has so many numbers.
    Count(usize),
    /// Something where a number should be.
    NotNumber(&'l str),
    /// No word before the numbers.
    NoWord,
}

/// The word of a line, whose numbers are added to `vectors`; `None` for a first line of counts.
fn read_line<'l>(
    line: &'l str,
    number: usize,
    dimensions: usize,
    vectors: &mut Vec<f32>,
) -> Result<Option<&'l str>, Fault<'l>> {
    const SPACES: [char; 2] = [' ', '\t'];
    let mut rest = line.trim_end_matches(SPACES);
    if number == 1
        && let Some((words, length)) = rest.split_once(SPACES)
        && let (Ok(_), Ok(length)) = (words.parse::<usize>(), length.parse::<usize>())
    {
        return if length == dimensions { Ok(None) } else { Err(Fault::Header(length)) };
    }
    let start = vectors.len();
    // From behind, since a word may hold spaces.
    for read in 0..dimensions {
        let Some((before, field)) = rest.rsplit_once(SPACES) else {
            return Err(if rest.is_empty() { Fault::NoWord } else { Fault::Count(read) });
        };
        match field.parse::<f32>() {
            Ok(value) if value.is_finite() => vectors.push(value),
            // A word among the numbers: there are fewer than there should be.
            Err(_) if read > 0 && before.split(SPACES).all(|field| field.parse::<f32>().is_err()) => {
                return Err(Fault::Count(read));
            }
            _ => return Err(Fault::NotNumber(field)),
        }
        rest = before.trim_end_matches(SPACES);
    }
    vectors[start..].reverse();
    let mut fields = rest.split(SPACES);
    if fields.next().is_none_or(str::is_empty) {
        return Err(Fault::NoWord);
    }
    let more = fields.clone().count();
    if more > 0 && fields.all(|field| field.parse::<f32>().is_ok()) {
        return Err(Fault::Count(dimensions + more));
    }
    Ok(Some(rest))
}

impl Fault<'_> {
    fn told(&self, name: &str, number: usize, line: &[u8], dimensions: usize) -> Diagnostic {
        let shown: String = String::from_utf8_lossy(line).trim_end().chars().take(SHOWN).collect();
        let is_text = !matches!(self, Self::NotText);
        let source = Source::line(name, number, if is_text { shown.as_str() } else { "" });
        let (code, message, help) = match self {
            Self::NotText => (
                codes::FILE,
                "the file is no text of word vectors".to_owned(),
                "name a file of GloVe's or word2vec's text format in UTF-8, unpacked, or a `model.safetensors`".to_owned(),
            ),
            Self::Header(length) | Self::Count(length) => (
                codes::DIMENSIONS,
                format!("vectors have {length} numbers here, and {dimensions} by the configuration"),
                format!("set `dimensions` to the length of the file's vectors; if it is {dimensions}, mend the line"),
            ),
            Self::NotNumber(field) => (
                codes::VECTORS,
                format!("`{}` is no number", field.chars().take(SHOWN).collect::<String>()),
                format!("each line must be a word and its {dimensions} numbers, with spaces between them"),
            ),
            Self::NoWord => (
                codes::VECTORS,
                "the line has no word before its numbers".to_owned(),
                "each line must begin with its word".to_owned(),
            ),
        };
        let end = if is_text { shown.len() } else { 0 };
        Diagnostic::error(code, message).at(&source, 0..end, "").help(help)
    }
}
