//! RouterBench's wide tables: one row a prompt; for each model its score in a column of its name, and the columns
//! `MODEL|model_response` and `MODEL|total_cost`.

use super::names::Names;
use super::table::{Table, number};
use super::{Import, graded};
use crate::failure::Result;
use crate::words::some_of;
use cascade_sdk_core::diag::Diagnostic;
use cascade_sdk_core::money::Usd;
use std::collections::BTreeSet;
use std::path::Path;

const COST: &str = "|total_cost";
const RESPONSE: &str = "|model_response";
/// What the other columns are; the oracle's choice follows from scores and costs.
const OTHERS: [&str; 4] = ["sample_id", "prompt", "eval_name", "oracle_model_to_route_to"];

/// Reads a table.
///
/// # Errors
/// A file without the columns of such a table, or a `--tier` that names no model.
pub(crate) fn read(path: &Path, names: &Names, import: &mut Import) -> Result<()> {
    let table = Table::read(path)?;
    let models: Vec<&str> = table.columns.iter().filter_map(|column| column.strip_suffix(COST)).collect();
    let (Some(id), Some(prompt), false) =
        (table.column("sample_id"), table.column("prompt"), models.is_empty())
    else {
        let message = format!("`{}` is no table of RouterBench", path.display());
        let help = "it has the columns sample_id, prompt, and for each model MODEL, MODEL|model_response and MODEL|total_cost; `cascade import table` reads others";
        return Err(Diagnostic::error("import::format", message).help(help).into());
    };
    if let Some((_, unknown)) = names.pairs().find(|(_, model)| !models.contains(model)) {
        let message = format!("`{}` has no model `{unknown}`", path.display());
        let help = format!("its models are {}", some_of(models.iter().copied()));
        return Err(Diagnostic::error("import::name", message).help(help).into());
    }
    let taken: BTreeSet<String> = models
        .iter()
        .flat_map(|model| [(*model).to_owned(), format!("{model}{COST}"), format!("{model}{RESPONSE}")])
        .collect();
    for column in &table.columns {
        if !taken.contains(column) && !OTHERS.contains(&column.as_str()) {
            import.remark(format!("the column `{column}` has no place in a log"));
        }
    }
    let evaluation = table.column("eval_name");
    for row in &table.rows {
        let cell = |column: usize| row.get(column).map(String::as_str).filter(|text| !text.is_empty());
        let Some(id) = cell(id) else {
            import.remark("rows without a sample_id, left out");
            continue;
        };
        let entry = import.row(id);
        entry.input = cell(prompt).map(|text| unlisted(text).into());
        if let Some(name) = evaluation.and_then(cell) {
            entry.tags.insert("eval_name".into(), Some(name.to_owned().into()));
        }
        for model in &models {
            let Some(tier) = names.ours(model) else { continue };
            let of = |suffix: &str| table.column(&format!("{model}{suffix}")).and_then(cell);
            let Some(score) = of("").and_then(number) else {
                import.remark(format!("results of {model} without a score, left out"));
                continue;
            };
            let Some(mut result) = graded(score, "routerbench") else {
                import.remark(format!("results of {model} with a score outside [0, 1], left out"));
                continue;
            };
            result.cost_usd = of(COST).and_then(number).and_then(|cost| Usd::from_f64(cost).ok());
            result.output = of(RESPONSE).map(|text| text.to_owned().into());
            import.result(id, &tier, result);
        }
    }
    Ok(())
}

/// Prompts stand there as Python lists of one text: `['…']`.
fn unlisted(text: &str) -> String {
    for quote in ['\'', '"'] {
        let (open, close) = (format!("[{quote}"), format!("{quote}]"));
        if let Some(inner) = text.strip_prefix(&open).and_then(|rest| rest.strip_suffix(&close)) {
            // More than one element, or anything beyond plain escapes, is kept as it is.
            let between = format!("{quote}, ");
            if !inner.contains(&between) {
                return inner.replace("\\n", "\n").replace("\\'", "'").replace("\\\\", "\\");
            }
        }
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::unlisted;

    #[test]
    fn lists_of_one_text_are_that_text() {
        assert_eq!(unlisted("['a\\nb']"), "a\nb");
        assert_eq!(unlisted("[\"it's\"]"), "it's");
        assert_eq!(unlisted("['a', 'b']"), "['a', 'b']");
        assert_eq!(unlisted("plain"), "plain");
    }
}
