//! Plans of every shape, whole and streamed, as text and typed: the money is tokens × price to the last unit, wherever it is told.

use super::*;
use cascade_sdk::{Call, Request, route};

const QUESTIONS: [&str; 6] = [
    "What is the capital of France? One word.",
    "What is 17 * 23? Only the number.",
    "Which planet is the largest in the solar system? One word.",
    "Write the word `straße` in capitals, nothing else.",
    "What is the chemical symbol of gold? Only the symbol.",
    "How many letters has the word `banana`? Only the number.",
];

const TICKETS: [&str; 4] = [
    "I was charged twice this month.",
    "The app crashes when I open the settings.",
    "How much is it for a team of forty?",
    "Since the update my invoice page stays blank.",
];

/// Which team should have this ticket?
#[route(Llm::triage)]
async fn triage(llm: &Llm, ticket: &str) -> Result<Routed<Team, TriageTier>, Error> {
    format!("Which team should handle this ticket: billing, technical or sales?\n\n{ticket}")
}

/// The same, sent to a tier before anything is generated.
#[route(Llm::routed_triage)]
async fn routed_triage(
    llm: &Llm,
    #[tag] kind: &str,
    ticket: &str,
) -> Result<Routed<Team, RoutedTriageTier>, Error> {
    format!("Which team should handle this ticket: billing, technical or sales?\n\n{ticket}")
}

/// Asks once for a whole answer and once for a stream, and checks what the stream tells on its way.
async fn both_ways<'c, T, Tier>(call: impl Fn() -> Call<'c, Tier>, tally: &mut Tally) -> Vec<Tier>
where
    T: cascade_sdk::Answer + Serialize + std::fmt::Debug,
    Tier: TierName + PartialEq,
{
    let whole = call().answer::<T>().await.unwrap();
    tally.add(&whole);
    let (shown, events, routed) = drained(call().stream::<T>()).await;
    let routed = routed.unwrap();
    tally.add(&routed);
    let asked: Vec<Tier> = routed.path.iter().map(|step| step.tier).collect();
    assert!(matches!(events.first(), Some(StreamEvent::Started { tier }) if *tier == asked[0]));
    let told = events.iter().skip(1).map(|event| match event {
        StreamEvent::Escalated { to, .. } => *to,
        other => panic!("{other:?}"),
    });
    assert_eq!(told.collect::<Vec<_>>(), asked[1..]);
    let answer = serde_json::to_value(&routed.answer).unwrap();
    match serde_json::from_str::<serde_json::Value>(&shown) {
        Ok(json) if json.is_object() => assert_eq!(json["answer"], answer),
        _ => assert_eq!(serde_json::Value::String(shown), answer),
    }
    println!(
        "  {:?} {:?} by {:?} / {:?} by {asked:?}",
        whole.answer,
        whole.cost(),
        whole.tier,
        routed.answer
    );
    asked
}

#[tokio::test]
#[ignore = "needs three servers of real models: see docs/benchmarks.md"]
async fn every_plan_costs_its_tokens_times_their_price() {
    let (directory, store) = (tempfile::tempdir().unwrap(), Counting::default());
    let log = directory.path().join("decisions.jsonl");
    let llm = llm(&store, &log);
    let before = [generated(18081).await, generated(18082).await, generated(18083).await];
    let mut tally = Tally::default();

    println!("one tier, and a chain of three");
    let (mut lengths, mut kinds) = ([0; 3], [0; 3]);
    for question in QUESTIONS {
        both_ways::<String, _>(|| llm.single(question), &mut tally).await;
        let asked = both_ways::<String, _>(|| llm.chain(question), &mut tally).await;
        lengths[asked.len() - 1] += 1;
    }
    assert!(lengths[1] + lengths[2] > 0, "nothing escalated");

    println!("a router, and a router over cascades");
    for (at, question) in QUESTIONS.iter().enumerate() {
        let kind = format!("kind {}", at % 3);
        let request = || Request::new(*question).tag("kind", kind.as_str());
        let asked = both_ways::<String, _>(|| llm.routed(request()), &mut tally).await;
        assert_eq!(asked, [if at % 3 == 0 { RoutedTier::Small } else { RoutedTier::Large }]);
        let asked = both_ways::<String, _>(|| llm.mixed(request()), &mut tally).await;
        let first = [MixedTier::Tiny, MixedTier::Small, MixedTier::Large][at % 3];
        assert_eq!(asked[0], first);
        kinds[asked.len() - 1] += 1;
    }

    println!("typed answers: a cascade and a router");
    for (at, ticket) in TICKETS.into_iter().enumerate() {
        let kind = format!("kind {}", at % 2);
        let routed = triage(&llm, ticket).await.unwrap();
        tally.add(&routed);
        assert!(routed.path[0].signals.contains_key("mean_logprob"), "{:?}", routed.path);
        let routed = routed_triage(&llm, &kind, ticket).await.unwrap();
        tally.add(&routed);
        assert_eq!(routed.tier, [RoutedTriageTier::Small, RoutedTriageTier::Large][at % 2]);
        let request = || Request::new(format!("Which team: billing, technical or sales?\n\n{ticket}"));
        both_ways::<Team, _>(|| llm.triage(request()), &mut tally).await;
        both_ways::<Team, _>(|| llm.routed_triage(request().tag("kind", kind.as_str())), &mut tally).await;
    }

    tally.check();
    assert_eq!(store.settled(), tally.cost, "what the budget was charged");
    llm.flush_decision_log().await;
    let logged = std::fs::read_to_string(&log).unwrap();
    let rows: Vec<serde_json::Value> =
        logged.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told =
        rows.iter().map(|row| Usd::parse(&format!("{:.12}", row["cost_usd"].as_f64().unwrap())).unwrap());
    let told = told.fold(Usd::ZERO, |sum, cost| sum.checked_add(cost).unwrap());
    assert_eq!(told, tally.cost, "what the decision log says");
    assert_eq!(rows.len() as u64, tally.requests);
    for (at, (port, tier)) in [(18081, "tiny"), (18082, "small"), (18083, "large")].into_iter().enumerate() {
        let server = generated(port).await - before[at];
        assert_eq!(server, tally.tiers[tier].output_tokens, "what the server of `{tier}` says it generated");
    }
    println!("{} requests, ${}: {:?}", tally.requests, tally.cost, tally.tiers);
    println!("chain by tiers asked: {lengths:?}; routed cascade: {kinds:?}");
}
