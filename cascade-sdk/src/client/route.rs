//! A route made ready to run: names resolved to positions, providers at hand, everything checked that can be checked
//! before the first request.

use super::budget::Ledger;
use crate::answer::AnswerSchema;
use crate::error::{Error, Kind};
use crate::money::Usd;
use crate::provider::{Capabilities, ModelCall, Provider};
use cascade_sdk_core::config::{self, OnExceeded, RequestSettings, RuntimeSettings};
use cascade_sdk_core::policy::{Plan, Rules, Stage as PolicyStage};
use cascade_sdk_core::signal::BuiltIn;
use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A route that can answer requests.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) name: String,
    /// The route's tiers in the order of the configuration.
    pub(super) tiers: Vec<TierSetup>,
    pub(super) settings: RequestSettings,
    pub(super) runtime: RuntimeSettings,
    pub(super) schema: AnswerSchema,
    pub(super) rules: Rules,
    /// For each of [`Rules::tiers`] its position in [`Route::tiers`].
    pub(super) tier_of_rule: Vec<usize>,
    pub(super) source: PolicySource,
    pub(super) policy_hash: Option<String>,
    pub(super) budget: Option<BudgetSetup>,
    /// Which answer types were checked against the schema, and what came of it.
    forms: Mutex<BTreeMap<TypeId, Result<Arc<AnswerForm>, String>>>,
}

/// How answers of some type are asked for and read.
#[derive(Debug)]
pub(super) struct AnswerForm {
    /// What is asked for.
    pub(super) schema: AnswerSchema,
    /// Whether the type takes the answer as text, whatever was asked for.
    pub(super) as_text: bool,
}

/// A tier and who answers for it.
#[derive(Debug)]
pub(super) struct TierSetup {
    pub(super) tier: config::Tier,
    pub(super) provider: Arc<dyn Provider>,
    pub(super) capabilities: Capabilities,
}

/// A budget and what it does when it is full.
#[derive(Debug)]
pub(super) struct BudgetSetup {
    pub(super) name: String,
    pub(super) ledger: Arc<Ledger>,
    pub(super) on_exceeded: OnExceeded,
}

/// Where the policy of a route comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicySource {
    /// The policy that was compiled in.
    BakedIn,
    /// The route has one tier, which needs no policy.
    SingleTier,
    /// There is no policy yet: the tier named by `until_fitted` answers everything.
    UntilFitted,
}

/// What [`Route::new`] needs.
pub(super) struct Parts<'a> {
    pub(super) route: &'a config::Route,
    pub(super) tiers: Vec<TierSetup>,
    pub(super) schema: AnswerSchema,
    /// The policy's rules and the hash of its file.
    pub(super) policy: Option<(Rules, String)>,
    pub(super) budget: Option<BudgetSetup>,
}

impl Route {
    /// Resolves and checks a route; every mistake is reported.
    pub(super) fn new(parts: Parts<'_>) -> Result<Self, Vec<String>> {
        let Parts { route, tiers, schema, policy, budget } = parts;
        let (rules, source, policy_hash) = match (policy, &route.until_fitted, tiers.as_slice()) {
            (Some((rules, hash)), ..) => (rules, PolicySource::BakedIn, Some(hash)),
            (None, Some(tier), _) => (single(tier), PolicySource::UntilFitted, None),
            (None, None, [only]) => (single(&only.tier.name), PolicySource::SingleTier, None),
            (None, None, _) => {
                return Err(vec![format!(
                    "route `{0}` has several tiers and no policy: run `cascade fit {0}`, or set `until_fitted` to a tier that answers until then",
                    route.name
                )]);
            }
        };
        let position = |name: &String| tiers.iter().position(|setup| setup.tier.name == *name);
        let mut mistakes = Vec::new();
        let tier_of_rule = rules.tiers.iter().map(|name| {
            position(name).unwrap_or_else(|| {
                mistakes.push(format!(
                    "the policy of route `{0}` uses tier `{name}`, which the route does not have: run `cascade fit {0}`",
                    route.name
                ));
                0
            })
        });
        let tier_of_rule: Vec<usize> = tier_of_rule.collect();
        if rules.plans.iter().any(|plan| plan.stages.is_empty()) || rules.plans.is_empty() {
            mistakes
                .push(format!("the policy of route `{0}` has no stages: run `cascade fit {0}`", route.name));
        }
        for setup in &tiers {
            check_tier(route, setup, &rules, budget.as_ref(), &mut mistakes);
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(Self {
            name: route.name.clone(),
            tiers,
            settings: route.request.clone(),
            runtime: route.runtime.clone(),
            schema,
            rules,
            tier_of_rule,
            source,
            policy_hash,
            budget,
            forms: Mutex::default(),
        })
    }

    /// The position in [`Route::tiers`] of a stage's tier.
    pub(super) fn tier_of(&self, stage: &PolicyStage) -> usize {
        self.tier_of_rule.get(stage.tier).copied().unwrap_or(0)
    }

    /// The call that asks a tier.
    pub(super) fn call<'a>(
        &'a self,
        setup: &'a TierSetup,
        request: &'a crate::request::Request,
        schema: &'a AnswerSchema,
    ) -> ModelCall<'a> {
        ModelCall::new(&setup.tier, &self.settings, schema, request)
    }

    /// The form in which answers of type `T` are asked for.
    ///
    /// A fitted route's answers must have the form they had in its log, because structured output alone shifts the
    /// signals that thresholds compare. Text is always to be had.
    pub(super) fn form<T: schemars::JsonSchema + 'static>(&self) -> Result<Arc<AnswerForm>, Error> {
        let mut forms = self.forms.lock().unwrap_or_else(PoisonError::into_inner);
        let form = forms.entry(TypeId::of::<T>()).or_insert_with(|| {
            let own = AnswerSchema::of::<T>();
            let unfitted = self.source == PolicySource::SingleTier && self.schema.is_text();
            let as_text = own.is_text();
            if own == self.schema || as_text {
                Ok(Arc::new(AnswerForm { schema: self.schema.clone(), as_text }))
            } else if unfitted {
                Ok(Arc::new(AnswerForm { schema: own, as_text }))
            } else {
                Err(self.wrong_form(&std::any::type_name::<T>()))
            }
        });
        form.clone().map_err(|message| Error::new(Kind::Config, message))
    }

    fn wrong_form(&self, answer: &dyn std::fmt::Display) -> String {
        let stated = if self.schema.is_text() { "text" } else { "JSON of another schema" };
        format!(
            "route `{0}` asks for {stated}, not for `{answer}`, and answers in another form would have other signals than the policy was fitted on: write `AnswerSchema::of::<…>().to_json()` to a file, name it in `answer = {{ schema = \"…\" }}` under [routes.{0}.request], then run `cascade collect {0}` and `cascade fit {0}`",
            self.name
        )
    }
}

/// Rules that ask one tier and keep whatever it answers.
fn single(tier: &str) -> Rules {
    Rules {
        tiers: vec![tier.to_owned()],
        plans: vec![Plan::new(vec![PolicyStage { tier: 0, rule: None }])],
        ..Rules::default()
    }
}

fn check_tier(
    route: &config::Route,
    setup: &TierSetup,
    rules: &Rules,
    budget: Option<&BudgetSetup>,
    mistakes: &mut Vec<String>,
) {
    let TierSetup { tier, capabilities, .. } = setup;
    if let Some(budget) = budget
        && tier.max_output_tokens.is_none()
        && !capabilities.free
    {
        mistakes.push(format!(
            "tier `{0}` has no `max_output_tokens`, so the worst case of a call under budget `{1}` is not known: set it under [tiers.{0}]",
            tier.name, budget.name
        ));
    }
    for signal in signals_of(rules, &tier.name) {
        if capabilities.own_signals {
            continue;
        }
        let Some(built_in) = BuiltIn::parse(signal) else {
            mistakes.push(format!(
                "the policy of route `{}` reads signal `{signal}` of tier `{}`, which this client cannot compute",
                route.name, tier.name
            ));
            continue;
        };
        let alternatives = route.request.top_logprobs.unwrap_or(0).min(capabilities.top_logprobs);
        if capabilities.top_logprobs == 0 || !tier.log_probabilities {
            mistakes.push(format!(
                "the policy of route `{}` reads signal `{signal}` of tier `{}`, whose provider returns no log-probabilities",
                route.name, tier.name
            ));
        } else if route.request.top_logprobs.is_none() || built_in.needs_alternatives() && alternatives < 2 {
            mistakes.push(format!(
                "the policy of route `{0}` reads signal `{signal}` of tier `{1}`, but requests do not ask for it: set `top_logprobs` under [routes.{0}.request] as it was when the log was collected",
                route.name, tier.name
            ));
        }
    }
}

/// The signals of a tier that some rule reads, each once.
fn signals_of<'r>(rules: &'r Rules, tier: &str) -> Vec<&'r String> {
    let stages = rules.plans.iter().flat_map(|plan| &plan.stages);
    let of_tier = stages.filter(|stage| rules.tiers.get(stage.tier).is_some_and(|name| name == tier));
    let read = of_tier.filter_map(|stage| stage.rule).flat_map(|rule| rules.signals_read(rule));
    let mut indices: Vec<usize> = read.collect();
    indices.sort_unstable();
    indices.dedup();
    indices.into_iter().filter_map(|index| rules.signals.get(index)).collect()
}

/// The most that a call can cost, or an error for what has no bound.
pub(super) fn worst_case(setup: &TierSetup, call: &ModelCall<'_>) -> Result<Usd, String> {
    let tier = &setup.tier;
    let input = call.input_bound().or(tier.max_input_tokens).ok_or_else(|| {
        format!(
            "the tokens of an image are not known beforehand: set `max_input_tokens` under [tiers.{}] so that the budget can reserve for it",
            tier.name
        )
    })?;
    let output = call.max_output_tokens.unwrap_or(0);
    tier.price
        .worst_case(input, output)
        .map_err(|error| format!("the worst case of a call to tier `{}`: {error}", tier.name))
}
