//! The whole hull of a surface by chord recursion (MATH.md 6.2), on ever smaller parts of it.
//!
//! Between two prices, the value of a first cut is a convex function of the price, so the line through its values at
//! both ends bounds it from above. First cuts whose bound stays below what is known already cannot hold a vertex and
//! are left out; and since a lower price never shortens the best prefix, the second cuts are bounded on both sides.

use super::surface::{Peak, Price, Surface, Vertex};
use super::units::Units;
use crate::fit::frontier::hull;
use crate::fit::rows::table::Totals;

/// What exploring a surface found out.
#[derive(Clone, Debug, Default)]
pub(super) struct Explored {
    /// Policies among which are all vertices of the surface's hull that lie above the roof.
    pub(super) vertices: Vec<Vertex>,
    /// For some prices, the highest value of quality − λ · cost on the surface: no policy lies above these lines.
    pub(super) tangents: Vec<Tangent>,
}

/// A line that no policy of a surface lies above.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tangent {
    pub(super) price: Price,
    /// Its height at cost 0, in units.
    pub(super) height: f64,
}

/// A concave curve that is known to be reached: what lies below it is of no interest.
#[derive(Clone, Debug, Default)]
pub(super) struct Roof {
    /// Cost and quality in units, cheapest first.
    corners: Vec<(f64, f64)>,
}

/// Share of an amount that floats may be wrong by.
pub(super) const SLACK: f64 = 1e-12;

impl Roof {
    pub(super) fn new(hull: impl Iterator<Item = Totals>, units: Units) -> Self {
        Self { corners: hull.map(|totals| units.floats(totals)).collect() }
    }

    /// The curve at a cost.
    fn height(&self, cost: f64) -> f64 {
        let right = self.corners.partition_point(|corner| corner.0 <= cost);
        match (right.checked_sub(1).and_then(|left| self.corners.get(left)), self.corners.get(right)) {
            (None, _) => f64::NEG_INFINITY,
            (Some(last), None) => last.1,
            (Some(left), Some(right)) => left.1 + (right.1 - left.1) * (cost - left.0) / (right.0 - left.0),
        }
    }

    /// Whether all that can lie between two tangent points is below the curve: the triangle of both points and the
    /// crossing of their tangents.
    fn covers(&self, left: &End, right: &End) -> bool {
        let (left_at, right_at) = (left.point(), right.point());
        let steepness = left.price - right.price;
        if steepness <= 0.0 {
            return false;
        }
        let cost = (right_at.1 - left_at.1 + left.price * left_at.0 - right.price * right_at.0) / steepness;
        let crossing = (cost, right_at.1 - right.price * (right_at.0 - cost));
        let below = |point: (f64, f64), margin: f64| point.1 + margin * point.1.abs() <= self.height(point.0);
        below(left_at, -SLACK) && below(right_at, -SLACK) && below(crossing, SLACK)
    }
}

/// One end of an interval of prices.
#[derive(Clone, Debug)]
struct End {
    price: f64,
    vertex: Vertex,
    /// Of each first cut of the part.
    peaks: Vec<Peak>,
}

impl End {
    fn point(&self) -> (f64, f64) {
        (self.vertex.sums.cost as f64, self.vertex.sums.quality as f64)
    }

    fn value(&self, price: f64) -> f64 {
        let (cost, quality) = self.point();
        quality - price * cost
    }
}

/// A part of the surface between two vertices; the left one is cheaper and belongs to the higher price.
struct Interval {
    part: Surface,
    left: End,
    right: End,
}

/// Finds the vertices of the hull that lie above the roof.
pub(super) fn explore(surface: Surface, roof: &Roof) -> Explored {
    let mut explored = Explored::default();
    let [dear, cheap] = surface.extreme_prices();
    let Some([left, right]) =
        explored.end(&surface, dear).zip(explored.end(&surface, cheap)).map(<[End; 2]>::from)
    else {
        return explored;
    };
    let mut open = vec![Interval { part: surface, left, right }];
    while let Some(interval) = open.pop() {
        explored.divide(&interval, roof, &mut open);
    }
    explored
}

impl Explored {
    fn end(&mut self, surface: &Surface, price: Price) -> Option<End> {
        let (peaks, vertex) = surface.peaks(price, surface.origin());
        let end = End { price: price.float(), vertex: vertex?, peaks };
        self.vertices.push(end.vertex);
        self.tangents.push(Tangent { price, height: end.value(end.price) });
        Some(end)
    }

    /// Looks for a vertex above the chord of an interval and, if there is one, opens both sides.
    fn divide(&mut self, interval: &Interval, roof: &Roof, open: &mut Vec<Interval>) {
        let Interval { part, left, right } = interval;
        let chord = right.vertex.sums - left.vertex.sums;
        if chord.cost <= 0 || chord.quality <= 0 || roof.covers(left, right) {
            return;
        }
        let price = Price { per_cost: chord.quality, per_quality: chord.cost };
        let (peaks, Some(vertex)) = part.peaks(price, left.vertex.sums) else { return };
        let middle = End { price: price.float(), vertex, peaks };
        let height = middle.value(middle.price).max(left.value(middle.price));
        self.tangents.push(Tangent { price, height });
        let [low, mid, high] = [left, &middle, right]
            .map(|end| Totals { quality: end.vertex.sums.quality.into(), cost: end.vertex.sums.cost.into() });
        if hull::compare_to_chord(mid, low, high).is_gt() {
            self.vertices.push(vertex);
            open.extend(narrowed(part, &middle, right));
            open.extend(narrowed(part, left, &middle));
        }
    }
}

/// The part of a surface that can hold a vertex between two tangent points.
fn narrowed(part: &Surface, left: &End, right: &End) -> Option<Interval> {
    let rise = right.vertex.sums - left.vertex.sums;
    if rise.cost <= 0 || rise.quality <= 0 {
        return None;
    }
    let price = rise.quality as f64 / rise.cost as f64;
    let share = ((price - right.price) / (left.price - right.price)).clamp(0.0, 1.0);
    let known = left.value(price);
    let slack = SLACK * (left.point().1.abs() + price * right.point().0.abs());
    let live: Vec<usize> = (0..part.len())
        .filter(|&at| share * left.peaks[at].value + (1.0 - share) * right.peaks[at].value >= known - slack)
        .collect();
    let low = live.iter().map(|&at| left.peaks[at].leaf).min()?;
    let high = live.iter().map(|&at| right.peaks[at].leaf).max()?.max(low);
    let (part, leaf_of) = part.restrict(&live, low, high);
    let end = |end: &End| End {
        price: end.price,
        vertex: end.vertex,
        peaks: live
            .iter()
            .map(|&at| {
                let Peak { value, leaf } = end.peaks[at];
                Peak { value, leaf: leaf_of[(leaf.clamp(low, high) - low) as usize] }
            })
            .collect(),
    };
    Some(Interval { left: end(left), right: end(right), part })
}
