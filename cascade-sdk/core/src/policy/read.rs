//! Reads policy files and checks all that [`Rules`] promises, so that whoever holds [`Rules`] can decide.

use super::fields::Fields;
use super::names::{self, Names};
use super::plans::{self, PLAN, POINT};
use super::{
    Abstained, Certificate, Expected, Fitted, Guard, Mixture, OperatingPoint, Plan, Policy, Rules, SCHEMA,
    Score, ScoreInput, Term, codes, router_text, stop_text,
};
use crate::config::{Family, Objective, ObjectiveTable, Section};
use crate::diag::{Diagnostic, Source};
use crate::document::read::{Findings, Item, Table, parse};
use crate::name::shell_word;
use std::ops::Range;
use std::sync::Arc;
use toml::de::DeTable;

/// Reads a policy file.
///
/// # Errors
/// Everything that is wrong with the file, each with its place and the command that mends it.
pub fn read(source: &Arc<Source>) -> Result<Policy, Vec<Diagnostic>> {
    if let Some(conflict) = super::conflict::conflict(source) {
        return Err(vec![conflict]);
    }
    let findings = Findings::new(&codes::DOCUMENT, Arc::clone(source));
    let (tree, broken) = parse(&source.text, &findings);
    // What a policy says is not judged where it cannot be read: the tool writes it anew in either case.
    let policy = if broken.is_none() { document(&findings, &tree) } else { None };
    let route = tree.get("route").and_then(|route| route.get_ref().as_str()).unwrap_or("ROUTE").to_owned();
    match policy {
        Some(policy) if !findings.has_errors() => Ok(policy),
        _ => {
            let mend =
                |finding: Diagnostic| finding.help(format!("run `cascade fit {}`", shell_word(&route)));
            Err(findings.into_sorted().into_iter().map(mend).collect())
        }
    }
}

const KEYS: &[&str] = &[
    "schema",
    "route",
    "family",
    "tiers",
    "signals",
    "fitted",
    "objective",
    "expected",
    "certificate",
    "scores",
    "plans",
    "router",
    "guard",
    "abstention",
    "mixture",
    "frontier",
];

fn document<'d>(findings: &'d Findings, tree: &'d DeTable<'d>) -> Option<Policy> {
    let mut root = Fields { table: Table::root(findings, tree), known: KEYS };
    let Some(schema) = root.item("schema") else {
        // Perhaps misspelt: then it is among the unknown keys.
        root.finish();
        return None;
    };
    let version = schema.natural(findings)?;
    if version != u64::from(SCHEMA) {
        let (code, what) = match version {
            0 => (codes::OUT_OF_RANGE, "is no schema"),
            _ => (codes::SCHEMA_TOO_NEW, "is newer than this version of cascade reads"),
        };
        let message = format!("schema {version} {what}");
        findings.push(schema.error(findings, code, message, "").help("update cascade"));
        return None;
    }
    let route = root.text("route");
    let family = root.item("family").and_then(|item| Some((family(findings, &item)?, item.span)));
    let tiers = names::read_list(&mut root.table, "tiers", KEYS);
    let signals = names::read_list(&mut root.table, "signals", KEYS);
    let (Some(tiers), Some(signals), false) = (tiers, signals, findings.has_errors()) else {
        // Everything below speaks of these names.
        root.finish();
        return None;
    };
    let mut names = Names { tiers, signals, scores: Vec::new() };
    let fitted = root.table("fitted", FITTED).and_then(fitted);
    let objective = root.item("objective").and_then(|item| objective(findings, &item));
    let expected = root.table("expected", EXPECTED).and_then(|table| expected(table, &names));
    let certificate = root.optional_table("certificate", CERTIFICATE).map(certificate);
    let scores: Vec<Option<Score>> =
        root.tables("scores", SCORE).into_iter().map(|table| score(table, &mut names)).collect();
    let plans = root
        .tables("plans", PLAN)
        .into_iter()
        .map(|table| plans::plan_table(table, &names, &scores))
        .collect();
    let router =
        root.optional_table("router", router_text::KEYS).map(|fields| router_text::read(fields, &names));
    let guard = root.optional_table("guard", GUARD).map(|fields| guard(fields, &names));
    let abstention = root.optional_table("abstention", ABSTENTION).map(|mut fields| {
        let quality = fields.item("quality").and_then(|item| share(findings, &item));
        fields.finish();
        quality
    });
    let mixture = root.optional_table("mixture", MIXTURE).map(|mut fields| {
        let share = fields.item("share").and_then(|item| share(findings, &item));
        let seed = fields.whole("seed");
        fields.finish();
        Some(Mixture { share: share?, seed: seed? })
    });
    let points = root.tables("frontier", POINT);
    let places: Vec<_> = points.iter().map(|point| point.table.span.clone()).collect();
    let frontier = points.into_iter().map(|table| plans::operating_point(table, &names, &scores)).collect();
    root.finish();

    let (scores, plans, frontier) = (all(scores)?, all(plans)?, all(frontier)?);
    let rules = Rules {
        tiers: names.tiers.iter().map(|name| (*name).to_owned()).collect(),
        signals: names.signals.iter().map(|name| (*name).to_owned()).collect(),
        scores,
        plans,
        router: match router {
            Some(router) => Some(router?),
            None => None,
        },
        guard: match guard {
            Some(guard) => Some(guard?),
            None => None,
        },
        abstention: match abstention {
            Some(quality) => Some(quality?),
            None => None,
        },
        mixture: match mixture {
            Some(mixture) => Some(mixture?),
            None => None,
        },
    };
    let (family, place) = family?;
    let shape = Shape { family, router: rules.router.is_some(), mixture: rules.mixture.is_some() };
    let fault = |fault: Option<String>, place: &Range<usize>| {
        if let Some(fault) = fault {
            findings.push(findings.error(codes::INVALID_PLAN, fault, place, ""));
        }
    };
    fault(shape.fault(&rules.plans), &place);
    fault(shape.fault_of_scores(&rules.scores), &place);
    let abstains = |plan: &Plan| plan.abstain.iter().any(Option::is_some);
    let any = rules
        .plans
        .iter()
        .chain(frontier.iter().flat_map(|point: &OperatingPoint| &point.plans))
        .any(abstains);
    if any != rules.abstention.is_some() {
        let message =
            "`abstain_below` and `[abstention]` belong together: one says when, the other what it counts as";
        fault(Some(message.to_owned()), &place);
    }
    frontier.iter().zip(&places).for_each(|(point, place)| fault(shape.fault_at(point), place));
    for (pair, place) in frontier.windows(2).zip(places.iter().skip(1)) {
        if pair[0].cost_usd > pair[1].cost_usd {
            let message = "the points of `frontier` are not in the order of their cost";
            findings.push(findings.error(codes::OUT_OF_RANGE, message, place, "cheaper than the one before"));
        }
    }
    Some(Policy {
        route: route?.to_owned(),
        family,
        fitted: fitted?,
        objective: objective?,
        expected: expected?,
        rules,
        frontier,
        certificate: match certificate {
            Some(certificate) => Some(certificate?),
            None => None,
        },
    })
}

/// Every part, or nothing if one is broken.
pub(super) fn all<T>(parts: Vec<Option<T>>) -> Option<Vec<T>> {
    parts.into_iter().collect()
}

fn family(findings: &Findings, item: &Item<'_>) -> Option<Family> {
    let text = item.text(findings)?;
    let family = Family::parse(text);
    if family.is_none() {
        findings.push(item.unknown_value(findings, text, &Family::ALL.map(Family::name)));
    }
    family
}

/// How many plans and stages a family may have.
struct Shape {
    family: Family,
    router: bool,
    mixture: bool,
}

impl Shape {
    /// What is wrong with some plans.
    fn fault(&self, plans: &[Plan]) -> Option<String> {
        let family = self.family.name();
        let longest = plans.iter().map(|plan| plan.stages.len()).max();
        let (most, stages) = match self.family {
            Family::Single | Family::Router => (1, "one stage"),
            Family::Pair => (2, "at most two stages"),
            Family::Chain | Family::FullChain | Family::RoutedCascade => (usize::MAX, "any number of stages"),
        };
        let may_route = matches!(self.family, Family::Router | Family::RoutedCascade);
        if plans.is_empty() {
            Some("there is no plan".to_owned())
        } else if self.mixture && (self.router || plans.len() != 2) {
            Some("a mixture is of two plans, and of no router".to_owned())
        } else if !self.router && !self.mixture && plans.len() > 1 {
            Some("there are several plans and no router to choose between them".to_owned())
        } else if self.router && !may_route {
            Some(format!("the family `{family}` has no router"))
        } else if !self.mixture
            && plans.len() > 1
            && plans.iter().any(|plan| plan.stages.len() > 1 && plan.forecast.is_none())
        {
            Some("the router cannot weigh a plan of several stages that has no `forecast`".to_owned())
        } else if longest > Some(most) {
            Some(format!("a plan of the family `{family}` has {stages}"))
        } else {
            None
        }
    }

    /// A score that reads predictions would always be missing without a router.
    fn fault_of_scores(&self, scores: &[Score]) -> Option<String> {
        let reads = |score: &&Score| {
            score.per_cost_of.is_some()
                || score.terms.iter().any(|term| matches!(term.input, ScoreInput::Prediction(_)))
        };
        let score = scores.iter().find(reads).filter(|_| !self.router)?;
        Some(format!("the score `{}` reads predictions, and there is no router", score.name))
    }

    /// What is wrong with a point of the frontier.
    fn fault_at(&self, point: &OperatingPoint) -> Option<String> {
        let priced = point.router_shadow_price.is_some();
        if priced && !self.router {
            Some("a point of `frontier` has a `router_shadow_price`, and there is no router".to_owned())
        } else if !priced && point.plans.len() > 1 && self.router {
            Some("a point of `frontier` with several plans has no `router_shadow_price`".to_owned())
        } else if priced && point.plans.is_empty() {
            // The policy's own plans at another λ.
            None
        } else {
            Self { mixture: false, ..*self }.fault(&point.plans)
        }
    }
}

const FITTED: &[&str] = &[
    "log_hash",
    "config_hash",
    "algorithm",
    "calibration_rows",
    "test_rows",
    "seed",
    "refit_on_all",
    "repriced",
    "traffic_hash",
];

fn fitted(mut fields: Fields<'_>) -> Option<Fitted> {
    let log_hash = fields.hash("log_hash");
    let config_hash = fields.hash("config_hash");
    let algorithm = fields.whole("algorithm");
    let calibration_rows = fields.whole("calibration_rows");
    let test_rows = fields.whole("test_rows");
    let seed = fields.whole("seed");
    let findings = fields.table.findings;
    let refit_on_all = fields.item("refit_on_all").and_then(|item| item.boolean(findings));
    let repriced =
        if fields.table.has("repriced") { fields.item("repriced")?.boolean(findings)? } else { false };
    let traffic_hash =
        if fields.table.has("traffic_hash") { Some(fields.hash("traffic_hash")?) } else { None };
    fields.finish();
    Some(Fitted {
        log_hash: log_hash?,
        config_hash: config_hash?,
        algorithm: algorithm?,
        calibration_rows: calibration_rows?,
        test_rows: test_rows?,
        seed: seed?,
        refit_on_all: refit_on_all?,
        repriced,
        traffic_hash,
    })
}

fn objective<'d>(findings: &'d Findings, item: &Item<'d>) -> Option<Objective> {
    let table = ObjectiveTable::read(Section::new(item.table(findings)?, "routes.*.objective"));
    let objective = table.objective();
    if objective.is_none() && !table.broken {
        let message = "`objective` does not state exactly one goal";
        findings.push(findings.error(codes::INVALID_OBJECTIVE, message, &item.key_span, ""));
    }
    objective
}

const EXPECTED: &[&str] = &[
    "quality",
    "cost_usd",
    "calls",
    "shadow_price",
    "latency_ms_p95",
    "abstained",
    "quality_answered",
    "share",
    "early_escalation",
];

fn expected(mut fields: Fields<'_>, names: &Names<'_>) -> Option<Expected> {
    let quality = fields.estimate("quality");
    let cost_usd = fields.estimate("cost_usd");
    let calls = fields.estimate("calls");
    let shadow_price = fields.optional_number("shadow_price");
    let latency_ms_p95 = fields.optional_number("latency_ms_p95");
    let abstained = if fields.table.has("abstained") || fields.table.has("quality_answered") {
        let (share, answered) = (fields.estimate("abstained"), fields.estimate("quality_answered"));
        Some(share.zip(answered).map(|(share, quality_answered)| Abstained { share, quality_answered }))
    } else {
        None
    };
    let share = fields.table("share", &names.tiers).and_then(|mut share| {
        let shares = names.tiers.iter().map(|tier| share.estimate(tier)).collect();
        share.finish();
        all(shares)
    });
    let early_escalation =
        fields.optional_table("early_escalation", stop_text::EFFECT).map(stop_text::read_effect);
    fields.finish();
    Some(Expected {
        quality: quality?,
        cost_usd: cost_usd?,
        calls: calls?,
        share: share?,
        shadow_price,
        latency_ms_p95,
        early_escalation: match early_escalation {
            Some(effect) => Some(effect?),
            None => None,
        },
        abstained: match abstained {
            Some(abstained) => Some(abstained?),
            None => None,
        },
    })
}

const CERTIFICATE: &[&str] = &["promise", "confidence", "method", "rows", "assumptions", "attempt"];

fn certificate(mut fields: Fields<'_>) -> Option<Certificate> {
    let promise = fields.text("promise");
    let confidence = fields.number("confidence");
    let method = fields.text("method");
    let rows = fields.whole("rows");
    let findings = fields.table.findings;
    let assumptions =
        fields.list("assumptions").iter().map(|item| item.text(findings).map(str::to_owned)).collect();
    let attempt = fields.whole("attempt");
    fields.finish();
    Some(Certificate {
        promise: promise?.to_owned(),
        confidence: confidence?,
        method: method?.to_owned(),
        rows: rows?,
        assumptions: all(assumptions)?,
        attempt: attempt?,
    })
}

const GUARD: &[&str] = &["tag", "labels", "tier"];

fn guard(mut fields: Fields<'_>, names: &Names<'_>) -> Option<Guard> {
    let findings = fields.table.findings;
    let tag = fields.text("tag");
    let labels = names::read_list(&mut fields.table, "labels", GUARD);
    let tier = fields.item("tier").and_then(|item| names.tier(findings, &item));
    fields.finish();
    let labels = labels?.into_iter().map(str::to_owned).collect();
    Some(Guard::new(tag?.to_owned(), labels, tier?))
}

const ABSTENTION: &[&str] = &["quality"];

const MIXTURE: &[&str] = &["share", "seed"];

const SCORE: &[&str] = &["name", "tier", "intercept", "per_cost_of", "terms"];

fn score<'d>(mut fields: Fields<'d>, names: &mut Names<'d>) -> Option<Score> {
    let findings = fields.table.findings;
    let name = fields.item("name").and_then(|item| {
        let name = item.text(findings)?;
        let earlier: Vec<_> = names.signals.iter().chain(&names.scores).copied().collect();
        names::check_new(findings, &item, name, &earlier);
        Some(name)
    });
    // Indices of scores must not shift where one has no name.
    names.scores.push(name.unwrap_or_default());
    let tier = fields.item("tier").and_then(|item| names.tier(findings, &item));
    let intercept = fields.number("intercept");
    let per_cost_of = match fields.table.take("per_cost_of") {
        Some(item) => Some(names.tier(findings, &item)?),
        None => None,
    };
    let terms = fields.list("terms").iter().map(|item| term(findings, item, names)).collect();
    fields.finish();
    Some(Score {
        name: name?.to_owned(),
        tier: tier?,
        intercept: intercept?,
        terms: all(terms)?,
        per_cost_of,
    })
}

const TERM: &[&str] = &["signal", "prediction", "weight", "knots"];

fn term<'d>(findings: &'d Findings, item: &Item<'d>, names: &Names<'_>) -> Option<Term> {
    let mut fields = Fields { table: item.table(findings)?, known: TERM };
    let signal = fields.table.take("signal");
    let prediction = fields.table.take("prediction");
    let input = match (signal, prediction) {
        (Some(signal), None) => names.signal(findings, &signal).map(ScoreInput::Signal),
        (None, Some(tier)) => names.tier(findings, &tier).map(ScoreInput::Prediction),
        _ => {
            let message = format!("`{}` must have either `signal` or `prediction`", item.path);
            findings.push(item.error(findings, codes::MISSING_KEY, message, ""));
            None
        }
    };
    let weight = fields.number("weight");
    let knots = fields.table.take("knots").map_or(Some(Vec::new()), |item| knots(findings, &item));
    fields.finish();
    Some(Term { input: input?, knots: knots?, weight: weight? })
}

fn knots(findings: &Findings, item: &Item<'_>) -> Option<Vec<(f64, f64)>> {
    let items = item.list(findings)?;
    let knots = items.iter().map(|knot| {
        if let [x, y] = knot.list(findings)?.as_slice() {
            return Some((x.number(findings)?, y.number(findings)?));
        }
        findings.push(knot.out_of_range(findings, "must be a pair of numbers"));
        None
    });
    let knots = all(knots.collect())?;
    if knots.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
        findings.push(item.out_of_range(findings, "must have strictly increasing first numbers"));
        return None;
    }
    Some(knots)
}

/// A number from 0 to 1.
fn share(findings: &Findings, item: &Item<'_>) -> Option<f64> {
    let number = item.number(findings)?;
    if !(0.0..=1.0).contains(&number) {
        findings.push(item.out_of_range(findings, "must lie between 0 and 1"));
        return None;
    }
    Some(number)
}

/// The keys of every table, for the schema.
#[cfg(test)]
pub(super) const ALL_KEYS: [&[&str]; 14] = [
    KEYS,
    FITTED,
    EXPECTED,
    CERTIFICATE,
    GUARD,
    ABSTENTION,
    MIXTURE,
    SCORE,
    TERM,
    POINT,
    PLAN,
    plans::STAGE,
    stop_text::KEYS,
    stop_text::EFFECT,
];
