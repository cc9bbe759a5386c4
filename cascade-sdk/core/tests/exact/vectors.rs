//! Tiny logs with answers worked out elsewhere in exact fractions, small enough to be checked by hand.
//!
//! `frontiers.json` has, for each log, the frontier of every pair, and of every pair and three-stage chain the best
//! quality at five budgets, the hull, and the Lagrangian value at five prices. A chain there is that chain and nothing
//! else, so shorter ones count only where a cut keeps everything.

use crate::brute::{all_rows, checked, table};
use cascade_sdk_core::fit::chain::FullChain;
use cascade_sdk_core::fit::frontier::operating::PolicyClass;
use cascade_sdk_core::fit::frontier::pair::{self, Pair, Singles};
use cascade_sdk_core::fit::frontier::ranking::Ranking;
use cascade_sdk_core::fit::rows::table::{QUALITY_ONE, SignalData, Table, TierData, Totals};
use serde_json::Value;

/// Pico-dollars for a cost of 1: all costs are whole or halves.
const COST_ONE: f64 = 2_000.0;

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn cost(value: &Value) -> i64 {
    (number(value) * COST_ONE).round() as i64
}

/// The log, with tier t named "t<t>" so that the tests can find it again after sorting by cost.
fn read(rows: &[Value]) -> Table {
    let tiers = (0..list(&rows[0]).len())
        .map(|tier| {
            let column = |key: &str| -> Vec<&Value> { rows.iter().map(|row| &row[tier][key]).collect() };
            let priced = !rows[0][tier]["signal_cost"].is_null();
            TierData {
                name: format!("t{tier}"),
                quality: column("quality")
                    .into_iter()
                    .map(|q| (number(q) * QUALITY_ONE as f64) as i64)
                    .collect(),
                cost: column("cost").into_iter().map(cost).collect(),
                failed: vec![false; rows.len()],
                latency_ms: vec![0.0; rows.len()],
                signals: vec![SignalData {
                    name: "score".into(),
                    value: column("score").into_iter().map(number).collect(),
                    cost: if priced {
                        column("signal_cost").into_iter().map(cost).collect()
                    } else {
                        Vec::new()
                    },
                    combined: None,
                }],
            }
        })
        .collect();
    table(tiers, vec![1; rows.len()])
}

/// The tiers of a chain, as a table of their own and as positions in the whole one.
fn chosen(table: &Table, tiers: &Value) -> Vec<usize> {
    let position = |tier: &Value| {
        let name = format!("t{tier}");
        table.tiers.iter().position(|tier| tier.name == name).unwrap()
    };
    list(tiers).iter().map(position).collect()
}

struct Means {
    rows: f64,
}

impl Means {
    fn cost(&self, totals: Totals) -> f64 {
        totals.cost as f64 / COST_ONE / self.rows
    }

    fn quality(&self, totals: Totals) -> f64 {
        totals.quality as f64 / QUALITY_ONE as f64 / self.rows
    }
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

/// Compares the class of one chain with its entry.
fn assert_entry(table: &Table, tiers: &[usize], entry: &Value) {
    let means = Means { rows: table.len() as f64 };
    let part =
        Table { tiers: tiers.iter().map(|&tier| table.tiers[tier].clone()).collect(), ..table.clone() };
    let class = FullChain::of(&part, &all_rows(&part), &[0, 1, 2][..tiers.len()], 1);
    for expected in list(&entry["best_at_budget"]) {
        let limit = (number(&expected["budget"]) * COST_ONE * means.rows * (1.0 + 1e-12)).floor() as i128;
        let found = checked(&part, class.at_budget(limit)).unwrap();
        assert!(close(means.quality(found), number(&expected["quality"])), "{expected}: {found:?}");
        assert!(close(means.cost(found), number(&expected["cost"])), "{expected}: {found:?}");
    }
    let hull: Vec<Totals> = class.hull().iter().map(|vertex| vertex.totals).collect();
    assert_eq!(hull.len(), list(&entry["hull"]).len(), "{}", entry["hull"]);
    for (found, expected) in hull.iter().zip(list(&entry["hull"])) {
        assert!(close(means.cost(*found), number(&expected["cost"])), "{expected}");
        assert!(close(means.quality(*found), number(&expected["quality"])), "{expected}");
    }
    for expected in list(&entry["lagrangian"]) {
        let price = number(&expected["lambda"]);
        let value = |totals: &Totals| means.quality(*totals) - price * means.cost(*totals);
        let best = hull.iter().map(value).fold(f64::NEG_INFINITY, f64::max);
        assert!(close(best, number(&expected["value"])), "{expected}: {best}");
    }
}

#[test]
fn vectors_agree() {
    let cases: Value = serde_json::from_str(include_str!("frontiers.json")).unwrap();
    let mut chains = 0;
    for case in list(&cases) {
        let table = read(list(&case["rows"]));
        let (rows, means) = (all_rows(&table), Means { rows: table.len() as f64 });
        let answer = &case["answer"];
        let order: Vec<usize> = chosen(&table, &answer["cost_order"]);
        assert_eq!(order, (0..table.tiers.len()).collect::<Vec<_>>(), "order of cost");
        for single in list(&answer["single"]) {
            let [tier] = chosen(&table, &Value::Array(vec![single["tier"].clone()]))[..] else {
                unreachable!()
            };
            let totals = table.single(tier, &rows);
            assert!(close(means.cost(totals), number(&single["cost"])));
            assert!(close(means.quality(totals), number(&single["quality"])));
            assert!(
                Singles::new(&table, &rows).at_budget(totals.cost).unwrap().totals.quality >= totals.quality
            );
        }
        for entry in list(&answer["pairs"]) {
            let [cheap, dear] = chosen(&table, &entry["tiers"])[..] else { unreachable!() };
            let ranking = Ranking::new(&table.tiers[cheap].signals[0].value, &rows);
            let frontier = pair::frontier(&table, &ranking, Pair { cheap, signal: 0, dear });
            assert_eq!(frontier.len(), list(&entry["frontier"]).len());
            for (found, expected) in frontier.iter().zip(list(&entry["frontier"])) {
                let at_least = match &expected["at_least"] {
                    Value::Null => f64::NEG_INFINITY,
                    Value::String(_) => f64::INFINITY,
                    score => number(score),
                };
                assert_eq!(found.at_least.to_bits(), at_least.to_bits());
                assert!(close(means.cost(found.totals), number(&expected["cost"])), "{expected}");
                assert!(close(means.quality(found.totals), number(&expected["quality"])), "{expected}");
            }
            assert_entry(&table, &[cheap, dear], entry);
        }
        for entry in list(&answer["chains"]) {
            assert_entry(&table, &chosen(&table, &entry["tiers"]), entry);
            chains += 1;
        }
    }
    assert!(chains > 20, "{chains}");
}
