//! From fitted families to the report and the policy file.

use super::FitError;
use super::families;
use super::family::{Candidate, rules_with_frontier};
use super::guard;
use super::limits::within;
use super::objective::Target;
use super::protocol::Fit;
use super::report::{self, AlwaysTier, FamilyReport, HeldOut, Means, MixtureReport, ShadowPrice, TierReport};
use super::setup::Setup;
use super::verdict::Verdict;
use crate::config::Goal;
use crate::fit::frontier::hull::bracket;
use crate::fit::inference::compare::Comparison;
use crate::fit::inference::crossfit;
use crate::fit::inference::simulate::Outcomes;
use crate::fit::inference::tails;
use crate::fit::rows::table::Totals;
use crate::money::dollars;
use crate::policy::{ALGORITHM, Certificate, Expected, Fitted, OperatingPoint, Policy, Rules};
use std::collections::BTreeMap;

impl Setup<'_> {
    pub(super) fn family_report(&self, fit: &Fit<'_>, held_out: Option<HeldOut>) -> FamilyReport {
        let weight = self.table.total_weight(&self.calibration);
        let mut plans: Vec<_> = fit.rules.plans.iter().map(|plan| report::stages(&fit.rules, plan)).collect();
        let several = fit.rules.router.is_some() || fit.rules.mixture.is_some();
        let totals = fit.totals_with_stops.unwrap_or(fit.chosen.totals);
        FamilyReport {
            family: fit.family.name(),
            plan: if several || plans.is_empty() { Vec::new() } else { plans.swap_remove(0) },
            plans: if several { plans } else { Vec::new() },
            mixture_share: fit.rules.mixture.map(|mixture| mixture.share),
            router_shadow_price: fit.rules.router.as_ref().map(|router| router.shadow_price),
            calibration: Means { quality: totals.mean_quality(weight), cost_usd: totals.mean_cost(weight) },
            held_out,
            area: fit.curve.as_ref().map(|curve| curve.area),
            area_hull: fit.curve.as_ref().map(|curve| curve.area_hull),
            feasible: fit.feasible,
            heuristic: families::is_heuristic(fit.family, &self.route.fit, self.table.tiers.len()),
            quantile_loss: Some(fit.fitted.quantile_loss()).filter(|loss| *loss > 0.0),
            limits: tails::report(self, fit),
        }
    }

    /// The single tiers; `held_out` has the comparison, the position of the first tier in it, and that of the selected
    /// policy.
    pub(super) fn tier_reports(
        &self,
        weight: i128,
        held_out: Option<(&Comparison, usize, Option<usize>)>,
    ) -> Vec<TierReport> {
        let singles: Vec<Totals> =
            (0..self.table.tiers.len()).map(|tier| self.table.single(tier, &self.calibration)).collect();
        singles
            .iter()
            .zip(&self.table.tiers)
            .enumerate()
            .map(|(place, (totals, tier))| TierReport {
                name: tier.name.clone(),
                quality: totals.mean_quality(weight),
                cost_usd: totals.mean_cost(weight),
                dominated: singles.iter().any(|o| o.cost < totals.cost && o.quality > totals.quality),
                held_out: held_out
                    .map(|(comparison, first, policy)| AlwaysTier::new(comparison, first + place, policy)),
            })
            .collect()
    }

    /// What the selected mixture gains over the best policy that is none, on calibration rows. `None` beside a guard, whose
    /// part in the figures no other policy has.
    pub(super) fn mixture(&self, fit: &Fit<'_>) -> Option<MixtureReport> {
        let mixture = fit.rules.mixture.filter(|_| fit.rules.guard.is_none())?;
        let single = fit.fitted.unmixed(self.target(&self.calibration))?.totals;
        let (own, weight) = (fit.chosen.totals, self.table.total_weight(&self.calibration));
        Some(MixtureReport {
            share: mixture.share,
            quality_gain: own.mean_quality(weight) - single.mean_quality(weight),
            cost_saving_usd: single.mean_cost(weight) - own.mean_cost(weight),
        })
    }

    /// Gives a policy and its frontier the guard of the fit.
    fn attach_guard(&self, fit: &Fit<'_>, rules: &mut Rules, frontier: &mut [OperatingPoint]) {
        let Some(guard) = &fit.rules.guard else { return };
        let name = fit.rules.tiers.get(guard.tier());
        let tier = self.table.tiers.iter().position(|tier| Some(&tier.name) == name).unwrap_or(0);
        guard::attach(rules, frontier, &self.table, &guard.tag, &guard.labels, tier);
    }

    /// Why no family keeps the objective on calibration rows: how near they come, and what to change.
    pub(super) fn infeasible(&self, fits: &[Fit<'_>]) -> String {
        const LEAD: &str = "Infeasible: no policy keeps the constraint on calibration rows.";
        let (goal, rows) = (&self.objective.goal, &self.calibration);
        let allowed = self.allowed(rows);
        let keeps = |fit: &&Fit<'_>| {
            let outcomes = Outcomes::of(&fit.rules, self.input.log, &self.table, rows);
            outcomes.is_ok_and(|outcomes| within(outcomes.over(&self.table, rows, &self.limits), allowed))
        };
        let near: Vec<&Fit<'_>> = fits.iter().filter(keeps).collect();
        let target = self.target(rows);
        let Some(nearest) = near.iter().min_by_key(|fit| target.missing(fit.chosen.totals)) else {
            return format!("{LEAD} {}", self.nearest_to_limits());
        };
        let weight = self.table.total_weight(rows);
        let within = if self.limits.is_empty() { "" } else { " within the limits on tails" };
        let family = nearest.family.name().replace('_', " ");
        let key = goal.key();
        match target {
            Target::Floor(floor) => format!(
                "{LEAD} The highest quality{within} is {:.1} % (the {family} family), and `{key}` asks for {:.1} %. {}{}, \
                 or add a better tier.",
                100.0 * nearest.chosen.totals.mean_quality(weight),
                100.0 * Totals { quality: floor, cost: 0 }.mean_quality(weight),
                match goal {
                    Goal::MaxQualityLoss { .. } => "Raise its `by`",
                    _ => "Lower it",
                },
                if within.is_empty() { "" } else { ", loosen the limits" },
            ),
            Target::Budget(most) => format!(
                "{LEAD} The cheapest policy{within} costs {} per 1000 calls (the {family} family), and `{key}` allows {}. Raise \
                 it{}, or add a cheaper tier.",
                dollars(1_000.0 * nearest.chosen.totals.mean_cost(weight)),
                dollars(1_000.0 * Totals { quality: 0, cost: most }.mean_cost(weight)),
                if within.is_empty() { "" } else { ", loosen the limits" },
            ),
            Target::Price(_) => format!("{LEAD} {}", self.nearest_to_limits()),
        }
    }

    /// How near the single tiers come to the limits on tails.
    fn nearest_to_limits(&self) -> String {
        let rows = &self.calibration;
        let weight = self.table.total_weight(rows) as f64;
        let over =
            |tier: usize| Outcomes::single(&self.table, tier, rows).over(&self.table, rows, &self.limits);
        let singles: Vec<_> =
            self.table.tiers.iter().enumerate().map(|(at, tier)| (&tier.name, over(at))).collect();
        let said = self.limits.list().iter().enumerate().filter_map(|(at, limit)| {
            let (name, over) = singles.iter().min_by_key(|single| single.1[at])?;
            Some(format!(
                "`{name}` comes nearest to {}: {:.1} % of its requests exceed the bound, and {:.1} % may. ",
                limit.key(),
                100.0 * over[at] as f64 / weight,
                100.0 * limit.share
            ))
        });
        let said: String = said.collect();
        format!("{said}Raise the bound, or add a tier that keeps it.")
    }

    pub(super) fn policy(
        &self,
        fit: &Fit<'_>,
        comparison: &Comparison,
        position: usize,
        certificate: Option<Certificate>,
    ) -> Result<Policy, FitError> {
        let weight = self.table.total_weight(&self.calibration);
        let (mut rules, mut frontier) = rules_with_frontier(&*fit.fitted, &fit.chosen, weight);
        Self::copy_stops(&fit.rules, &mut rules);
        self.attach_guard(fit, &mut rules, &mut frontier);
        // A certificate belongs to the policy that was tested, not to another one.
        if self.input.options.refit_on_all && certificate.is_none() {
            let all: Vec<u32> = (0_u32..).take(self.table.len()).collect();
            let folds = crossfit::folds(&self.table, &all, &self.group_names, self.route.fit.seed);
            let refitted = families::fit(&self.pool(), fit.family, &all, &folds, None);
            if let Some(family) = refitted
                && let Some(chosen) = family.solve(self.target(&all))
            {
                (rules, frontier) = rules_with_frontier(&*family, &chosen, self.table.total_weight(&all));
                self.attach_guard(fit, &mut rules, &mut frontier);
                if fit.early.is_some() {
                    // Answers that the guard keeps from the policy are none of its stops'.
                    rules = self.refit_stops((&*family, chosen.totals), rules, (&all, &folds))?;
                }
            }
        }
        let figures = comparison.figures(position);
        let share: BTreeMap<&str, _> =
            fit.rules.tiers.iter().map(String::as_str).zip(figures.share.iter().copied()).collect();
        // After the refit, which may use other tiers: shares stand in the order of the rules' tiers.
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
            abstained: figures.abstained,
            latency_ms_p95: self
                .objective
                .max_latency_ms_p95
                .and_then(|_| tails::quantile(&self.table, &self.test, &fit.outcomes.latency_ms, 0.05)),
            early_escalation: fit.early.as_ref().and_then(|early| early.fitted.as_ref()).map(Into::into),
        };
        Ok(Policy {
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
                refit_on_all: self.input.options.refit_on_all && certificate.is_none(),
                repriced: self.input.log.repriced,
                traffic_hash: self.traffic.as_ref().map(|(traffic, _)| traffic.hash().to_owned()),
            },
            objective: self.objective.clone(),
            expected,
            rules,
            frontier,
            certificate,
        })
    }
}

/// The verdict where no policy is selected or nothing was held out.
pub(super) fn nothing_to_judge(text: String) -> Verdict {
    Verdict {
        worth_it: false,
        versus: None,
        quality_gain: None,
        cost_saving: None,
        monthly_saving_usd: None,
        gain_over_mixture: None,
        smallest_visible_gain: None,
        rows_needed: None,
        objective: None,
        text,
    }
}

/// What is said of a limit on a tail that the selected policy breaks on held-out rows.
pub(super) fn broken_limit(report: &report::TailReport) -> Option<String> {
    let (share, [low, high]) = (report.held_out_share?, report.held_out_share_ci?);
    (low > report.share_allowed).then(|| {
        format!(
            "{} = {} may be exceeded by {:.1} % of requests; {:.1} % [{:.1}, {:.1}] of held-out rows exceed it: it does not \
             hold there; collect more rows, lower the bound, or set `confidence`",
            report.limit,
            report.bound,
            100.0 * report.share_allowed,
            100.0 * share,
            100.0 * low,
            100.0 * high
        )
    })
}

/// λ at an operating point: the slope of the hull edge over its cost, both slopes at a vertex (MATH.md 4).
pub(super) fn shadow_price(hull: &[Candidate], chosen: &Candidate) -> ShadowPrice {
    let hull: Vec<Totals> = hull.iter().map(|vertex| vertex.totals).collect();
    let (left, _, right_slope) = bracket(&hull, chosen.totals.cost);
    let right = (right_slope > 0.0).then_some(right_slope);
    let at_vertex = hull.get(left) == Some(&chosen.totals);
    let left_slope = left.checked_sub(1).map(|before| {
        let (a, b) = (hull[before], hull[left]);
        (b.quality - a.quality) as f64 / (b.cost - a.cost) as f64
    });
    ShadowPrice {
        quality_per_usd: right,
        usd_per_quality: right.map(|slope| 1.0 / slope),
        interval: at_vertex.then_some([right, left_slope]),
    }
}
