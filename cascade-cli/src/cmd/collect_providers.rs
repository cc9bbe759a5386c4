//! The providers that `cascade collect` asks.

use crate::collect::grading::LaneLimits;
use crate::collect::pace::Pace;
use crate::collect::report::Plan;
use crate::collect::run::Lane;
use crate::failure::Result;
use crate::project::Project;
use cascade_sdk::provider::{self, Provider};
use cascade_sdk_core::config;
use cascade_sdk_core::diag::Diagnostic;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Calls in flight for each tier where neither flag nor configuration says otherwise.
pub(super) const DEFAULT_CONCURRENCY: u32 = 4;

/// Providers in use, each with its limits over all tiers.
#[derive(Default)]
pub(super) struct Providers(BTreeMap<String, (Arc<dyn Provider>, LaneLimits)>);

impl Providers {
    /// One of them, connected where it is not yet.
    ///
    /// # Errors
    /// One without its key, or whose address cannot be used.
    pub(super) fn get(
        &mut self,
        project: &Project,
        name: &str,
        concurrency: Option<u32>,
    ) -> Result<(Arc<dyn Provider>, LaneLimits)> {
        if let Some(known) = self.0.get(name) {
            return Ok(known.clone());
        }
        let settings = project.config.provider(name).ok_or_else(|| {
            Diagnostic::error("cli::internal", format!("the provider `{name}` is not declared"))
        })?;
        let connected = provider::connect(settings, None, &|key| std::env::var(key).ok())
            .map_err(|error| no_provider(settings, &error.to_string()))?;
        let permits = settings.max_concurrency.map_or(Semaphore::MAX_PERMITS, |limit| limit as usize);
        let limits = LaneLimits {
            gate: Arc::new(Semaphore::new(permits)),
            pace: Arc::new(Pace::new(settings.requests_per_minute)),
            concurrency: concurrency.or(settings.max_concurrency).unwrap_or(DEFAULT_CONCURRENCY),
            key_variable: settings.api_key_env.clone(),
        };
        let entry = (connected, limits);
        self.0.insert(name.to_owned(), entry.clone());
        Ok(entry)
    }
}

fn no_provider(settings: &config::Provider, why: &str) -> Diagnostic {
    let error = Diagnostic::error("collect::provider", why);
    let variable = settings.api_key_env.as_deref();
    let unset = |name: &&str| std::env::var(name).map_or(true, |key| key.trim().is_empty());
    match variable.filter(unset) {
        Some(variable) => error.help(format!("export {variable}=… in the shell that runs the command")),
        None => error.help(format!("set what [providers.{}] names, or correct it there", settings.name)),
    }
}

/// The lanes of tiers that have still something to be asked.
///
/// # Errors
/// As [`Providers::get`].
pub(super) fn lanes(
    project: &Project,
    plans: Vec<Plan<'_>>,
    concurrency: Option<u32>,
    providers: &mut Providers,
) -> Result<Vec<Lane>> {
    let mut lanes = Vec::new();
    for plan in plans.into_iter().filter(|plan| !plan.queue.is_empty()) {
        let (provider, limits) = providers.get(project, &plan.tier.provider, concurrency)?;
        lanes.push(Lane {
            tier: plan.tier.clone(),
            provider,
            gate: limits.gate,
            pace: limits.pace,
            concurrency: limits.concurrency,
            key_variable: limits.key_variable,
            request: plan.request,
            queue: plan.queue,
            signal: None,
        });
    }
    Ok(lanes)
}
