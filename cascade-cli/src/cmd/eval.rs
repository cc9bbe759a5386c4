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
use cascade_sdk_core::fit::compare::{Comparison, Figures};
use cascade_sdk_core::fit::report::{AlwaysTier, HeldOut};
use cascade_sdk_core::fit::simulate::Outcomes;
use cascade_sdk_core::fit::table::Table;
use cascade_sdk_core::log::{EvalLog, LogFiles, Split, group_key, half};
use cascade_sdk_core::policy::Policy;
use serde::Serialize;
use std::path::Path;

/// What `--format json` prints.
#[derive(Debug, Serialize)]
struct Evaluation {
    route: String,
    family: &'static str,
    split: &'static str,
    rows: usize,
    /// Rows without a result of some tier.
    skipped: usize,
    figures: HeldOut,
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
    let options = project.read_options(route, &args.log);
    let reading = if args.logs.is_empty() {
        project.read_log(route, &options, terminal)?
    } else {
        let paths: Vec<String> = args.logs.iter().map(|path| path.display().to_string()).collect();
        let reading = LogFiles::find(Path::new(""), &paths).read(&options)?;
        terminal.diagnostics(&reading.diagnostics);
        reading
    };
    let evaluation = evaluate(route, &policy, &reading.log, reading.skipped, args.split)?;
    if terminal.is_json() {
        terminal.print_json(&evaluation);
    } else {
        terminal.print_lines(&evaluation.lines());
    }
    Ok(Answer::Yes)
}

fn evaluate(
    route: &Route,
    policy: &Policy,
    log: &EvalLog,
    unreadable: usize,
    split: Half,
) -> Result<Evaluation> {
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
    let wanted = |row: &u32| {
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
        return Err(Diagnostic::error("eval::no-rows", "no row of that half has results of all tiers").into());
    }
    table.order_by_cost(&rows);
    let failed = |error| Diagnostic::error("eval::replay", format!("{error}"));
    let outcomes = Outcomes::of(&policy.rules, log, &table, &rows).map_err(failed)?;
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
    Ok(Evaluation {
        route: route.name.clone(),
        family: policy.family.name(),
        split: match split {
            Half::All => "all",
            Half::Calibration => "calibration",
            Half::Test => "test",
        },
        rows: rows.len(),
        skipped: unreadable + log.rows.len() - table.len(),
        figures: HeldOut::new(&figures, &policy.rules.tiers, outcomes.cost_in_dearest_percent()),
        tiers: always.collect(),
    })
}

impl Evaluation {
    fn lines(&self) -> Vec<String> {
        let figures = &self.figures;
        let range = |[low, high]: [String; 2]| format!("[{low}, {high}]");
        let percent = |share: f64| format!("{:.1}", 100.0 * share);
        let cost = |cost: f64| dollars_f64(1_000.0 * cost);
        let mut lines = wrap(&format!(
            "{}: the {} policy on {} rows ({}); {} left out",
            self.route, self.family, self.rows, self.split, self.skipped
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
        lines.push(format!("calls a request   {:.2}", figures.calls));
        let shares = figures.share.iter().map(|(tier, share)| format!("{tier} {} %", percent(*share)));
        lines.push(format!("answered by       {}", shares.collect::<Vec<_>>().join(", ")));
        lines.push(String::new());
        let mut table = table::new(["always", "quality %", "$ per 1000 calls"]);
        for tier in &self.tiers {
            table.add_row([tier.name.clone(), percent(tier.figures.quality), cost(tier.figures.cost_usd)]);
        }
        lines.extend(table::lines(&table));
        lines
    }
}
