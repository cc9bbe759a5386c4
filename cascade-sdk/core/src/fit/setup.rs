//! Everything that is fixed before the first family is fitted: rows, halves, order of tiers, usable signals.

use super::families::Pool;
use super::guard::{self, Guarding};
use super::limited;
use super::limits::{Limits, Over, Tail};
use super::objective::{Multipliers, Target};
use super::report::{Certification, MissingSignal};
use super::route::FitInput;
use super::verdict;
use crate::config::{Family, Goal, Objective, Route};
use crate::diag::Diagnostic;
use crate::fit::analysis::combined;
use crate::fit::inference::certify::{self, Trial};
use crate::fit::inference::crossfit;
use crate::fit::inference::promises::Promise;
use crate::fit::rows::coverage::{self, Coverage};
use crate::fit::rows::near;
use crate::fit::rows::pool::{refuse_sparse_signals, refuse_unavailable_signals};
use crate::fit::rows::table::{Table, Totals};
use crate::fit::rows::traffic::{self, Traffic, Weighed};
use crate::log::{Embeddings, EvalLog, Split, other_requests};
use crate::name::{collect_command, shell_word};

/// Everything that is fixed before the first family is fitted.
pub(super) struct Setup<'a> {
    pub(super) input: &'a FitInput<'a>,
    pub(super) route: &'a Route,
    pub(super) objective: &'a Objective,
    pub(super) limits: Limits,
    pub(super) table: Table,
    pub(super) group_names: Vec<String>,
    pub(super) calibration: Vec<u32>,
    /// Rows set aside to test the constraint; empty without `confidence`.
    pub(super) certification: Vec<u32>,
    /// What is to be certified; empty without `confidence`.
    pub(super) promises: Vec<Promise>,
    pub(super) test: Vec<u32>,
    /// The traffic that rows are weighed for.
    pub(super) traffic: Option<(&'a Traffic, Weighed)>,
    pub(super) missing: Vec<MissingSignal>,
    pub(super) warnings: Vec<String>,
}

impl<'a> Setup<'a> {
    pub(super) fn new(
        input: &'a FitInput<'a>,
        route: &'a Route,
        objective: &'a Objective,
        pool: &[&str],
        (halves, groups): (&[Split], &[String]),
        traffic: Option<&'a Traffic>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let log = input.log;
        // Variants of one request are one observation: in folds, in the halves and the test of a certificate, and in every
        // interval (MATH.md 11). The split alone is by the log's own groups (DESIGN.md 5).
        let mut table = Table::new(log, pool, |row| groups[row].clone());
        let traffic = match traffic {
            Some(traffic) if !table.is_empty() => {
                Some((traffic, traffic::reweigh(&mut table, log, traffic)?))
            }
            _ => None,
        };
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
                .help(format!(
                    "run `{}`, or lower held_out in [routes.{}.fit]",
                    collect_command(&route.name, ""),
                    route.name
                )),
            ]);
        }
        let mut group_names = vec![String::new(); table.groups];
        for (&group, &log_row) in table.group.iter().zip(&table.log_row) {
            if group_names[group as usize].is_empty() {
                group_names[group as usize].clone_from(&groups[log_row as usize]);
            }
        }
        let mut certification = Vec::new();
        if objective.confidence.is_some() {
            // Before anything is chosen: B takes part in nothing but the test.
            (calibration, certification) =
                certify::halves(&table, &calibration, &group_names, route.fit.seed);
            if calibration.is_empty() || certification.is_empty() {
                let message = "too few calibration rows to set half of them aside for a certificate";
                return Err(vec![
                    Diagnostic::error("fit::no-rows", message)
                        .help(format!("run `{}`, or remove `confidence`", collect_command(&route.name, ""))),
                ]);
            }
        }
        table.order_by_cost(&calibration);
        if let Some(settings) = &route.guard {
            guard::check_tag(settings, log, &table, &route.name)?;
        }
        check_embeddings(route, log)?;
        let mut warnings = refuse_unavailable_signals(&mut table, input.config, route);
        let (missing, sparse) = refuse_sparse_signals(&mut table, &calibration);
        warnings.extend(sparse);
        warnings.extend(coverage::rows_without_results(log, &table, &route.name));
        if [Family::Router, Family::RoutedCascade].iter().any(|family| route.fit.families.contains(family)) {
            warnings.extend(Coverage::of(log, &table).warnings());
        }
        let others = other_requests(log, input.config, route, input.schema);
        warnings.extend(others.iter().map(Diagnostic::in_words));
        if traffic.as_ref().is_some_and(|(traffic, _)| traffic.was_mended()) {
            warnings
                .push("the traffic has escapes that are half a character, which were read as U+FFFD".into());
        }
        let limits = Limits::of(objective);
        if limits.list().iter().any(|limit| matches!(limit.tail, Tail::LatencyMs(_))) {
            warnings.extend(check_latencies(&table, &calibration, &route.name)?);
            let untimed = |embeddings: &&Embeddings| !embeddings.has_latencies();
            if log.embeddings.as_ref().is_some_and(|embeddings| untimed(&embeddings)) {
                warnings.push(
                    "the log does not say how long embeddings took (`embedding_latency_ms`), so they count as nothing"
                        .to_owned(),
                );
            }
        }
        let near = near::leak(log, groups, route.fit.seed, route.fit.held_out);
        // `cascade check` names the rows.
        warnings.extend(near.map(|found| format!("{}; {}", found.message, near::LEAK_REMEDY)));
        if let Goal::MaxQualityLoss { versus, .. } = &objective.goal
            && !table.tiers.iter().any(|tier| &tier.name == versus)
        {
            return Err(vec![
                Diagnostic::error(
                    "fit::reference-left-out",
                    format!("the objective refers to tier `{versus}`, which has too few rows to take part"),
                )
                .help(format!(
                    "run `{}`",
                    collect_command(&route.name, &format!("--tiers {}", shell_word(versus)))
                )),
            ]);
        }
        let promises =
            if objective.confidence.is_some() { Promise::all(objective, &table) } else { Vec::new() };
        if objective.confidence.is_some() && input.options.refit_on_all {
            warnings
                .push("a certified policy is the one that was tested: it is not refitted on all rows".into());
        }
        let folds = crossfit::folds(&table, &calibration, &group_names, route.fit.seed);
        combined::add(&mut table, &calibration, &folds);
        Ok(Self {
            input,
            route,
            objective,
            limits,
            table,
            group_names,
            calibration,
            certification,
            promises,
            test,
            traffic,
            missing,
            warnings,
        })
    }

    /// What certifying takes, known before anything is fitted; `None` without `confidence`.
    pub(super) fn certification_outlook(&self) -> Option<Certification> {
        self.objective.confidence?;
        Some(certify::outlook(&self.trial(), &self.promises))
    }

    /// What certificates are tested with.
    pub(super) fn trial(&self) -> Trial<'_> {
        Trial {
            config: self.input.config,
            embedding: self.route.embedding.as_ref(),
            log: self.input.log,
            table: &self.table,
            choosing: &self.calibration,
            rows: &self.certification,
            group_names: &self.group_names,
            seed: self.route.fit.seed,
            confidence: self.objective.confidence.unwrap_or_default(),
            attempt: self.input.options.attempt,
            guarding: self.guarding(),
            weights_are_estimated: self.traffic.is_some(),
        }
    }

    /// The route's guard, if it has one and there is a tier to keep slices on.
    pub(super) fn guarding(&self) -> Option<Guarding<'_>> {
        let settings = self.route.guard.as_ref()?;
        let named = match (&settings.tier, &self.objective.goal) {
            (Some(tier), _) | (None, Goal::MaxQualityLoss { versus: tier, .. }) => Some(tier),
            _ => None,
        };
        let reference = match named {
            Some(name) => self.table.tiers.iter().position(|tier| &tier.name == name)?,
            None => verdict::reference_tier(
                &self.table,
                &self.calibration,
                self.target(&self.calibration),
                &self.eligible(),
            )?,
        };
        let (log, table, rows) = (self.input.log, &self.table, self.calibration.as_slice());
        Some(Guarding { settings, log, table, rows, reference })
    }

    /// The places of the held-out rows of groups that no row but a held-out one is in.
    pub(super) fn apart(&self) -> Vec<usize> {
        let mut seen = vec![false; self.table.groups];
        for &row in self.calibration.iter().chain(&self.certification) {
            seen[self.table.group[row as usize] as usize] = true;
        }
        let of = |place: &usize| self.table.group[self.test[*place] as usize] as usize;
        (0..self.test.len()).filter(|place| !seen[of(place)]).collect()
    }

    pub(super) fn pool(&self) -> Pool<'_> {
        Pool {
            table: &self.table,
            log: self.input.log,
            settings: &self.route.fit,
            limits: &self.limits,
            threads: self.input.options.threads,
        }
    }

    /// The weights of the rows that may exceed each limit.
    pub(super) fn allowed(&self, rows: &[u32]) -> Over {
        self.limits.allowed(self.table.total_weight(rows))
    }

    /// The multipliers at the target on rows: by a hull, under limits from all single tiers and pairs.
    pub(super) fn multipliers(
        &self,
        table: &Table,
        rows: &[u32],
        hull: impl FnOnce() -> Vec<Totals>,
    ) -> Multipliers {
        let target = self.target(rows);
        if self.limits.is_empty() {
            return Multipliers::at(target, &hull());
        }
        limited::multipliers(table, rows, &self.limits, target, self.input.options.threads)
    }

    pub(super) fn target(&self, rows: &[u32]) -> Target {
        // The reference tier was checked when the setup was made.
        Target::on(&self.objective.goal, &self.table, rows).unwrap_or(Target::Price(0.0))
    }
}

/// A router may read an embedding that every row has, as every request will.
fn check_embeddings(route: &Route, log: &EvalLog) -> Result<(), Vec<Diagnostic>> {
    let routes =
        [Family::Router, Family::RoutedCascade].iter().any(|family| route.fit.families.contains(family));
    let Some(settings) = route.embedding.as_ref().filter(|_| routes) else { return Ok(()) };
    let rows = log.rows.len();
    let without = log.embeddings.as_ref().map_or(rows, Embeddings::missing);
    if without == 0 {
        return Ok(());
    }
    let message = format!("{without} of {rows} rows have no `embedding` by `{}`", settings.model);
    if let Some(file) = &settings.file {
        let texts = log.rows.iter().filter(|row| row.text.is_some()).count();
        let error = if texts == rows {
            let message = format!("the file of word vectors `{file}` was not read");
            Diagnostic::error("fit::embedding-missing", message)
                .help("switch the feature `static-embedding` of cascade-sdk on")
        } else {
            let message = format!("{} of {rows} rows have no prompt to read vectors of", rows - texts);
            Diagnostic::error("fit::embedding-missing", message)
                .help("give every row its `input` or `messages`")
        };
        return Err(vec![error.help(format!("or remove [routes.{}.embedding]", route.name))]);
    }
    let remedy = match &settings.served {
        Some(_) => format!("run `cascade embed {}`", shell_word(&route.name)),
        None => format!("give every row of the log an `embedding` of {} numbers", settings.dimensions),
    };
    Err(vec![
        Diagnostic::error("fit::embedding-missing", message)
            .help(remedy)
            .help(format!("or remove [routes.{}.embedding]", route.name)),
    ])
}

/// Refuses a limit on latency where some tier's latencies are mostly unknown, and says what is assumed where some are.
fn check_latencies(table: &Table, calibration: &[u32], route: &str) -> Result<Vec<String>, Vec<Diagnostic>> {
    let unknown = |latencies: &[f32]| {
        let count = calibration.iter().filter(|&&row| latencies[row as usize].is_nan()).count();
        count as f64 / calibration.len().max(1) as f64
    };
    let shares: Vec<(&str, f64)> =
        table.tiers.iter().map(|tier| (tier.name.as_str(), unknown(&tier.latency_ms))).collect();
    let refused: Vec<Diagnostic> = shares
        .iter()
        .filter(|(_, share)| *share > 0.5)
        .map(|(tier, share)| {
            let message = format!(
                "max_latency_ms_p95 cannot be judged: the log has no `latency_ms` in {:.0} % of the results of tier `{tier}`",
                100.0 * share
            );
            Diagnostic::error("fit::latency-missing", message)
                .help(format!(
                    "run `{}`, which records latencies",
                    collect_command(route, &format!("--replace-tier {}", shell_word(tier)))
                ))
                .help(format!("or remove max_latency_ms_p95 from [routes.{route}.objective]"))
        })
        .collect();
    if !refused.is_empty() {
        return Err(refused);
    }
    let mut warnings =
        vec!["latencies come from the log, where calls were made without the load of production".to_owned()];
    warnings.extend(shares.iter().filter(|(_, share)| *share > 0.0).map(|(tier, share)| {
        format!(
            "latency of tier `{tier}` is unknown in {:.1} % of rows; a request whose latency is unknown counts as too \
             long",
            100.0 * share
        )
    }));
    Ok(warnings)
}
