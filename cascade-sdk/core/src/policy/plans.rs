//! Reads plans and the operating points that hold some.

use super::fields::Fields;
use super::names::Names;
use super::read::all;
use super::{
    AbstainRule, AcceptRule, Cut, OperatingPoint, Plan, Score, Stage, Stop, codes, forecast_text, stop_text,
};
use crate::document::read::{Findings, Item};

pub(super) const POINT: &[&str] =
    &["quality", "cost_usd", "shadow_price", "router_shadow_price", "plans", "forecasts", "penalties"];

pub(super) fn operating_point(
    mut fields: Fields<'_>,
    names: &Names<'_>,
    scores: &[Option<Score>],
) -> Option<OperatingPoint> {
    let findings = fields.table.findings;
    let quality = fields.number("quality");
    let cost_usd = fields.number("cost_usd");
    let shadow_price = fields.optional_number("shadow_price");
    let router_shadow_price = fields.optional_number("router_shadow_price");
    let plans: Option<Vec<_>> = fields
        .list("plans")
        .iter()
        .map(|item| plan(findings, item, names, scores))
        .collect::<Vec<_>>()
        .into_iter()
        .collect();
    let forecasts = match fields.table.take("forecasts") {
        Some(item) => {
            let list = item.list(findings)?;
            if plans.as_ref().is_some_and(|plans| plans.len() != list.len()) {
                findings.push(item.out_of_range(findings, "must have one entry for each plan"));
            }
            let read = |item| forecast_text::read(findings, item, names.tiers.len()).ok();
            all(list.iter().map(read).collect())?
        }
        None => Vec::new(),
    };
    let penalties = match fields.table.take("penalties") {
        Some(item) => {
            let list = item.list(findings)?;
            if plans.as_ref().is_some_and(|plans| plans.len() != list.len()) {
                findings.push(item.out_of_range(findings, "must have one entry for each plan"));
            }
            all(list.iter().map(|item| item.number(findings)).collect())?
        }
        None => Vec::new(),
    };
    fields.finish();
    let mut plans = plans?;
    for (plan, forecast) in plans.iter_mut().zip(forecasts) {
        plan.forecast = forecast;
    }
    for (plan, penalty) in plans.iter_mut().zip(penalties) {
        plan.penalty = penalty;
    }
    Some(OperatingPoint { quality: quality?, cost_usd: cost_usd?, shadow_price, plans, router_shadow_price })
}

pub(super) const PLAN: &[&str] = &["stages", "forecast", "penalty"];

pub(super) fn plan_table(
    mut fields: Fields<'_>,
    names: &Names<'_>,
    scores: &[Option<Score>],
) -> Option<Plan> {
    let findings = fields.table.findings;
    let plan = fields.item("stages").and_then(|item| plan(findings, &item, names, scores));
    let forecast = match fields.table.take("forecast") {
        Some(item) => forecast_text::read(findings, &item, names.tiers.len()).ok()?,
        None => None,
    };
    let penalty = fields.optional_number("penalty").unwrap_or(0.0);
    fields.finish();
    Some(Plan { forecast, penalty, ..plan? })
}

/// A list of stages: at least one, and a rule on each but the last.
fn plan<'d>(
    findings: &'d Findings,
    item: &Item<'d>,
    names: &Names<'_>,
    scores: &[Option<Score>],
) -> Option<Plan> {
    let items = item.list(findings)?;
    let last = items.len().checked_sub(1);
    if last.is_none() {
        let message = format!("`{}` has no stage", item.path);
        findings.push(item.error(findings, codes::INVALID_PLAN, message, ""));
    }
    let stages = items
        .iter()
        .enumerate()
        .map(|(index, item)| stage(findings, item, names, scores, Some(index) == last));
    let mut plan = Plan::new(Vec::new());
    for (position, Read { stage, abstain, stop }) in all(stages.collect())?.into_iter().enumerate() {
        plan.stages.push(stage);
        plan.abstain.push(abstain);
        plan.stops.extend(stop.map(|stop| (position, stop)));
    }
    if plan.abstain.iter().all(Option::is_none) {
        plan.abstain.clear();
    }
    last.map(|_| plan)
}

pub(super) const STAGE: &[&str] = &["tier", "score", "at_least", "abstain_below", "stop"];

/// A stage, and what its plan holds of it.
struct Read {
    stage: Stage,
    abstain: Option<AbstainRule>,
    stop: Option<Stop>,
}

fn stage<'d>(
    findings: &'d Findings,
    item: &Item<'d>,
    names: &Names<'_>,
    scores: &[Option<Score>],
    is_last: bool,
) -> Option<Read> {
    let mut fields = Fields { table: item.table(findings)?, known: STAGE };
    let tier = fields.item("tier").and_then(|item| names.tier(findings, &item));
    let score = fields.table.take("score");
    let at_least = fields.table.take("at_least");
    let abstain_below = fields.table.take("abstain_below");
    let stop = fields.table.take("stop");
    fields.finish();
    let (rule, abstain) = match (score, at_least, abstain_below) {
        (None, None, None) => (None, None),
        (Some(score), Some(at_least), below) => {
            let score = names.source(findings, &score);
            let at_least = cut(findings, &at_least);
            let below = match below {
                Some(item) => Some((item.number(findings)?, item)),
                None => None,
            };
            let (score, at_least) = (score?, at_least?);
            if let Some((_, item)) = below.as_ref().filter(|below| below.0 > at_least.0) {
                let message = format!("`{}` abstains from answers that `at_least` keeps", item.path);
                findings.push(item.error(findings, codes::INVALID_PLAN, message, "larger than `at_least`"));
                return None;
            }
            let abstain = below.map(|(below, _)| AbstainRule { score, below });
            (Some(AcceptRule { score, at_least }), abstain)
        }
        (Some(score), None, Some(below)) if is_last => {
            let score = names.source(findings, &score);
            let below = below.number(findings);
            (None, Some(AbstainRule { score: score?, below: below? }))
        }
        (None, None, Some(_)) => {
            let message = format!("`{}` has `abstain_below` without the `score` that it is about", item.path);
            findings.push(item.error(findings, codes::INVALID_PLAN, message, ""));
            return None;
        }
        _ => {
            let message =
                format!("`{}` has one half of a rule: `score` and `at_least` belong together", item.path);
            findings.push(item.error(findings, codes::INVALID_PLAN, message, ""));
            return None;
        }
    };
    if rule.is_none() != is_last {
        let why =
            if is_last { "is the last stage and keeps every answer: it has no rule" } else { "has no rule" };
        let message = format!("`{}` {why}", item.path);
        findings.push(item.error(findings, codes::INVALID_PLAN, message, ""));
        return None;
    }
    if let (Some(stop), Some(_)) = (&stop, &abstain) {
        let message = format!(
            "`{}` would give answers up before it is known whether to abstain: a stage with `abstain_below` has none",
            stop.path
        );
        findings.push(stop.error(findings, codes::INVALID_PLAN, message, ""));
        return None;
    }
    let stop = match stop {
        Some(item) => Some(stop_text::read(findings, &item, rule, names, scores)?),
        None => None,
    };
    Some(Read { stage: Stage { tier: tier?, rule }, abstain, stop })
}

fn cut(findings: &Findings, item: &Item<'_>) -> Option<Cut> {
    if !item.is_text() {
        return item.number(findings).map(Cut);
    }
    match item.text(findings)? {
        "inf" => Some(Cut::ESCALATE_ALL),
        "-inf" => Some(Cut::KEEP_ALL),
        other => {
            findings.push(item.unknown_value(findings, other, &["inf", "-inf"]).help("or a number"));
            None
        }
    }
}
