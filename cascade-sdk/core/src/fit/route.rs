//! Fitting one route: what goes in, what comes out.

use super::report::{Certification, FitReport, LeftOut};
use super::setup::Setup;
use crate::config::{Config, Objective, Route};
use crate::diag::Diagnostic;
use crate::fit::rows::near;
use crate::fit::rows::pool::choose_pool;
use crate::fit::rows::traffic::Traffic;
use crate::log::{EvalLog, Split};
use crate::name;
use crate::policy::Policy;

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
    /// Whether the report is filled in beyond what the policy, its figures and the verdict need: frontiers of pairs,
    /// curves, structural cost. Without, a fit takes a fraction of the time.
    pub details: bool,
    /// Whether the report says what fits on parts of the rows are worth, which takes the curves as well: about three times
    /// the work.
    pub learning_curve: bool,
    /// Which attempt at a certificate this is, from 1; repeated attempts weaken its promise.
    pub attempt: u32,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self {
            threads: 1,
            max_points: 2_000,
            refit_on_all: false,
            details: true,
            learning_curve: false,
            attempt: 1,
        }
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
    prepare(input)?.fit()
}

/// A fit whose rows are set apart and whose inputs are checked, and that has not begun.
pub struct Prepared<'a> {
    setup: Setup<'a>,
    left_out: Vec<LeftOut>,
}

impl std::fmt::Debug for Prepared<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").finish_non_exhaustive()
    }
}

/// Checks everything that can be known before the fit.
///
/// # Errors
/// As [`fit_route`].
pub fn prepare<'a>(input: &'a FitInput<'a>) -> Result<Prepared<'a>, Vec<Diagnostic>> {
    prepare_for(input, None)
}

/// As [`prepare`], with the rows weighed like some traffic.
///
/// # Errors
/// As [`fit_route`], and if the traffic and the log have nothing in common.
pub fn prepare_for<'a>(
    input: &'a FitInput<'a>,
    traffic: Option<&'a Traffic>,
) -> Result<Prepared<'a>, Vec<Diagnostic>> {
    let (route, objective) = route_and_objective(input)?;
    let halves: Vec<Split> =
        input.log.rows.iter().map(|row| crate::log::half(row, route.fit.seed, route.fit.held_out)).collect();
    let groups = near::group_keys(input.log);
    let (pool, left_out) = choose_pool(route, input.log, (&halves, &groups))?;
    let setup = Setup::new(input, route, objective, &pool, (&halves, &groups), traffic)?;
    Ok(Prepared { setup, left_out })
}

impl Prepared<'_> {
    /// What certifying takes (MATH.md 11.1); `None` without `confidence`.
    pub fn certification(&self) -> Option<Certification> {
        self.setup.certification_outlook()
    }

    /// Fits.
    ///
    /// # Errors
    /// As [`fit_route`].
    pub fn fit(self) -> Result<FitOutcome, Vec<Diagnostic>> {
        self.setup
            .run(self.left_out)
            .map_err(|error| {
                vec![
                    Diagnostic::error("fit::replay", error.to_string())
                        .help("run `cascade check`, and mend or remove the row if it names one")
                        .help("if it names none, please report this message: a policy that was just fitted should run"),
                ]
            })
    }
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
