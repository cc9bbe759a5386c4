//! Which families are tried, and how each is fitted.

use super::chain::{Chains, FullChain};
use super::family::{Cascades, FittedFamily};
use super::limited::{Abstaining, Limited, Members};
use super::limits::Limits;
use super::routed::RoutedCascades;
use super::router::{Data, RouterFamily, RouterFit};
use crate::config::{Family, FitSettings};
use crate::fit::frontier::mixture::Mixed;
use crate::fit::frontier::pair::{Pairs, Singles};
use crate::fit::rows::table::{QUALITY_ONE, Table, quality_units};
use crate::log::EvalLog;

/// What every family is fitted from.
#[derive(Clone, Copy, Debug)]
pub struct Pool<'t> {
    /// The numbers.
    pub table: &'t Table,
    /// The log, for prompts and labels.
    pub log: &'t EvalLog,
    /// The route's settings.
    pub settings: &'t FitSettings,
    /// Limits on tails: families hold only policies that keep them on their rows.
    pub limits: &'t Limits,
    /// Threads to use.
    pub threads: usize,
}

impl Pool<'_> {
    fn routed<'a>(&'a self, rows: &'a [u32], folds: &'a [u8]) -> Data<'a> {
        Data { table: self.table, log: self.log, rows, folds, threads: self.threads }
    }
}

/// The families to try, simplest first; `single` is always among them, as the reference.
pub fn tried(settings: &FitSettings) -> Vec<Family> {
    Family::ALL
        .into_iter()
        .filter(|family| *family == Family::Single || settings.families.contains(family))
        .collect()
}

/// Whether the family's search may miss a better member: chains of four and more stages, and cascades that may abstain at
/// several of their stages.
pub fn is_heuristic(family: Family, settings: &FitSettings, tiers: usize) -> bool {
    match family {
        Family::Pair | Family::Chain | Family::FullChain if settings.abstain_loss.is_some() => true,
        Family::Chain => settings.max_stages.min(tiers) > 3,
        Family::FullChain => tiers > 3,
        _ => false,
    }
}

/// Fits a family on `rows`, whose folds are `folds`; `None` if the rows cannot support it. `known` is the router of
/// another family fitted on the same rows and folds, which is used again.
pub fn fit<'t>(
    pool: &Pool<'t>,
    family: Family,
    rows: &[u32],
    folds: &[u8],
    known: Option<&RouterFit>,
) -> Option<Box<dyn FittedFamily + 't>> {
    let fitted = without_mixtures(pool, family, rows, folds, known);
    // The λ of a router moves in steps so small that there is nothing to mix.
    let mixes = pool.settings.mixtures && members(family, pool.settings).is_some();
    Some(if mixes { Box::new(Mixed::new(fitted, pool.settings.seed)) } else { fitted })
}

fn without_mixtures<'t>(
    pool: &Pool<'t>,
    family: Family,
    rows: &[u32],
    folds: &[u8],
    known: Option<&RouterFit>,
) -> Box<dyn FittedFamily + 't> {
    let table = pool.table;
    if let Some(loss) = pool.settings.abstain_loss
        && let Some(members) = members(family, pool.settings)
    {
        let worth = QUALITY_ONE - quality_units(loss);
        return Box::new(Abstaining::new(table, rows, members, pool.limits, worth, pool.threads));
    }
    if !pool.limits.is_empty()
        && let Some(members) = members(family, pool.settings)
    {
        let limited = Limited::new(table, rows, members, pool.limits, pool.threads);
        return Box::new(Cascades::new(table, Box::new(limited)));
    }
    match family {
        Family::Single => Box::new(Cascades::new(table, Box::new(Singles::new(table, rows)))),
        Family::Pair => Box::new(Cascades::new(table, Box::new(Pairs::new(table, rows, pool.threads)))),
        Family::Chain => {
            let chains = Chains::new(table, rows, pool.settings.max_stages, pool.threads);
            Box::new(Cascades::new(table, Box::new(chains)))
        }
        Family::FullChain => {
            Box::new(Cascades::new(table, Box::new(FullChain::new(table, rows, pool.threads))))
        }
        Family::Router => {
            let fit = known.cloned().unwrap_or_else(|| RouterFit::new(&pool.routed(rows, folds)));
            Box::new(RouterFamily::within(table, rows, fit, pool.limits))
        }
        Family::RoutedCascade => {
            let data = pool.routed(rows, folds);
            let fit = known.cloned().unwrap_or_else(|| RouterFit::new(&data));
            Box::new(RoutedCascades::within(table, &data, fit, pool.settings.max_stages, pool.limits))
        }
    }
}

/// The cascades of a family without a router.
fn members(family: Family, settings: &FitSettings) -> Option<Members> {
    match family {
        Family::Single => Some(Members::UpTo(1)),
        Family::Pair => Some(Members::UpTo(2)),
        Family::Chain => Some(Members::UpTo(settings.max_stages)),
        Family::FullChain => Some(Members::FullChain),
        Family::Router | Family::RoutedCascade => None,
    }
}

/// Fits a family again without a fold. `whole` is its fit on all rows, whose choices (of regularisation, of what is
/// offered) are used again; `known` as for [`fit`].
pub fn refit<'t>(
    pool: &Pool<'t>,
    family: Family,
    whole: &dyn FittedFamily,
    rows: &[u32],
    folds: &[u8],
    known: Option<&RouterFit>,
) -> Option<Box<dyn FittedFamily + 't>> {
    let again = whole
        .router_fit()
        .filter(|_| known.is_none())
        .map(|whole| RouterFit::again(&pool.routed(rows, folds), &whole.choice));
    match (family, known.or(again.as_ref())) {
        (Family::RoutedCascade, Some(router)) => {
            let (stages, limits) = (pool.settings.max_stages, pool.limits);
            let data = pool.routed(rows, folds);
            let offer = whole.offer();
            Some(Box::new(RoutedCascades::again(pool.table, &data, router.clone(), stages, limits, offer)))
        }
        (_, known) => self::fit(pool, family, rows, folds, known),
    }
}
