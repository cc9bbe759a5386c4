//! `[routes.*]`, and what must agree between a route and the tables it names.

use super::objective::ObjectiveTable;
use super::runtime::{self, RuntimeTable};
use super::{Declared, embedding, names, request, signals};
use crate::config::section::{Read, Section};
use crate::config::{
    Api, Budget, EarlyEscalation, Family, FitSettings, Goal, GuardSettings, Mode, Objective, Provider,
    RequestSettings, Route, Tier, codes,
};
use crate::diag::Diagnostic;
use crate::document::read::{Findings, Item};
use crate::name;
use std::ops::Range;

/// What a route may name.
#[derive(Debug)]
pub(super) struct Known<'a, 'd> {
    pub(super) tiers: &'a Declared<'d, Tier>,
    /// Tiers that say themselves that they give no log-probabilities.
    pub(super) without_logprobs: &'a [&'d str],
    pub(super) budgets: &'a Declared<'d, Budget>,
    pub(super) providers: &'a Declared<'d, Provider>,
}

/// The routes; `None` if one could not be read.
pub(super) fn read_all(root: &mut Section<'_>, known: &Known<'_, '_>) -> Option<Vec<Route>> {
    let findings = root.findings();
    let entries = root.named("routes");
    let names: Vec<_> = entries.iter().map(|entry| (entry.item.key, entry.item.key_span.clone())).collect();
    names::check_collisions(findings, &names, "method", name::method);
    names::check_stream_methods(findings, &names);
    names::check_collisions(findings, &distinct_methods(&names), "type", name::variant);
    let routes: Vec<_> = entries.into_iter().map(|entry| read(entry, known)).collect();
    check_policies(findings, &routes);
    routes.into_iter().map(|route| route.map(|(route, _)| route)).collect()
}

/// Routes whose methods already collide are not reported a second time for their types.
fn distinct_methods<'d>(names: &[(&'d str, Range<usize>)]) -> Vec<(&'d str, Range<usize>)> {
    let mut distinct: Vec<(&str, Range<usize>)> = Vec::new();
    for (name, span) in names {
        if distinct.iter().all(|(first, _)| name::method(first) != name::method(name)) {
            distinct.push((name, span.clone()));
        }
    }
    distinct
}

/// The route, and where its policy is named (or the route itself).
fn read(entry: Read<'_, Section<'_>>, known: &Known<'_, '_>) -> Option<(Route, Range<usize>)> {
    let Read { value: mut section, item } = entry;
    let findings = section.findings();
    check_name(findings, &item);
    let tiers = section.texts("tiers");
    let (states_log, states_objective) = (section.states("log"), section.states("objective"));
    let log = section.texts("log").unwrap_or_default();
    let policy = section.text("policy");
    let budget = section.text("budget");
    let until_fitted = section.text("until_fitted");
    let objective = section.section("objective").map(ObjectiveTable::read);
    let guard = section.section("guard").map(|mut section| {
        let (by, max_loss, min_rows, tier) =
            (section.text("by"), section.number("max_loss"), section.whole("min_rows"), section.text("tier"));
        section.finish();
        (by, max_loss, min_rows, tier)
    });
    let (fit, choices) = section.section("fit").map(fit).unwrap_or_default();
    let (request, asks) = section.section("request").map(request::read).unwrap_or_default();
    let calls_per_day = section.section("traffic").and_then(|mut traffic| {
        let calls = traffic.number("calls_per_day");
        traffic.finish();
        calls.map(|calls| calls.value)
    });
    let embedding = section.section("embedding").map(embedding::read);
    let signals = signals::read_all(&mut section);
    let runtime = section.section("runtime").map(runtime::read).unwrap_or_default();
    section.finish();

    let route = Checker { findings, known, item: &item, tiers: tiers.as_deref().unwrap_or_default() };
    route.check_tiers();
    route.check_budget(budget.as_ref());
    route.check_logprobs(asks.logprobs.as_ref());
    route.check_temperature(&request, asks.temperature.as_ref());
    route.check_tools(asks.tools.as_ref());
    route.check_one_of_tiers(until_fitted.as_ref());
    let guard = guard.and_then(|(by, max_loss, min_rows, tier)| {
        route.check_one_of_tiers(tier.as_ref());
        Some(GuardSettings {
            by: by?.value.to_owned(),
            max_loss: max_loss?.value,
            min_rows: min_rows.map_or(100, |read| read.value),
            tier: tier.map(|read| read.value.to_owned()),
        })
    });
    let embedding = embedding.and_then(|table| route.check_embedding(&table));
    let signals = route.check_signals(&signals, &request, budget.is_some());
    route.check_runtime(&runtime, budget.is_some(), until_fitted.is_some());
    let goal = objective.as_ref().and_then(|table| route.check_objective(table));
    if let Some(table) = &objective {
        route.check_choices(&choices, table);
    }
    if let Some(loss) = choices.abstain_loss.as_ref()
        && runtime.settings.early_escalation == EarlyEscalation::Fitted
    {
        let message = "`early_escalation = \"fitted\"` gives answers up before they could be abstained from";
        let error =
            findings.error(codes::NOT_TOGETHER, message, &loss.item.key_span, "the policy may abstain");
        findings.push(error.help("remove one of the two, or set `early_escalation = true`"));
    }
    if tiers.as_ref().is_some_and(|tiers| tiers.len() > 1) && until_fitted.is_none() {
        route.check_fittable(states_objective, states_log);
    }
    let place = policy.as_ref().map_or(&item.key_span, |policy| &policy.item.span).clone();
    let route = Route {
        name: item.key.to_owned(),
        tiers: tiers?.iter().map(|tier| tier.value.to_owned()).collect(),
        log: log.iter().map(|path| path.value.to_owned()).collect(),
        policy: policy
            .map_or_else(|| format!("policies/{}.toml", policy_stem(item.key)), |path| path.value.to_owned()),
        budget: budget.map(|budget| budget.value.to_owned()),
        objective: goal,
        fit,
        request,
        guard,
        calls_per_day,
        until_fitted: until_fitted.map(|tier| tier.value.to_owned()),
        embedding,
        signals,
        runtime: runtime.settings,
    };
    Some((route, place))
}

/// What the fit may choose among beyond cascades and routers that always answer, where that is switched on.
#[derive(Debug, Default)]
struct Choices<'d> {
    abstain_loss: Option<Read<'d, f64>>,
    mixtures: Option<Read<'d, bool>>,
}

fn fit(mut section: Section<'_>) -> (FitSettings, Choices<'_>) {
    let default = FitSettings::default();
    let families = section.texts("families");
    let max_stages = section.whole("max_stages");
    let held_out = section.number("held_out");
    let smallest_gain = section.number("smallest_gain");
    let drift_alpha = section.number("drift_alpha");
    let seed = section.whole("seed");
    let abstain_loss = section.number("abstain_loss");
    let mixtures = section.boolean("mixtures").filter(|mixtures| mixtures.value);
    section.finish();
    let mut families: Vec<Family> = families.map_or(default.families, |names| {
        names.iter().filter_map(|name| Family::parse(name.value)).collect()
    });
    families.sort();
    let settings = FitSettings {
        families,
        max_stages: max_stages
            .and_then(|read| usize::try_from(read.value).ok())
            .unwrap_or(default.max_stages),
        held_out: held_out.map_or(default.held_out, |read| read.value),
        smallest_gain: smallest_gain.map_or(default.smallest_gain, |read| read.value),
        drift_alpha: drift_alpha.map_or(default.drift_alpha, |read| read.value),
        seed: seed.map_or(default.seed, |read| read.value),
        abstain_loss: abstain_loss.as_ref().map(|read| read.value),
        mixtures: mixtures.is_some(),
    };
    (settings, Choices { abstain_loss, mixtures })
}

/// Name of a route's policy file without its extension: the route's own where that is safe in a path.
pub fn policy_stem(route: &str) -> String {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !route.is_empty() && route.bytes().all(safe) { route.to_owned() } else { name::method(route) }
}

fn check_name(findings: &Findings, item: &Item<'_>) {
    names::check(findings, item);
    let method = name::method(item.key);
    if names::RESERVED_METHODS.contains(&method.as_str()) {
        let message = format!("the route `{}` would hide a method that every client has", item.key);
        let error = findings.error(codes::RESERVED_NAME, message, &item.key_span, "");
        findings.push(error.help(format!("reserved: {}", names::RESERVED_METHODS.join(", "))));
    }
}

fn check_policies(findings: &Findings, routes: &[Option<(Route, Range<usize>)>]) {
    let routes: Vec<_> = routes.iter().flatten().collect();
    for (index, (route, place)) in routes.iter().enumerate() {
        if let Some((first, first_place)) =
            routes[..index].iter().find(|(first, _)| first.policy == route.policy)
        {
            let error = findings.error(
                codes::POLICY_SHARED,
                format!(
                    "the routes `{}` and `{}` share the policy `{}`",
                    first.name, route.name, route.policy
                ),
                place,
                "",
            );
            findings.push(
                findings.also(error, first_place, "also here").help("give each route a `policy` of its own"),
            );
        }
    }
}

/// One route and what it may refer to.
pub(super) struct Checker<'a, 'd> {
    pub(super) findings: &'d Findings,
    pub(super) known: &'a Known<'a, 'd>,
    pub(super) item: &'a Item<'d>,
    tiers: &'a [Read<'d, &'d str>],
}

impl Checker<'_, '_> {
    fn names(&self) -> Vec<&str> {
        self.tiers.iter().map(|tier| tier.value).collect()
    }

    /// The route's tiers that could be read.
    pub(super) fn valid_tiers(&self) -> impl Iterator<Item = &Tier> {
        self.known.tiers.valid.iter().filter(|tier| self.tiers.iter().any(|read| read.value == tier.name))
    }

    fn check_tiers(&self) {
        for tier in self.tiers {
            if !self.known.tiers.has(tier.value) {
                let known = self.known.tiers.listed();
                names::unknown(
                    self.findings,
                    codes::UNKNOWN_TIER,
                    "tier",
                    tier.value,
                    &tier.item.span,
                    &known,
                );
            }
        }
        let names: Vec<_> = self.tiers.iter().map(|tier| (tier.value, tier.item.span.clone())).collect();
        names::check_collisions(self.findings, &names, "variant", name::variant);
    }

    /// A tier that the route does not have.
    pub(super) fn check_one_of_tiers(&self, named: Option<&Read<'_, &str>>) {
        let Some(named) = named else { return };
        if !self.tiers.is_empty() && !self.tiers.iter().any(|tier| tier.value == named.value) {
            let what = format!("tier of the route `{}` named", self.item.key);
            let names = self.names();
            names::unknown(self.findings, codes::UNKNOWN_TIER, &what, named.value, &named.item.span, &names);
        }
    }

    fn check_budget(&self, budget: Option<&Read<'_, &str>>) {
        let Some(budget) = budget else { return };
        if !self.known.budgets.has(budget.value) {
            let known = self.known.budgets.listed();
            let span = &budget.item.span;
            names::unknown(self.findings, codes::UNKNOWN_BUDGET, "budget", budget.value, span, &known);
            return;
        }
        for tier in self.valid_tiers().filter(|tier| tier.max_output_tokens.is_none()) {
            let message = format!(
                "the budget `{}` cannot bound what a call of the tier `{}` costs, so the client will not start",
                budget.value, tier.name
            );
            // A warning: the route can be fitted, checked and compiled without it.
            let place = &budget.item.span;
            let mut warning =
                self.findings.warning(codes::BUDGET_UNBOUNDED, message, place, "the budget is set here");
            if let Some(span) = self.known.tiers.span(&tier.name) {
                warning = self.findings.also(warning, span, "this tier has no `max_output_tokens`");
            }
            self.findings.push(warning.help(format!("add `max_output_tokens` to the tier `{}`", tier.name)));
        }
    }

    fn check_runtime(&self, runtime: &RuntimeTable<'_>, has_budget: bool, has_until_fitted: bool) {
        let (findings, settings) = (self.findings, &runtime.settings);
        self.check_one_of_tiers(runtime.current_tier.as_ref());
        self.check_one_of_tiers(runtime.failover.as_ref());
        self.check_budget(runtime.explore_budget.as_ref());
        let unused = |span: &Range<usize>, message: &str, help: &str| {
            findings.push(findings.error(codes::KEY_UNUSED, message, span, "").help(help));
        };
        if let Some(pace) = runtime.pace.as_ref().filter(|pace| pace.value && !has_budget) {
            unused(&pace.item.key_span, "`pace` does nothing without a budget", "set `budget` for the route");
        }
        if let Some(reload) = runtime.policy_reload.as_ref().filter(|_| settings.policy_file.is_none()) {
            let message = "`policy_reload_s` does nothing without a file to look at";
            unused(&reload.item.key_span, message, "set `policy_file`");
        }
        if let Some(current) = runtime.current_tier.as_ref().filter(|_| settings.mode == Mode::Policy) {
            let message = "`current_tier` does nothing where the policy answers";
            unused(&current.item.key_span, message, "set `mode = \"shadow\"`, or remove it");
        }
        if let Some(budget) = runtime.explore_budget.as_ref().filter(|_| runtime.explore.is_none()) {
            let message = "`explore_budget` does nothing where nothing is explored";
            unused(&budget.item.key_span, message, "set `explore`, or remove it");
        }
        if let Some(mode) = runtime.mode.as_ref().filter(|_| settings.mode == Mode::Shadow)
            && settings.current_tier.is_none()
            && !has_until_fitted
        {
            let message = "in `shadow` mode `current_tier` says which tier answers";
            let error = findings.error(codes::MISSING_KEY, message, &mode.item.span, "");
            findings.push(error.help("add `current_tier` with the tier that answers today"));
        }
        if let Some(mode) = runtime.mode.as_ref().filter(|_| settings.mode == Mode::Shadow)
            && settings.explore <= 0.0
        {
            let message = "`shadow` mode compares the tiers on what is explored, and nothing is";
            let warning = findings.warning(codes::MISSING_KEY, message, &mode.item.span, "");
            findings
                .push(warning.help("add `explore` with the share of requests that also run the other tiers"));
        }
        if let Some(explore) = runtime.explore.as_ref().filter(|explore| explore.value > 0.0)
            && settings.explore_budget.is_none()
        {
            let message = "nothing bounds what exploring may cost";
            let warning = findings.warning(codes::EXPLORE_UNBOUNDED, message, &explore.item.span, "");
            findings.push(warning.help("set `explore_budget` to a budget of its own"));
        }
    }

    fn check_logprobs(&self, place: Option<&Range<usize>>) {
        let Some(place) = place else { return };
        for tier in self.valid_tiers() {
            let says_without = self.known.without_logprobs.contains(&tier.name.as_str());
            let Some(api) = self.api_of(tier).filter(|api| !api.gives_log_probabilities() && !says_without)
            else {
                continue;
            };
            let message = format!(
                "the tier `{}` cannot give log-probabilities: its api is `{}`",
                tier.name,
                api.name()
            );
            let error = self.findings.error(codes::NOT_SUPPORTED, message, place, "they are asked for here");
            let error = self.beside_tier(error, tier);
            let without = format!(
                "set `log_probabilities = false` in the tier `{}` to ask it without them: its answers then have no signal \
                 made of them",
                tier.name
            );
            self.findings.push(error.help(without).help("or remove `top_logprobs`"));
        }
    }

    /// The tier's place in the file beside a finding about it.
    pub(super) fn beside_tier(&self, error: Diagnostic, tier: &Tier) -> Diagnostic {
        match self.known.tiers.span(&tier.name) {
            Some(span) => self.findings.also(error, span, "this tier"),
            None => error,
        }
    }

    pub(super) fn api_of(&self, tier: &Tier) -> Option<Api> {
        let provider = self.known.providers.valid.iter().find(|known| known.name == tier.provider);
        provider.map(|provider| provider.api)
    }

    fn check_temperature(&self, request: &RequestSettings, place: Option<&Range<usize>>) {
        let (Some(temperature), Some(place)) = (request.temperature, place) else { return };
        for tier in self.valid_tiers().filter(|tier| tier.takes_temperature) {
            let Some(api) = self.api_of(tier).filter(|api| temperature > api.highest_temperature()) else {
                continue;
            };
            let (most, name) = (api.highest_temperature(), api.name());
            let message =
                format!("the tier `{}` takes temperatures up to {most}: its api is `{name}`", tier.name);
            let error = self.findings.error(codes::NOT_SUPPORTED, message, place, "it is set here");
            self.findings.push(self.beside_tier(error, tier).help(format!("set it to at most {most}")));
        }
    }

    fn check_tools(&self, place: Option<&Range<usize>>) {
        let Some(place) = place else { return };
        for tier in self.valid_tiers().filter(|tier| !tier.tools) {
            let able = self.api_of(tier).is_some_and(Api::takes_tools);
            let why = if able { "it says `tools = false`" } else { "its api has none" };
            let message = format!("the tier `{}` cannot call tools: {why}", tier.name);
            let error = self.findings.error(codes::NOT_SUPPORTED, message, place, "the route needs them");
            let error = self.beside_tier(error, tier);
            self.findings.push(error.help(format!("remove `{}` from the route's tiers", tier.name)));
        }
    }

    fn check_objective(&self, table: &ObjectiveTable<'_>) -> Option<Objective> {
        let (findings, goals) = (self.findings, &table.goals);
        self.check_one_of_tiers(table.versus.as_ref());
        if let [(first, _), others @ ..] = goals.as_slice() {
            for (item, _) in others {
                let message = format!("`{}` and `{}` both say what to optimise", first.key, item.key);
                let error =
                    findings.error(codes::OBJECTIVE_SEVERAL, message, &item.key_span, "remove this one");
                findings.push(findings.also(error, &first.key_span, "or this one"));
            }
        } else if !table.limits_a_tail() && !table.broken {
            self.objective_missing();
        }
        let objective = table.objective()?;
        let free = matches!(objective.goal, Goal::ShadowPrice(_)) && !objective.limits_a_tail();
        if let Some(confidence) = table.confidence.as_ref().filter(|_| free) {
            let message = "`confidence` certifies a constraint, and a shadow price is none";
            let error = findings.error(codes::NOTHING_TO_CERTIFY, message, &confidence.item.key_span, "");
            findings
                .push(error.help("remove it, or state `max_cost_usd`, `min_quality` or `max_quality_loss`"));
        }
        Some(objective)
    }

    /// What a certificate's tests and its ordered path of policies do not cover.
    fn check_choices(&self, choices: &Choices<'_>, objective: &ObjectiveTable<'_>) {
        let findings = self.findings;
        if let Some(mixtures) = &choices.mixtures
            && let Some(Objective { goal: Goal::ShadowPrice(_) | Goal::MaxQuality, .. }) =
                objective.objective()
        {
            let message = "`mixtures` does nothing without a budget or a floor that a mixture could meet";
            let error = findings.error(codes::KEY_UNUSED, message, &mixtures.item.key_span, "");
            findings
                .push(error.help("state `max_cost_usd`, `min_quality` or `max_quality_loss`, or remove it"));
        }
        let Some(confidence) = &objective.confidence else { return };
        if let Some(mixtures) = &choices.mixtures {
            let message = "a mixture cannot be certified";
            let error = findings.error(codes::NOT_TOGETHER, message, &confidence.item.key_span, "");
            let error =
                findings.also(error, &mixtures.item.key_span, "the policy may be a mixture because of this");
            findings.push(error.help("remove one of the two"));
        }
        if let Some(loss) = &choices.abstain_loss {
            let message = "a policy that may abstain cannot be certified";
            let error = findings.error(codes::NOT_TOGETHER, message, &confidence.item.key_span, "");
            let error = findings.also(error, &loss.item.key_span, "it may abstain because of this");
            findings.push(error.help("remove one of the two"));
        }
    }

    fn check_fittable(&self, states_objective: bool, states_log: bool) {
        if !states_objective {
            self.objective_missing();
        }
        if !states_log {
            let message = format!("the route `{}` has no eval log to be fitted from", self.item.key);
            let error = self
                .findings
                .error(codes::LOG_MISSING, message, &self.item.key_span, "")
                .help(format!("add `log = [\"evals/{}.jsonl\"]`", policy_stem(self.item.key)))
                .help("`until_fitted = \"TIER\"` lets it run before there is a log");
            self.findings.push(error);
        }
    }

    fn objective_missing(&self) {
        let message = format!("the route `{}` does not say what to optimise", self.item.key);
        let error = self
            .findings
            .error(codes::OBJECTIVE_MISSING, message, &self.item.key_span, "")
            .help(format!("add `[{}.objective]` with one of:", self.item.path))
            .help("max_cost_usd, min_quality, max_quality_loss, shadow_price");
        self.findings.push(error);
    }
}
