//! What differs between two policies, in words: one sentence for each thing a reviewer decides about.

use crate::policy_words::{self, abstain, objective, plan, rule, score, tier, tiers_of};
use cascade_sdk_core::decide::ShownScore;
use cascade_sdk_core::feature::{self, Router};
use cascade_sdk_core::policy::{AcceptRule, Cut, Plan, Policy, Rules, Score};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// Every change that alters what the policy does, promises or rests on; empty for equal policies.
pub(crate) fn changes(old: &Policy, new: &Policy) -> Vec<String> {
    let mut found = Vec::new();
    if old.family != new.family {
        found.push(format!("the family is {} now, {} before", new.family.name(), old.family.name()));
    }
    plans(&old.rules, &new.rules, &mut found);
    scores(&old.rules, &new.rules, &mut found);
    router(&old.rules, &new.rules, &mut found);
    guard(&old.rules, &new.rules, &mut found);
    abstention(&old.rules, &new.rules, &mut found);
    mixture(&old.rules, &new.rules, &mut found);
    if old.objective != new.objective {
        let (now, before) = (objective(&new.objective), objective(&old.objective));
        found.push(format!("the objective is now: {now}; before: {before}"));
    }
    certificate(old, new, &mut found);
    fitted(old, new, &mut found);
    if old.frontier != new.frontier {
        let (now, before) = (new.frontier.len(), old.frontier.len());
        found.push(if now == before {
            format!("the {now} other points of the frontier are new")
        } else {
            format!("the frontier has {now} other points, {before} before")
        });
    }
    found
}

/// Plans with the same tiers in the same order are the same plan with other rules.
fn plans(old: &Rules, new: &Rules, found: &mut Vec<String>) {
    let by_tiers = |rules: &Rules| {
        let mut map: BTreeMap<Vec<String>, Vec<Plan>> = BTreeMap::new();
        for one in &rules.plans {
            let tiers = one.stages.iter().map(|stage| tier(rules, stage.tier).to_owned()).collect();
            map.entry(tiers).or_default().push(one.clone());
        }
        map
    };
    let (before, now) = (by_tiers(old), by_tiers(new));
    let sequences: BTreeSet<_> = before.keys().chain(now.keys()).collect();
    for sequence in sequences {
        let empty = Vec::new();
        let (before, now) = (before.get(sequence).unwrap_or(&empty), now.get(sequence).unwrap_or(&empty));
        for (before, now) in before.iter().zip(now) {
            thresholds(old, before, new, now, found);
            stops(before, new, now, found);
            if before.forecast != now.forecast || before.penalty.to_bits() != now.penalty.to_bits() {
                found.push(format!("what the router predicts of `{}` is fitted anew", tiers_of(new, now)));
            }
        }
        for gone in before.iter().skip(now.len()) {
            found.push(format!("no plan any more: {}", plan(old, gone)));
        }
        for added in now.iter().skip(before.len()) {
            found.push(format!("a new plan: {}", plan(new, added)));
        }
    }
}

/// Rules of two plans with the same tiers.
fn thresholds(old: &Rules, before: &Plan, new: &Rules, now: &Plan, found: &mut Vec<String>) {
    let several = old.plans.len().max(new.plans.len()) > 1 && now.stages.len() > 2;
    let within = if several { format!(" (in {})", tiers_of(new, now)) } else { String::new() };
    for (place, (was, is)) in before.stages.iter().zip(&now.stages).enumerate() {
        let abstains = |rules: &Rules, plan: &Plan| {
            plan.abstain_rule(place).map_or_else(|| "never abstains".to_owned(), |of| abstain(rules, of))
        };
        let (own, other) = (abstains(new, now), abstains(old, before));
        if own != other {
            found.push(format!("{}{within} {own}; before, it {other}", tier(new, is.tier)));
        } else if now.abstain_rule(place).map(|of| of.below) != before.abstain_rule(place).map(|of| of.below)
        {
            let text = "abstains from a threshold on that differs only in digits not shown";
            found.push(format!("{}{within} {text}", tier(new, is.tier)));
        }
        let (Some(before), Some(after)) = (was.rule, is.rule) else { continue };
        let name = tier(new, is.tier);
        let same_score = score(old, before.score) == score(new, after.score);
        if same_score && before.at_least == after.at_least {
            continue;
        }
        let keeps = match after.at_least.partial_cmp(&before.at_least) {
            _ if !same_score => "",
            Some(Ordering::Less) => ": it keeps more of its answers",
            Some(Ordering::Greater) => ": it escalates more",
            _ => "",
        };
        found.push(format!(
            "{name}{within} {}; before, it {}{keeps}",
            exactly(new, after, before),
            exactly(old, before, after)
        ));
    }
}

/// When answers are given up early, in two plans with the same tiers.
fn stops(before: &Plan, new: &Rules, now: &Plan, found: &mut Vec<String>) {
    for (position, stage) in now.stages.iter().enumerate() {
        let (was, is) = (before.stops.get(&position), now.stops.get(&position));
        let name = tier(new, stage.tier);
        match (was, is) {
            (was, is) if was == is => {}
            (None, Some(is)) => {
                found.push(format!("answers of {name} are given up early now: {}", policy_words::stop(is)));
            }
            (Some(_), None) => found.push(format!("answers of {name} are not given up early any more")),
            (Some(was), Some(is)) => {
                let (was, is) = (policy_words::stop(was), policy_words::stop(is));
                let change = if was == is {
                    "by slightly other scores".to_owned()
                } else {
                    format!("{is}; before: {was}")
                };
                found.push(format!("answers of {name} are given up early by another rule: {change}"));
            }
            (None, None) => {}
        }
    }
}

/// A rule in words, with all digits where four would hide the change.
fn exactly(rules: &Rules, of: AcceptRule, other: AcceptRule) -> String {
    let (Cut(own), Cut(others)) = (of.at_least, other.at_least);
    if own.is_finite() && ShownScore(own).to_string() == ShownScore(others).to_string() {
        return format!("keeps answers with {} >= {own}", score(rules, of.score));
    }
    rule(rules, of)
}

fn scores(old: &Rules, new: &Rules, found: &mut Vec<String>) {
    let inputs = |rules: &Rules, score: &Score| -> BTreeSet<String> {
        let name = |input: &cascade_sdk_core::policy::ScoreInput| match *input {
            cascade_sdk_core::policy::ScoreInput::Signal(signal) => {
                rules.signals.get(signal).cloned().unwrap_or_default()
            }
            cascade_sdk_core::policy::ScoreInput::Prediction(index) => {
                format!("the router's view of {}", tier(rules, index))
            }
        };
        score.terms.iter().map(|term| name(&term.input)).collect()
    };
    let join = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(", ");
    for now in &new.scores {
        match old.scores.iter().find(|before| before.name == now.name) {
            None => {
                let text = format!("a new score `{}` reads {}", now.name, join(inputs(new, now)));
                found.push(text);
            }
            Some(before) if inputs(old, before) != inputs(new, now) => found.push(format!(
                "the score `{}` reads {} now, {} before",
                now.name,
                join(inputs(new, now)),
                join(inputs(old, before))
            )),
            Some(before) if before != now => {
                found.push(format!("the weights of the score `{}` are new", now.name));
            }
            Some(_) => {}
        }
    }
    for before in &old.scores {
        if !new.scores.iter().any(|now| now.name == before.name) {
            found.push(format!("no score `{}` any more", before.name));
        }
    }
}

fn router(old: &Rules, new: &Rules, found: &mut Vec<String>) {
    let (before, now) = (old.router.as_ref(), new.router.as_ref());
    if let (Some(before), Some(now)) = (before, now)
        && (before.awaits.is_some() || now.awaits.is_some())
    {
        // Without the weights only their names can be compared, which are made of them; the rest stands in the policy.
        if weights_file(before) != weights_file(now) {
            found.push("the weights of the router are new".into());
        }
    }
    found.extend(feature::changes(
        before.map(|router| (router, old.tiers.as_slice())),
        now.map(|router| (router, new.tiers.as_slice())),
    ));
}

fn guard(old: &Rules, new: &Rules, found: &mut Vec<String>) {
    let words = |rules: &Rules| rules.guard.as_ref().map(|guard| policy_words::guard_words(rules, guard));
    match (words(old), words(new)) {
        (before, now) if before == now => {}
        (None, Some(now)) => found.push(format!("a guard now: {now}")),
        (Some(before), None) => found.push(format!("no guard any more; before: {before}")),
        (before, now) => found.push(format!(
            "the guard is now: {}; before: {}",
            now.unwrap_or_default(),
            before.unwrap_or_default()
        )),
    }
}

fn abstention(old: &Rules, new: &Rules, found: &mut Vec<String>) {
    match (old.abstention, new.abstention) {
        (None, Some(quality)) => {
            found.push(format!("it may abstain now: an abstention counts as a quality of {quality}"));
        }
        (Some(_), None) => found.push("it never abstains any more".to_owned()),
        (Some(before), Some(now)) if before.to_bits() != now.to_bits() => {
            found.push(format!("an abstention counts as a quality of {now} now, {before} before"));
        }
        _ => {}
    }
}

fn mixture(old: &Rules, new: &Rules, found: &mut Vec<String>) {
    match (policy_words::mixture(old), policy_words::mixture(new)) {
        (None, Some(now)) => found.push(format!("a mixture now, drawn by the request's id: {now}")),
        (Some(before), None) => found.push(format!("no mixture any more; before, {before}")),
        (Some(before), Some(now)) if before != now => {
            found.push(format!("of the mixture, {now}; before, {before}"));
        }
        _ if old.mixture != new.mixture => found.push("the mixture draws other requests".to_owned()),
        _ => {}
    }
}

fn weights_file(router: &Router) -> Option<String> {
    router.awaits.clone().or_else(|| router.sidecar().map(|weights| weights.file))
}

fn certificate(old: &Policy, new: &Policy, found: &mut Vec<String>) {
    let promise = |policy: &Policy| {
        policy
            .certificate
            .as_ref()
            .map(|certificate| format!("{} with confidence {}", certificate.promise, certificate.confidence))
    };
    match (promise(old), promise(new)) {
        (before, now) if before == now => {}
        (None, Some(now)) => found.push(format!("a certificate now: {now}")),
        (Some(before), None) => found.push(format!("no certificate any more; before: {before}")),
        (before, now) => found.push(format!(
            "the certificate is {} now, {} before",
            now.unwrap_or_default(),
            before.unwrap_or_default()
        )),
    }
    if let (Some(before), Some(now)) = (&old.certificate, &new.certificate)
        && now.attempt > before.attempt
    {
        found.push(format!(
            "this is attempt {} at a certificate: each further one weakens the promise",
            now.attempt
        ));
    }
}

fn fitted(old: &Policy, new: &Policy, found: &mut Vec<String>) {
    let (before, now) = (&old.fitted, &new.fitted);
    if before.log_hash != now.log_hash {
        found.push(format!(
            "fitted from another log: {} rows to choose on and {} held out, {} and {} before",
            now.calibration_rows, now.test_rows, before.calibration_rows, before.test_rows
        ));
    }
    if before.config_hash != now.config_hash {
        found.push(
            "fitted for another configuration of the route: tiers, models, prices, request, objective or fit"
                .into(),
        );
    }
    if before.seed != now.seed {
        found.push(format!("the seed is {}, {} before", now.seed, before.seed));
    }
    if before.algorithm != now.algorithm {
        found.push(format!(
            "fitted by version {} of the algorithm, {} before",
            now.algorithm, before.algorithm
        ));
    }
    if before.traffic_hash != now.traffic_hash {
        found.push(if now.traffic_hash.is_some() {
            "rows are weighed like other traffic".into()
        } else {
            "rows are weighed as the log has them".into()
        });
    }
    if before.repriced != now.repriced {
        found.push(if now.repriced {
            "costs are tokens × the configuration's prices (--reprice)".into()
        } else {
            "costs are those of the log again".into()
        });
    }
    if before.refit_on_all != now.refit_on_all {
        found.push(if now.refit_on_all {
            "thresholds come from all rows; the figures are still those of the calibration fit".into()
        } else {
            "thresholds come from calibration rows alone".into()
        });
    }
}

/// Names of all tiers of either policy, those of the new one first.
pub(crate) fn tiers<'a>(old: Option<&'a Policy>, new: Option<&'a Policy>) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for policy in [new, old].into_iter().flatten() {
        for name in &policy.rules.tiers {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
    }
    names
}

/// A policy that is alone: it came or went.
pub(crate) fn alone(policy: &Policy) -> Vec<String> {
    policy_words::describe(policy)
}
