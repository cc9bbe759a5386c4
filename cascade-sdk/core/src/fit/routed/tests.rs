use super::*;
use crate::config::{Family, Goal, Objective};
use crate::diag::Source;
use crate::fit::family::{Cascades, rules_with_frontier};
use crate::fit::inference::simulate::Outcomes;
use crate::fit::random::SplitMix64;
use crate::log::{EvalLog, Row, SignalColumn, TierColumns};
use crate::money::Usd;
use crate::policy::{self, ALGORITHM, Expected, Fitted, Policy};

/// Three kinds of request. On `plain` ones the signal of the small tier says whether it is right; on `hard` ones it is
/// sure of itself and mostly wrong; on `long` ones the large tier costs ten times as much.
const KINDS: [&str; 3] = ["plain", "hard", "long"];

fn log(rows: usize, kinds: bool, seed: u64) -> EvalLog {
    let mut random = SplitMix64::new(seed, 3);
    let mut log = EvalLog::default();
    let tier = |name: &str| TierColumns { name: name.into(), ..TierColumns::default() };
    let (mut large, mut small) = (tier("large"), tier("small"));
    let mut signal = SignalColumn::default();
    for row in 0..rows {
        let kind = random.below(KINDS.len());
        let sure = random.fraction();
        let right = if kind == 1 { 0.15 } else { sure };
        let good = f64::from(u8::from(random.fraction() < right));
        log.rows.push(Row {
            tags: if kinds { vec![("kind".into(), KINDS[kind].into())] } else { Vec::new() },
            ..Row::new(format!("q{row:05}"))
        });
        signal.value.push(if row % 50 == 7 { f64::NAN } else { sure });
        let dear = if kind == 2 { 100 } else { 10 };
        let strong = f64::from(u8::from(random.fraction() < 0.9));
        for (tier, quality, cost) in [(&mut large, strong, dear), (&mut small, good, 1)] {
            tier.present.push(true);
            tier.quality.push(quality);
            tier.cost.push(Usd::from_pico(cost * 1_000_000));
            tier.latency_ms.push(f32::NAN);
            tier.failed.push(false);
        }
    }
    small.signals.insert("sure".into(), signal);
    log.tiers = vec![large, small];
    log
}

struct Case {
    log: EvalLog,
    table: Table,
    train: Vec<u32>,
    test: Vec<u32>,
    folds: Vec<u8>,
}

impl Case {
    fn new(rows: usize, kinds: bool) -> Self {
        let log = log(rows, kinds, 17);
        let mut table = Table::new(&log, &["small", "large"], |row| log.rows[row].id.to_string());
        let all: Vec<u32> = (0..u32::try_from(rows).unwrap()).collect();
        let (train, test) = all.split_at(rows / 2);
        table.order_by_cost(train);
        let folds = train.iter().map(|row| (row * 3 % 5) as u8).collect();
        Self { table, train: train.to_vec(), test: test.to_vec(), folds, log }
    }

    fn fit(&self, threads: usize) -> RoutedCascades<'_> {
        let data =
            Data { table: &self.table, log: &self.log, rows: &self.train, folds: &self.folds, threads };
        RoutedCascades::new(&self.table, &data, RouterFit::new(&data), 3)
    }

    fn chains(&self) -> Cascades<'_> {
        Cascades::new(&self.table, Box::new(Chains::new(&self.table, &self.train, 3, 1)))
    }

    /// Mean quality minus λ · mean cost of a family's choice at λ on held-out rows.
    fn held_out(&self, family: &dyn FittedFamily, price: f64) -> f64 {
        let chosen = family.solve(crate::fit::objective::Target::Price(price)).unwrap();
        let outcomes = Outcomes::of(&family.rules(&chosen), &self.log, &self.table, &self.test).unwrap();
        let totals = outcomes.totals(&self.table, &self.test);
        let weight = self.table.total_weight(&self.test);
        totals.mean_quality(weight) - price * totals.mean_cost(weight)
    }
}

#[test]
fn knowing_the_prompt_and_the_signal_beats_knowing_either() {
    let case = Case::new(3000, true);
    let routed_cascade = case.fit(2);
    for price in [3e4, 4e4, 5e4] {
        let both = case.held_out(&routed_cascade, price);
        let chain = case.held_out(&case.chains(), price);
        let router = case.held_out(&routed_cascade.routed, price);
        assert!(both > chain + 0.01 && both > router + 0.01, "{price}: {both} against {chain} and {router}");
    }
}

#[test]
fn it_is_never_worse_than_chains_or_routers_on_its_own_rows() {
    for (rows, kinds) in [(300, true), (300, false), (24, true), (2, false)] {
        let case = Case::new(rows, kinds);
        let own = case.fit(1);
        let chains = case.chains();
        let most = case.table.single(1, &case.train);
        for step in 0..=20 {
            let budget = most.cost * step / 20;
            let floor = most.quality * step / 20;
            for other in [&chains as &dyn FittedFamily, &own.routed] {
                if let Some(theirs) = other.at_budget(budget) {
                    let ours = own.at_budget(budget).unwrap().totals;
                    assert!(ours.cost <= budget && ours.quality >= theirs.totals.quality);
                }
                if let Some(theirs) = other.at_floor(floor) {
                    let ours = own.at_floor(floor).unwrap().totals;
                    assert!(ours.quality >= floor && ours.cost <= theirs.totals.cost);
                }
            }
        }
    }
}

#[test]
fn without_anything_to_predict_from_it_is_the_chain() {
    let case = Case::new(400, false);
    let own = case.fit(2);
    assert!(own.planned.is_empty());
    let vertices = |family: &dyn FittedFamily| -> Vec<Totals> {
        family.hull().iter().map(|candidate| candidate.totals).collect()
    };
    let union: Vec<(Totals, ())> = vertices(&case.chains())
        .into_iter()
        .chain(vertices(&own.routed))
        .map(|totals| (totals, ()))
        .collect();
    let expected: Vec<Totals> = PointSet::new(union).hull().map(|point| point.0).collect();
    assert_eq!(vertices(&own), expected);
}

#[test]
fn it_does_not_depend_on_threads() {
    let case = Case::new(1200, true);
    let (one, many) = (case.fit(1), case.fit(3));
    assert_eq!(one.planned, many.planned);
    assert!(!one.planned.is_empty());
    assert_eq!(one.points.staircase(), many.points.staircase());
}

#[test]
fn cascades_of_signals_are_exact_and_those_of_gains_near() {
    let case = Case::new(300, true);
    let own = case.fit(2);
    let plain = |rule: &CascadeRule| rule.cuts.iter().all(|cut| cut.signal == 0);
    let mut checked = 0;
    for (totals, draft) in own.points.staircase() {
        let Draft::Cascade(rule) = draft else { continue };
        let sum = case.train.iter().fold(Totals::default(), |sum, &row| {
            let (quality, cost) = plans::outcome(&own.table, rule, row);
            sum + own.table.totals(row, quality, cost)
        });
        assert_eq!(sum.cost, totals.cost);
        let weight = case.table.total_weight(&case.train);
        let off = totals.mean_quality(weight) - sum.mean_quality(weight);
        assert!(off.abs() < if plain(rule) { 1e-15 } else { 0.08 }, "{off}: {rule:?}");
        if plain(rule) {
            let candidate = Candidate { totals: *totals, draft: draft.clone() };
            let outcomes = Outcomes::of(&own.rules(&candidate), &case.log, &case.table, &case.train).unwrap();
            assert_eq!(outcomes.totals(&case.table, &case.train), *totals);
        }
        checked += 1;
    }
    assert!(checked > 5);
}

#[test]
fn policies_read_back_with_all_points_of_the_frontier() {
    let case = Case::new(1200, true);
    let own = case.fit(2);
    let weight = case.table.total_weight(&case.train);
    let mut kinds = std::collections::BTreeSet::new();
    for chosen in own.shown() {
        let (rules, frontier) = rules_with_frontier(&own, &chosen, weight);
        kinds.insert((rules.router.is_some(), rules.plans.len() > 1, !rules.scores.is_empty()));
        assert!(
            frontier.iter().any(|point| point.plans == rules.plans),
            "the deployed point is on the frontier"
        );
        assert!(rules.router.is_some() || frontier.iter().all(|point| point.router_shadow_price.is_none()));
        let outcomes = Outcomes::of(&rules, &case.log, &case.table, &case.test).unwrap();
        assert_eq!(outcomes.quality.len(), case.test.len());
        let share = vec![policy::Estimate::default(); rules.tiers.len()];
        let policy = Policy {
            route: "r".into(),
            family: Family::RoutedCascade,
            fitted: Fitted {
                log_hash: "0".repeat(64),
                config_hash: "1".repeat(64),
                algorithm: ALGORITHM,
                calibration_rows: case.train.len(),
                test_rows: case.test.len(),
                seed: 7,
                refit_on_all: false,
                repriced: false,
                traffic_hash: None,
            },
            objective: Objective {
                goal: Goal::MinQuality(0.5),
                max_latency_ms_p95: None,
                max_cost_tail: None,
                confidence: None,
            },
            expected: Expected { share, ..Expected::default() },
            rules,
            frontier,
            certificate: None,
        };
        let text = policy::write(&policy);
        let read = policy::read(&Source::new("policy.toml", text.as_str())).unwrap_or_else(|findings| {
            panic!("{}\n{text}", crate::diag::render_all(&findings, crate::diag::Style::Plain))
        });
        assert_eq!(read, policy);
    }
    assert!(kinds.contains(&(true, true, true)), "a router over plans with fitted scores: {kinds:?}");
}

#[test]
fn a_router_over_plans_must_lead_clearly() {
    // Kinds say nothing here: a fit on rows of one kind alone.
    let case = Case::new(600, true);
    let plain: Vec<u32> = case
        .train
        .iter()
        .copied()
        .filter(|&row| &*case.log.rows[case.table.log_row[row as usize] as usize].tags[0].1 == "plain")
        .collect();
    let folds: Vec<u8> = plain.iter().map(|row| (row * 3 % 5) as u8).collect();
    let data = Data { table: &case.table, log: &case.log, rows: &plain, folds: &folds, threads: 1 };
    assert!(RoutedCascades::new(&case.table, &data, RouterFit::new(&data), 3).planned.is_empty());
    assert!(!Case::new(1200, true).fit(1).planned.is_empty());
}

#[test]
fn the_whole_is_offered_where_it_is_best() {
    let own = Case::new(3000, true).fit(2).offer;
    assert_eq!(own, Offer::Everything);
    assert_eq!(
        Case::new(400, false).fit(1).offer,
        Offer::Everything,
        "without a router there is nothing to choose"
    );
}

/// Kinds of which each has a tier of its own, and signals that are noise: chains live by luck.
#[test]
fn where_cascades_are_luck_the_router_alone_is_offered() {
    let mut offers = Vec::new();
    for seed in 0..6 {
        let mut log = log(150, true, seed);
        let mut random = SplitMix64::new(seed, 4);
        let plain: Vec<bool> = log.rows.iter().map(|row| &*row.tags[0].1 == "plain").collect();
        let [large, small] = &mut log.tiers[..] else { panic!("two tiers") };
        for (at, plain) in plain.into_iter().enumerate() {
            small.quality[at] = f64::from(u8::from(plain || random.fraction() < 0.1));
            large.quality[at] = f64::from(u8::from(random.fraction() < 0.9));
            large.cost[at] = Usd::from_pico(4_000_000);
        }
        for name in ["sure", "a", "b", "c", "d", "e"] {
            let value = (0..150).map(|_| random.fraction()).collect();
            small.signals.insert(name.into(), SignalColumn { value, ..SignalColumn::default() });
        }
        let mut table = Table::new(&log, &["small", "large"], |row| log.rows[row].id.to_string());
        let rows: Vec<u32> = (0..150).collect();
        table.order_by_cost(&rows);
        let folds: Vec<u8> = rows.iter().map(|row| (row * 3 % 5) as u8).collect();
        let data = Data { table: &table, log: &log, rows: &rows, folds: &folds, threads: 2 };
        let own = RoutedCascades::new(&table, &data, RouterFit::new(&data), 3);
        let totals =
            |hull: Vec<Candidate>| -> Vec<Totals> { hull.iter().map(|vertex| vertex.totals).collect() };
        let part =
            if own.offer == Offer::Router { own.routed.hull() } else { own.offered(Offer::Everything) };
        assert_eq!(totals(own.hull()), totals(part));
        offers.push(own.offer);
    }
    assert!(offers.contains(&Offer::Router) && !offers.contains(&Offer::Chains), "{offers:?}");
}
