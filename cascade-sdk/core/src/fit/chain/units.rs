//! The table in small integers: common factors removed, weights multiplied in.

use super::surface::{Price, Sums};
use crate::fit::rows::table::{QUALITY_ONE, Table, Totals};

/// What one unit of [`Sums`] is worth in [`Totals`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Units {
    quality: i128,
    cost: i128,
    /// False if amounts had to be rounded to fit: the sums of whole logs must stay below 2⁶².
    pub(super) exact: bool,
}

/// Weighted columns in units, indexed by row of the table.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) units: Units,
    pub(super) tiers: Vec<TierColumns>,
}

/// One tier's columns.
#[derive(Debug)]
pub(super) struct TierColumns {
    pub(super) quality: Vec<i64>,
    pub(super) cost: Vec<i64>,
    /// Cost of each signal; empty where free.
    pub(super) signals: Vec<Vec<i64>>,
}

impl TierColumns {
    /// The price of a signal on a row.
    pub(super) fn signal_cost(&self, signal: usize, row: usize) -> i64 {
        self.signals[signal].get(row).copied().unwrap_or(0)
    }
}

impl Columns {
    pub(super) fn new(table: &Table, rows: &[u32]) -> Self {
        let units = Units::of(table, rows);
        let column = |amounts: &[i64], unit: i128| {
            if amounts.is_empty() {
                return Vec::new();
            }
            let mut scaled = vec![0; amounts.len()];
            for &row in rows {
                let row = row as usize;
                let amount = i128::from(table.weight[row]) * i128::from(amounts[row]);
                // Rounded to nearest where the unit is not a common factor.
                scaled[row] = i64::try_from((amount + unit / 2).div_euclid(unit)).unwrap_or(i64::MAX);
            }
            scaled
        };
        let tiers = table
            .tiers
            .iter()
            .map(|tier| TierColumns {
                quality: column(&tier.quality, units.quality),
                cost: column(&tier.cost, units.cost),
                signals: tier.signals.iter().map(|signal| column(&signal.cost, units.cost)).collect(),
            })
            .collect();
        Self { units, tiers }
    }
}

impl Units {
    fn of(table: &Table, rows: &[u32]) -> Self {
        let (mut quality, mut cost, mut largest) = (0, 0, 0_i128);
        for tier in &table.tiers {
            let costs = std::iter::once(&tier.cost).chain(tier.signals.iter().map(|signal| &signal.cost));
            let mut sum = 0;
            for amounts in costs.filter(|amounts| !amounts.is_empty()) {
                cost = common_factor(cost, amounts, rows);
                sum += rows.iter().map(|&row| table.totals(row, 0, amounts[row as usize]).cost).sum::<i128>();
            }
            quality = common_factor(quality, &tier.quality, rows);
            largest += sum;
        }
        let best = table.total_weight(rows) * i128::from(QUALITY_ONE);
        let (quality, quality_exact) = fitting(quality, best);
        let (cost, cost_exact) = fitting(cost, largest);
        Self { quality, cost, exact: quality_exact && cost_exact }
    }

    /// In the units of the table.
    pub(super) fn totals(self, sums: Sums) -> Totals {
        Totals { quality: i128::from(sums.quality) * self.quality, cost: i128::from(sums.cost) * self.cost }
    }

    /// λ from a change of quality and the change of cost that it takes.
    pub(super) fn price(self, rise: Totals) -> Price {
        Price {
            per_cost: clamp(rise.quality / self.quality),
            per_quality: clamp(rise.cost / self.cost).max(1),
        }
    }

    /// The most whole units within an amount of cost.
    pub(super) fn cost_below(self, cost: i128) -> i64 {
        clamp(cost.div_euclid(self.cost))
    }

    /// The fewest whole units that reach an amount of quality.
    pub(super) fn quality_above(self, quality: i128) -> i64 {
        clamp(-(-quality).div_euclid(self.quality))
    }

    /// Totals as floats in units.
    pub(super) fn floats(self, totals: Totals) -> (f64, f64) {
        (totals.cost as f64 / self.cost as f64, totals.quality as f64 / self.quality as f64)
    }
}

/// Beyond ±2⁶² no sum of a log can lie.
fn clamp(units: i128) -> i64 {
    const LIMIT: i64 = 1 << 62;
    i64::try_from(units).unwrap_or(if units < 0 { -LIMIT } else { LIMIT }).clamp(-LIMIT, LIMIT)
}

/// A unit such that sums of up to `largest`, and three of them added, stay below 2⁶².
fn fitting(factor: i64, largest: i128) -> (i128, bool) {
    let mut unit = i128::from(factor.max(1));
    let mut exact = true;
    while largest / unit >= 1 << 59 {
        unit *= 2;
        exact = false;
    }
    (unit, exact)
}

fn common_factor(factor: i64, amounts: &[i64], rows: &[u32]) -> i64 {
    rows.iter().fold(factor, |factor, &row| {
        let amount = amounts[row as usize];
        if factor == 1 || (factor != 0 && amount % factor == 0) { factor } else { divisor(factor, amount) }
    })
}

fn divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a.abs() } else { divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::rows::table::TierData;

    fn table(quality: Vec<i64>, cost: Vec<i64>, weight: Vec<i64>) -> Table {
        Table { tiers: vec![TierData { quality, cost, ..TierData::default() }], weight, ..Table::default() }
    }

    #[test]
    fn common_factors_go_and_come_back() {
        let table = table(vec![QUALITY_ONE, 0, QUALITY_ONE], vec![600, 900, 0], vec![1, 2, 5]);
        let columns = Columns::new(&table, &[0, 1]);
        assert!(columns.units.exact);
        assert_eq!(
            (&columns.tiers[0].quality[..], &columns.tiers[0].cost[..]),
            (&[1, 0, 0][..], &[2, 6, 0][..])
        );
        let totals = columns.units.totals(Sums { quality: 1, cost: 8 });
        assert_eq!(totals, Totals { quality: i128::from(QUALITY_ONE), cost: 2400 });
        assert_eq!(columns.units.cost_below(2699), 8);
        assert_eq!(columns.units.quality_above(1), 1);
        assert_eq!(columns.units.quality_above(-1), 0);
    }

    #[test]
    fn amounts_that_do_not_fit_are_rounded_and_say_so() {
        let rows = 3000;
        let falling = |from: i64| (0_i64..3000).map(|row| from - row).collect::<Vec<i64>>();
        let table = table(falling(QUALITY_ONE), falling(i64::MAX / 3), vec![1_000_000; rows]);
        let all: Vec<u32> = (0..rows as u32).collect();
        let columns = Columns::new(&table, &all);
        assert!(!columns.units.exact);
        let sum = |column: &[i64]| column.iter().map(|&x| i128::from(x)).sum::<i128>();
        let (quality, cost) = (sum(&columns.tiers[0].quality), sum(&columns.tiers[0].cost));
        assert!(quality < 1 << 60 && cost < 1 << 60);
        let back = columns.units.totals(Sums { quality: quality as i64, cost: cost as i64 });
        let exact = table.single(0, &all);
        assert!((back.cost - exact.cost).abs() as f64 / (exact.cost as f64) < 1e-9);
        assert!((back.quality - exact.quality).abs() as f64 / (exact.quality as f64) < 1e-9);
    }
}
