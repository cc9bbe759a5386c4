//! `[routes.R.runtime]` and `[tiers.T.circuit]`: what the client does in production beside applying the policy. None of
//! it but the fitted kind of early escalation is part of a fingerprint, since the rest changes no answer and no threshold.

use std::time::Duration;

/// `[routes.R.runtime]`.
#[derive(Clone, Debug, PartialEq)]
pub struct RuntimeSettings {
    /// Longest time a request may take, unless the call says otherwise.
    pub deadline: Option<Duration>,
    /// How often a call that failed is sent again at most.
    pub max_retries: u32,
    /// Whether the client moves along the policy's frontier while its budget runs hot.
    pub pace: bool,
    /// Whether stages that the policy may refuse are streamed, and when their answers are given up.
    pub early_escalation: EarlyEscalation,
    /// The tier that is asked where the call of the last stage fails.
    pub failover: Option<String>,
    /// What turns of a session share.
    pub sticky: Option<Sticky>,
    /// File of the decision log, relative to the configuration file.
    pub decision_log: Option<String>,
    /// Whether prompts and answers go into the decision log.
    pub log_prompts: bool,
    /// Share of requests that also run the other tiers.
    pub explore: f64,
    /// Name of the budget that pays for those calls.
    pub explore_budget: Option<String>,
    /// Who answers.
    pub mode: Mode,
    /// The tier that answers in [`Mode::Shadow`].
    pub current_tier: Option<String>,
    /// A newer policy than the one compiled in, relative to the configuration file.
    pub policy_file: Option<String>,
    /// How often calls look whether that file has changed; `None` only at start.
    pub policy_reload: Option<Duration>,
    /// A second policy for a share of the requests.
    pub canary: Option<Canary>,
}

impl Default for RuntimeSettings {
    fn default() -> Self {
        Self {
            deadline: None,
            max_retries: 2,
            pace: false,
            early_escalation: EarlyEscalation::Off,
            failover: None,
            sticky: None,
            decision_log: None,
            log_prompts: false,
            explore: 0.0,
            explore_budget: None,
            mode: Mode::Policy,
            current_tier: None,
            policy_file: None,
            policy_reload: None,
            canary: None,
        }
    }
}

/// When the answer of a stage that the policy may refuse is given up before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum EarlyEscalation {
    /// Never.
    #[default]
    Off,
    /// Once its score cannot reach the threshold any more.
    Bounds,
    /// Then, and where the policy's prefix rule says that it is not worth going on.
    Fitted,
}

/// Who answers the requests of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Mode {
    /// The policy decides.
    #[default]
    Policy,
    /// The current tier answers; the decision log says what the policy would have done.
    Shadow,
}

/// What the turns of a session share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sticky {
    /// A turn starts at the tier that the policy last came to: once escalated, stay. What stood in for a failed call, a full
    /// budget or a forced tier does not count.
    Up,
    /// Every turn runs the plan that was chosen for the first.
    Entry,
}

/// `[routes.R.runtime.canary]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Canary {
    /// The second policy's file, relative to the configuration file.
    pub policy: String,
    /// Share of requests that it decides.
    pub share: f64,
}

/// `[tiers.T.circuit]`: when a tier is left alone because its server is failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circuit {
    /// Failed calls in a row after which it is not asked for a while; 0 never stops asking.
    pub failures: u32,
    /// How long it is left alone before one call tries it again.
    pub open: Duration,
}

impl Default for Circuit {
    fn default() -> Self {
        Self { failures: 10, open: Duration::from_secs(10) }
    }
}
