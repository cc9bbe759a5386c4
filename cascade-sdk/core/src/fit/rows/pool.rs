//! Which tiers and signals take part in a fit, and what is said of those that do not.

use crate::config::{Config, Route};
use crate::diag::Diagnostic;
use crate::fit::analysis::newcomer;
use crate::fit::report::{LeftOut, MissingSignal};
use crate::fit::rows::table::Table;
use crate::log::{EvalLog, Split};
use crate::name;
use crate::policy::{self, Returns, Rules, SignalLack};

/// The tiers with enough calibration rows, and those that are reported apart: a tier that was collected for less than
/// half as many rows as the best covered one would shrink the rows all families share. `known` has the half and the group of
/// each row of the log.
pub(in crate::fit) fn choose_pool<'a>(
    route: &'a Route,
    log: &EvalLog,
    known: (&[Split], &[String]),
) -> Result<(Vec<&'a str>, Vec<LeftOut>), Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let mut coverage = Vec::new();
    for tier in &route.tiers {
        if let Some(columns) = log.tier(tier) {
            let collected = columns.present.iter().zip(known.0);
            coverage.push((
                tier.as_str(),
                collected.filter(|(present, half)| **present && **half == Split::Calibration).count(),
            ));
        } else {
            let known = log.tiers.iter().map(|tier| tier.name.as_str());
            let error = Diagnostic::error(
                "fit::tier-not-in-log",
                format!("the log of route `{}` has no results of tier `{tier}`", route.name),
            );
            errors.push(match name::nearest(tier, known.clone()) {
                Some(near) => error.help(format!("the log has `{near}`")),
                None => error.help(format!(
                    "the log has {}; run `{}` to add the tier",
                    known.collect::<Vec<_>>().join(", "),
                    name::collect_command(&route.name, &format!("--tiers {}", name::shell_word(tier)))
                )),
            });
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let most = coverage.iter().map(|(_, rows)| *rows).max().unwrap_or(0);
    let (pool, sparse): (Vec<_>, Vec<_>) = coverage.into_iter().partition(|(_, rows)| 2 * rows >= most);
    let pool: Vec<&str> = pool.into_iter().map(|(tier, _)| tier).collect();
    let left_out =
        sparse.into_iter().filter_map(|(tier, _)| left_out(route, log, tier, &pool, known)).collect();
    Ok((pool, left_out))
}

fn left_out(
    route: &Route,
    log: &EvalLog,
    tier: &str,
    pool: &[&str],
    known: (&[Split], &[String]),
) -> Option<LeftOut> {
    let columns = log.tier(tier)?;
    let on_shared = |other: &str| {
        let other = log.tier(other)?;
        let (sum, count) = (0..log.rows.len())
            .filter(|&row| columns.present[row] && other.present[row])
            .fold((0.0, 0_usize), |(sum, count), row| (sum + other.quality[row], count + 1));
        (count > 0).then(|| sum / count as f64)
    };
    let fit = &route.fit;
    let shared = newcomer::compare(log, tier, pool, known, fit.seed, fit.smallest_gain);
    let text = || format!("{tier} shares no calibration row with all of the others");
    Some(LeftOut {
        shared_rows: shared.as_ref().map_or(0, |shared| shared.rows),
        cost_usd: shared.as_ref().map(|shared| shared.cost_usd),
        text: shared.as_ref().map_or_else(text, |shared| shared.text.clone()),
        frontier_gain: shared.as_ref().and_then(|shared| shared.gain.clone()),
        difference: shared.into_iter().flat_map(|shared| shared.differences).collect(),
        name: tier.to_owned(),
        rows: columns.present.iter().filter(|present| **present).count(),
        quality: on_shared(tier).unwrap_or(0.0),
        others: pool.iter().filter_map(|other| Some(((*other).to_owned(), on_shared(other)?))).collect(),
    })
}

/// Drops signals that no call of their tier can give when the policy is applied, whatever the configuration asks for: a
/// policy that reads one is refused everywhere. The warnings say which.
///
/// A signal that one line of the configuration gives back takes part, and the policy that reads it is warned of: see
/// [`warn_of_unavailable`].
pub(in crate::fit) fn refuse_unavailable_signals(
    table: &mut Table,
    config: &Config,
    route: &Route,
) -> Vec<String> {
    let mut warnings = Vec::new();
    for column in &mut table.tiers {
        let Some(tier) = config.tier(&column.name) else { continue };
        let returns = Returns::declared(config, tier);
        let lack = |signal: &str| {
            policy::signal_lack(route, tier, signal, returns).filter(|lack| !lack.is_mendable())
        };
        let refused: Vec<(SignalLack, &str)> =
            column.signals.iter().filter_map(|signal| Some((lack(&signal.name)?, &*signal.name))).collect();
        if let Some((first, _)) = refused.first() {
            let names: Vec<&str> = refused.iter().map(|(_, signal)| *signal).collect();
            warnings.push(policy::left_out(config, tier, &names, *first));
        }
        column.signals.retain(|signal| lack(&signal.name).is_none());
    }
    warnings
}

/// Says which signals of a fitted policy could not be had by the configuration as it is, and what to do about it.
pub(in crate::fit) fn warn_of_unavailable(rules: &Rules, config: &Config, route: &Route) -> Vec<String> {
    let findings =
        policy::unavailable_signals(rules, config, &route.name, |tier| Returns::declared(config, tier));
    findings
        .into_iter()
        .map(|finding| format!("{}, so no client will take it: {}", finding.message, finding.help.join("; ")))
        .collect()
}

/// Notes where signals are missing on calibration rows and drops those missing in over half of the answers there; the
/// warnings say which.
pub(in crate::fit) fn refuse_sparse_signals(
    table: &mut Table,
    calibration: &[u32],
) -> (Vec<MissingSignal>, Vec<String>) {
    let (mut missing, mut warnings) = (Vec::new(), Vec::new());
    for tier in &mut table.tiers {
        let (name, failed) = (&tier.name, &tier.failed);
        let answered: Vec<usize> =
            calibration.iter().map(|&row| row as usize).filter(|&row| !failed[row]).collect();
        tier.signals.retain(|signal| {
            let absent = answered.iter().filter(|&&row| signal.value[row] == f64::NEG_INFINITY).count();
            let share = absent as f64 / answered.len().max(1) as f64;
            if share > 0.0 {
                missing.push(MissingSignal { tier: name.clone(), signal: signal.name.clone(), share });
            }
            if share > 0.5 {
                warnings.push(format!(
                    "signal `{}` of tier `{name}` is missing in {:.0} % of its answers and was not used",
                    signal.name,
                    100.0 * share
                ));
            }
            share <= 0.5
        });
    }
    (missing, warnings)
}
