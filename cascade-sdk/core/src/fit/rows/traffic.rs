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
use crate::log::{EvalLog, mend_surrogates, nested};
use crate::money::PICO_PER_USD;
use crate::policy::Rules;
use serde_json::Value;
use std::borrow::Cow;
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
    was_mended: bool,
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
        let mended = mend_surrogates(text);
        let lines = mended.as_deref().unwrap_or(text).lines();
        for (number, line) in (1..).zip(lines).filter(|(_, line)| !line.trim().is_empty()) {
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
                        .help("write one request a line: {\"input\": \"text\"}, or `messages`, and `tags` where they are known")
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
        let hash = Hasher::new().part("traffic").part(text).hex();
        Ok(Self { requests, hash, was_mended: mended.is_some() })
    }

    /// Whether escapes that are half a character were read as U+FFFD.
    pub fn was_mended(&self) -> bool {
        self.was_mended
    }

    /// SHA-256 of what was read.
    pub fn hash(&self) -> &str {
        &self.hash
    }
}

impl Request {
    fn read(line: &str) -> Result<Self, Cow<'static, str>> {
        let Ok(Value::Object(object)) = serde_json::from_str(line) else {
            return Err("is no JSON object".into());
        };
        let mut request = Self::default();
        match (object.get("input"), object.get("messages")) {
            (Some(Value::String(text)), None) => request.text = Some(text.clone()),
            (None, Some(Value::Array(messages))) => {
                let text = nested::text_of(messages);
                request.text = Some(text.map_err(|why| format!("has `messages`, which {why}"))?);
            }
            (None, None) => {}
            _ => return Err("needs `input` as a string or `messages` as a list, not both".into()),
        }
        if let Some(tags) = object.get("tags") {
            let Value::Object(tags) = tags else { return Err("has `tags` that are no object".into()) };
            for (name, label) in tags {
                let Value::String(label) = label else { return Err("has a tag that is no string".into()) };
                request.tags.insert(name.clone(), label.clone());
            }
        }
        if let Some(features) = object.get("features") {
            let Value::Object(features) = features else {
                return Err("has `features` that are no object".into());
            };
            for (name, value) in features {
                let Some(value) = value.as_f64() else {
                    return Err("has a feature that is no number".into());
                };
                request.features.insert(name.clone(), value);
            }
        }
        if request.text.is_none() && request.tags.is_empty() {
            return Err("has neither `input`, `messages` nor `tags`".into());
        }
        Ok(request)
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
    let reads_text = rules.router.as_ref().is_some_and(|router| router.inputs.text.is_some());
    let (mut shares, mut undecided) = (BTreeMap::new(), 0.0);
    for (place, request) in traffic.requests.iter().enumerate() {
        // They have no ids: a mixture draws by their places.
        let place = place.to_string();
        let features: Vec<(&str, f64)> =
            request.features.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let tags: Vec<(&str, &str)> =
            request.tags.iter().map(|(name, label)| (name.as_str(), label.as_str())).collect();
        let text = request.text.as_deref().unwrap_or("");
        let view = RequestView { text, features: &features, tags: &tags, embedding: None, id: Some(&place) };
        // A prompt that is not known is no empty one; where a guard decides, none is read.
        let guarded = |plan: usize| plan == rules.plans.len();
        let plan = choose_plan(rules, &view, &mut scratch).ok();
        let tier =
            plan.filter(|&plan| request.text.is_some() || !reads_text || guarded(plan)).and_then(|plan| {
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
    use crate::feature::text::Affix;
    use crate::feature::{CostHead, Heads, Inputs, Router, TextInput};
    use crate::policy::{Guard, Plan, Stage};

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
    fn half_a_character_is_read_as_the_mark_for_none() {
        let traffic = Traffic::read("t.jsonl", r#"{"input":"a \ud83d b"}"#).unwrap();
        assert_eq!(traffic.requests[0].text.as_deref(), Some("a \u{fffd} b"));
        assert!(traffic.was_mended() && !Traffic::read("t.jsonl", r#"{"input":"a"}"#).unwrap().was_mended());
    }

    #[test]
    fn messages_count_as_their_routing_text() {
        let line = r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"a"}]}]}"#;
        let traffic = Traffic::read("t.jsonl", line).unwrap();
        assert_eq!(traffic.requests[0].text.as_deref(), Some("a"));
    }

    #[test]
    fn messages_are_read_as_in_a_log() {
        let line = r#"{"messages":[{"role":"user","content":[{"type":"tool_result","content":[{"text":"found"}]},{"text":"a"}]}]}"#;
        let traffic = Traffic::read("t.jsonl", line).unwrap();
        assert_eq!(traffic.requests[0].text.as_deref(), Some("found\na"));
        let errors =
            Traffic::read("t.jsonl", r#"{"messages":[{"role":"secret","content":"x"}]}"#).unwrap_err();
        assert_eq!(errors[0].code, "fit::traffic-broken-line");
        let text = format!("{errors:?}");
        assert!(text.contains("message 0 without a known `role`") && !text.contains("secret"), "{text}");
    }

    #[test]
    fn a_router_that_reads_prompts_decides_nothing_without_one() {
        let plan = |tier| Plan::new(vec![Stage { tier, rule: None }]);
        let heads = Heads {
            embedding: Vec::new(),
            intercept: vec![0.0, 1.0],
            dense: Vec::new(),
            hashed: Vec::new(),
            step: vec![1.0; 2],
            cost: vec![CostHead { base: 0.0, per_byte: 0.0, dense: Vec::new(), low: 0.0, high: 0.0 }; 2],
        };
        let reading = |text: Option<TextInput>| Rules {
            tiers: vec!["a".into(), "b".into()],
            plans: vec![plan(0), plan(1)],
            router: Some(Router {
                shadow_price: 0.0,
                inputs: Inputs { text, ..Inputs::default() },
                heads: heads.clone(),
                awaits: None,
            }),
            guard: Some(Guard::new("kind".into(), vec!["kept".into()], 0)),
            ..Rules::default()
        };
        let text =
            TextInput { prefix: Affix::of(""), suffix: Affix::of(""), surface: Vec::new(), hashed: false };
        let lines = "{\"tags\":{\"kind\":\"x\"}}\n{\"tags\":{\"kind\":\"kept\"}}\n\
                     {\"tags\":{\"kind\":\"x\"},\"input\":\"a\"}\n{\"tags\":{\"kind\":\"x\"},\"input\":\"\"}";
        let traffic = Traffic::read("t.jsonl", lines).unwrap();
        let (shares, undecided) = first(&reading(Some(text)), &traffic);
        assert_eq!((shares["a"], shares["b"], undecided), (0.25, 0.5, 0.25));
        let (shares, undecided) = first(&reading(None), &traffic);
        assert_eq!((shares["a"], shares["b"], undecided), (0.25, 0.75, 0.0));
    }

    #[test]
    fn effective_rows_count_equal_weights_fully() {
        assert!((effective_rows(&[3, 3, 3, 9], &[0, 1, 2]) - 3.0).abs() < 1e-12);
        assert!((effective_rows(&[1, 3], &[0, 1]) - 1.6).abs() < 1e-12);
    }
}
