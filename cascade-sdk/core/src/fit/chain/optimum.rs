//! The exact deterministic optimum of a surface at a budget or a quality floor (MATH.md 6.2).
//!
//! A tangent bounds what a surface can reach, so most surfaces need no search at all; in the others, the values of the
//! first cuts at the price of the tightest tangent leave few of them to search.

use super::explore::{Explored, SLACK, Tangent};
use super::surface::{Surface, Vertex};
use super::units::Units;
use crate::fit::rows::table::Totals;

/// A constraint on total cost or total quality, and the best policy that is known to keep it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    pub(super) units: Units,
    pub(super) constraint: Constraint,
    pub(super) known: Option<Totals>,
}

/// One of the two constrained problems, in the units of the table.
#[derive(Clone, Copy, Debug)]
pub(super) enum Constraint {
    Budget(i128),
    Floor(i128),
}

impl Search {
    /// How good a surface can be under a tangent: the highest quality within the budget, or the negative of the
    /// lowest cost above the floor. The second number is what floats may have added or lost.
    fn bound(&self, price: f64, height: f64) -> (f64, f64) {
        match self.constraint {
            Constraint::Budget(limit) => {
                let more = price * self.units.floats(Totals { cost: limit, quality: 0 }).0;
                (height + more, SLACK * (height.abs() + more.abs()))
            }
            Constraint::Floor(floor) => {
                let (_, floor) = self.units.floats(Totals { cost: 0, quality: floor });
                ((height - floor) / price, SLACK * (height.abs() + floor.abs()) / price)
            }
        }
    }

    /// Whether totals keep the constraint and are better than what is known.
    pub(super) fn improves(&self, totals: Totals) -> bool {
        let rank = |totals: Totals| match self.constraint {
            Constraint::Budget(_) => (totals.quality, -totals.cost),
            Constraint::Floor(_) => (-totals.cost, totals.quality),
        };
        let keeps = match self.constraint {
            Constraint::Budget(limit) => totals.cost <= limit,
            Constraint::Floor(floor) => totals.quality >= floor,
        };
        keeps && self.known.is_none_or(|known| rank(totals) > rank(known))
    }

    /// The known policy on the same scale.
    pub(super) fn reached(&self) -> f64 {
        let Some(known) = self.known else { return f64::NEG_INFINITY };
        let (cost, quality) = self.units.floats(known);
        match self.constraint {
            Constraint::Budget(_) => quality,
            Constraint::Floor(_) => -cost,
        }
    }

    /// The tangent that allows least, if even that allows more than is known.
    pub(super) fn tightest(&self, explored: &Explored) -> Option<(Tangent, f64)> {
        let bounds = explored.tangents.iter().map(|&tangent| {
            let (bound, slack) = self.bound(tangent.price.float(), tangent.height);
            (tangent, bound + slack)
        });
        bounds
            .reduce(|least, next| if next.1 < least.1 { next } else { least })
            .filter(|least| least.1 >= self.reached())
    }

    /// The optimum of a surface if it can be as good as what is known.
    pub(super) fn solve(&self, surface: &Surface, tangent: Tangent) -> Option<Vertex> {
        let (peaks, _) = surface.peaks(tangent.price, surface.origin());
        let (price, reached) = (tangent.price.float(), self.reached());
        let live: Vec<usize> = (0..surface.len())
            .filter(|&at| {
                let (bound, slack) = self.bound(price, peaks[at].value);
                bound + slack >= reached
            })
            .collect();
        if live.is_empty() {
            return None;
        }
        let last = u32::try_from(surface.leaves() - 1).unwrap_or(u32::MAX);
        let (part, _) = surface.restrict(&live, 0, last);
        match self.constraint {
            Constraint::Budget(limit) => part.at_budget(self.units.cost_below(limit)),
            Constraint::Floor(floor) => part.at_floor(self.units.quality_above(floor)),
        }
    }
}
