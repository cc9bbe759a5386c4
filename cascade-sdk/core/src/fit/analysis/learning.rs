//! The learning curve: what each family, fitted on parts of the calibration rows, is worth on the held-out rows.
//!
//! Parts are made of whole groups and do not overlap, so that the spread between parts of one size is that of the rows.
//! Held-out rows measure every part alike and choose nothing.

use crate::config::Family;
use crate::fit::FitError;
use crate::fit::analysis::combined;
use crate::fit::families::{self, Pool};
use crate::fit::frontier::curves::{self, Budgets};
use crate::fit::inference::crossfit;
use crate::fit::report::{LearningArea, LearningPoint};
use crate::hash::Hasher;
use std::collections::{BTreeMap, BTreeSet};

/// Parts of the calibration rows: one in so many.
const DIVISORS: [usize; 4] = [16, 8, 4, 2];

/// Most parts of one size that are fitted.
const PARTS: usize = 3;

/// Fewest rows of a part: with fewer no family is more than noise.
const LEAST_ROWS: usize = 30;

/// What the curve is made of.
#[derive(Clone, Copy, Debug)]
pub(in crate::fit) struct Setting<'a> {
    pub(in crate::fit) pool: Pool<'a>,
    pub(in crate::fit) calibration: &'a [u32],
    pub(in crate::fit) test: &'a [u32],
    /// Names of groups; groups of one name stay on one side.
    pub(in crate::fit) names: &'a [String],
    pub(in crate::fit) seed: u64,
}

impl Setting<'_> {
    /// The curve, fewest rows first. `whole` holds the areas of the families that were fitted on all calibration rows.
    pub(in crate::fit) fn curve(&self, whole: &[(Family, f64)]) -> Result<Vec<LearningPoint>, FitError> {
        let mut points = Vec::new();
        for divisor in DIVISORS {
            let parts = self.parts(divisor);
            if parts.iter().any(|part| part.len() < LEAST_ROWS) {
                continue;
            }
            let mut areas: BTreeMap<Family, Vec<f64>> = BTreeMap::new();
            for part in &parts {
                for (family, area) in self.areas(part, whole)? {
                    areas.entry(family).or_default().push(area);
                }
            }
            let rows = parts.iter().map(Vec::len).sum::<usize>() / parts.len().max(1);
            points.push(point(rows, parts.len(), areas));
        }
        let areas = whole.iter().map(|&(family, area)| (family, vec![area])).collect();
        points.push(point(self.calibration.len(), 1, areas));
        Ok(points)
    }

    /// Up to [`PARTS`] parts of one in `divisor` of the calibration rows, by a seeded hash of the groups' names.
    fn parts(&self, divisor: usize) -> Vec<Vec<u32>> {
        let name = |row: u32| {
            let group = self.pool.table.group[row as usize] as usize;
            self.names.get(group).map_or("", String::as_str)
        };
        let present: BTreeSet<&str> = self.calibration.iter().map(|&row| name(row)).collect();
        let mut keyed: Vec<([u8; 32], &str)> = present
            .into_iter()
            .map(|name| {
                (Hasher::new().part("learning").part(self.seed.to_le_bytes()).part(name).bytes(), name)
            })
            .collect();
        keyed.sort_unstable();
        let part_of: BTreeMap<&str, usize> = keyed
            .iter()
            .enumerate()
            .map(|(place, &(_, name))| (name, place * divisor / keyed.len()))
            .collect();
        let mut parts = vec![Vec::new(); PARTS.min(divisor)];
        for &row in self.calibration {
            if let Some(part) = part_of.get(name(row)).and_then(|&at| parts.get_mut(at)) {
                part.push(row);
            }
        }
        parts
    }

    /// What families fitted on a part are worth.
    fn areas(&self, part: &[u32], whole: &[(Family, f64)]) -> Result<Vec<(Family, f64)>, FitError> {
        // Combined signals too know only the part.
        let table = &combined::refitted(self.pool.table, part);
        let pool = Pool { table, ..self.pool };
        let folds = crossfit::folds(table, part, self.names, self.seed);
        let budgets = Budgets::new(table, self.calibration).on(table, part);
        let mut router = None;
        let mut areas = Vec::new();
        for &(family, _) in whole {
            let Some(fitted) = families::fit(&pool, family, part, &folds, router.as_ref()) else {
                continue;
            };
            if router.is_none() {
                router = fitted.router_fit().cloned();
            }
            if fitted.hull().is_empty() {
                continue;
            }
            let curve = curves::measure(&*fitted, self.pool.log, table, self.test, &budgets)?;
            areas.push((family, curve.area_hull));
        }
        Ok(areas)
    }
}

fn point(rows: usize, parts: usize, areas: BTreeMap<Family, Vec<f64>>) -> LearningPoint {
    let areas = areas
        .into_iter()
        .map(|(family, areas)| {
            let range = areas.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], &area| {
                [low.min(area), high.max(area)]
            });
            let mean = areas.iter().sum::<f64>() / areas.len().max(1) as f64;
            (family.name(), LearningArea { area_hull: mean, range })
        })
        .collect();
    LearningPoint { rows, parts, areas }
}
