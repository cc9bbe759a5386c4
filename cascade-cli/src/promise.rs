//! Does a policy keep on the log as it is now what it was fitted to keep?

use cascade_sdk_core::config::{Goal, Route};
use cascade_sdk_core::diag::Diagnostic;
use cascade_sdk_core::fit::inference::compare::Comparison;
use cascade_sdk_core::fit::inference::simulate::Outcomes;
use cascade_sdk_core::fit::rows::table::Table;
use cascade_sdk_core::log::{EvalLog, Split, group_key, half};
use cascade_sdk_core::name::shell_word;
use cascade_sdk_core::policy::Policy;

/// What is to be said of a policy whose log has changed since the fit; nothing of one whose log is the same.
///
/// A constraint that the 95 % interval on held-out rows contradicts is an error. A certificate belongs to the log it was
/// obtained on.
pub(crate) fn kept(policy: &Policy, route: &Route, log: &EvalLog) -> Vec<Diagnostic> {
    if policy.fitted.log_hash == log.hash {
        return Vec::new();
    }
    let refit = format!("run `cascade fit {}`", shell_word(&route.name));
    let mut findings = Vec::new();
    if let Some(certificate) = &policy.certificate {
        let message = format!(
            "the certificate of `{}` ({} with confidence {}) is of the log as it was before",
            route.policy, certificate.promise, certificate.confidence
        );
        findings.push(Diagnostic::warning("check::certificate", message).help(refit.as_str()));
    }
    if let Some(broken) = broken(policy, route, log) {
        findings.push(Diagnostic::error("check::promise", broken).help(refit));
    }
    findings
}

/// In words, the constraint that the rows contradict.
fn broken(policy: &Policy, route: &Route, log: &EvalLog) -> Option<String> {
    let versus = match &policy.objective.goal {
        Goal::MaxQualityLoss { versus, .. } => Some(versus.as_str()),
        Goal::MaxCost(_) | Goal::MinQuality(_) => None,
        _ => return None,
    };
    let mut tiers: Vec<&str> = policy.rules.tiers.iter().map(String::as_str).collect();
    tiers.extend(versus.filter(|versus| !policy.rules.tiers.iter().any(|tier| tier == versus)));
    if tiers.iter().any(|tier| log.tier(tier).is_none()) {
        return None;
    }
    let table = Table::new(log, &tiers, |row| log.rows.get(row).map_or_else(String::new, group_key));
    let held_out = |row: &u32| {
        let place = table.log_row.get(*row as usize).and_then(|place| log.rows.get(*place as usize));
        place.is_some_and(|row| half(row, route.fit.seed, route.fit.held_out) == Split::Test)
    };
    let rows: Vec<u32> = (0_u32..).take(table.len()).filter(held_out).collect();
    if rows.is_empty() {
        return None;
    }
    let own = Outcomes::of(&policy.rules, log, &table, &rows).ok()?;
    let reference = table.tiers.iter().position(|tier| Some(tier.name.as_str()) == versus);
    let reference = reference.map(|tier| Outcomes::single(&table, tier, &rows));
    let mut policies = vec![(&own, 0)];
    policies.extend(reference.iter().map(|outcomes| (outcomes, 0)));
    let comparison = Comparison::new(&table, &rows, &policies, route.fit.seed, 1);
    let figures = comparison.figures(0);
    let on = format!("on {} held-out rows of the log as it is now", rows.len());
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    match &policy.objective.goal {
        Goal::MaxCost(most) if figures.cost_usd.low > most.to_f64() => {
            let cost = figures.cost_usd;
            let shown = crate::money::dollars_f64;
            Some(format!(
                "{on}, the policy costs {} [{}, {}] a call, above max_cost_usd = {most}",
                shown(cost.value),
                shown(cost.low),
                shown(cost.high)
            ))
        }
        Goal::MinQuality(least) if figures.quality.high < *least => {
            let quality = figures.quality;
            Some(format!(
                "{on}, the policy's quality is {} [{}, {}], below min_quality = {least}",
                percent(quality.value),
                percent(quality.low),
                percent(quality.high)
            ))
        }
        Goal::MaxQualityLoss { versus, by } if reference.is_some() => {
            let loss = comparison.paired(|means| means(1).quality - means(0).quality);
            (loss.low > *by).then(|| {
                let points = |value: f64| format!("{:.1}", 100.0 * value);
                format!(
                    "{on}, the policy loses {} points [{}, {}] against always {versus}, more than {by}",
                    points(loss.value),
                    points(loss.low),
                    points(loss.high)
                )
            })
        }
        _ => None,
    }
}
