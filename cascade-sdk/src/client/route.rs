//! A route made ready to run: names resolved to positions, providers at hand, everything checked that can be checked
//! before the first request.

use super::budget::BudgetSetup;
use super::builder::Baked;
use super::circuit::Circuit;
use super::embeddings::EmbeddingSetup;
use super::log_file::LogFile;
use super::policy::{ActivePolicy, CheaperPoint, PolicySource};
use super::policy_source::{CanaryPolicy, Check, PolicyFile, PolicySlot, load};
use crate::answer::AnswerSchema;
use crate::budget::Ledger;
use crate::error::{Error, Kind};
use crate::provider::{Capabilities, ModelCall, Provider};
use crate::request::Request;
use crate::signal::Scorer;
use cascade_sdk_core::config::{self, Config, Mode, RequestSettings, RuntimeSettings};
use cascade_sdk_core::name::{collect_command, shell_word};
use std::any::TypeId;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
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
    /// The text of the schema's file.
    schema_text: Option<String>,
    config: Arc<Config>,
    pub(super) policies: PolicySlot,
    /// Where the policy comes from if no file replaces it.
    base_source: PolicySource,
    pub(super) budget: Option<BudgetSetup>,
    /// Pays for exploring.
    pub(super) explore_budget: Option<BudgetSetup>,
    /// Signals that take more than the answer.
    pub(super) scorers: Vec<Scorer>,
    /// The tiers that judge answers.
    pub(super) judges: Vec<TierSetup>,
    /// Who makes the embeddings that the policy's router may read.
    pub(super) embeddings: Option<EmbeddingSetup>,
    pub(super) decision_log: Option<Arc<LogFile>>,
    /// For each tier the fingerprint of its requests, as it stands in eval logs.
    pub(super) request_hashes: Vec<String>,
    /// The tier that the environment forces on every request.
    pub(super) forced_tier: Option<String>,
    /// The tier that answers in shadow mode.
    pub(super) shadow_tier: Option<String>,
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
    /// What the provider is called where calls are observed.
    pub(super) provider_name: String,
    pub(super) capabilities: Capabilities,
    pub(super) circuit: Arc<Circuit>,
}

/// What [`Route::new`] needs.
pub(super) struct Parts<'a> {
    pub(super) config: &'a Arc<Config>,
    pub(super) route: &'a config::Route,
    pub(super) tiers: Vec<TierSetup>,
    pub(super) scorers: Vec<Scorer>,
    pub(super) judges: Vec<TierSetup>,
    pub(super) embeddings: Option<EmbeddingSetup>,
    pub(super) baked: Baked,
    pub(super) budget: Option<BudgetSetup>,
    pub(super) explore_budget: Option<BudgetSetup>,
    pub(super) decision_log: Option<Arc<LogFile>>,
    pub(super) forced_tier: Option<String>,
    /// Directory that the paths of the configuration are relative to.
    pub(super) directory: &'a Path,
    /// The builder's own instead of the configuration's `policy_file`.
    pub(super) policy_file: Option<PathBuf>,
}

impl Route {
    /// Resolves and checks a route; every mistake is reported.
    pub(super) fn new(parts: Parts<'_>) -> Result<Self, Vec<String>> {
        let Parts { config, route, tiers, baked, directory, policy_file, .. } = parts;
        let Parts { budget, explore_budget, scorers, judges, embeddings, decision_log, forced_tier, .. } =
            parts;
        let Baked { schema, schema_text, policy } = baked;
        let mut mistakes = Vec::new();
        for setup in &tiers {
            check_bound(setup, budget.as_ref(), &mut mistakes);
            check_bound(setup, explore_budget.as_ref(), &mut mistakes);
            if route.request.tools && !(setup.tier.tools && setup.capabilities.tools) {
                mistakes.push(format!(
                    "route `{}` has `tools = true`, but tier `{}` cannot call tools: take it off the route",
                    route.name, setup.tier.name
                ));
            }
            // What no request to this tier could get past.
            let any = Request::new("");
            let call = ModelCall::new(&setup.tier, &route.request, &schema, &any);
            if let Err(error) = setup.provider.check(&call) {
                mistakes.push(format!("route `{}`, tier `{}`: {error}", route.name, setup.tier.name));
            }
        }
        for judge in &judges {
            check_bound(judge, budget.as_ref(), &mut mistakes);
            check_bound(judge, explore_budget.as_ref(), &mut mistakes);
        }
        let shadow = route.runtime.mode == Mode::Shadow;
        if (shadow || route.runtime.explore > 0.0) && decision_log.is_none() {
            mistakes.push(format!(
                "route `{0}` explores or runs in shadow mode, but its findings go nowhere: set `decision_log` under [routes.{0}.runtime]",
                route.name
            ));
        }
        let current = route.runtime.current_tier.as_ref().or(route.until_fitted.as_ref());
        let shadow_tier = current.filter(|_| shadow).cloned();
        let made = embeddings.as_ref();
        let base = ActivePolicy::new(config, route, &tiers, made, policy, PolicySource::BakedIn)
            .map_err(|found| mistakes.extend(found))
            .ok();
        let check = Check { config, route, tiers: &tiers, embeddings: made, schema: schema_text.as_deref() };
        let canary = route.runtime.canary.as_ref().and_then(|canary| {
            let loaded = load(&directory.join(&canary.policy), &check, PolicySource::Canary);
            let loaded = loaded.map_err(|reason| {
                mistakes.push(format!("the canary of route `{}`: {reason}", route.name));
            });
            Some(CanaryPolicy { share: canary.share, policy: Arc::new(loaded.ok()?) })
        });
        let Some(base) = base.filter(|_| mistakes.is_empty()) else { return Err(mistakes) };
        let own = route.runtime.policy_file.as_ref().map(|path| directory.join(path));
        let file = policy_file.or(own).map(|path| PolicyFile::new(path, route.runtime.policy_reload));
        let base_source = base.source;
        let request_hashes = tiers
            .iter()
            .map(|setup| {
                config::request_fingerprint(&setup.tier.model, &route.request, schema_text.as_deref())
            })
            .collect();
        let policies = PolicySlot::new(base, file, canary);
        // A rejected file is told of and passed over: what was compiled in decides.
        let _ = policies.reload(&check, true);
        Ok(Self {
            name: route.name.clone(),
            tiers,
            settings: route.request.clone(),
            runtime: route.runtime.clone(),
            schema,
            schema_text,
            config: Arc::clone(config),
            policies,
            base_source,
            budget,
            explore_budget,
            scorers,
            judges,
            embeddings,
            decision_log,
            request_hashes,
            forced_tier,
            shadow_tier,
            forms: Mutex::default(),
        })
    }

    /// The policy that decides a request whose session or id is `key`.
    pub(super) fn policy(&self, key: &str) -> Arc<ActivePolicy> {
        self.policies.choose(&self.name, key)
    }

    /// The ledgers that the request's calls must fit into.
    pub(super) fn ledgers(&self, request: &Request) -> Result<Vec<Ledger>, Error> {
        let ledgers = |budget: &BudgetSetup| budget.ledgers(&self.name, request.tenant.as_deref());
        self.budget.as_ref().map_or(Ok(Vec::new()), ledgers)
    }

    /// The ledgers that exploring the request must fit into.
    pub(super) fn explore_ledgers(&self, request: &Request) -> Result<Vec<Ledger>, Error> {
        let ledgers = |budget: &BudgetSetup| budget.ledgers(&self.name, request.tenant.as_deref());
        self.explore_budget.as_ref().map_or(Ok(Vec::new()), ledgers)
    }

    /// The operating point to move to because the budget runs hot; `None` to stay at the deployed one.
    pub(super) async fn cheaper_point<'p>(
        &self,
        policy: &'p ActivePolicy,
        ledgers: &[Ledger],
    ) -> Option<&'p CheaperPoint> {
        let budget = self.budget.as_ref().filter(|_| !policy.cheaper.is_empty())?;
        budget.pace(policy, ledgers).await
    }

    /// Looks for a newer policy in the route's file, which is read if it seems to have changed, or anyway.
    pub(super) fn reload(&self, anyway: bool) -> Result<(), String> {
        let Some(route) = self.config.route(&self.name) else { return Ok(()) };
        let schema = self.schema_text.as_deref();
        let embeddings = self.embeddings.as_ref();
        let check = Check { config: &self.config, route, tiers: &self.tiers, embeddings, schema };
        self.policies.reload(&check, anyway)
    }

    /// Whether the texts of answers are kept until the request is over: for the log, or for signals that an exploration
    /// computes later.
    pub(super) fn keeps_texts(&self) -> bool {
        self.runtime.log_prompts || self.runtime.explore > 0.0 && !self.scorers.is_empty()
    }

    /// Those of them that may stand in the decision log.
    pub(super) fn logged<'t>(&self, texts: &'t [Option<String>]) -> &'t [Option<String>] {
        if self.runtime.log_prompts { texts } else { &[] }
    }

    /// The call that asks a tier.
    pub(super) fn call<'a>(
        &'a self,
        setup: &'a TierSetup,
        request: &'a Request,
        schema: &'a AnswerSchema,
    ) -> ModelCall<'a> {
        ModelCall::new(&setup.tier, &self.settings, schema, request)
    }

    /// Whether every tier that the request may come to can be sent it: what one of them refuses would otherwise be found
    /// out after others were paid.
    pub(super) fn check(&self, request: &Request, schema: &AnswerSchema) -> Result<(), Error> {
        let refuse = |why: String| Err(Error::new(Kind::Config, format!("route `{}`{why}", self.name)));
        if !request.tools().is_empty() && !self.settings.tools {
            return refuse(format!(
                ": requests may not define tools: set `tools = true` under [routes.{}.request]",
                self.name
            ));
        }
        // A policy may be replaced while the client runs, so every tier of the route counts.
        let forced = request.tier.as_deref();
        for setup in self.tiers.iter().filter(|setup| forced.is_none_or(|name| name == setup.tier.name)) {
            if let Err(error) = setup.provider.check(&self.call(setup, request, schema)) {
                return refuse(format!(", tier `{}`: {error}", setup.tier.name));
            }
        }
        Ok(())
    }

    /// The form in which answers of type `T` are asked for.
    ///
    /// A fitted route's answers must have the form they had in its log, because structured output alone shifts the
    /// signals that thresholds compare. Text is always to be had.
    pub(super) fn form<T: schemars::JsonSchema + 'static>(&self) -> Result<Arc<AnswerForm>, Error> {
        let mut forms = self.forms.lock().unwrap_or_else(PoisonError::into_inner);
        let form = forms.entry(TypeId::of::<T>()).or_insert_with(|| {
            let own = AnswerSchema::of::<T>();
            let unfitted = self.base_source == PolicySource::SingleTier && self.schema.is_text();
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
            "route `{0}` asks for {stated}, not for `{answer}`, and answers in another form would have other signals than the policy was fitted on: write `AnswerSchema::of::<…>().to_json()` to a file, name it in `answer = {{ schema = \"…\" }}` under [routes.{0}.request], then run `{1}` and `cascade fit {2}`",
            self.name,
            collect_command(&self.name, ""),
            shell_word(&self.name)
        )
    }
}

/// A budget must know the longest output of every tier.
fn check_bound(setup: &TierSetup, budget: Option<&BudgetSetup>, mistakes: &mut Vec<String>) {
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
}
