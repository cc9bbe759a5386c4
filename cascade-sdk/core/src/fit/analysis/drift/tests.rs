use super::*;
use crate::fit::random::SplitMix64;
use crate::log::{Row, SignalColumn, TierColumns};
use crate::money::Usd;

const TOPICS: [[&str; 4]; 2] =
    [["invoice", "refund", "charge", "payment"], ["crash", "error", "update", "install"]];

/// Requests of two kinds; `technical` is the share of the second, `sure` moves the signal.
fn log(rows: usize, technical: f64, sure: f64, per_group: usize, seed: u64) -> EvalLog {
    let mut random = SplitMix64::new(seed, 5);
    let mut log = EvalLog::default();
    let mut tier = TierColumns { name: "small".into(), ..TierColumns::default() };
    let mut signal = SignalColumn::default();
    let mut kind = 0;
    for row in 0..rows {
        if row % per_group == 0 {
            kind = usize::from(random.fraction() < technical);
        }
        let words: Vec<&str> = (0..6).map(|_| TOPICS[kind][random.below(4)]).collect();
        log.rows.push(Row {
            text: Some(format!("{} number {}?", words.join(" "), random.below(1000)).into()),
            group: Some(format!("g{}", row / per_group).into()),
            features: vec![("length".into(), random.fraction())],
            tags: vec![("kind".into(), if kind == 0 { "billing" } else { "technical" }.into())],
            ..Row::new(format!("q{row:05}"))
        });
        tier.present.push(true);
        tier.quality.push(f64::from(u8::from(random.fraction() < 0.7)));
        tier.cost.push(Usd::from_pico(1));
        tier.latency_ms.push(f32::NAN);
        tier.failed.push(false);
        signal.value.push(random.fraction() + sure);
    }
    tier.signals.insert("mean_logprob".into(), signal);
    log.tiers = vec![tier];
    log
}

fn compared(reference: &EvalLog, new: &EvalLog, seed: u64) -> Drift {
    let rows: Vec<usize> = (0..reference.rows.len()).collect();
    let graded: Vec<usize> = (0..new.rows.len()).collect();
    compare(&Input {
        reference,
        reference_rows: &rows,
        held_out_rows: &[],
        new,
        graded_rows: &graded,
        tiers: &["small".to_owned()],
        router: None,
        alpha: 0.05,
        seed,
        threads: 1,
    })
}

#[test]
fn a_shift_of_topics_or_of_a_signal_is_found_and_named() {
    let reference = log(300, 0.5, 0.0, 1, 1);
    let topics = compared(&reference, &log(200, 0.9, 0.0, 1, 2), 7);
    assert_eq!(topics.answer, Answer::Drifted);
    let drifted =
        |drift: &Drift, name: &str| drift.tests.iter().any(|test| test.name == name && test.drifted);
    assert!(drifted(&topics, "tags") && drifted(&topics, "words of the prompts"), "{topics:?}");
    assert!(!drifted(&topics, "features") && !drifted(&topics, "quality of small"), "{topics:?}");
    let signal = compared(&reference, &log(200, 0.5, 0.3, 1, 3), 7);
    assert!(drifted(&signal, "signal mean_logprob of small"), "{signal:?}");
    assert_eq!(signal.tests.iter().filter(|test| test.drifted).count(), 1, "{signal:?}");
    assert!(signal.text.contains("signal mean_logprob of small (p = 0.00"), "{}", signal.text);
    let test = signal.tests.iter().find(|test| test.drifted).unwrap();
    assert!(test.stability_index > 5.0 * test.stability_index_by_chance);
}

#[test]
fn without_drift_alarms_are_no_more_frequent_than_the_level() {
    let runs = 200;
    let alarms = (0..runs)
        .filter(|&run| {
            let (reference, new) = (log(90, 0.5, 0.0, 3, 2 * run + 100), log(60, 0.5, 0.0, 3, 2 * run + 101));
            compared(&reference, &new, run).answer == Answer::Drifted
        })
        .count() as f64;
    let (level, runs) = (0.05, runs as f64);
    assert!(alarms / runs <= level + 3.0 * (level * (1.0 - level) / runs).sqrt(), "{alarms} alarms");
}

#[test]
fn few_rows_cannot_tell_and_say_how_many_could() {
    let few = compared(&log(300, 0.5, 0.0, 1, 1), &log(12, 0.5, 0.0, 1, 2), 7);
    assert_eq!(few.answer, Answer::TooFewRows);
    assert!(few.text.contains("separate new requests would do"), "{}", few.text);
    let enough = compared(&log(300, 0.5, 0.0, 1, 1), &log(200, 0.5, 0.0, 1, 2), 7);
    assert_eq!(enough.answer, Answer::Alike, "{enough:?}");
    // Ten rows that belong together are one observation.
    let grouped = compared(&log(300, 0.5, 0.0, 1, 1), &log(200, 0.5, 0.0, 10, 2), 7);
    assert_ne!(grouped.answer, Answer::Alike);
    assert_eq!(grouped.groups, [300, 20]);
}

#[test]
fn nothing_in_common_is_said_so() {
    let empty = compared(&log(50, 0.5, 0.0, 1, 1), &EvalLog::default(), 7);
    assert_eq!(empty.answer, Answer::TooFewRows);
    assert!(empty.text.contains("nothing to compare") || empty.text.contains("too few"), "{}", empty.text);
}

#[test]
fn the_correction_is_holms() {
    assert_eq!(holm(&[0.01, 0.04, 0.03]), [0.03, 0.06, 0.06]);
    assert_eq!(holm(&[0.5, 0.9]), [1.0, 1.0]);
    assert!(holm(&[]).is_empty());
}
