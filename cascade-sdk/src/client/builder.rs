//! Making a client: from what was baked in, what the environment says and what the application brings.

use super::budget::BudgetSetup;
use super::connections::Connections;
use super::log_file::{LogFile, Rotation};
use super::policy::{Belongs, FittedPolicy, errors};
use super::route::{Parts, Route};
use super::run::explore::AT_ONCE;
use super::spec::{ClientSpec, RouteSpec};
use super::{Client, Inner};
use crate::answer::AnswerSchema;
use crate::budget::{BudgetStore, InProcess};
use crate::embedding::Embedder;
use crate::error::{Error, Kind};
use crate::generated::FromClient;
use crate::provider::Provider;
use crate::signal::Verifier;
use cascade_sdk_core::config::{self, Config, SignalKind};
use cascade_sdk_core::diag::Source;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::sync::{Semaphore, watch};

/// Sends every call to this base URL.
const BASE_URL: &str = "CASCADE_BASE_URL";

/// Answers from logs: `1` for each route's own, else the path of one.
const REPLAY: &str = "CASCADE_REPLAY";

/// Sends every request of a route to one tier: `route:tier`, several separated by commas.
const FORCE_TIER: &str = "CASCADE_FORCE_TIER";

/// Writes the decisions of every route to this file.
const DECISION_LOG: &str = "CASCADE_DECISION_LOG";

/// Keeps budgets in the Redis at this address.
const REDIS_URL: &str = "CASCADE_REDIS_URL";

/// Makes a client; the types that `#[client]` generates have one as `builder()`.
#[must_use = "a builder does nothing until `build` is called"]
pub struct Builder<C = Client> {
    package: String,
    /// Directory of the configuration, which its paths are relative to.
    pub(super) directory: PathBuf,
    pub(super) config: Config,
    routes: Vec<Baked>,
    pub(super) providers: BTreeMap<String, Arc<dyn Provider>>,
    pub(super) overrides: Overrides,
    policy_files: BTreeMap<String, PathBuf>,
    pub(super) verifiers: BTreeMap<String, Arc<dyn Verifier>>,
    pub(super) embedders: BTreeMap<String, Arc<dyn Embedder>>,
    pub(super) embedding_files: BTreeMap<String, PathBuf>,
    decision_log: Option<PathBuf>,
    rotation: Rotation,
    budget_store: Option<Arc<dyn BudgetStore>>,
    max_retries: Option<u32>,
    /// What is wrong with the baked-in texts; reported by `build`.
    mistakes: Vec<String>,
    made: PhantomData<fn() -> C>,
}

/// What is known of a route beside the configuration.
#[derive(Clone, Debug)]
pub(super) struct Baked {
    pub(super) schema: AnswerSchema,
    /// The text of the schema's file.
    pub(super) schema_text: Option<String>,
    pub(super) policy: Option<FittedPolicy>,
}

/// What the environment replaces.
#[derive(Debug, Default)]
pub(super) struct Overrides {
    pub(super) base_url: Option<String>,
    pub(super) replay: Option<Replay>,
    /// `route:tier` each.
    forced: Vec<String>,
}

/// Which log answers instead of the providers.
#[derive(Debug)]
pub(super) enum Replay {
    /// Each route's own.
    Own,
    /// The log at this path or glob, for every route.
    At(String),
}

impl<C: FromClient> Builder<C> {
    /// A builder of the client that `#[client]` describes.
    pub fn new(spec: &'static ClientSpec) -> Self {
        let source = Source::new(spec.config_path, spec.config);
        let (config, findings) = config::read(&source);
        let mut mistakes: Vec<String> = errors(&findings);
        let config = config.unwrap_or_default();
        let mut routes = Vec::new();
        for route in &config.routes {
            // The macro read the same text, so every route has its entry; one without is not served.
            let Some(spec) = spec.routes.iter().find(|spec| spec.name == route.name) else {
                mistakes.push(format!("route `{}` is not known to the program: build it again", route.name));
                continue;
            };
            match bake(spec, &config) {
                Ok(baked) => routes.push(baked),
                Err(found) => mistakes.extend(found),
            }
        }
        let directory = Path::new(spec.manifest_dir).join(spec.config_path);
        let directory = directory.parent().map(Path::to_path_buf).unwrap_or_default();
        Self { mistakes, ..Self::from_parts(spec.package, directory, config, routes) }
    }

    /// Lets the environment replace what the configuration says, as `from_env` of a client does: `CASCADE_BASE_URL`,
    /// `CASCADE_REPLAY`, `CASCADE_FORCE_TIER`, `CASCADE_DECISION_LOG` and `CASCADE_REDIS_URL`. For clients that need something
    /// of the application beside, such as a verifier.
    pub fn overrides_from_env(self) -> Self {
        self.overrides_from(|name| std::env::var(name).ok())
    }

    /// The same from elsewhere.
    pub(super) fn overrides_from(mut self, env: impl Fn(&str) -> Option<String>) -> Self {
        let text = |name: &str| env(name).filter(|value| !value.trim().is_empty());
        let replay = text(REPLAY).map(|path| if path == "1" { Replay::Own } else { Replay::At(path) });
        let forced = text(FORCE_TIER).unwrap_or_default();
        let forced = forced.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let forced = forced.map(str::to_owned).collect();
        self.overrides = Overrides { base_url: text(BASE_URL), replay, forced };
        if let Some(path) = text(DECISION_LOG) {
            self.decision_log = Some(path.into());
        }
        if let Some(url) = text(REDIS_URL) {
            self = self.budgets_in_redis(&url);
        }
        if self.overrides.base_url.is_some() && self.overrides.replay.is_some() {
            self.mistakes
                .push(format!("{BASE_URL} and {REPLAY} are both set: a call is either sent or replayed"));
        }
        self
    }

    pub(super) fn from_parts(package: &str, directory: PathBuf, config: Config, routes: Vec<Baked>) -> Self {
        Self {
            package: package.to_owned(),
            directory,
            config,
            routes,
            providers: BTreeMap::new(),
            overrides: Overrides::default(),
            policy_files: BTreeMap::new(),
            verifiers: BTreeMap::new(),
            embedders: BTreeMap::new(),
            embedding_files: BTreeMap::new(),
            decision_log: None,
            rotation: Rotation::default(),
            budget_store: None,
            max_retries: None,
            mistakes: Vec::new(),
            made: PhantomData,
        }
    }

    /// Answers the calls of the provider of this name in the configuration with this one.
    pub fn provider(mut self, name: impl Into<String>, provider: impl Provider + 'static) -> Self {
        self.providers.insert(name.into(), Arc::new(provider));
        self
    }

    /// Computes the signal of this name, of the kind `verifier`, with this one, on every route that has it.
    pub fn verifier(mut self, signal: impl Into<String>, verifier: impl Verifier) -> Self {
        self.verifiers.insert(signal.into(), Arc::new(verifier));
        self
    }

    /// Makes the embeddings of this model, as `[routes.ROUTE.embedding]` names it, with this one, on every route that has it.
    pub fn embedder(mut self, model: impl Into<String>, embedder: impl Embedder) -> Self {
        self.embedders.insert(model.into(), Arc::new(embedder));
        self
    }

    /// Reads the word vectors of this model, for which `[routes.ROUTE.embedding]` names a `file`, from this path instead: where
    /// the program runs, the configuration's own directory may not be there. The path is relative to the working directory. It
    /// must be the file that the policy was fitted with; another one is refused.
    #[cfg(feature = "static-embedding")]
    pub fn embedding_file(mut self, model: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.embedding_files.insert(model.into(), path.into());
        self
    }

    /// Writes the decisions of every route to this file, whatever `decision_log` says. The path is relative to the working
    /// directory.
    pub fn decision_log(mut self, path: impl Into<PathBuf>) -> Self {
        self.decision_log = Some(path.into());
        self
    }

    /// Renames a decision log that reaches `bytes`, and keeps so many old ones; 64 MiB and 8 unless set.
    pub fn decision_log_rotation(mut self, bytes: u64, files: u32) -> Self {
        self.rotation = Rotation { bytes, files };
        self
    }

    /// Keeps budgets in this store instead of in the process, where each process has the whole limit to itself and a
    /// restart begins an empty window.
    pub fn budget_store(mut self, store: impl BudgetStore + 'static) -> Self {
        self.budget_store = Some(Arc::new(store));
        self
    }

    /// Takes the policy of a route from this file if it is there and valid, instead of the one compiled in, whatever
    /// `policy_file` says. The path is relative to the working directory.
    pub fn policy_file(mut self, route: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.policy_files.insert(route.into(), path.into());
        self
    }

    /// Sends every call to this base URL, whichever provider it belongs to.
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.overrides.base_url = Some(url.into());
        self
    }

    /// Answers from the log at this path or glob instead of from the providers.
    pub fn replay(mut self, log: impl Into<String>) -> Self {
        self.overrides.replay = Some(Replay::At(log.into()));
        self
    }

    /// Answers from each route's own log instead of from the providers.
    pub fn replay_own_logs(mut self) -> Self {
        self.overrides.replay = Some(Replay::Own);
        self
    }

    /// How often a call that failed is repeated at most, on every route, whatever its configuration says.
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = Some(retries);
        self
    }

    /// Makes the client.
    ///
    /// # Errors
    /// [`Error::is_config`], with every mistake that was found.
    pub fn build(self) -> Result<C, Error> {
        let mut mistakes = self.mistakes.clone();
        for name in self.providers.keys() {
            if self.config.provider(name).is_none() {
                mistakes.push(format!("the configuration has no provider `{name}`"));
            }
        }
        let store =
            self.budget_store.clone().unwrap_or_else(|| Arc::new(InProcess::new()) as Arc<dyn BudgetStore>);
        for name in self.policy_files.keys().filter(|name| self.config.route(name).is_none()) {
            mistakes.push(format!("the configuration has no route `{name}`"));
        }
        let config = Arc::new(self.config.clone());
        self.check_forced(&mut mistakes);
        self.check_verifiers(&mut mistakes);
        self.check_embedders(&mut mistakes);
        let mut logs = Logs { builder: &self, open: BTreeMap::new() };
        let mut connections = Connections::new(&self);
        let mut routes = Vec::new();
        for (route, baked) in self.config.routes.iter().zip(&self.routes) {
            let mut tiers = Vec::new();
            for name in &route.tiers {
                match connections.tier(route, name) {
                    Ok(setup) => tiers.push(setup),
                    Err(message) => mistakes.push(message),
                }
            }
            if tiers.len() < route.tiers.len() {
                continue;
            }
            let (judges, scorers) = match connections.scorers(route, &tiers) {
                Ok(made) => made,
                Err(found) => {
                    mistakes.extend(found);
                    continue;
                }
            };
            let embeddings = match connections.embeddings(route) {
                Ok(embeddings) => embeddings,
                Err(message) => {
                    mistakes.push(message);
                    continue;
                }
            };
            let budget = route.budget.as_ref().and_then(|name| BudgetSetup::new(&self.config, name, &store));
            let (baked, directory) = (baked.clone(), self.directory.as_path());
            let policy_file = self.policy_files.get(&route.name).cloned();
            let named = |name: &String| BudgetSetup::new(&self.config, name, &store);
            let parts = Parts {
                config: &config,
                route,
                tiers,
                scorers,
                judges,
                embeddings,
                baked,
                budget,
                explore_budget: route.runtime.explore_budget.as_ref().and_then(named),
                decision_log: logs.of(route).unwrap_or_else(|message| {
                    mistakes.push(message);
                    None
                }),
                forced_tier: self.forced_tier(&route.name),
                directory,
                policy_file,
            };
            match Route::new(parts) {
                Ok(route) => routes.push(route),
                Err(found) => mistakes.extend(found),
            }
        }
        // Several routes share a provider and its mistakes.
        let mut seen = std::collections::BTreeSet::new();
        mistakes.retain(|mistake| seen.insert(mistake.clone()));
        if !mistakes.is_empty() {
            return Err(Error::new(Kind::Config, mistakes.join("\n")));
        }
        Ok(C::from_client(Client {
            inner: Arc::new(Inner {
                package: self.package,
                routes,
                max_retries: self.max_retries,
                closed: watch::Sender::new(false),
                id_prefix: RandomState::new().hash_one(0_u8),
                id_count: AtomicU64::new(0),
                explorations: Semaphore::new(AT_ONCE),
            }),
        }))
    }
}

/// Reads the texts that were baked in for a route, and checks that they still belong together.
fn bake(spec: &RouteSpec, config: &Config) -> Result<Baked, Vec<String>> {
    let mut mistakes = Vec::new();
    let schema = match spec.schema.map(AnswerSchema::from_json) {
        Some(Err(error)) => {
            mistakes.push(format!("route `{}`: {error}", spec.name));
            AnswerSchema::TEXT
        }
        Some(Ok(schema)) => schema,
        None => AnswerSchema::TEXT,
    };
    let policy = spec.policy.and_then(|text| {
        let source = Source::new(spec.policy_path.unwrap_or(spec.name), text);
        let belongs = Belongs { config, route: spec.name, schema: spec.schema };
        let read = FittedPolicy::read(&source, belongs, |policy| {
            let Some(router) = &mut policy.rules.router else { return Ok(()) };
            let completed = router.complete(spec.weights.unwrap_or_default());
            completed.map_err(|error| format!("route `{}`: {error}", spec.name))
        });
        read.map_err(|found| mistakes.extend(found)).ok()
    });
    let schema_text = spec.schema.map(str::to_owned);
    if mistakes.is_empty() { Ok(Baked { schema, schema_text, policy }) } else { Err(mistakes) }
}

/// Decision logs, each opened once.
struct Logs<'b, C> {
    builder: &'b Builder<C>,
    open: BTreeMap<PathBuf, Arc<LogFile>>,
}

impl<C> Logs<'_, C> {
    /// The log of a route, if it has one.
    fn of(&mut self, route: &config::Route) -> Result<Option<Arc<LogFile>>, String> {
        let own = route.runtime.decision_log.as_ref().map(|path| self.builder.directory.join(path));
        let Some(path) = self.builder.decision_log.clone().or(own) else { return Ok(None) };
        if let Some(open) = self.open.get(&path) {
            return Ok(Some(Arc::clone(open)));
        }
        let log = Arc::new(LogFile::open(&path, self.builder.rotation)?);
        self.open.insert(path, Arc::clone(&log));
        Ok(Some(log))
    }
}

impl<C> Builder<C> {
    /// The tier that the environment forces on a route.
    fn forced_tier(&self, route: &str) -> Option<String> {
        // A tier's name may hold a colon, and so may a route's: what fits both is meant.
        let mut forced = self.overrides.forced.iter();
        forced.find_map(|entry| entry.strip_prefix(route)?.strip_prefix(':')).map(str::to_owned)
    }

    /// A verifier that nothing asks is a name with a slip of the pen.
    fn check_verifiers(&self, mistakes: &mut Vec<String>) {
        for name in self.verifiers.keys() {
            let is_one = |signal: &config::SignalSettings| {
                signal.name == *name && matches!(signal.kind, SignalKind::Verifier { .. })
            };
            if !self.config.routes.iter().any(|route| route.signals.iter().any(is_one)) {
                mistakes.push(format!("no route has a signal `{name}` of the kind `verifier`"));
            }
        }
    }

    /// An embedder of a model that no route names is a slip of the pen as well.
    fn check_embedders(&self, mistakes: &mut Vec<String>) {
        let named = self.config.routes.iter().filter_map(|route| route.embedding.as_ref());
        for model in self.embedders.keys().chain(self.embedding_files.keys()) {
            if !named.clone().any(|settings| settings.model == *model) {
                mistakes.push(format!("no route has an embedding by `{model}`"));
            }
        }
        let of_file = |model: &String, is: bool| {
            named.clone().any(|settings| settings.model == *model && settings.file.is_some() == is)
        };
        for model in self.embedders.keys().filter(|model| of_file(model, true) && !of_file(model, false)) {
            mistakes.push(format!(
                "the embedding by `{model}` is read from its `file`, so an embedder does nothing: remove one of them"
            ));
        }
        for model in
            self.embedding_files.keys().filter(|model| of_file(model, false) && !of_file(model, true))
        {
            mistakes.push(format!("the embedding by `{model}` is not read from a file: set `file` under [routes.ROUTE.embedding]"));
        }
    }

    fn check_forced(&self, mistakes: &mut Vec<String>) {
        for entry in &self.overrides.forced {
            let fits = |route: &config::Route| {
                let tier = entry.strip_prefix(route.name.as_str()).and_then(|rest| rest.strip_prefix(':'));
                tier.is_some_and(|tier| route.tiers.iter().any(|known| known == tier))
            };
            if !self.config.routes.iter().any(fits) {
                mistakes.push(format!(
                    "{FORCE_TIER}: `{entry}` is no route and one of its tiers as `route:tier`"
                ));
            }
        }
    }

    #[cfg(feature = "redis")]
    fn budgets_in_redis(mut self, url: &str) -> Self {
        match crate::budget::RedisBudgets::new(url) {
            Ok(store) => self.budget_store = Some(Arc::new(store)),
            Err(error) => self.mistakes.push(format!("{REDIS_URL}: {error}")),
        }
        self
    }

    #[cfg(not(feature = "redis"))]
    fn budgets_in_redis(mut self, _: &str) -> Self {
        let message = format!("{REDIS_URL} is set, but the feature `redis` of cascade-sdk is off");
        self.mistakes.push(message);
        self
    }
}

impl<C> fmt::Debug for Builder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("package", &self.package)
            .field("directory", &self.directory)
            .field("providers", &self.providers.keys())
            .finish_non_exhaustive()
    }
}
