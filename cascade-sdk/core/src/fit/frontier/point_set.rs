//! A finite set of operating points with the three queries of a search: best at a budget, cheapest at a floor, hull.

use crate::fit::frontier::hull::{compare_to_chord, concave};
use crate::fit::rows::table::Totals;
use std::collections::BTreeSet;

/// Vertices that a family with a router shows of its hull at most. Only what is listed is thinned: prices, budgets and
/// floors are answered from the whole hull.
pub const MOST_VERTICES: usize = 64;

/// Points with something attached, such as the rule that reaches them.
#[derive(Clone, Debug)]
pub struct PointSet<T> {
    /// The staircase: cheapest first, quality strictly increasing; dominated points are gone.
    staircase: Vec<(Totals, T)>,
    /// Indices into the staircase of the vertices of the least concave majorant.
    hull: Vec<usize>,
}

impl<T> PointSet<T> {
    /// Keeps the points that no other point dominates; of equal points the first.
    pub fn new(mut points: Vec<(Totals, T)>) -> Self {
        points.sort_by(|a, b| a.0.cost.cmp(&b.0.cost).then(b.0.quality.cmp(&a.0.quality)));
        let mut staircase: Vec<(Totals, T)> = Vec::new();
        for point in points {
            if staircase.last().is_none_or(|last| point.0.quality > last.0.quality) {
                staircase.push(point);
            }
        }
        let hull = concave(&staircase.iter().map(|point| point.0).collect::<Vec<_>>());
        Self { staircase, hull }
    }

    /// These points and vertices that `search` finds by chord recursion (MATH.md 4), the steepest edge first, in at most
    /// `most` searches besides the one for the top. `search` gives the optimum at a price: quality per US dollar.
    pub fn explored(
        mut points: Vec<(Totals, T)>,
        most: usize,
        search: impl Fn(f64) -> Option<(Totals, T)>,
    ) -> Self
    where
        T: Clone,
    {
        // First of all the top: without it the edge that leads there would never be looked at.
        points.extend(search(0.0));
        let mut settled: Vec<(Totals, Totals)> = Vec::new();
        for _ in 0..most {
            let set = Self::new(points.clone());
            let hull: Vec<Totals> = set.hull().map(|point| point.0).collect();
            let mut edges = hull.windows(2).map(|edge| (edge[0], edge[1]));
            let Some(edge) = edges.find(|edge| !settled.contains(edge)) else { break };
            let slope = (edge.1.quality - edge.0.quality) as f64 / (edge.1.cost - edge.0.cost) as f64;
            match search(slope) {
                Some(better) if compare_to_chord(better.0, edge.0, edge.1).is_gt() => points.push(better),
                _ => settled.push(edge),
            }
        }
        Self::new(points)
    }

    /// The best quality at a total cost of at most `cost`.
    pub fn at_budget(&self, cost: i128) -> Option<&(Totals, T)> {
        let after = self.staircase.partition_point(|point| point.0.cost <= cost);
        after.checked_sub(1).and_then(|at| self.staircase.get(at))
    }

    /// The lowest cost at a total quality of at least `quality`.
    pub fn at_floor(&self, quality: i128) -> Option<&(Totals, T)> {
        self.staircase.get(self.staircase.partition_point(|point| point.0.quality < quality))
    }

    /// The points that no other dominates: cheapest first, quality strictly increasing.
    pub fn staircase(&self) -> &[(Totals, T)] {
        &self.staircase
    }

    /// The vertices of the least concave majorant, cheapest first.
    pub fn hull(&self) -> impl Iterator<Item = &(Totals, T)> {
        self.hull.iter().map(|&at| &self.staircase[at])
    }

    /// At most `most` of them (at least two), both ends among them: again and again the vertex that stands highest above
    /// the chord of those kept beside it is kept as well.
    pub fn hull_of_at_most(&self, most: usize) -> impl Iterator<Item = &(Totals, T)> {
        let totals = |place: usize| self.staircase[self.hull[place]].0;
        let highest = |left: usize, right: usize| {
            let (from, to) = (totals(left), totals(right));
            let slope = (to.quality - from.quality) as f64 / (to.cost - from.cost) as f64;
            let height = |place: usize| {
                let vertex = totals(place);
                (vertex.quality - from.quality) as f64 - slope * (vertex.cost - from.cost) as f64
            };
            let heights = (left + 1..right).map(|place| (height(place), place));
            heights.reduce(|best, next| if next.0 > best.0 { next } else { best })
        };
        let mut kept = BTreeSet::new();
        let mut open: Vec<((f64, usize), [usize; 2])> = Vec::new();
        if let Some(last) = self.hull.len().checked_sub(1) {
            kept.extend([0, last]);
            open.extend(highest(0, last).map(|vertex| (vertex, [0, last])));
        }
        while kept.len() < most {
            let tallest = (0..open.len())
                .reduce(|best, next| if open[next].0.0 > open[best].0.0 { next } else { best });
            let Some(((_, vertex), [left, right])) = tallest.map(|at| open.swap_remove(at)) else { break };
            kept.insert(vertex);
            for edge in [[left, vertex], [vertex, right]] {
                open.extend(highest(edge[0], edge[1]).map(|vertex| (vertex, edge)));
            }
        }
        let vertices = self.hull.iter().enumerate().filter(move |(place, _)| kept.contains(place));
        vertices.map(|(_, &at)| &self.staircase[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        /// MATH.md 4: the hull of everything needs the hulls of the parts only.
        #[test]
        fn the_hull_of_a_union_is_that_of_the_hulls(
            parts in prop::collection::vec(prop::collection::vec((0..40_i128, 0..40_i128), 0..25), 1..5),
        ) {
            let points = |part: &[(i128, i128)]| -> Vec<(Totals, ())> {
                part.iter().map(|&(cost, quality)| (Totals { quality, cost }, ())).collect()
            };
            let hull = |points: Vec<(Totals, ())>| -> Vec<Totals> {
                PointSet::new(points).hull().map(|point| point.0).collect()
            };
            let whole = hull(points(&parts.concat()));
            let of_hulls = parts.iter().flat_map(|part| hull(points(part))).map(|totals| (totals, ())).collect();
            prop_assert_eq!(whole, hull(of_hulls));
        }
    }

    #[test]
    fn a_hull_of_many_vertices_is_thinned_where_it_loses_least() {
        let point = |at: i128| (Totals { cost: at * 10, quality: 2000 * at - at * at }, at);
        let set = PointSet::new((0..1000).map(point).collect());
        assert_eq!(set.hull().count(), 1000);
        let kept: Vec<i128> = set.hull_of_at_most(64).map(|point| point.1).collect();
        assert_eq!(kept.len(), 64);
        assert_eq!((kept[0], kept[kept.len() - 1]), (0, 999));
        // Halved again and again: one stretch is still twice as long as the others.
        let wide = kept.windows(2).filter(|pair| pair[1] - pair[0] > 17).count();
        assert!(wide <= 1 && kept.windows(2).all(|pair| pair[1] - pair[0] <= 32), "{kept:?}");
        assert_eq!(set.hull_of_at_most(1000).count(), 1000);
        assert_eq!(PointSet::<u8>::new(Vec::new()).hull_of_at_most(64).count(), 0);
        assert_eq!(PointSet::new(vec![point(3)]).hull_of_at_most(64).count(), 1);
    }

    #[test]
    fn thinning_keeps_the_bend_of_uneven_costs() {
        // From 1 to 2 quality rises from .5 to .8, from there to 100 by .02: whatever the spread of costs, 2 is the bend.
        let mut points: Vec<(Totals, i128)> = (0..=100)
            .map(|at| (Totals { cost: 1_000 + 10 * at, quality: 500_000 + 3_000 * at - at * at / 8 }, at))
            .collect();
        let bend = points[100].0.quality;
        points.extend(
            (1..=98).map(|at| {
                (Totals { cost: 2_000 + 1_000 * at, quality: bend + 400 * at - at * at }, 100 + at)
            }),
        );
        let set = PointSet::new(points);
        assert!(set.hull().count() > 64);
        assert!(set.hull_of_at_most(64).any(|point| point.1 == 100));
        assert!(set.hull_of_at_most(3).any(|point| point.1 == 100));
    }
}
