//! Reads `cascade.toml`: every finding in one run, each with its place and remedy.

mod embedding;
mod names;
mod objective;
mod provider;
mod request;
mod route;
mod runtime;
mod signals;
mod tier;

pub use names::RESERVED_METHODS;
pub(crate) use objective::ObjectiveTable;
pub use route::policy_stem;

use super::places::Places;
use super::section::Section;
use super::{Budget, Config, Provider, Route, Tier, codes, secrets};
use crate::diag::{Diagnostic, Source};
use crate::document::read::{Findings, Table, parse};
use std::ops::Range;
use std::sync::Arc;
use toml::de::DeTable;

/// The version of the format that is read.
const SCHEMA: u64 = 1;

/// Reads and checks a whole `cascade.toml`.
///
/// The configuration is there iff no finding is an error. Findings come in the order of their places; secrets that were
/// pasted into the file are blanked in what they show.
pub fn read(source: &Arc<Source>) -> (Option<Config>, Vec<Diagnostic>) {
    let shown = Arc::new(Source {
        name: source.name.clone(),
        text: secrets::mask(&source.text),
        first_line: source.first_line,
        column: source.column,
    });
    let findings = Findings::new(&codes::DOCUMENT, Arc::clone(&shown));
    let (tree, broken) = parse(&source.text, &findings);
    let config = document(&findings, &tree, &shown).filter(|_| !findings.has_errors());
    let mut list = findings.into_sorted();
    if let Some(broken) = broken {
        list.retain(|diagnostic| diagnostic.code == codes::SYNTAX || stands_before(diagnostic, broken));
    }
    for diagnostic in &mut list {
        diagnostic.message = secrets::mask(&diagnostic.message);
    }
    (config, list)
}

/// True for findings that a syntax error further down cannot have caused: they lie before it and are about one value or
/// key alone. What is missing or not declared may stand in the part that could not be read.
fn stands_before(diagnostic: &Diagnostic, broken: usize) -> bool {
    const LOCAL: &[&str] = &[
        codes::UNKNOWN_KEY,
        codes::WRONG_TYPE,
        codes::OUT_OF_RANGE,
        codes::UNKNOWN_VALUE,
        codes::PRICE_NEGATIVE,
        codes::TOO_MANY_DECIMALS,
        codes::AMOUNT_TOO_LARGE,
        codes::INVALID_WINDOW,
        codes::SECRET_IN_FILE,
    ];
    LOCAL.contains(&diagnostic.code) && diagnostic.labels.iter().all(|label| label.span.end < broken)
}

fn document<'d>(findings: &'d Findings, tree: &'d DeTable<'d>, shown: &Arc<Source>) -> Option<Config> {
    let mut root = Section::new(Table::root(findings, tree), "");
    if let Some(item) = root.item("schema") {
        let schema = item.natural(findings)?;
        if schema > SCHEMA {
            let error = item
                .error(
                    findings,
                    codes::SCHEMA_TOO_NEW,
                    format!("schema {schema} is newer than this version of cascade reads"),
                    format!("the newest it reads is {SCHEMA}"),
                )
                .help("update cascade");
            findings.push(error);
            // What a newer version means by the other keys is not known.
            return None;
        }
        if schema == 0 {
            findings.push(item.out_of_range(findings, "must be 1"));
        }
    }
    let providers = provider::read_all(&mut root);
    let (tiers, without_logprobs) = tier::read_all(&mut root, &providers);
    let budgets = tier::read_budgets(&mut root);
    let known = route::Known {
        tiers: &tiers,
        without_logprobs: &without_logprobs,
        budgets: &budgets,
        providers: &providers,
    };
    let routes = route::read_all(&mut root, &known);
    root.finish();
    let routes = routes?;
    // A mistake elsewhere may be why nothing uses them.
    if !findings.has_errors() {
        warn_unused(findings, &providers, &tiers, &budgets, &routes);
    }
    Some(Config {
        providers: providers.valid,
        tiers: tiers.valid,
        budgets: budgets.valid,
        routes,
        places: Places::new(shown, tree),
    })
}

fn warn_unused(
    findings: &Findings,
    providers: &Declared<'_, Provider>,
    tiers: &Declared<'_, Tier>,
    budgets: &Declared<'_, Budget>,
    routes: &[Route],
) {
    tiers.warn_unused(findings, "no route uses the tier", |name| {
        routes.iter().any(|route| {
            route.tiers.iter().any(|tier| tier == name) || route.judges().any(|tier| tier == name)
        })
    });
    providers.warn_unused(findings, "no tier uses the provider", |name| {
        let embeds = |route: &Route| {
            let served = route.embedding.as_ref().and_then(|embedding| embedding.served.as_ref());
            served.is_some_and(|served| served.provider == name)
        };
        tiers.valid.iter().any(|tier| tier.provider == name) || routes.iter().any(embeds)
    });
    budgets.warn_unused(findings, "no route uses the budget", |name| {
        let by_route = |route: &Route| {
            [&route.budget, &route.runtime.explore_budget].into_iter().flatten().any(|budget| budget == name)
        };
        routes.iter().any(by_route)
            || budgets.valid.iter().any(|budget| budget.within.as_deref() == Some(name))
    });
}

/// Tables of one kind: every name that is declared, and what could be read of them. A reference to a table with a mistake
/// in it is not a second mistake.
#[derive(Debug)]
pub(super) struct Declared<'d, T> {
    names: Vec<(&'d str, Range<usize>)>,
    valid: Vec<T>,
}

impl<'d, T> Declared<'d, T> {
    fn new(names: Vec<(&'d str, Range<usize>)>, valid: Vec<T>) -> Self {
        Self { names, valid }
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|(declared, _)| *declared == name)
    }

    fn span(&self, name: &str) -> Option<&Range<usize>> {
        self.names.iter().find(|(declared, _)| *declared == name).map(|(_, span)| span)
    }

    fn listed(&self) -> Vec<&'d str> {
        self.names.iter().map(|(name, _)| *name).collect()
    }

    fn warn_unused(&self, findings: &Findings, message: &str, used: impl Fn(&str) -> bool) {
        for (name, span) in &self.names {
            if !used(name) {
                findings.push(findings.warning(codes::UNUSED, format!("{message} `{name}`"), span, ""));
            }
        }
    }
}
