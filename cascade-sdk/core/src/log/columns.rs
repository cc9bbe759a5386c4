//! The log in memory: one entry a row, one set of columns a tier, rows sorted by id.

use crate::money::Usd;
use std::collections::BTreeMap;

/// An eval log, rows sorted by id so that nothing depends on the order of files or lines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EvalLog {
    /// One entry a row.
    pub rows: Vec<Row>,
    /// One set of columns a tier, sorted by name; every column is as long as `rows`.
    pub tiers: Vec<TierColumns>,
    /// Lower-case hex SHA-256 over the sorted SHA-256 of the lines (DESIGN.md 6).
    pub hash: String,
}

/// Which half a row belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Used to choose.
    Calibration,
    /// Held out: used to report.
    Test,
}

/// What is known of a row apart from the tiers' results.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Unique name.
    pub id: Box<str>,
    /// Routing text: `input`, or the user and tool texts of `messages` joined by newlines.
    pub text: Option<Box<str>>,
    /// Half given by the log.
    pub split: Option<Split>,
    /// Rows that belong together share a group.
    pub group: Option<Box<str>>,
    /// Weight, positive; 1 where the log has none.
    pub weight: f64,
    /// Numbers the application knows, sorted by name.
    pub features: Vec<(Box<str>, f64)>,
    /// Labels the application knows, sorted by name.
    pub tags: Vec<(Box<str>, Box<str>)>,
    /// Conversation the row is part of.
    pub session: Option<Box<str>>,
    /// Position in the conversation.
    pub turn: Option<u32>,
    /// Source file (index into the reader's list) and line, for messages about this row.
    pub place: (u32, u32),
}

/// The results of one tier.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TierColumns {
    /// The tier's name as in the log.
    pub name: String,
    /// Whether the tier was collected for the row; where false the other columns hold defaults.
    pub present: Vec<bool>,
    /// Quality in [0, 1]; 0 where the call failed.
    pub quality: Vec<f64>,
    /// Cost of the call, without the costs of signals.
    pub cost: Vec<Usd>,
    /// Wall-clock time in milliseconds; NaN where unknown.
    pub latency_ms: Vec<f32>,
    /// Input tokens; `u32::MAX` where unknown.
    pub input_tokens: Vec<u32>,
    /// Output tokens; `u32::MAX` where unknown.
    pub output_tokens: Vec<u32>,
    /// Signals by name.
    pub signals: BTreeMap<String, SignalColumn>,
    /// Whether the call ran and failed.
    pub failed: Vec<bool>,
    /// What the model returned.
    pub output: Vec<Option<Box<str>>>,
}

/// One signal of one tier.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SignalColumn {
    /// Values; NaN where missing.
    pub value: Vec<f64>,
    /// What obtaining the value cost beyond the call itself; empty where it is free in every row.
    pub cost: Vec<Usd>,
}

impl EvalLog {
    /// The columns of a tier.
    pub fn tier(&self, name: &str) -> Option<&TierColumns> {
        self.tiers
            .binary_search_by(|tier| tier.name.as_str().cmp(name))
            .ok()
            .and_then(|at| self.tiers.get(at))
    }
}
