//! Offline = online: the client over a log gives what [`Replay`] gives for it, row by row.

use crate::setup::{CONFIG, Tier, builder, builder_of, policy_of, replay_config, rules};

use cascade_sdk::{Client, Request, TierName, replay_decisions};
use cascade_sdk_core::log::{EvalLog, LogSource, ReadOptions, read};
use cascade_sdk_core::policy::{AbstainRule, Guard, Mixture, Plan, Rules, ScoreSource, Stage};
use cascade_sdk_core::replay::Replay;
use std::fmt::Write as _;

/// Rows of every kind: kept, escalated, without a signal, failed at one stage or at both.
fn log() -> String {
    let mut log = String::new();
    for row in 0..60 {
        let signal = match row % 5 {
            0 => "null".to_owned(),
            k => format!("{}", f64::from(k) * -0.09),
        };
        let small = match row % 7 {
            3 => format!(
                r#"{{"quality":0,"cost_usd":{},"error":"timeout","latency_ms":400}}"#,
                1e-6 * f64::from(row)
            ),
            _ => format!(
                r#"{{"quality":{},"cost_usd":{},{}"input_tokens":30,"output_tokens":{},"latency_ms":10.5,"signals":{{"mean_logprob":{signal}}},"signal_cost_usd":{{"mean_logprob":2.5e-7}},"output":"s{row}"}}"#,
                f64::from(row % 2),
                1.37e-5 * f64::from(row + 1),
                if is_cut_off(row) { r#""finish":"length","# } else { "" },
                row + 1,
            ),
        };
        let large = match row % 11 {
            4 => r#"{"quality":0,"cost_usd":0.0002,"error":"refused"}"#.to_owned(),
            _ => format!(r#"{{"quality":1,"cost_usd":0.000{},"output":"l{row}"}}"#, 111 + row),
        };
        writeln!(
            log,
            r#"{{"id":"r{row:02}","input":"text {}","results":{{"small":{small},"large":{large}}}}}"#,
            row / 2
        )
        .unwrap();
    }
    log
}

fn is_cut_off(row: i32) -> bool {
    row % 4 == 1
}

/// A client that answers route `two` from a log by a policy with these rules, and the log.
fn client_and_log(text: &str, rules: &Rules) -> (Client, EvalLog) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("log.jsonl"), text).unwrap();
    let config = replay_config();
    // The log is read when the client is built; the folder may go.
    let client = builder_of(directory.path(), &config, policy_of(&config, rules.clone())).build().unwrap();
    (client, read([LogSource::new("log.jsonl", text.as_bytes())], &ReadOptions::default()).unwrap().log)
}

#[tokio::test]
async fn the_client_over_a_log_gives_the_fit_s_path_and_cost() {
    let text = log();
    let rules = rules();
    let (client, log) = client_and_log(&text, &rules);
    let (mut escalated, mut failed) = (0, 0);
    for (row, expected) in replay_decisions(&rules, &log).unwrap().enumerate() {
        let expected = expected.unwrap();
        let id = expected.id;
        // Two rows share each text, so only the id tells them apart.
        let result = client.call::<Tier>(1, Request::new("whatever").with_id(id)).await;
        let (path, cost, answered_by) = match &result {
            Ok(routed) => {
                let initial = if routed.tier == Tier::Small { 's' } else { 'l' };
                assert_eq!(routed.answer, format!("{initial}{row}"));
                let row = i32::try_from(row).unwrap();
                assert_eq!(routed.is_cut_off(), routed.tier == Tier::Small && is_cut_off(row));
                escalated += usize::from(routed.path.len() > 1);
                let path = routed.path.iter().map(|step| (step.tier.name(), step.decision)).collect();
                (path, routed.cost(), Some(routed.tier.name()))
            }
            Err(error) => {
                assert!(error.is_provider(), "{id}: {error}");
                failed += 1;
                let path = error.path().iter().map(|step| (step.tier.as_str(), step.decision));
                (path.collect::<Vec<_>>(), error.spent(), None)
            }
        };
        let stages: Vec<_> = expected.stages.iter().map(|stage| (stage.tier, stage.decision)).collect();
        assert_eq!((path, cost, answered_by), (stages, expected.cost, expected.answered_by), "{id}");
    }
    assert!(escalated > 20 && failed > 0, "{escalated} {failed}");
    // An id that the log does not have, such as a trace's, leaves the text to find the row.
    let ambiguous = client.call::<Tier>(1, Request::new("text 3").with_id("trace-1")).await.unwrap_err();
    assert!(ambiguous.to_string().contains("2 rows"), "{ambiguous}");
    let unknown = client.call::<Tier>(1, "never asked").await.unwrap_err();
    assert!(
        unknown.is_provider() && unknown.to_string().contains("only knows what was collected"),
        "{unknown}"
    );
}

#[tokio::test]
async fn a_row_without_output_is_an_error_not_an_empty_answer() {
    let directory = tempfile::tempdir().unwrap();
    let line = r#"{"id":"a","input":"x","results":{"large":{"quality":1,"cost_usd":1e-5},"small":{"quality":1,"cost_usd":1e-6,"signals":{"mean_logprob":-0.1}}}}"#;
    std::fs::write(directory.path().join("log.jsonl"), line).unwrap();
    let client = builder(directory.path(), CONFIG)
        .replay(directory.path().join("log.jsonl").display().to_string())
        .build()
        .unwrap();
    let error = client.call::<Tier>(1, Request::new("x")).await.unwrap_err();
    assert!(error.is_provider() && error.to_string().contains("no output"), "{error}");
    // The dear tier must not answer in its place.
    assert!(error.path().is_empty());
}

#[test]
fn a_log_that_is_not_there_is_reported_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let error = builder(directory.path(), CONFIG).replay("nothing/*.jsonl").build().unwrap_err();
    assert!(error.is_config() && error.to_string().contains("nothing/*.jsonl"), "{error}");
}

/// A guard decides the same over the log and in the client, and a request without its tag is refused.
#[tokio::test]
async fn guarded_requests_stay_on_their_tier_online_as_offline() {
    let text: String = log()
        .lines()
        .enumerate()
        .map(|(row, line)| {
            let tenant = ["acme", "odd", "beta"][row % 3];
            line.replacen(r#""input""#, &format!(r#""tags":{{"tenant":"{tenant}"}},"input""#), 1) + "\n"
        })
        .collect();
    let guard = Some(Guard::new("tenant".into(), vec!["odd".into()], 1));
    let rules = Rules { guard, ..rules() };
    let (client, log) = client_and_log(&text, &rules);
    let replay = Replay::new(&rules, &log).unwrap();
    let mut scratch = replay.scratch();
    let mut kept = 0;
    for (row, entry) in log.rows.iter().enumerate() {
        let expected = replay.row(row, &mut scratch).unwrap();
        let tenant = ["acme", "odd", "beta"][row % 3];
        let request = Request::new("whatever").with_id(&*entry.id).tag("tenant", tenant);
        let (path, cost, plan) = match client.call::<Tier>(1, request).await {
            Ok(routed) => (routed.path.len(), routed.cost(), Some(routed.plan)),
            Err(error) => (error.path().len(), error.spent(), None),
        };
        assert_eq!((path, cost), (expected.calls, expected.cost), "{}", entry.id);
        assert!(plan.is_none_or(|plan| plan == expected.plan));
        if tenant == "odd" {
            assert_eq!((path, expected.tier), (1, 1), "{}", entry.id);
            kept += 1;
        }
    }
    assert_eq!(kept, 20);
    let error = client.call::<Tier>(1, Request::new("whatever").with_id("r00")).await.unwrap_err();
    assert!(error.is_config() && error.to_string().contains("guard needs the tag `tenant`"), "{error}");
}

/// An abstention is the same over the log and in the client: an error that keeps path and cost.
#[tokio::test]
async fn abstentions_are_the_same_online_as_offline() {
    let text = log();
    let mut rules = Rules { abstention: Some(0.25), ..rules() };
    rules.plans[0].abstain = vec![Some(AbstainRule { score: ScoreSource::Signal(0), below: -0.3 }), None];
    let (client, log) = client_and_log(&text, &rules);
    let replay = Replay::new(&rules, &log).unwrap();
    let mut scratch = replay.scratch();
    let mut abstained = 0;
    for (row, entry) in log.rows.iter().enumerate() {
        let expected = replay.row(row, &mut scratch).unwrap();
        let result = client.call::<Tier>(1, Request::new("whatever").with_id(&*entry.id)).await;
        let (calls, cost) = match &result {
            Ok(routed) => (routed.path.len(), routed.cost()),
            Err(error) => (error.path().len(), error.spent()),
        };
        assert_eq!((calls, cost), (expected.calls, expected.cost), "{}", entry.id);
        let gave_up = result.as_ref().is_err_and(cascade_sdk::Error::is_abstained);
        assert_eq!(gave_up, expected.abstained, "{}", entry.id);
        if gave_up {
            assert_eq!((expected.quality, calls), (0.25, 1));
            assert!(result.unwrap_err().to_string().contains("the policy abstains"));
            abstained += 1;
        }
    }
    assert!(abstained > 5, "{abstained}");
}

/// A mixture draws the same plan for a request in the client as over the log.
#[tokio::test]
async fn mixtures_draw_the_same_online_as_offline() {
    let text = log();
    let mut rules = Rules { mixture: Some(Mixture { share: 0.4, seed: 5 }), ..rules() };
    rules.plans.push(Plan::new(vec![Stage { tier: 1, rule: None }]));
    let (client, log) = client_and_log(&text, &rules);
    let replay = Replay::new(&rules, &log).unwrap();
    let mut scratch = replay.scratch();
    let mut second = 0;
    for (row, entry) in log.rows.iter().enumerate() {
        let expected = replay.row(row, &mut scratch).unwrap();
        let result = client.call::<Tier>(1, Request::new("whatever").with_id(&*entry.id)).await;
        let (calls, cost) = match &result {
            Ok(routed) => {
                assert_eq!(routed.plan, expected.plan, "{}", entry.id);
                (routed.path.len(), routed.cost())
            }
            Err(error) => (error.path().len(), error.spent()),
        };
        assert_eq!((calls, cost), (expected.calls, expected.cost), "{}", entry.id);
        second += expected.plan;
    }
    assert!((12..36).contains(&second), "{second}");
}
