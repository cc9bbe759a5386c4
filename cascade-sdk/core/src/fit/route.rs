//! The whole protocol for one route (DESIGN.md 5 and 7, MATH.md 11): choose on calibration rows, report on held-out
//! rows, and let the held-out rows change nothing but the reported figures.

use super::certify::{self, Certified, Promise, Trial};
use super::compare::Comparison;
use super::crossfit::{self, Scored};
use super::curves::{self, Budgets, Curve};
use super::families::{self, Pool};
use super::family::{Candidate, Draft, FittedFamily, rules_with_frontier};
use super::objective::{Multipliers, Target};
use super::pool::{choose_pool, refuse_sparse_signals};
use super::report::{
    self, FamilyReport, FitReport, HeldOut, LeftOut, Means, MissingSignal, ShadowPrice, TierReport,
};
use super::simulate::Outcomes;
use super::table::{Table, Totals};
use super::verdict::{self, Contestants, Facts, Verdict};
use super::{FitError, pairs};
use crate::config::{Config, Family, Goal, Objective, Route};
use crate::diag::Diagnostic;
use crate::log::{EvalLog, Split};
use crate::name;
use crate::policy::{ALGORITHM, Certificate, Expected, Fitted, Policy, Rules};
use std::collections::BTreeMap;

/// What a fit reads.
#[derive(Clone, Copy, Debug)]
pub struct FitInput<'a> {
    /// The valid configuration.
    pub config: &'a Config,
    /// Name of the route.
    pub route: &'a str,
    /// The route's eval log.
    pub log: &'a EvalLog,
    /// Rows that the reader could not use.
    pub unreadable_rows: usize,
    /// Text of the route's answer schema, if it has one; part of the configuration's fingerprint.
    pub schema: Option<&'a str>,
    /// How to go about it; no option changes what is chosen.
    pub options: FitOptions,
}

/// How a fit goes about its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FitOptions {
    /// Threads to use; the result does not depend on it.
    pub threads: usize,
    /// Most cuts listed for each pair in the report.
    pub max_points: usize,
    /// Refit the selected family on all rows once the report is made.
    pub refit_on_all: bool,
    /// Which attempt at a certificate this is, from 1; repeated attempts weaken its promise.
    pub attempt: u32,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self { threads: 1, max_points: 2_000, refit_on_all: false, attempt: 1 }
    }
}

/// What a fit gives.
#[derive(Clone, Debug)]
pub struct FitOutcome {
    /// The policy; `None` if no family keeps the constraint, or nothing was held out to report on.
    pub policy: Option<Policy>,
    /// The report.
    pub report: FitReport,
}

/// Fits a route.
///
/// # Errors
/// Diagnostics that say what is missing: the route, an objective, tiers in the log, rows.
pub fn fit_route(input: &FitInput<'_>) -> Result<FitOutcome, Vec<Diagnostic>> {
    let (route, objective) = route_and_objective(input)?;
    let halves: Vec<Split> =
        input.log.rows.iter().map(|row| crate::log::half(row, route.fit.seed, route.fit.held_out)).collect();
    let (pool, left_out) = choose_pool(route, input.log, &halves)?;
    let setup = Setup::new(input, route, objective, &pool, &halves)?;
    setup.run(left_out).map_err(|error| vec![Diagnostic::error("fit::replay", error.to_string())])
}

fn route_and_objective<'a>(input: &FitInput<'a>) -> Result<(&'a Route, &'a Objective), Vec<Diagnostic>> {
    let names = || input.config.routes.iter().map(|route| route.name.as_str());
    let route = input.config.route(input.route).ok_or_else(|| {
        let error = Diagnostic::error("route::unknown", format!("there is no route `{}`", input.route));
        vec![match name::nearest(input.route, names()) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error.help(format!("routes: {}", names().collect::<Vec<_>>().join(", "))),
        }]
    })?;
    if route.tiers.len() < 2 {
        return Err(vec![
            Diagnostic::error(
                "fit::one-tier",
                format!("route `{}` has one tier, so there is nothing to fit", route.name),
            )
            .help(format!("add a tier to [routes.{}] or use the route without a policy", route.name)),
        ]);
    }
    let objective = route.objective.as_ref().ok_or_else(|| {
        vec![
            Diagnostic::error("fit::no-objective", format!("route `{}` has no objective", route.name))
                .help(format!("add [routes.{}.objective] with max_cost_usd or min_quality", route.name)),
        ]
    })?;
    Ok((route, objective))
}

/// Everything that is fixed before the first family is fitted.
struct Setup<'a> {
    input: &'a FitInput<'a>,
    route: &'a Route,
    objective: &'a Objective,
    table: Table,
    group_names: Vec<String>,
    calibration: Vec<u32>,
    /// Rows set aside to test the constraint; empty without `confidence`.
    certification: Vec<u32>,
    test: Vec<u32>,
    missing: Vec<MissingSignal>,
    warnings: Vec<String>,
}

/// A family fitted on all calibration rows, at the objective.
struct Fit<'t> {
    family: Family,
    fitted: Box<dyn FittedFamily + 't>,
    chosen: Candidate,
    feasible: bool,
    curve: Option<Curve>,
    outcomes: Outcomes,
    rules: Rules,
}

impl<'a> Setup<'a> {
    fn new(
        input: &'a FitInput<'a>,
        route: &'a Route,
        objective: &'a Objective,
        pool: &[&str],
        halves: &[Split],
    ) -> Result<Self, Vec<Diagnostic>> {
        let log = input.log;
        let key = |row: usize| crate::log::group_key(&log.rows[row]);
        let mut table = Table::new(log, pool, key);
        let (mut calibration, mut test) = (Vec::new(), Vec::new());
        for (row, &log_row) in (0_u32..).zip(&table.log_row) {
            match halves[log_row as usize] {
                Split::Calibration => calibration.push(row),
                Split::Test => test.push(row),
            }
        }
        if calibration.is_empty() {
            return Err(vec![
                Diagnostic::error(
                    "fit::no-rows",
                    format!(
                        "route `{}` has no calibration row with results of all of {}",
                        route.name,
                        pool.join(", ")
                    ),
                )
                .help(format!("{} rows were read, {} are held out", log.rows.len(), test.len()))
                .help(format!("run `cascade collect {}`, or lower held_out in [routes.{0}.fit]", route.name)),
            ]);
        }
        table.order_by_cost(&calibration);
        let mut group_names = vec![String::new(); table.groups];
        for (&group, &log_row) in table.group.iter().zip(&table.log_row) {
            if group_names[group as usize].is_empty() {
                group_names[group as usize] = key(log_row as usize);
            }
        }
        let (missing, mut warnings) = refuse_sparse_signals(&mut table, &calibration);
        if let Goal::MaxQualityLoss { versus, .. } = &objective.goal
            && !table.tiers.iter().any(|tier| &tier.name == versus)
        {
            return Err(vec![
                Diagnostic::error(
                    "fit::reference-left-out",
                    format!("the objective refers to tier `{versus}`, which has too few rows to take part"),
                )
                .help(format!("run `cascade collect {} --tiers {versus}`", route.name)),
            ]);
        }
        let mut certification = Vec::new();
        if let Some(confidence) = objective.confidence {
            match Promise::of(&objective.goal, &table) {
                Some(promise) => {
                    (calibration, certification) =
                        certify::halves(&table, &calibration, &group_names, route.fit.seed);
                    let rows = certification.len() as u64;
                    if let Some(fewest) =
                        promise.fewest_rows(1.0 - confidence).filter(|fewest| *fewest > rows)
                    {
                        warnings.push(format!(
                            "{rows} rows are set aside to certify; no policy can pass with fewer than {fewest}"
                        ));
                    }
                }
                None => warnings.push("this objective bounds nothing that `confidence` could certify".into()),
            }
        }
        Ok(Self {
            input,
            route,
            objective,
            table,
            group_names,
            calibration,
            certification,
            test,
            missing,
            warnings,
        })
    }

    fn pool(&self) -> Pool<'_> {
        Pool {
            table: &self.table,
            log: self.input.log,
            settings: &self.route.fit,
            threads: self.input.options.threads,
        }
    }

    fn target(&self, rows: &[u32]) -> Target {
        // The reference tier was checked when the setup was made.
        Target::on(&self.objective.goal, &self.table, rows).unwrap_or(Target::Price(0.0))
    }

    fn run(mut self, left_out: Vec<LeftOut>) -> Result<FitOutcome, FitError> {
        let folds = crossfit::folds(&self.table, &self.calibration, &self.group_names, self.route.fit.seed);
        let (mut warnings, missing_signals) =
            (std::mem::take(&mut self.warnings), std::mem::take(&mut self.missing));
        let mut fits = self.fit_all(&folds)?;
        let (mut selected, standings) = self.select(&fits, &folds)?;
        let certificate = match selected.and_then(|family| fits.iter_mut().find(|fit| fit.family == family)) {
            Some(fit) if !self.certification.is_empty() => match self.certify(fit)? {
                Ok(certificate) => Some(certificate),
                Err(reason) => {
                    warnings.push(reason);
                    selected = None;
                    None
                }
            },
            _ => None,
        };
        let selected = selected.and_then(|family| fits.iter().find(|fit| fit.family == family));
        let (comparison, singles_at) = self.compare(&fits);
        let verdict =
            comparison.as_ref().map(|comparison| self.judge(comparison, selected, &fits, singles_at));
        let mut families = Vec::new();
        for (position, fit) in fits.iter().enumerate() {
            let tail = dearest_percent(&fit.outcomes.cost);
            let held_out =
                comparison.as_ref().map(|c| HeldOut::new(&c.figures(position), &fit.rules.tiers, tail));
            if tail > 0.2 && selected.is_some_and(|selected| selected.family == fit.family) {
                warnings.push(format!(
                    "the dearest 1 % of held-out rows make up {:.0} % of the selected policy's cost: its interval rests \
                     on few rows",
                    100.0 * tail
                ));
            }
            families.push(self.family_report(fit, held_out));
        }
        if self.test.is_empty() {
            warnings.push("nothing was held out, so nothing is proven and no policy is written".into());
        }
        let policy = match (selected, &comparison) {
            (Some(fit), Some(comparison)) => {
                let position = fits.iter().position(|other| other.family == fit.family).unwrap_or(0);
                Some(self.policy(fit, comparison, position, certificate))
            }
            _ => None,
        };
        let weight = self.table.total_weight(&self.calibration);
        let pairs = pairs::report(&self.table, &self.calibration, self.input.options);
        let report = FitReport {
            route: self.route.name.clone(),
            rows: report::Rows {
                used: self.table.len(),
                skipped: self.input.unreadable_rows + self.input.log.rows.len() - self.table.len(),
                calibration: self.calibration.len(),
                test: self.test.len(),
            },
            tiers: self.tier_reports(weight),
            left_out,
            selected: selected.map(|fit| fit.family.name()),
            selection: standings.iter().map(Into::into).collect(),
            shadow_price: selected
                .map(|fit| shadow_price(&fit.fitted.hull(), &fit.chosen))
                .unwrap_or_default(),
            verdict: (&verdict.unwrap_or_else(|| nothing_to_judge(selected.is_some(), &self.test))).into(),
            pairs: pairs.pairs,
            envelope: pairs.envelope,
            switching_points: pairs.switching_points,
            curves: Family::ALL
                .into_iter()
                .map(|family| {
                    let curve =
                        fits.iter().find(|fit| fit.family == family).and_then(|fit| fit.curve.as_ref());
                    (family.name(), curve.map(report::curve).unwrap_or_default())
                })
                .collect(),
            structural_cost: None,
            missing_signals,
            warnings,
            families,
        };
        Ok(FitOutcome { policy, report })
    }

    /// Every family on all calibration rows, at the objective, with its figures on held-out rows.
    fn fit_all(&self, folds: &[u8]) -> Result<Vec<Fit<'_>>, FitError> {
        let (log, table) = (self.input.log, &self.table);
        let target = self.target(&self.calibration);
        let budgets = Budgets::new(table, &self.calibration);
        let mut fits = Vec::new();
        for family in families::tried(&self.route.fit) {
            let Some(fitted) = families::fit(&self.pool(), family, &self.calibration, folds) else {
                continue;
            };
            let solved = fitted.solve(target);
            let feasible = solved.is_some();
            let hull = fitted.hull();
            let nearest = if matches!(target, Target::Floor(_)) { hull.last() } else { hull.first() };
            let Some(chosen) = solved.or_else(|| nearest.cloned()) else { continue };
            let rules = fitted.rules(&chosen);
            let outcomes = Outcomes::of(&rules, log, table, &self.test)?;
            let curve = if self.test.is_empty() {
                None
            } else {
                Some(curves::measure(&*fitted, log, table, &self.test, &budgets)?)
            };
            fits.push(Fit { family, fitted, chosen, feasible, curve, outcomes, rules });
        }
        Ok(fits)
    }

    /// Cross-fits the feasible families and chooses one of them.
    fn select(
        &self,
        fits: &[Fit<'_>],
        folds: &[u8],
    ) -> Result<(Option<Family>, Vec<crossfit::Standing>), FitError> {
        // The full chain is a member of the larger classes and is shown because people start there.
        let candidates: Vec<&Fit<'_>> =
            fits.iter().filter(|fit| fit.feasible && fit.family != Family::FullChain).collect();
        let last_fold = folds.iter().copied().max().unwrap_or(0);
        if last_fold == 0 {
            // One group: nothing can be cross-fitted, so the simplest family stands.
            return Ok((candidates.first().map(|fit| fit.family), Vec::new()));
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
            let fitted: Vec<_> = candidates
                .iter()
                .map(|fit| families::refit(&self.pool(), fit.family, &*fit.fitted, &train, &train_folds))
                .collect();
            let multipliers = Multipliers::at(target, &union_hull(&fitted));
            for (values, fitted) in values.iter_mut().zip(&fitted) {
                let Some(fitted) = fitted else { continue };
                let hull = fitted.hull();
                let nearest = if matches!(target, Target::Floor(_)) { hull.last() } else { hull.first() };
                let Some(chosen) = fitted.solve(target).or_else(|| nearest.cloned()) else { continue };
                let outcomes = Outcomes::of(&fitted.rules(&chosen), self.input.log, &self.table, &held)?;
                for (position, &place) in places.iter().enumerate() {
                    values[place] =
                        multipliers.value(outcomes.quality[position] as f64, outcomes.cost[position] as f64);
                }
            }
        }
        let scored: Vec<Scored> = candidates
            .iter()
            .zip(values)
            .map(|(fit, values)| Scored { family: fit.family, values })
            .collect();
        Ok(crossfit::choose(&self.table, &self.calibration, &scored))
    }

    /// Moves the selected family to the riskiest point that the rows set aside certify; a sentence if there is none.
    fn certify(&self, fit: &mut Fit<'_>) -> Result<Result<Certificate, String>, FitError> {
        let Some(promise) = Promise::of(&self.objective.goal, &self.table) else {
            return Ok(Err("nothing to certify".into()));
        };
        let trial = Trial {
            config: self.input.config,
            log: self.input.log,
            table: &self.table,
            rows: &self.certification,
            group_names: &self.group_names,
            seed: self.route.fit.seed,
            confidence: self.objective.confidence.unwrap_or_default(),
            attempt: self.input.options.attempt,
        };
        let Certified { chosen, certificate } = match certify::walk(&trial, &promise, &*fit.fitted)? {
            Ok(Some(certified)) => certified,
            Ok(None) => {
                return Ok(Err(format!(
                    "not certified: even the safest {} policy fails the test on {} rows",
                    fit.family.name(),
                    self.certification.len()
                )));
            }
            Err(reason) => return Ok(Err(reason)),
        };
        fit.rules = fit.fitted.rules(&chosen);
        fit.outcomes = Outcomes::of(&fit.rules, self.input.log, &self.table, &self.test)?;
        fit.chosen = chosen;
        Ok(Ok(certificate))
    }

    /// All families, then all single tiers, on held-out rows.
    fn compare(&self, fits: &[Fit<'_>]) -> (Option<Comparison>, usize) {
        let singles: Vec<Outcomes> =
            (0..self.table.tiers.len()).map(|tier| Outcomes::single(&self.table, tier, &self.test)).collect();
        let mut policies: Vec<(&Outcomes, usize)> =
            fits.iter().map(|fit| (&fit.outcomes, fit.rules.tiers.len())).collect();
        policies.extend(singles.iter().map(|outcomes| (outcomes, 0)));
        let (seed, threads) = (self.route.fit.seed, self.input.options.threads);
        let comparison = (!self.test.is_empty())
            .then(|| Comparison::new(&self.table, &self.test, &policies, seed, threads));
        (comparison, fits.len())
    }

    fn judge(
        &self,
        comparison: &Comparison,
        selected: Option<&Fit<'_>>,
        fits: &[Fit<'_>],
        singles: usize,
    ) -> Verdict {
        let Some(selected) = selected else { return nothing_to_judge(false, &self.test) };
        let position = fits.iter().position(|fit| fit.family == selected.family).unwrap_or(0);
        let selected_tier = match &selected.chosen.draft {
            Draft::Cascade(rule)
                if selected.rules.plans.first().is_some_and(|plan| plan.stages.len() == 1) =>
            {
                rule.tiers.first().copied()
            }
            _ => None,
        };
        let facts = Facts {
            family: selected.family,
            calibration: selected.chosen.totals,
            selected_tier,
            target: self.target(&self.calibration),
            smallest_gain: self.route.fit.smallest_gain,
            calls_per_day: self.route.calls_per_day,
            rows: &self.calibration,
            test_rows: self.test.len(),
        };
        verdict::judge(comparison, &Contestants { selected: position, singles }, &self.table, &facts)
    }

    fn family_report(&self, fit: &Fit<'_>, held_out: Option<HeldOut>) -> FamilyReport {
        let weight = self.table.total_weight(&self.calibration);
        let mut plans: Vec<_> = fit.rules.plans.iter().map(|plan| report::stages(&fit.rules, plan)).collect();
        let routed = fit.rules.router.is_some();
        FamilyReport {
            family: fit.family.name(),
            plan: if routed || plans.is_empty() { Vec::new() } else { plans.swap_remove(0) },
            plans: if routed { plans } else { Vec::new() },
            router_shadow_price: fit.rules.router.as_ref().map(|router| router.shadow_price),
            calibration: Means {
                quality: fit.chosen.totals.mean_quality(weight),
                cost_usd: fit.chosen.totals.mean_cost(weight),
            },
            held_out,
            area: fit.curve.as_ref().map(|curve| curve.area),
            area_hull: fit.curve.as_ref().map(|curve| curve.area_hull),
            feasible: fit.feasible,
            heuristic: families::is_heuristic(fit.family, &self.route.fit, self.table.tiers.len()),
        }
    }

    fn tier_reports(&self, weight: i128) -> Vec<TierReport> {
        let singles: Vec<Totals> =
            (0..self.table.tiers.len()).map(|tier| self.table.single(tier, &self.calibration)).collect();
        singles
            .iter()
            .zip(&self.table.tiers)
            .map(|(totals, tier)| TierReport {
                name: tier.name.clone(),
                quality: totals.mean_quality(weight),
                cost_usd: totals.mean_cost(weight),
                dominated: singles.iter().any(|o| o.cost < totals.cost && o.quality > totals.quality),
            })
            .collect()
    }

    fn policy(
        &self,
        fit: &Fit<'_>,
        comparison: &Comparison,
        position: usize,
        certificate: Option<Certificate>,
    ) -> Policy {
        let weight = self.table.total_weight(&self.calibration);
        let (mut rules, mut frontier) = rules_with_frontier(&*fit.fitted, &self.table, &fit.chosen, weight);
        let figures = comparison.figures(position);
        let share: BTreeMap<&str, _> =
            fit.rules.tiers.iter().map(String::as_str).zip(figures.share.iter().copied()).collect();
        let expected = Expected {
            quality: figures.quality,
            cost_usd: figures.cost_usd,
            calls: figures.calls,
            share: rules
                .tiers
                .iter()
                .map(|tier| share.get(tier.as_str()).copied().unwrap_or_default())
                .collect(),
            shadow_price: shadow_price(&fit.fitted.hull(), &fit.chosen).quality_per_usd,
        };
        if self.input.options.refit_on_all {
            let all: Vec<u32> = (0_u32..).take(self.table.len()).collect();
            let folds = crossfit::folds(&self.table, &all, &self.group_names, self.route.fit.seed);
            let refitted = families::fit(&self.pool(), fit.family, &all, &folds);
            if let Some((family, chosen)) = refitted
                .and_then(|family| Some((family.solve(self.target(&all))?, family)))
                .map(|(c, f)| (f, c))
            {
                (rules, frontier) =
                    rules_with_frontier(&*family, &self.table, &chosen, self.table.total_weight(&all));
            }
        }
        Policy {
            route: self.route.name.clone(),
            family: fit.family,
            fitted: Fitted {
                log_hash: self.input.log.hash.clone(),
                config_hash: crate::config::fingerprint(
                    self.input.config,
                    &self.route.name,
                    self.input.schema,
                )
                .unwrap_or_default(),
                algorithm: ALGORITHM,
                calibration_rows: self.calibration.len(),
                test_rows: self.test.len(),
                seed: self.route.fit.seed,
                refit_on_all: self.input.options.refit_on_all,
            },
            objective: self.objective.clone(),
            expected,
            rules,
            frontier,
            certificate,
        }
    }
}

fn nothing_to_judge(selected: bool, test: &[u32]) -> Verdict {
    let text = if !selected {
        "Infeasible: no policy keeps the constraint on calibration rows."
    } else if test.is_empty() {
        "Undecided: nothing was held out to judge by."
    } else {
        "Undecided."
    };
    Verdict {
        worth_it: false,
        versus: None,
        quality_gain: None,
        cost_saving: None,
        gain_over_mixture: None,
        smallest_visible_gain: None,
        rows_needed: None,
        text: text.into(),
    }
}

/// The hull of everything the fitted families can do.
fn union_hull(fitted: &[Option<Box<dyn FittedFamily + '_>>]) -> Vec<Totals> {
    let points =
        fitted.iter().flatten().flat_map(|family| family.hull()).map(|candidate| (candidate.totals, ()));
    super::point_set::PointSet::new(points.collect()).hull().map(|point| point.0).collect()
}

/// λ at an operating point: the slope of the hull edge over its cost, both slopes at a vertex (MATH.md 4).
fn shadow_price(hull: &[Candidate], chosen: &Candidate) -> ShadowPrice {
    let (left, _, right_slope) = curves::bracket(hull, chosen.totals.cost);
    let right = (right_slope > 0.0).then_some(right_slope);
    let at_vertex = hull.get(left).is_some_and(|vertex| vertex.totals == chosen.totals);
    let left_slope = left.checked_sub(1).map(|before| {
        let (a, b) = (hull[before].totals, hull[left].totals);
        (b.quality - a.quality) as f64 / (b.cost - a.cost) as f64
    });
    ShadowPrice {
        quality_per_usd: right,
        usd_per_quality: right.map(|slope| 1.0 / slope),
        interval: at_vertex.then_some([right, left_slope]),
    }
}

/// Share of the total in the dearest 1 % of rows (at least one row).
fn dearest_percent(costs: &[i64]) -> f64 {
    let mut sorted = costs.to_vec();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    let sum = |costs: &[i64]| costs.iter().map(|&cost| i128::from(cost)).sum::<i128>() as f64;
    let total = sum(&sorted);
    if total > 0.0 { sum(&sorted[..sorted.len().div_ceil(100)]) / total } else { 0.0 }
}
