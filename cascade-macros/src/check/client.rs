//! What `#[client]` names: a configuration without mistakes, and for each route a policy that belongs to it.

use crate::expand::docs;
use crate::fallback;
use crate::item::InputKind;
use crate::load::{self, Failure, File, Project};
use crate::plan::{ClientPlan, Embedded, NeededPlan, PolicyPlan, RoutePlan, TierPlan};
use cascade_sdk_core::config::{self, AnswerForm, Config, Route};
use cascade_sdk_core::diag::{self, Diagnostic, Source};
use cascade_sdk_core::feature::Router;
use cascade_sdk_core::name::shell_word;
use cascade_sdk_core::policy::{self, Policy, Returns};

/// Mistakes, and what is generated in spite of them.
pub(crate) struct Refused {
    /// One message for each mistake.
    pub(crate) messages: Vec<String>,
    pub(crate) plan: ClientPlan,
}

impl Refused {
    fn without_config(message: String) -> Box<Self> {
        Box::new(Self { messages: vec![message], plan: ClientPlan::default() })
    }
}

/// Reads and judges everything that the client at `path` consists of.
///
/// # Errors
/// Every mistake in the configuration, or in what it names.
pub(crate) fn client(project: &Project, path: &str) -> Result<ClientPlan, Box<Refused>> {
    if !load::is_relative(path) {
        let message = "the path of the configuration is relative to the package's `Cargo.toml`";
        return Err(Refused::without_config(message.to_owned()));
    }
    let file = project.read(path).map_err(|failure| {
        Refused::without_config(match failure {
            Failure::Missing => format!(
                "there is no configuration `{path}`\n  = help: the path is relative to the directory of `Cargo.toml`\n  \
                 = help: run `cascade init` to make one"
            ),
            Failure::Unreadable(why) => why,
        })
    })?;
    let (config, mut findings) = config::read(&Source::new(path, file.text.as_str()));
    let mut plan =
        ClientPlan { config: Some(file.embedded), config_path: path.to_owned(), ..ClientPlan::default() };
    if let Some(config) = &config {
        plan.from_env_docs = docs::from_env(config);
        for route in &config.routes {
            let checked = Checker { project, path, config, findings: &mut findings }.route(route);
            plan.routes.push(checked);
        }
    }
    if config.is_none() || findings.iter().any(Diagnostic::is_error) {
        let messages = diag::compile_errors(&findings);
        return Err(Box::new(Refused { messages, plan: fallback::plan(&file.text) }));
    }
    plan.warnings = findings.iter().map(|finding| diag::render(finding, diag::Style::Plain)).collect();
    Ok(plan)
}

struct Checker<'a> {
    project: &'a Project,
    path: &'a str,
    config: &'a Config,
    findings: &'a mut Vec<Diagnostic>,
}

impl Checker<'_> {
    fn route(&mut self, route: &Route) -> RoutePlan {
        let schema = match &route.request.answer {
            AnswerForm::Schema { path } => self.schema(route, path),
            _ => None,
        };
        let policy = self.policy(route, schema.as_ref().map(|file| file.text.as_str()));
        let (plan, policy) = policy.unzip();
        let tiers = route.tiers.iter().map(|name| TierPlan {
            name: name.clone(),
            docs: docs::tier(self.config, name, policy.as_ref()),
        });
        RoutePlan {
            name: route.name.clone(),
            docs: docs::route(self.config, route, policy.as_ref()),
            tiers: tiers.collect(),
            needed: policy.as_ref().map(|policy| needed(route, policy)).unwrap_or_default(),
            schema: schema.map(|file| file.embedded),
            policy: plan,
        }
    }

    /// The policy of a route that has one. A route with one tier needs none.
    fn policy(&mut self, route: &Route, schema: Option<&str>) -> Option<(PolicyPlan, Policy)> {
        if route.tiers.len() < 2 {
            return None;
        }
        let file = match self
            .project
            .read_policy(&config::policy_stem(&route.name), &load::beside(self.path, &route.policy))
        {
            Ok(file) => file,
            Err(Failure::Missing) => {
                self.findings.extend(policy::missing(self.config, &route.name));
                return None;
            }
            Err(Failure::Unreadable(why)) => {
                let finding = Diagnostic::error("policy::unreadable", why)
                    .help(format!("restore the file, or run `cascade fit {}`", shell_word(&route.name)));
                self.push(finding, route, "policy", "");
                return None;
            }
        };
        match policy::read(&Source::new(file.shown.as_str(), file.text.as_str())) {
            Ok(mut policy) => {
                let stale = policy::staleness(&policy, self.config, &route.name, schema);
                // Of one that has to be fitted again there is nothing more to say.
                if !stale.iter().any(Diagnostic::is_error) {
                    let returns = |tier| Returns::declared(self.config, tier);
                    let config = self.config;
                    self.findings.extend(policy::unavailable_signals(
                        &policy.rules,
                        config,
                        &route.name,
                        returns,
                    ));
                }
                self.findings.extend(stale);
                let weights =
                    policy.rules.router.as_mut().and_then(|router| self.weights(route, &file, router));
                let plan = PolicyPlan { file: file.embedded, path: route.policy.clone(), weights };
                Some((plan, policy))
            }
            Err(found) => {
                self.findings.extend(found);
                None
            }
        }
    }

    /// The router's weights, if they are in a file of their own. Reading them here as well makes a file that was lost or
    /// mixed up an error of the build, not of the first request.
    fn weights(&mut self, route: &Route, policy: &File, router: &mut Router) -> Option<Embedded> {
        let name = router.awaits.clone()?;
        let why = match self.project.read_beside(&policy.embedded, &name) {
            Ok((bytes, embedded)) => match router.complete(&bytes) {
                Ok(()) => return Some(embedded),
                Err(error) => format!("the weights of the policy `{}` cannot be used: {error}", policy.shown),
            },
            Err(Failure::Missing) => {
                format!(
                    "the weights of the policy `{}` are missing: there is no `{name}` beside it",
                    policy.shown
                )
            }
            Err(Failure::Unreadable(why)) => why,
        };
        let finding = Diagnostic::error(policy::codes::WEIGHTS, why)
            .help(format!("restore the file, or run `cascade fit {}`", shell_word(&route.name)));
        self.push(finding, route, "policy", "");
        None
    }

    fn schema(&mut self, route: &Route, path: &str) -> Option<File> {
        let finding = match self.project.read(&load::beside(self.path, path)) {
            Ok(file) => return Some(file),
            Err(Failure::Missing) => config::schema_missing(self.config, route, path),
            Err(Failure::Unreadable(why)) => config::schema_unreadable(self.config, route, &why),
        };
        self.findings.push(finding);
        None
    }

    fn push(&mut self, finding: Diagnostic, route: &Route, key: &str, text: &str) {
        let finding = self.label(finding, route, key, text);
        self.findings.push(finding);
    }

    fn label(&self, finding: Diagnostic, route: &Route, key: &str, text: &str) -> Diagnostic {
        self.config.places.label(finding, &["routes", &route.name, key], text)
    }
}

/// What the router and the guard of a policy must be told about each request.
fn needed(route: &Route, policy: &Policy) -> Vec<NeededPlan> {
    let guard = policy.rules.guard.iter().map(|guard| (InputKind::Tag, guard.tag.as_str()));
    let mut read: Vec<(InputKind, &str)> = policy.rules.router.iter().flat_map(inputs).collect();
    let known = |name: &str| read.iter().any(|known| known.0 == InputKind::Tag && known.1 == name);
    let more: Vec<_> = guard.filter(|(_, name)| !known(name)).collect();
    read.extend(more);
    let needed = read.into_iter().map(|(kind, name)| {
        let route = &route.name;
        let message = match kind {
            InputKind::Feature => format!(
                "the policy of the route `{route}` reads the feature `{name}`: add an argument `#[feature] {name}: f64`"
            ),
            InputKind::Tag => format!(
                "the policy of the route `{route}` reads the tag `{name}`: add an argument `#[tag] {name}: &str`"
            ),
        };
        NeededPlan { kind, name: name.to_owned(), message }
    });
    needed.collect()
}

/// The features and tags that a router reads beside the prompt.
fn inputs(router: &Router) -> impl Iterator<Item = (InputKind, &str)> {
    let features = router.inputs.numbers.iter().map(|input| (InputKind::Feature, input.name.as_str()));
    let tags = router.inputs.tags.iter().map(|input| (InputKind::Tag, input.name.as_str()));
    features.chain(tags)
}
