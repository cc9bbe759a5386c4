//! What early escalation saves: the same questions with and without it, by the tokens that the server generated.

use super::*;
use cascade_sdk::{Answer, Call, Step};
use std::time::Duration;

const QUESTIONS: [&str; 8] = [
    "What is the capital of Mongolia?",
    "What is 17 * 23?",
    "Which planet has the most moons?",
    "Who wrote the novel `Middlemarch`?",
    "What is the chemical symbol of tungsten?",
    "How many letters has the word `onomatopoeia`?",
    "In which year did the Suez Canal open?",
    "What is the square root of 1369?",
];

/// What one way of asking came to.
#[derive(Debug, Default)]
struct Sums {
    given_up: u64,
    /// Tokens that the cheap tier's server generated.
    generated: u64,
    /// What the cheap tier's calls cost by their real tokens, and at what the client counts them: an answer that was given up at
    /// the bound of its input, since its server did not come to say.
    real: Usd,
    counted: Usd,
    /// The same for all calls, by the client.
    all: Usd,
    waited: Duration,
}

/// Asks everything both ways. The cheap tier's answer is read by a signal, and kept from `cut` on.
async fn compare<'c, T, Whole, Watched>(
    name: &str,
    (signal, cut): (&str, f64),
    whole: impl Fn(&str) -> Call<'c, Whole>,
    watched: impl Fn(&str) -> Call<'c, Watched>,
) where
    T: Answer + std::fmt::Debug,
    Whole: TierName,
    Watched: TierName,
{
    println!("{name}");
    let [mut without, mut with] = [Sums::default(), Sums::default()];
    for question in QUESTIONS {
        let question =
            format!("{question} Explain how you know in three sentences, and then say the answer.");
        let before = generated(18082).await;
        let first = whole(&question).answer::<T>().await;
        let between = generated(18082).await;
        let second = watched(&question).answer::<T>().await;
        let after = generated(18082).await;
        // A typed answer that the limit cut off fails at both tiers: its path is told all the same.
        let (a, of_a) = story(&first, &mut without);
        let (b, of_b) = story(&second, &mut with);
        for (sums, generated) in [(&mut without, between - before), (&mut with, after - between)] {
            sums.generated += generated;
            let usage = Usage { output_tokens: generated, ..a.usage.unwrap() };
            sums.real = sums.real.checked_add(tokens_times_price("small", &usage)).unwrap();
        }
        assert_eq!(a.given_up_after, None);
        if let (None, Some(usage)) = (b.given_up_after, b.usage) {
            assert_eq!((b.cost, b.estimated), (tokens_times_price("small", &usage), Usd::ZERO));
        }
        if let Some(tokens) = b.given_up_after {
            with.given_up += 1;
            // The input at the bound of its bytes, and the tokens that arrived.
            let [input, _, output] = price("small");
            let rest = b.cost.pico() - i64::try_from(tokens).unwrap() * output;
            assert!(
                rest % input == 0 && rest / input >= i64::try_from(a.usage.unwrap().input_tokens).unwrap()
            );
            assert_eq!(b.estimated, b.cost);
            // Prompt caching moves log-probabilities a little from call to call.
            let value = a.signals.get(signal).copied().unwrap_or(f64::NEG_INFINITY);
            assert!(value < cut * 0.95, "given up although it would have been kept: {value}");
            assert_eq!(of_b, 2, "given up, and nobody else was asked");
        }
        println!(
            "  {of_a} / {of_b} tiers: {} of {} tokens, {:?} of {:?} for the cheap tier",
            after - between,
            between - before,
            b.latency,
            a.latency
        );
    }
    println!("{name}: without {without:?}");
    println!("{name}: with    {with:?}");
    let spared = 100.0 * (1.0 - with.generated as f64 / without.generated as f64);
    println!(
        "{name}: {spared:.1} % of the cheap tier's tokens spared, {} of {} given up",
        with.given_up,
        QUESTIONS.len()
    );
    assert!(with.given_up > 0 && with.generated < without.generated);
}

/// What is told of the cheap tier's call.
struct First {
    signals: BTreeMap<String, f64>,
    usage: Option<Usage>,
    cost: Usd,
    estimated: Usd,
    given_up_after: Option<u64>,
    latency: Duration,
}

/// The first stage of a request, however it ended, and how many tiers were asked.
fn story<T, Tier: TierName>(result: &Result<Routed<T, Tier>, Error>, sums: &mut Sums) -> (First, usize) {
    let (first, asked, cost) = match result {
        Ok(routed) => (first(&routed.path), routed.path.len(), routed.cost()),
        Err(error) => {
            assert!(error.is_answer(), "{error}");
            (first(error.path()), error.path().len(), error.spent())
        }
    };
    sums.all = sums.all.checked_add(cost).unwrap();
    sums.counted = sums.counted.checked_add(first.cost).unwrap();
    sums.waited += first.latency;
    (first, asked)
}

fn first<Tier>(path: &[Step<Tier>]) -> First {
    let step = path.first().unwrap();
    First {
        signals: step.signals.clone(),
        usage: step.usage,
        cost: step.cost,
        estimated: step.estimated,
        given_up_after: step.given_up_after,
        latency: step.latency,
    }
}

#[tokio::test]
#[ignore = "needs three servers of real models: see docs/benchmarks.md"]
async fn early_escalation_spares_tokens() {
    let (directory, store) = (tempfile::tempdir().unwrap(), Counting::default());
    let llm = llm(&store, &directory.path().join("decisions.jsonl"));
    let least = ("min_logprob", -1.5);
    compare::<String, _, _>("text", least, |asked| llm.whole(asked), |asked| llm.watched(asked)).await;
    let sum = ("sequence_logprob", -25.0);
    compare::<Note, _, _>("typed", sum, |asked| llm.whole_note(asked), |asked| llm.watched_note(asked)).await;
}
