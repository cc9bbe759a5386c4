use super::*;
use crate::fit::frontier::operating::PolicyClass;
use crate::fit::frontier::pair::Pairs;
use crate::fit::random::SplitMix64;
use crate::fit::rows::table::{QUALITY_ONE, SignalData, TierData};

/// Two tiers; the cheap one is right on four rows of five where a hidden ease is high. Its signal sees the ease through
/// noise of width `after`, the prediction through noise of width `before`.
fn table(rows: usize, after: f64, before: f64, price: i64) -> (Table, Vec<Vec<f64>>) {
    let mut random = SplitMix64::new(11, 0);
    let ease: Vec<f64> = (0..rows).map(|_| random.fraction()).collect();
    let mut seen =
        |noise: f64| ease.iter().map(|ease| ease + noise * (random.fraction() - 0.5)).collect::<Vec<f64>>();
    let (signal, prediction) = (seen(after), seen(before));
    let mut right = |chance: &dyn Fn(f64) -> f64| {
        ease.iter()
            .map(|&ease| if random.fraction() < chance(ease) { QUALITY_ONE } else { 0 })
            .collect::<Vec<i64>>()
    };
    let tier = |name: &str, quality: Vec<i64>, cost: i64, value: Vec<f64>| TierData {
        name: name.into(),
        quality,
        cost: vec![cost; rows],
        failed: vec![false; rows],
        latency_ms: vec![0.0; rows],
        signals: vec![SignalData { name: "s".into(), value, cost: vec![price; rows], combined: None }],
    };
    let tiers = vec![
        tier("cheap", right(&|ease| if ease > 0.5 { 0.95 } else { 0.2 }), 3_000, signal),
        tier("dear", right(&|_| 0.9), 10_000, vec![0.0; rows]),
    ];
    let table = Table {
        tiers,
        log_row: (0..rows as u32).collect(),
        group: (0..rows as u32).collect(),
        groups: rows,
        weight: vec![1; rows],
        embedding_cost: Vec::new(),
        embedding_latency_ms: Vec::new(),
    };
    (table, vec![prediction, vec![0.0; rows]])
}

fn halves(rows: usize) -> (Vec<u32>, Vec<u32>) {
    (0..rows as u32).partition(|row| row % 2 == 0)
}

/// A router's curve that is the class FE itself, raised by `more` at every budget.
fn decomposed(after: f64, before: f64, more: f64) -> Decomposition {
    let (table, predictions) = table(4_000, after, before, 0);
    let (calibration, test) = halves(4_000);
    let budgets = Budgets::new(&table, &calibration);
    let setting =
        Setting { table: &table, calibration: &calibration, test: &test, budgets: &budgets, threads: 2 };
    let values = setting.values(Score::Before(&predictions), 0.0);
    let points = values
        .iter()
        .map(|value| crate::fit::frontier::curves::CurvePoint {
            adjusted: value + more,
            ..Default::default()
        })
        .collect();
    decompose(&setting, &predictions, &Curve { points, ..Curve::default() })
}

#[test]
fn terms_add_up_at_every_budget() {
    let found = decomposed(0.4, 0.8, 0.01);
    assert_eq!(found.budgets.len(), 20);
    for cost in found.budgets.iter().map(BudgetTerms::cost).chain([found.mean]) {
        assert!((cost.total - cost.structural - cost.signal - cost.richness).abs() < 1e-12, "{cost:?}");
        assert!((cost.richness - 0.01).abs() < 1e-12);
    }
}

#[test]
fn a_blind_prediction_costs_signal_and_a_sharp_one_leaves_structure() {
    let blind = decomposed(0.1, 50.0, 0.0).mean;
    assert!(blind.signal < -0.03 && blind.total < 0.0, "{blind:?}");
    assert_eq!(blind.tie_at_share, None, "the cascade leads although it pays in full");
    let sharp = decomposed(0.3, 0.3, 0.0).mean;
    assert!(sharp.structural > 0.02 && sharp.signal.abs() < 0.01, "{sharp:?}");
    // Somewhat sharper than the prediction, so that the cascade could afford part of the first call.
    let between = decomposed(0.1, 0.7, 0.0).mean;
    let share = between.tie_at_share.expect("a tie");
    assert!((0.02..0.98).contains(&share), "{between:?}");
}

/// MATH.md 13.8, and the cascade of this module is the one of the search.
#[test]
fn a_free_probe_is_never_worse_on_calibration_rows() {
    let (table, predictions) = table(600, 0.5, 0.8, 700);
    let (rows, _) = halves(600);
    let class = |score, share| Class { table: &table, score, share }.points(&rows, 1);
    let search = Pairs::new(&table, &rows, 1);
    for budget in Budgets::new(&table, &rows).totals() {
        let quality = |score, share| class(score, share).at_budget(*budget).map(|point| point.0.quality);
        assert_eq!(quality(Score::After, 1.0), search.at_budget(*budget).map(|found| found.totals.quality));
        assert!(quality(Score::After, 0.0) >= quality(Score::After, 0.5));
        assert!(quality(Score::After, 0.5) >= quality(Score::After, 1.0));
        assert!(quality(Score::Before(&predictions), 0.0) >= quality(Score::Before(&predictions), 1.0));
    }
}

#[test]
fn a_choice_on_its_own_rows_gives_the_totals_it_was_chosen_for() {
    let (table, predictions) = table(300, 0.5, 0.8, 700);
    let (rows, _) = halves(300);
    for score in [Score::After, Score::Before(&predictions)] {
        for share in [0.0, 0.3, 1.0] {
            let class = Class { table: &table, score, share };
            for (totals, choice) in class.points(&rows, 1).staircase() {
                assert_eq!(class.totals(*choice, &rows), *totals, "{choice:?}");
            }
        }
    }
}
