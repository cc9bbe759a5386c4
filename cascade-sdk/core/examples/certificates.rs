//! Do certificates keep their promise, and what do they cost? Simulated fits on logs of which the truth is known.
//!
//! Each fit gets a log of its own and is judged on a large fresh log. Beside it stand the same fit without
//! `confidence` (plug-in thresholds) and crate `ucci` on the two dearer tiers.
//!
//! `cargo run --release -p cascade-sdk-core --features fit --example certificates -- [fits=2000] [rows=100,300,1000,3000]`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line example")]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a program for people to read")]

#[path = "../tests/fit/synthetic.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod synthetic;

use cascade_sdk_core::config::{Config, Family, Goal};
use cascade_sdk_core::log::{EvalLog, Split};
use cascade_sdk_core::money::Usd;
use cascade_sdk_core::policy::{AcceptRule, Cut, Plan, Rules, ScoreSource, Stage};
use cascade_sdk_core::replay::Replay;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use synthetic::{Recipe, config, fit_policy, log_of};

const INTRODUCTION: &str = "\
# Certificates by simulation

Made by

```sh
cargo run --release -p cascade-sdk-core --features fit --example certificates > docs/certificates.md
```

Each line of the table simulates that many logs of three tiers, fits a policy to each with `confidence`, and judges the
policy on fresh rows, 200,000 of them, that stand for the truth. *Rows* are calibration rows; half of them choose, the
other half certify. *Rows a group*: rows that share their difficulty, as samples of one prompt do. *Certified*: logs on
which some policy passed; without one no promise is made. *Cost of the certificate*: mean cost of the certified policy
over that of plug-in thresholds, which keep the constraint on calibration rows and no more. `ucci` 0.1 calibrates on half
of the rows and chooses the cheapest of 201 thresholds on the other half, for the pair of the two dearer tiers.

";

/// 1 − confidence.
const DELTA: f64 = 0.1;

/// Rows that stand for the truth.
const FRESH: usize = 200_000;

/// One log in so many also gets a plug-in fit and one by `ucci`.
const COMPARED: usize = 4;

/// Rows of each log that are held out; a certificate does not use them.
const HELD_OUT: usize = 40;

const THREADS: usize = 2;

fn main() {
    let number = |text: &str| text.parse::<usize>().unwrap_or_else(|_| panic!("`{text}` is no number"));
    let (mut fits, mut sizes) = (2_000, vec![100, 300, 1_000, 3_000]);
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("fits", value)) => fits = number(value),
            Some(("rows", value)) => sizes = value.split(',').map(number).collect(),
            _ => panic!("unknown argument `{argument}`"),
        }
    }
    let allowed = DELTA + 2.0 * (DELTA * (1.0 - DELTA) / fits as f64).sqrt();
    print!("{INTRODUCTION}");
    println!(
        "{fits} fits a line at confidence {}: a promise fails in at most {:.0} % of all logs, which {fits} fits show as up to \
         {:.2} % by chance.\nPlug-in thresholds and `ucci` see every {COMPARED}th log.\n",
        1.0 - DELTA,
        100.0 * DELTA,
        100.0 * allowed
    );
    println!(
        "| promise | quality | rows a group | rows | certified | promise fails | plug-in fails | cost of the \
         certificate | `ucci` fails | its cost |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let mut worst = 0.0_f64;
    for (real_valued, group_size) in [(false, 1), (true, 1), (false, 5), (true, 5)] {
        let recipe = Recipe { real_valued, group_size, strength: 0.7, ..Recipe::default() };
        let fresh = Fresh::new(recipe);
        for goal in goals(real_valued, group_size) {
            for &rows in &sizes {
                let found = simulate(&goal, Recipe { rows, ..recipe }, fits, &fresh);
                worst = worst.max(found.broken());
                println!("{}", found.line(&goal, rows, recipe));
            }
        }
    }
    println!(
        "\nMost failures in a line: {:.2} %; by chance it could be {:.2} %.",
        100.0 * worst,
        100.0 * allowed
    );
    assert!(worst <= allowed, "a promise failed too often");
}

/// Floors everywhere; losses and budgets, which are tested by the same bets, for rows on their own.
fn goals(real_valued: bool, group_size: usize) -> Vec<Goal> {
    let mut goals = vec![Goal::MinQuality(if real_valued { 0.6 } else { 0.8 })];
    if group_size == 1 {
        goals.push(Goal::MaxQualityLoss { versus: "c".into(), by: 0.05 });
        goals.push(Goal::MaxCost(Usd::parse("0.00016").unwrap()));
    }
    goals
}

/// Mean quality and cost of a policy on fresh rows.
#[derive(Clone, Copy, Debug)]
struct Truth {
    quality: f64,
    cost: f64,
}

/// Fresh rows and what is known of policies on them: few rows lead to many different policies.
struct Fresh {
    log: EvalLog,
    known: Mutex<BTreeMap<String, Truth>>,
}

impl Fresh {
    fn new(recipe: Recipe) -> Self {
        let log = Recipe { rows: FRESH, seed: 999_999, ..recipe }.log();
        Self { log, known: Mutex::default() }
    }

    fn truth(&self, rules: &Rules) -> Truth {
        let key = format!("{:?}{:?}", rules.tiers, rules.plans);
        if let Some(&truth) = self.known.lock().expect("no panic").get(&key) {
            return truth;
        }
        let truth = truth(rules, &self.log);
        self.known.lock().expect("no panic").insert(key, truth);
        truth
    }
}

fn truth(rules: &Rules, fresh: &EvalLog) -> Truth {
    let replay = Replay::new(rules, fresh).expect("the log has the tiers");
    let mut scratch = replay.scratch();
    let (mut quality, mut cost) = (0.0, 0.0);
    for row in 0..fresh.rows.len() {
        let outcome = replay.row(row, &mut scratch).expect("the log is complete");
        quality += outcome.quality;
        cost += outcome.cost.to_f64();
    }
    Truth { quality: quality / fresh.rows.len() as f64, cost: cost / fresh.rows.len() as f64 }
}

fn single(fresh: &EvalLog, name: &str) -> Truth {
    let tier = fresh.tier(name).expect("a tier");
    let rows = fresh.rows.len() as f64;
    Truth {
        quality: tier.quality.iter().sum::<f64>() / rows,
        cost: tier.cost.iter().map(|cost| cost.to_f64()).sum::<f64>() / rows,
    }
}

/// What one simulated log led to.
#[derive(Clone, Copy, Debug, Default)]
struct Trial {
    /// Cost of the certified policy, and whether its promise fails.
    certified: Option<(f64, bool)>,
    /// Whether the others had a go at this log.
    compared: bool,
    plug_in: Option<(f64, bool)>,
    ucci: Option<(f64, bool)>,
}

struct Found(Vec<Trial>);

fn simulate(goal: &Goal, recipe: Recipe, fits: usize, fresh: &Fresh) -> Found {
    let best = single(&fresh.log, "c");
    let fails = |truth: Truth| match goal {
        Goal::MinQuality(floor) => truth.quality < *floor,
        Goal::MaxQualityLoss { by, .. } => truth.quality < best.quality - by,
        Goal::MaxCost(limit) => truth.cost > limit.to_f64(),
        _ => unreachable!("only these are simulated"),
    };
    let settings = |confidence| {
        let mut config = config(goal.clone(), confidence);
        config.routes[0].fit.families = vec![Family::Single, Family::Pair];
        config
    };
    let (certified, plug_in) = (settings(Some(1.0 - DELTA)), settings(None));
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= fits {
                return done;
            }
            let log = simulated(Recipe { seed: number as u64 + 1, ..recipe });
            let run = |config: &Config| {
                let truth = fresh.truth(&fit_policy(config, &log).policy?.rules);
                Some((truth.cost, fails(truth)))
            };
            let mut trial = Trial { certified: run(&certified), ..Trial::default() };
            if number.is_multiple_of(COMPARED) {
                trial.compared = true;
                trial.plug_in = run(&plug_in);
                trial.ucci = ucci_rules(goal, &log).map(|rules| {
                    let truth = fresh.truth(&rules);
                    (truth.cost, fails(truth))
                });
            }
            done.push(trial);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        Found(workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect())
    })
}

/// A log whose last rows are held out; groups stay whole.
fn simulated(recipe: Recipe) -> EvalLog {
    let all = Recipe { rows: recipe.rows + HELD_OUT, ..recipe };
    log_of(&all.lines(|row| Some(if row < recipe.rows { "calibration" } else { "test" })))
}

impl Found {
    fn share(&self, of: impl Fn(&Trial) -> bool) -> f64 {
        self.0.iter().filter(|trial| of(trial)).count() as f64 / self.0.len() as f64
    }

    /// The same among logs that the others had a go at.
    fn compared(&self, of: impl Fn(&Trial) -> bool) -> f64 {
        let all = self.0.iter().filter(|trial| trial.compared);
        all.clone().filter(|trial| of(trial)).count() as f64 / all.count().max(1) as f64
    }

    fn broken(&self) -> f64 {
        self.share(|trial| trial.certified.is_some_and(|certified| certified.1))
    }

    /// Cost over that of the plug-in policy of the same log, on average over logs that have both.
    fn dearer(&self, of: impl Fn(&Trial) -> Option<(f64, bool)>) -> Option<f64> {
        let pairs = || self.0.iter().filter_map(|trial| Some((of(trial)?.0, trial.plug_in?.0)));
        let (own, other) = pairs().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
        (other > 0.0).then(|| own / other - 1.0)
    }

    fn line(&self, goal: &Goal, rows: usize, recipe: Recipe) -> String {
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let change =
            |share: Option<f64>| share.map_or("–".into(), |share| format!("{:+.1} %", 100.0 * share));
        let promise = match goal {
            Goal::MinQuality(floor) => format!("quality ≥ {floor}"),
            Goal::MaxQualityLoss { by, .. } => format!("loss against `c` ≤ {by}"),
            Goal::MaxCost(limit) => format!("cost ≤ {limit}"),
            _ => unreachable!("only these are simulated"),
        };
        let ucci = matches!(goal, Goal::MinQuality(_)).then(|| {
            let fails = self.compared(|trial| trial.ucci.is_some_and(|ucci| ucci.1));
            (percent(fails), change(self.dearer(|trial| trial.ucci)))
        });
        let (ucci_fails, ucci_cost) = ucci.unwrap_or(("–".into(), "–".into()));
        format!(
            "| {promise} | {} | {} | {rows} | {} | {} | {} | {} | {ucci_fails} | {ucci_cost} |",
            if recipe.real_valued { "real" } else { "0/1" },
            recipe.group_size,
            percent(self.share(|trial| trial.certified.is_some())),
            percent(self.broken()),
            percent(self.compared(|trial| trial.plug_in.is_some_and(|plug_in| plug_in.1))),
            change(self.dearer(|trial| trial.certified)),
        )
    }
}

/// The pair of `b` and `c` as `ucci` makes it: isotonic calibration on half of the rows, the cheapest of its 201
/// thresholds that reaches the floor on the other half.
fn ucci_rules(goal: &Goal, log: &EvalLog) -> Option<Rules> {
    let Goal::MinQuality(floor) = goal else { return None };
    let (small, large) = (log.tier("b")?, log.tier("c")?);
    let (_, signal) = small.signals.iter().find(|signal| signal.0 == "confidence")?;
    let rows: Vec<usize> =
        (0..log.rows.len()).filter(|&row| log.rows[row].split == Some(Split::Calibration)).collect();
    let (fit, choose) = rows.split_at(rows.len() / 2);
    let doubt = |rows: &[usize]| rows.iter().map(|&row| doubt_of(signal.value[row])).collect::<Vec<f64>>();
    let errors: Vec<f64> = fit.iter().map(|&row| 1.0 - small.quality[row]).collect();
    let calibrator = ucci::IsotonicCalibrator::fit(&doubt(fit), &errors).ok()?;
    let predicted = calibrator.predict_many(&doubt(choose)).ok()?;
    let scores = |quality: &[f64]| choose.iter().map(|&row| quality[row]).collect::<Vec<f64>>();
    let costs = ucci::Costs::paper();
    let grid = ucci::default_grid();
    let choice = ucci::select_threshold(
        &predicted,
        &scores(&small.quality),
        &scores(&large.quality),
        *floor,
        &costs,
        &grid,
    );
    let theta = choice.ok()?.theta;
    // Predictions rise with doubt, so the rule is a threshold on the signal.
    let keeps = |signal: f64| calibrator.predict(doubt_of(signal)).is_ok_and(|p| p <= theta);
    let (mut low, mut high) = (-1.0_f64, 1.0_f64);
    // Signals have three decimals.
    for _ in 0..12 {
        let middle = f64::midpoint(low, high);
        if keeps(middle) { high = middle } else { low = middle }
    }
    let rule = AcceptRule { score: ScoreSource::Signal(0), at_least: Cut(high) };
    let stages = vec![Stage { tier: 0, rule: Some(rule) }, Stage { tier: 1, rule: None }];
    Some(Rules {
        tiers: vec!["b".into(), "c".into()],
        signals: vec!["confidence".into()],
        scores: Vec::new(),
        plans: vec![Plan::new(stages)],
        router: None,
        guard: None,
        abstention: None,
        mixture: None,
    })
}

/// The signal, which lies in [−1, 1], as an uncertainty in [0, 1].
fn doubt_of(signal: f64) -> f64 {
    ((1.0 - signal) / 2.0).clamp(0.0, 1.0)
}
