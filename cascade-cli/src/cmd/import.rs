//! `cascade import`.

use crate::cli::{ImportFormat, ImportLog};
use crate::failure::{Answer, Failure, Result};
use crate::files;
use crate::import::names::Names;
use crate::import::traffic::Traffic;
use crate::import::{Import, columns, decisions, lm_eval, promptfoo, routerbench};
use crate::terminal::Terminal;
use crate::words::{count, item};
use cascade_sdk_core::diag::Diagnostic;
use cascade_sdk_core::log::{LogSource, ReadOptions, RowRecord, records, write_row};
use cascade_sdk_core::money::Price;
use serde_json::json;
use std::collections::BTreeMap;

/// Runs the command.
///
/// # Errors
/// A file that cannot be read or is of another format, or a log that exists or cannot be written.
pub(crate) fn run(args: &ImportLog, terminal: Terminal) -> Result<Answer> {
    if args.out.exists() && !args.overwrite {
        return Err(Failure::usage(
            format!("`{}` exists already", args.out.display()),
            "name another file with --out, or replace it with --overwrite",
        ));
    }
    if args.out.extension().is_none_or(|ending| ending != "jsonl") {
        return Err(Failure::usage(
            format!("`{}` does not end in .jsonl", args.out.display()),
            "imported logs are JSON Lines",
        ));
    }
    let (import, traffic) = read(args)?;
    let without_cost = import.without_cost();
    let (rows, remarks) = import.finish();
    let mut bytes = Vec::new();
    for row in &rows {
        write_row(&mut bytes, row).map_err(|error| Failure::io("write", &args.out, &error))?;
    }
    // What the reader of logs would refuse is said now, not at the first fit.
    let name = args.out.display().to_string();
    // Prices stand in cascade.toml, which need not be there yet; that costs are missing is said below.
    let priced =
        rows.iter().flat_map(|row| row.results.keys()).map(|tier| (tier.to_string(), Price::default()));
    let options = ReadOptions { prices: priced.collect(), ..ReadOptions::default() };
    let checked = records([LogSource::new(name, bytes.as_slice())], &options);
    let found = checked.map_or_else(|errors| errors, |reading| reading.diagnostics);
    let known = |finding: &Diagnostic| rows.is_empty() || without_cost > 0 && finding.code == "log::missing";
    let refused: Vec<Diagnostic> = found.into_iter().filter(|finding| !known(finding)).collect();
    terminal.diagnostics(&refused);
    if !rows.is_empty() {
        files::write_atomically(&args.out, &bytes)?;
    }
    say(args, &rows, &remarks, without_cost, traffic.as_ref(), terminal);
    let fine = !rows.is_empty() && without_cost == 0 && !refused.iter().any(Diagnostic::is_error);
    Ok(if fine { Answer::Yes } else { Answer::No })
}

fn read(args: &ImportLog) -> Result<(Import, Option<Traffic>)> {
    let mut import = Import::default();
    let tiers = Names::parse(&args.tier, "--tier")?;
    let map = Names::parse(&args.map, "--map")?;
    if args.files.is_empty() && args.from != ImportFormat::LmEval {
        return Err(Failure::usage("no file is named", "name the files to import"));
    }
    let mut traffic = None;
    match args.from {
        ImportFormat::Routerbench => {
            args.files.iter().try_for_each(|file| routerbench::read(file, &tiers, &mut import))?;
        }
        ImportFormat::Promptfoo => {
            args.files.iter().try_for_each(|file| promptfoo::read(file, &tiers, &mut import))?;
        }
        ImportFormat::Table => {
            args.files.iter().try_for_each(|file| columns::read(file, &map, &mut import))?;
        }
        ImportFormat::LmEval => {
            if tiers.is_empty() || !args.files.is_empty() {
                return Err(Failure::usage(
                    "the files of lm-evaluation-harness do not say which model they are of",
                    "name both: --tier small=samples_a.jsonl --tier large=samples_b.jsonl",
                ));
            }
            let choice = lm_eval::Choice { metric: args.metric.clone(), filter: args.filter.clone() };
            lm_eval::read(&tiers, &choice, &mut import)?;
        }
        ImportFormat::Decisions => {
            traffic = Some(decisions::read(&args.files, args.route.as_deref(), &mut import)?);
        }
    }
    if let Some(bytes) = args.bytes_per_token {
        if !(bytes.is_finite() && bytes >= 1.0) {
            return Err(Failure::usage(format!("--bytes-per-token {bytes}"), "4 is usual for English"));
        }
        import.estimate_tokens(bytes);
    }
    Ok((import, traffic))
}

fn say(
    args: &ImportLog,
    rows: &[RowRecord<'static>],
    remarks: &[(String, usize)],
    without_cost: usize,
    traffic: Option<&Traffic>,
    terminal: Terminal,
) {
    let mut tiers: BTreeMap<&str, usize> = BTreeMap::new();
    for tier in rows.iter().flat_map(|row| row.results.keys()) {
        *tiers.entry(tier).or_default() += 1;
    }
    if terminal.is_json() {
        let remarks: Vec<_> =
            remarks.iter().map(|(what, count)| json!({ "what": what, "count": count })).collect();
        terminal.print_json(&json!({
            "log": args.out, "rows": rows.len(), "tiers": tiers, "without_cost": without_cost,
            "not_mapped": remarks, "traffic": traffic,
        }));
        return;
    }
    let mut lines = traffic.map_or_else(Vec::new, Traffic::lines);
    lines.push(match rows.len() {
        0 => "no row could be imported, so nothing was written".to_owned(),
        rows => format!("{} in `{}`", count(rows, "row"), args.out.display()),
    });
    let tiers = tiers.iter().map(|(tier, count)| format!("{tier} {count}")).collect::<Vec<_>>().join(", ");
    if !tiers.is_empty() {
        lines.extend(item("  results: ", &tiers));
    }
    if without_cost > 0 {
        lines.extend(item(
            "  ",
            &format!(
                "{without_cost} results state neither a cost nor token counts: give --bytes-per-token 4 to estimate tokens from the texts; the prices of cascade.toml then give the costs"
            ),
        ));
    }
    if !remarks.is_empty() {
        lines.push("not taken as it was:".to_owned());
        lines.extend(remarks.iter().flat_map(|(what, count)| item("  ", &format!("{what}: {count}"))));
    }
    terminal.print_lines(&lines);
}
