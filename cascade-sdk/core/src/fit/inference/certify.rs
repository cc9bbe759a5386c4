//! Certificates: a constraint that holds on fresh data with a stated confidence (MATH.md 11.1).
//!
//! Calibration rows are split by group into A and B. A chooses everything, including **one** path of policies from the
//! safest to the riskiest along its hull and the optima between its vertices. B runs one fixed-sequence test along that
//! path and stops at the first failure, so the whole path shares one δ. Joint constraints share δ in equal parts. Nothing
//! is refitted afterwards.

use crate::config::{Config, EmbeddingSettings};
use crate::fit::FitError;
use crate::fit::family::{Candidate, Draft, FittedFamily};
use crate::fit::frontier::operating::CascadeRule;
use crate::fit::guard::Guarding;
use crate::fit::inference::bounds::{binomial_lower, binomial_upper, mean_exceeds};
use crate::fit::inference::promises::{Promise, fewest_bets};
use crate::fit::inference::simulate::Outcomes;
use crate::fit::limits::{Tail, TailLimit};
use crate::fit::objective::Target;
use crate::fit::report::{Certification, GuardReport, PromiseOutlook};
use crate::fit::rows::table::{QUALITY_ONE, Table};
use crate::hash::Hasher;
use crate::log::EvalLog;
use crate::money::{PICO_PER_USD, Usd};
use crate::policy::{Certificate, Plan, Rules};
use crate::replay::KnownPredictions;

/// Splits rows by group into A, which chooses, and B, which tests.
pub fn halves(table: &Table, rows: &[u32], group_names: &[String], seed: u64) -> (Vec<u32>, Vec<u32>) {
    rows.iter().partition(|&&row| key(table, row, group_names, seed).fraction() < 0.5)
}

fn key(table: &Table, row: u32, group_names: &[String], seed: u64) -> Hasher {
    let name = group_names.get(table.group[row as usize] as usize).map_or("", String::as_str);
    Hasher::new().part("certify").part(seed.to_le_bytes()).part(name)
}

/// What certifying takes, from the rows alone.
pub(in crate::fit) fn outlook(trial: &Trial<'_>, promises: &[Promise]) -> Certification {
    let mut groups: Vec<u32> = trial.rows.iter().map(|&row| trial.table.group[row as usize]).collect();
    groups.sort_unstable();
    groups.dedup();
    let delta = trial.delta() / promises.len().max(1) as f64;
    let promises = promises.iter().map(|promise| {
        let (mut least_rows, mut most_to_bound) = (promise.fewest_rows(delta), None);
        if let Promise::Cost(limit) = promise {
            // Each tier alone, at a constant cost: cascades cost more and can cost much more.
            let singles = trial.table.tiers.iter().enumerate().filter_map(|(tier, data)| {
                let most = trial.most_of_tier(&data.name).ok()?;
                let mean = trial
                    .table
                    .single(tier, trial.choosing)
                    .mean_cost(trial.table.total_weight(trial.choosing));
                Some((most, mean))
            });
            let needs = |(most, mean): (Usd, f64)| {
                let most = most.to_f64();
                fewest_bets(1.0 - mean / most, 1.0 - limit.to_f64() / most, delta)
            };
            let singles: Vec<(Usd, f64)> = singles.filter(|single| single.0 > Usd::ZERO).collect();
            least_rows = singles.iter().filter_map(|&single| needs(single)).min();
            most_to_bound = singles.first().map(|single| single.0.to_f64() / limit.to_f64());
        }
        let no_loss = match promise {
            Promise::Loss { by, .. } => fewest_bets(0.5, (1.0 - by) / 2.0, delta),
            _ => None,
        };
        PromiseOutlook {
            promise: promise.words(trial.table),
            delta,
            least_rows,
            least_rows_at_no_loss: no_loss,
            most_to_bound,
        }
    });
    Certification {
        confidence: trial.confidence,
        rows: trial.rows.len(),
        groups: groups.len(),
        promises: promises.collect(),
        nothing_cheaper_than: None,
    }
}

/// The result of a test along the path.
#[derive(Clone, Debug)]
pub struct Certified {
    /// The best policy by the objective of those that passed.
    pub chosen: Candidate,
    /// Whether it is the reference tier alone, which is a policy of single tiers and none of the family's.
    pub is_reference: bool,
    /// Its rules, guard included.
    pub rules: Rules,
    /// What its guard found.
    pub guard: Option<GuardReport>,
    /// What is promised.
    pub certificate: Certificate,
}

/// What a certificate is tested with.
#[derive(Clone, Copy, Debug)]
pub struct Trial<'a> {
    /// The configuration, for the limits that bound the cost of a call.
    pub config: &'a Config,
    /// The embedding that the route's policies may read.
    pub embedding: Option<&'a EmbeddingSettings>,
    /// The log.
    pub log: &'a EvalLog,
    /// The numbers.
    pub table: &'a Table,
    /// A.
    pub choosing: &'a [u32],
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
    /// The guard that every policy on the path is deployed with, judged on A.
    pub guarding: Option<Guarding<'a>>,
    /// Whether the weights were estimated from traffic, so that the promise is approximate.
    pub weights_are_estimated: bool,
}

/// Points of the path on each edge of the hull: the next riskier vertex may be a long way off.
const BETWEEN: i128 = 4;

/// A family's operating points from the safest to the riskiest: the vertices that it shows and optima between them.
fn path(safest_is_cheapest: bool, family: &dyn FittedFamily) -> Vec<Candidate> {
    let hull = family.shown();
    let mut path: Vec<Candidate> = Vec::new();
    for (at, vertex) in hull.iter().enumerate() {
        path.push(vertex.clone());
        let Some(next) = hull.get(at + 1) else { break };
        for step in 1..BETWEEN {
            let level = |from: i128, to: i128| from + (to - from) * step / BETWEEN;
            let found = if safest_is_cheapest {
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
    if !safest_is_cheapest {
        path.reverse();
    }
    path
}

/// Whether rules send every request to this tier alone.
fn is_only(rules: &Rules, tier: &str) -> bool {
    let one = rules.tiers.len() == 1 && rules.tiers.first().is_some_and(|name| name == tier);
    // Without `abstain` too: "don't know" is not what the tier says.
    let plain = |plan: &Plan| plan.stages.len() == 1 && plan.abstain.iter().all(Option::is_none);
    one && rules.guard.is_none() && rules.plans.iter().all(plain)
}

/// Walks along a family's path from the safest policy to the riskiest, as A sees them, until one fails on B, and returns
/// the best by the objective of those that passed, `None` if even the safest fails. With several constraints each is
/// tested at δ divided by their number, and a policy passes if all tests pass. `Err` with a sentence where a promise
/// cannot be tested at all.
///
/// Where a loss is promised, the reference tier alone is a step of the path. It loses nothing with certainty, so that it
/// spends no δ; `single` is the family that holds it.
///
/// # Errors
/// As [`Outcomes::of`].
pub fn walk(
    trial: &Trial<'_>,
    promises: &[Promise],
    target: Target,
    family: &dyn FittedFamily,
    single: &dyn FittedFamily,
) -> Result<Result<Option<Certified>, String>, FitError> {
    let path = trial.path(promises, family, single)?;
    let order = trial.order();
    let delta = trial.delta() / promises.len().max(1) as f64;
    let mut passed: Vec<(Step, Vec<&'static str>)> = Vec::new();
    'path: for step in path {
        let outcomes = Outcomes::of(&step.rules, trial.log, trial.table, &order)?;
        let mut methods = Vec::new();
        for promise in promises {
            match trial.passes(promise, delta, &step.rules, &outcomes, &order) {
                Ok(Some(method)) => methods.push(method),
                Ok(None) => break 'path,
                Err(reason) => return Ok(Err(reason)),
            }
        }
        passed.push((step, methods));
    }
    let rank = |passed: &(Step, Vec<&'static str>)| target.rank(passed.0.candidate.totals);
    let best = passed.into_iter().reduce(|best, next| if rank(&next) > rank(&best) { next } else { best });
    Ok(Ok(best.map(|(Step { candidate, rules, guard, is_reference }, methods)| Certified {
        chosen: candidate,
        is_reference,
        rules,
        guard,
        certificate: trial.certificate(promises, &methods),
    })))
}

/// A policy on the path, as it would be deployed.
struct Step {
    candidate: Candidate,
    rules: Rules,
    guard: Option<GuardReport>,
    is_reference: bool,
}

impl Trial<'_> {
    /// The path in order of risk. A single bound on a mean is riskier with every step along it; otherwise the order
    /// is by the largest risk among the promises on A.
    fn path(
        &self,
        promises: &[Promise],
        family: &dyn FittedFamily,
        single: &dyn FittedFamily,
    ) -> Result<Vec<Step>, FitError> {
        let known = family.out_of_fold(self.choosing);
        let mut steps: Vec<Step> = self.reference(promises, single)?.into_iter().collect();
        for candidate in path(!matches!(promises, [Promise::Quality(_) | Promise::Loss { .. }]), family) {
            let (rules, guard) = self.rules(family, &candidate, &known)?;
            steps.push(Step { candidate, rules, guard, is_reference: false });
        }
        if !matches!(promises, [Promise::Cost(_) | Promise::Quality(_) | Promise::Loss { .. }]) {
            let mut keyed = Vec::new();
            for step in steps {
                let (log, table, rows) = (self.log, self.table, self.choosing);
                let outcomes = Outcomes::with_predictions(&step.rules, log, table, rows, &known)?;
                let risks = promises.iter().map(|promise| promise.risk(table, &outcomes, rows));
                keyed.push((risks.fold(f64::NEG_INFINITY, f64::max), step));
            }
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            steps = keyed.into_iter().map(|(_, step)| step).collect();
        }
        Ok(steps)
    }

    /// The reference tier of a promised loss, unless a guard makes another policy of it.
    fn reference(&self, promises: &[Promise], single: &dyn FittedFamily) -> Result<Option<Step>, FitError> {
        let versus = promises.iter().find_map(|promise| match promise {
            Promise::Loss { versus, .. } => Some(*versus),
            Promise::Quality(_) | Promise::Cost(_) | Promise::Tail(_) => None,
        });
        let Some(tier) = versus else { return Ok(None) };
        let candidate = Candidate {
            totals: self.table.single(tier, self.choosing),
            draft: Draft::Cascade(CascadeRule { tiers: vec![tier], cuts: Vec::new() }),
        };
        let (rules, guard) = self.rules(single, &candidate, &KnownPredictions::default())?;
        let alone = is_only(&rules, &self.table.tiers[tier].name);
        Ok(alone.then_some(Step { candidate, rules, guard, is_reference: true }))
    }

    /// What would be deployed.
    fn rules(
        &self,
        family: &dyn FittedFamily,
        candidate: &Candidate,
        known: &KnownPredictions,
    ) -> Result<(Rules, Option<GuardReport>), FitError> {
        let rules = family.rules(candidate);
        match &self.guarding {
            Some(guarding) => guarding.apply(rules, known).map(|(rules, report)| (rules, Some(report))),
            None => Ok((rules, None)),
        }
    }

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
        delta: f64,
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
                    let bound = binomial_lower(successes, order.len() as u64, delta);
                    return Ok((bound >= *floor).then_some("clopper-pearson"));
                }
                Ok(self.bet(order, delta, *floor, quality).then_some("betting"))
            }
            Promise::Loss { versus, by } => {
                let reference = &self.table.tiers[*versus];
                if is_only(rules, &reference.name) {
                    return Ok(Some("identity"));
                }
                let mapped = |position: usize| {
                    let own = reference.quality[order[position] as usize] as f64 / QUALITY_ONE as f64;
                    f64::midpoint(quality(position) - own, 1.0)
                };
                Ok(self.bet(order, delta, (1.0 - by) / 2.0, mapped).then_some("betting"))
            }
            Promise::Tail(limit) => {
                let exceeded = |at: usize| limit.exceeded(outcomes.cost[at], outcomes.latency_ms[at]);
                if self.rows_are_alone(order) {
                    let count = (0..order.len()).filter(|&at| exceeded(at)).count() as u64;
                    let bound = binomial_upper(count, order.len() as u64, delta);
                    return Ok((bound <= limit.share).then_some("clopper-pearson"));
                }
                let kept = |at: usize| f64::from(u8::from(!exceeded(at)));
                Ok(self.bet(order, delta, 1.0 - limit.share, kept).then_some("betting"))
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
                Ok(self.bet(order, delta, 1.0 - limit.pico() as f64 / most, saved).then_some("betting"))
            }
        }
    }

    fn rows_are_alone(&self, order: &[u32]) -> bool {
        let groups = |pair: &[u32]| self.table.group[pair[0] as usize] != self.table.group[pair[1] as usize];
        order.windows(2).all(groups) && order.iter().all(|&row| self.table.weight[row as usize] == 1)
    }

    /// Bets on group means: the weighted excess over the level of a whole group, scaled by the largest group, lies in
    /// [−level, 1 − level] and has mean 0 or more iff the mean over rows is at least the level.
    fn bet(&self, order: &[u32], delta: f64, level: f64, value: impl Fn(usize) -> f64) -> bool {
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
        mean_exceeds(groups.iter().map(|group| level + group.1 / largest), level, delta)
    }

    /// The most a call to a tier can cost within its token limits. The longest output is the provider's to keep; of the longest input
    /// the client can tell beforehand only what is certain, so that it is an assumption as well.
    fn most_of_tier(&self, name: &str) -> Result<Usd, String> {
        let tier = self.config.tier(name).ok_or_else(|| format!("tier `{name}` is not configured"))?;
        match (tier.max_input_tokens, tier.max_output_tokens) {
            (Some(input), Some(output)) => {
                tier.price.worst_case(input, output).map_err(|error| error.to_string())
            }
            _ => Err(format!(
                "a certified cost needs max_input_tokens and max_output_tokens in [tiers.{name}], so that no request \
                 can cost more than what was tested"
            )),
        }
    }

    /// The most the embedding of a request can cost, as far as is known: of a server's, the tokens that the tiers may be sent;
    /// of the application's own, what the configuration and the log say.
    fn most_of_embedding(&self, rules: &Rules) -> Usd {
        let tiers = rules.tiers.iter().filter_map(|name| self.config.tier(name)?.max_input_tokens);
        let by_tokens = |settings: &EmbeddingSettings| settings.cost_of(tiers.clone().max()?);
        let configured =
            self.embedding.map_or(Usd::ZERO, |settings| by_tokens(settings).unwrap_or(settings.cost));
        let logged = self.log.embeddings.iter().flat_map(|embeddings| embeddings.cost.iter().copied());
        logged.fold(configured, Usd::max)
    }

    /// The most a request can cost under these rules.
    fn most_a_request_can_cost(&self, rules: &Rules) -> Result<Usd, String> {
        let read = rules.plans.iter().flat_map(|plan| &plan.stages).filter_map(|stage| {
            let tier = self.log.tier(rules.tiers.get(stage.tier)?)?;
            let priced = |&signal: &usize| {
                let data = rules.signals.get(signal).and_then(|name| tier.signals.get(name));
                data.is_some_and(|data| data.cost.iter().any(|&cost| cost > Usd::ZERO))
            };
            rules.signals_read(stage.rule?).find(priced)
        });
        if let Some(name) = read.into_iter().next().and_then(|signal| rules.signals.get(signal)) {
            return Err(format!(
                "nothing bounds what the signal `{name}` can cost, so that no mean cost can be certified"
            ));
        }
        let mut most = Usd::ZERO;
        for plan in (0..=rules.plans.len()).filter_map(|plan| rules.plan(plan)) {
            let mut total = Usd::ZERO;
            for stage in &plan.stages {
                total = total.saturating_add(self.most_of_tier(&rules.tiers[stage.tier])?);
            }
            most = most.max(total);
        }
        if rules.reads_embedding() {
            most = most.saturating_add(self.most_of_embedding(rules));
        }
        if most.pico() <= 0 || most.pico() > 1_000_000 * PICO_PER_USD {
            return Err("the tiers' prices and limits bound no request's cost".into());
        }
        Ok(most)
    }

    fn certificate(&self, promises: &[Promise], methods: &[&'static str]) -> Certificate {
        let mut assumptions = vec![
            "requests in production are exchangeable with the groups of the log".to_owned(),
            "answers are graded in production as they were in the log".to_owned(),
            "tiers behave as they did when the log was collected".to_owned(),
        ];
        for promise in promises {
            match promise {
                Promise::Loss { versus, .. } => assumptions.push(format!(
                    "quality is compared with `{}` on the same requests",
                    self.table.tiers[*versus].name
                )),
                Promise::Cost(_) => {
                    assumptions.push("no call is charged twice because it was tried again".to_owned());
                    assumptions.push(
                        "no request has more input tokens than `max_input_tokens` of a tier that it goes to: the client \
                         sends none whose text certainly has, and reports those that turn out to have as `excess_usd`"
                            .to_owned(),
                    );
                }
                Promise::Tail(TailLimit { tail: Tail::LatencyMs(_), .. }) => assumptions.push(
                    "calls take as long in production as they did in the log, which knew no load".to_owned(),
                ),
                Promise::Quality(_) | Promise::Tail(_) => {}
            }
        }
        if self.weights_are_estimated {
            assumptions.push("approximate: the rows were weighed by an estimate of the traffic".to_owned());
        } else if self.rows.iter().any(|&row| self.table.weight[row as usize] != 1) {
            assumptions
                .push("the weights are right; with estimated weights the promise is approximate".to_owned());
        }
        if promises.len() > 1 {
            assumptions
                .push(format!("all {} constraints hold together with this confidence", promises.len()));
        }
        let mut methods = methods.to_vec();
        methods.dedup();
        let words: Vec<String> = promises.iter().map(|promise| promise.words(self.table)).collect();
        Certificate {
            promise: words.join("; "),
            confidence: self.confidence,
            method: methods.join(", "),
            rows: self.rows.len(),
            assumptions,
            attempt: self.attempt,
        }
    }
}
