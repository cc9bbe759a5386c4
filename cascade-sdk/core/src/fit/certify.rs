//! Certificates: a constraint that holds on fresh data with a stated confidence (MATH.md 11.1).
//!
//! Calibration rows are split by group into A and B. A chooses everything, including **one** path of policies from the
//! safest to the riskiest along its hull and the optima between its vertices. B runs one fixed-sequence test along that path and stops at the first
//! failure, so the whole path shares one δ. Nothing is refitted afterwards.

use super::FitError;
use super::bounds::{binomial_lower, fewest_rows, mean_exceeds};
use super::family::{Candidate, FittedFamily};
use super::simulate::Outcomes;
use super::table::{QUALITY_ONE, Table};
use crate::config::{Config, Goal};
use crate::hash::Hasher;
use crate::log::EvalLog;
use crate::money::{PICO_PER_USD, Usage, Usd};
use crate::policy::{Certificate, Rules};

/// Splits rows by group into A, which chooses, and B, which tests.
pub fn halves(table: &Table, rows: &[u32], group_names: &[String], seed: u64) -> (Vec<u32>, Vec<u32>) {
    rows.iter().partition(|&&row| key(table, row, group_names, seed).fraction() < 0.5)
}

fn key(table: &Table, row: u32, group_names: &[String], seed: u64) -> Hasher {
    let name = group_names.get(table.group[row as usize] as usize).map_or("", String::as_str);
    Hasher::new().part("certify").part(seed.to_le_bytes()).part(name)
}

/// The constraint that is to be certified, as "the mean of values in [0, 1] exceeds a level".
#[derive(Clone, Debug, PartialEq)]
pub enum Promise {
    /// Mean quality of at least this.
    Quality(f64),
    /// Mean quality of at most `by` below that of tier `versus` (index into the table).
    Loss {
        /// The reference tier.
        versus: usize,
        /// The loss allowed, in quality.
        by: f64,
    },
    /// Mean cost of at most this.
    Cost(Usd),
}

impl Promise {
    /// The promise of a goal; `None` where it constrains nothing.
    pub fn of(goal: &Goal, table: &Table) -> Option<Self> {
        match goal {
            Goal::MaxCost(limit) => Some(Self::Cost(*limit)),
            Goal::MinQuality(floor) => Some(Self::Quality(*floor)),
            Goal::MaxQualityLoss { versus, by } => {
                let versus = table.tiers.iter().position(|tier| &tier.name == versus)?;
                Some(Self::Loss { versus, by: *by })
            }
            Goal::ShadowPrice(_) | Goal::MaxQuality => None,
        }
    }

    fn words(&self, table: &Table) -> String {
        match self {
            Self::Quality(floor) => format!("mean quality is at least {floor}"),
            Self::Loss { versus, by } => {
                format!("mean quality is at most {by} below that of `{}`", table.tiers[*versus].name)
            }
            Self::Cost(limit) => format!("mean cost is at most {limit} USD a request"),
        }
    }

    /// Whether the safest policies are the cheapest ones.
    pub fn safest_is_cheapest(&self) -> bool {
        matches!(self, Self::Cost(_))
    }

    /// The fewest rows of B that could certify it, where that is known beforehand.
    pub fn fewest_rows(&self, delta: f64) -> Option<u64> {
        match self {
            Self::Quality(floor) => Some(fewest_rows(*floor, delta)),
            Self::Loss { by, .. } => Some(fewest_rows((1.0 - by) / 2.0, delta)),
            Self::Cost(_) => None,
        }
    }
}

/// The result of a test along the path.
#[derive(Clone, Debug)]
pub struct Certified {
    /// The riskiest policy that passed.
    pub chosen: Candidate,
    /// What is promised.
    pub certificate: Certificate,
}

/// What a certificate is tested with.
#[derive(Clone, Copy, Debug)]
pub struct Trial<'a> {
    /// The configuration, for the limits that bound the cost of a call.
    pub config: &'a Config,
    /// The log.
    pub log: &'a EvalLog,
    /// The numbers.
    pub table: &'a Table,
    /// B.
    pub rows: &'a [u32],
    /// Names of the groups.
    pub group_names: &'a [String],
    /// Seed of the order in which bets are placed.
    pub seed: u64,
    /// Confidence asked for.
    pub confidence: f64,
    /// Which attempt this is.
    pub attempt: u32,
}

/// Points of the path on each edge of the hull: the next riskier vertex may be a long way off.
const BETWEEN: i128 = 4;

/// A family's operating points from the safest to the riskiest: the vertices of its hull and optima between them.
fn path(promise: &Promise, family: &dyn FittedFamily) -> Vec<Candidate> {
    let hull = family.hull();
    let mut path: Vec<Candidate> = Vec::new();
    for (at, vertex) in hull.iter().enumerate() {
        path.push(vertex.clone());
        let Some(next) = hull.get(at + 1) else { break };
        for step in 1..BETWEEN {
            let level = |from: i128, to: i128| from + (to - from) * step / BETWEEN;
            let found = if promise.safest_is_cheapest() {
                family.at_budget(level(vertex.totals.cost, next.totals.cost))
            } else {
                family.at_floor(level(vertex.totals.quality, next.totals.quality))
            };
            let rises = |from: &Candidate, to: &Candidate| {
                from.totals.cost < to.totals.cost && from.totals.quality < to.totals.quality
            };
            if let Some(found) =
                found.filter(|found| path.last().is_some_and(|last| rises(last, found)) && rises(found, next))
            {
                path.push(found);
            }
        }
    }
    if !promise.safest_is_cheapest() {
        path.reverse();
    }
    path
}

/// Walks along a family's path from the safest policy to the riskiest and returns the last one that passes, `None` if
/// even the safest fails. `Err` with a sentence where the promise cannot be tested at all.
///
/// # Errors
/// As [`Outcomes::of`].
pub fn walk(
    trial: &Trial<'_>,
    promise: &Promise,
    family: &dyn FittedFamily,
) -> Result<Result<Option<Certified>, String>, FitError> {
    let order = trial.order();
    let mut last: Option<(Candidate, &'static str)> = None;
    for candidate in path(promise, family) {
        let rules = family.rules(&candidate);
        let outcomes = Outcomes::of(&rules, trial.log, trial.table, &order)?;
        let method = match trial.passes(promise, &rules, &outcomes, &order) {
            Ok(Some(method)) => method,
            Ok(None) => break,
            Err(reason) => return Ok(Err(reason)),
        };
        last = Some((candidate, method));
    }
    Ok(Ok(last.map(|(chosen, method)| Certified { chosen, certificate: trial.certificate(promise, method) })))
}

impl Trial<'_> {
    fn delta(&self) -> f64 {
        1.0 - self.confidence
    }

    /// B in an order that depends on the groups' names alone; rows of a group stay together.
    fn order(&self) -> Vec<u32> {
        let mut keyed: Vec<([u8; 32], u32)> = self
            .rows
            .iter()
            .map(|&row| (key(self.table, row, self.group_names, self.seed).part("order").bytes(), row))
            .collect();
        keyed.sort_unstable();
        keyed.into_iter().map(|(_, row)| row).collect()
    }

    /// The name of the test that the policy passed, or `None`; `Err` says why it cannot be tested.
    fn passes(
        &self,
        promise: &Promise,
        rules: &Rules,
        outcomes: &Outcomes,
        order: &[u32],
    ) -> Result<Option<&'static str>, String> {
        let quality = |position: usize| outcomes.quality[position] as f64 / QUALITY_ONE as f64;
        match promise {
            Promise::Quality(floor) => {
                let binary = outcomes.quality.iter().all(|&q| q == 0 || q == QUALITY_ONE);
                if binary && self.rows_are_alone(order) {
                    let successes = outcomes.quality.iter().filter(|&&q| q == QUALITY_ONE).count() as u64;
                    let bound = binomial_lower(successes, order.len() as u64, self.delta());
                    return Ok((bound >= *floor).then_some("clopper-pearson"));
                }
                Ok(self.bet(order, *floor, quality).then_some("betting"))
            }
            Promise::Loss { versus, by } => {
                let reference = &self.table.tiers[*versus];
                let itself = rules.tiers.first() == Some(&reference.name)
                    && rules.plans.iter().all(|plan| plan.stages.len() == 1)
                    && rules.tiers.len() == 1;
                if itself {
                    return Ok(Some("identity"));
                }
                let mapped = |position: usize| {
                    let own = reference.quality[order[position] as usize] as f64 / QUALITY_ONE as f64;
                    f64::midpoint(quality(position) - own, 1.0)
                };
                Ok(self.bet(order, (1.0 - by) / 2.0, mapped).then_some("betting"))
            }
            Promise::Cost(limit) => {
                let most = self.most_a_request_can_cost(rules)?;
                if outcomes.cost.iter().any(|&cost| cost > most.pico()) {
                    return Err(format!(
                        "a row of the log costs more than {most} USD, which max_input_tokens and max_output_tokens \
                         say is impossible"
                    ));
                }
                let most = most.pico() as f64;
                let saved = |position: usize| 1.0 - outcomes.cost[position] as f64 / most;
                Ok(self.bet(order, 1.0 - limit.pico() as f64 / most, saved).then_some("betting"))
            }
        }
    }

    fn rows_are_alone(&self, order: &[u32]) -> bool {
        let groups = |pair: &[u32]| self.table.group[pair[0] as usize] != self.table.group[pair[1] as usize];
        order.windows(2).all(groups) && order.iter().all(|&row| self.table.weight[row as usize] == 1)
    }

    /// Bets on group means: the weighted excess over the level of a whole group, scaled by the largest group, lies in
    /// [−level, 1 − level] and has mean 0 or more iff the mean over rows is at least the level.
    fn bet(&self, order: &[u32], level: f64, value: impl Fn(usize) -> f64) -> bool {
        let mut groups: Vec<(u32, f64, f64)> = Vec::new();
        for (position, &row) in order.iter().enumerate() {
            let (group, weight) = (self.table.group[row as usize], self.table.weight[row as usize] as f64);
            let excess = weight * (value(position) - level);
            match groups.last_mut() {
                Some(last) if last.0 == group => {
                    last.1 += excess;
                    last.2 += weight;
                }
                _ => groups.push((group, excess, weight)),
            }
        }
        let largest = groups.iter().map(|group| group.2).fold(0.0, f64::max);
        mean_exceeds(groups.iter().map(|group| level + group.1 / largest), level, self.delta())
    }

    /// The most a request can cost under the token limits that the client enforces.
    fn most_a_request_can_cost(&self, rules: &Rules) -> Result<Usd, String> {
        let call = |name: &String| {
            let tier = self.config.tier(name).ok_or_else(|| format!("tier `{name}` is not configured"))?;
            match (tier.max_input_tokens, tier.max_output_tokens) {
                (Some(input_tokens), Some(output_tokens)) => tier
                    .price
                    .cost(&Usage { input_tokens, output_tokens, ..Usage::default() })
                    .map_err(|error| error.to_string()),
                _ => Err(format!(
                    "a certified cost needs max_input_tokens and max_output_tokens in [tiers.{name}], so that no \
                     request can cost more than what was tested"
                )),
            }
        };
        let mut most = Usd::ZERO;
        for plan in &rules.plans {
            let mut total = Usd::ZERO;
            for stage in &plan.stages {
                total = total.saturating_add(call(&rules.tiers[stage.tier])?);
            }
            most = most.max(total);
        }
        if most.pico() <= 0 || most.pico() > 1_000_000 * PICO_PER_USD {
            return Err("the tiers' prices and limits bound no request's cost".into());
        }
        Ok(most)
    }

    fn certificate(&self, promise: &Promise, method: &str) -> Certificate {
        let mut assumptions = vec![
            "requests in production are exchangeable with the groups of the log".to_owned(),
            "answers are graded in production as they were in the log".to_owned(),
            "tiers behave as they did when the log was collected".to_owned(),
        ];
        if let Promise::Loss { versus, .. } = promise {
            assumptions.push(format!(
                "quality is compared with `{}` on the same requests",
                self.table.tiers[*versus].name
            ));
        }
        if self.rows.iter().any(|&row| self.table.weight[row as usize] != 1) {
            assumptions
                .push("the weights are right; with estimated weights the promise is approximate".to_owned());
        }
        Certificate {
            promise: promise.words(self.table),
            confidence: self.confidence,
            method: method.to_owned(),
            rows: self.rows.len(),
            assumptions,
            attempt: self.attempt,
        }
    }
}
