//! Whether a routed cascade is as good as what it contains, as fits without each fold show it.
//!
//! A union is chosen from by figures of the rows of the fit, where its chains are the luckiest of many. Where prompts tell
//! nearly everything, cascades then displace the router at prices at which it is better, and on unseen rows the union is
//! behind one of its parts. Rows that took no part in a fit tell.

use super::{RoutedCascades, candidate};
use crate::fit::FitError;
use crate::fit::family::{Candidate, FittedFamily};
use crate::fit::frontier::curves::{self, Budgets};
use crate::fit::inference::crossfit::{clustered_error, weighted_mean};
use crate::fit::limits::Limits;
use crate::fit::router::{Data, RouterFit};
use crate::fit::rows::table::Table;

/// What the hull of a routed cascade is made of. Budgets and floors are always answered from everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offer {
    /// Chains, routers and its own rules.
    #[default]
    Everything,
    /// Chains alone.
    Chains,
    /// The router over single tiers alone.
    Router,
}

impl RoutedCascades<'_> {
    /// The hull of a part.
    pub(super) fn offered(&self, offer: Offer) -> Vec<Candidate> {
        match offer {
            Offer::Everything => self.points.hull().map(candidate).collect(),
            Offer::Chains => self.chains.hull().iter().cloned().map(Candidate::from).collect(),
            Offer::Router => self.routed.hull(),
        }
    }

    /// Everything, unless chains or the router alone lead it by more than one standard error of the difference: by the
    /// area under the hull (DESIGN.md 7), on rows of folds that took no part in a fit. The router is not fitted again; its
    /// predictions of each fold are those of a fit without it.
    pub(super) fn best_offer(
        &self,
        table: &Table,
        data: &Data<'_>,
        max_stages: usize,
        limits: &Limits,
    ) -> Offer {
        let Some(fit) = self.router_fit().filter(|fit| fit.predicts()) else { return Offer::Everything };
        // Limits have a search of their own, which takes far longer; without cascades all is the router's anyway.
        if !limits.is_empty() || self.chains.hull().iter().all(|vertex| vertex.rule.tiers.len() < 2) {
            return Offer::Everything;
        }
        let parts = [Offer::Chains, Offer::Router, Offer::Everything];
        // A log that cannot be replayed fails where figures are reported.
        let Ok([chains, router, everything]) = self.values_of(parts, table, data, fit, max_stages) else {
            return Offer::Everything;
        };
        let mean = |values: &[f64]| weighted_mean(table, data.rows, values);
        let (part, values) =
            if mean(&router) > mean(&chains) { (Offer::Router, router) } else { (Offer::Chains, chains) };
        let lead: Vec<f64> = values.iter().zip(&everything).map(|(part, all)| part - all).collect();
        let leads = mean(&lead) > clustered_error(table, data.rows, &lead);
        if leads { part } else { Offer::Everything }
    }

    /// What each row of the fit contributes to the area of some parts that were fitted without its fold.
    fn values_of<const PARTS: usize>(
        &self,
        parts: [Offer; PARTS],
        table: &Table,
        data: &Data<'_>,
        fit: &RouterFit,
        max_stages: usize,
    ) -> Result<[Vec<f64>; PARTS], FitError> {
        let known = self.out_of_fold(data.rows);
        let mut values = parts.map(|_| vec![0.0; data.rows.len()]);
        for fold in 0..=data.folds.iter().copied().max().unwrap_or(0) {
            let (held, train): (Vec<usize>, Vec<usize>) =
                (0..data.rows.len()).partition(|&place| data.folds[place] == fold);
            let rows_at = |places: &[usize]| -> Vec<u32> { places.iter().map(|&at| data.rows[at]).collect() };
            let (held_rows, rows) = (rows_at(&held), rows_at(&train));
            let folds: Vec<u8> = train.iter().map(|&at| data.folds[at]).collect();
            let without = Data { rows: &rows, folds: &folds, ..*data };
            let family = RoutedCascades::again(
                table,
                &without,
                fit.at(&train),
                max_stages,
                &Limits::default(),
                Offer::Everything,
            );
            let budgets = Budgets::new(table, &rows);
            for (part, values) in parts.iter().zip(&mut values) {
                let hull = family.offered(*part);
                let of_rows =
                    curves::contributions(&family, &hull, data.log, table, &held_rows, &budgets, &known)?;
                held.iter().zip(of_rows).for_each(|(&place, value)| values[place] = value);
            }
        }
        Ok(values)
    }
}
