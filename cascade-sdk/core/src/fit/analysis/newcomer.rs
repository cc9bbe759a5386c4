//! What few labelled rows of a new tier already say about adding it: on the rows it shares with the tiers that take part.
//!
//! Both differences in quality and the gain of the frontier are paired row by row, with groups as the unit. The gain is
//! cross-fitted: single tiers and pairs are chosen without a fold, once with the new tier and once without, at the same
//! prices, and compared on that fold. Nothing of it changes what is fitted.

use crate::fit::frontier::curves::Budgets;
use crate::fit::frontier::hull::bracket;
use crate::fit::frontier::operating::{Operating, PolicyClass};
use crate::fit::frontier::pair::Pairs;
use crate::fit::inference::bounds::normal_quantile;
use crate::fit::inference::crossfit::{self, clustered_error, weighted_mean};
use crate::fit::report::{Difference, FrontierGain};
use crate::fit::rows::table::{QUALITY_ONE, Table, Totals};
use crate::log::{EvalLog, Split};
use crate::money::PICO_PER_USD;

/// Rows below which nothing is said of the frontier.
const LEAST_ROWS: usize = 40;

/// What the rows say.
#[derive(Debug)]
pub(in crate::fit) struct Newcomer {
    pub(in crate::fit) rows: usize,
    pub(in crate::fit) cost_usd: f64,
    /// Against each tier that takes part.
    pub(in crate::fit) differences: Vec<(String, Difference)>,
    pub(in crate::fit) gain: Option<FrontierGain>,
    pub(in crate::fit) text: String,
}

/// Compares `tier` with the tiers of `pool` on calibration rows that have them all; `None` without such rows. Each row of
/// the log has its half and its group.
pub(in crate::fit) fn compare(
    log: &EvalLog,
    tier: &str,
    pool: &[&str],
    (halves, groups): (&[Split], &[String]),
    seed: u64,
    smallest_gain: f64,
) -> Option<Newcomer> {
    let names: Vec<&str> = pool.iter().copied().chain([tier]).collect();
    let key = |row: usize| groups[row].clone();
    let mut table = Table::new(log, &names, key);
    let calibration = |row: &u32| halves[table.log_row[*row as usize] as usize] == Split::Calibration;
    let rows: Vec<u32> = (0_u32..).take(table.len()).filter(calibration).collect();
    if rows.is_empty() {
        return None;
    }
    table.order_by_cost(&rows);
    let own = table.tiers.iter().position(|column| column.name == tier)?;
    let quality = |at: usize, row: u32| table.tiers[at].quality[row as usize] as f64 / QUALITY_ONE as f64;
    let interval = |values: &[f64]| -> (f64, [f64; 2]) {
        let (mean, error) = (weighted_mean(&table, &rows, values), clustered_error(&table, &rows, values));
        let reach = normal_quantile(0.975) * error;
        (mean, if reach.is_finite() { [mean - reach, mean + reach] } else { [-1.0, 1.0] })
    };
    let differences = (0..table.tiers.len())
        .filter(|&other| other != own)
        .map(|other| {
            let values: Vec<f64> = rows.iter().map(|&row| quality(own, row) - quality(other, row)).collect();
            let (quality, quality_ci) = interval(&values);
            (table.tiers[other].name.clone(), Difference { quality, quality_ci })
        })
        .collect();
    let gain = (rows.len() >= LEAST_ROWS)
        .then(|| frontier_gain(&table, own, &rows, seed, key))
        .flatten()
        .map(|values| interval(&values))
        .map(|(quality, quality_ci)| FrontierGain { quality, quality_ci });
    let cost_usd = table.single(own, &rows).mean_cost(table.total_weight(&rows));
    let text = text(tier, rows.len(), gain.as_ref(), smallest_gain);
    Some(Newcomer { rows: rows.len(), cost_usd, differences, gain, text })
}

fn text(tier: &str, rows: usize, gain: Option<&FrontierGain>, smallest_gain: f64) -> String {
    let Some(FrontierGain { quality, quality_ci: [low, high] }) = gain else {
        return format!(
            "{tier} has {rows} rows in common with the others, too few to say what adding it would bring"
        );
    };
    let points = |value: f64| format!("{:+.1}", 100.0 * value);
    let what = format!(
        "adding {tier} moves the frontier by {} points of quality at equal cost [{}, {}], on {rows} shared rows",
        points(*quality),
        points(*low),
        points(*high)
    );
    let advice = if *low > 0.0 {
        "collect the other rows for it"
    } else if *high < smallest_gain {
        "it is not worth collecting more for it"
    } else {
        "collect more rows to tell"
    };
    format!("{what}: {advice}")
}

/// For each row what adding tier `own` gains at the prices of the frontier without it, mean over the budgets.
fn frontier_gain(
    table: &Table,
    own: usize,
    rows: &[u32],
    seed: u64,
    key: impl Fn(usize) -> String,
) -> Option<Vec<f64>> {
    let mut without = table.clone();
    without.tiers.remove(own);
    if without.tiers.is_empty() {
        return None;
    }
    let mut names = vec![String::new(); table.groups];
    for (&group, &log_row) in table.group.iter().zip(&table.log_row) {
        if names[group as usize].is_empty() {
            names[group as usize] = key(log_row as usize);
        }
    }
    let folds = crossfit::folds(table, rows, &names, seed);
    let last = folds.iter().copied().max().unwrap_or(0);
    if last == 0 {
        return None;
    }
    let mut gains = vec![0.0; rows.len()];
    for fold in 0..=last {
        let train: Vec<u32> =
            rows.iter().zip(&folds).filter(|(_, other)| **other != fold).map(|(&row, _)| row).collect();
        let (with, plain) = (Pairs::new(table, &train, 1), Pairs::new(&without, &train, 1));
        let sums: Vec<Totals> = plain.hull().iter().map(|vertex| vertex.totals).collect();
        let prices: Vec<f64> =
            Budgets::new(&without, &train).totals().iter().map(|&budget| bracket(&sums, budget).2).collect();
        for &price in &prices {
            let (Some(a), Some(b)) = (best(with.hull(), price), best(plain.hull(), price)) else { continue };
            for (gain, (&row, _)) in
                gains.iter_mut().zip(rows.iter().zip(&folds)).filter(|(_, (_, other))| **other == fold)
            {
                let value = |table: &Table, vertex: &Operating| {
                    let totals = vertex.rule.totals(table, &[row]);
                    let weight = table.weight[row as usize] as f64;
                    let quality = totals.quality as f64 / QUALITY_ONE as f64;
                    (quality - price * totals.cost as f64 / PICO_PER_USD as f64) / weight
                };
                *gain += (value(table, a) - value(&without, b)) / prices.len() as f64;
            }
        }
    }
    Some(gains)
}

/// The vertex with the highest Q − λ · C.
fn best(hull: &[Operating], price: f64) -> Option<&Operating> {
    let value = |vertex: &Operating| vertex.totals.quality as f64 - price * vertex.totals.cost as f64;
    hull.iter().reduce(|best, next| if value(next) > value(best) { next } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::random::SplitMix64;
    use crate::log::{Row, TierColumns, group_key};
    use crate::money::Usd;

    /// A cheap and a dear tier, and a new one at a middle price that is right as often as `skill` says, on `shared` rows.
    fn log(rows: usize, shared: usize, skill: f64) -> EvalLog {
        let mut random = SplitMix64::new(11, 2);
        let mut log = EvalLog::default();
        let mut tiers: Vec<TierColumns> = ["cheap", "dear", "new"]
            .map(|name| TierColumns { name: name.into(), ..TierColumns::default() })
            .into();
        for row in 0..rows {
            log.rows.push(Row::new(format!("q{row:04}")));
            for (tier, (right, cost)) in tiers.iter_mut().zip([(0.5, 1), (0.9, 100), (skill, 10)]) {
                let quality = f64::from(u8::from(random.fraction() < right));
                tier.present.push(tier.name != "new" || row < shared);
                tier.quality.push(quality);
                tier.cost.push(Usd::from_pico(cost * 1_000_000));
                tier.latency_ms.push(f32::NAN);
                tier.failed.push(false);
            }
        }
        log.tiers = tiers;
        log
    }

    fn newcomer(shared: usize, skill: f64) -> Newcomer {
        let log = log(600, shared, skill);
        compared(&log, &log.rows.iter().map(group_key).collect::<Vec<_>>())
    }

    fn compared(log: &EvalLog, groups: &[String]) -> Newcomer {
        compare(log, "new", &["cheap", "dear"], (&vec![Split::Calibration; 600], groups), 7, 0.01).unwrap()
    }

    #[test]
    fn a_good_newcomer_is_seen_with_two_hundred_rows() {
        let good = newcomer(200, 0.85);
        let gain = good.gain.as_ref().unwrap();
        assert!(gain.quality_ci[0] > 0.0 && gain.quality > 0.03, "{good:?}");
        assert!(good.text.ends_with("collect the other rows for it"), "{}", good.text);
        let against =
            |name: &str| good.differences.iter().find(|(other, _)| other == name).unwrap().1.clone();
        assert!(against("cheap").quality_ci[0] > 0.2);
        assert!(against("dear").quality < 0.05);
        assert_eq!(good.rows, 200);
        assert!((good.cost_usd - 1e-5).abs() < 1e-12);
    }

    #[test]
    fn variants_of_one_request_are_one_observation() {
        let log = log(600, 200, 0.85);
        let alone = newcomer(200, 0.85);
        let groups: Vec<String> = (0..600).map(|row| format!("stem {}", row / 20)).collect();
        let together = compared(&log, &groups);
        let width = |found: &Newcomer| {
            let [low, high] = found.differences[0].1.quality_ci;
            high - low
        };
        assert_ne!(width(&alone), width(&together), "ten stems are not two hundred requests");
        assert_ne!(alone.gain.unwrap().quality_ci, together.gain.unwrap().quality_ci);
    }

    #[test]
    fn a_poor_one_adds_nothing_and_a_handful_of_rows_say_nothing() {
        let poor = newcomer(300, 0.3);
        let gain = poor.gain.as_ref().unwrap();
        assert!(gain.quality.abs() < 0.01, "{poor:?}");
        assert!(!poor.text.contains("collect the other rows"), "{}", poor.text);
        let few = newcomer(20, 0.9);
        assert!(few.gain.is_none() && few.text.contains("too few"), "{}", few.text);
    }
}
