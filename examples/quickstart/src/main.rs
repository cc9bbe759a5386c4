//! Answers requests with a fitted policy and adds up what that cost.
//!
//! Offline by default: the answers are those that three real models gave when the log was collected. With
//! `CASCADE_BASE_URL` set, the same program asks the server there.
#![expect(clippy::print_stdout, reason = "a program for people")]

use cascade_sdk::config::FitSettings;
use cascade_sdk::decide::Decision;
use cascade_sdk::diag::Source;
use cascade_sdk::log::{EvalLog, LogFiles, ReadOptions, Split, half};
use cascade_sdk::money::Usd;
use cascade_sdk::policy::{self, Policy};
use cascade_sdk::{Error, Request, Routed, Step, TierName, client, route};
use std::path::Path;

/// Everything this program asks of language models.
#[client("cascade.toml")]
pub struct Llm;

/// Answers a short question. The id lets the offline replay find its row; the kind is what an application knows of its own
/// requests, which often tells a router more than the text does.
#[route(Llm::answer)]
async fn answer(
    llm: &Llm,
    id: &str,
    #[tag] kind: &str,
    question: &str,
) -> Result<Routed<String, AnswerTier>, Error> {
    Request::new(question).with_id(id)
}

/// How many requests are shown one by one.
const SHOWN: usize = 12;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let online = std::env::var_os("CASCADE_BASE_URL").is_some();
    let llm = if online { Llm::from_env()? } else { Llm::builder().replay_own_logs().build()? };
    let log = read_log()?;
    // `cascade.toml` leaves the split at its defaults.
    let settings = FitSettings::default();
    let is_held_out = |row: &usize| half(&log.rows[*row], settings.seed, settings.held_out) == Split::Test;
    let held_out: Vec<usize> = (0..log.rows.len()).filter(is_held_out).collect();
    let policy = policy::read(&Source::new("policies/answer.toml", Llm::ANSWER_POLICY))
        .map_err(|findings| format!("{findings:?}"))?;
    describe(&policy);
    println!("Held-out requests, which took no part in choosing the policy:\n");
    let mut totals = Totals::default();
    let step = held_out.len().div_ceil(SHOWN).max(1);
    for (place, &row) in held_out.iter().enumerate() {
        if online && place % step != 0 {
            continue;
        }
        let question = log.rows[row].text.as_deref().unwrap_or_default();
        let kind = log.rows[row].tags.iter().find(|(tag, _)| &**tag == "kind").map_or("", |(_, kind)| kind);
        let routed = answer(&llm, &log.rows[row].id, kind, question).await?;
        if place % step == 0 {
            show(question, &routed, policy.rules.router.is_some());
        }
        totals.add(&log, row, &routed);
    }
    totals.print(&log, online);
    Ok(())
}

/// What was fitted and what it promises.
fn describe(policy: &Policy) {
    let expected = &policy.expected;
    println!(
        "A {} policy, chosen on {} requests and proven on {} held-out ones:",
        policy.family.name().replace('_', " "),
        policy.fitted.calibration_rows,
        policy.fitted.test_rows
    );
    for plan in &policy.rules.plans {
        let tiers: Vec<&str> =
            plan.stages.iter().map(|stage| policy.rules.tiers[stage.tier].as_str()).collect();
        println!("  {}", tiers.join(" -> "));
    }
    println!(
        "  expected: {:.1} % right [{:.1}, {:.1}], ${:.3e} a request [{:.3e}, {:.3e}]\n",
        100.0 * expected.quality.value,
        100.0 * expected.quality.low,
        100.0 * expected.quality.high,
        expected.cost_usd.value,
        expected.cost_usd.low,
        expected.cost_usd.high
    );
}

fn read_log() -> Result<EvalLog, Box<dyn std::error::Error>> {
    let files = LogFiles::find(Path::new(env!("CARGO_MANIFEST_DIR")), &["evals/answers.jsonl.gz".to_owned()]);
    let reading = files.read(&ReadOptions::default()).map_err(|findings| format!("{findings:?}"))?;
    Ok(reading.log)
}

/// One request: who answered, why, at what price.
fn show(question: &str, routed: &Routed<String, AnswerTier>, by_router: bool) {
    let is_frame = |line: &&str| ["Answer", "Queue"].iter().any(|word| line.starts_with(word));
    let last_line = question.lines().rfind(|line| !line.trim().is_empty() && !is_frame(line)).unwrap_or("");
    println!("  {} {}", routed.request_id, shorten(last_line, 78));
    for step in &routed.path {
        println!(
            "    {:<10} {}  ${}",
            step.tier.name(),
            why(step, by_router && routed.path.len() == 1),
            step.total_cost()
        );
    }
    println!("    = {:?}  ${}\n", shorten(routed.answer.trim(), 40), routed.cost());
}

fn why(step: &Step<AnswerTier>, by_router: bool) -> String {
    match step.decision {
        Decision::Accept { score: None } if by_router => "chosen by the router".into(),
        Decision::Accept { score: Some(score) } => format!("kept, score {score:.3}"),
        Decision::Accept { score: None } => "last stage".into(),
        Decision::Escalate(why) => format!("escalated: {why}"),
        Decision::Abstain { score, .. } => format!("gave up, score {score:.3}"),
        _ => "no answer".into(),
    }
}

fn shorten(text: &str, most: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= most {
        line.into()
    } else {
        line.chars().take(most - 1).chain(['…']).collect()
    }
}

/// What the requests cost and how good the answers were, beside always using one tier.
#[derive(Default)]
struct Totals {
    requests: usize,
    cost: Usd,
    quality: f64,
    /// Cost and quality of always using each tier, in the order of the log.
    always: Vec<(Usd, f64)>,
}

impl Totals {
    fn add(&mut self, log: &EvalLog, row: usize, routed: &Routed<String, AnswerTier>) {
        self.requests += 1;
        self.cost = self.cost.saturating_add(routed.cost());
        self.quality += log.tier(routed.tier.name()).map_or(0.0, |tier| tier.quality[row]);
        self.always.resize(log.tiers.len(), (Usd::ZERO, 0.0));
        for (sum, tier) in self.always.iter_mut().zip(&log.tiers) {
            *sum = (sum.0.saturating_add(tier.cost[row]), sum.1 + tier.quality[row]);
        }
    }

    fn print(&self, log: &EvalLog, online: bool) {
        let line = |name: &str, cost: Usd, quality: Option<f64>| {
            let quality = quality
                .map_or("not graded".into(), |q| format!("{:.1} % right", 100.0 * q / self.requests as f64));
            println!("  {name:<18} ${:<14} {quality}", cost.to_string());
        };
        println!("{} requests in all:\n", self.requests);
        // Answers of a live server are not the ones that were graded.
        line("this policy", self.cost, (!online).then_some(self.quality));
        let mut always: Vec<_> = log.tiers.iter().zip(&self.always).collect();
        always.sort_by_key(|(_, (cost, _))| *cost);
        for (tier, (cost, quality)) in always {
            line(&format!("always {}", tier.name), *cost, Some(*quality));
        }
    }
}
