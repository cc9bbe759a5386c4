//! Break-even laws of a two-model cascade (MATH.md 2.1).

use crate::fit::analysis::diagnostics::auroc;
use crate::fit::frontier::hull::compare_to_chord;
use crate::fit::frontier::operating::{CascadeRule, StageCut};
use crate::fit::frontier::pair::{self, Pair};
use crate::fit::frontier::ranking::Ranking;
use crate::fit::rows::table::{QUALITY_ONE, Table, Totals};
use serde::Serialize;

/// When a pair's cascade pays, and what its signal contributes. Shares and qualities, on one set of rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BreakEven {
    /// The two tiers.
    pub tiers: [String; 2],
    /// ρ: mean cost of the first call, its signal included, over mean cost of the dear tier.
    pub cost_ratio: f64,
    /// p: share of requests that escalate.
    pub escalated: f64,
    /// 1 − ρ: below this share the cascade is cheaper than the dear tier alone, if costs do not vary with the score.
    pub most_escalated: f64,
    /// Whether it is cheaper, at the costs of these rows.
    pub cheaper_than_dear: bool,
    /// E[q_H − q_L | escalated] / (q̄_H − q̄_L); absent where nothing escalates or the tiers are equally good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lift: Option<f64>,
    /// 1 / (1 − ρ): above this lift the cascade beats the random mixture of both tiers at its cost; absent if ρ ≥ 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub least_lift: Option<f64>,
    /// Whether it does, at the costs of these rows.
    pub beats_mixture: bool,
    /// π₊ and π₋: share of requests that the dear tier answers better, and worse.
    pub bettered: f64,
    /// See `bettered`.
    pub worsened: f64,
    /// A₊: area under the ROC curve of a low score for being bettered.
    pub benefit_auroc: f64,
    /// A₋: the same for being worsened.
    pub harm_auroc: f64,
    /// Area of the frontier above the chord of escalating at random, per unit of p, if costs do not vary with the score:
    /// π₊(1 − π₊)(A₊ − ½) − π₋(1 − π₋)(A₋ − ½).
    pub area_over_chance: f64,
}

/// Cascade and router at equal budgets: what each gains by the share that its budget lets go to the dear tier.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EqualBudget {
    /// Share that the router sends to the dear tier.
    pub router_share: f64,
    /// Share that the cascade can then escalate: (1 − ρ) of it.
    pub cascade_share: f64,
    /// E[(q_H − q_L) · escalated] of the cascade, least confident answers first.
    pub cascade_gain: f64,
    /// The same of the router, least promising requests first. Equal budgets favour the cascade iff its gain is higher.
    pub router_gain: f64,
}

/// The laws for a pair and its cut on `rows`.
pub fn laws(table: &Table, rows: &[u32], pair: Pair, at_least: f64) -> Option<BreakEven> {
    let [cheap, dear] = [pair.cheap, pair.dear].map(|tier| &table.tiers[tier]);
    let scores = &cheap.signals.get(pair.signal)?.value;
    let rule = CascadeRule {
        tiers: vec![pair.cheap, pair.dear],
        cuts: vec![StageCut { signal: pair.signal, at_least }],
    };
    let [low, high] = [pair.cheap, pair.dear].map(|tier| table.single(tier, rows));
    let cascade = rule.totals(table, rows);
    let first = if at_least.is_finite() {
        low + pair::signal_cost(table, pair.cheap, pair.signal, rows)
    } else {
        low
    };
    let weight = table.total_weight(rows) as f64;
    let escalates = |row: u32| {
        at_least > f64::NEG_INFINITY && (at_least == f64::INFINITY || scores[row as usize] < at_least)
    };
    let escalated: Vec<u32> = rows.iter().copied().filter(|&row| escalates(row)).collect();
    let escalated_weight = table.total_weight(&escalated) as f64;
    let gain = |rows: &[u32]| {
        let totals = |tier| table.single(tier, rows).quality;
        (totals(pair.dear) - totals(pair.cheap)) as f64 / QUALITY_ONE as f64
    };
    let lift = gain(&escalated) / escalated_weight / (gain(rows) / weight);
    let ratio = first.cost as f64 / high.cost as f64;
    let part = |sign: i64| {
        let amount = move |row: u32| {
            let at = row as usize;
            (sign * (dear.quality[at] - cheap.quality[at])).max(0) as f64 / QUALITY_ONE as f64
        };
        let share =
            rows.iter().map(|&row| table.weight[row as usize] as f64 * amount(row)).sum::<f64>() / weight;
        (share, 1.0 - auroc(table, &Ranking::new(scores, rows), &amount))
    };
    let ((bettered, benefit_auroc), (worsened, harm_auroc)) = (part(1), part(-1));
    let area = |share: f64, auroc: f64| share * (1.0 - share) * (auroc - 0.5);
    Some(BreakEven {
        tiers: [cheap.name.clone(), dear.name.clone()],
        cost_ratio: ratio,
        escalated: escalated_weight / weight,
        most_escalated: 1.0 - ratio,
        cheaper_than_dear: cascade.cost < high.cost,
        lift: Some(lift).filter(|lift| lift.is_finite()),
        least_lift: (ratio < 1.0).then(|| 1.0 / (1.0 - ratio)),
        beats_mixture: beats_mixture(cascade, low, high),
        bettered,
        worsened,
        benefit_auroc,
        harm_auroc,
        area_over_chance: area(bettered, benefit_auroc) - area(worsened, harm_auroc),
    })
}

/// Whether a point lies above the best that mixing two tiers at random reaches at its cost.
fn beats_mixture(cascade: Totals, low: Totals, high: Totals) -> bool {
    if cascade.cost >= high.cost || high.quality <= low.quality {
        return cascade.quality > low.quality.max(high.quality);
    }
    compare_to_chord(cascade, low, high).is_gt()
}

/// Both gain curves at router shares of 5 % to 100 %; `predicted` is the router's prediction that the cheap tier answers
/// well, one entry a row of the table.
pub fn equal_budgets(table: &Table, rows: &[u32], pair: Pair, predicted: &[f64]) -> Vec<EqualBudget> {
    let cheap = &table.tiers[pair.cheap];
    let Some(signal) = cheap.signals.get(pair.signal) else { return Vec::new() };
    let first = table.single(pair.cheap, rows) + pair::signal_cost(table, pair.cheap, pair.signal, rows);
    let ratio = first.cost as f64 / table.single(pair.dear, rows).cost as f64;
    let [after, before] =
        [&signal.value, predicted].map(|scores| gains(table, &Ranking::new(scores, rows), pair));
    (1..=20)
        .map(|step| {
            let router_share = f64::from(step) / 20.0;
            let cascade_share = ((1.0 - ratio) * router_share).max(0.0);
            EqualBudget {
                router_share,
                cascade_share,
                cascade_gain: at_share(&after, cascade_share),
                router_gain: at_share(&before, router_share),
            }
        })
        .collect()
}

/// (share, G): the gain of sending the rows of each further group to the dear tier.
fn gains(table: &Table, ranking: &Ranking, pair: Pair) -> Vec<(f64, f64)> {
    let weight = table.total_weight(&ranking.order) as f64;
    let [cheap, dear] = [pair.cheap, pair.dear].map(|tier| &table.tiers[tier].quality);
    let (mut share, mut gain) = (0_i128, 0_i128);
    let mut curve = vec![(0.0, 0.0)];
    for group in 0..ranking.groups() {
        for &row in ranking.group(group) {
            let at = row as usize;
            share += i128::from(table.weight[at]);
            gain += table.totals(row, dear[at] - cheap[at], 0).quality;
        }
        curve.push((share as f64 / weight, gain as f64 / weight / QUALITY_ONE as f64));
    }
    curve
}

/// The curve at a share; within a group of ties, rows go at random.
fn at_share(curve: &[(f64, f64)], share: f64) -> f64 {
    let right = curve.partition_point(|point| point.0 < share).min(curve.len() - 1);
    let (Some(left), right) = (right.checked_sub(1).map(|left| curve[left]), curve[right]) else {
        return curve[0].1;
    };
    let along = ((share - left.0) / (right.0 - left.0)).clamp(0.0, 1.0);
    left.1 + along * (right.1 - left.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::random::SplitMix64;
    use crate::fit::rows::table::{SignalData, TierData};

    const PAIR: Pair = Pair { cheap: 0, signal: 0, dear: 1 };

    /// Constant costs of 2 and 10; scores without ties.
    fn table(rows: usize) -> (Table, Vec<u32>) {
        let mut random = SplitMix64::new(9, 0);
        let score: Vec<f64> = (0..rows).map(|_| random.fraction()).collect();
        let mut right = |chance: &dyn Fn(f64) -> f64| {
            score
                .iter()
                .map(|&s| if random.fraction() < chance(s) { QUALITY_ONE } else { 0 })
                .collect::<Vec<i64>>()
        };
        let tier = |name: &str, quality, cost| TierData {
            name: name.into(),
            quality,
            cost: vec![cost; rows],
            failed: vec![false; rows],
            latency_ms: vec![0.0; rows],
            signals: vec![SignalData { name: "s".into(), value: score.clone(), ..SignalData::default() }],
        };
        let tiers = vec![tier("cheap", right(&|s| 0.4 + 0.3 * s), 2), tier("dear", right(&|_| 0.8), 10)];
        let all: Vec<u32> = (0..rows as u32).collect();
        let table = Table {
            tiers,
            log_row: all.clone(),
            group: all.clone(),
            groups: rows,
            weight: vec![1; rows],
            ..Table::default()
        };
        (table, all)
    }

    /// Laws 1 and 2 say of every cut what the totals say, costs being constant.
    #[test]
    fn laws_agree_with_totals_at_every_cut() {
        let (table, rows) = table(400);
        let mut sides = [0, 0];
        for &cut in &table.tiers[0].signals[0].value {
            let found = laws(&table, &rows, PAIR, cut).unwrap();
            assert_eq!(found.cheaper_than_dear, found.escalated < found.most_escalated - 1e-12, "{found:?}");
            if found.cheaper_than_dear && found.escalated > 0.0 {
                let by_law = found.lift.unwrap() > found.least_lift.unwrap();
                assert_eq!(found.beats_mixture, by_law, "{found:?}");
                sides[usize::from(by_law)] += 1;
            }
        }
        assert!(sides.iter().all(|&count| count > 10), "both sides of the law: {sides:?}");
        let always = laws(&table, &rows, PAIR, f64::INFINITY).unwrap();
        assert!((always.escalated - 1.0).abs() < 1e-12 && (always.lift.unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(laws(&table, &rows, PAIR, f64::NEG_INFINITY).unwrap().lift, None);
    }

    /// Law 4: the area identity, against the area of the frontier itself by the trapezium rule.
    #[test]
    fn the_area_identity_holds() {
        let (table, rows) = table(500);
        let found = laws(&table, &rows, PAIR, 0.5).unwrap();
        let curve = gains(&table, &Ranking::new(&table.tiers[0].signals[0].value, &rows), PAIR);
        let under: f64 =
            curve.windows(2).map(|step| (step[1].0 - step[0].0) * (step[0].1 + step[1].1) / 2.0).sum();
        let chord = curve.last().unwrap().1 / 2.0;
        assert!((under - chord - found.area_over_chance).abs() < 1e-9, "{under} {chord} {found:?}");
    }

    /// Law 3: with the same score before and after, the router is ahead by exactly the calls that the cascade cannot pay.
    #[test]
    fn equal_budgets_leave_the_cascade_fewer_escalations() {
        let (table, rows) = table(400);
        let scores = table.tiers[0].signals[0].value.clone();
        let curves = equal_budgets(&table, &rows, PAIR, &scores);
        assert_eq!(curves.len(), 20);
        for point in &curves {
            assert!((point.cascade_share - 0.8 * point.router_share).abs() < 1e-12);
        }
        let early = curves[5];
        assert!(early.router_gain > early.cascade_gain, "{early:?}");
        let blind = equal_budgets(&table, &rows, PAIR, &vec![0.0; 400]);
        assert!(blind[5].cascade_gain > blind[5].router_gain, "{:?}", blind[5]);
        assert!((blind[9].router_gain - blind[19].router_gain / 2.0).abs() < 1e-9, "ties go at random");
    }
}
