//! Does a policy keep what it was fitted to keep: on the held-out rows of its fit, and on the log as it is now?

use cascade_sdk_core::config::{Goal, Route};
use cascade_sdk_core::diag::Diagnostic;
use cascade_sdk_core::fit::held::{Held, Holds};
use cascade_sdk_core::fit::inference::compare::Comparison;
use cascade_sdk_core::fit::inference::simulate::Outcomes;
use cascade_sdk_core::fit::rows::table::Table;
use cascade_sdk_core::log::{EvalLog, Split, half};
use cascade_sdk_core::name::shell_word;
use cascade_sdk_core::policy::Policy;

/// What is to be said of a policy whose constraint the 95 % interval on held-out rows contradicts.
///
/// That is an error where the log has changed since: nobody has seen it. The fit itself said so of its own log, and who
/// committed the policy had read it. A certificate belongs to the log it was obtained on.
pub(crate) fn kept(policy: &Policy, route: &Route, log: &EvalLog) -> Vec<Diagnostic> {
    let refit = format!("run `cascade fit {}`", shell_word(&route.name));
    if policy.fitted.log_hash == log.hash {
        let broken = at_the_fit(policy, route, log).filter(|held| held.holds == Holds::No);
        let warning = broken.map(|held| {
            let message = format!("the policy `{}` does not keep its objective: {}", route.policy, held.text);
            Diagnostic::warning("check::promise", message).help(format!(
                "collect more rows, ask for more than is needed with `{}`, or set `confidence`; then {refit}",
                held.key
            ))
        });
        return warning.into_iter().collect();
    }
    let mut findings = Vec::new();
    if let Some(certificate) = &policy.certificate {
        let message = format!(
            "the certificate of `{}` ({} with confidence {}) is of the log as it was before",
            route.policy, certificate.promise, certificate.confidence
        );
        findings.push(Diagnostic::warning("check::certificate", message).help(refit.as_str()));
    }
    if let Some((held, rows)) = now(policy, route, log).filter(|(held, _)| held.holds == Holds::No) {
        let message = format!("on {rows} held-out rows of the log as it is now: {}", held.text);
        findings.push(Diagnostic::error("check::promise", message).help(refit));
    }
    findings
}

/// The bound on the held-out rows of the fit. Means are in the policy; a loss is measured again, unless the policy is no
/// longer the one that was held against these rows.
fn at_the_fit(policy: &Policy, route: &Route, log: &EvalLog) -> Option<Held> {
    let expected = &policy.expected;
    let of_means = Held::of_means(&policy.objective.goal, expected.quality, expected.cost_usd);
    let is_same = !policy.fitted.refit_on_all && policy.fitted.traffic_hash.is_none();
    of_means.or_else(|| now(policy, route, log).filter(|_| is_same).map(|(held, _)| held))
}

/// The bound on the held-out rows of a log, and how many there are.
fn now(policy: &Policy, route: &Route, log: &EvalLog) -> Option<(Held, usize)> {
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
    let table = Table::grouped(log, &tiers);
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
    let held = Held::of(&policy.objective.goal, &comparison, 0, reference.as_ref().map(|_| 1))?;
    Some((held, rows.len()))
}
