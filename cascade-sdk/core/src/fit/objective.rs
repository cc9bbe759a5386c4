//! An objective on a set of rows, in the exact units of [`Totals`].

use super::limited::Sums;
use super::limits::{MOST, Over};
use crate::config::Goal;
use crate::fit::rows::table::{QUALITY_ONE, Table, Totals, quality_units};

/// What a search is asked for (MATH.md 2): the three forms of one search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// Most quality at a total cost of at most this.
    Budget(i128),
    /// Least cost at a total quality of at least this.
    Floor(i128),
    /// Most quality − λ · cost, λ in quality per US dollar.
    Price(f64),
}

impl Target {
    /// The goal on some rows. `None` if it names a tier that the table lacks.
    pub fn on(goal: &Goal, table: &Table, rows: &[u32]) -> Option<Self> {
        let weight = table.total_weight(rows);
        Some(match goal {
            Goal::MaxCost(limit) => Self::Budget(i128::from(limit.pico()) * weight),
            Goal::MinQuality(floor) => Self::Floor(i128::from(quality_units(*floor)) * weight),
            Goal::MaxQualityLoss { versus, by } => {
                let reference = table.tiers.iter().position(|tier| &tier.name == versus)?;
                Self::Floor(table.single(reference, rows).quality - i128::from(quality_units(*by)) * weight)
            }
            Goal::ShadowPrice(price) => Self::Price(*price),
            Goal::MaxQuality => Self::Price(0.0),
        })
    }

    /// By how much totals miss the constraint; 0 or less where they keep it.
    pub fn missing(self, totals: Totals) -> i128 {
        match self {
            Self::Budget(limit) => totals.cost - limit,
            Self::Floor(floor) => floor - totals.quality,
            Self::Price(_) => 0,
        }
    }

    /// Whether totals keep the constraint.
    pub fn is_met(self, totals: Totals) -> bool {
        self.missing(totals) <= 0
    }
}

/// The Lagrangian of an objective: value = quality · `quality` − cost · `cost` − Σ `over` · 1{limit exceeded}, per row.
///
/// Quality and cost share the unit 10⁻¹², so λ in quality per dollar applies to the integers as it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Multipliers {
    /// Weight of quality: 1, or 0 where the quality floor is slack.
    pub quality: f64,
    /// Weight of cost: λ, or 1 where the quality floor is slack.
    pub cost: f64,
    /// Weight of exceeding each limit, in quality (in US dollars where the quality floor is slack).
    pub over: [f64; MOST],
}

impl Multipliers {
    /// The multipliers at the optimum on a concave hull (vertices cheapest first), by the slope of the edge that holds
    /// the target (MATH.md 4). A slack budget gives λ = 0; a slack floor makes cost all that counts.
    pub fn at(target: Target, hull: &[Totals]) -> Self {
        let slope = |left: Totals, right: Totals| {
            (right.quality - left.quality) as f64 / (right.cost - left.cost) as f64
        };
        let edge = |inside: &dyn Fn(Totals) -> bool| {
            hull.windows(2).find(|edge| inside(edge[1])).map(|edge| slope(edge[0], edge[1]))
        };
        match target {
            Target::Price(price) => Self { quality: 1.0, cost: price, over: [0.0; MOST] },
            Target::Budget(limit) => Self {
                quality: 1.0,
                cost: edge(&|right| right.cost > limit).unwrap_or(0.0),
                over: [0.0; MOST],
            },
            Target::Floor(floor) if hull.first().is_none_or(|cheapest| cheapest.quality >= floor) => {
                Self { quality: 0.0, cost: 1.0, over: [0.0; MOST] }
            }
            Target::Floor(floor) => {
                let steepest_end = hull.windows(2).last().map(|edge| slope(edge[0], edge[1]));
                let price = edge(&|right| right.quality >= floor).or(steepest_end).unwrap_or(0.0);
                Self { quality: 1.0, cost: price, over: [0.0; MOST] }
            }
        }
    }

    /// The Lagrangian value of one row or of totals, in quality units of 1, without the limits.
    pub fn value(self, quality: f64, cost: f64) -> f64 {
        (self.quality * quality - self.cost * cost) / QUALITY_ONE as f64
    }

    /// The Lagrangian value of one row that exceeds the limits that `over` says.
    pub fn row_value(self, quality: i64, cost: i64, over: Over) -> f64 {
        self.value_of(Sums { quality: quality.into(), cost: cost.into(), over })
    }

    /// The Lagrangian value of sums.
    pub fn value_of(self, sums: Sums) -> f64 {
        let tails: f64 = self.over.iter().zip(&sums.over).map(|(weight, &over)| weight * over as f64).sum();
        self.value(sums.quality as f64, sums.cost as f64) - tails
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HULL: [Totals; 3] =
        [Totals { cost: 0, quality: 0 }, Totals { cost: 10, quality: 40 }, Totals { cost: 30, quality: 60 }];

    #[test]
    fn multipliers_are_the_slopes_of_the_binding_edge() {
        for (target, quality, cost) in [
            (Target::Budget(5), 1.0, 4.0),
            (Target::Budget(10), 1.0, 1.0),
            (Target::Budget(99), 1.0, 0.0),
            (Target::Floor(-1), 0.0, 1.0),
            (Target::Floor(40), 1.0, 4.0),
            (Target::Floor(41), 1.0, 1.0),
            (Target::Floor(99), 1.0, 1.0),
            (Target::Price(2.5), 1.0, 2.5),
        ] {
            let expected = Multipliers { quality, cost, over: [0.0; MOST] };
            assert_eq!(Multipliers::at(target, &HULL), expected, "{target:?}");
        }
    }
}
