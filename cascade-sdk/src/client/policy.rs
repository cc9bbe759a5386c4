//! A policy made ready to decide: read, checked against its route, names resolved to positions.

use super::embeddings::EmbeddingSetup;
use super::route::TierSetup;
use cascade_sdk_core::config::{self, Config};
use cascade_sdk_core::diag::{Diagnostic, Source, Style, render};
use cascade_sdk_core::hash;
use cascade_sdk_core::policy::{self, OperatingPoint, OwnSignals, Plan, Policy, Returns, Rules, Stage};
use std::sync::Arc;

/// Where the policy of a route comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicySource {
    /// The policy that was compiled in.
    BakedIn,
    /// A file that was read at run time, instead of the policy that was compiled in.
    File,
    /// The second policy, which decides a share of the requests.
    Canary,
    /// The route has one tier, which needs no policy.
    SingleTier,
    /// There is no policy yet: the tier named by `until_fitted` answers everything.
    UntilFitted,
}

impl PolicySource {
    /// Its name in decision logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::BakedIn => "baked_in",
            Self::File => "file",
            Self::Canary => "canary",
            Self::SingleTier => "single_tier",
            Self::UntilFitted => "until_fitted",
        }
    }
}

/// What was read from a policy's text.
#[derive(Clone, Debug)]
pub(super) struct FittedPolicy {
    rules: Rules,
    /// SHA-256 of the text.
    hash: String,
    /// Other operating points, cheapest first.
    frontier: Vec<OperatingPoint>,
    /// Mean cost of a request in US dollars.
    cost_usd: f64,
}

/// What a policy's text belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Belongs<'a> {
    pub(super) config: &'a Config,
    pub(super) route: &'a str,
    /// The text of the answer's JSON Schema.
    pub(super) schema: Option<&'a str>,
}

impl FittedPolicy {
    /// A policy that is its rules alone.
    #[cfg(test)]
    pub(super) fn bare(rules: Rules, hash: &str) -> Self {
        Self { rules, hash: hash.to_owned(), frontier: Vec::new(), cost_usd: 0.0 }
    }

    /// The same with a mean cost and other operating points.
    #[cfg(test)]
    pub(super) fn with_frontier(self, cost_usd: f64, frontier: Vec<OperatingPoint>) -> Self {
        Self { frontier, cost_usd, ..self }
    }

    /// Reads a policy and checks that it belongs to its route; `complete` gives it weights that stand elsewhere. Every
    /// mistake is returned.
    pub(super) fn read(
        source: &Arc<Source>,
        belongs: Belongs<'_>,
        complete: impl FnOnce(&mut Policy) -> Result<(), String>,
    ) -> Result<Self, Vec<String>> {
        let mut policy = policy::read(source).map_err(|findings| errors(&findings))?;
        let Belongs { config, route, schema } = belongs;
        let mut mistakes = errors(&policy::staleness(&policy, config, route, schema));
        mistakes.extend(complete(&mut policy).err());
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(Self {
            rules: policy.rules,
            hash: hash::hex(&hash::sha256(source.text.as_bytes())),
            frontier: policy.frontier,
            cost_usd: policy.expected.cost_usd.value,
        })
    }
}

/// The findings that are errors, as people read them.
pub(super) fn errors(findings: &[Diagnostic]) -> Vec<String> {
    findings
        .iter()
        .filter(|finding| finding.is_error())
        .map(|finding| render(finding, Style::Plain))
        .collect()
}

/// A policy that decides requests of a route.
#[derive(Debug)]
pub(super) struct ActivePolicy {
    pub(super) rules: Rules,
    /// For each of [`Rules::tiers`] its position among the route's tiers.
    tier_of_rule: Vec<usize>,
    pub(super) source: PolicySource,
    /// SHA-256 of the policy's text.
    pub(super) hash: Option<String>,
    /// Cheaper operating points, dearest first; empty unless the route paces its spending.
    pub(super) cheaper: Vec<CheaperPoint>,
    /// Mean cost of a request in US dollars, where the policy says.
    pub(super) cost_usd: Option<f64>,
}

/// A point of the fitted frontier that costs less than the deployed one.
#[derive(Debug)]
pub(super) struct CheaperPoint {
    /// Its position in `[[frontier]]`.
    pub(super) index: usize,
    /// Mean cost of a request in US dollars.
    pub(super) cost_usd: f64,
    /// λ there in quality per US dollar; `None` at the last point.
    pub(super) shadow_price: Option<f64>,
    pub(super) rules: Rules,
}

impl ActivePolicy {
    /// Resolves and checks a policy, or the one tier that answers without one; every mistake is reported.
    pub(super) fn new(
        config: &Config,
        route: &config::Route,
        tiers: &[TierSetup],
        embeddings: Option<&EmbeddingSetup>,
        fitted: Option<FittedPolicy>,
        source: PolicySource,
    ) -> Result<Self, Vec<String>> {
        let Some(FittedPolicy { rules, hash, frontier, cost_usd }) = fitted else {
            return Self::without(route, tiers);
        };
        let mut mistakes = Vec::new();
        let tier_of_rule = positions(route, tiers, &rules, &mut mistakes);
        if rules.plans.iter().any(|plan| plan.stages.is_empty()) || rules.plans.is_empty() {
            mistakes
                .push(format!("the policy of route `{0}` has no stages: run `cascade fit {0}`", route.name));
        }
        mistakes.extend(check_signals(config, &route.name, tiers, &rules));
        check_embedding(route, embeddings, &rules, &mut mistakes);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let mut cheaper = Vec::new();
        if route.runtime.pace {
            let points = frontier.iter().enumerate().rev().filter(|(_, point)| point.cost_usd < cost_usd);
            for (index, point) in points {
                let rules = point.rules(&rules);
                // A point whose signals this client cannot compute is no place to move to.
                if check_signals(config, &route.name, tiers, &rules).is_empty() {
                    let OperatingPoint { cost_usd, shadow_price, .. } = *point;
                    cheaper.push(CheaperPoint { index, cost_usd, shadow_price, rules });
                }
            }
        }
        Ok(Self { rules, tier_of_rule, source, hash: Some(hash), cheaper, cost_usd: Some(cost_usd) })
    }

    /// The one tier that answers where there is no policy.
    fn without(route: &config::Route, tiers: &[TierSetup]) -> Result<Self, Vec<String>> {
        let (rules, source) = match (&route.until_fitted, tiers) {
            (Some(tier), _) => (single(tier), PolicySource::UntilFitted),
            (None, [only]) => (single(&only.tier.name), PolicySource::SingleTier),
            (None, _) => {
                return Err(vec![format!(
                    "route `{0}` has several tiers and no policy: run `cascade fit {0}`, or set `until_fitted` to a tier that answers until then",
                    route.name
                )]);
            }
        };
        let mut mistakes = Vec::new();
        let tier_of_rule = positions(route, tiers, &rules, &mut mistakes);
        if mistakes.is_empty() {
            Ok(Self { rules, tier_of_rule, source, hash: None, cheaper: Vec::new(), cost_usd: None })
        } else {
            Err(mistakes)
        }
    }

    /// The position among the route's tiers of a stage's tier.
    pub(super) fn tier_of(&self, stage: &Stage) -> usize {
        self.tier_of_rule.get(stage.tier).copied().unwrap_or(0)
    }
}

fn positions(
    route: &config::Route,
    tiers: &[TierSetup],
    rules: &Rules,
    mistakes: &mut Vec<String>,
) -> Vec<usize> {
    let position = |name: &String| {
        tiers.iter().position(|setup| setup.tier.name == *name).unwrap_or_else(|| {
            mistakes.push(format!(
                "the policy of route `{0}` uses tier `{name}`, which the route does not have: run `cascade fit {0}`",
                route.name
            ));
            0
        })
    };
    rules.tiers.iter().map(position).collect()
}

/// Rules that ask one tier and keep whatever it answers.
fn single(tier: &str) -> Rules {
    Rules {
        tiers: vec![tier.to_owned()],
        plans: vec![Plan::new(vec![Stage { tier: 0, rule: None }])],
        ..Rules::default()
    }
}

/// What the rules' router reads must be what somebody makes.
fn check_embedding(
    route: &config::Route,
    embeddings: Option<&EmbeddingSetup>,
    rules: &Rules,
    mistakes: &mut Vec<String>,
) {
    let Some(read) = rules.router.as_ref().and_then(|router| router.inputs.embedding.as_ref()) else {
        return;
    };
    let (route, model) = (&route.name, &read.model);
    match embeddings.map(|setup| &setup.settings) {
        None => mistakes.push(format!(
            "the policy of route `{route}` reads an embedding by `{model}`, which nobody makes: give the builder one with `embedder(\"{model}\", …)`, or name a `provider` under [routes.{route}.embedding]"
        )),
        Some(settings) if settings.model != *model || settings.dimensions != read.dimensions => {
            mistakes.push(format!(
                "the policy of route `{route}` reads {} numbers of an embedding by `{model}`, but [routes.{route}.embedding] says {} by `{}`: run `cascade fit {route}`",
                read.dimensions, settings.dimensions, settings.model
            ));
        }
        Some(_) => {
            if let Some(Err(mistake)) = embeddings.map(|setup| check_vectors(route, setup, read.sha256.as_deref())) {
                mistakes.push(mistake);
            }
        }
    }
}

/// A file of word vectors must be the one that the policy was fitted with.
fn check_vectors(route: &str, setup: &EmbeddingSetup, fitted: Option<&str>) -> Result<(), String> {
    let found = setup.file_hash().map_err(|why| format!("route `{route}`: {why}"))?;
    if found == fitted {
        return Ok(());
    }
    let model = &setup.settings.model;
    Err(match (found, fitted) {
        (Some(found), Some(fitted)) => format!(
            "the policy of route `{route}` was fitted with another file of word vectors of `{model}`: its SHA-256 is {found}, not {fitted}: put that file back, or run `cascade fit {route}`"
        ),
        _ => format!(
            "the policy of route `{route}` was fitted with vectors of `{model}` that came from elsewhere: run `cascade fit {route}`"
        ),
    })
}

/// Every signal that the rules read of a tier must be one that its provider gives: the one at hand, which may be another than
/// the configuration names.
fn check_signals(config: &Config, route: &str, tiers: &[TierSetup], rules: &Rules) -> Vec<String> {
    let returns = |tier: &config::Tier| {
        let setup = tiers.iter().find(|setup| setup.tier.name == tier.name);
        let capabilities = setup.map(|setup| setup.capabilities).unwrap_or_default();
        let own_signals = if capabilities.own_signals { OwnSignals::Any } else { OwnSignals::Named(&[]) };
        Returns { top_logprobs: capabilities.top_logprobs, own_signals }
    };
    let lacking = policy::unavailable_signals(rules, config, route, returns);
    lacking.iter().map(|finding| render(finding, Style::Plain)).collect()
}
