//! What a route can hope for before any money is spent: signals, families, and the price of enough rows.

use crate::money::dollars;
use crate::words::item;
use cascade_sdk_core::config::{Api, Config, Family, Route, Tier};
use cascade_sdk_core::fit::verdict::{rows_to_show, visible_gain};
use cascade_sdk_core::log::EvalLog;
use cascade_sdk_core::money::Usd;
use cascade_sdk_core::signal::BuiltIn;
use serde::Serialize;
use std::collections::BTreeMap;

/// Variance of one row's paired difference in quality, assumed until there are rows to measure it on: two policies that
/// differ in one answer of five.
const ASSUMED_VARIANCE: f64 = 0.2;

/// A log of a size that people do collect, to compare with.
const MODEST_ROWS: u64 = 1_000;

/// The outlook of one route.
#[derive(Debug, Serialize)]
pub(crate) struct Outlook {
    route: String,
    tiers: Vec<TierOutlook>,
    families: Vec<FamilyOutlook>,
    collecting: Vec<Collecting>,
}

/// What a tier can give.
#[derive(Debug, Serialize)]
struct TierOutlook {
    tier: String,
    model: String,
    /// Signals of its answers that need no extra call.
    signals: Vec<&'static str>,
    /// Signals of its answers that the route declares: samples, judges, schemas, verifiers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    declared: Vec<String>,
    /// Other signals that the log holds: the application's own, those of extra calls, replayed ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    in_log: Vec<String>,
    /// Why some are missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing_because: Option<&'static str>,
}

/// Whether a family can be fitted.
#[derive(Debug, Serialize)]
struct FamilyOutlook {
    family: &'static str,
    possible: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<&'static str>,
}

/// The price of a log of some size.
#[derive(Debug, Serialize)]
struct Collecting {
    rows: u64,
    held_out: u64,
    /// Smallest gain in quality that shows, on the assumption that policies differ in one answer of five.
    visible_gain: f64,
    /// At most, from prices and token limits; `None` where a tier has no limits.
    most_usd: Option<f64>,
}

impl Outlook {
    /// Works it out from the configuration, and from the log where there is one.
    pub(crate) fn new(config: &Config, route: &Route, log: Option<&EvalLog>) -> Self {
        let tiers: Vec<&Tier> = route.tiers.iter().filter_map(|name| config.tier(name)).collect();
        let api = |tier: &Tier| config.provider(&tier.provider).map(|provider| provider.api);
        let outlooks: Vec<_> = tiers.iter().map(|tier| tier_outlook(route, tier, api(tier), log)).collect();
        let with_signal = outlooks.iter().zip(&tiers).filter(|(outlook, tier)| {
            outlook.has_signals() || log.is_none() && api(tier) == Some(Api::Replay)
        });
        let families = families(route, tiers.len(), with_signal.count());
        let most = most_for_a_row(&tiers);
        let size = |rows: u64| {
            let held_out = share(rows, route.fit.held_out);
            let most = most.and_then(|most| i64::try_from(i128::from(most.pico()) * i128::from(rows)).ok());
            Collecting {
                rows,
                held_out,
                // No quality gains more than 1.
                visible_gain: visible_gain(held_out.max(1), ASSUMED_VARIANCE).min(1.0),
                most_usd: most.map(|pico| Usd::from_pico(pico).to_f64()),
            }
        };
        let enough = rows_to_show(route.fit.smallest_gain, ASSUMED_VARIANCE);
        let collecting = if tiers.len() < 2 {
            Vec::new()
        } else {
            vec![size(MODEST_ROWS), size(share(enough, 1.0 / route.fit.held_out))]
        };
        Self { route: route.name.clone(), tiers: outlooks, families, collecting }
    }

    /// For people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("route {}", self.route)];
        let width = self.tiers.iter().map(|tier| tier.tier.chars().count()).max().unwrap_or(0);
        for tier in &self.tiers {
            let mut parts = Vec::new();
            if !tier.signals.is_empty() {
                parts.push(tier.signals.join(", "));
            }
            if !tier.declared.is_empty() {
                parts.push(format!("declared: {}", tier.declared.join(", ")));
            }
            if !tier.in_log.is_empty() {
                parts.push(format!("in the log: {}", tier.in_log.join(", ")));
            }
            parts.extend(tier.missing_because.map(|why| {
                format!(
                    "{}: {why}",
                    if tier.signals.is_empty() { "no built-in signals" } else { "the others" }
                )
            }));
            let signals = parts.join("; ");
            lines.extend(item(&format!("  {:width$}  ", tier.tier), &signals));
        }
        let possible: Vec<&str> =
            self.families.iter().filter(|family| family.possible).map(|family| family.family).collect();
        lines.extend(item("  ", &format!("families possible: {}", possible.join(", "))));
        let mut impossible: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for family in &self.families {
            if let Some(because) = family.because {
                impossible.entry(because).or_default().push(family.family);
            }
        }
        for (because, names) in impossible {
            lines.extend(item("  ", &format!("not possible: {} ({because})", names.join(", "))));
        }
        for size in &self.collecting {
            let most = match size.most_usd {
                Some(most) => format!("at most {}", dollars(Usd::from_f64(most).unwrap_or(Usd::MAX))),
                None => "no upper bound: set max_input_tokens and max_output_tokens of every tier".into(),
            };
            let gain = if size.visible_gain < 1.0 {
                format!("shows gains from {:.1} points", 100.0 * size.visible_gain)
            } else {
                "is too few to show any gain".to_owned()
            };
            lines.extend(item(
                "  ",
                &format!("collecting {} rows ({} held out) {gain}; {most}", size.rows, size.held_out),
            ));
        }
        lines
    }
}

impl TierOutlook {
    const fn has_signals(&self) -> bool {
        !self.signals.is_empty() || !self.declared.is_empty() || !self.in_log.is_empty()
    }
}

fn tier_outlook(route: &Route, tier: &Tier, api: Option<Api>, log: Option<&EvalLog>) -> TierOutlook {
    let alternatives = route.request.top_logprobs.filter(|_| tier.log_probabilities);
    let gives = api.is_some_and(Api::gives_log_probabilities);
    let replay = api == Some(Api::Replay);
    let signals = BuiltIn::ALL
        .into_iter()
        .filter(|signal| match alternatives {
            Some(count) => gives && !replay && (count >= 2 || !signal.needs_alternatives()),
            None => false,
        })
        .map(BuiltIn::name)
        .collect::<Vec<_>>();
    let missing_because = if replay {
        Some("replayed, so those that its log holds")
    } else if !gives {
        Some("its api gives no log-probabilities")
    } else if !tier.log_probabilities {
        Some("log_probabilities is false for the tier")
    } else if alternatives.is_none() {
        Some("the route's request does not ask for them (top_logprobs)")
    } else if signals.len() < BuiltIn::ALL.len() {
        Some("they need top_logprobs of at least 2")
    } else {
        None
    };
    let declared = route.signals.iter().filter(|signal| signal.covers(&tier.name));
    let declared: Vec<String> = declared.map(|signal| signal.name.clone()).collect();
    let columns = log.and_then(|log| log.tier(&tier.name));
    let in_log: Vec<String> = columns
        .into_iter()
        .flat_map(|columns| columns.signals.keys())
        .filter(|name| !declared.contains(name))
        // A built-in one that the api cannot give will not be there when the policy runs.
        .filter(|name| replay || BuiltIn::ALL.iter().all(|signal| signal.name() != name.as_str()))
        .cloned()
        .collect();
    let (tier, model) = (tier.name.clone(), tier.model.clone());
    TierOutlook { tier, model, signals, declared, in_log, missing_because }
}

/// Every stage but the last needs a signal; only the dearest tier can do without one in a chain of all tiers.
fn families(route: &Route, tiers: usize, with_signal: usize) -> Vec<FamilyOutlook> {
    let outlook = |family: &Family| {
        let because = match family {
            Family::Single => None,
            _ if tiers < 2 => Some("the route has one tier"),
            Family::Chain | Family::FullChain if tiers < 3 => {
                Some("the route has two tiers, so a chain is a pair")
            }
            Family::Router => None,
            _ if with_signal == 0 => Some("no tier gives a signal of its answers"),
            Family::Chain if with_signal < 2 => Some("only one tier gives a signal, so a chain is a pair"),
            Family::FullChain if with_signal + 1 < tiers => Some("more than one tier gives no signal"),
            _ => None,
        };
        FamilyOutlook { family: family.name(), possible: because.is_none(), because }
    };
    route.fit.families.iter().map(outlook).collect()
}

/// The most that one row costs: every tier once, at its limits.
fn most_for_a_row(tiers: &[&Tier]) -> Option<Usd> {
    let most = |tier: &&Tier| {
        let (input, output) = (tier.max_input_tokens?, tier.max_output_tokens?);
        tier.price.worst_case(input, output).ok()
    };
    Usd::sum(tiers.iter().map(most).collect::<Option<Vec<_>>>()?).ok()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive, and saturating at u64::MAX"
)]
fn share(rows: u64, share: f64) -> u64 {
    (rows as f64 * share).round() as u64
}
