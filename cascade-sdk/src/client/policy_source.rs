//! Which policy decides a request: the one compiled in, a newer one from a file, or a canary.
//!
//! A file is read by the same reader and held to the same checks as at compile time. One that fails them is passed over
//! with its reason, and what decided before goes on deciding; one that is taken away gives the word back to the policy
//! that was compiled in. So a policy is rolled out and rolled back without a build.

use super::embeddings::EmbeddingSetup;
use super::policy::{ActivePolicy, Belongs, FittedPolicy, PolicySource};
use super::route::TierSetup;
use cascade_sdk_core::config::{self, Config};
use cascade_sdk_core::diag::{Source, Style, render};
use cascade_sdk_core::hash::Hasher;
use cascade_sdk_core::policy;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

/// The policies of a route.
#[derive(Debug)]
pub(super) struct PolicySlot {
    base: Arc<ActivePolicy>,
    current: RwLock<Arc<ActivePolicy>>,
    file: Option<PolicyFile>,
    canary: Option<CanaryPolicy>,
}

/// A second policy and the share of requests that it decides.
#[derive(Debug)]
pub(super) struct CanaryPolicy {
    pub(super) share: f64,
    pub(super) policy: Arc<ActivePolicy>,
}

/// A file that may hold a newer policy.
#[derive(Debug)]
pub(super) struct PolicyFile {
    pub(super) path: PathBuf,
    /// How often calls look at it; `None` never.
    pub(super) every: Option<Duration>,
    look: Mutex<Look>,
}

/// What was seen when the file was last looked at.
#[derive(Debug, Default)]
struct Look {
    at: Option<Instant>,
    /// Of the file whose policy was taken. One that was rejected is read again: what it lacked, such as a file of weights, may
    /// have come.
    stamp: Option<Stamp>,
    rejection: Option<String>,
}

/// Length and time of change: a file that keeps both is taken for the same.
type Stamp = (u64, Option<SystemTime>);

/// What a file's policy is checked against.
#[derive(Debug)]
pub(super) struct Check<'a> {
    pub(super) config: &'a Config,
    pub(super) route: &'a config::Route,
    pub(super) tiers: &'a [TierSetup],
    pub(super) embeddings: Option<&'a EmbeddingSetup>,
    pub(super) schema: Option<&'a str>,
}

impl PolicyFile {
    pub(super) fn new(path: PathBuf, every: Option<Duration>) -> Self {
        Self { path, every, look: Mutex::default() }
    }

    /// True for one caller each time that the interval has passed.
    fn is_due(&self, now: Instant) -> bool {
        let Some(every) = self.every else { return false };
        // Whoever finds the lock taken leaves the look to its holder.
        let Ok(mut look) = self.look.try_lock() else { return false };
        let due = look.at.is_none_or(|at| now.saturating_duration_since(at) >= every);
        if due {
            look.at = Some(now);
        }
        due
    }
}

impl PolicySlot {
    pub(super) fn new(base: ActivePolicy, file: Option<PolicyFile>, canary: Option<CanaryPolicy>) -> Self {
        let base = Arc::new(base);
        if let Some(file) = &file {
            file.look.lock().unwrap_or_else(PoisonError::into_inner).at = Some(Instant::now());
        }
        Self { current: RwLock::new(Arc::clone(&base)), base, file, canary }
    }

    /// The policy that decides where no canary does.
    pub(super) fn main(&self) -> Arc<ActivePolicy> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn canary(&self) -> Option<&CanaryPolicy> {
        self.canary.as_ref()
    }

    /// The policy that decides a request whose share is chosen by `key`, its session or its id.
    pub(super) fn choose(&self, route: &str, key: &str) -> Arc<ActivePolicy> {
        match &self.canary {
            Some(canary)
                if Hasher::new().part("cascade canary").part(route).part(key).fraction() < canary.share =>
            {
                Arc::clone(&canary.policy)
            }
            _ => self.main(),
        }
    }

    /// True if it is this caller's turn to look whether the file has changed.
    pub(super) fn is_due(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.is_due(Instant::now()))
    }

    /// Why the file's policy does not decide; `None` if it does, or there is no file.
    pub(super) fn rejection(&self) -> Option<String> {
        let look = self.file.as_ref()?.look.lock().unwrap_or_else(PoisonError::into_inner);
        look.rejection.clone()
    }

    /// Looks at the file and takes its policy if it is valid and has changed, or whether it seems to have changed or not.
    ///
    /// # Errors
    /// Why it was rejected; what decided before goes on deciding.
    pub(super) fn reload(&self, check: &Check<'_>, anyway: bool) -> Result<(), String> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut look = file.look.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(&file.path);
        if !anyway && stamp.is_some() && stamp == look.stamp {
            return Ok(());
        }
        let loaded = match stamp {
            None => Ok(Arc::clone(&self.base)),
            Some(_) => load(&file.path, check, PolicySource::File).map(Arc::new),
        };
        let outcome = loaded.map(|policy| {
            let changed = {
                let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                let changed = current.hash != policy.hash;
                *current = policy;
                changed
            };
            if changed {
                let hash = self.main().hash.clone().unwrap_or_default();
                tracing::info!(target: "cascade_sdk", route = %check.route.name, policy = %hash, "policy changed");
            }
        });
        look.stamp = stamp.filter(|_| outcome.is_ok());
        let rejection = outcome.as_ref().err();
        if let Some(reason) = rejection.filter(|reason| look.rejection.as_ref() != Some(*reason)) {
            tracing::warn!(
                target: "cascade_sdk",
                route = %check.route.name,
                reason = %reason,
                "the policy file is rejected: what decided before goes on deciding"
            );
        }
        look.rejection = rejection.cloned();
        outcome
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let data = std::fs::metadata(path).ok()?;
    Some((data.len(), data.modified().ok()))
}

/// Reads a policy from a file, and checks it as it would be at compile time.
pub(super) fn load(path: &Path, check: &Check<'_>, source: PolicySource) -> Result<ActivePolicy, String> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| format!("`{name}` cannot be read: {error}"))?;
    let directory = path.parent().unwrap_or(Path::new(""));
    // A route that waits for its first policy may get it from a file.
    let waiting;
    let (config, route) = if check.route.until_fitted.is_some() {
        waiting = without_until_fitted(check.config, &check.route.name);
        (&waiting, waiting.route(&check.route.name).unwrap_or(check.route))
    } else {
        (check.config, check.route)
    };
    let belongs = Belongs { config, route: &route.name, schema: check.schema };
    let fitted = FittedPolicy::read(&Source::new(name.as_str(), text.as_str()), belongs, |policy| {
        policy::complete(policy, directory).map_err(|error| render(&error, Style::Plain))
    });
    let join = |mistakes: Vec<String>| format!("{name}:\n{}", mistakes.join("\n"));
    let fitted = fitted.map_err(join)?;
    ActivePolicy::new(config, route, check.tiers, check.embeddings, Some(fitted), source).map_err(join)
}

/// That `until_fitted` does nothing beside a policy is said of one that is compiled in, not of one that comes at run time.
fn without_until_fitted(config: &Config, route: &str) -> Config {
    let mut config = config.clone();
    for known in config.routes.iter_mut().filter(|known| known.name == route) {
        known.until_fitted = None;
    }
    config
}
