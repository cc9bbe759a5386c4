//! A finite set of operating points with the three queries of a search: best at a budget, cheapest at a floor, hull.

use crate::fit::rows::table::Totals;

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
        let hull =
            crate::fit::frontier::hull::concave(&staircase.iter().map(|point| point.0).collect::<Vec<_>>());
        Self { staircase, hull }
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
}
