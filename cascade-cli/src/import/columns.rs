//! Any table, by a map from what a log has to the columns of the table.
//!
//! Long: one row an answer, with `tier`. Wide: one row a prompt, and `TIER:quality`, `TIER:cost_usd` for each tier.

use super::names::Names;
use super::table::{Table, number};
use super::{Import, graded};
use crate::failure::Result;
use crate::words::some_of;
use cascade_sdk_core::diag::Diagnostic;
use cascade_sdk_core::log::{ResultRecord, RowRecord};
use cascade_sdk_core::money::Usd;
use std::collections::BTreeSet;
use std::path::Path;

/// What a result has, beside `signal.NAME` and `signal_cost.NAME`.
const OF_RESULT: [&str; 9] = [
    "quality",
    "cost_usd",
    "input_tokens",
    "output_tokens",
    "latency_ms",
    "output",
    "error",
    "served_model",
    "graded_by",
];
/// What a row has, beside `tag.NAME` and `feature.NAME`.
const OF_ROW: [&str; 7] = ["id", "input", "split", "group", "weight", "session", "reference"];

/// Reads a table.
///
/// # Errors
/// A map without `id` or `quality`, or one that names columns that are not there.
pub(crate) fn read(path: &Path, map: &Names, import: &mut Import) -> Result<()> {
    let table = Table::read(path)?;
    let plan = Plan::new(&table, map, path)?;
    let unused = table.columns.iter().enumerate().filter(|(place, _)| !plan.used.contains(place));
    let unused = some_of(unused.map(|(_, name)| name.as_str()));
    if !unused.is_empty() {
        import.remark(format!("columns that the map does not name: {unused}"));
    }
    for row in &table.rows {
        let cell = |column: usize| row.get(column).map(String::as_str).filter(|text| !text.trim().is_empty());
        let Some(id) = cell(plan.id) else {
            import.remark("rows without an id, left out");
            continue;
        };
        let named = plan.tier.and_then(cell);
        let entry = import.row(id);
        let wrong: Vec<String> =
            plan.row.iter().filter_map(|(what, column)| set_row(entry, what, cell(*column)?).err()).collect();
        for remark in wrong {
            import.remark(remark);
        }
        for (tier, fields) in &plan.results {
            let Some(tier) = tier.as_deref().or(named) else {
                import.remark("rows without a tier, left out");
                continue;
            };
            if let Some(result) = result(fields, &cell, import) {
                import.result(id, tier, result);
            }
        }
    }
    Ok(())
}

/// What a column is, and where it stands.
type Fields = Vec<(String, usize)>;

/// Which column is what.
struct Plan {
    id: usize,
    tier: Option<usize>,
    row: Vec<(String, usize)>,
    /// By tier; `None` is the tier that the row names.
    results: Vec<(Option<String>, Fields)>,
    used: BTreeSet<usize>,
}

impl Plan {
    fn new(table: &Table, map: &Names, path: &Path) -> Result<Self> {
        let mut plan =
            Self { id: 0, tier: None, row: Vec::new(), results: Vec::new(), used: BTreeSet::new() };
        let mut id = None;
        let mut findings = Vec::new();
        for (what, column) in pairs(table, map) {
            let Some(place) = table.column(&column) else {
                let message = format!("`{}` has no column `{column}`", path.display());
                let help = format!("its columns are {}", some_of(table.columns.iter().map(String::as_str)));
                findings.push(Diagnostic::error("import::name", message).help(help));
                continue;
            };
            plan.used.insert(place);
            let (tier, field) =
                what.split_once(':').map_or((None, what.as_str()), |(tier, field)| (Some(tier), field));
            let of_result = OF_RESULT.contains(&field)
                || field.starts_with("signal.")
                || field.starts_with("signal_cost.");
            match (tier, field) {
                (None, "id") => id = Some(place),
                (None, "tier") => plan.tier = Some(place),
                (tier, field) if of_result => {
                    let tier = tier.map(str::to_owned);
                    let entry = (field.to_owned(), place);
                    match plan.results.iter_mut().find(|(known, _)| *known == tier) {
                        Some((_, fields)) => fields.push(entry),
                        None => plan.results.push((tier, vec![entry])),
                    }
                }
                (None, field) if OF_ROW.contains(&field) || field.starts_with("tag.") || field.starts_with("feature.") => {
                    plan.row.push((field.to_owned(), place));
                }
                _ => findings.push(
                    Diagnostic::error("import::name", format!("a log has no `{what}`")).help(format!(
                        "rows have {}, tag.NAME and feature.NAME; results have {}, signal.NAME and signal_cost.NAME, with TIER: in front where each row has several tiers",
                        OF_ROW.join(", "),
                        OF_RESULT.join(", ")
                    )),
                ),
            }
        }
        let lacks = plan.results.is_empty()
            || plan.results.iter().any(|(_, fields)| !fields.iter().any(|(field, _)| field == "quality"));
        if findings.is_empty() {
            let missing = match (id, lacks) {
                (None, _) => Some("id"),
                (_, true) => Some("quality"),
                _ if plan.tier.is_none() && plan.results.iter().any(|(tier, _)| tier.is_none()) => {
                    Some("tier")
                }
                _ => None,
            };
            if let Some(missing) = missing {
                let message = format!("nothing says which column is `{missing}`");
                findings.push(Diagnostic::error("import::name", message).help(
                    "long tables: --map id=… --map tier=… --map quality=…; wide ones: --map id=… --map small:quality=…",
                ));
            }
        }
        match id {
            Some(id) if findings.is_empty() => Ok(Self { id, ..plan }),
            _ => Err(findings.into()),
        }
    }
}

/// The map; columns that are named as a log names them need no mention.
fn pairs(table: &Table, map: &Names) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> =
        map.pairs().map(|(what, column)| (what.to_owned(), column.to_owned())).collect();
    for column in &table.columns {
        let plain =
            OF_ROW.contains(&column.as_str()) || OF_RESULT.contains(&column.as_str()) || column == "tier";
        let named =
            ["tag.", "feature.", "signal.", "signal_cost."].iter().any(|prefix| column.starts_with(prefix));
        let known = pairs.iter().any(|(what, from)| what == column || from == column);
        if (plain || named) && !known {
            pairs.push((column.clone(), column.clone()));
        }
    }
    pairs
}

fn set_row(row: &mut RowRecord<'static>, what: &str, cell: &str) -> std::result::Result<(), String> {
    let text = || Some(cell.to_owned().into());
    match what {
        "input" => row.input = text(),
        "split" => row.split = text(),
        "group" => row.group = text(),
        "session" => row.session = text(),
        "reference" => row.reference = cascade_sdk_core::log::RawJson::of(&cell).ok(),
        "weight" => row.weight = Some(number(cell).ok_or("weights that are no number, left out")?),
        what => {
            if let Some(tag) = what.strip_prefix("tag.") {
                row.tags.insert(tag.to_owned().into(), text());
            } else if let Some(name) = what.strip_prefix("feature.") {
                let value =
                    number(cell).ok_or_else(|| format!("values of {what} that are no number, left out"))?;
                row.features.insert(name.to_owned().into(), Some(value));
            }
        }
    }
    Ok(())
}

fn result<'c>(
    fields: &[(String, usize)],
    cell: &impl Fn(usize) -> Option<&'c str>,
    import: &mut Import,
) -> Option<ResultRecord<'static>> {
    let value =
        |name: &str| fields.iter().find(|(field, _)| field == name).and_then(|(_, column)| cell(*column));
    let error = value("error");
    // A wide table has empty cells for tiers that were not asked.
    let quality = match (value("quality"), error) {
        (Some(text), _) => number(text),
        (None, Some(_)) => Some(0.0),
        (None, None) => return None,
    };
    let Some(mut result) =
        quality.and_then(|quality| graded(quality, value("graded_by").unwrap_or("import")))
    else {
        import.remark("results whose quality is no number from 0 to 1, left out");
        return None;
    };
    for (field, column) in fields {
        let Some(text) = cell(*column) else { continue };
        let whole = || text.trim().trim_end_matches(".0").parse::<u64>().ok();
        let money = || number(text).and_then(|amount| Usd::from_f64(amount).ok());
        let read = match field.as_str() {
            "cost_usd" => money().map(|cost| result.cost_usd = Some(cost)),
            "input_tokens" => whole().map(|count| result.input_tokens = Some(count)),
            "output_tokens" => whole().map(|count| result.output_tokens = Some(count)),
            "latency_ms" => number(text).map(|time| result.latency_ms = Some(time)),
            "output" => {
                result.output = Some(text.to_owned().into());
                Some(())
            }
            "error" => {
                result.error = Some(text.to_owned().into());
                Some(())
            }
            "served_model" => {
                result.served_model = Some(text.to_owned().into());
                Some(())
            }
            field => match (field.strip_prefix("signal."), field.strip_prefix("signal_cost.")) {
                (Some(name), _) => number(text).map(|value| {
                    result.signals.insert(name.to_owned().into(), Some(value));
                }),
                (_, Some(name)) => money().map(|cost| {
                    result.signal_cost_usd.insert(name.to_owned().into(), Some(cost));
                }),
                _ => Some(()),
            },
        };
        if read.is_none() {
            import.remark(format!("values of {field} that are no number, left out"));
        }
    }
    Some(result)
}
