//! The lines of a source, one by one, each with its hash, in bounded memory.

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};
use std::io::{self, BufRead, BufReader, Read};

/// Bytes asked of a source at once: large enough to make the calls cheap, small enough to stay in a processor's cache.
const CHUNK: usize = 1 << 17;

/// What a byte order mark looks like in UTF-8; some editors put one at the start of a file.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Unpacks a source if it is gzip; concatenated gzip members read as one.
pub(super) fn unpack<'a>(source: Box<dyn Read + 'a>, gzip: bool) -> Box<dyn Read + 'a> {
    if gzip { Box::new(MultiGzDecoder::new(BufReader::with_capacity(CHUNK, source))) } else { source }
}

/// One line that is not blank.
#[derive(Debug)]
pub(super) struct Line<'l> {
    /// Number, from 1; blank lines count.
    pub(super) number: u32,
    /// The line without its end; `None` if it is longer than allowed.
    pub(super) bytes: Option<&'l [u8]>,
    /// SHA-256 of the line without its end.
    pub(super) digest: [u8; 32],
}

/// Reads lines.
pub(super) struct Lines<R> {
    source: BufReader<R>,
    line: Vec<u8>,
    number: u32,
    limit: usize,
}

impl<R: Read> Lines<R> {
    /// Lines longer than `limit` bytes are passed over (their hash still counts).
    pub(super) fn new(source: R, limit: usize) -> Self {
        Self { source: BufReader::with_capacity(CHUNK, source), line: Vec::new(), number: 0, limit }
    }

    /// Number of the last line that was begun.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// The next line that is not blank.
    ///
    /// # Errors
    /// Those of the source, and of gzip data that is cut off or damaged.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            self.line.clear();
            // One more than allowed, to notice; two more for the line's end.
            let most = self.limit.saturating_add(3) as u64;
            if (&mut self.source).take(most).read_until(b'\n', &mut self.line)? == 0 {
                return Ok(None);
            }
            self.number = self.number.saturating_add(1);
            if self.number == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
                self.line.drain(..BYTE_ORDER_MARK.len());
            }
            let ended = self.line.last() == Some(&b'\n');
            let length = trimmed(&self.line).len();
            if length > self.limit {
                let mut hash = Sha256::new();
                hash.update(if ended { trimmed(&self.line) } else { &self.line });
                if !ended {
                    pass_over(&mut self.source, &mut hash)?;
                }
                return Ok(Some(Line { number: self.number, bytes: None, digest: hash.finalize().into() }));
            }
            self.line.truncate(length);
            if !self.line.trim_ascii().is_empty() {
                let digest = Sha256::digest(&self.line).into();
                return Ok(Some(Line { number: self.number, bytes: Some(&self.line), digest }));
            }
        }
    }
}

/// Without the line's end.
pub(super) fn trimmed(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Reads to the end of the line, keeping nothing but its hash.
fn pass_over(source: &mut impl BufRead, hash: &mut Sha256) -> io::Result<()> {
    loop {
        let chunk = source.fill_buf()?;
        if chunk.is_empty() {
            return Ok(());
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let (text, used) = end.map_or((chunk, chunk.len()), |end| (&chunk[..end], end + 1));
        hash.update(text);
        source.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}

/// Collects the hashes of lines into that of the log: SHA-256 over the sorted SHA-256 of the lines, so that neither the
/// order of lines nor their distribution over files matters.
#[derive(Debug, Default)]
pub(super) struct LogHash(Vec<[u8; 32]>);

impl LogHash {
    pub(super) fn add(&mut self, digest: [u8; 32]) {
        self.0.push(digest);
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// Lower-case hexadecimal.
    pub(super) fn finish(mut self) -> String {
        self.0.sort_unstable();
        let mut hash = Sha256::new();
        for digest in &self.0 {
            hash.update(digest);
        }
        crate::hash::hex(&<[u8; 32]>::from(hash.finalize()))
    }
}
