//! `NAME=WHAT` arguments: which tier of ours is what in the other tool's log.

use crate::failure::{Failure, Result};

/// Names of tiers for what another tool calls otherwise.
#[derive(Debug, Default)]
pub(crate) struct Names(Vec<(String, String)>);

impl Names {
    /// Reads `--tier NAME=WHAT` arguments.
    ///
    /// # Errors
    /// One without `=` or with an empty side.
    pub(crate) fn parse(arguments: &[String], flag: &str) -> Result<Self> {
        let pairs = arguments.iter().map(|argument| match argument.split_once('=') {
            Some((name, what)) if !name.trim().is_empty() && !what.trim().is_empty() => {
                Ok((name.trim().to_owned(), what.trim().to_owned()))
            }
            _ => Err(Failure::usage(format!("{flag} {argument}"), format!("write {flag} NAME=WHAT"))),
        });
        pairs.collect::<Result<_>>().map(Self)
    }

    /// Every pair: our name, then theirs.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, what)| (name.as_str(), what.as_str()))
    }

    /// True if nothing was named.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Our name for what the other tool calls so: its own name where nothing was named at all, `None` where others were.
    pub(crate) fn ours(&self, theirs: &str) -> Option<String> {
        if self.is_empty() {
            return Some(theirs.to_owned());
        }
        self.pairs().find(|(_, what)| *what == theirs).map(|(name, _)| name.to_owned())
    }
}
