//! `cascade price`: how old prices are, who really answered, and what other prices would change.

use crate::cli::{Global, Price, ReadLog};
use crate::diff::show::Comparison;
use crate::diff::versions::Version;
use crate::diff::{rows, show};
use crate::failure::{Answer, Result};
use crate::money::dollars_f64;
use crate::prices;
use crate::project::Project;
use crate::table;
use crate::terminal::Terminal;
use crate::words::item;
use cascade_sdk_core::config::{Route, Tier};
use cascade_sdk_core::diag::Diagnostic;
use cascade_sdk_core::fit::route::{FitInput, FitOptions, fit_route};
use cascade_sdk_core::log::{EvalLog, LogFiles};
use cascade_sdk_core::money::Usd;
use serde::Serialize;
use serde_json::json;
use std::num::NonZeroUsize;

/// One tier of a route.
#[derive(Debug, Serialize)]
struct TierPrice {
    tier: String,
    model: String,
    /// USD per million tokens.
    input: f64,
    output: f64,
    price_as_of: Option<String>,
    retires: Option<String>,
    /// Models that answered, by rows.
    served: std::collections::BTreeMap<String, usize>,
    /// True if the provider serves another name than was asked for.
    alias: bool,
    /// Mean cost of a call as the log states it, and at the prices of the configuration.
    logged_cost_usd: Option<f64>,
    cost_usd: Option<f64>,
}

/// Runs the command.
///
/// # Errors
/// A configuration that cannot be used, or with `--refit` a log that cannot.
pub(crate) fn run(global: &Global, args: &Price, terminal: Terminal) -> Result<Answer> {
    let project = Project::load(global, terminal)?;
    let route = project.route(&args.route)?;
    let today = prices::today();
    let mut findings = prices::of_tiers(&project.config, route, today, args.max_age);
    let logged = read(&project, route, false);
    let repriced = read(&project, route, true);
    if let Some(log) = &logged {
        findings.extend(prices::of_log(&project.config, route, log));
    }
    terminal.diagnostics(&findings);
    let tiers: Vec<TierPrice> = route
        .tiers
        .iter()
        .filter_map(|name| project.config.tier(name))
        .map(|tier| tier_price(tier, logged.as_ref(), repriced.as_ref()))
        .collect();
    let refit = match (&repriced, args.refit) {
        (Some(log), true) => Some(refit(&project, route, log, terminal)?),
        (None, true) => {
            // Says what is wrong with the log.
            let options = project.read_options(route, &ReadLog { reprice: true, strict: false })?;
            project.read_log(route, &options, terminal)?;
            None
        }
        _ => None,
    };
    if terminal.is_json() {
        let refit = refit.as_ref().map(|refit| match refit {
            Ok(comparison) => comparison.json(),
            Err(why) => json!({ "no_policy": why }),
        });
        terminal.print_json(&json!({
            "route": route.name, "tiers": tiers, "findings": Terminal::diagnostics_json(&findings)?, "refit": refit,
        }));
    } else {
        terminal.print_lines(&lines(route, &tiers, logged.is_some()));
        match &refit {
            Some(Ok(comparison)) => {
                terminal.print("\n");
                terminal.print_lines(&comparison.lines());
            }
            Some(Err(why)) => terminal.print_lines(&item("refit: ", why)),
            None => {}
        }
    }
    let fine = !findings.iter().any(Diagnostic::is_error);
    Ok(if fine { Answer::Yes } else { Answer::No })
}

/// The route's log, if it is here and can be read.
fn read(project: &Project, route: &Route, reprice: bool) -> Option<EvalLog> {
    let files = LogFiles::find(&project.directory, &route.log);
    if files.files.is_empty() {
        return None;
    }
    let options = project.read_options(route, &ReadLog { reprice, strict: false }).ok()?;
    files.read(&options).ok().map(|reading| reading.log)
}

fn mean_cost(log: Option<&EvalLog>, tier: &str) -> Option<f64> {
    let columns = log?.tier(tier)?;
    let costs = columns.present.iter().zip(&columns.cost).filter(|(present, _)| **present);
    let costs: Vec<Usd> = costs.map(|(_, cost)| *cost).collect();
    let sum = Usd::sum(costs.iter().copied()).ok()?;
    (!costs.is_empty()).then(|| sum.to_f64() / costs.len() as f64)
}

fn tier_price(tier: &Tier, logged: Option<&EvalLog>, repriced: Option<&EvalLog>) -> TierPrice {
    let served = logged.map(|log| prices::served(log, &tier.name)).unwrap_or_default();
    let million = |price: cascade_sdk_core::money::TokenPrice| price.to_string().parse().unwrap_or(f64::NAN);
    TierPrice {
        tier: tier.name.clone(),
        model: tier.model.clone(),
        input: million(tier.price.rates.input),
        output: million(tier.price.rates.output),
        price_as_of: tier.price_as_of.map(|day| day.to_string()),
        retires: tier.retires.map(|day| day.to_string()),
        alias: prices::is_alias(tier, &served),
        served,
        logged_cost_usd: mean_cost(logged, &tier.name),
        cost_usd: mean_cost(repriced, &tier.name),
    }
}

/// The policy that these prices would give, beside the committed one; in words, why there would be none.
fn refit(
    project: &Project,
    route: &Route,
    log: &EvalLog,
    terminal: Terminal,
) -> Result<std::result::Result<Comparison, String>> {
    let schema = project.schema_text(route)?;
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let input = FitInput {
        config: &project.config,
        route: &route.name,
        log,
        unreadable_rows: 0,
        schema: schema.as_deref(),
        options: FitOptions { threads, ..FitOptions::default() },
    };
    let outcome = terminal.busy(format!("fitting {}", route.name), || fit_route(&input))?;
    let Some(fitted) = outcome.policy else {
        return Ok(Err("at these prices no policy keeps the objective".into()));
    };
    let path = project.path(&route.policy);
    let old = if path.is_file() { Version::of_file(&path, None)? } else { Version::absent("no policy yet") };
    let new = Version { name: "at these prices".into(), policy: Some(fitted), lacks_weights: false };
    let rows = terminal.busy("comparing", || rows::compare(log, route, &old, &new));
    terminal.note(&format!("nothing is written; `cascade fit {} --reprice` would", route.name));
    Ok(Ok(show::Comparison { route: route.name.clone(), old, new, calls_per_day: route.calls_per_day, rows }))
}

fn lines(route: &Route, tiers: &[TierPrice], has_log: bool) -> Vec<String> {
    let dash = || "-".to_owned();
    let mut table = table::new(["tier", "input", "output", "as of", "retires", "logged", "at these prices"]);
    for tier in tiers {
        let mean = |cost: Option<f64>| cost.map_or_else(dash, |cost| dollars_f64(1_000.0 * cost));
        table.add_row([
            tier.tier.clone(),
            tier.input.to_string(),
            tier.output.to_string(),
            tier.price_as_of.clone().unwrap_or_else(dash),
            tier.retires.clone().unwrap_or_else(dash),
            mean(tier.logged_cost_usd),
            mean(tier.cost_usd),
        ]);
    }
    let mut lines = vec![
        format!("{}: prices in $ per million tokens, costs in $ per 1000 calls", route.name),
        String::new(),
    ];
    lines.extend(table::lines(&table));
    if !has_log {
        lines.push("the log is not here: costs and models that answered are not known".into());
    }
    lines
}
