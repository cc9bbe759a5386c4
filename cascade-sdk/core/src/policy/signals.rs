//! Can the signals that a policy reads be had when it is applied? The fit, `cascade check`, the compiler and the client ask
//! here, so that none of them lets pass what another refuses.

use super::{Rules, codes};
use crate::config::{Config, Route, Tier};
use crate::diag::Diagnostic;
use crate::document::write::key;
use crate::name::shell_word;
use crate::signal::BuiltIn;

/// What the calls of a tier give beside the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Returns<'a> {
    /// Most alternatives per token whose log-probabilities are returned; 0 if none are.
    pub top_logprobs: u8,
    /// Signals that come with the answer.
    pub own_signals: OwnSignals<'a>,
}

/// Signals that a provider knows itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OwnSignals<'a> {
    /// Whatever the policy was fitted on, as in a replayed log.
    Any,
    /// Those of these names.
    Named(&'a [String]),
}

impl<'a> Returns<'a> {
    /// What the configuration promises of a tier: what its provider's api can carry, and the signals that it says come with
    /// the answers.
    pub fn declared(config: &'a Config, tier: &Tier) -> Self {
        let Some(provider) = config.provider(&tier.provider) else {
            return Self { top_logprobs: 0, own_signals: OwnSignals::Any };
        };
        let own_signals =
            if provider.api.uses_network() { OwnSignals::Named(&provider.signals) } else { OwnSignals::Any };
        Self { top_logprobs: provider.api.top_logprobs(), own_signals }
    }
}

/// Why answers of a tier never have a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SignalLack {
    /// It is made of log-probabilities, and neither api nor model gives any.
    NoLogProbabilities,
    /// It is made of log-probabilities, and requests ask for none.
    NotAsked,
    /// It compares alternatives, and requests ask for fewer than two.
    TooFewAlternatives,
    /// The route declares it, but not for this tier.
    NotCovered,
    /// Nobody computes it.
    Undeclared,
}

impl SignalLack {
    /// Whether a line in the configuration can give the signal back with the same models behind the same apis.
    pub const fn is_mendable(self) -> bool {
        !matches!(self, Self::NoLogProbabilities)
    }
}

/// Why answers of a tier never have a signal; `None` if they can.
pub fn signal_lack(route: &Route, tier: &Tier, signal: &str, returns: Returns<'_>) -> Option<SignalLack> {
    match returns.own_signals {
        OwnSignals::Any => return None,
        OwnSignals::Named(names) if names.iter().any(|name| name == signal) => return None,
        OwnSignals::Named(_) => {}
    }
    if let Some(declared) = route.signal(signal) {
        return (!declared.covers(&tier.name)).then_some(SignalLack::NotCovered);
    }
    let Some(built_in) = BuiltIn::parse(signal) else { return Some(SignalLack::Undeclared) };
    if returns.top_logprobs == 0 || !tier.log_probabilities {
        return Some(SignalLack::NoLogProbabilities);
    }
    let Some(asked) = route.request.top_logprobs else { return Some(SignalLack::NotAsked) };
    let too_few = built_in.needs_alternatives() && asked.min(returns.top_logprobs) < 2;
    too_few.then_some(SignalLack::TooFewAlternatives)
}

/// A finding for each tier and reason for which answers never have signals that the rules read there; empty if every one can
/// be had. `returns` says what the calls of a tier give.
///
/// An error where no configuration helps; a warning where one line of it gives the signal back, since a policy can be fitted,
/// reviewed and replayed without it. A client that would send requests refuses both.
pub fn unavailable_signals<'a>(
    rules: &Rules,
    config: &'a Config,
    route: &str,
    returns: impl Fn(&'a Tier) -> Returns<'a>,
) -> Vec<Diagnostic> {
    let Some(route) = config.route(route) else { return Vec::new() };
    let mut findings = Vec::new();
    for tier in route.tiers.iter().filter_map(|name| config.tier(name)) {
        let mut lacks: Vec<(SignalLack, &str)> = read_of(rules, &tier.name)
            .into_iter()
            .filter_map(|signal| Some((signal_lack(route, tier, signal, returns(tier))?, signal)))
            .collect();
        lacks.sort_unstable();
        for same in lacks.chunk_by(|left, right| left.0 == right.0) {
            let signals: Vec<&str> = same.iter().map(|(_, signal)| *signal).collect();
            findings.extend(same.first().map(|(lack, _)| refuse(config, route, tier, &signals, *lack)));
        }
    }
    findings
}

/// What a fit says of signals that are in the log and that nothing can give when the policy is applied.
#[cfg(feature = "fit")]
pub(crate) fn left_out(config: &Config, tier: &Tier, signals: &[&str], lack: SignalLack) -> String {
    format!(
        "{} of the tier `{}`, {}, cannot be had when the policy is applied and took no part in the fit; {}",
        named(signals),
        tier.name,
        why(config, tier, lack),
        own_provider(tier)
    )
}

/// The signals of a tier that some rule reads, each once.
fn read_of<'r>(rules: &'r Rules, tier: &str) -> Vec<&'r str> {
    let mut indices: Vec<usize> = Vec::new();
    for (number, plan) in rules.plans.iter().enumerate() {
        for (place, stage) in plan.stages.iter().enumerate() {
            if rules.tiers.get(stage.tier).is_some_and(|name| name == tier) {
                indices.extend(rules.signals_read_at(number, place));
            }
        }
    }
    indices.sort_unstable();
    indices.dedup();
    indices.into_iter().filter_map(|index| rules.signals.get(index)).map(String::as_str).collect()
}

fn refuse(config: &Config, route: &Route, tier: &Tier, signals: &[&str], lack: SignalLack) -> Diagnostic {
    let (name, first) = (&route.name, signals.first().copied().unwrap_or_default());
    let message = format!(
        "the policy of the route `{name}` reads {} of the tier `{}`, {}",
        named(signals),
        tier.name,
        why(config, tier, lack),
    );
    let error = if lack.is_mendable() {
        Diagnostic::warning(codes::SIGNAL_UNAVAILABLE, message)
    } else {
        Diagnostic::error(codes::SIGNAL_UNAVAILABLE, message)
    };
    let place: &[&str] = match lack {
        SignalLack::NoLogProbabilities => &["tiers", &tier.name, "log_probabilities"],
        SignalLack::NotAsked | SignalLack::TooFewAlternatives => &["routes", name, "request", "top_logprobs"],
        SignalLack::NotCovered => &["routes", name, "signals", first, "tiers"],
        SignalLack::Undeclared => &["routes", name],
    };
    remedies(config, route, tier, first, lack)
        .into_iter()
        .fold(config.places.label(error, place, ""), Diagnostic::help)
}

fn named(signals: &[&str]) -> String {
    let quoted: Vec<_> = signals.iter().map(|signal| format!("`{signal}`")).collect();
    format!("the {} {}", if signals.len() == 1 { "signal" } else { "signals" }, quoted.join(", "))
}

/// In words, after "the signal … of the tier `T`," what stands in the way.
fn why(config: &Config, tier: &Tier, lack: SignalLack) -> String {
    match lack {
        SignalLack::NoLogProbabilities => match config.provider(&tier.provider) {
            Some(provider) if !provider.api.gives_log_probabilities() => {
                format!("whose api `{}` returns no log-probabilities", provider.api.name())
            }
            _ if !tier.log_probabilities => "whose model returns no log-probabilities".to_owned(),
            _ => "whose provider returns no log-probabilities".to_owned(),
        },
        SignalLack::NotAsked => "but requests do not ask for log-probabilities".to_owned(),
        SignalLack::TooFewAlternatives => {
            "but requests ask for fewer than two alternatives a token".to_owned()
        }
        SignalLack::NotCovered => "whose answers do not get it".to_owned(),
        SignalLack::Undeclared => "which nobody computes".to_owned(),
    }
}

fn remedies(config: &Config, route: &Route, tier: &Tier, signal: &str, lack: SignalLack) -> Vec<String> {
    let name = key(&route.name);
    let refit = format!("then run `cascade fit {}`", shell_word(&route.name));
    let own = own_provider(tier);
    match lack {
        SignalLack::NoLogProbabilities => {
            let leave_out =
                format!("run `cascade fit {}`, which leaves such signals out", shell_word(&route.name));
            vec![leave_out, own]
        }
        SignalLack::NotAsked => {
            let set = format!(
                "set `top_logprobs` under [routes.{name}.request] to what it was when the log was collected"
            );
            vec![set, refit]
        }
        SignalLack::TooFewAlternatives => {
            vec![format!("set `top_logprobs` under [routes.{name}.request] to 2 or more"), refit]
        }
        SignalLack::NotCovered => {
            let table = format!("[routes.{name}.signals.{}]", key(signal));
            vec![format!("add `{}` to `tiers` under {table}", tier.name), refit]
        }
        SignalLack::Undeclared => {
            let promised = config
                .provider(&tier.provider)
                .is_some_and(|provider| provider.signals.iter().any(|promised| promised == signal));
            if promised {
                return vec![format!(
                    "give the client the provider `{}` that returns it, with `Capabilities::own_signals` set",
                    tier.provider
                )];
            }
            let declare = format!("declare it under [routes.{name}.signals.{}], {refit}", key(signal));
            vec![declare, own]
        }
    }
}

/// The remedy where the application knows more than the configuration.
fn own_provider(tier: &Tier) -> String {
    format!(
        "if the application brings a provider of its own that returns it, add it to `signals` under [providers.{}]",
        key(&tier.provider)
    )
}
