//! Every family fitted, and the choice of one of them, on calibration rows alone (MATH.md 11).

use super::FitError;
use super::families::{self, Pool};
use super::family::FittedFamily;
use super::limits::NO_LIMITS;
use super::objective::Target;
use super::protocol::Fit;
use super::setup::Setup;
use crate::config::Family;
use crate::fit::analysis::combined;
use crate::fit::frontier::curves::{self, Budgets};
use crate::fit::inference::crossfit::{self, Rival, Scored, Standing};
use crate::fit::inference::simulate::Outcomes;
use crate::fit::rows::table::Totals;

/// What calibration rows say about the families.
pub(super) struct Selection {
    /// The chosen one; `None` if none keeps the constraint.
    pub(super) family: Option<Family>,
    pub(super) standings: Vec<Standing>,
    pub(super) rival: Option<Rival>,
}

impl Setup<'_> {
    /// Every family on all calibration rows, at the objective, with its figures on held-out rows.
    pub(super) fn fit_all(&self, folds: &[u8]) -> Result<Vec<Fit<'_>>, FitError> {
        let (log, table) = (self.input.log, &self.table);
        let target = self.target(&self.calibration);
        let budgets = Budgets::new(table, &self.calibration);
        let mut fits = Vec::new();
        for family in families::tried(&self.route.fit) {
            let known = fits.iter().find_map(|fit: &Fit<'_>| fit.fitted.router_fit());
            let Some(mut fitted) = families::fit(&self.pool(), family, &self.calibration, folds, known)
            else {
                continue;
            };
            let solved = fitted.solve(target);
            let feasible = solved.is_some();
            let mut hull = fitted.hull();
            if hull.is_empty() && !self.limits.is_empty() {
                // No member keeps the limits: the family is shown as it is without them, and is not feasible.
                let pool = Pool { limits: &NO_LIMITS, ..self.pool() };
                let Some(free) = families::fit(&pool, family, &self.calibration, folds, known) else {
                    continue;
                };
                fitted = free;
                hull = fitted.hull();
            }
            let nearest = if matches!(target, Target::Floor(_)) { hull.last() } else { hull.first() };
            let Some(chosen) = solved.or_else(|| nearest.cloned()) else { continue };
            let rules = fitted.rules(&chosen);
            let outcomes = Outcomes::of(&rules, log, table, &self.test)?;
            // The learning curve ends at these.
            let measured = self.input.options.details || self.input.options.learning_curve;
            let curve = if self.test.is_empty() || !measured {
                None
            } else {
                Some(curves::measure(&*fitted, log, table, &self.test, &budgets)?)
            };
            fits.push(Fit {
                family,
                fitted,
                chosen,
                feasible,
                curve,
                outcomes,
                rules,
                guard: None,
                early: None,
                totals_with_stops: None,
            });
        }
        Ok(fits)
    }

    /// Cross-fits the feasible families and chooses one of them.
    pub(super) fn select(&self, fits: &[Fit<'_>], folds: &[u8]) -> Result<Selection, FitError> {
        // The full chain is a member of the larger classes and is shown because people start there.
        let candidates: Vec<&Fit<'_>> =
            fits.iter().filter(|fit| fit.feasible && fit.family != Family::FullChain).collect();
        let last_fold = folds.iter().copied().max().unwrap_or(0);
        if last_fold == 0 {
            // One group: nothing can be cross-fitted, so the simplest family stands.
            let family = candidates.first().map(|fit| fit.family);
            return Ok(Selection { family, standings: Vec::new(), rival: None });
        }
        let mut values: Vec<Vec<f64>> = vec![vec![0.0; self.calibration.len()]; candidates.len()];
        for fold in 0..=last_fold {
            let (mut train, mut train_folds, mut held, mut places) =
                (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            for (place, (&row, &row_fold)) in self.calibration.iter().zip(folds).enumerate() {
                if row_fold == fold {
                    held.push(row);
                    places.push(place);
                } else {
                    train.push(row);
                    train_folds.push(row_fold);
                }
            }
            let target = self.target(&train);
            let table = combined::refitted(&self.table, &train);
            let pool = Pool { table: &table, ..self.pool() };
            let mut fitted: Vec<Option<Box<dyn FittedFamily + '_>>> = Vec::new();
            for Fit { family, fitted: whole, .. } in &candidates {
                let known = fitted.iter().flatten().find_map(|other| other.router_fit());
                let again = families::refit(&pool, *family, &**whole, &train, &train_folds, known);
                fitted.push(again);
            }
            let multipliers = self.multipliers(&table, &train, || union_hull(&fitted));
            for (values, fitted) in values.iter_mut().zip(&fitted) {
                let Some(fitted) = fitted else { continue };
                let hull = fitted.hull();
                let nearest = if matches!(target, Target::Floor(_)) { hull.last() } else { hull.first() };
                let Some(chosen) = fitted.solve(target).or_else(|| nearest.cloned()) else { continue };
                let outcomes = Outcomes::of(&fitted.rules(&chosen), self.input.log, &self.table, &held)?;
                for (position, &place) in places.iter().enumerate() {
                    let over = self.limits.over(outcomes.cost[position], outcomes.latency_ms[position]);
                    values[place] =
                        multipliers.row_value(outcomes.quality[position], outcomes.cost[position], over);
                }
            }
        }
        let scored: Vec<Scored> = candidates
            .iter()
            .zip(values)
            .map(|(fit, values)| Scored { family: fit.family, values })
            .collect();
        let (family, standings) = crossfit::choose(&self.table, &self.calibration, &scored);
        let rival =
            family.and_then(|family| crossfit::rival(&self.table, &self.calibration, &scored, family));
        Ok(Selection { family, standings, rival })
    }
}

/// The hull of everything the fitted families can do.
fn union_hull(fitted: &[Option<Box<dyn FittedFamily + '_>>]) -> Vec<Totals> {
    let points =
        fitted.iter().flatten().flat_map(|family| family.hull()).map(|candidate| (candidate.totals, ()));
    crate::fit::frontier::point_set::PointSet::new(points.collect()).hull().map(|point| point.0).collect()
}
