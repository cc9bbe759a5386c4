//! Fitted early escalation, offline = online: the client over a log gives answers up where [`Replay`] does, at the same cost.

use crate::setup::{Tier, builder_of, drained, policy_of, replay_config, rules};
use cascade_sdk::decide::{Decision, Why};
use cascade_sdk::money::Usd;
use cascade_sdk::{Request, TierName};
use cascade_sdk_core::config;
use cascade_sdk_core::diag::Source;
use cascade_sdk_core::log::{LogSource, ReadOptions, read};
use cascade_sdk_core::policy::{PrefixCut, Rules, Stop};
use cascade_sdk_core::replay::{Replay, Step};
use std::fmt::Write as _;

fn noise(state: &mut u64) -> f64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 11) as f64 / (1_u64 << 53) as f64
}

/// Answers of 1 to 30 tokens, likely and unlikely ones; some rows do not say how they arrived, some failed.
fn log(state: &mut u64, alternatives: bool) -> String {
    let mut log = String::new();
    for row in 0..120 {
        let length = 1 + row % 30;
        let level = 0.6 * noise(state);
        let tokens: Vec<String> = (0..length)
            .map(|_| {
                let logprob = -level * 2.0 * noise(state);
                if alternatives {
                    let second = logprob - 0.5 - 2.0 * noise(state);
                    format!(r#"{{"logprob":{logprob:.4},"top_logprobs":[{logprob:.4},{second:.4}]}}"#)
                } else {
                    format!("{logprob:.4}")
                }
            })
            .collect();
        let told = if row % 9 == 4 {
            format!(r#""signals":{{"mean_logprob":{:.3}}},"#, -noise(state))
        } else {
            format!(r#""token_logprobs":[{}],"#, tokens.join(","))
        };
        let small = if row % 17 == 3 {
            r#"{"quality":0,"cost_usd":0.00001,"error":"timeout"}"#.to_owned()
        } else {
            format!(
                r#"{{"quality":{},{told}"input_tokens":30,"output_tokens":{},"latency_ms":10.5,"output":"s{row}"}}"#,
                row % 2,
                length + row % 2,
            )
        };
        let large = format!(r#"{{"quality":1,"input_tokens":30,"output_tokens":5,"output":"l{row}"}}"#);
        writeln!(
            log,
            r#"{{"id":"r{row:03}","input":"text {row}","results":{{"small":{small},"large":{large}}}}}"#
        )
        .unwrap();
    }
    log
}

/// Rules with cuts at lengths and scores that look random.
fn stopping(state: &mut u64, signal: &str) -> Rules {
    let mut rules = rules();
    rules.signals = vec![signal.into()];
    let mut after = 0;
    let cuts = (0..3).map(|_| {
        after += [1, 2, 4, 6][usize::from(noise(state) < 0.5) + 2 * usize::from(noise(state) < 0.5)];
        PrefixCut {
            after,
            below: if signal == "mean_logprob" { -0.2 - 0.5 * noise(state) } else { noise(state) },
        }
    });
    if signal != "mean_logprob" {
        rules.plans[0].stages[0].rule.as_mut().unwrap().at_least.0 = 0.3;
    }
    rules.plans[0].stops.insert(0, Stop { most_tokens: Some(50), cuts: cuts.collect() });
    rules
}

#[tokio::test]
async fn the_client_gives_up_where_the_replay_does_and_pays_the_same() {
    let config = replay_config() + "\n[routes.two.runtime]\nearly_escalation = \"fitted\"\n";
    let (mut state, mut unpromising, mut hopeless, mut whole) = (7, 0, 0, 0);
    for (alternatives, signal) in [(false, "mean_logprob"), (true, "mean_margin"), (false, "mean_logprob")] {
        let (text, rules) = (log(&mut state, alternatives), stopping(&mut state, signal));
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("log.jsonl"), &text).unwrap();
        let policy = policy_of(&config, rules.clone());
        let client = builder_of(directory.path(), &config, policy).build().unwrap();
        let read_config = config::read(&Source::new("cascade.toml", config.as_str())).0.unwrap();
        let options = ReadOptions::for_route(&read_config, read_config.route("two").unwrap());
        let log = read([LogSource::new("log.jsonl", text.as_bytes())], &options).unwrap().log;
        let replay = Replay::new(&rules, &log).unwrap();
        let mut scratch = replay.scratch();
        for (row, entry) in log.rows.iter().enumerate() {
            let mut steps: Vec<Step> = Vec::new();
            let expected = replay.trace(row, &mut scratch, |step| steps.push(step)).unwrap();
            let request = || Request::new("whatever").with_id(&*entry.id);
            let routed = client.call::<Tier>(1, request()).await.unwrap();
            let (_, streamed) = drained(client.call::<Tier>(1, request()).stream::<String>()).await;
            for routed in [routed, streamed.unwrap()] {
                assert_eq!(routed.tier.name(), rules.tiers[expected.tier], "{}", entry.id);
                assert_eq!((routed.cost(), routed.estimated()), (expected.cost, Usd::ZERO), "{}", entry.id);
                assert_eq!(routed.path.len(), steps.len(), "{}", entry.id);
                for (own, step) in routed.path.iter().zip(&steps) {
                    assert_eq!(
                        (own.decision, own.cost, own.given_up_after),
                        (step.decision, step.cost, step.given_up_after)
                    );
                }
            }
            match steps[0].decision {
                Decision::Escalate(Why::Unpromising { .. }) => unpromising += 1,
                Decision::Escalate(Why::OutOfReach { .. }) => hopeless += 1,
                _ => whole += 1,
            }
        }
    }
    assert!(unpromising > 40 && whole > 100, "{unpromising} {hopeless} {whole}");
}
