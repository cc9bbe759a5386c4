//! A fitted family: everything one family of policies can do on some rows, whatever the family.

use super::limited::AbstainingRule;
use super::objective::{Multipliers, Target};
use super::routed::Offer;
use crate::feature::{Predictions, Router};
use crate::fit::frontier::operating::{CascadeRule, PolicyClass};
use crate::fit::rows::table::{QUALITY_ONE, Table, Totals};
use crate::policy::{
    AbstainRule, AcceptRule, Cut, Forecast, Mixture, OperatingPoint, Plan, Rules, Score, ScoreInput,
    ScoreSource, Stage,
};
use crate::replay::KnownPredictions;

/// An operating point of a family, and the rules that reach it.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Sums on the rows of the fit; where a fitted router or gain decides, those that its predictions out of fold expect.
    pub totals: Totals,
    /// What decides.
    pub draft: Draft,
}

/// Rules before names are resolved.
#[derive(Clone, Debug, PartialEq)]
pub enum Draft {
    /// Fixed tiers and cuts.
    Cascade(CascadeRule),
    /// A router over single tiers at this λ in quality per US dollar.
    Routed(f64),
    /// The same with a quality that is taken off each tier's prediction, because it exceeds limits more often.
    Penalised {
        /// λ in quality per US dollar.
        price: f64,
        /// One for each tier of the table.
        penalty: Vec<f64>,
    },
    /// A router over plans: index into the family's own list.
    Planned(usize),
    /// A cascade that may abstain.
    Abstaining(AbstainingRule),
    /// Two operating points, drawn by request.
    Mixed(Box<MixedDraft>),
}

/// Two operating points of which requests get one or the other.
#[derive(Clone, Debug, PartialEq)]
pub struct MixedDraft {
    /// The cheaper one.
    pub left: Draft,
    /// The dearer one.
    pub right: Draft,
    /// Share of requests that the dearer one serves.
    pub share: f64,
}

/// A family fitted on some rows.
pub trait FittedFamily: Sync {
    /// Best quality at a total cost of at most `cost`.
    fn at_budget(&self, cost: i128) -> Option<Candidate>;

    /// Least cost at a total quality of at least `quality`.
    fn at_floor(&self, quality: i128) -> Option<Candidate>;

    /// Vertices of the least concave majorant, cheapest first.
    fn hull(&self) -> Vec<Candidate>;

    /// The vertices that are listed and tried for a certificate: all of them, or of very many those without which the
    /// hull would sink most.
    fn shown(&self) -> Vec<Candidate> {
        self.hull()
    }

    /// The tiers and signals that drafts speak of.
    fn table(&self) -> &Table;

    /// Its router, if it has one.
    fn router(&self) -> Option<&Router> {
        None
    }

    /// λ of the router where the draft needs the router, if only for the predictions that its scores read.
    fn router_price(&self, draft: &Draft) -> Option<f64> {
        match draft {
            Draft::Routed(price) | Draft::Penalised { price, .. } => Some(*price),
            Draft::Cascade(_) | Draft::Planned(_) | Draft::Abstaining(_) | Draft::Mixed(_) => None,
        }
    }

    /// Adds the plans of a draft.
    fn add_plans(&self, draft: &Draft, builder: &mut RulesBuilder<'_>) {
        match draft {
            Draft::Cascade(rule) => builder.plan(rule, None),
            Draft::Routed(_) => (0..self.table().tiers.len())
                .for_each(|tier| builder.plan(&CascadeRule { tiers: vec![tier], cuts: Vec::new() }, None)),
            Draft::Penalised { penalty, .. } => {
                for (tier, &penalty) in penalty.iter().enumerate() {
                    builder.plan(&CascadeRule { tiers: vec![tier], cuts: Vec::new() }, None);
                    builder.penalise(penalty);
                }
            }
            Draft::Planned(_) | Draft::Abstaining(_) | Draft::Mixed(_) => {}
        }
    }

    /// The rules of one of this family's candidates.
    fn rules(&self, candidate: &Candidate) -> Rules {
        let mut builder = RulesBuilder::new(self.table());
        self.add_plans(&candidate.draft, &mut builder);
        let price = self.router_price(&candidate.draft);
        builder.finish(self.router().zip(price))
    }

    /// See [`PolicyClass::quantile_loss`].
    fn quantile_loss(&self) -> f64 {
        0.0
    }

    /// The optimum of a target without mixing two operating points.
    fn unmixed(&self, target: Target) -> Option<Candidate> {
        self.solve(target)
    }

    /// Its router, if it has a fitted one.
    fn router_fit(&self) -> Option<&super::router::RouterFit> {
        None
    }

    /// What its hull is made of, if it contains other families.
    fn offer(&self) -> Offer {
        Offer::Everything
    }

    /// What its router predicts of `rows`, those it was fitted on, each by the fit without the row's fold; nothing without
    /// a router. A replay with its own predictions would know its rows too well.
    fn out_of_fold(&self, rows: &[u32]) -> KnownPredictions {
        let table = self.table();
        let Some(fit) = self.router_fit() else { return KnownPredictions::default() };
        let tiers = table.tiers.len();
        let predictions = fit.log_odds.chunks_exact(tiers).zip(fit.cost_usd.chunks_exact(tiers));
        let told = rows.iter().zip(predictions).map(|(&row, (log_odds, cost_usd))| {
            let predictions = Predictions { log_odds: log_odds.to_vec(), cost_usd: cost_usd.to_vec() };
            (table.log_row[row as usize] as usize, predictions)
        });
        told.collect()
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
        Multipliers::at(Target::Price(price), &[])
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

    fn quantile_loss(&self) -> f64 {
        self.class.quantile_loss()
    }

    fn table(&self) -> &Table {
        self.table
    }
}

impl From<crate::fit::frontier::operating::Operating> for Candidate {
    fn from(operating: crate::fit::frontier::operating::Operating) -> Self {
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
    /// What an abstention counts as.
    worth: Option<i64>,
    mixture: Option<Mixture>,
}

impl<'t> RulesBuilder<'t> {
    /// No plans yet.
    pub fn new(table: &'t Table) -> Self {
        Self { table, plans: Vec::new(), signals: Vec::new(), scores: Vec::new(), worth: None, mixture: None }
    }

    /// Adds a plan. A stage that keeps everything ends it.
    pub fn plan(&mut self, rule: &CascadeRule, forecast: Option<Forecast>) {
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
        self.plans.push(Plan { forecast, ..Plan::new(stages) });
    }

    /// Draws one of the two plans added so far for each request.
    pub fn mix(&mut self, mixture: Mixture) {
        self.mixture = Some(mixture);
    }

    /// What an abstention counts as, in units of 10⁻¹² of quality.
    pub fn abstention(&mut self, worth: i64) {
        self.worth = Some(worth);
    }

    /// Adds a plan some of whose stages may abstain.
    pub fn abstaining_plan(&mut self, rule: &AbstainingRule) {
        self.plan(&rule.cascade, None);
        let stages = self.plans.last().map_or(0, |plan| plan.stages.len());
        let cuts = rule.below.iter().zip(&rule.cascade.tiers).take(stages);
        let abstain: Vec<Option<AbstainRule>> = cuts
            .map(|(cut, &tier)| {
                let cut = cut.as_ref()?;
                Some(AbstainRule { score: self.source(tier, cut.signal)?, below: cut.at_least })
            })
            .collect();
        if let Some(plan) = self.plans.last_mut() {
            plan.abstain = abstain;
        }
    }

    /// Sets the penalty of the plan that was added last.
    pub fn penalise(&mut self, penalty: f64) {
        if let Some(plan) = self.plans.last_mut() {
            plan.penalty = penalty;
        }
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

    /// The rules with all plans added so far. They list the tiers that any plan uses in cost order; with a router (and
    /// its λ) all tiers, since it predicts every one.
    pub fn finish(mut self, router: Option<(&Router, f64)>) -> Rules {
        let all = 0..self.table.tiers.len();
        let mut used: Vec<usize> = match router {
            Some(_) => all.collect(),
            None => self.plans.iter().flat_map(|plan| plan.stages.iter().map(|stage| stage.tier)).collect(),
        };
        used.sort_unstable();
        used.dedup();
        for stage in self.plans.iter_mut().flat_map(|plan| &mut plan.stages) {
            stage.tier = used.binary_search(&stage.tier).unwrap_or(0);
        }
        // Scores that read predictions come with a router, where nothing moves.
        for score in &mut self.scores {
            score.tier = used.binary_search(&score.tier).unwrap_or(0);
        }
        let abstains = self.plans.iter().any(|plan| plan.abstain.iter().any(Option::is_some));
        let abstention = self.worth.filter(|_| abstains).map(|worth| worth as f64 / QUALITY_ONE as f64);
        Rules {
            tiers: used.iter().map(|&tier| self.table.tiers[tier].name.clone()).collect(),
            signals: self.signals,
            scores: self.scores,
            plans: self.plans,
            router: router.map(|(router, shadow_price)| Router { shadow_price, ..router.clone() }),
            guard: None,
            abstention,
            mixture: self.mixture,
        }
    }
}

/// The deployed rules together with the operating points that the family shows, sharing names, scores and router. Points
/// that need a router are left out where the deployed one does without: they would ask more of each request than it does.
pub fn rules_with_frontier(
    family: &dyn FittedFamily,
    chosen: &Candidate,
    weight: i128,
) -> (Rules, Vec<OperatingPoint>) {
    let hull = family.shown();
    let slope = |at: usize| {
        let (left, right) = (hull.get(at)?.totals, hull.get(at + 1)?.totals);
        Some((right.quality - left.quality) as f64 / (right.cost - left.cost) as f64)
    };
    let price = family.router_price(&chosen.draft);
    let mut builder = RulesBuilder::new(family.table());
    family.add_plans(&chosen.draft, &mut builder);
    let mut ends = vec![builder.plans.len()];
    let mut points = Vec::new();
    for (at, vertex) in hull.iter().enumerate() {
        let router_shadow_price = family.router_price(&vertex.draft);
        if price.is_none() && router_shadow_price.is_some() {
            continue;
        }
        family.add_plans(&vertex.draft, &mut builder);
        ends.push(builder.plans.len());
        points.push(OperatingPoint {
            quality: vertex.totals.mean_quality(weight),
            cost_usd: vertex.totals.mean_cost(weight),
            shadow_price: slope(at),
            plans: Vec::new(),
            router_shadow_price,
        });
    }
    let mut rules = builder.finish(family.router().zip(price));
    for (point, &end) in points.iter_mut().zip(&ends).rev() {
        point.plans = rules.plans.split_off(end);
    }
    (rules, points)
}
