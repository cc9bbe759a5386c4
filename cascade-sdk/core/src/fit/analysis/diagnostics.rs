//! How well a signal works: the benefit of escalation along it, and whether its calibrated confidence can be believed.

use crate::decide::logistic;
use crate::fit::frontier::isotonic::{self, Direction, Group};
use crate::fit::frontier::pair::Pair;
use crate::fit::frontier::ranking::Ranking;
use crate::fit::report::{
    Benefit, BenefitBin, IsotonicStep, Reliability, ReliabilityBin, RouterCalibration, ShadowPriceStep,
};
use crate::fit::router::RouterFit;
use crate::fit::rows::table::{QUALITY_ONE, Table};
use crate::replay::KnownPredictions;
use serde::Serialize;

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

/// Escalation benefit b(t) = E[q_H − q_L | s = t] in bins and as a decreasing fit, and the shadow price along the signal, on
/// `rows`.
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
        shadow_prices: isotonic::shadow_prices(table, &ranking, pair)
            .into_iter()
            .map(|step| ShadowPriceStep {
                signal: Some(step.score).filter(|score| score.is_finite()),
                quality_per_usd: step.level,
                usd_per_quality: (step.level > 0.0).then(|| 1.0 / step.level),
            })
            .collect(),
    })
}

/// Expected calibration error and bias of (prediction, quality), over ten bins of equally many predictions.
pub(in crate::fit) fn calibration_error(mut pairs: Vec<(f64, f64)>) -> (f64, f64) {
    const BINS: usize = RELIABILITY_BINS;
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let rows = pairs.len() as f64;
    let gap =
        |pairs: &[(f64, f64)]| pairs.iter().map(|(predicted, quality)| predicted - quality).sum::<f64>();
    let bin = |bin: usize| &pairs[bin * pairs.len() / BINS..(bin + 1) * pairs.len() / BINS];
    ((0..BINS).map(|at| gap(bin(at)).abs()).sum::<f64>() / rows, gap(&pairs) / rows)
}

/// How well a router's predictions fit: those of calibration rows are out of fold, and `known` has those of held-out rows.
pub(in crate::fit) fn router_calibration(
    table: &Table,
    calibration: &[u32],
    test: &[u32],
    fit: &RouterFit,
    known: &KnownPredictions,
) -> Vec<RouterCalibration> {
    let tiers = table.tiers.iter().enumerate();
    tiers
        .map(|(at, tier)| {
            let quality = |row: u32| tier.quality[row as usize] as f64 / QUALITY_ONE as f64;
            let of_fit = fit.log_odds.iter().skip(at).step_by(table.tiers.len());
            let chosen = calibration.iter().zip(of_fit).map(|(&row, &odds)| (logistic(odds), quality(row)));
            let held_out = test.iter().filter_map(|&row| {
                let odds = *known.of(table.log_row[row as usize] as usize)?.log_odds.get(at)?;
                Some((logistic(odds), quality(row)))
            });
            let held_out: Vec<(f64, f64)> = held_out.collect();
            RouterCalibration {
                tier: tier.name.clone(),
                out_of_fold: calibration_error(chosen.collect()).0,
                held_out: (!held_out.is_empty()).then(|| calibration_error(held_out).0),
            }
        })
        .collect()
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

/// How well a signal of a tier works, on held-out rows that have it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SignalQuality {
    /// The tier.
    pub tier: String,
    /// The signal; a combined one is named after its tier.
    pub signal: String,
    /// P(a good answer scores higher than a bad one).
    pub auroc: f64,
    /// P(an answer that the reference tier betters scores lower than one that it does not); absent for the reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub benefit_auroc: Option<f64>,
    /// P(an answer that betters the reference tier's scores lower than one that does not). Escalating by a signal gains
    /// where the former is high and this is low (MATH.md 2.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub harm_auroc: Option<f64>,
    /// Expected calibration error of the isotonic fit made on calibration rows, over bins of equal frequency.
    pub expected_calibration_error: f64,
    /// Brier score of that fit: mean squared difference from the quality.
    pub brier: f64,
    /// Held-out rows that have the signal.
    pub rows: usize,
}

/// The quality of every signal on held-out rows. The reference tier is the most accurate one on calibration rows.
pub fn signals(table: &Table, calibration: &[u32], test: &[u32]) -> Vec<SignalQuality> {
    let reference = (0..table.tiers.len()).max_by_key(|&tier| table.single(tier, calibration).quality);
    let mut found = Vec::new();
    for (tier, columns) in table.tiers.iter().enumerate() {
        for (signal, data) in columns.signals.iter().enumerate() {
            let Some(reliability) = reliability(table, calibration, test, tier, signal) else { continue };
            let steps = isotonic::calibration(table, &Ranking::new(&data.value, calibration), tier);
            let known: Vec<u32> =
                test.iter().copied().filter(|&row| data.value[row as usize] > f64::NEG_INFINITY).collect();
            let quality = |row: u32| columns.quality[row as usize] as f64 / QUALITY_ONE as f64;
            let brier = known.iter().fold(0.0, |sum, &row| {
                let miss = isotonic::level_at(&steps, data.value[row as usize]) - quality(row);
                sum + table.weight[row as usize] as f64 * miss * miss
            }) / table.total_weight(&known) as f64;
            let ranking = Ranking::new(&data.value, &known);
            let against = reference.filter(|&reference| reference != tier).map(|reference| {
                let other = &table.tiers[reference].quality;
                let gain = |row: u32| {
                    (other[row as usize] - columns.quality[row as usize]) as f64 / QUALITY_ONE as f64
                };
                [1.0, -1.0].map(|sign| 1.0 - auroc(table, &ranking, &|row| (sign * gain(row)).max(0.0)))
            });
            found.push(SignalQuality {
                tier: reliability.tier,
                signal: reliability.signal,
                auroc: reliability.auroc,
                benefit_auroc: against.map(|[benefit, _]| benefit),
                harm_auroc: against.map(|[_, harm]| harm),
                expected_calibration_error: reliability.expected_calibration_error,
                brier,
                rows: known.len(),
            });
        }
    }
    found
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
    use crate::fit::rows::table::{SignalData, TierData};

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
            embedding_cost: Vec::new(),
            embedding_latency_ms: Vec::new(),
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
        // Every answer costs one unit of 10⁻¹² dollars.
        let prices = &found.shadow_prices;
        assert_eq!(prices.iter().map(|step| step.signal).collect::<Vec<_>>(), [Some(0.0), Some(200.0)]);
        assert!((prices[0].quality_per_usd * prices[0].usd_per_quality.unwrap() - 1.0).abs() < 1e-12);
        assert!((prices[0].quality_per_usd - 1e12).abs() < 1.0 && prices[1].usd_per_quality.is_none());
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
    fn signals_are_judged_by_what_escalation_gains_and_breaks() {
        // The dear tier betters the cheap one on the lowest quarter and is bettered by it on the highest.
        let mut table = table(400, |row| f64::from(row / 4), |row| row >= 100, |row| row < 300);
        table.tiers[1].quality[120] = 0;
        table.tiers[0].quality[120] = 0;
        let rows: Vec<u32> = (0..400).collect();
        let found = signals(&table, &rows, &rows);
        let cheap = found.iter().find(|signal| signal.tier == "cheap").unwrap();
        assert!((cheap.benefit_auroc.unwrap() - 1.0).abs() < 1e-12, "{cheap:?}");
        assert!(cheap.harm_auroc.unwrap() < 1e-12, "{cheap:?}");
        assert!(cheap.auroc > 0.98 && cheap.brier < 0.01 && cheap.rows == 400, "{cheap:?}");
        // Equally many are right, so the first tier is not the reference.
        assert!(found.iter().any(|signal| signal.tier == "dear" && signal.benefit_auroc.is_none()));
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
