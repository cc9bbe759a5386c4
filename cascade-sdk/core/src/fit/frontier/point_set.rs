//! A finite set of operating points with the three queries of a search: best at a budget, cheapest at a floor, hull.

use crate::fit::frontier::hull::{compare_to_chord, concave};
use crate::fit::rows::table::Totals;

/// Vertices that a family with a router shows of its hull at most: between so many no budget gains from another.
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

    /// The same without vertices that are close to the one before: at most about `most`, evenly spread over the costs, both
    /// ends among them.
    pub fn hull_of_at_most(&self, most: usize) -> impl Iterator<Item = &(Totals, T)> {
        let cost = |at: usize| self.staircase[at].0.cost;
        let (first, last) = (self.hull.first().copied(), self.hull.last().copied());
        let range = first.zip(last).map_or(0, |(first, last)| cost(last) - cost(first));
        let most = most.max(2) as i128;
        let mut before = None;
        let kept = self.hull.iter().copied().filter(move |&at| {
            let cell = first.map(|first| (cost(at) - cost(first)) * (most - 1) / range.max(1));
            let keep = self.hull.len() as i128 <= most || cell != before || Some(at) == last;
            before = if keep { cell } else { before };
            keep
        });
        kept.map(|at| &self.staircase[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hull_of_many_vertices_is_thinned_evenly_between_its_ends() {
        let point = |at: i128| (Totals { cost: at * 10, quality: 2000 * at - at * at }, at);
        let set = PointSet::new((0..1000).map(point).collect());
        assert_eq!(set.hull().count(), 1000);
        let kept: Vec<i128> = set.hull_of_at_most(64).map(|point| point.1).collect();
        assert!(kept.len() <= 64 && kept.len() > 60, "{}", kept.len());
        assert_eq!((kept[0], kept[kept.len() - 1]), (0, 999));
        assert!(kept.windows(2).all(|pair| pair[1] - pair[0] <= 17), "{kept:?}");
        assert_eq!(set.hull_of_at_most(1000).count(), 1000);
        assert_eq!(PointSet::<u8>::new(Vec::new()).hull_of_at_most(64).count(), 0);
    }
}
