//! Fitting for other traffic than the log's: unlabelled requests say how often each kind of request comes, and the rows
//! of the log are weighed accordingly (MATH.md 11).
//!
//! Kinds are strata: the combinations of all tags that every row and every request has, else ten classes of prompt
//! length. A row's weight is multiplied by its stratum's share of the requests over its share of the rows. Weights that
//! are estimated make every promise approximate, and cost rows: (Σw)² / Σw² of them are as good as unweighted ones.

use crate::diag::Diagnostic;
use crate::feature::{RequestView, Scratch, choose_plan};
use crate::fit::inference::simulate::Outcomes;
use crate::fit::report::{TrafficMeans, TrafficReport};
use crate::fit::rows::table::{QUALITY_ONE, Table, integer_weights};
use crate::hash::Hasher;
use crate::log::EvalLog;
use crate::money::PICO_PER_USD;
use crate::policy::Rules;
use crate::prompt::{Role, routing_text};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Classes of prompt length, where there are no common tags.
const LENGTH_CLASSES: usize = 10;

/// Faults of a file that are listed.
const MOST_FAULTS: usize = 10;

/// Unlabelled requests.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    requests: Vec<Request>,
    hash: String,
}

#[derive(Clone, Debug, Default)]
struct Request {
    text: Option<String>,
    tags: BTreeMap<String, String>,
    features: BTreeMap<String, f64>,
}

impl Traffic {
    /// Reads JSON lines, each an object with `input` or `messages`, `tags` and `features` as in an eval log; other keys
    /// are passed over.
    ///
    /// # Errors
    /// The lines that are no such objects, without their text; that there is no line at all.
    pub fn read(name: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        let (mut requests, mut faults) = (Vec::new(), Vec::new());
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            match Request::read(line) {
                Ok(request) => requests.push(request),
                Err(why) => faults.push((number, why)),
            }
        }
        if !faults.is_empty() {
            let count = faults.len();
            let mut errors: Vec<Diagnostic> = faults
                .into_iter()
                .take(MOST_FAULTS)
                .map(|(line, why): (usize, _)| {
                    Diagnostic::error("fit::traffic-broken-line", format!("line {line} of `{name}` {why}"))
                })
                .collect();
            if count > MOST_FAULTS {
                let more = format!("and {} more lines of `{name}` are broken", count - MOST_FAULTS);
                errors.push(Diagnostic::error("fit::traffic-broken-line", more));
            }
            return Err(errors);
        }
        if requests.is_empty() {
            let error = Diagnostic::error("fit::traffic-empty", format!("`{name}` has no request"));
            return Err(vec![
                error.help("give a file with one JSON object a line, with `input` or `messages`"),
            ]);
        }
        Ok(Self { requests, hash: Hasher::new().part("traffic").part(text).hex() })
    }

    /// SHA-256 of what was read.
    pub fn hash(&self) -> &str {
        &self.hash
    }
}

impl Request {
    fn read(line: &str) -> Result<Self, &'static str> {
        let Ok(Value::Object(object)) = serde_json::from_str(line) else { return Err("is no JSON object") };
        let mut request = Self::default();
        match (object.get("input"), object.get("messages")) {
            (Some(Value::String(text)), None) => request.text = Some(text.clone()),
            (None, Some(Value::Array(messages))) => {
                let parts: Vec<(Role, &str)> = messages.iter().flat_map(parts).collect();
                request.text = Some(routing_text(parts));
            }
            (None, None) => {}
            _ => return Err("needs `input` as a string or `messages` as a list, not both"),
        }
        if let Some(tags) = object.get("tags") {
            let Value::Object(tags) = tags else { return Err("has `tags` that are no object") };
            for (name, label) in tags {
                let Value::String(label) = label else { return Err("has a tag that is no string") };
                request.tags.insert(name.clone(), label.clone());
            }
        }
        if let Some(features) = object.get("features") {
            let Value::Object(features) = features else { return Err("has `features` that are no object") };
            for (name, value) in features {
                let Some(value) = value.as_f64() else { return Err("has a feature that is no number") };
                request.features.insert(name.clone(), value);
            }
        }
        if request.text.is_none() && request.tags.is_empty() {
            return Err("has neither `input`, `messages` nor `tags`");
        }
        Ok(request)
    }
}

/// The text parts of a message with its role.
fn parts(message: &Value) -> Vec<(Role, &str)> {
    let Some(role) = message.get("role").and_then(Value::as_str).and_then(Role::parse) else {
        return Vec::new();
    };
    match message.get("content") {
        Some(Value::String(text)) => vec![(role, text.as_str())],
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(|part| Some((role, part.get("text")?.as_str()?))).collect()
        }
        _ => Vec::new(),
    }
}

/// What was done to the weights of a table.
#[derive(Clone, Debug)]
pub(in crate::fit) struct Weighed {
    /// Weights as they were.
    before: Vec<i64>,
    strata: String,
    uncovered: f64,
    requests: usize,
}

/// Multiplies the weights of a table by how often each stratum comes in the traffic.
pub(in crate::fit) fn reweigh(
    table: &mut Table,
    log: &EvalLog,
    traffic: &Traffic,
) -> Result<Weighed, Vec<Diagnostic>> {
    let row = |row: usize| &log.rows[table.log_row[row] as usize];
    let common = |a: BTreeSet<String>, b: BTreeSet<String>| -> BTreeSet<String> {
        a.intersection(&b).cloned().collect()
    };
    let of_rows = (0..table.len())
        .map(|at| row(at).tags.iter().map(|tag| tag.0.to_string()).collect::<BTreeSet<String>>());
    let of_requests = traffic.requests.iter().map(|request| request.tags.keys().cloned().collect());
    let tags: BTreeSet<String> = of_rows.chain(of_requests).reduce(common).unwrap_or_default();
    let with_text = (0..table.len()).all(|at| row(at).text.is_some())
        && traffic.requests.iter().all(|request| request.text.is_some());
    let (strata, of_row, of_request): (String, Vec<String>, Vec<String>) = if !tags.is_empty() {
        let key =
            |label: &dyn Fn(&str) -> String| tags.iter().map(|tag| label(tag)).collect::<Vec<_>>().join("\0");
        let rows = (0..table.len()).map(|at| {
            key(&|tag| {
                let found = row(at).tags.iter().find(|known| &*known.0 == tag);
                found.map(|known| known.1.to_string()).unwrap_or_default()
            })
        });
        let requests = traffic
            .requests
            .iter()
            .map(|request| key(&|tag| request.tags.get(tag).cloned().unwrap_or_default()));
        let names = tags.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        (format!("tags: {names}"), rows.collect(), requests.collect())
    } else if with_text {
        let bytes = |text: Option<&str>| text.map_or(0, str::len);
        let mut sorted: Vec<usize> = (0..table.len()).map(|at| bytes(row(at).text.as_deref())).collect();
        sorted.sort_unstable();
        let edges: Vec<usize> = (1..LENGTH_CLASSES)
            .filter_map(|at| sorted.get(at * sorted.len() / LENGTH_CLASSES).copied())
            .collect();
        let class = |bytes: usize| format!("{:02}", edges.partition_point(|&edge| edge <= bytes));
        let rows = (0..table.len()).map(|at| class(bytes(row(at).text.as_deref()))).collect();
        let requests = traffic.requests.iter().map(|one| class(bytes(one.text.as_deref()))).collect();
        ("prompt length".to_owned(), rows, requests)
    } else {
        let message = "the traffic and the log have no tag in common that every request and every row has, and prompts \
                       that are missing";
        return Err(vec![Diagnostic::error("fit::traffic-no-strata", message).help(
            "give every request the tags that the log's rows have, or every request and row its prompt",
        )]);
    };
    let total = table.weight.iter().map(|&weight| weight as f64).sum::<f64>();
    let mut share_of_rows: BTreeMap<&str, f64> = BTreeMap::new();
    for (stratum, &weight) in of_row.iter().zip(&table.weight) {
        *share_of_rows.entry(stratum).or_default() += weight as f64 / total;
    }
    let mut share_of_requests: BTreeMap<&str, f64> = BTreeMap::new();
    for stratum in &of_request {
        *share_of_requests.entry(stratum).or_default() += 1.0 / of_request.len() as f64;
    }
    let uncovered: f64 = share_of_requests
        .iter()
        .filter(|(stratum, _)| !share_of_rows.contains_key(*stratum))
        .map(|(_, share)| share)
        .sum();
    if uncovered >= 1.0 - 1e-9 {
        let message = format!("no request of the traffic is like any row of the log ({strata})");
        return Err(vec![
            Diagnostic::error("fit::traffic-not-covered", message)
                .help("collect rows for requests like these, or check that the tags are spelt alike"),
        ]);
    }
    let factor =
        |stratum: &str| share_of_requests.get(stratum).copied().unwrap_or(0.0) / share_of_rows[stratum];
    let weights: Vec<f64> =
        of_row.iter().zip(&table.weight).map(|(stratum, &weight)| factor(stratum) * weight as f64).collect();
    let before = std::mem::replace(&mut table.weight, integer_weights(weights.into_iter()));
    Ok(Weighed { before, strata, uncovered, requests: of_request.len() })
}

/// (Σw)² / Σw²: as many unweighted rows would say as much.
fn effective_rows(weight: &[i64], rows: &[u32]) -> f64 {
    let weights = rows.iter().map(|&row| weight[row as usize] as f64);
    let (sum, squares) = weights.fold((0.0, 0.0), |(sum, squares), w| (sum + w, squares + w * w));
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

/// The selected policy on held-out rows, weighed like the log and like the traffic, and which tiers it asks first on the
/// traffic itself.
pub(in crate::fit) fn report(
    weighed: &Weighed,
    traffic: &Traffic,
    table: &Table,
    (calibration, test): (&[u32], &[u32]),
    policy: Option<(&Rules, &Outcomes)>,
) -> TrafficReport {
    let means = |weight: &[i64]| {
        let (_, outcomes) = policy?;
        let total: f64 = test.iter().map(|&row| weight[row as usize] as f64).sum();
        let mean = |value: &dyn Fn(usize) -> f64| {
            test.iter().enumerate().map(|(at, &row)| weight[row as usize] as f64 * value(at)).sum::<f64>()
                / total
        };
        (total > 0.0).then(|| TrafficMeans {
            quality: mean(&|at| outcomes.quality[at] as f64 / QUALITY_ONE as f64),
            cost_usd: mean(&|at| outcomes.cost[at] as f64 / PICO_PER_USD as f64),
            escalated: mean(&|at| f64::from(u8::from(outcomes.calls[at] > 1))),
        })
    };
    let (asked_first, undecided) = policy.map_or((BTreeMap::new(), 0.0), |(rules, _)| first(rules, traffic));
    TrafficReport {
        requests: weighed.requests,
        strata: weighed.strata.clone(),
        uncovered_share: weighed.uncovered,
        effective_calibration_rows: effective_rows(&table.weight, calibration),
        effective_test_rows: effective_rows(&table.weight, test),
        as_logged: means(&weighed.before),
        on_traffic: means(&table.weight),
        asked_first,
        undecided_share: undecided,
    }
}

/// Share of the requests whose first call goes to each tier, and of those for which the policy needs something they lack.
fn first(rules: &Rules, traffic: &Traffic) -> (BTreeMap<String, f64>, f64) {
    let mut scratch = Scratch::default();
    let one = 1.0 / traffic.requests.len().max(1) as f64;
    let (mut shares, mut undecided) = (BTreeMap::new(), 0.0);
    for (place, request) in traffic.requests.iter().enumerate() {
        // They have no ids: a mixture draws by their places.
        let place = place.to_string();
        let features: Vec<(&str, f64)> =
            request.features.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let tags: Vec<(&str, &str)> =
            request.tags.iter().map(|(name, label)| (name.as_str(), label.as_str())).collect();
        let text = request.text.as_deref().unwrap_or("");
        let plan = choose_plan(
            rules,
            &RequestView { text, features: &features, tags: &tags, id: Some(&place) },
            &mut scratch,
        );
        let tier = plan.ok().and_then(|plan| {
            let stage = rules.plan(plan)?.stages.first()?;
            rules.tiers.get(stage.tier)
        });
        match tier {
            Some(tier) => *shares.entry(tier.clone()).or_default() += one,
            None => undecided += one,
        }
    }
    (shares, undecided)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_no_requests_are_named_without_their_text() {
        let text =
            "{\"input\":\"secret\"}\nsecret\n{\"tags\":{\"a\":1}}\n{}\n{\"input\":\"a\",\"messages\":[]}\n";
        let errors = Traffic::read("t.jsonl", text).unwrap_err();
        assert_eq!(errors.len(), 4);
        assert!(errors.iter().all(|error| !format!("{error:?}").contains("secret")));
        assert_eq!(Traffic::read("t.jsonl", "\n").unwrap_err()[0].code, "fit::traffic-empty");
    }

    #[test]
    fn messages_count_as_their_routing_text() {
        let line = r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"a"}]}]}"#;
        let traffic = Traffic::read("t.jsonl", line).unwrap();
        assert_eq!(traffic.requests[0].text.as_deref(), Some("a"));
    }

    #[test]
    fn effective_rows_count_equal_weights_fully() {
        assert!((effective_rows(&[3, 3, 3, 9], &[0, 1, 2]) - 3.0).abs() < 1e-12);
        assert!((effective_rows(&[1, 3], &[0, 1]) - 1.6).abs() < 1e-12);
    }
}
