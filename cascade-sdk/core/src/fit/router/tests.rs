use super::*;
use crate::fit::family::{Candidate, Draft, FittedFamily};
use crate::fit::inference::simulate::Outcomes;
use crate::fit::objective::Target;
use crate::fit::random::SplitMix64;
use crate::fit::rows::table::Totals;
use crate::log::{Row, TierColumns};
use crate::money::Usd;
use crate::replay::KnownPredictions;

/// What decides whether the small tier answers well.
#[derive(Clone, Copy, PartialEq)]
enum World {
    /// Nothing that can be known before.
    Noise,
    /// A label.
    Label,
    /// A word of the prompt.
    Word,
}

const SUBJECTS: [&str; 4] = ["art", "history", "law", "maths"];
const NOUNS: [&str; 8] = ["cat", "dog", "house", "river", "stone", "window", "engine", "proof"];

/// A small tier that is right on half of the subjects or words and a large one that is always right.
fn log(rows: usize, world: World, seed: u64) -> EvalLog {
    let mut random = SplitMix64::new(seed, 9);
    let mut log = EvalLog::default();
    let tier = |name: &str| TierColumns { name: name.into(), ..TierColumns::default() };
    let (mut large, mut small) = (tier("large"), tier("small"));
    for row in 0..rows {
        let (subject, noun) = (random.below(SUBJECTS.len()), random.below(NOUNS.len()));
        let filler = NOUNS[random.below(NOUNS.len() / 2)];
        let easy = match world {
            World::Noise => random.fraction() < 0.5,
            World::Label => subject < 2,
            World::Word => noun < 4,
        };
        log.rows.push(Row {
            text: Some(
                format!(
                    "Question: tell me about the {} of number {} and {filler}\nAnswer:",
                    NOUNS[noun],
                    random.below(1000)
                )
                .into(),
            ),
            tags: if world == World::Word {
                Vec::new()
            } else {
                vec![("subject".into(), SUBJECTS[subject].into())]
            },
            ..Row::new(format!("q{row:05}"))
        });
        for (tier, quality, cost) in [(&mut large, 1.0, 30), (&mut small, f64::from(u8::from(easy)), 1)] {
            tier.present.push(true);
            tier.quality.push(quality);
            tier.cost.push(Usd::from_pico(cost * 1_000_000));
            tier.latency_ms.push(f32::NAN);
            tier.failed.push(false);
        }
    }
    log.tiers = vec![large, small];
    log
}

struct Case {
    log: EvalLog,
    table: Table,
    rows: Vec<u32>,
    folds: Vec<u8>,
}

impl Case {
    fn new(rows: usize, world: World) -> Self {
        Self::seeded(rows, world, 11)
    }

    fn seeded(rows: usize, world: World, seed: u64) -> Self {
        let log = log(rows, world, seed);
        let mut table = Table::new(&log, &["small", "large"], |row| log.rows[row].id.to_string());
        let rows: Vec<u32> = (0..u32::try_from(rows).unwrap()).collect();
        table.order_by_cost(&rows);
        let folds = rows.iter().map(|row| (row * 7 % 5) as u8).collect();
        Self { log, table, rows, folds }
    }

    fn fit(&self, threads: usize) -> RouterFit {
        RouterFit::new(&Data {
            table: &self.table,
            log: &self.log,
            rows: &self.rows,
            folds: &self.folds,
            threads,
        })
    }

    fn family(&self) -> RouterFamily<'_> {
        RouterFamily::new(&self.table, &self.rows, self.fit(2))
    }
}

#[test]
fn predictions_out_of_fold_are_by_the_fit_without_the_row() {
    let case = Case::new(200, World::Label);
    let family = case.family();
    let told = family.out_of_fold(&case.rows);
    let own = KnownPredictions::new(&family.fit().router, &case.log, 0..200).unwrap();
    let of_fit = family.fit().log_odds.chunks_exact(2);
    let mut differ = 0;
    for (row, log_odds) in of_fit.enumerate() {
        assert_eq!(told.of(row).unwrap().log_odds, log_odds);
        differ += usize::from(own.of(row).unwrap().log_odds != log_odds);
    }
    assert!(differ > 150, "{differ}");
}

#[test]
fn labels_and_words_are_learned_and_bring_the_frontier_near_the_oracle() {
    for (world, basis) in [(World::Label, Basis::Known), (World::Word, Basis::Words)] {
        let case = Case::new(400, world);
        let family = case.family();
        assert_eq!(family.fit().choice.basis, basis);
        // Half of the rows are easy: the oracle is right everywhere for about half of the large tier's cost.
        let large = case.table.single(1, &case.rows);
        let best = family.at_floor(large.quality * 98 / 100).unwrap();
        assert!(best.totals.cost * 10 < large.cost * 6, "{:?} against {large:?}", best.totals);
        assert!(matches!(best.draft, Draft::Routed(_)));
    }
}

/// Mean lead in value, on fresh rows, of the router over the best single tier of its own rows, where one tier is better by
/// a seventh of quality: what is chosen by chance costs.
fn mean_lead(rows: usize, world: World) -> f64 {
    let fresh = Case::seeded(1000, world, 5000);
    let tied = 0.5 / 29e-6;
    let leads = (0..10).flat_map(|seed| {
        let case = Case::seeded(rows, world, seed);
        let family = case.family();
        let (log, table, rows) = (&fresh.log, &fresh.table, &fresh.rows);
        [0.7 * tied, 1.3 * tied].map(|price| {
            let in_units = price * QUALITY_ONE as f64 / PICO_PER_USD as f64;
            let worth = |totals: Totals| totals.quality as f64 - in_units * totals.cost as f64;
            let own = family.solve(Target::Price(in_units)).unwrap();
            let best = (0..2).max_by(|a, b| {
                worth(case.table.single(*a, &case.rows)).total_cmp(&worth(case.table.single(*b, &case.rows)))
            });
            let chosen = Outcomes::of(&family.rules(&own), log, table, rows).unwrap();
            let single = Outcomes::single(table, best.unwrap(), rows);
            (worth(chosen.totals(table, rows)) - worth(single.totals(table, rows)))
                / (1e3 * QUALITY_ONE as f64)
        })
    });
    leads.sum::<f64>() / 20.0
}

#[test]
fn few_rows_of_noise_lose_nothing_to_the_best_single_tier_on_fresh_rows() {
    for rows in [30, 50, 100] {
        let lead = mean_lead(rows, World::Noise);
        assert!(lead >= -0.004, "{rows} rows: {lead}");
        assert!(mean_lead(rows, World::Label) > 0.05, "what can be known is found with {rows} rows");
    }
}

#[test]
fn noise_degrades_to_single_tiers() {
    for rows in [1, 2, 5, 50, 100, 300] {
        let case = Case::new(rows, World::Noise);
        let family = case.family();
        let hull = family.hull();
        let on_rows = |candidate: &Candidate| {
            Outcomes::of(&family.rules(candidate), &case.log, &case.table, &case.rows).unwrap().quality.len()
        };
        assert!(hull.iter().all(|candidate| on_rows(candidate) == rows));
        if rows == 300 {
            assert_eq!(family.fit().choice.basis, Basis::Constant, "{:?}", family.fit().trials);
        }
    }
}

#[test]
fn the_fit_does_not_depend_on_threads_and_repeats_itself() {
    let case = Case::new(120, World::Word);
    let one = case.fit(1);
    for threads in [2, 3, 7] {
        let other = case.fit(threads);
        assert_eq!(one.router, other.router);
        assert_eq!(one.log_odds, other.log_odds);
        assert_eq!(one.trials, other.trials);
    }
}

#[test]
fn a_choice_made_before_gives_the_same_router() {
    let case = Case::new(150, World::Label);
    let first = case.fit(2);
    let data = Data { table: &case.table, log: &case.log, rows: &case.rows, folds: &case.folds, threads: 2 };
    let bench = Workbench::new(&data);
    let by_fold = bench.solutions(&first.choice);
    assert_eq!(bench.fit(first.choice.clone(), Vec::new(), &by_fold).router, first.router);
}

#[test]
fn what_is_cheap_to_choose_is_chosen_anew_on_fewer_rows() {
    let case = Case::new(150, World::Label);
    let data = Data { table: &case.table, log: &case.log, rows: &case.rows, folds: &case.folds, threads: 2 };
    let first = RouterFit::new(&data);
    let foreign = Choice {
        pooling: Pooling { shared: 0.123, own: 4.56 },
        cost: vec![CostBasis::Inputs; 2],
        ..first.choice.clone()
    };
    // Solutions that began elsewhere agree to some digits.
    let Choice { pooling, cost, .. } = RouterFit::again(&data, &foreign).choice;
    let off = [pooling.shared - first.choice.pooling.shared, pooling.own - first.choice.pooling.own];
    assert!(off.iter().all(|off| off.abs() < 0.02), "{pooling:?} {:?}", first.choice);
    assert_eq!(cost, first.choice.cost);
}

#[test]
fn predictions_of_a_row_do_not_know_its_outcome() {
    let case = Case::new(100, World::Word);
    let before = case.fit(2);
    let mut changed = Case::new(100, World::Word);
    let fold = changed.folds[0];
    for (row, _) in changed.folds.iter().enumerate().filter(|(_, other)| **other == fold) {
        let flipped = crate::fit::rows::table::QUALITY_ONE - changed.table.tiers[0].quality[row];
        changed.table.tiers[0].quality[row] = flipped;
    }
    let data = Data {
        table: &changed.table,
        log: &changed.log,
        rows: &changed.rows,
        folds: &changed.folds,
        threads: 1,
    };
    let with_choice = |data: &Data<'_>| {
        let bench = Workbench::new(data);
        let by_fold = bench.solutions(&before.choice);
        bench.fit(before.choice.clone(), Vec::new(), &by_fold)
    };
    let after = with_choice(&data);
    let again = with_choice(&Data { table: &case.table, log: &case.log, ..data });
    for row in (0..100).filter(|&row| case.folds[row] == fold) {
        assert_eq!(after.log_odds[row * 2..row * 2 + 2], again.log_odds[row * 2..row * 2 + 2]);
    }
    assert_ne!(after.log_odds, again.log_odds);
}

#[test]
fn candidates_carry_exact_sums_of_single_tiers_and_expected_sums_of_routers() {
    let case = Case::new(300, World::Label);
    let family = case.family();
    let prospects = family.fit().prospects();
    let weight = case.table.total_weight(&case.rows);
    for candidate in family.hull() {
        match candidate.draft {
            Draft::Planned(_) | Draft::Penalised { .. } | Draft::Abstaining(_) | Draft::Mixed(_) => {
                unreachable!("no plans of several stages, no limits")
            }
            Draft::Cascade(rule) => {
                assert_eq!(candidate.totals, case.table.single(rule.tiers[0], &case.rows));
            }
            Draft::Routed(price) => {
                let realised =
                    prospects.chunks_exact(2).zip(&case.rows).fold(Totals::default(), |sum, (p, &row)| {
                        let tier = crate::feature::argmax(price, p.iter().map(|p| (p.quality, p.cost_usd)));
                        let tier = &case.table.tiers[tier];
                        sum + case.table.totals(row, tier.quality[row as usize], tier.cost[row as usize])
                    });
                let off = candidate.totals.mean_quality(weight) - realised.mean_quality(weight);
                assert!(off.abs() < 0.05, "{price}: {off}");
                let cost = candidate.totals.mean_cost(weight) / realised.mean_cost(weight);
                assert!((cost - 1.0).abs() < 1e-3, "{price}: {cost}");
            }
        }
    }
}
