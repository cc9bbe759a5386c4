//! Server-sent events: from bytes to the data of each event (WHATWG HTML, "Interpreting an event stream").
//!
//! Bounds hold whatever the server sends: a line, an event and the whole body each have a longest length, the time
//! between two reads and the time of the whole call have theirs.

use super::error::{ProviderError, ProviderErrorKind};
use super::http::HttpStream;
use super::stream::{Chunk, ResponseStream, ended_early};
use std::collections::VecDeque;

/// Longest line and longest event: the log-probabilities of a token with twenty alternatives take about 2 kB.
const MAX_EVENT_BYTES: usize = 1 << 20;

/// Reads events from the bytes of a body, however they are cut.
#[derive(Debug, Default)]
struct Decoder {
    line: Vec<u8>,
    data: Vec<u8>,
    /// Whether the event has a data line, which may be empty.
    has_data: bool,
    /// Whether the last byte was a carriage return, whose line feed is still to come.
    after_return: bool,
    ready: VecDeque<String>,
}

impl Decoder {
    fn push(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        for &byte in bytes {
            let second_half = std::mem::replace(&mut self.after_return, byte == b'\r') && byte == b'\n';
            match byte {
                b'\n' if second_half => {}
                b'\n' | b'\r' => self.end_line()?,
                _ if self.line.len() >= MAX_EVENT_BYTES => return Err("a line of more than 1 MiB"),
                _ => self.line.push(byte),
            }
        }
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), &'static str> {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&line);
        if line.is_empty() {
            return self.end_event();
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        // Names of events repeat what the data says; comments (no field) keep the connection open.
        if field == b"data" {
            let value = value.strip_prefix(b" ").unwrap_or(value);
            if self.data.len() + value.len() > MAX_EVENT_BYTES {
                return Err("an event of more than 1 MiB");
            }
            if self.has_data {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value);
            self.has_data = true;
        }
        Ok(())
    }

    fn end_event(&mut self) -> Result<(), &'static str> {
        if std::mem::take(&mut self.has_data) {
            let text =
                String::from_utf8(std::mem::take(&mut self.data)).map_err(|_| "text that is not UTF-8")?;
            self.ready.push_back(text);
        }
        Ok(())
    }

    /// The body is over: a last event without its empty line counts, as some servers end that way.
    fn end(&mut self) -> Result<(), &'static str> {
        self.end_line()?;
        self.end_event()
    }
}

/// What an event says.
#[expect(clippy::large_enum_variant, reason = "taken apart at once, never stored")]
pub(crate) enum Event {
    /// A piece of the answer.
    Chunk(Chunk),
    /// Nothing that is of use here.
    Nothing,
    /// The last event.
    End,
}

/// Reads a body of events. `read` turns the data of one event into what it says.
pub(crate) fn events(
    body: HttpStream,
    read: impl FnMut(&str) -> Result<Event, ProviderError> + Send + 'static,
) -> ResponseStream {
    let reader = Reader { body, decoder: Decoder::default(), read, any: false, over: false };
    ResponseStream::new(futures_util::stream::try_unfold(reader, |mut reader| async move {
        let chunk = reader.next().await?;
        Ok(chunk.map(|chunk| (chunk, reader)))
    }))
}

struct Reader<R> {
    body: HttpStream,
    decoder: Decoder,
    read: R,
    /// Whether there was any event.
    any: bool,
    /// Whether the body has been read to its end.
    over: bool,
}

impl<R: FnMut(&str) -> Result<Event, ProviderError>> Reader<R> {
    async fn next(&mut self) -> Result<Option<Chunk>, ProviderError> {
        loop {
            while let Some(data) = self.decoder.ready.pop_front() {
                self.any = true;
                match (self.read)(&data) {
                    Ok(Event::Chunk(chunk)) => {
                        if !chunk.text.is_empty() {
                            self.body.text_began();
                        }
                        return Ok(Some(chunk));
                    }
                    Ok(Event::Nothing) => {}
                    Ok(Event::End) => {
                        self.body.finish().await;
                        return Ok(None);
                    }
                    // An event that was cut off, not a server that does not know its format.
                    Err(error) if self.over && error.kind() == ProviderErrorKind::BadBody => {
                        return Err(ended_early());
                    }
                    Err(error) => return Err(error),
                }
            }
            if self.over {
                return if self.any { Ok(None) } else { Err(malformed("no event at all")) };
            }
            if let Some(bytes) = self.body.chunk().await? {
                self.decoder.push(&bytes).map_err(malformed)?;
            } else {
                self.over = true;
                self.decoder.end().map_err(malformed)?;
            }
        }
    }
}

fn malformed(what: &str) -> ProviderError {
    ProviderError::new(ProviderErrorKind::BadBody, format!("the server's stream holds {what}"))
        .after_sending()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(pieces: &[&[u8]]) -> Vec<String> {
        let mut decoder = Decoder::default();
        for piece in pieces {
            decoder.push(piece).unwrap();
        }
        decoder.end().unwrap();
        decoder.ready.into()
    }

    #[test]
    fn every_line_ending_and_every_cut_gives_the_same_events() {
        let expected = ["one", "two\nlines", "", "ünï", "last"];
        for ending in ["\n", "\r\n", "\r"] {
            let text = "\u{feff}: comment\nevent: delta\ndata: one\n\nretry: 3\n\ndata:two\ndata: lines\nid: 7\n\ndata\n\ndata: ünï\n\n\ndata: last"
                .replace('\n', ending);
            assert_eq!(decode(&[text.as_bytes()]), expected, "{ending:?}");
            for cut in 1..text.len() {
                let (left, right) = text.as_bytes().split_at(cut);
                assert_eq!(decode(&[left, right]), expected, "{ending:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn bytes_without_end_are_refused() {
        let mut decoder = Decoder::default();
        assert!(decoder.push(&vec![b'x'; MAX_EVENT_BYTES]).is_ok());
        assert!(decoder.push(b"x").is_err());
        let mut decoder = Decoder::default();
        let line = [b"data:".as_slice(), &vec![b'x'; MAX_EVENT_BYTES / 2], b"\n"].concat();
        decoder.push(&line).unwrap();
        decoder.push(&line).unwrap();
        assert!(decoder.push(b"data:yy\n").is_err());
        assert!(Decoder::default().push(b"data: \xff\n\n").is_err());
    }
}
