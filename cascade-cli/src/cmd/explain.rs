//! `cascade explain`: what a policy does with one request, and why.
//!
//! Neither prompt nor answer is shown, but words of the prompt with `--show-words`: explanations are read in CI logs.

use super::{explain_code, explain_embedding};
use crate::cli::{Explain, Global, ReadLog};
use crate::collect::spend::{self, Size};
use crate::explanation::{Answered, Ending, Expectation, Explanation, Neighbour, Reason, Single, StageStory};
use crate::failure::{Answer, Failure, Result};
use crate::pages;
use crate::policy_words;
use crate::project::Project;
use crate::terminal::Terminal;
use cascade_sdk_core::config::Route;
use cascade_sdk_core::decide::{Decision, ShownScore};
use cascade_sdk_core::diag::Diagnostic;
use cascade_sdk_core::feature::{self, Predictions, RequestView, Router};
use cascade_sdk_core::log::EvalLog;
use cascade_sdk_core::money::Usd;
use cascade_sdk_core::policy::{Plan, Policy, Rules};
use cascade_sdk_core::replay::{Outcome, Replay, Step};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

/// Longest request that is read from standard input, in bytes.
const LONGEST_REQUEST: u64 = 16 << 20;

/// Runs the command.
///
/// # Errors
/// A configuration, policy or log that cannot be used, a row that is not in the log, or a request that lacks what the
/// router needs.
pub(crate) fn run(global: &Global, args: &Explain, terminal: Terminal) -> Result<Answer> {
    let subject = args.subject.as_deref().unwrap_or_default();
    if args.codes {
        return Ok(explain_code::list(terminal));
    }
    if args.text.is_none() && args.row.is_none() {
        if pages::looks_like_code(subject) {
            return explain_code::page(subject, terminal);
        }
        return Err(Failure::usage(
            format!("nothing is said of a request to route `{subject}`"),
            "give its text, or --row ID for a row of the log",
        ));
    }
    let project = Project::load(global, terminal)?;
    let route = project.route(subject)?;
    let policy = project.policy(route, args.policy.as_deref(), terminal)?;
    let explanation = match &args.row {
        Some(id) => {
            let options =
                project.read_options_as_fitted(route, &ReadLog { reprice: false, strict: false })?;
            let log = project.read_log(route, &options, terminal)?.log;
            of_row(route, &policy, &log, id, args.show_words)?
        }
        None => of_text(&project, route, &policy, args)?,
    };
    if terminal.is_json() {
        terminal.print_json(&explanation);
    } else {
        terminal.print_lines(&explanation.lines());
    }
    Ok(Answer::Yes)
}

fn of_row(route: &Route, policy: &Policy, log: &EvalLog, id: &str, show_words: bool) -> Result<Explanation> {
    let Some(row) = log.row_index(id) else {
        return Err(Diagnostic::error(
            "explain::no-row",
            format!("the log of `{}` has no row `{id}`", route.name),
        )
        .help("rows are named by their `id`")
        .into());
    };
    let failed = |error| Failure::from(super::not_replayed("explain::replay", &error, route));
    let rules = &policy.rules;
    let replay = Replay::new(rules, log).map_err(failed)?;
    let mut scratch = replay.scratch();
    let mut steps = Vec::new();
    let outcome = replay.trace(row, &mut scratch, |step| steps.push(step)).map_err(failed)?;
    let plan = rules.plan(outcome.plan);
    let stages = plan.into_iter().flat_map(|plan| (0..plan.stages.len()).map(move |place| (plan, place)));
    let stages = stages.map(|(plan, place)| {
        let mut story = story(rules, plan, place, steps.get(place));
        if steps.get(place).is_some() {
            story.signals = signals_of(log, &story.tier, row);
        }
        story
    });
    let stages = stages.collect();
    let entry = log.rows.get(row);
    let answered = |outcome: &Outcome| Answered {
        by: rules.tiers.get(outcome.tier).filter(|_| !outcome.failed && !outcome.abstained).cloned(),
        abstained: outcome.abstained,
        quality: outcome.quality,
        cost_usd: outcome.cost.to_f64(),
        cost: outcome.cost,
    };
    let always = route.tiers.iter().filter_map(|name| {
        let tier = log.tier(name).filter(|tier| tier.present.get(row) == Some(&true))?;
        let cost = *tier.cost.get(row)?;
        Some(Single { tier: name.clone(), quality: *tier.quality.get(row)?, cost_usd: cost.to_f64(), cost })
    });
    let mut frontier = Vec::new();
    for point in &policy.frontier {
        let rules = point.rules(rules);
        let replay = Replay::new(&rules, log).map_err(failed)?;
        let there = replay.row(row, &mut replay.scratch()).map_err(failed)?;
        frontier.push(Neighbour {
            mean_cost_usd: point.cost_usd,
            mean_quality: point.quality,
            answer: answered(&there),
        });
    }
    let (predicted, reasons) = row_predictions(rules, log, row, show_words)?;
    Ok(Explanation {
        route: route.name.clone(),
        family: policy.family.name(),
        row: Some(id.to_owned()),
        embedding_cost_usd: None,
        plan: outcome.plan + 1,
        plans: rules.plans.len(),
        guard: guard_in_words(rules, outcome.plan),
        mixture: mixture_in_words(rules, true),
        features: entry
            .map(|row| row.features.iter().map(|(name, value)| (name.to_string(), *value)).collect())
            .unwrap_or_default(),
        tags: entry
            .map(|row| row.tags.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
            .unwrap_or_default(),
        rare_tags: rare(
            rules,
            entry.into_iter().flat_map(|row| &row.tags).map(|(name, value)| (&**name, &**value)),
        ),
        expected_cost: policy.expected.cost_usd.value,
        predictions: rules.tiers.iter().cloned().zip(predicted.log_odds.iter().copied()).collect(),
        compared: compared(rules, &predicted),
        shadow_price: rules.router.as_ref().map(|router| router.shadow_price),
        reasons,
        stages,
        outcome: Some(Ending { answer: answered(&outcome), calls: outcome.calls }),
        always: always.collect(),
        frontier,
    })
}

/// Signals that a tier's answer to a row has.
fn signals_of(log: &EvalLog, tier: &str, row: usize) -> BTreeMap<String, f64> {
    let columns = log.tier(tier).into_iter().flat_map(|tier| &tier.signals);
    let values = columns.filter_map(|(name, column)| Some((name.clone(), *column.value.get(row)?)));
    values.filter(|(_, value)| value.is_finite()).collect()
}

fn row_predictions(
    rules: &Rules,
    log: &EvalLog,
    row: usize,
    show_words: bool,
) -> Result<(Predictions, Vec<Reason>)> {
    let Some(entry) = log.rows.get(row).filter(|_| rules.router.is_some()) else {
        return Ok((Predictions::default(), Vec::new()));
    };
    let features: Vec<(&str, f64)> = entry.features.iter().map(|(name, value)| (&**name, *value)).collect();
    let tags: Vec<(&str, &str)> = entry.tags.iter().map(|(name, value)| (&**name, &**value)).collect();
    let view = RequestView {
        text: entry.text.as_deref().unwrap_or(""),
        features: &features,
        tags: &tags,
        embedding: log.embeddings.as_ref().and_then(|embeddings| embeddings.get(row)),
        id: Some(&entry.id),
    };
    let (_, predicted) = choose(rules, &view)?;
    Ok((predicted, reasons(rules, &view, show_words)?))
}

/// What moves the router's predictions, in the order of how far it moves tiers apart.
fn reasons(rules: &Rules, view: &RequestView<'_>, show_words: bool) -> Result<Vec<Reason>> {
    // Where nothing rests on the embedding, nobody asked for one.
    let unread = |router: &Router| router.inputs.embedding.is_some() && view.embedding.is_none();
    let Some(router) = rules.router.as_ref().filter(|router| !unread(router)) else {
        return Ok(Vec::new());
    };
    let parts =
        feature::contributions(router, view, show_words).map_err(|missing| missing_input(&missing))?;
    let reason = |part: feature::Contribution| Reason {
        input: part.input,
        family: part.family.name(),
        log_odds: rules.tiers.iter().cloned().zip(part.log_odds).collect(),
    };
    Ok(parts.into_iter().map(reason).collect())
}

fn missing_input(missing: &feature::MissingInput) -> Failure {
    let help = match missing {
        feature::MissingInput::Embedding(_) | feature::MissingInput::EmbeddingLength { .. } => {
            "explain a row of the log that has one, with --row ID"
        }
        _ => "give it with --feature NAME=NUMBER or --tag NAME=LABEL",
    };
    Diagnostic::error("explain::missing-input", missing.to_string()).help(help).into()
}

/// The plan that is chosen, and what the router predicts.
fn choose(rules: &Rules, view: &RequestView<'_>) -> Result<(usize, Predictions)> {
    if !rules.reads_requests() {
        return Ok((0, Predictions::default()));
    }
    let mut scratch = feature::Scratch::default();
    let plan = feature::choose_plan(rules, view, &mut scratch).map_err(|missing| missing_input(&missing))?;
    Ok((plan, scratch.predictions().clone()))
}

fn of_text(project: &Project, route: &Route, policy: &Policy, args: &Explain) -> Result<Explanation> {
    let text = match args.text.as_deref() {
        Some("-") => {
            let mut text = String::new();
            let read = std::io::stdin().lock().take(LONGEST_REQUEST).read_to_string(&mut text);
            read.map_err(|error| {
                Diagnostic::error("cli::io", format!("cannot read standard input: {error}"))
            })?;
            text
        }
        text => text.unwrap_or_default().to_owned(),
    };
    let mut features = pairs(&args.feature, "--feature")?
        .into_iter()
        .map(|(name, value)| match value.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok((name, number)),
            _ => Err(Failure::usage(format!("--feature {name}={value} is no number"), "give a number")),
        })
        .collect::<Result<Vec<_>>>()?;
    let mut tags = pairs(&args.tag, "--tag")?;
    features.sort_by(|a, b| a.0.cmp(b.0));
    tags.sort_unstable();
    let rules = &policy.rules;
    let mut view = RequestView { text: &text, features: &features, tags: &tags, ..RequestView::default() };
    let embedded = if feature::needs_embedding(rules, &view) {
        Some(explain_embedding::of_text(project, route, &text, args.embed)?)
    } else {
        None
    };
    view.embedding = embedded.as_ref().map(|embedded| embedded.vector.as_slice());
    let (plan, predicted) = choose(rules, &view)?;
    let system = route.request.system.as_deref();
    let size = Size {
        bytes: (text.len() + system.map_or(0, str::len)) as u64,
        messages: 1 + u64::from(system.is_some()),
    };
    let chosen = rules.plan(plan);
    let stages = chosen.into_iter().flat_map(|plan| (0..plan.stages.len()).map(move |place| (plan, place)));
    let stages = stages.map(|(plan, place)| {
        let mut story = story(rules, plan, place, None);
        let tier = project.config.tier(&story.tier).filter(|tier| tier.max_output_tokens.is_some());
        story.cost = tier.and_then(|tier| spend::most_cost(tier, size, 0).ok());
        story.cost_usd = story.cost.map(Usd::to_f64);
        story
    });
    Ok(Explanation {
        route: route.name.clone(),
        family: policy.family.name(),
        row: None,
        embedding_cost_usd: embedded.as_ref().and_then(|embedded| embedded.cost).map(Usd::to_f64),
        plan: plan + 1,
        plans: rules.plans.len(),
        guard: guard_in_words(rules, plan),
        mixture: mixture_in_words(rules, false),
        features: features.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        tags: tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        rare_tags: rare(rules, tags.iter().copied()),
        expected_cost: policy.expected.cost_usd.value,
        predictions: rules.tiers.iter().cloned().zip(predicted.log_odds.iter().copied()).collect(),
        compared: compared(rules, &predicted),
        shadow_price: rules.router.as_ref().map(|router| router.shadow_price),
        reasons: reasons(rules, &view, args.show_words)?,
        stages: stages.collect(),
        outcome: None,
        always: Vec::new(),
        frontier: Vec::new(),
    })
}

/// `name=value` arguments.
fn pairs<'a>(arguments: &'a [String], flag: &str) -> Result<Vec<(&'a str, &'a str)>> {
    let split = |argument: &'a String| {
        argument.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
            Failure::usage(format!("{flag} {argument} has no `=`"), format!("write {flag} NAME=VALUE"))
        })
    };
    arguments.iter().map(split).collect()
}

/// Labels whose values have no weight of their own.
fn rare<'a>(rules: &Rules, tags: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeSet<String> {
    let read = rules.router.iter().flat_map(|router| &router.inputs.tags);
    let known: BTreeMap<&str, &[String]> = read.map(|tag| (&*tag.name, &*tag.levels)).collect();
    let rare = |(name, value): &(&str, &str)| {
        known.get(name).is_some_and(|levels| !levels.iter().any(|level| level == value))
    };
    tags.filter(rare).map(|(name, _)| name.to_owned()).collect()
}

/// What the router compares.
fn compared(rules: &Rules, predicted: &Predictions) -> Vec<Expectation> {
    let Some(router) = rules.router.as_ref().filter(|_| !predicted.log_odds.is_empty()) else {
        return Vec::new();
    };
    let expected = feature::expected(rules, predicted).zip(&rules.plans).enumerate();
    let worth = |(at, ((quality, cost_usd), plan)): (usize, ((f64, f64), &Plan))| Expectation {
        plan: at + 1,
        tiers: policy_words::tiers_of(rules, plan),
        quality,
        cost_usd,
        worth: quality - router.shadow_price * cost_usd,
    };
    expected.map(worth).collect()
}

/// Why the plan is that of the guard, if it is.
fn guard_in_words(rules: &Rules, plan: usize) -> Option<String> {
    let guard = rules.guard.as_ref().filter(|_| plan == rules.plans.len())?;
    let tier = rules.tiers.get(guard.tier()).map_or("", String::as_str);
    Some(format!(
        "requests with this label of `{}` stay on {tier}, because the cascade served them worse",
        guard.tag
    ))
}

/// How the plan of a mixture is drawn.
fn mixture_in_words(rules: &Rules, has_id: bool) -> Option<String> {
    let shares = policy_words::mixture(rules)?;
    Some(if has_id {
        format!("drawn by the id: {shares}")
    } else {
        format!("the larger share, because a request without an id is not drawn: {shares}")
    })
}

fn story(rules: &Rules, plan: &Plan, place: usize, step: Option<&Step>) -> StageStory {
    let cost = step.map(|step| step.cost.saturating_add(step.signal_cost));
    StageStory {
        tier: plan
            .stages
            .get(place)
            .map_or_else(String::new, |stage| policy_words::tier(rules, stage.tier).to_owned()),
        rule: policy_words::stage(rules, plan, place).unwrap_or_else(|| "the last stage".to_owned()),
        given_up_after: step.and_then(|step| step.given_up_after),
        decision: step.map(|step| match step.decision {
            Decision::Accept { score: Some(score) } => format!("kept: the score is {}", ShownScore(score)),
            Decision::Accept { score: None } => "kept".to_owned(),
            Decision::Escalate(why) => format!("escalated: {why}"),
            Decision::Abstain { score, below } => {
                format!("abstained: score {} is below {}", ShownScore(score), ShownScore(below))
            }
            _ => "failed, and there is no further stage".to_owned(),
        }),
        signals: BTreeMap::new(),
        cost_usd: cost.map(Usd::to_f64),
        cost,
    }
}
