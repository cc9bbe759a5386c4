//! `cascade eval`.

use crate::cli::{Eval, Global, Half};
use crate::evaluation::{Always, Evaluation, Measured, promises};
use crate::failure::{Answer, Result};
use crate::project::Project;
use crate::terminal::Terminal;
use crate::words::some_of;
use cascade_sdk_core::config::Route;
use cascade_sdk_core::diag::Diagnostic;
use cascade_sdk_core::fit::analysis::drift::{self, Drift};
use cascade_sdk_core::fit::inference::compare::{Comparison, Figures};
use cascade_sdk_core::fit::inference::simulate::Outcomes;
use cascade_sdk_core::fit::report::{AlwaysTier, HeldOut};
use cascade_sdk_core::fit::rows::table::Table;
use cascade_sdk_core::log::{EvalLog, LogFiles, ReadOptions, Split, half};
use cascade_sdk_core::money::DAYS_PER_MONTH;
use cascade_sdk_core::name::collect_command;
use cascade_sdk_core::policy::Policy;
use cascade_sdk_core::replay::{ReplayError, replay_decisions};
use std::collections::BTreeSet;
use std::path::Path;

/// Runs the command.
///
/// # Errors
/// A configuration, policy or log that cannot be used.
pub(crate) fn run(global: &Global, args: &Eval, terminal: Terminal) -> Result<Answer> {
    let project = Project::load(global, terminal)?;
    let route = project.route(&args.route)?;
    let policy = project.policy(route, args.policy.as_deref(), terminal)?;
    let options = project.read_options_as_fitted(route, &args.log)?;
    let mut untested = false;
    let (measured, drift) = if args.logs.is_empty() {
        let reading = project.read_log(route, &options, terminal)?;
        let evaluated = || evaluate(route, &policy, &reading.log, reading.skipped, args.split);
        (Some(terminal.busy("running the policy", evaluated)?), None)
    } else {
        let paths: Vec<String> = args.logs.iter().map(|path| path.display().to_string()).collect();
        let lenient = ReadOptions { ungraded: true, ..options.clone() };
        let reading = LogFiles::find(Path::new(""), &paths).read(&lenient)?;
        terminal.diagnostics(&reading.diagnostics);
        let graded = graded_rows(&reading.log, &policy);
        let drift = if args.no_drift {
            None
        } else {
            let compared = drift(&project, route, &policy, (&reading.log, &graded), &options, terminal)?;
            untested = matches!(compared, Compared::NotAtHand);
            match compared {
                Compared::Other(drift) => Some(*drift),
                Compared::Same | Compared::NotAtHand => None,
            }
        };
        if let Some(finding) = graded_in_part(&reading.log, &policy, graded.len()) {
            terminal.diagnostics(&[finding]);
        }
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
            let evaluated = || evaluate(route, &policy, &reading.log, reading.skipped, args.split);
            Some(terminal.busy("running the policy", evaluated)?)
        };
        (measured, drift)
    };
    let figures = measured.as_ref().map(|measured| &measured.figures);
    let evaluation = Evaluation {
        route: route.name.clone(),
        family: policy.family.name(),
        promises: promises(&policy, figures, route.calls_per_day.map(|calls| calls * DAYS_PER_MONTH)),
        measured,
        drift,
    };
    if terminal.is_json() {
        terminal.print_json(&evaluation);
    } else {
        terminal.print_lines(&evaluation.lines());
    }
    Ok(match evaluation.drift.map(|drift| drift.answer) {
        None if untested => Answer::Unclear,
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

/// Says that the rows with a grade of every tier are not all that were answered, and what that does to figures: the dear
/// tiers answer where the cheap ones were not sure, so that such rows are the harder ones.
fn graded_in_part(log: &EvalLog, policy: &Policy, graded: usize) -> Option<Diagnostic> {
    let tiers: Vec<_> = policy.rules.tiers.iter().filter_map(|tier| log.tier(tier)).collect();
    let answered = (0..log.rows.len()).filter(|&row| tiers.iter().any(|tier| tier.present[row])).count();
    (0 < graded && graded < answered).then(|| {
        let message = format!("{graded} of {answered} answered rows are graded on all tiers of the policy");
        Diagnostic::warning("eval::graded-in-part", message)
            .help("figures describe these rows alone: where they are the escalated ones, they are the harder ones")
            .help("run all tiers on a random share of requests with `explore`, or grade rows drawn at random")
    })
}

/// What a log was compared with.
enum Compared {
    Other(Box<Drift>),
    /// It is the log of the fit.
    Same,
    /// The log of the fit is not at hand, which was said.
    NotAtHand,
}

/// Compares a log with that of the fit.
fn drift(
    project: &Project,
    route: &Route,
    policy: &Policy,
    (new, graded): (&EvalLog, &[usize]),
    options: &ReadOptions,
    terminal: Terminal,
) -> Result<Compared> {
    let not_compared = |why: &str| {
        let warning = Diagnostic::warning("eval::no-reference", format!("drift is not tested: {why}"));
        terminal.diagnostics(&[warning.help("the tests need the rows the policy was fitted on")]);
    };
    let Some(files) = project.find_log(route) else {
        not_compared("the log of the route is not at hand");
        return Ok(Compared::NotAtHand);
    };
    let reference = files.read(options)?.log;
    if reference.hash == new.hash {
        return Ok(Compared::Same);
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
    let input = drift::Input {
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
    };
    let compared = terminal.busy("comparing with the log of the fit", || drift::compare(&input));
    Ok(Compared::Other(Box::new(compared)))
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
            .help(format!("run `{}`, or name another log with --on", collect_command(&route.name, "")))
            .into());
    }
    let mut table = Table::grouped(log, &tiers);
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
