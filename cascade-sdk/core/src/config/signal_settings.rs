//! `[routes.R.signals.NAME]`: signals that need more than the answer itself.

use super::Route;
use std::time::Duration;

/// One signal of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct SignalSettings {
    /// The table's name; the signal has it in logs and policies.
    pub name: String,
    /// Tiers whose answers get it; all of the route's if empty.
    pub tiers: Vec<String>,
    /// How it comes about.
    pub kind: SignalKind,
}

/// How a signal comes about.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SignalKind {
    /// The share of samples of the same tier that agree with the answer, which is the first of them.
    SelfConsistency {
        /// Samples, the answer included: at least 2.
        samples: u32,
        /// Sampling temperature of all but the answer.
        temperature: f64,
        /// Samples that a client asks for at once.
        concurrency: u32,
    },
    /// The score that a model gives by a rubric, from 0 to 1.
    Judge {
        /// Name of its tier, which need not be one of the route's.
        tier: String,
        /// What a good answer is, in words.
        rubric: String,
    },
    /// 1 for an answer that follows a JSON Schema, else 0.
    SchemaValid {
        /// The schema's text; the route's own where absent.
        schema: Option<String>,
    },
    /// A number from a verifier of the application.
    Verifier {
        /// Longest time that it may take.
        timeout: Duration,
    },
}

impl SignalKind {
    /// Its name in files.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SelfConsistency { .. } => "self_consistency",
            Self::Judge { .. } => "judge",
            Self::SchemaValid { .. } => "schema_valid",
            Self::Verifier { .. } => "verifier",
        }
    }

    /// True if it takes calls of a model, which cost money.
    pub const fn takes_calls(&self) -> bool {
        matches!(self, Self::SelfConsistency { .. } | Self::Judge { .. })
    }

    /// Name of the tier that judges, where one does.
    pub fn judge(&self) -> Option<&str> {
        match self {
            Self::Judge { tier, .. } => Some(tier),
            _ => None,
        }
    }
}

impl SignalSettings {
    /// Whether answers of a tier get it.
    pub fn covers(&self, tier: &str) -> bool {
        self.tiers.is_empty() || self.tiers.iter().any(|name| name == tier)
    }
}

impl Route {
    /// The signal of that name.
    pub fn signal(&self, name: &str) -> Option<&SignalSettings> {
        self.signals.iter().find(|signal| signal.name == name)
    }

    /// Names of the tiers that judge answers.
    pub fn judges(&self) -> impl Iterator<Item = &str> {
        self.signals.iter().filter_map(|signal| signal.kind.judge())
    }
}
