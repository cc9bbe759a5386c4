//! How well a signal works: the benefit of escalation along it, and whether its calibrated confidence can be believed.

use super::isotonic::{self, Direction, Group};
use super::pair::Pair;
use super::ranking::Ranking;
use super::report::{Benefit, BenefitBin, IsotonicStep, Reliability, ReliabilityBin};
use super::table::{QUALITY_ONE, Table};

/// Bins of equal frequency for b(t) (MATH.md 3.1).
const BENEFIT_BINS: usize = 20;

/// Bins of equal frequency for the reliability diagram and its calibration error.
const RELIABILITY_BINS: usize = 10;

/// A row's weight and two values, for weighted means with a standard error.
#[derive(Clone, Copy, Debug)]
struct Observation {
    weight: f64,
    score: f64,
    value: f64,
}

/// Weighted means of a bin.
#[derive(Clone, Copy, Debug)]
struct BinMeans {
    score: f64,
    value: f64,
    error: f64,
    rows: usize,
}

/// Escalation benefit b(t) = E[q_H − q_L | s = t] in bins and as a decreasing fit, on `rows`.
///
/// The standard error of a bin is that of the paired difference: sd(q_H − q_L) / √n.
pub fn benefit(table: &Table, rows: &[u32], pair: Pair, at_least: Option<f64>) -> Option<Benefit> {
    let (cheap, dear) = (&table.tiers[pair.cheap], &table.tiers[pair.dear]);
    let signal = cheap.signals.get(pair.signal)?;
    let ranking = Ranking::new(&signal.value, rows);
    let gain =
        |row: u32| (dear.quality[row as usize] - cheap.quality[row as usize]) as f64 / QUALITY_ONE as f64;
    let seen = observations(table, &ranking, &gain);
    let groups = (0..ranking.groups()).filter(|&g| ranking.scores[g] > f64::NEG_INFINITY).map(|group| {
        let (mut response, mut weight) = (0.0, 0.0);
        for &row in ranking.group(group) {
            response += table.weight[row as usize] as f64 * gain(row);
            weight += table.weight[row as usize] as f64;
        }
        Group { score: ranking.scores[group], response, weight }
    });
    let isotonic = isotonic::fit(groups, Direction::Decreasing)
        .into_iter()
        .map(|step| IsotonicStep { signal: step.score, benefit: step.level })
        .collect();
    Some(Benefit {
        tiers: [cheap.name.clone(), dear.name.clone()],
        signal: signal.name.clone(),
        at_least: at_least.filter(|cut| cut.is_finite()),
        bins: bins(&seen, BENEFIT_BINS)
            .into_iter()
            .map(|bin| BenefitBin { signal: bin.score, benefit: bin.value, error: bin.error, rows: bin.rows })
            .collect(),
        isotonic,
    })
}

/// φ(s) fitted on calibration rows, checked on held-out rows: bins of predicted against observed quality, expected
/// calibration error, and the area under the ROC curve of the raw signal.
pub fn reliability(
    table: &Table,
    calibration: &[u32],
    test: &[u32],
    tier: usize,
    signal: usize,
) -> Option<Reliability> {
    let columns = &table.tiers[tier];
    let data = columns.signals.get(signal)?;
    let steps = isotonic::calibration(table, &Ranking::new(&data.value, calibration), tier);
    let known: Vec<u32> =
        test.iter().copied().filter(|&row| data.value[row as usize] > f64::NEG_INFINITY).collect();
    if steps.is_empty() || known.is_empty() {
        return None;
    }
    let predicted: Vec<f64> = data.value.iter().map(|&score| isotonic::level_at(&steps, score)).collect();
    let quality = |row: u32| columns.quality[row as usize] as f64 / QUALITY_ONE as f64;
    let seen = observations(table, &Ranking::new(&predicted, &known), &quality);
    let bins = bins(&seen, RELIABILITY_BINS);
    let total: usize = bins.iter().map(|bin| bin.rows).sum();
    let error = bins.iter().map(|bin| bin.rows as f64 * (bin.score - bin.value).abs()).sum::<f64>();
    Some(Reliability {
        tier: columns.name.clone(),
        signal: data.name.clone(),
        expected_calibration_error: error / total.max(1) as f64,
        auroc: auroc(table, &Ranking::new(&data.value, &known), &quality),
        bins: bins
            .into_iter()
            .map(|bin| ReliabilityBin {
                predicted: bin.score,
                observed: bin.value,
                error: bin.error,
                rows: bin.rows,
            })
            .collect(),
    })
}

/// P(a good answer scores higher than a bad one), ties counted half; quality between 0 and 1 counts as that share of a
/// good and the rest of a bad answer. 0.5 if there is only one kind.
pub fn auroc(table: &Table, ranking: &Ranking, quality: &dyn Fn(u32) -> f64) -> f64 {
    let (mut bad_below, mut pairs, mut good_total, mut bad_total) = (0.0, 0.0, 0.0, 0.0);
    for group in 0..ranking.groups() {
        let (mut good, mut bad) = (0.0, 0.0);
        for &row in ranking.group(group) {
            let weight = table.weight[row as usize] as f64;
            good += weight * quality(row);
            bad += weight * (1.0 - quality(row));
        }
        pairs += good * (bad_below + bad / 2.0);
        bad_below += bad;
        good_total += good;
        bad_total += bad;
    }
    if good_total * bad_total > 0.0 { pairs / (good_total * bad_total) } else { 0.5 }
}

/// Rows in order of score, those without a score left out.
fn observations(table: &Table, ranking: &Ranking, value: &dyn Fn(u32) -> f64) -> Vec<Observation> {
    (0..ranking.groups())
        .filter(|&group| ranking.scores[group] > f64::NEG_INFINITY)
        .flat_map(|group| ranking.group(group).iter().map(move |&row| (ranking.scores[group], row)))
        .map(|(score, row)| Observation {
            weight: table.weight[row as usize] as f64,
            score,
            value: value(row),
        })
        .collect()
}

fn bins(seen: &[Observation], count: usize) -> Vec<BinMeans> {
    let count = count.min(seen.len()).max(1);
    (0..count)
        .map(|bin| &seen[bin * seen.len() / count..(bin + 1) * seen.len() / count])
        .filter(|bin| !bin.is_empty())
        .map(|bin| {
            let weight: f64 = bin.iter().map(|one| one.weight).sum();
            let mean =
                |of: &dyn Fn(&Observation) -> f64| bin.iter().map(|o| o.weight * of(o)).sum::<f64>() / weight;
            let value = mean(&|one| one.value);
            let variance = mean(&|one| (one.value - value) * (one.value - value));
            BinMeans {
                score: mean(&|one| one.score),
                value,
                error: libm::sqrt(variance / bin.len() as f64),
                rows: bin.len(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::table::{SignalData, TierData};

    fn table(
        rows: u32,
        score: impl Fn(u32) -> f64,
        cheap: impl Fn(u32) -> bool,
        dear: impl Fn(u32) -> bool,
    ) -> Table {
        let tier = |name: &str, right: &dyn Fn(u32) -> bool| TierData {
            name: name.into(),
            quality: (0..rows).map(|row| if right(row) { QUALITY_ONE } else { 0 }).collect(),
            cost: vec![1; rows as usize],
            failed: vec![false; rows as usize],
            latency_ms: vec![f32::NAN; rows as usize],
            signals: vec![SignalData {
                name: "s".into(),
                value: (0..rows).map(&score).collect(),
                cost: Vec::new(),
                combined: None,
            }],
        };
        Table {
            tiers: vec![tier("cheap", &cheap), tier("dear", &dear)],
            log_row: (0..rows).collect(),
            group: (0..rows).collect(),
            groups: rows as usize,
            weight: vec![1; rows as usize],
        }
    }

    #[test]
    fn benefit_falls_where_the_signal_works() {
        let table = table(400, f64::from, |row| row >= 200, |_| true);
        let rows: Vec<u32> = (0..400).collect();
        let found = benefit(&table, &rows, Pair { cheap: 0, signal: 0, dear: 1 }, Some(200.0)).unwrap();
        assert_eq!(found.bins.len(), 20);
        assert!(found.bins[..10].iter().all(|bin| (bin.benefit - 1.0).abs() < 1e-12 && bin.rows == 20));
        assert!(found.bins[10..].iter().all(|bin| bin.benefit.abs() < 1e-12));
        let steps: Vec<(f64, f64)> = found.isotonic.iter().map(|step| (step.signal, step.benefit)).collect();
        assert_eq!(steps, [(0.0, 1.0), (200.0, 0.0)]);
    }

    #[test]
    fn auroc_is_the_share_of_pairs_in_order() {
        let table = table(4, |row| [0.1, 0.4, 0.4, 0.9][row as usize], |row| row % 2 == 1, |_| true);
        let ranking = Ranking::new(&table.tiers[0].signals[0].value, &[0, 1, 2, 3]);
        let quality = |row: u32| table.tiers[0].quality[row as usize] as f64 / QUALITY_ONE as f64;
        // Pairs (good 1, bad 0), (1, 2) tie, (3, 0), (3, 2): 3.5 of 4.
        assert!((auroc(&table, &ranking, &quality) - 3.5 / 4.0).abs() < 1e-12);
    }

    #[test]
    fn a_calibrated_signal_is_reliable_on_fresh_rows() {
        let right = |row: u32| (row * 7919 % 100) < row % 100;
        let table = table(4000, |row| f64::from(row % 100), right, |_| true);
        let (calibration, test): (Vec<u32>, Vec<u32>) = (0..4000).partition(|row| row / 100 % 2 == 0);
        let found = reliability(&table, &calibration, &test, 0, 0).unwrap();
        assert!(found.expected_calibration_error < 0.06, "{}", found.expected_calibration_error);
        assert!(found.auroc > 0.75, "{}", found.auroc);
    }
}
