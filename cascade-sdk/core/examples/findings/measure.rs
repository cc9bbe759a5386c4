//! Every family on several splits of a log: all is chosen on one half and measured on the other.

use crate::calls::{self, CallShares};
use cascade_sdk_core::config::{Family, FitSettings};
use cascade_sdk_core::fit::FitError;
use cascade_sdk_core::fit::analysis::diagnostics;
use cascade_sdk_core::fit::analysis::structural::{self, Setting};
use cascade_sdk_core::fit::families::{self, Pool};
use cascade_sdk_core::fit::family::FittedFamily;
use cascade_sdk_core::fit::frontier::curves::{self, Budgets};
use cascade_sdk_core::fit::inference::bootstrap::Blocks;
use cascade_sdk_core::fit::inference::crossfit::{self, clustered_error};
use cascade_sdk_core::fit::limits::NO_LIMITS;
use cascade_sdk_core::fit::report::StructuralCost;
use cascade_sdk_core::fit::rows::table::Table;
use cascade_sdk_core::log::{self, EvalLog, Split};
use cascade_sdk_core::replay::KnownPredictions;
use std::collections::BTreeMap;

/// Share of the groups of a log that measure.
const HELD_OUT: f64 = 0.5;

/// Seed of the first split.
const FIRST_SEED: u64 = 42;

const THREADS: usize = 2;

/// The families of the study.
pub(crate) const FAMILIES: [Family; 6] =
    [Family::Single, Family::Pair, Family::Chain, Family::FullChain, Family::Router, Family::RoutedCascade];

/// How much of a log is studied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All families, and what makes the difference between them.
    Everything,
    /// The routed cascade beside the families that it contains.
    Routed,
}

/// What the routed cascade contains.
pub(crate) const SIMPLER: [Family; 3] = [Family::Pair, Family::Chain, Family::Router];

/// One log over all splits.
#[derive(Debug)]
pub(crate) struct Study {
    pub(crate) rows: usize,
    pub(crate) tiers: usize,
    /// Mean cost of the dearest tier over that of the cheapest.
    pub(crate) price_ratio: f64,
    /// Median over tiers of the AUROC of their best signal for their own answers; `None` without signals.
    pub(crate) auroc: Option<f64>,
    /// The same for "the dearest tier is better".
    pub(crate) benefit_auroc: Option<f64>,
    /// `area_hull` of each family on each split.
    pub(crate) areas: Vec<BTreeMap<Family, f64>>,
    /// Standard errors of routed cascade − each of [`SIMPLER`] on each split, paired by row, by group.
    pub(crate) routed_errors: Vec<BTreeMap<Family, f64>>,
    /// Router − pair envelope taken apart, on each split that has a router.
    pub(crate) structure: Vec<StructuralCost>,
    /// Dear calls that the router needs, on each split of a log of two tiers.
    pub(crate) calls: Vec<CallShares>,
    /// Differences of `area_hull` on the first split, with bootstrap intervals over groups: (first, second, ends).
    pub(crate) intervals: Vec<(Family, Family, [f64; 2])>,
}

/// Mean and the 10 and 90 % points of some numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spread {
    pub(crate) mean: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let quantile = cascade_sdk_core::fit::inference::bootstrap::quantile;
        Some(Self { mean, low: quantile(&mut values, 0.1), high: quantile(&mut values, 0.9) })
    }
}

impl Study {
    /// first − second over the splits that have both.
    pub(crate) fn differences(&self, first: Family, second: Family) -> Vec<f64> {
        self.areas.iter().filter_map(|areas| Some(areas.get(&first)? - areas.get(&second)?)).collect()
    }

    pub(crate) fn interval(&self, first: Family, second: Family) -> Option<[f64; 2]> {
        self.intervals.iter().find(|known| (known.0, known.1) == (first, second)).map(|known| known.2)
    }

    pub(crate) fn structure(&self, of: impl Fn(&StructuralCost) -> f64) -> Option<Spread> {
        Spread::of(self.structure.iter().map(of).collect())
    }
}

/// The pairs of families that get a bootstrap interval.
pub(crate) const COMPARED: [(Family, Family); 6] = [
    (Family::Pair, Family::Single),
    (Family::Pair, Family::FullChain),
    (Family::Chain, Family::Pair),
    (Family::Router, Family::Single),
    (Family::Router, Family::Pair),
    (Family::RoutedCascade, Family::Pair),
];

/// Studies a log.
pub(crate) fn study(log: &EvalLog, tiers: &[&str], splits: u64, scope: Scope) -> Result<Study, FitError> {
    let groups: Vec<String> = log.rows.iter().map(log::group_key).collect();
    let mut study = Study {
        rows: 0,
        tiers: tiers.len(),
        price_ratio: 0.0,
        auroc: None,
        benefit_auroc: None,
        areas: Vec::new(),
        routed_errors: Vec::new(),
        structure: Vec::new(),
        calls: Vec::new(),
        intervals: Vec::new(),
    };
    for split in 0..splits {
        eprintln!("  split {} of {splits}", split + 1);
        let mut table = Table::new(log, tiers, |row| groups[row].clone());
        let half = |row: u32| {
            let mut entry = log.rows[table.log_row[row as usize] as usize].clone();
            entry.split = None;
            log::half(&entry, FIRST_SEED + split, HELD_OUT)
        };
        let (calibration, test): (Vec<u32>, Vec<u32>) =
            (0_u32..).take(table.len()).partition(|&row| half(row) == Split::Calibration);
        table.order_by_cost(&calibration);
        let mut names = vec![String::new(); table.groups];
        for (&row, &group) in table.log_row.iter().zip(&table.group) {
            names[group as usize].clone_from(&groups[row as usize]);
        }
        let folds = crossfit::folds(&table, &calibration, &names, FIRST_SEED + split);
        let halves = Halves { log, table: &table, calibration: &calibration, test: &test, folds: &folds };
        if split == 0 {
            study.describe(&halves);
        }
        study.split(&halves, split == 0, scope)?;
    }
    Ok(study)
}

struct Halves<'a> {
    log: &'a EvalLog,
    table: &'a Table,
    calibration: &'a [u32],
    test: &'a [u32],
    folds: &'a [u8],
}

impl Study {
    fn describe(&mut self, halves: &Halves<'_>) {
        let Halves { table, calibration, test, .. } = halves;
        self.rows = table.len();
        let cost = |tier: usize| table.single(tier, calibration).cost as f64;
        self.price_ratio = cost(table.tiers.len() - 1) / cost(0).max(1.0);
        let signals = diagnostics::signals(table, calibration, test);
        let median = |of: &dyn Fn(&diagnostics::SignalQuality) -> Option<f64>| {
            let mut best: BTreeMap<&str, f64> = BTreeMap::new();
            for signal in
                signals.iter().filter(|signal| signal.tier != table.tiers[table.tiers.len() - 1].name)
            {
                if let Some(value) = of(signal) {
                    let known = best.entry(&signal.tier).or_insert(value);
                    *known = known.max(value);
                }
            }
            let mut values: Vec<f64> = best.into_values().collect();
            (!values.is_empty())
                .then(|| cascade_sdk_core::fit::inference::bootstrap::quantile(&mut values, 0.5))
        };
        self.auroc = median(&|signal| Some(signal.auroc));
        self.benefit_auroc = median(&|signal| signal.benefit_auroc);
    }

    fn split(&mut self, halves: &Halves<'_>, first: bool, scope: Scope) -> Result<(), FitError> {
        let Halves { log, table, calibration, test, folds } = *halves;
        let settings = FitSettings::default();
        let pool = Pool { table, log, settings: &settings, limits: &NO_LIMITS, threads: THREADS };
        let budgets = Budgets::new(table, calibration);
        let (mut areas, mut values, mut router) = (BTreeMap::new(), BTreeMap::new(), None);
        let full_chain = scope == Scope::Everything;
        for family in FAMILIES.into_iter().filter(|family| full_chain || *family != Family::FullChain) {
            // Both families with a router have the same one.
            let Some(fitted) = families::fit(&pool, family, calibration, folds, router.as_ref()) else {
                continue;
            };
            router = router.or_else(|| fitted.router_fit().cloned());
            let of_rows = contributions(&*fitted, halves, &budgets)?;
            let weight = |&row: &u32| table.weight[row as usize] as f64;
            let sum: f64 = test.iter().zip(&of_rows).map(|(row, value)| weight(row) * value).sum();
            areas.insert(family, sum / table.total_weight(test) as f64);
            values.insert(family, of_rows);
            if let (Scope::Everything, Family::Router, Some(fit)) = (scope, family, fitted.router_fit()) {
                let setting = Setting { table, calibration, test, budgets: &budgets, threads: THREADS };
                let curve = curves::measure(&*fitted, log, table, test, &budgets)?;
                if let Some(predictions) = structural::predictions(&setting, log, fit) {
                    self.calls.extend(calls::shares(table, test, &predictions));
                    self.structure.push(structural::decompose(&setting, &predictions, &curve).mean);
                }
            }
        }
        self.areas.push(areas);
        if let Some(routed) = values.get(&Family::RoutedCascade) {
            let error = |family: &Family| {
                let lead: Vec<f64> = routed.iter().zip(values.get(family)?).map(|(a, b)| a - b).collect();
                Some((*family, clustered_error(table, test, &lead)))
            };
            self.routed_errors.push(SIMPLER.iter().filter_map(error).collect());
        }
        if first && scope == Scope::Everything {
            for (one, other) in COMPARED {
                if let (Some(one_rows), Some(other_rows)) = (values.get(&one), values.get(&other)) {
                    self.intervals.push((one, other, interval(table, test, one_rows, other_rows)));
                }
            }
        }
        Ok(())
    }
}

/// What each held-out row contributes to a family's `area_hull`.
fn contributions(
    family: &dyn FittedFamily,
    halves: &Halves<'_>,
    budgets: &Budgets,
) -> Result<Vec<f64>, FitError> {
    let Halves { log, table, test, .. } = *halves;
    let log_rows = test.iter().map(|&row| table.log_row[row as usize] as usize);
    let known = family.router().map(|router| KnownPredictions::new(router, log, log_rows)).transpose()?;
    curves::contributions(family, &family.hull(), log, table, test, budgets, &known.unwrap_or_default())
}

/// The 95 % interval of a difference of areas at frozen policies, by resampling groups.
fn interval(table: &Table, test: &[u32], one: &[f64], other: &[f64]) -> [f64; 2] {
    let weight: Vec<f64> = test.iter().map(|&row| table.weight[row as usize] as f64).collect();
    let difference = one.iter().zip(other).zip(&weight).map(|((a, b), weight)| weight * (a - b)).collect();
    let blocks = Blocks::new(table, test, &[difference, weight], FIRST_SEED);
    let estimate = blocks.resample(FIRST_SEED, THREADS).estimate(|sums| sums[0] / sums[1]);
    [estimate.low, estimate.high]
}
