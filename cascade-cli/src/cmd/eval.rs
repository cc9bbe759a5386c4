//! `cascade eval`.

use crate::cli::{Eval, Global, Half};
use crate::failure::{Answer, Result};
use crate::money::dollars_f64;
use crate::project::Project;
use crate::table;
use crate::terminal::Terminal;
use crate::words::{some_of, wrap};
use cascade_sdk_core::config::Route;
use cascade_sdk_core::diag::Diagnostic;
use cascade_sdk_core::fit::analysis::drift::{self, Drift};
use cascade_sdk_core::fit::inference::compare::{Comparison, Figures};
use cascade_sdk_core::fit::inference::simulate::Outcomes;
use cascade_sdk_core::fit::report::{AlwaysTier, HeldOut};
use cascade_sdk_core::fit::rows::table::Table;
use cascade_sdk_core::log::{EvalLog, LogFiles, ReadOptions, Split, group_key, half};
use cascade_sdk_core::money::DAYS_PER_MONTH;
use cascade_sdk_core::policy::Policy;
use cascade_sdk_core::replay::{ReplayError, replay_decisions};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::Path;

/// What `--format json` prints.
#[derive(Debug, Serialize)]
struct Evaluation {
    route: String,
    family: &'static str,
    /// The policy's figures; absent where no row is graded.
    #[serde(flatten)]
    measured: Option<Measured>,
    /// Whether the log looks like that of the fit; absent for the log of the fit itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    drift: Option<Drift>,
}

#[derive(Debug, Serialize)]
struct Measured {
    split: &'static str,
    rows: usize,
    /// Rows without a result or grade of some tier.
    skipped: usize,
    figures: HeldOut,
    /// The mean cost in US dollars a month and its interval, where the route says how many calls a day it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    usd_per_month: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usd_per_month_ci: Option<[f64; 2]>,
    /// Always using each tier on the same rows, cheapest first.
    tiers: Vec<Always>,
}

#[derive(Debug, Serialize)]
struct Always {
    name: String,
    #[serde(flatten)]
    figures: AlwaysTier,
}

/// Runs the command.
///
/// # Errors
/// A configuration, policy or log that cannot be used.
pub(crate) fn run(global: &Global, args: &Eval, terminal: Terminal) -> Result<Answer> {
    let project = Project::load(global, terminal)?;
    let route = project.route(&args.route)?;
    let policy = project.policy(route, args.policy.as_deref(), terminal)?;
    let options = project.read_options_as_fitted(route, &args.log);
    let evaluation = if args.logs.is_empty() {
        let reading = project.read_log(route, &options, terminal)?;
        let measured = evaluate(route, &policy, &reading.log, reading.skipped, args.split)?;
        Evaluation {
            route: route.name.clone(),
            family: policy.family.name(),
            measured: Some(measured),
            drift: None,
        }
    } else {
        let paths: Vec<String> = args.logs.iter().map(|path| path.display().to_string()).collect();
        let lenient = ReadOptions { ungraded: true, ..options.clone() };
        let reading = LogFiles::find(Path::new(""), &paths).read(&lenient)?;
        terminal.diagnostics(&reading.diagnostics);
        let graded = graded_rows(&reading.log, &policy);
        let drift = if args.no_drift {
            None
        } else {
            drift(&project, route, &policy, (&reading.log, &graded), &options, terminal)?
        };
        let measured = if graded.is_empty() {
            let warning = Diagnostic::warning(
                "eval::ungraded",
                "no row has graded results of all tiers of the policy, so its quality is not measured",
            );
            terminal
                .diagnostics(&[warning
                    .help("give each tier's result its `quality` to measure it; drift needs no grades")]);
            None
        } else {
            Some(evaluate(route, &policy, &reading.log, reading.skipped, args.split)?)
        };
        Evaluation { route: route.name.clone(), family: policy.family.name(), measured, drift }
    };
    if terminal.is_json() {
        terminal.print_json(&evaluation);
    } else {
        terminal.print_lines(&evaluation.lines());
    }
    Ok(match evaluation.drift.map(|drift| drift.answer) {
        None | Some(drift::Answer::Alike) => Answer::Yes,
        Some(drift::Answer::Drifted) => Answer::No,
        Some(drift::Answer::TooFewRows) => Answer::Unclear,
    })
}

/// Rows with a grade of every tier of the policy.
fn graded_rows(log: &EvalLog, policy: &Policy) -> Vec<usize> {
    let tiers: Option<Vec<_>> = policy.rules.tiers.iter().map(|tier| log.tier(tier)).collect();
    let Some(tiers) = tiers else { return Vec::new() };
    let has = |row: &usize| tiers.iter().all(|tier| tier.present[*row] && !tier.quality[*row].is_nan());
    (0..log.rows.len()).filter(has).collect()
}

/// Compares a log with that of the fit; `None`, after saying why, if that is the same or not at hand.
fn drift(
    project: &Project,
    route: &Route,
    policy: &Policy,
    (new, graded): (&EvalLog, &[usize]),
    options: &ReadOptions,
    terminal: Terminal,
) -> Result<Option<Drift>> {
    let not_compared = |why: &str| {
        let warning = Diagnostic::warning("eval::no-reference", format!("drift is not tested: {why}"));
        terminal.diagnostics(&[warning.help("the tests need the rows the policy was fitted on")]);
    };
    let Some(files) = project.find_log(route) else {
        not_compared("the log of the route is not at hand");
        return Ok(None);
    };
    let reference = files.read(options)?.log;
    if reference.hash == new.hash {
        return Ok(None);
    }
    if reference.hash != policy.fitted.log_hash {
        let warning = Diagnostic::warning(
            "eval::log-changed",
            "the log of the route is no longer the one of the fit; drift is tested against what it holds now",
        );
        terminal
            .diagnostics(&[warning.help(format!("run `cascade fit {}` on the new log first", route.name))]);
    }
    let rows = |wanted: Split| -> Vec<usize> {
        let is = |row: &usize| half(&reference.rows[*row], route.fit.seed, route.fit.held_out) == wanted;
        (0..reference.rows.len()).filter(is).collect()
    };
    Ok(Some(drift::compare(&drift::Input {
        reference: &reference,
        reference_rows: &rows(Split::Calibration),
        held_out_rows: &rows(Split::Test),
        new,
        graded_rows: graded,
        tiers: &policy.rules.tiers,
        router: policy.rules.router.as_ref(),
        alpha: route.fit.drift_alpha,
        seed: route.fit.seed,
        threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    })))
}

fn evaluate(
    route: &Route,
    policy: &Policy,
    log: &EvalLog,
    unreadable: usize,
    split: Half,
) -> Result<Measured> {
    let tiers: Vec<&str> =
        route.tiers.iter().map(String::as_str).filter(|name| log.tier(name).is_some()).collect();
    let absent = policy.rules.tiers.iter().filter(|tier| log.tier(tier).is_none());
    let absent = some_of(absent.map(String::as_str));
    if !absent.is_empty() {
        return Err(Diagnostic::error("eval::tiers", format!("the log has no results of {absent}"))
            .help(format!("run `cascade collect {}`, or name another log with --on", route.name))
            .into());
    }
    let mut table = Table::new(log, &tiers, |row| log.rows.get(row).map_or_else(String::new, group_key));
    let graded: BTreeSet<usize> = graded_rows(log, policy).into_iter().collect();
    let wanted = |row: &u32| {
        if !table.log_row.get(*row as usize).is_some_and(|row| graded.contains(&(*row as usize))) {
            return false;
        }
        let half = table
            .log_row
            .get(*row as usize)
            .and_then(|row| log.rows.get(*row as usize))
            .map(|row| half(row, route.fit.seed, route.fit.held_out));
        match split {
            Half::All => true,
            Half::Calibration => half == Some(Split::Calibration),
            Half::Test => half == Some(Split::Test),
        }
    };
    let rows: Vec<u32> = (0_u32..).take(table.len()).filter(wanted).collect();
    if rows.is_empty() {
        return Err(Diagnostic::error("eval::no-rows", "no row of that half has results of all tiers")
            .help("take the other half with `--split`, or `--split all`")
            .into());
    }
    table.order_by_cost(&rows);
    let failed = |error: ReplayError| super::not_replayed("eval::replay", &error, route);
    // What the log lacks of rows that are not evaluated is no matter.
    let mut decisions: Vec<_> = replay_decisions(&policy.rules, log).map_err(failed)?.map(Some).collect();
    let decided = rows.iter().filter_map(|row| {
        let log_row = *table.log_row.get(*row as usize)?;
        decisions.get_mut(log_row as usize)?.take()
    });
    let decided = decided.collect::<std::result::Result<Vec<_>, ReplayError>>().map_err(failed)?;
    let outcomes = Outcomes::of_decisions(&policy.rules, &decided);
    let singles: Vec<Outcomes> =
        (0..table.tiers.len()).map(|tier| Outcomes::single(&table, tier, &rows)).collect();
    let mut policies = vec![(&outcomes, policy.rules.tiers.len())];
    policies.extend(singles.iter().map(|outcomes| (outcomes, 0)));
    let comparison = Comparison::new(&table, &rows, &policies, route.fit.seed, 1);
    let figures: Figures = comparison.figures(0);
    let always = table.tiers.iter().enumerate().map(|(tier, column)| Always {
        name: column.name.clone(),
        figures: AlwaysTier::new(&comparison, 1 + tier, Some(0)),
    });
    let ungraded = table.log_row.iter().filter(|row| !graded.contains(&(**row as usize))).count();
    let figures = HeldOut::new(&figures, &policy.rules.tiers, outcomes.cost_in_dearest_percent());
    let monthly = route.calls_per_day.map(|calls| calls * DAYS_PER_MONTH);
    Ok(Measured {
        usd_per_month: monthly.map(|calls| calls * figures.cost_usd),
        usd_per_month_ci: monthly.map(|calls| figures.cost_usd_ci.map(|cost| calls * cost)),
        split: match split {
            Half::All => "all",
            Half::Calibration => "calibration",
            Half::Test => "test",
        },
        rows: rows.len(),
        skipped: unreadable + log.rows.len() - table.len() + ungraded,
        figures,
        tiers: always.collect(),
    })
}

impl Evaluation {
    fn lines(&self) -> Vec<String> {
        let mut lines = match &self.measured {
            Some(measured) => measured.lines(&self.route, self.family),
            None => wrap(&format!("{}: the {} policy; no row is graded", self.route, self.family)),
        };
        let Some(drift) = &self.drift else { return lines };
        lines.push(String::new());
        let [fit, new] = drift.rows;
        lines.extend(wrap(&format!("{fit} rows of the fit against {new} rows: {}", drift.text)));
        lines.push(String::new());
        let mut table = table::new(["what", "p (corrected)", "moved most", "stability index (by chance)"]);
        for test in &drift.tests {
            table.add_row([
                test.name.clone(),
                format!("{:.3}{}", test.p_corrected, if test.drifted { " drift" } else { "" }),
                test.most.clone().unwrap_or_default(),
                format!("{:.2} ({:.2})", test.stability_index, test.stability_index_by_chance),
            ]);
        }
        lines.extend(table::lines(&table));
        if !drift.calibration.is_empty() {
            lines.push(String::new());
            let mut table = table::new(["predictions of", "error at the fit", "error here", "too high by"]);
            for tier in &drift.calibration {
                let before = tier.error_at_fit.map_or_else(|| "-".to_owned(), |error| format!("{error:.3}"));
                let (error, bias) = (format!("{:.3}", tier.error), format!("{:+.3}", tier.bias));
                table.add_row([tier.tier.clone(), before, error, bias]);
            }
            lines.extend(table::lines(&table));
        }
        lines
    }
}

impl Measured {
    fn lines(&self, route: &str, family: &str) -> Vec<String> {
        let figures = &self.figures;
        let range = |[low, high]: [String; 2]| format!("[{low}, {high}]");
        let percent = |share: f64| format!("{:.1}", 100.0 * share);
        let cost = |cost: f64| dollars_f64(1_000.0 * cost);
        let mut lines = wrap(&format!(
            "{}: the {} policy on {} rows ({}); {} left out",
            route, family, self.rows, self.split, self.skipped
        ));
        lines.push(String::new());
        lines.push(format!(
            "quality           {} % {}",
            percent(figures.quality),
            range(figures.quality_ci.map(percent))
        ));
        lines.push(format!(
            "per 1000 calls    {} {}",
            cost(figures.cost_usd),
            range(figures.cost_usd_ci.map(cost))
        ));
        if let (Some(month), Some(ci)) = (self.usd_per_month, self.usd_per_month_ci) {
            lines.push(format!("a month           {} {}", dollars_f64(month), range(ci.map(dollars_f64))));
        }
        lines.push(format!("calls a request   {:.2}", figures.calls));
        let shares = figures.share.iter().map(|(tier, share)| format!("{tier} {} %", percent(*share)));
        lines.push(format!("answered by       {}", shares.collect::<Vec<_>>().join(", ")));
        if let (Some(share), Some(share_ci)) = (figures.abstained, figures.abstained_ci) {
            lines.push(format!("abstained         {} % {}", percent(share), range(share_ci.map(percent))));
        }
        if let (Some(quality), Some(ci)) = (figures.quality_answered, figures.quality_answered_ci) {
            lines.push(format!("where it answers  {} % {}", percent(quality), range(ci.map(percent))));
        }
        lines.push(String::new());
        let mut table = table::new(["always", "quality %", "$ per 1000 calls"]);
        for tier in &self.tiers {
            table.add_row([tier.name.clone(), percent(tier.figures.quality), cost(tier.figures.cost_usd)]);
        }
        lines.extend(table::lines(&table));
        lines
    }
}
