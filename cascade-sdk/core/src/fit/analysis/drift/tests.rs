use super::*;
use crate::fit::random::SplitMix64;
use crate::log::{Embeddings, Row, SignalColumn, TierColumns};
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

fn input<'a>(reference: &'a EvalLog, rows: &'a [usize], new: &'a EvalLog, tiers: &'a [String]) -> Input<'a> {
    Input {
        reference,
        reference_rows: rows,
        held_out_rows: &[],
        new,
        graded_rows: &[],
        tiers,
        router: None,
        alpha: 0.05,
        seed: 7,
        threads: 1,
    }
}

fn compared(reference: &EvalLog, new: &EvalLog, seed: u64) -> Drift {
    let rows: Vec<usize> = (0..reference.rows.len()).collect();
    compare(&Input { seed, ..input(reference, &rows, new, &["small".to_owned()]) })
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

/// The same log with a vector for each row: noise, and a shift of its third number.
fn embedded(mut log: EvalLog, dimensions: usize, shift: f64, seed: u64) -> EvalLog {
    let mut random = SplitMix64::new(seed, 9);
    let mut embeddings = Embeddings::new("tiny", dimensions);
    for _ in &log.rows {
        let vector: Vec<f32> = (0..dimensions)
            .map(|at| (random.fraction() - 0.5 + if at == 2 { shift } else { 0.0 }) as f32)
            .collect();
        embeddings.push(Some(&vector), Usd::ZERO);
    }
    log.embeddings = Some(embeddings);
    log
}

#[test]
fn a_shift_of_embeddings_alone_is_found_whatever_their_length() {
    for dimensions in [16, 1_000] {
        let shift = if dimensions == 16 { 0.2 } else { 0.9 };
        let reference = embedded(log(300, 0.5, 0.0, 1, 1), dimensions, 0.0, 1);
        let moved = compared(&reference, &embedded(log(200, 0.5, 0.0, 1, 2), dimensions, shift, 2), 7);
        let drifted: Vec<&str> =
            moved.tests.iter().filter(|test| test.drifted).map(|test| test.name.as_str()).collect();
        assert_eq!(drifted, ["embedding by tiny"], "{moved:?}");
        let test = moved.tests.iter().find(|test| test.drifted).unwrap();
        assert!(
            test.most.is_none() && test.stability_index > 2.0 * test.stability_index_by_chance,
            "{test:?}"
        );
        let same = compared(&reference, &embedded(log(200, 0.5, 0.0, 1, 2), dimensions, 0.0, 3), 7);
        assert_eq!(same.answer, Answer::Alike, "{same:?}");
    }
    // Vectors of another model cannot be compared.
    let reference = embedded(log(300, 0.5, 0.0, 1, 1), 16, 0.0, 1);
    let mut other = embedded(log(200, 0.5, 0.0, 1, 2), 16, 0.5, 2);
    other.embeddings.as_mut().unwrap().model = "huge".into();
    assert_eq!(compared(&reference, &other, 7).answer, Answer::Alike);
}

#[test]
fn without_drift_alarms_are_no_more_frequent_than_the_level() {
    let runs = 200;
    let alarms = (0..runs)
        .filter(|&run| {
            let (reference, new) = (log(90, 0.5, 0.0, 3, 2 * run + 100), log(60, 0.5, 0.0, 3, 2 * run + 101));
            let (reference, new) =
                (embedded(reference, 8, 0.0, 2 * run + 500), embedded(new, 8, 0.0, 2 * run + 501));
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

/// A log with results for a share of the rows only.
fn partly(mut log: EvalLog, mut keep: impl FnMut(usize, &mut EvalLog)) -> EvalLog {
    (0..log.rows.len()).for_each(|row| keep(row, &mut log));
    log
}

#[test]
fn rows_without_a_call_or_a_grade_are_no_drift() {
    let reference = log(300, 0.5, 0.0, 1, 1);
    // A fifth of the rows were answered; half of those are graded.
    let new = |sure| {
        partly(log(1000, 0.5, sure, 1, 2), |row, log| {
            log.tiers[0].present[row] = row.is_multiple_of(5);
            if !row.is_multiple_of(10) {
                log.tiers[0].quality[row] = f64::NAN;
            }
        })
    };
    let alike = compared(&reference, &new(0.0), 7);
    assert_eq!(alike.answer, Answer::Alike, "{alike:?}");
    let groups = |name: &str| alike.tests.iter().find(|test| test.name == name).unwrap().groups;
    assert_eq!(groups("signal mean_logprob of small"), [300, 200]);
    assert_eq!(groups("quality of small"), [300, 100]);
    assert_eq!(groups("tags"), [300, 1000]);
    let moved = compared(&reference, &new(0.3), 7);
    assert!(moved.text.contains("signal mean_logprob of small"), "{}", moved.text);
    // A signal that is missing from calls that ran is news.
    let silent = partly(new(0.0), |row, log| {
        if row.is_multiple_of(2) {
            log.tiers[0].signals.get_mut("mean_logprob").unwrap().value[row] = f64::NAN;
        }
    });
    assert_eq!(compared(&reference, &silent, 7).answer, Answer::Drifted);
}

/// The same requests answered by a second tier, well where the signal of the first is high.
fn with_large(mut log: EvalLog) -> EvalLog {
    let mut large = TierColumns { name: "large".into(), ..log.tiers[0].clone() };
    let sure = log.tiers[0].signals["mean_logprob"].value.clone();
    large.quality = sure.iter().map(|sure| f64::from(u8::from(*sure > 0.2))).collect();
    large.signals.clear();
    log.tiers.insert(0, large);
    log
}

#[test]
fn the_dear_tier_of_escalated_requests_is_not_compared_with_that_of_all() {
    let reference = with_large(log(400, 0.5, 0.0, 1, 3));
    let escalate = |row: usize, log: &mut EvalLog| {
        log.tiers[0].present[row] = log.tiers[1].signals["mean_logprob"].value[row] < 0.4;
    };
    let both = |new: &EvalLog| {
        let rows: Vec<usize> = (0..reference.rows.len()).collect();
        compare(&input(&reference, &rows, new, &["small".to_owned(), "large".to_owned()]))
    };
    let new = partly(with_large(log(400, 0.5, 0.0, 1, 5)), escalate);
    let found = both(&new);
    assert_eq!(found.answer, Answer::Alike, "{found:?}");
    assert!(found.tests.iter().any(|test| test.name == "quality of small"));
    assert!(found.not_compared.iter().any(|what| what.contains("quality of large")), "{found:?}");
    // Nor are grades that only those requests have.
    let graded = partly(new, |row, log| {
        if !log.tiers[0].present[row] {
            log.tiers[1].quality[row] = f64::NAN;
        }
    });
    let found = both(&graded);
    assert!(!found.tests.iter().any(|test| test.name.starts_with("quality")), "{found:?}");
    assert_eq!(found.not_compared.len(), 2, "{found:?}");
}

#[test]
fn what_one_log_alone_has_is_noted_and_is_no_drift() {
    let reference = log(300, 0.5, 0.0, 1, 1);
    let new = partly(log(200, 0.5, 0.0, 1, 2), |row, log| {
        log.rows[row].features.push(("trace".into(), row as f64));
        log.rows[row].tags = vec![("host".into(), "a".into())];
    });
    let found = compared(&reference, &new, 7);
    assert_eq!(found.answer, Answer::Alike, "{found:?}");
    assert_eq!(
        found.not_compared,
        [
            "feature trace: only the new log has it",
            "tag kind: only the log of the fit has it",
            "tag host: only the new log has it"
        ]
    );
    assert!(found.tests.iter().all(|test| test.name != "tags"));
}

#[test]
fn alike_is_said_of_what_every_test_could_have_seen() {
    // Two thousand prompts, and ten grades.
    let reference = log(400, 0.5, 0.0, 1, 1);
    let new = partly(log(2000, 0.5, 0.0, 1, 2), |row, log| {
        if !row.is_multiple_of(200) {
            log.tiers[0].quality[row] = f64::NAN;
        }
    });
    let found = compared(&reference, &new, 7);
    assert_eq!(found.answer, Answer::TooFewRows, "{found:?}");
    assert!(
        found.text.contains("of quality of small, known in 400 and 10 separate requests"),
        "{}",
        found.text
    );
    let signal = found.tests.iter().find(|test| test.name.starts_with("signal")).unwrap();
    assert!(signal.detectable_shift < 0.3 && found.detectable_shift > 1.0, "{found:?}");
}

#[test]
fn a_strict_level_gets_the_permutations_it_needs_or_no_answer() {
    assert_eq!(permutation::rounds(5, 0.05), 1000);
    assert!(permutation::rounds(12, 0.001) > 12_000, "9,999 could never reject");
    assert!(permutation::can_reject(12, 0.001) && !permutation::can_reject(2, 1e-6));
    let (reference, new) = (log(300, 0.5, 0.0, 1, 1), log(200, 0.9, 0.0, 1, 2));
    let strict = |alpha| {
        let rows: Vec<usize> = (0..300).collect();
        compare(&Input { alpha, ..input(&reference, &rows, &new, &["small".to_owned()]) })
    };
    assert_eq!(strict(0.0005).answer, Answer::Drifted, "12 tests or fewer");
    let blind = strict(1e-6);
    assert_eq!(blind.answer, Answer::TooFewRows);
    assert!(blind.text.contains("raise drift_alpha"), "{}", blind.text);
}
