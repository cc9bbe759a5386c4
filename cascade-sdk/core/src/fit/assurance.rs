//! What makes a chosen policy keep its promises: a certificate for it, and a guard.

use super::FitError;
use super::constraint::Constraint;
use super::family::Candidate;
use super::guard::Guarding;
use super::objective::Target;
use super::protocol::Fit;
use super::report::GuardReport;
use super::setup::Setup;
use crate::config::Family;
use crate::fit::inference::certify::{self, Certified};
use crate::fit::inference::simulate::Outcomes;
use crate::fit::rows::table::Totals;
use crate::policy::Certificate;

/// How often a policy is chosen anew under a tighter constraint because the guard breaks the stated one.
const GUARD_ROUNDS: usize = 12;

/// A family that is certified to keep the objective.
pub(super) struct Assured {
    /// The family: the selected one, or `single` where nothing but the reference tier passed.
    pub(super) family: Family,
    pub(super) certificate: Certificate,
    /// The reference tier, where nothing cheaper passed.
    pub(super) nothing_cheaper_than: Option<String>,
}

impl Setup<'_> {
    /// Moves the selected family to the best point that the rows set aside certify, or falls back on the reference tier;
    /// a sentence if neither passes.
    pub(super) fn certify(
        &self,
        fits: &mut [Fit<'_>],
        selected: Family,
    ) -> Result<Result<Assured, String>, FitError> {
        if self.promises.is_empty() {
            return Ok(Err("nothing to certify".into()));
        }
        let target = self.target(&self.calibration);
        let fitted = |family: Family| fits.iter().find(|fit| fit.family == family).map(|fit| &*fit.fitted);
        let (Some(own), Some(single)) = (fitted(selected), fitted(Family::Single)) else {
            return Ok(Err("the single tiers could not be fitted, so nothing is certified".into()));
        };
        let walked = certify::walk(&self.trial(), &self.promises, target, own, single)?;
        let Certified { chosen, is_reference, rules, guard, certificate } = match walked {
            Ok(Some(certified)) => certified,
            Ok(None) => {
                return Ok(Err(format!(
                    "not certified: even the safest {} policy fails the test on {} rows; collect more rows, lower `confidence`, \
                     or loosen `{}`",
                    selected.name(),
                    self.certification.len(),
                    self.objective.goal.key()
                )));
            }
            Err(reason) => return Ok(Err(reason)),
        };
        let family = if is_reference { Family::Single } else { selected };
        let reference = is_reference.then(|| rules.tiers.concat());
        if let Some(fit) = fits.iter_mut().find(|fit| fit.family == family) {
            fit.outcomes = Outcomes::of(&rules, self.input.log, &self.table, &self.test)?;
            (fit.rules, fit.guard, fit.chosen, fit.feasible) = (rules, guard, chosen, true);
        }
        Ok(Ok(Assured { family, certificate, nothing_cheaper_than: reference }))
    }

    /// Guards the selected policy. Where the guard breaks a constraint, the policy before it is chosen under a tighter one;
    /// `None` if that does not help either.
    pub(super) fn guard(
        &self,
        guarding: Guarding<'_>,
        fit: &mut Fit<'_>,
    ) -> Result<Option<GuardReport>, FitError> {
        let target = self.target(&self.calibration);
        let (mut tighter, mut chosen) = (target, fit.chosen.clone());
        let hull: Vec<Totals> = fit.fitted.hull().iter().map(|vertex| vertex.totals).collect();
        let known = fit.fitted.out_of_fold(&self.calibration);
        let sums = |outcomes: &Outcomes| outcomes.sums(&self.table, &self.calibration, &self.limits);
        for _ in 0..GUARD_ROUNDS {
            let unguarded = fit.fitted.rules(&chosen);
            let outcomes = guarding.outcomes(&unguarded, &known)?;
            let report = guarding.judge(&outcomes);
            let rules = guarding.guarded(unguarded, &report);
            let before = (chosen.totals, sums(&outcomes));
            let constraint = Constraint::new(target, before, self.allowed(&self.calibration), &hull);
            let now = sums(&guarding.outcomes(&rules, &known)?);
            let totals = constraint.promise(now);
            if constraint.broken(now).nothing() {
                fit.outcomes = Outcomes::of(&rules, self.input.log, &self.table, &self.test)?;
                fit.rules = rules;
                fit.chosen = Candidate { totals, ..chosen };
                return Ok(Some(report));
            }
            let missing = target.missing(totals);
            tighter = match tighter {
                Target::Budget(limit) => Target::Budget(limit - missing.max(1)),
                Target::Floor(floor) => Target::Floor(floor + missing.max(1)),
                Target::Price(_) => return Ok(None),
            };
            let Some(next) = fit.fitted.solve(tighter) else { return Ok(None) };
            chosen = next;
        }
        Ok(None)
    }
}
