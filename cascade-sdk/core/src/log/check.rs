//! What a row must satisfy, and what it leaves to be worked out: costs from tokens and prices, signals from token
//! log-probabilities.

use super::parse::Fault;
use super::problems::{Place, Problems};
use super::record::{ResultRecord, RowRecord};
use super::{ReadOptions, Split, UNKNOWN_TOKENS, nested};
use crate::diag::Diagnostic;
use crate::money::{Price, Usage, Usd};
use crate::name;
use crate::signal::{BuiltIn, built_in};
use std::borrow::Cow;

/// Longest id in bytes: ids stand in reports and messages.
const LONGEST_ID: usize = 512;

/// Relative difference between a recorded cost and the one worked out from prices that is worth a warning.
const COST_TOLERANCE: f64 = 0.01;

/// Checks a row as it stands in the log.
pub(super) fn row(row: &RowRecord<'_>, faults: &mut Vec<Fault>) {
    // A value that was refused as mistyped is not missing as well.
    let mistyped =
        |faults: &[Fault], key: &str| faults.iter().any(|fault| fault.path.first().is_some_and(|k| k == key));
    if row.id.is_empty() && !mistyped(faults, "id") {
        faults.push(Fault::new("log::missing", "id", "is missing").help("give every row a unique `id`"));
    } else if row.id.len() > LONGEST_ID || row.id.chars().any(char::is_control) {
        let message = format!("is longer than {LONGEST_ID} bytes or holds control characters");
        faults.push(Fault::new("log::value", "id", message));
    }
    if row.input.is_some() && row.messages.is_some() {
        faults.push(Fault::new("log::value", "messages", "stands beside `input`").help("keep one of them"));
    }
    if let Some(split) = &row.split
        && Split::parse(split).is_none()
    {
        let fault = Fault::new("log::value", "split", "is neither `calibration` nor `test`");
        faults.push(fault.help("rows without `split` are divided by `held_out`"));
    }
    if let Some(weight) = row.weight
        && !(weight > 0.0 && weight.is_finite())
    {
        faults.push(Fault::new("log::value", "weight", format!("is {weight}; it must be positive")));
    }
    if let Some(probability) = row.sampling_probability
        && !(probability > 0.0 && probability <= 1.0)
    {
        let message = format!("is {probability}; it must be above 0 and at most 1");
        faults.push(Fault::new("log::value", "sampling_probability", message));
    }
    if let Some(turn) = row.turn.filter(|turn| u32::try_from(*turn).is_err()) {
        faults.push(Fault::new("log::value", "turn", format!("is {turn}, too large")));
    }
    if let Some(cost) = row.embedding_cost_usd.filter(|cost| cost.is_negative()) {
        let message = format!("is {cost}; a cost cannot be negative");
        faults.push(Fault::new("log::negative", "embedding_cost_usd", message));
    }
    if let Some(latency) = row.embedding_latency_ms.filter(|latency| *latency < 0.0) {
        let message = format!("is {latency}; a time cannot be negative");
        faults.push(Fault::new("log::value", "embedding_latency_ms", message));
    }
    finite(&row.features, &["features"], faults);
    if row.unknown.get("kind").is_some_and(|kind| DECISION_KINDS.contains(&kind.get())) {
        let fault = Fault::new(
            "log::decision-row",
            "kind",
            "is of a decision log, which is no evidence of all tiers",
        );
        faults.push(fault.help(
            "`cascade import decisions` takes the requests that were explored on all tiers; the others were seen by a dear tier only where the policy escalated",
        ));
        return;
    }
    if row.results.is_empty() && !mistyped(faults, "results") {
        let fault = Fault::new("log::no-results", "results", "holds no result of any tier");
        faults.push(fault.help("each row needs `results = {\"TIER\": {\"quality\": …, \"cost_usd\": …}}`"));
    }
    for (tier, result) in &row.results {
        check_result(tier, result, faults);
    }
}

/// Takes back what is said of missing results and grades, and of missing costs of results without a grade.
pub(super) fn forgive_ungraded(row: &RowRecord<'_>, faults: &mut Vec<Fault>) {
    faults.retain(|fault| match (fault.code, fault.path.as_slice()) {
        ("log::no-results", _) => false,
        ("log::missing", [results, tier, key]) if results == "results" => {
            let graded = row.results.get(tier.as_str()).is_some_and(|result| result.quality.is_some());
            !(key == "quality" || (key == "cost_usd" && !graded))
        }
        _ => true,
    });
}

fn check_result(tier: &str, result: &ResultRecord<'_>, faults: &mut Vec<Fault>) {
    let before = faults.len();
    // Faults of the same key from reading it: a mistyped quality is not missing as well.
    let mistyped = |key: &str, faults: &[Fault]| {
        let path = ["results", tier, key];
        faults.iter().any(|fault| fault.path.iter().map(String::as_str).eq(path))
    };
    match result.quality {
        Some(quality) if (0.0..=1.0).contains(&quality) => {}
        Some(quality) => {
            let fault = Fault::new("log::quality-range", "quality", format!("is {quality}, outside [0, 1]"));
            faults.push(fault.help("divide by the best possible score"));
        }
        None if result.error.is_some() || mistyped("quality", faults) => {}
        None => {
            let fault = Fault::new("log::missing", "quality", "is missing");
            faults.push(fault.help("grade the output, or say `\"error\": \"…\"` if the call failed"));
        }
    }
    if name::check(tier).is_err() {
        let message = format!(
            "holds control characters, or nothing but signs, or is longer than {} bytes",
            name::MAX_LENGTH
        );
        let mut fault = Fault::new("log::value", "", message);
        fault.path.clear();
        faults.push(fault);
    }
    if let Some(cost) = result.cost_usd.filter(|cost| cost.is_negative()) {
        faults.push(Fault::new("log::negative", "cost_usd", format!("is {cost}; a cost cannot be negative")));
    }
    if let Some(latency) = result.latency_ms
        && !(latency >= 0.0 && latency.is_finite())
    {
        let message = format!("is {latency}; it must be a finite number of milliseconds, zero or more");
        faults.push(Fault::new("log::value", "latency_ms", message));
    }
    for (key, tokens) in [
        ("input_tokens", result.input_tokens),
        ("cached_input_tokens", result.cached_input_tokens),
        ("cache_write_tokens", result.cache_write_tokens),
        ("output_tokens", result.output_tokens),
        ("reasoning_tokens", result.reasoning_tokens),
    ] {
        if let Some(tokens) = tokens.filter(|tokens| *tokens >= u64::from(UNKNOWN_TOKENS)) {
            faults.push(Fault::new("log::value", key, format!("is {tokens}, more than any call can use")));
        }
    }
    finite(&result.signals, &["signals"], faults);
    for (signal, cost) in &result.signal_cost_usd {
        if let Some(cost) = cost.filter(|cost| cost.is_negative()) {
            let mut fault =
                Fault::new("log::negative", signal, format!("is {cost}; a cost cannot be negative"));
            fault.path.insert(0, "signal_cost_usd".to_owned());
            faults.push(fault);
        }
    }
    for fault in faults.iter_mut().skip(before) {
        fault.path.splice(0..0, ["results".to_owned(), tier.to_owned()]);
    }
}

fn finite(
    values: &std::collections::BTreeMap<Cow<'_, str>, Option<f64>>,
    path: &[&str],
    faults: &mut Vec<Fault>,
) {
    for (name, value) in values {
        if let Some(value) = value.filter(|value| !value.is_finite()) {
            let fault = Fault::new("log::value", name, format!("is {value}; it must be finite"));
            let mut fault = fault.help("leave it out, or write null, where it is not known");
            fault.path.splice(0..0, path.iter().map(|key| (*key).to_owned()));
            faults.push(fault);
        }
    }
}

/// Works out what the log leaves open (costs, built-in signals, the routing text of `messages` as `input`), and notes what concerns many rows at once.
pub(super) fn complete(
    row: &mut RowRecord<'_>,
    options: &ReadOptions,
    place: &Place<'_>,
    problems: &mut Problems,
    faults: &mut Vec<Fault>,
) {
    note_unknown(row, place, problems);
    if let Some(messages) = &row.messages
        && row.input.is_none()
    {
        match nested::messages_text(messages.get()) {
            Ok(text) => row.input = Some(Cow::Owned(text)),
            Err(fault) => faults.push(fault),
        }
    }
    for (tier, result) in &mut row.results {
        let before = faults.len();
        result.cost_usd = cost(tier, result, options, place, problems, faults);
        if result.error.is_some() {
            fail(tier, result, place, problems);
        } else {
            if let Err(fault) = add_signals(result, options.keep_tokens) {
                faults.push(fault);
            }
            refuse_self_grading(tier, result, options, place, problems);
        }
        for fault in faults.iter_mut().skip(before) {
            fault.path.splice(0..0, ["results".to_owned(), tier.clone().into_owned()]);
        }
    }
}

/// Kinds of rows that a client's decision log has, as JSON.
const DECISION_KINDS: [&str; 4] = ["\"decision\"", "\"exploration\"", "\"feedback\"", "\"dropped\""];

fn note_unknown(row: &RowRecord<'_>, place: &Place<'_>, problems: &mut Problems) {
    const ROW_KEYS: [&str; 17] = [
        "id",
        "input",
        "messages",
        "split",
        "group",
        "weight",
        "sampling_probability",
        "features",
        "tags",
        "embedding",
        "embedding_model",
        "embedding_cost_usd",
        "embedding_latency_ms",
        "session",
        "turn",
        "reference",
        "results",
    ];
    const RESULT_KEYS: [&str; 17] = [
        "quality",
        "cost_usd",
        "input_tokens",
        "cached_input_tokens",
        "cache_write_tokens",
        "output_tokens",
        "reasoning_tokens",
        "latency_ms",
        "signals",
        "signal_cost_usd",
        "output",
        "token_logprobs",
        "graded_by",
        "served_model",
        "finish",
        "request_hash",
        "error",
    ];
    let mut note = |subject: &str, path: Vec<String>, known: &[&'static str]| {
        let show_text = problems.show_text;
        problems.tally("log::unknown-key", subject, || {
            let key = path.last().map_or("", String::as_str);
            let diagnostic =
                Diagnostic::warning("log::unknown-key", format!("unknown key `{subject}` is not used"));
            let diagnostic = place.mark(diagnostic, &path, show_text);
            match name::nearest(key, known.iter().copied()) {
                Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                None => {
                    diagnostic.help("numbers the application knows go into `features`, labels into `tags`")
                }
            }
        });
    };
    for key in row.unknown.keys() {
        note(key, vec![key.clone().into_owned()], &ROW_KEYS);
    }
    for (tier, result) in &row.results {
        for key in result.unknown.keys() {
            let path = vec!["results".to_owned(), tier.clone().into_owned(), key.clone().into_owned()];
            note(&format!("results.*.{key}"), path, &RESULT_KEYS);
        }
    }
}

/// The cost of a call: as recorded, or worked out from its tokens.
fn cost(
    tier: &str,
    result: &ResultRecord<'_>,
    options: &ReadOptions,
    place: &Place<'_>,
    problems: &mut Problems,
    faults: &mut Vec<Fault>,
) -> Option<Usd> {
    let price = options.prices.get(tier);
    let priced = match price.map(|price| from_tokens(price, result)) {
        Some(Some(Ok(cost))) => Some(cost),
        Some(Some(Err(why))) => {
            faults.push(Fault::new("log::value", "output_tokens", format!("make a cost of which {why}")));
            return None;
        }
        _ => None,
    };
    let path = || vec!["results".to_owned(), tier.to_owned(), "cost_usd".to_owned()];
    let show_text = problems.show_text;
    match (result.cost_usd, priced) {
        (Some(recorded), Some(priced)) if !options.reprice => {
            if differ(recorded, priced) {
                problems.tally("log::cost-differs", tier, || {
                    let message = format!(
                        "`cost_usd` of tier `{tier}` differs from tokens × price by over 1 %: {recorded} recorded, {priced} by price"
                    );
                    place
                        .mark(Diagnostic::warning("log::cost-differs", message), &path(), show_text)
                        .help("the recorded cost is used; `--reprice` takes the prices of the configuration")
                });
            }
            Some(recorded)
        }
        (_, Some(priced)) => Some(priced),
        (Some(recorded), None) => {
            if options.reprice {
                problems.tally("log::not-repriced", tier, || {
                    let lacks = if price.is_some() { "token counts" } else { "a price in the configuration" };
                    let message = format!(
                        "tier `{tier}` cannot be re-priced without {lacks}; its recorded cost is used"
                    );
                    let help = if price.is_some() {
                        "give the results `input_tokens` and `output_tokens`, or collect them again"
                    } else {
                        "declare the tier and its price in cascade.toml"
                    };
                    place
                        .mark(Diagnostic::warning("log::not-repriced", message), &path(), show_text)
                        .help(help)
                });
            }
            Some(recorded)
        }
        (None, None) => {
            let refused = faults.iter().any(|fault| fault.path.iter().any(|key| key == "cost_usd"));
            if !refused {
                let (message, help) = if price.is_none() {
                    (
                        "is missing, and the configuration has no price for the tier",
                        "give `cost_usd`, or the tier's `price` in cascade.toml",
                    )
                } else {
                    (
                        "is missing, and so are `input_tokens` or `output_tokens` to work it out from",
                        "give `cost_usd` (0 if the call was not billed), or both token counts",
                    )
                };
                faults.push(Fault::new("log::missing", "cost_usd", message).help(help));
            }
            None
        }
    }
}

fn from_tokens(price: &Price, result: &ResultRecord<'_>) -> Option<Result<Usd, crate::money::MoneyError>> {
    Some(price.cost(&Usage {
        input_tokens: result.input_tokens?,
        cached_input_tokens: result.cached_input_tokens.unwrap_or(0),
        cache_write_tokens: result.cache_write_tokens.unwrap_or(0),
        output_tokens: result.output_tokens?,
        reasoning_tokens: result.reasoning_tokens.unwrap_or(0),
    }))
}

fn differ(recorded: Usd, priced: Usd) -> bool {
    let difference = recorded.pico().abs_diff(priced.pico()) as f64;
    difference > COST_TOLERANCE * recorded.pico().max(priced.pico()) as f64
}

/// A failed call is worth nothing and has no signals, whatever was written beside its error (DESIGN.md 5).
fn fail(tier: &str, result: &mut ResultRecord<'_>, place: &Place<'_>, problems: &mut Problems) {
    if result.quality.is_some_and(|quality| quality > 0.0) {
        let show_text = problems.show_text;
        problems.tally("log::failed-quality", tier, || {
            let message = format!("tier `{tier}` has both an `error` and a `quality` above 0; the call counts as failed, with quality 0");
            let path = ["results".to_owned(), tier.to_owned(), "quality".to_owned()];
            place
                .mark(Diagnostic::warning("log::failed-quality", message), &path, show_text)
                .help("remove `error` if the answer was usable")
        });
    }
    result.quality = Some(0.0);
    result.signals.clear();
}

/// Built-in signals that the log does not state, from its token log-probabilities.
fn add_signals(result: &mut ResultRecord<'_>, keep_tokens: bool) -> Result<(), Fault> {
    let complete = BuiltIn::ALL.iter().all(|signal| result.signals.contains_key(signal.name()));
    if let Some(raw) = &result.token_logprobs
        && (keep_tokens || !complete)
    {
        for (signal, value) in built_in(&nested::tokens(raw.get())?).iter() {
            if !value.is_nan() {
                result.signals.entry(Cow::Borrowed(signal.name())).or_insert(Some(value));
            }
        }
    }
    Ok(())
}

/// A signal from the very judge that graded the row would be tested against itself.
fn refuse_self_grading(
    tier: &str,
    result: &ResultRecord<'_>,
    options: &ReadOptions,
    place: &Place<'_>,
    problems: &mut Problems,
) {
    let Some(grader) = &result.graded_by else { return };
    let show_text = problems.show_text;
    for signal in result.signals.keys() {
        let judge = options.judges.get(signal.as_ref());
        let judged = judge.is_some_and(|(tier, rubric)| super::names_judge(grader, tier, rubric));
        if judged || signal == grader {
            problems.tally("log::self-graded", signal, || {
                let message = format!(
                    "signal `{signal}` comes from `{}`, which also graded the row",
                    super::problems::short(grader)
                );
                let path = ["results".to_owned(), tier.to_owned(), "graded_by".to_owned()];
                place
                    .mark(Diagnostic::error("log::self-graded", message), &path, show_text)
                    .help("grade with another tier or rubric, or leave the signal out; if the rubric was another one, name it: judge TIER: RUBRIC")
            });
        }
    }
}
