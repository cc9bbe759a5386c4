//! Finding the row of a request, for replay.

use super::EvalLog;
use crate::hash::sha256;
use std::collections::BTreeMap;
use std::fmt;

/// Rows of a log by id and by routing text.
#[derive(Clone, Debug)]
pub struct Index {
    /// First row and number of rows by the SHA-256 of the routing text; ids are found in the log itself, which is sorted
    /// by them.
    by_text: BTreeMap<[u8; 32], (u32, u32)>,
}

/// Why a request has no row.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LookupError {
    /// No row has this id, and none has this routing text.
    UnknownId(String),
    /// No row has this routing text.
    UnknownText,
    /// Several rows have this routing text.
    AmbiguousText {
        /// How many.
        rows: usize,
    },
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownId(id) => write!(
                f,
                "the log has no row with id `{}` and none with this exact prompt; a replay only knows what was collected",
                super::problems::short(id)
            ),
            Self::UnknownText => f.write_str(
                "the log has no row with this exact prompt; a replay only knows what was collected",
            ),
            Self::AmbiguousText { rows } => {
                write!(
                    f,
                    "the log has {rows} rows with this exact prompt; name one of them by the request's id (`Request::with_id`)"
                )
            }
        }
    }
}

impl std::error::Error for LookupError {}

impl Index {
    /// Indexes a log.
    pub fn new(log: &EvalLog) -> Self {
        let mut by_text = BTreeMap::new();
        for (row, number) in log.rows.iter().zip(0_u32..) {
            if let Some(text) = &row.text {
                by_text.entry(sha256(text.as_bytes())).or_insert((number, 0)).1 += 1;
            }
        }
        Self { by_text }
    }

    /// The row of a request: by its id if that is the name of a row, else by its exact routing text. Applications name requests
    /// by ids of their own as well, such as those of traces, which no log knows.
    ///
    /// # Errors
    /// If there is no such row, or the text is that of several.
    pub fn find(&self, log: &EvalLog, id: Option<&str>, text: &str) -> Result<usize, LookupError> {
        if let Some(row) = id.and_then(|id| log.row_index(id)) {
            return Ok(row);
        }
        match self.by_text.get(&sha256(text.as_bytes())) {
            None => Err(id.map_or(LookupError::UnknownText, |id| LookupError::UnknownId(id.to_owned()))),
            Some((row, 1)) => Ok(*row as usize),
            Some((_, rows)) => Err(LookupError::AmbiguousText { rows: *rows as usize }),
        }
    }
}
