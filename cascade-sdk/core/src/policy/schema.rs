//! JSON Schema of policy files, for tools that read them. What must agree between keys only [`super::read`] checks.

use crate::config::Family;
use crate::document::json::Json;

type Entries = Vec<(&'static str, Json)>;

/// JSON Schema, draft-07, of a policy file read as JSON.
pub fn json_schema() -> String {
    let mut entries = vec![
        ("$schema", Json::text("http://json-schema.org/draft-07/schema#")),
        ("title", Json::text("Cascade policy")),
        (
            "description",
            Json::text("Which tier answers a request, and when to escalate. Written by `cascade fit`."),
        ),
    ];
    let families = Family::ALL.map(|family| Json::text(family.name()));
    entries.extend(object(
        &[
            ("schema", Json::object([("const", Json::Integer(i64::from(super::SCHEMA)))]), true),
            ("route", text("The route it belongs to."), true),
            ("family", Json::object([("enum", Json::List(families.to_vec()))]), true),
            ("tiers", list(text("A tier."), "Tiers that plans use, by increasing mean cost."), true),
            ("signals", list(text("A signal."), "Signals that rules and scores read."), true),
            ("fitted", fitted(), true),
            ("objective", objective(), true),
            ("expected", expected(), true),
            ("certificate", certificate(), false),
            ("scores", list(score(), "Fitted combinations that rules may compare."), false),
            ("plans", list(plan(), "The plans; one without a router, two in a mixture."), true),
            ("router", router(), false),
            ("guard", guard(), false),
            ("abstention", abstention(), false),
            ("mixture", mixture(), false),
            ("frontier", list(point(), "Other operating points, cheapest first."), false),
        ],
        "",
    ));
    Json::object(entries).pretty()
}

fn object(keys: &[(&'static str, Json, bool)], meaning: &str) -> Entries {
    let required = keys.iter().filter(|key| key.2).map(|key| Json::text(key.0)).collect();
    let mut entries = vec![
        ("type", Json::text("object")),
        ("additionalProperties", Json::Bool(false)),
        ("properties", Json::object(keys.iter().map(|(name, value, _)| (*name, value.clone())))),
        ("required", Json::List(required)),
    ];
    if !meaning.is_empty() {
        entries.push(("description", Json::text(meaning)));
    }
    entries
}

fn value(kind: &str, meaning: &str) -> Json {
    Json::object([("type", Json::text(kind)), ("description", Json::text(meaning))])
}

fn text(meaning: &str) -> Json {
    value("string", meaning)
}

fn number(meaning: &str) -> Json {
    value("number", meaning)
}

fn count(meaning: &str) -> Json {
    Json::object([
        ("type", Json::text("integer")),
        ("minimum", Json::Integer(0)),
        ("description", Json::text(meaning)),
    ])
}

fn hash(meaning: &str) -> Json {
    Json::object([
        ("type", Json::text("string")),
        ("pattern", Json::text("^[0-9a-f]{64}$")),
        ("description", Json::text(meaning)),
    ])
}

fn list(items: Json, meaning: &str) -> Json {
    Json::object([("type", Json::text("array")), ("items", items), ("description", Json::text(meaning))])
}

fn anything(meaning: &str) -> Json {
    Json::object([("description", Json::text(meaning))])
}

fn estimate(meaning: &str) -> Json {
    Json::object(object(
        &[
            ("value", number("The figure."), true),
            ("low", number("Lower end of its 95 % interval."), true),
            ("high", number("Upper end of its 95 % interval."), true),
        ],
        meaning,
    ))
}

fn fitted() -> Json {
    Json::object(object(
        &[
            ("log_hash", hash("SHA-256 over the sorted SHA-256 of the log's lines."), true),
            ("config_hash", hash("Fingerprint of what the fit depends on in the configuration."), true),
            ("algorithm", count("Version of the algorithm."), true),
            ("calibration_rows", count("Rows used for choosing."), true),
            ("test_rows", count("Rows used for reporting."), true),
            ("seed", count("Seed of every random choice."), true),
            ("refit_on_all", value("boolean", "Whether thresholds were refitted on all rows."), true),
            (
                "repriced",
                value(
                    "boolean",
                    "Whether costs are tokens × price even where the log states them; absent: no.",
                ),
                false,
            ),
            ("traffic_hash", hash("SHA-256 of the requests like which rows were weighed."), false),
        ],
        "What it was fitted from.",
    ))
}

fn objective() -> Json {
    let loss = object(
        &[
            ("versus", text("The tier compared with."), true),
            ("by", number("Loss allowed, in quality."), true),
        ],
        "Most quality that may be lost against always using a tier.",
    );
    let tail = object(
        &[
            ("usd", number("What a dear request costs, in US dollars."), true),
            ("share", number("Most of the requests that may cost that much."), true),
        ],
        "Upper bound on the share of dear requests.",
    );
    Json::object(object(
        &[
            ("max_cost_usd", number("Most a call may cost on average, in US dollars."), false),
            ("min_quality", number("Least mean quality."), false),
            ("max_quality_loss", Json::object(loss), false),
            ("shadow_price", number("Quality that a US dollar must buy."), false),
            (
                "max_latency_ms_p95",
                number("Upper bound on the 95th percentile of latency in milliseconds."),
                false,
            ),
            ("max_cost_tail", Json::object(tail), false),
            ("confidence", number("Confidence with which the constraint is certified."), false),
        ],
        "What was optimised.",
    ))
}

fn expected() -> Json {
    let share = Json::object([
        ("type", Json::text("object")),
        ("additionalProperties", estimate("Share of requests that the tier answers.")),
    ]);
    Json::object(object(
        &[
            ("quality", estimate("Mean quality."), true),
            ("cost_usd", estimate("Mean cost of a request in US dollars."), true),
            ("calls", estimate("Mean calls of a request."), true),
            ("shadow_price", number("Quality that one more US dollar buys."), false),
            ("latency_ms_p95", number("95th percentile of path latency in milliseconds."), false),
            ("abstained", estimate("Share of requests that are answered \"don't know\"."), false),
            ("quality_answered", estimate("Mean quality of the other requests."), false),
            ("share", share, true),
            ("early_escalation", early_escalation(), false),
        ],
        "Figures on held-out rows.",
    ))
}

fn certificate() -> Json {
    Json::object(object(
        &[
            ("promise", text("What is promised."), true),
            ("confidence", number("Confidence of the promise."), true),
            ("method", text("Name of the test."), true),
            ("rows", count("Rows or groups of the test."), true),
            ("assumptions", list(text("One assumption."), "What the promise rests on."), true),
            ("attempt", count("Which attempt this was."), true),
        ],
        "A constraint that holds on fresh data with a stated confidence.",
    ))
}

fn score() -> Json {
    let knots = list(list(number("x or y."), "x and y."), "Piecewise-linear map of the input.");
    let term = object(
        &[
            ("signal", text("The signal that is read."), false),
            ("prediction", text("The tier whose predicted log-odds are read."), false),
            ("weight", number("Nats per unit."), true),
            ("knots", knots, false),
        ],
        "",
    );
    Json::object(object(
        &[
            ("name", text("Its name."), true),
            ("tier", text("The tier whose answers it scores."), true),
            ("intercept", number("Constant term in nats."), true),
            ("per_cost_of", text("The tier by whose predicted cost it is divided."), false),
            ("terms", list(Json::object(term), "The terms."), true),
        ],
        "",
    ))
}

fn stage() -> Json {
    let cut = Json::object([(
        "anyOf",
        Json::List(vec![
            number("Lowest kept score."),
            Json::object([("enum", Json::List(vec![Json::text("inf"), Json::text("-inf")]))]),
        ]),
    )]);
    Json::object(object(
        &[
            ("tier", text("The tier asked."), true),
            (
                "score",
                text("The signal or score compared; absent on a last stage that never abstains."),
                false,
            ),
            ("at_least", cut, false),
            ("stop", stop(), false),
            ("abstain_below", number("Lowest score that does not abstain."), false),
        ],
        "",
    ))
}

fn stop() -> Json {
    let cut =
        list(number("Tokens or a score."), "Tokens that are scored, and the lowest score that goes on.");
    Json::object(object(
        &[
            ("most_tokens", count("The most tokens that an answer can have."), false),
            (
                "below",
                list(cut, "By increasing number of tokens; empty where only safe bounds stop an answer."),
                true,
            ),
        ],
        "When an answer is given up while it arrives.",
    ))
}

fn early_escalation() -> Json {
    Json::object(object(
        &[
            ("cost_saving", estimate("Share of the cost without it that is saved."), true),
            ("quality_change", estimate("Mean quality minus that without it."), true),
            ("tokens_spared", estimate("Share of output tokens that were not generated."), true),
        ],
        "What early escalation does, beside the same policy without it.",
    ))
}

fn plan() -> Json {
    Json::object(object(
        &[
            ("stages", list(stage(), "Stages, first to last."), true),
            ("forecast", anything("How a router predicts the plan."), false),
            ("penalty", anything("What the router subtracts from the plan's value."), false),
        ],
        "",
    ))
}

fn router() -> Json {
    Json::object(object(
        &[
            ("shadow_price", anything("Quality that a US dollar must buy."), true),
            ("weights", text("Weights in base64."), false),
            ("weights_file", text("File with the weights, named by its hash."), false),
            ("heads", anything("Intercept and cost of each tier."), true),
            (
                "embedding",
                anything(
                    "Model and length of the embedding that is read, and the hash of the file that it is read from.",
                ),
                false,
            ),
            ("text", anything("What is read of the prompt's text."), false),
            ("numbers", anything("Features that are read."), false),
            ("tags", anything("Tags that are read, with their levels."), false),
        ],
        "Chooses a plan from the prompt.",
    ))
}

fn guard() -> Json {
    Json::object(object(
        &[
            ("tag", text("The tag that every request must have."), true),
            ("labels", list(text("A label."), "Labels that are kept on one tier."), true),
            ("tier", text("The tier."), true),
        ],
        "Requests with certain labels that one tier answers alone.",
    ))
}

fn abstention() -> Json {
    Json::object(object(
        &[("quality", number("Quality that an answer \"don't know\" counts as."), true)],
        "What it means that plans abstain.",
    ))
}

fn mixture() -> Json {
    Json::object(object(
        &[
            ("share", number("Share of requests that the second plan decides."), true),
            ("seed", count("Makes its draws independent of those of other policies."), true),
        ],
        "Draws one of two plans for each request, by a hash of its id.",
    ))
}

fn point() -> Json {
    Json::object(object(
        &[
            ("quality", number("Mean quality on calibration rows."), true),
            ("cost_usd", number("Mean cost of a request in US dollars on calibration rows."), true),
            ("shadow_price", number("Quality that one more US dollar buys."), false),
            ("router_shadow_price", anything("The router's shadow price at this point."), false),
            ("plans", list(list(stage(), "Stages of a plan."), "Plans at this point."), true),
            ("forecasts", anything("How the router predicts the plans."), false),
            ("penalties", anything("What the router subtracts from the plans' values."), false),
        ],
        "",
    ))
}

#[cfg(test)]
mod tests {
    use super::super::{read, router_text};

    #[test]
    fn every_key_that_the_reader_knows_is_in_the_schema() {
        let schema = super::json_schema();
        for key in read::ALL_KEYS.iter().chain([&router_text::KEYS]).copied().flatten() {
            assert!(schema.contains(&format!("\"{key}\": {{")), "{key}");
        }
    }
}
