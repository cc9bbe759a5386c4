//! The exact frontier of a router over λ, without a grid (MATH.md 7).
//!
//! For one row, predicted quality − λ · predicted cost is a line in λ for each plan; the plans that are ever best form
//! the upper hull of the points (predicted cost, predicted quality). All hull edges of all rows, sorted by slope, are the
//! values of λ at which some row changes its plan; running exact sums give the totals between them.

use crate::fit::rows::table::Totals;
use std::cmp::Ordering;
use std::ops::{Add, AddAssign, Sub};

/// What is predicted of one plan for one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prospect {
    /// Predicted quality.
    pub quality: f64,
    /// Predicted cost in US dollars.
    pub cost_usd: f64,
}

/// A λ and what the router does with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SweepPoint<Sums = Totals> {
    /// λ in quality per US dollar, between two values at which a row changes its plan.
    pub shadow_price: f64,
    /// Exact sums over the rows.
    pub totals: Sums,
}

/// Slopes closer than this, relatively, count as one, as do those between which no λ would be safe from rounding.
const SAME_SLOPE: f64 = 1e-12;

/// A λ at which a row changes its plan.
#[derive(Clone, Copy)]
struct Change<Sums> {
    slope: f64,
    /// How far from it a λ must be for the decision function to tell the plans apart: it rounds λ · cost and the difference
    /// from quality, which matters where two plans cost nearly the same.
    blur: f64,
    sums: Sums,
}

/// The frontier, from the highest λ (cheapest plans) to λ = 0 (best plans): O(nk log nk) for n rows of k plans.
///
/// `prospects` and `realised` hold rows × `plans`. Between two points of the result nothing changes, so every deployed
/// λ does on these rows what its point says.
pub fn sweep<Sums>(plans: usize, prospects: &[Prospect], realised: &[Sums]) -> Vec<SweepPoint<Sums>>
where
    Sums: Copy + Default + Add<Output = Sums> + Sub<Output = Sums> + AddAssign,
{
    let mut totals = Sums::default();
    let mut changes: Vec<Change<Sums>> = Vec::new();
    for (prospects, realised) in prospects.chunks_exact(plans).zip(realised.chunks_exact(plans)) {
        let hull = upper_hull(prospects);
        if let Some(&first) = hull.first() {
            totals += realised[first];
        }
        changes.extend(hull.windows(2).map(|edge| {
            let (from, to) = (prospects[edge[0]], prospects[edge[1]]);
            let slope = slope(from, to);
            let largest = to.quality.abs().max(slope * to.cost_usd.abs());
            let blur = 4.0 * f64::EPSILON * largest / (to.cost_usd - from.cost_usd);
            Change { slope, blur, sums: realised[edge[1]] - realised[edge[0]] }
        }));
    }
    changes.sort_by(|a, b| b.slope.total_cmp(&a.slope));
    let mut points =
        vec![SweepPoint { shadow_price: changes.first().map_or(0.0, |first| 2.0 * first.slope), totals }];
    let mut at = 0;
    while let Some(&highest) = changes.get(at) {
        let mut last = highest;
        let is_same = |last: &Change<Sums>, next: &Change<Sums>| {
            last.slope - next.slope <= (last.slope * SAME_SLOPE).max(last.blur).max(next.blur)
        };
        while let Some(&next) = changes.get(at).filter(|next| is_same(&last, next)) {
            last = next;
            totals += next.sums;
            at += 1;
        }
        let shadow_price = changes.get(at).map_or(0.0, |next| f64::midpoint(last.slope, next.slope));
        points.push(SweepPoint { shadow_price, totals });
    }
    points
}

fn slope(from: Prospect, to: Prospect) -> f64 {
    (to.quality - from.quality) / (to.cost_usd - from.cost_usd)
}

/// The plans that are best for some λ ≥ 0, cheapest first; of equal plans the first.
fn upper_hull(prospects: &[Prospect]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..prospects.len()).collect();
    order.sort_by(|&a, &b| {
        let (x, y) = (prospects[a], prospects[b]);
        x.cost_usd.total_cmp(&y.cost_usd).then(y.quality.total_cmp(&x.quality)).then(a.cmp(&b))
    });
    let mut hull: Vec<usize> = Vec::with_capacity(order.len());
    for next in order {
        if hull.last().is_some_and(|&last| {
            prospects[next].quality.partial_cmp(&prospects[last].quality) != Some(Ordering::Greater)
        }) {
            continue;
        }
        while let [.., before, last] = hull[..]
            && slope(prospects[before], prospects[last]) <= slope(prospects[last], prospects[next])
        {
            hull.pop();
        }
        hull.push(next);
    }
    hull
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::argmax;
    use proptest::prelude::*;

    fn realised(raw: &[(u8, u8)]) -> Vec<Totals> {
        raw.iter().map(|&(quality, cost)| Totals { quality: quality.into(), cost: cost.into() }).collect()
    }

    /// A number of plans, and for each plan of some rows what is predicted and what happens.
    fn cases(least: usize) -> impl Strategy<Value = (usize, Vec<Prospect>, Vec<Totals>)> {
        let row = (0_u8..12, 0_u8..6, any::<(u8, u8)>());
        (1_usize..5, prop::collection::vec(row, least..80)).prop_map(|(plans, mut raw)| {
            raw.truncate(raw.len() / plans * plans);
            let prospect = |&(quality, cost, _): &(u8, u8, _)| Prospect {
                quality: f64::from(quality) / 12.0,
                cost_usd: f64::from(cost) * 1e-4,
            };
            let happened: Vec<(u8, u8)> = raw.iter().map(|row| row.2).collect();
            (plans, raw.iter().map(prospect).collect(), realised(&happened))
        })
    }

    /// What the argmax of the decision function does with a λ.
    fn direct(plans: usize, prospects: &[Prospect], realised: &[Totals], shadow_price: f64) -> Totals {
        let mut sum = Totals::default();
        for (prospects, realised) in prospects.chunks_exact(plans).zip(realised.chunks_exact(plans)) {
            sum += realised[argmax(shadow_price, prospects.iter().map(|p| (p.quality, p.cost_usd)))];
        }
        sum
    }

    /// One λ in each interval in which no row can change its plan.
    fn between_all_ties(plans: usize, prospects: &[Prospect]) -> Vec<f64> {
        let mut ties = vec![0.0];
        for row in prospects.chunks_exact(plans) {
            for (at, a) in row.iter().enumerate() {
                ties.extend(
                    row[at + 1..].iter().map(|b| slope(*a, *b)).filter(|tie| tie.is_finite() && *tie > 0.0),
                );
            }
        }
        ties.sort_by(f64::total_cmp);
        ties.dedup_by(|next, last| *next - *last <= 1e-9 * *next);
        let past_the_last = ties.last().map_or(1.0, |last| 2.0 * last + 1.0);
        ties.windows(2).map(|pair| f64::midpoint(pair[0], pair[1])).chain([past_the_last]).collect()
    }

    proptest! {
        #[test]
        fn every_point_is_what_the_decision_function_does(
            (plans, prospects, realised) in cases(0),
        ) {
            let points = sweep(plans, &prospects, &realised);
            for point in &points {
                prop_assert_eq!(point.totals, direct(plans, &prospects, &realised, point.shadow_price));
            }
            for pair in points.windows(2) {
                prop_assert!(pair[0].shadow_price > pair[1].shadow_price);
            }
            // No λ between two values at which any two plans of a row are equal yields anything that the sweep does not list.
            for shadow_price in between_all_ties(plans, &prospects) {
                let totals = direct(plans, &prospects, &realised, shadow_price);
                prop_assert!(points.iter().any(|point| point.totals == totals), "{}", shadow_price);
            }
        }
    }

    proptest! {
        /// MATH.md 13, 9: λ beyond all changes runs the cheapest plan of each row, λ = 0 the best one.
        #[test]
        fn ends_are_cheapest_and_best_for_every_row(
            (plans, prospects, realised) in cases(1),
        ) {
            let points = sweep(plans, &prospects, &realised);
            let pick = |key: fn(Prospect) -> (f64, f64)| {
                let mut sum = Totals::default();
                for (prospects, realised) in prospects.chunks_exact(plans).zip(realised.chunks_exact(plans)) {
                    let best = (0..plans)
                        .reduce(|a, b| if key(prospects[b]) < key(prospects[a]) { b } else { a })
                        .unwrap();
                    sum += realised[best];
                }
                sum
            };
            prop_assert_eq!(points.first().unwrap().totals, pick(|p| (p.cost_usd, -p.quality)));
            prop_assert_eq!(points.last().unwrap().totals, pick(|p| (-p.quality, p.cost_usd)));
        }
    }

    /// Plans that cost nearly the same: a λ between two changes can be closer to them than the decision function can tell.
    #[test]
    fn changes_that_rounding_blurs_are_one() {
        let mut random = crate::fit::random::SplitMix64::new(3, 1);
        for _ in 0..500 {
            let prospects: Vec<Prospect> = (0..20)
                .flat_map(|_| {
                    let (cost, quality) = (0.5 + random.fraction(), 0.2 + 0.5 * random.fraction());
                    let near = 1e-11 * (1.0 + random.fraction());
                    [(quality, cost), (quality + 3.0 * near * (1.0 + 1e-6 * random.fraction()), cost + near)]
                })
                .map(|(quality, cost_usd)| Prospect { quality, cost_usd })
                .collect();
            let sums: Vec<Totals> =
                (0..40_i128).map(|at| Totals { quality: 1 << at, cost: at % 2 }).collect();
            for point in sweep(2, &prospects, &sums) {
                assert_eq!(point.totals, direct(2, &prospects, &sums, point.shadow_price));
            }
        }
    }

    #[test]
    fn the_ends_are_the_cheapest_and_the_best() {
        let prospects = [
            Prospect { quality: 0.2, cost_usd: 1.0 },
            Prospect { quality: 0.9, cost_usd: 3.0 },
            Prospect { quality: 0.9, cost_usd: 5.0 },
        ];
        let realised = realised(&[(0, 1), (1, 3), (1, 5)]);
        let points = sweep(3, &prospects, &realised);
        assert_eq!(points.len(), 2);
        assert_eq!(points[0].totals, realised[0]);
        assert_eq!(points[1], SweepPoint { shadow_price: 0.0, totals: realised[1] });
        assert!((points[0].shadow_price - 0.7).abs() < 1e-12);
    }
}
