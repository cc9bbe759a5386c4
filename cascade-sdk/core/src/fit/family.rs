//! A fitted family: everything one family of policies can do on some rows, whatever the family.

use super::objective::{Multipliers, Target};
use super::operating::{CascadeRule, PolicyClass};
use super::table::{Table, Totals};
use crate::policy::{AcceptRule, Cut, OperatingPoint, Plan, Rules, Score, ScoreInput, ScoreSource, Stage};

/// An operating point of a family, and the rules that reach it.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Sums on the rows of the fit; out-of-fold sums where the family has a fitted router.
    pub totals: Totals,
    /// What decides.
    pub draft: Draft,
}

/// Rules before names are resolved.
#[derive(Clone, Debug, PartialEq)]
pub enum Draft {
    /// Fixed tiers and cuts.
    Cascade(CascadeRule),
    /// A router at this λ in quality per US dollar.
    Routed(f64),
}

/// A family fitted on some rows.
pub trait FittedFamily: Sync {
    /// Best quality at a total cost of at most `cost`.
    fn at_budget(&self, cost: i128) -> Option<Candidate>;

    /// Least cost at a total quality of at least `quality`.
    fn at_floor(&self, quality: i128) -> Option<Candidate>;

    /// Vertices of the least concave majorant, cheapest first.
    fn hull(&self) -> Vec<Candidate>;

    /// The rules of one of this family's candidates.
    fn rules(&self, candidate: &Candidate) -> Rules;

    /// Its router, if it has a fitted one.
    fn router_fit(&self) -> Option<&super::router::RouterFit> {
        None
    }

    /// The optimum of a target; `None` if no member keeps the constraint.
    fn solve(&self, target: Target) -> Option<Candidate> {
        match target {
            Target::Budget(limit) => self.at_budget(limit),
            Target::Floor(floor) => self.at_floor(floor),
            Target::Price(price) => at_price(&self.hull(), price).cloned(),
        }
    }
}

/// The hull vertex with the highest Q − λ·C; ties go to the cheaper one.
pub fn at_price(hull: &[Candidate], price: f64) -> Option<&Candidate> {
    let value = |candidate: &Candidate| {
        Multipliers { quality: 1.0, cost: price }
            .value(candidate.totals.quality as f64, candidate.totals.cost as f64)
    };
    hull.iter().reduce(|best, next| if value(next) > value(best) { next } else { best })
}

/// Cascades found by a search.
pub struct Cascades<'t> {
    table: &'t Table,
    class: Box<dyn PolicyClass + 't>,
}

impl std::fmt::Debug for Cascades<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cascades").finish_non_exhaustive()
    }
}

impl<'t> Cascades<'t> {
    /// Wraps a search over the table's tiers.
    pub fn new(table: &'t Table, class: Box<dyn PolicyClass + 't>) -> Self {
        Self { table, class }
    }
}

impl FittedFamily for Cascades<'_> {
    fn at_budget(&self, cost: i128) -> Option<Candidate> {
        self.class.at_budget(cost).map(Candidate::from)
    }

    fn at_floor(&self, quality: i128) -> Option<Candidate> {
        self.class.at_floor(quality).map(Candidate::from)
    }

    fn hull(&self) -> Vec<Candidate> {
        self.class.hull().iter().cloned().map(Candidate::from).collect()
    }

    fn rules(&self, candidate: &Candidate) -> Rules {
        let mut builder = RulesBuilder::new(self.table);
        if let Draft::Cascade(rule) = &candidate.draft {
            builder.plan(rule);
        }
        builder.finish()
    }
}

impl From<super::operating::Operating> for Candidate {
    fn from(operating: super::operating::Operating) -> Self {
        Self { totals: operating.totals, draft: Draft::Cascade(operating.rule) }
    }
}

/// Names tiers and signals once for all plans of a policy.
#[derive(Debug)]
pub struct RulesBuilder<'t> {
    table: &'t Table,
    /// Plans with tiers as table indices, signals as indices into `signals`.
    plans: Vec<Plan>,
    signals: Vec<String>,
    /// Combined signals with the tier's table index and inputs as indices into `signals`.
    scores: Vec<Score>,
}

impl<'t> RulesBuilder<'t> {
    /// No plans yet.
    pub fn new(table: &'t Table) -> Self {
        Self { table, plans: Vec::new(), signals: Vec::new(), scores: Vec::new() }
    }

    /// Adds a plan. A stage that keeps everything ends it.
    pub fn plan(&mut self, rule: &CascadeRule) {
        let mut stages = Vec::new();
        for (position, &tier) in rule.tiers.iter().enumerate() {
            let cut = rule.cuts.get(position).filter(|cut| Cut(cut.at_least) != Cut::KEEP_ALL);
            let rule = cut.and_then(|cut| {
                Some(AcceptRule { score: self.source(tier, cut.signal)?, at_least: Cut(cut.at_least) })
            });
            stages.push(Stage { tier, rule });
            if rule.is_none() {
                break;
            }
        }
        self.plans.push(Plan::new(stages));
    }

    /// What a tier's signal is called in the rules.
    fn source(&mut self, tier: usize, signal: usize) -> Option<ScoreSource> {
        let signals = &self.table.tiers[tier].signals;
        let data = signals.get(signal)?;
        let Some(combined) = &data.combined else {
            return Some(ScoreSource::Signal(self.signal(&data.name)));
        };
        if let Some(known) = self.scores.iter().position(|score| score.name == data.name) {
            return Some(ScoreSource::Score(known));
        }
        let mut score = Score { tier, ..combined.clone() };
        for term in &mut score.terms {
            if let ScoreInput::Signal(input) = &mut term.input {
                *input = self.signal(&signals.get(*input)?.name);
            }
        }
        self.scores.push(score);
        Some(ScoreSource::Score(self.scores.len() - 1))
    }

    fn signal(&mut self, name: &str) -> usize {
        self.signals.iter().position(|known| known == name).unwrap_or_else(|| {
            self.signals.push(name.to_owned());
            self.signals.len() - 1
        })
    }

    /// The rules with all plans added so far, listing the tiers that any of them uses in cost order.
    pub fn finish(mut self) -> Rules {
        let mut used: Vec<usize> =
            self.plans.iter().flat_map(|plan| plan.stages.iter().map(|stage| stage.tier)).collect();
        used.sort_unstable();
        used.dedup();
        for stage in self.plans.iter_mut().flat_map(|plan| &mut plan.stages) {
            stage.tier = used.binary_search(&stage.tier).unwrap_or(0);
        }
        for score in &mut self.scores {
            score.tier = used.binary_search(&score.tier).unwrap_or(0);
        }
        Rules {
            tiers: used.iter().map(|&tier| self.table.tiers[tier].name.clone()).collect(),
            signals: self.signals,
            scores: self.scores,
            plans: self.plans,
            router: None,
        }
    }
}

/// The deployed rules together with the family's other operating points, sharing names.
pub fn rules_with_frontier(
    family: &dyn FittedFamily,
    table: &Table,
    chosen: &Candidate,
    weight: i128,
) -> (Rules, Vec<OperatingPoint>) {
    let hull = family.hull();
    let slope = |at: usize| {
        let (left, right) = (hull.get(at)?.totals, hull.get(at + 1)?.totals);
        Some((right.quality - left.quality) as f64 / (right.cost - left.cost) as f64)
    };
    let point = |at: usize, plans: Vec<Plan>, router: Option<f64>| OperatingPoint {
        quality: hull[at].totals.mean_quality(weight),
        cost_usd: hull[at].totals.mean_cost(weight),
        shadow_price: slope(at),
        plans,
        router_shadow_price: router,
    };
    if let Draft::Routed(_) = chosen.draft {
        let rules = family.rules(chosen);
        let frontier = (0..hull.len())
            .filter_map(|at| match hull[at].draft {
                Draft::Routed(price) => Some(point(at, Vec::new(), Some(price))),
                Draft::Cascade(_) => None,
            })
            .collect();
        return (rules, frontier);
    }
    let mut builder = RulesBuilder::new(table);
    for candidate in std::iter::once(chosen).chain(&hull) {
        if let Draft::Cascade(rule) = &candidate.draft {
            builder.plan(rule);
        }
    }
    let mut rules = builder.finish();
    let others = rules.plans.split_off(1);
    let frontier = others.into_iter().enumerate().map(|(at, plan)| point(at, vec![plan], None)).collect();
    (rules, frontier)
}
