//! The whole protocol for one route (DESIGN.md 5 and 7, MATH.md 11): choose on calibration rows, report on held-out
//! rows, and let the held-out rows change nothing but the reported figures.

use super::FitError;
use super::family::{Candidate, Draft, FittedFamily};
use super::held::Holds;
use super::limited::{self, AbstainingRule};
use super::limits::{Tail, within};
use super::objective::Target;
use super::outcome;
use super::report::{self, EarlyReport, FitReport, GuardReport, HeldOut, LeftOut};
use super::route::FitOutcome;
use super::selection::Selection;
use super::setup::Setup;
use super::verdict::{self, Apart, Contestants, Facts, Verdict};
use crate::config::Family;
use crate::fit::analysis::break_even::{self, EqualBudget};
use crate::fit::analysis::diagnostics;
use crate::fit::analysis::learning;
use crate::fit::analysis::structural::{self, Decomposition};
use crate::fit::frontier::curves::{Budgets, Curve};
use crate::fit::frontier::envelope;
use crate::fit::frontier::pair::Pair;
use crate::fit::frontier::pairs;
use crate::fit::inference::compare::Comparison;
use crate::fit::inference::crossfit::{self, Rival};
use crate::fit::inference::simulate::Outcomes;
use crate::fit::inference::slices;
use crate::fit::rows::pool::warn_of_unavailable;
use crate::fit::rows::table::Totals;
use crate::fit::rows::traffic;
use crate::policy::Rules;
use crate::replay::KnownPredictions;

/// A family fitted on all calibration rows, at the objective.
pub(super) struct Fit<'t> {
    pub(super) family: Family,
    pub(super) fitted: Box<dyn FittedFamily + 't>,
    pub(super) chosen: Candidate,
    pub(super) feasible: bool,
    pub(super) curve: Option<Curve>,
    pub(super) outcomes: Outcomes,
    pub(super) rules: Rules,
    /// What its guard found, where it was tested with one.
    pub(super) guard: Option<GuardReport>,
    /// What its early escalation does, where it was fitted.
    pub(super) early: Option<EarlyReport>,
    /// Sums on calibration rows with early escalation, where it was fitted.
    pub(super) totals_with_stops: Option<Totals>,
}

impl Setup<'_> {
    pub(super) fn run(mut self, left_out: Vec<LeftOut>) -> Result<FitOutcome, FitError> {
        let folds = crossfit::folds(&self.table, &self.calibration, &self.group_names, self.route.fit.seed);
        let (mut warnings, missing_signals) =
            (std::mem::take(&mut self.warnings), std::mem::take(&mut self.missing));
        let mut fits = self.fit_all(&folds)?;
        let Selection { family: mut selected, standings, rival } = self.select(&fits, &folds)?;
        let mut refused = None;
        let (mut certificate, mut nothing_cheaper_than) = (None, None);
        if let Some(family) = selected.filter(|_| !self.certification.is_empty()) {
            match self.certify(&mut fits, family)? {
                Ok(assured) => {
                    selected = Some(assured.family);
                    certificate = Some(assured.certificate);
                    nothing_cheaper_than = assured.nothing_cheaper_than;
                }
                Err(reason) => {
                    warnings.push(reason.clone());
                    refused = Some(reason);
                    selected = None;
                }
            }
        }
        if let Some(reference) = &nothing_cheaper_than {
            warnings.push(format!(
                "nothing cheaper than `{reference}` could be certified on {} rows",
                self.certification.len()
            ));
        }
        let mut guard = None;
        if let (Some(guarding), Some(family)) = (self.guarding(), selected)
            && let Some(fit) = fits.iter_mut().find(|fit| fit.family == family)
        {
            if certificate.is_none() {
                guard = self.guard(guarding, fit)?;
            } else {
                guard = fit.guard.take();
            }
            if guard.is_none() {
                let reason = format!(
                    "slices that fail are kept on `{}`, and then no policy that was tried keeps the objective's constraints",
                    self.table.tiers[guarding.reference].name
                );
                warnings.push(reason.clone());
                refused = Some(reason);
                selected = None;
            }
        }
        if let Some(fit) = selected.and_then(|family| fits.iter_mut().find(|fit| fit.family == family)) {
            self.stop_early(fit, &folds, &mut guard, &mut warnings)?;
        }
        let selected = selected.and_then(|family| fits.iter().find(|fit| fit.family == family));
        let (comparison, singles_at) = self.compare(&fits);
        let rival = rival.filter(|_| nothing_cheaper_than.is_none());
        let fallen_back = nothing_cheaper_than.is_some();
        let apart = selected.and_then(|selected| self.judge_apart(selected, (rival, fallen_back)));
        let verdict = comparison.as_ref().zip(selected).map(|(comparison, selected)| {
            let position = fits.iter().position(|fit| fit.family == selected.family).unwrap_or(0);
            let who = Contestants { selected: position, singles: singles_at };
            let apart = apart.as_ref().map(|(_, apart)| apart);
            self.judge(comparison, &who, selected, (self.test.len(), apart), (rival, fallen_back))
        });
        if let Some(held) = verdict.iter().find_map(|verdict| verdict.objective.as_ref())
            && held.holds == Holds::No
        {
            warnings.push(format!(
                "{}; collect more rows, ask for more than is needed with `{}`, or set `confidence`",
                held.text, held.key
            ));
        }
        let mut families = Vec::new();
        for (position, fit) in fits.iter().enumerate() {
            let tail = fit.outcomes.cost_in_dearest_percent();
            let held_out =
                comparison.as_ref().map(|c| HeldOut::new(&c.figures(position), &fit.rules.tiers, tail));
            if tail > 0.2 && selected.is_some_and(|selected| selected.family == fit.family) {
                warnings.push(format!(
                    "the dearest 1 % of held-out rows make up {:.0} % of the selected policy's cost: its interval rests \
                     on few rows",
                    100.0 * tail
                ));
            }
            let family = self.family_report(fit, held_out);
            if selected.is_some_and(|selected| selected.family == fit.family) {
                warnings.extend(family.limits.iter().filter_map(outcome::broken_limit));
            }
            families.push(family);
        }
        if self.test.is_empty() {
            warnings.push("nothing was held out, so nothing is proven and no policy is written".into());
        }
        let position = selected.and_then(|fit| fits.iter().position(|other| other.family == fit.family));
        let policy = match (selected, &comparison, position) {
            (Some(fit), Some(comparison), Some(position)) => {
                Some(self.policy(fit, comparison, position, certificate)?)
            }
            _ => None,
        };
        let rules = policy.iter().map(|policy| &policy.rules);
        warnings.extend(rules.flat_map(|rules| warn_of_unavailable(rules, self.input.config, self.route)));
        let held_out = comparison.as_ref().map(|comparison| (comparison, singles_at, position));
        let weight = self.table.total_weight(&self.calibration);
        let options = self.input.options;
        let pairs = if options.details {
            pairs::report(&self.table, &self.calibration, options, self.route.fit.seed)
        } else {
            pairs::PairSection::default()
        };
        let shown = shown_pair(selected, &fits);
        let (structural, equal_budgets) =
            self.against_router(&fits, shown.map(|shown| shown.0)).unwrap_or_default();
        let learning_curve = if options.learning_curve { self.learning_curve(&fits)? } else { Vec::new() };
        let report = FitReport {
            route: self.route.name.clone(),
            objective: report::ObjectiveReport(self.objective.clone()),
            rows: report::Rows {
                used: self.table.len(),
                skipped: self.input.unreadable_rows + self.input.log.rows.len() - self.table.len(),
                calibration: self.calibration.len(),
                test: self.test.len(),
            },
            tiers: self.tier_reports(weight, held_out),
            left_out,
            selected: selected.map(|fit| fit.family.name()),
            selection: standings.iter().map(Into::into).collect(),
            shadow_price: selected
                .map(|fit| outcome::shadow_price(&fit.fitted.hull(), &fit.chosen))
                .unwrap_or_default(),
            duality_gap: selected.and_then(|fit| self.duality_gap(fit)),
            mixture: selected.and_then(|fit| self.mixture(fit)),
            limits: self.limit_reports(),
            certification: self
                .certification_outlook()
                .map(|outlook| report::Certification { nothing_cheaper_than, ..outlook }),
            traffic: self.traffic.as_ref().map(|(known, weighed)| {
                let policy = selected.map(|fit| (&fit.rules, &fit.outcomes));
                traffic::report(weighed, known, &self.table, (&self.calibration, &self.test), policy)
            }),
            guard,
            early_escalation: selected.and_then(|fit| fit.early.clone()),
            verdict: (&verdict.unwrap_or_else(|| {
                let why = match refused {
                    Some(reason) => format!("No policy: {reason}."),
                    None if selected.is_none() => self.infeasible(&fits),
                    None => "The verdict is undecided: nothing was held out to judge by.".to_owned(),
                };
                outcome::nothing_to_judge(why)
            }))
                .into(),
            without_near_duplicates: apart.map(|(held_out, Apart { rows, verdict })| report::ApartReport {
                rows,
                held_out,
                verdict: (&verdict).into(),
            }),
            router_calibration: self.router_calibration(&fits),
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
            structural_cost: structural.as_ref().map(|found| found.mean),
            structural_by_budget: structural.iter().flat_map(Decomposition::by_budget).collect(),
            equal_budgets,
            slices: self.slices(selected),
            benefit: shown.and_then(|(pair, cut)| {
                diagnostics::benefit(&self.table, &self.calibration, pair, Some(cut))
            }),
            reliability: shown.and_then(|(pair, _)| {
                diagnostics::reliability(&self.table, &self.calibration, &self.test, pair.cheap, pair.signal)
            }),
            signals: diagnostics::signals(&self.table, &self.calibration, &self.test),
            break_even: shown
                .filter(|_| !self.test.is_empty())
                .and_then(|(pair, cut)| break_even::laws(&self.table, &self.test, pair, cut)),
            learning_curve,
            missing_signals,
            warnings,
            families,
        };
        Ok(FitOutcome { policy, report })
    }

    fn learning_curve(&self, fits: &[Fit<'_>]) -> Result<Vec<report::LearningPoint>, FitError> {
        let measured = |fit: &Fit<'_>| Some((fit.family, fit.curve.as_ref()?.area_hull));
        let whole: Vec<(Family, f64)> = fits.iter().filter_map(measured).collect();
        let setting = learning::Setting {
            pool: self.pool(),
            calibration: &self.calibration,
            test: &self.test,
            names: &self.group_names,
            seed: self.route.fit.seed,
        };
        setting.curve(&whole)
    }

    fn limit_reports(&self) -> Vec<report::LimitReport> {
        if self.limits.is_empty() {
            return Vec::new();
        }
        let target = self.target(&self.calibration);
        let threads = self.input.options.threads;
        let multipliers = limited::multipliers(&self.table, &self.calibration, &self.limits, target, threads);
        let quality = if multipliers.quality > 0.0 { multipliers.over } else { Default::default() };
        self.limits
            .list()
            .iter()
            .zip(quality)
            .map(|(limit, quality_per_share)| report::LimitReport {
                limit: limit.key(),
                bound: match limit.tail {
                    Tail::LatencyMs(bound) => bound,
                    Tail::Cost(bound) => bound.to_f64(),
                },
                share: limit.share,
                quality_per_share,
            })
            .collect()
    }

    fn duality_gap(&self, fit: &Fit<'_>) -> Option<f64> {
        let Target::Budget(limit) = self.target(&self.calibration) else { return None };
        let hull: Vec<Totals> = fit.fitted.hull().iter().map(|vertex| vertex.totals).collect();
        let weight = self.table.total_weight(&self.calibration);
        Some(envelope::duality_gap(&hull, fit.chosen.totals, limit, weight))
    }

    /// Router against cascade, taken apart (MATH.md 9), and against the shown pair at equal budgets; `None` without a
    /// router or held-out rows.
    fn against_router(
        &self,
        fits: &[Fit<'_>],
        shown: Option<Pair>,
    ) -> Option<(Option<Decomposition>, Vec<EqualBudget>)> {
        let router = fits.iter().find(|fit| fit.family == Family::Router)?;
        let setting = structural::Setting {
            table: &self.table,
            calibration: &self.calibration,
            test: &self.test,
            budgets: &Budgets::new(&self.table, &self.calibration),
            threads: self.input.options.threads,
        };
        let predictions = structural::predictions(&setting, self.input.log, router.fitted.router_fit()?)?;
        let decomposition = structural::decompose(&setting, &predictions, router.curve.as_ref()?);
        let equal_budgets = shown.map_or_else(Vec::new, |pair| {
            break_even::equal_budgets(&self.table, &self.test, pair, &predictions[pair.cheap])
        });
        Some((Some(decomposition), equal_budgets))
    }

    /// How well the router's predictions fit, out of fold and on held-out rows.
    fn router_calibration(&self, fits: &[Fit<'_>]) -> Vec<report::RouterCalibration> {
        let router = fits.iter().find_map(|fit| fit.fitted.router_fit());
        let known = router.and_then(|fit| {
            let rows = self.test.iter().map(|&row| self.table.log_row[row as usize] as usize);
            Some((fit, KnownPredictions::new(&fit.router, self.input.log, rows).ok()?))
        });
        known.map_or_else(Vec::new, |(fit, known)| {
            diagnostics::router_calibration(&self.table, &self.calibration, &self.test, fit, &known)
        })
    }

    /// The selected policy beside the verdict's reference, label by label.
    fn slices(&self, selected: Option<&Fit<'_>>) -> Vec<report::Slice> {
        let reference = verdict::reference_tier(
            &self.table,
            &self.calibration,
            self.target(&self.calibration),
            &self.eligible(),
        );
        let (Some(fit), Some(reference)) = (selected, reference) else { return Vec::new() };
        let single = Outcomes::single(&self.table, reference, &self.test);
        let policy = (&fit.outcomes, fit.rules.tiers.as_slice());
        slices::report(self.input.log, &self.table, &self.test, policy, &single)
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

    /// The single tiers that keep the limits on calibration rows: a reference that breaks them would be none.
    pub(super) fn eligible(&self) -> Vec<usize> {
        let allowed = self.allowed(&self.calibration);
        (0..self.table.tiers.len())
            .filter(|&tier| {
                let single = Outcomes::single(&self.table, tier, &self.calibration);
                within(single.over(&self.table, &self.calibration, &self.limits), allowed)
            })
            .collect()
    }

    /// The selected policy on the held-out rows that repeat no calibration row, not even nearly; `None` where these are all
    /// rows, or none.
    fn judge_apart(&self, fit: &Fit<'_>, others: (Option<Rival>, bool)) -> Option<(HeldOut, Apart)> {
        let places = self.apart();
        if places.is_empty() || places.len() == self.test.len() {
            return None;
        }
        let rows: Vec<u32> = places.iter().map(|&place| self.test[place]).collect();
        let outcomes = fit.outcomes.at(&places);
        let singles: Vec<Outcomes> =
            (0..self.table.tiers.len()).map(|tier| Outcomes::single(&self.table, tier, &rows)).collect();
        let mut policies = vec![(&outcomes, fit.rules.tiers.len())];
        policies.extend(singles.iter().map(|outcomes| (outcomes, 0)));
        let (seed, threads) = (self.route.fit.seed, self.input.options.threads);
        let comparison = Comparison::new(&self.table, &rows, &policies, seed, threads);
        let held_out =
            HeldOut::new(&comparison.figures(0), &fit.rules.tiers, outcomes.cost_in_dearest_percent());
        let who = Contestants { selected: 0, singles: 1 };
        let verdict = self.judge(&comparison, &who, fit, (rows.len(), None), others);
        Some((held_out, Apart { rows: rows.len(), verdict }))
    }

    fn judge(
        &self,
        comparison: &Comparison,
        who: &Contestants,
        selected: &Fit<'_>,
        (test_rows, apart): (usize, Option<&Apart>),
        (rival, fallen_back): (Option<Rival>, bool),
    ) -> Verdict {
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
            calibration: selected.totals_with_stops.unwrap_or(selected.chosen.totals),
            selected_tier,
            rival,
            goal: &self.objective.goal,
            target: self.target(&self.calibration),
            nothing_cheaper_on: fallen_back.then_some(self.certification.len()),
            smallest_gain: self.route.fit.smallest_gain,
            calls_per_day: self.route.calls_per_day,
            eligible: self.eligible(),
            rows: &self.calibration,
            test_rows,
            apart,
        };
        verdict::judge(comparison, who, &self.table, &facts)
    }
}

/// The pair whose signal the report looks into: the first two stages of the selected policy, else of the best pair.
fn shown_pair(selected: Option<&Fit<'_>>, fits: &[Fit<'_>]) -> Option<(Pair, f64)> {
    let candidates = selected.into_iter().chain(fits.iter().filter(|fit| fit.family == Family::Pair));
    candidates.into_iter().find_map(|fit| pair_of(&fit.chosen.draft))
}

/// The first two stages of a cascade, of the dearer one in a mixture.
fn pair_of(draft: &Draft) -> Option<(Pair, f64)> {
    match draft {
        Draft::Cascade(rule) | Draft::Abstaining(AbstainingRule { cascade: rule, .. }) => {
            let (&[cheap, dear, ..], cut) = (&rule.tiers[..], rule.cuts.first()?) else { return None };
            Some((Pair { cheap, signal: cut.signal, dear }, cut.at_least))
        }
        Draft::Mixed(mixed) => pair_of(&mixed.right).or_else(|| pair_of(&mixed.left)),
        Draft::Routed(_) | Draft::Penalised { .. } | Draft::Planned(_) => None,
    }
}
