//! The files themselves.

use super::Answers;
use cascade_sdk_core::config::Api;
use std::fmt::Write as _;

const SCHEMA_URL: &str = "https://raw.githubusercontent.com/cascade-rs/cascade/main/cascade.schema.json";

/// Path relative to the directory, and text, of everything that is written.
pub(crate) fn files(answers: &Answers) -> Vec<(String, String)> {
    vec![
        ("cascade.toml".into(), config(answers)),
        (prompts_path(answers), PROMPTS.into()),
        (".gitattributes".into(), ATTRIBUTES.into()),
        (".github/workflows/cascade.yml".into(), WORKFLOW.into()),
    ]
}

/// A file name for the route: letters and digits as they are, anything else a hyphen.
fn stem(route: &str) -> String {
    cascade_sdk_core::config::policy_stem(route)
}

fn prompts_path(answers: &Answers) -> String {
    format!("evals/{}-prompts.jsonl", stem(&answers.route))
}

/// A TOML string in quotes. JSON's escapes are a subset of TOML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A TOML key: bare where that is allowed.
fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if bare { name.to_owned() } else { quoted(name) }
}

fn config(answers: &Answers) -> String {
    let provider = answers.api.name();
    let mut text = format!("#:schema {SCHEMA_URL}\nschema = 1\n\n");
    text.push_str("# Where requests go. Keys come from the environment only.\n");
    let _ = writeln!(text, "[providers.{provider}]\napi = {}", quoted(provider));
    if let Some(url) = &answers.base_url {
        let _ = writeln!(text, "base_url = {}", quoted(url));
    }
    if let Some(variable) = &answers.api_key_env {
        let _ = writeln!(text, "api_key_env = {}", quoted(variable));
    }
    text.push_str("\n# One table for each model. Check the prices (USD per million tokens) against your provider's list:\n");
    text.push_str(
        "# every figure that Cascade reports rests on them. The limits bound what one call can cost.\n",
    );
    for tier in &answers.tiers {
        let _ = writeln!(
            text,
            "[tiers.{}]\nprovider = {}\nmodel = {}\nprice = {{ input = {}, output = {} }}\n\
             # price_as_of = \"2026-01-31\"   # the day you compared it; `cascade check` warns when that is long ago\n\
             max_input_tokens = 4000\nmax_output_tokens = 256\ntimeout_s = 60\n",
            key(&tier.name),
            quoted(provider),
            quoted(&tier.model),
            tier.input,
            tier.output
        );
    }
    let names: Vec<String> = answers.tiers.iter().map(|tier| quoted(&tier.name)).collect();
    let (route, stem) = (key(&answers.route), stem(&answers.route));
    let dearest = names.last().map_or("", String::as_str);
    text.push_str("# A route is one kind of call.\n");
    let _ = writeln!(text, "[routes.{route}]\ntiers = [{}]", names.join(", "));
    let _ = writeln!(text, "log = [\"evals/{stem}.jsonl\"]");
    if names.len() > 1 {
        let _ = writeln!(
            text,
            "until_fitted = {dearest}{}# take this line out after the first `cascade fit`",
            " ".repeat(20_usize.saturating_sub(dearest.len()).max(1))
        );
        let _ = writeln!(
            text,
            "\n[routes.{route}.objective]\n\
             # Exactly one of: max_cost_usd, min_quality, max_quality_loss, shadow_price.\n\
             # max_cost_usd is the mean of one call; commands print costs of 1000 calls, where 0.0008 is $0.80.\n\
             max_quality_loss = {{ versus = {dearest}, by = 0.02 }}"
        );
    }
    let _ = writeln!(
        text,
        "\n[routes.{route}.request]\n# What shapes a request beside its messages; collected and live requests share it."
    );
    text.push_str("temperature = 0.0\n");
    if answers.api.gives_log_probabilities() && answers.api != Api::Replay {
        text.push_str("top_logprobs = 5             # the signals of an answer are made of these\n");
    }
    let _ = writeln!(
        text,
        "\n# More signals, where these are none or too weak: a \"verifier\" of your own, a \"judge\", or \"self_consistency\".\n\
         # [routes.{route}.signals.agreement]\n# kind = \"self_consistency\"\n# samples = 3\n# temperature = 0.8"
    );
    text
}

const PROMPTS: &str = concat!(
    r#"{"id":"capital-1","input":"What is the capital of Australia? Answer with the name only.","reference":"Canberra","grader":"exact"}"#,
    "\n",
    r#"{"id":"capital-2","input":"What is the capital of Slovenia? Answer with the name only.","reference":"Ljubljana","grader":"exact"}"#,
    "\n",
    r#"{"id":"sum-1","input":"What is 17 * 23? Answer with the number only.","reference":391,"grader":"numeric"}"#,
    "\n",
    r#"{"id":"sum-2","input":"A train leaves at 14:20 and arrives at 17:05. How many minutes does it take?","reference":165,"grader":"numeric","tolerance":0.0}"#,
    "\n",
    r#"{"id":"team-1","input":"Which team should handle this ticket: billing, technical or account?\n\nI was charged twice this month.","reference":"billing","grader":"choice","options":["billing","technical","account"],"tags":{"kind":"ticket"}}"#,
    "\n",
    r#"{"id":"team-2","input":"Which team should handle this ticket: billing, technical or account?\n\nThe app crashes when I open the camera.","reference":"technical","grader":"choice","options":["billing","technical","account"],"tags":{"kind":"ticket"}}"#,
    "\n",
    r#"{"id":"name-1","input":"Who wrote Don Quixote?","reference":"Cervantes","grader":"contains"}"#,
    "\n",
    r#"{"id":"date-1","input":"On which date did the first crewed Moon landing happen? Answer as YYYY-MM-DD.","reference":"^1969-07-20\\.?$","grader":"regex"}"#,
    "\n",
);

const ATTRIBUTES: &str = "\
# Policies are written by `cascade fit`: reviewed, never edited by hand.
# To read changes in words, once in each clone:
#   git config diff.cascade.command 'cascade diff'
policies/*.toml diff=cascade
policies/*.weights -diff
evals/*.jsonl linguist-generated=true -diff
# Prompts are written by people, and read in reviews.
evals/*-prompts.jsonl -linguist-generated diff
";

const WORKFLOW: &str = "\
# Fails if the configuration has a mistake, a log cannot be read, a policy is stale or breaks its promise, or a price is
# older than price_as_of allows.
name: cascade
on: [push, pull_request]
jobs:
  check:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: cargo install cascade-cli --locked
      - run: cascade check --strict --format github
";
