//! Structural cost against signal: a two-by-two counterfactual over two-model policies (MATH.md 9).
//!
//! |                        | pays the cheap model always | pays only the model that answers |
//! |---|---|---|
//! | score after the call   | CP: the cascade             | FP: a cascade with a free probe  |
//! | score before the call  | CE: a cascade on predictions | FE: a router on the same rule   |
//!
//! Each class is optimised on calibration rows for each budget and measured, frozen, on held-out rows. FP and CE are
//! accounts, not policies that could run.

use crate::feature::Scratch;
use crate::fit::frontier::curves::{Budgets, Curve};
use crate::fit::frontier::hull::bracket;
use crate::fit::frontier::pair::{self, CutPoint, Pair};
use crate::fit::frontier::point_set::PointSet;
use crate::fit::frontier::ranking::Ranking;
use crate::fit::report::{BudgetStructure, StructuralCost};
use crate::fit::router::RouterFit;
use crate::fit::router::inputs::Requests;
use crate::fit::rows::table::{Table, Totals};
use crate::fit::threads;
use crate::log::EvalLog;

/// Predicted quality of each tier before any call, in any increasing scale: one column a tier, one entry a row of the
/// table. On calibration rows they must come from fits without the row.
pub type Predictions = [Vec<f64>];

/// Price-adjusted held-out quality of each class at one budget: Q_test − λ(B) · (C_test − B) of the mixture of the two
/// hull vertices that bracket the budget on calibration rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BudgetTerms {
    /// The budget in US dollars per request.
    pub budget_usd: f64,
    /// CP: the cascade.
    pub cascade: f64,
    /// FP: the cascade with a free probe.
    pub free_probe: f64,
    /// CE: the cascade on predictions.
    pub predicted_cascade: f64,
    /// FE: the router between two models.
    pub predicted_free: f64,
    /// FE*: the router that can be deployed.
    pub router: f64,
}

impl BudgetTerms {
    /// Router − cascade = structural + signal + richness.
    pub fn cost(&self) -> StructuralCost {
        let freed = [self.free_probe - self.cascade, self.predicted_free - self.predicted_cascade];
        let moved = [self.predicted_cascade - self.cascade, self.predicted_free - self.free_probe];
        StructuralCost {
            total: self.router - self.cascade,
            structural: f64::midpoint(freed[0], freed[1]),
            signal: f64::midpoint(moved[0], moved[1]),
            richness: self.router - self.predicted_free,
            interaction: freed[1] - freed[0],
            tie_at_share: None,
        }
    }
}

/// The decomposition at each budget and on average.
#[derive(Clone, Debug, Default)]
pub struct Decomposition {
    /// One entry a budget.
    pub budgets: Vec<BudgetTerms>,
    /// Means over the budgets, and the share at which cascade and router tie.
    pub mean: StructuralCost,
}

impl Decomposition {
    /// The terms at each budget.
    pub fn by_budget(&self) -> impl Iterator<Item = BudgetStructure> {
        self.budgets.iter().map(|terms| BudgetStructure { budget_usd: terms.budget_usd, cost: terms.cost() })
    }
}

/// What the classes are fitted and measured on.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// The numbers.
    pub table: &'a Table,
    /// Rows that choose.
    pub calibration: &'a [u32],
    /// Rows that measure.
    pub test: &'a [u32],
    /// The budgets.
    pub budgets: &'a Budgets,
    /// Threads to use; the result does not depend on it.
    pub threads: usize,
}

/// A router's log-odds by tier and row of the table: out of fold on the rows it was fitted on, by the whole fit on the
/// held-out ones. `None` if a held-out request lacks something that the router reads.
pub fn predictions(setting: &Setting<'_>, log: &EvalLog, fit: &RouterFit) -> Option<Vec<Vec<f64>>> {
    let Setting { table, calibration, test, .. } = *setting;
    let mut columns = vec![vec![f64::NEG_INFINITY; table.len()]; table.tiers.len()];
    let mut put = |row: u32, log_odds: &[f64]| {
        for (column, &value) in columns.iter_mut().zip(log_odds) {
            column[row as usize] = value;
        }
    };
    for (&row, log_odds) in calibration.iter().zip(fit.log_odds.chunks_exact(table.tiers.len())) {
        put(row, log_odds);
    }
    let requests = Requests::new(log, table, test);
    let mut scratch = Scratch::default();
    for (at, &row) in test.iter().enumerate() {
        put(row, &fit.router.predict(&requests.get(at), &mut scratch).ok()?.log_odds);
    }
    Some(columns)
}

/// Takes router − cascade apart. `router` is the curve of the deployable router at the same budgets.
pub fn decompose(setting: &Setting<'_>, predictions: &Predictions, router: &Curve) -> Decomposition {
    let after = |share: f64| setting.values(Score::After, share);
    let (cascade, free_probe) = (after(1.0), after(0.0));
    let [charged, free] = [1.0, 0.0].map(|share| setting.values(Score::Before(predictions), share));
    let budgets: Vec<BudgetTerms> = router
        .points
        .iter()
        .enumerate()
        .filter_map(|(at, point)| {
            Some(BudgetTerms {
                budget_usd: point.budget_usd,
                cascade: *cascade.get(at)?,
                free_probe: *free_probe.get(at)?,
                predicted_cascade: *charged.get(at)?,
                predicted_free: *free.get(at)?,
                router: point.adjusted,
            })
        })
        .collect();
    let mean =
        |of: fn(&BudgetTerms) -> f64| budgets.iter().map(of).sum::<f64>() / budgets.len().max(1) as f64;
    let average = BudgetTerms {
        budget_usd: mean(|terms| terms.budget_usd),
        cascade: mean(|terms| terms.cascade),
        free_probe: mean(|terms| terms.free_probe),
        predicted_cascade: mean(|terms| terms.predicted_cascade),
        predicted_free: mean(|terms| terms.predicted_free),
        router: mean(|terms| terms.router),
    };
    let lead = |share: f64| {
        let values = after(share);
        values.iter().sum::<f64>() / values.len().max(1) as f64 - average.router
    };
    let tie_at_share = tie(average.free_probe - average.router, average.cascade - average.router, lead);
    Decomposition { mean: StructuralCost { tie_at_share, ..average.cost() }, budgets }
}

/// The share at which a falling lead is 0, to 1/1024, given its values at shares 0 and 1; `None` where it is not
/// positive at 0 or not negative at 1.
fn tie(free: f64, charged: f64, lead: impl Fn(f64) -> f64) -> Option<f64> {
    if free <= 0.0 || charged >= 0.0 {
        return None;
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..10 {
        let middle = f64::midpoint(low, high);
        if lead(middle) > 0.0 { low = middle } else { high = middle }
    }
    Some(f64::midpoint(low, high))
}

/// What a class's accept rule reads.
#[derive(Clone, Copy, Debug)]
enum Score<'a> {
    /// A signal of the cheap tier's answer.
    After,
    /// The prediction that the cheap tier answers well.
    Before(&'a Predictions),
}

/// A policy of a class.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Choice {
    Single(usize),
    Pair(Pair, f64),
}

/// Two-model policies on a score; a row that escalates pays `share` of the first call (and of its signal).
#[derive(Clone, Copy, Debug)]
struct Class<'a> {
    table: &'a Table,
    score: Score<'a>,
    share: f64,
}

impl Setting<'_> {
    /// The price-adjusted held-out quality of a class at each budget.
    fn values(&self, score: Score<'_>, share: f64) -> Vec<f64> {
        let class = Class { table: self.table, score, share };
        let points = class.points(self.calibration, self.threads);
        let hull: Vec<(Totals, Choice)> = points.hull().copied().collect();
        let sums: Vec<Totals> = hull.iter().map(|vertex| vertex.0).collect();
        let weight = self.table.total_weight(self.test);
        let held_out: Vec<(f64, f64)> = hull
            .iter()
            .map(|vertex| class.totals(vertex.1, self.test))
            .map(|totals| (totals.mean_quality(weight), totals.mean_cost(weight)))
            .collect();
        self.budgets
            .totals()
            .iter()
            .filter_map(|&budget| {
                let (left, share, price) = bracket(&sums, budget);
                let (a, b) = (*held_out.get(left)?, *held_out.get(left + 1).or(held_out.get(left))?);
                let (quality, cost) = (a.0 + share * (b.0 - a.0), a.1 + share * (b.1 - a.1));
                Some(quality - price * (cost - self.budgets.mean_usd(budget)))
            })
            .collect()
    }
}

impl Class<'_> {
    /// The frontier of the class on some rows, single tiers included.
    fn points(&self, rows: &[u32], threads: usize) -> PointSet<Choice> {
        let single = |tier| (self.table.single(tier, rows), Choice::Single(tier));
        let mut points: Vec<(Totals, Choice)> = (0..self.table.tiers.len()).map(single).collect();
        let pairs = self.pairs();
        let found = threads::map(threads, pairs.len(), |at| {
            let pair = pairs[at];
            let points = self.frontier(pair, rows);
            let points = points.into_iter().map(|point| (point.totals, Choice::Pair(pair, point.at_least)));
            PointSet::new(points.collect()).staircase().to_vec()
        });
        points.extend(found.into_iter().flatten());
        PointSet::new(points)
    }

    fn pairs(&self) -> Vec<Pair> {
        match self.score {
            Score::After => pair::all_pairs(self.table),
            Score::Before(_) => {
                let tiers = self.table.tiers.len();
                (0..tiers)
                    .flat_map(|cheap| (cheap + 1..tiers).map(move |dear| Pair { cheap, signal: 0, dear }))
                    .collect()
            }
        }
    }

    fn scores(&self, pair: Pair) -> &[f64] {
        match self.score {
            Score::After => &self.table.tiers[pair.cheap].signals[pair.signal].value,
            Score::Before(predictions) => &predictions[pair.cheap],
        }
    }

    /// What a row pays for reading the score.
    fn signal_cost(&self, pair: Pair, row: u32) -> i64 {
        match self.score {
            Score::After => {
                let costs = &self.table.tiers[pair.cheap].signals[pair.signal].cost;
                costs.get(row as usize).copied().unwrap_or(0)
            }
            Score::Before(_) => 0,
        }
    }

    /// The part of a first call that a row pays if it escalates, rounded to whole units.
    #[expect(clippy::cast_possible_truncation, reason = "a share of an amount")]
    fn charged(&self, cost: i64) -> i64 {
        (self.share * cost as f64).round_ties_even() as i64
    }

    /// Every cut of a pair.
    fn frontier(&self, pair: Pair, rows: &[u32]) -> Vec<CutPoint> {
        let (cheap, dear) = (&self.table.tiers[pair.cheap], &self.table.tiers[pair.dear]);
        let ranking = Ranking::new(self.scores(pair), rows);
        let signals = |of: &dyn Fn(i64) -> i64| {
            rows.iter().fold(Totals::default(), |sum, &row| {
                sum + self.table.totals(row, 0, of(self.signal_cost(pair, row)))
            })
        };
        let refunded = |cost: i64| cost - self.charged(cost);
        let change = |row: u32| {
            let at = row as usize;
            let refund = refunded(cheap.cost[at]) + refunded(self.signal_cost(pair, row));
            self.table.totals(row, dear.quality[at] - cheap.quality[at], dear.cost[at] - refund)
        };
        let mut points = Vec::with_capacity(ranking.groups() + 1);
        let kept = self.table.single(pair.cheap, rows);
        pair::sweep(&ranking, kept, signals(&|cost| cost), change, |point| points.push(point));
        if let Some(last) = points.last_mut() {
            // Escalating everything reads no score, so there is nothing to refund.
            last.totals += signals(&refunded);
        }
        points
    }

    /// What a policy of the class does on some rows.
    fn totals(&self, choice: Choice, rows: &[u32]) -> Totals {
        let (pair, at_least) = match choice {
            Choice::Single(tier) => return self.table.single(tier, rows),
            Choice::Pair(pair, at_least) => (pair, at_least),
        };
        let (cheap, dear) = (&self.table.tiers[pair.cheap], &self.table.tiers[pair.dear]);
        let scores = self.scores(pair);
        rows.iter().fold(Totals::default(), |sum, &row| {
            let at = row as usize;
            let signal = if at_least.is_finite() { self.signal_cost(pair, row) } else { 0 };
            sum + if scores[at] >= at_least || at_least == f64::NEG_INFINITY {
                self.table.totals(row, cheap.quality[at], cheap.cost[at] + signal)
            } else {
                let first = self.charged(cheap.cost[at]) + self.charged(signal);
                self.table.totals(row, dear.quality[at], first + dear.cost[at])
            }
        })
    }
}

#[cfg(test)]
mod tests;
