use super::{Package, TWO_TIERS, fitted, fitted_for, messages};
use cascade_sdk_core::config::Family;
use cascade_sdk_core::feature::{CostHead, Heads, Inputs, NumberInput, Router, Standard, TagInput};
use cascade_sdk_core::policy::{Guard, Plan, Stage};

const UNTIL_FITTED: &str = "log = [\"evals/triage.jsonl\"]\nuntil_fitted = \"large\"";

fn until_fitted() -> String {
    TWO_TIERS.replace("log = [\"evals/triage.jsonl\"]", UNTIL_FITTED)
}

#[test]
fn expansion_before_the_first_fit() {
    let package = Package::new(&until_fitted());
    insta::assert_snapshot!(package.client("/// Asks models.\n#[must_use] pub(crate) struct Llm;"));
}

#[test]
fn a_missing_policy_is_an_error_and_the_items_are_still_there() {
    let expansion = Package::new(TWO_TIERS).client("struct Llm;");
    let messages = messages(&expansion);
    assert_eq!(messages.len(), 1, "{messages:#?}");
    assert!(messages[0].contains("cascade fit triage"), "{}", messages[0]);
    assert!(messages[0].contains("cascade.toml:17:9"), "{}", messages[0]);
    for item in ["struct Llm", "pub fn triage", "enum TriageTier", "Small", "Large", "pub fn from_env"] {
        assert!(expansion.contains(item), "{item} is not in\n{expansion}");
    }
}

#[test]
fn expansion_of_a_fitted_route() {
    let package = Package::new(TWO_TIERS);
    package.write("policies/triage.toml", &fitted(|_| {}));
    insta::assert_snapshot!(package.client("struct Llm;"));
}

#[test]
fn a_policy_that_does_not_belong_is_an_error_with_the_command_that_mends_it() {
    let package = Package::new(TWO_TIERS);
    for (text, expected) in [
        (fitted(|policy| policy.fitted.config_hash = "0".repeat(64)), "policy::stale"),
        (fitted(|policy| policy.route = "other".to_owned()), "policy::foreign"),
        (fitted(|policy| policy.rules.tiers[0] = "tiny".to_owned()), "policy::other-tiers"),
        (fitted(|_| {}).replace("at_least = -0.2", "at_least = \"often\""), "policies/triage.toml:"),
        ("schema = 2\n".to_owned(), "policy::schema-too-new"),
    ] {
        package.write("policies/triage.toml", &text);
        let messages = messages(&package.client("struct Llm;"));
        assert!(messages.iter().any(|message| message.contains(expected)), "{expected}: {messages:#?}");
        assert!(messages.iter().all(|message| message.contains("cascade")), "{messages:#?}");
    }
}

#[test]
fn a_signal_that_no_call_can_give_is_an_error_at_its_place() {
    let unheard = TWO_TIERS.replacen("[tiers.small]\n", "[tiers.small]\nlog_probabilities = false\n", 1);
    assert_ne!(unheard, TWO_TIERS);
    let package = Package::new(&unheard);
    package.write("policies/triage.toml", &fitted_for(&unheard, |_| {}));
    let messages = messages(&package.client("struct Llm;"));
    assert_eq!(messages.len(), 1, "{messages:#?}");
    for part in [
        "[policy::signal-unavailable]",
        "`mean_logprob` of the tier `small`, whose model returns no log-probabilities",
        "cascade.toml:",
        "which leaves such signals out",
    ] {
        assert!(messages[0].contains(part), "{part}: {}", messages[0]);
    }
}

#[test]
fn a_signal_that_requests_do_not_ask_for_is_a_warning() {
    let unasked = TWO_TIERS.replace("top_logprobs = 5", "temperature = 0.0");
    let package = Package::new(&unasked);
    package.write("policies/triage.toml", &fitted_for(&unasked, |_| {}));
    let output = package.client("struct Llm;");
    assert!(messages(&output).is_empty(), "{:#?}", messages(&output));
    assert!(output.contains("[policy::signal-unavailable]"));
}

/// A router that reads a number and a label, whose weights are in a file of their own.
fn router() -> Router {
    let inputs = Inputs {
        embedding: None,
        numbers: vec![NumberInput { name: "length".to_owned(), standard: Standard::default() }],
        tags: vec![TagInput { name: "subject".to_owned(), levels: vec!["law".to_owned()] }],
        text: None,
    };
    let heads = Heads {
        embedding: Vec::new(),
        intercept: vec![0.0; 2],
        dense: vec![1.0; 2 * inputs.dense_len()],
        step: vec![0.0; 2],
        cost: vec![CostHead::default(); 2],
        hashed: Vec::new(),
    };
    let awaits = Some(format!("{}.weights", "0".repeat(64)));
    Router { shadow_price: 1.0, inputs, heads, awaits }
}

/// A policy that leaves the choice of a tier to a router.
fn routed(router: Router) -> String {
    fitted(|policy| {
        policy.family = Family::Router;
        policy.frontier.clear();
        let stage = |tier| Plan::new(vec![Stage { tier, rule: None }]);
        policy.rules.plans = vec![stage(0), stage(1)];
        policy.rules.router = Some(router);
    })
}

#[test]
fn a_client_knows_what_its_routers_read() {
    let package = Package::new(TWO_TIERS);
    package.write("policies/triage.toml", &routed(Router { awaits: None, ..router() }));
    let expansion = package.client("struct Llm;");
    for part in ["name: \"length\"", "InputKind::Tag", "add an argument `#[tag] subject: &str`"] {
        assert!(expansion.contains(part), "{part} is not in\n{expansion}");
    }
}

#[test]
fn a_client_knows_what_its_guards_read() {
    let package = Package::new(TWO_TIERS);
    let guarded = fitted(|policy| {
        policy.rules.guard = Some(Guard::new("tenant".to_owned(), vec!["odd".to_owned()], 1));
    });
    package.write("policies/triage.toml", &guarded);
    let expansion = package.client("struct Llm;");
    assert!(expansion.contains("add an argument `#[tag] tenant: &str`"), "{expansion}");
}

#[test]
fn weights_that_are_lost_or_mixed_up_are_an_error() {
    let package = Package::new(TWO_TIERS);
    package.write("policies/triage.toml", &routed(router()));
    let lost = messages(&package.client("struct Llm;"));
    assert!(lost[0].contains("are missing") && lost[0].contains("cascade fit triage"), "{lost:#?}");
    package.write(&format!("policies/{}.weights", "0".repeat(64)), "other weights");
    let mixed_up = messages(&package.client("struct Llm;"));
    assert!(mixed_up[0].contains("not those that the policy was written with"), "{mixed_up:#?}");
}

#[test]
fn every_mistake_of_the_configuration_is_reported_with_its_line() {
    let config = TWO_TIERS
        .replace("model = \"gpt-4.1-nano\"", "modle = \"gpt-4.1-nano\"")
        .replace("= 2.00", "= -2.00");
    let expansion = Package::new(&config).client("struct Llm;");
    let messages = messages(&expansion);
    assert!(messages.iter().any(|message| message.contains("cascade.toml:9:1")), "{messages:#?}");
    assert!(messages.iter().any(|message| message.contains("cascade.toml:15:")), "{messages:#?}");
    assert!(expansion.contains("pub fn triage"));
}

#[test]
fn mistakes_that_hide_the_configuration() {
    let package = Package::new(TWO_TIERS);
    for (args, expected) in [
        ("\"other.toml\"", "there is no configuration `other.toml`"),
        ("\"/etc/hosts\"", "relative to the package's"),
        ("\".\"", "it is not a file"),
        ("", "expected the path of the configuration"),
        ("cascade", "expected the path of the configuration"),
        ("\"cascade.toml\", crte = x", "did you mean `crate`?"),
        ("\"cascade.toml\", zebra", "unknown key `zebra`: known are `crate`"),
        ("\"cascade.toml\", crate = a, crate = b", "`crate` is set twice"),
    ] {
        let expansion = package.client_with(args, "pub struct Llm;");
        let messages = messages(&expansion);
        assert!(messages.iter().any(|message| message.contains(expected)), "{args}: {messages:#?}");
        assert!(expansion.contains("pub struct Llm"), "{args}");
    }
}

#[test]
fn only_a_unit_struct_becomes_a_client() {
    let package = Package::new(&until_fitted());
    for (item, expected) in [
        ("enum Llm {}", "goes on a unit struct"),
        ("fn llm() {}", "goes on a unit struct"),
        ("struct Llm { a: u8 }", "no fields of its own"),
        ("struct Llm();", "no fields of its own"),
        ("struct Llm<T>;", "no generic parameters"),
        ("#[derive(PartialEq, Clone, ::core::fmt::Debug)] struct Llm;", "every client is `Debug` already"),
    ] {
        let messages = messages(&package.client(item));
        assert!(messages.iter().any(|message| message.contains(expected)), "{item}: {messages:#?}");
    }
}

#[test]
fn a_mistake_in_the_item_and_one_in_the_configuration_are_both_reported() {
    let messages = messages(&Package::new(TWO_TIERS).client("struct Llm(u8);"));
    assert_eq!(messages.len(), 2, "{messages:#?}");
}

#[test]
fn refitted_policies_go_before_committed_ones() {
    let mut package = Package::new(TWO_TIERS);
    package.write("policies/triage.toml", "committed, and not read");
    package.write("out/app/triage.toml", "refitted = 1");
    package.project.policy_dir = Some(package.path().join("out"));
    let read = package.project.read_policy("triage", "policies/triage.toml").unwrap();
    assert_eq!((read.text.as_str(), read.embedded.variable), ("refitted = 1", "CASCADE_POLICY_DIR"));
    let other = package.project.read_policy("other", "policies/triage.toml").unwrap();
    assert_eq!(other.embedded.variable, "CARGO_MANIFEST_DIR");
}

#[test]
fn a_renamed_sdk_is_named_everywhere() {
    let package = Package::new(&until_fitted());
    let expansion = package.client_with("\"cascade.toml\", crate = crate::sdk", "struct Llm;");
    assert!(!expansion.contains("cascade_sdk"), "{expansion}");
    assert!(expansion.contains("crate::sdk::__private::v1::Client"));
}

#[test]
fn paths_are_relative_to_the_configuration() {
    let package = Package::new(TWO_TIERS);
    package.write(
        "models/cascade.toml",
        &TWO_TIERS.replace("top_logprobs = 5", "top_logprobs = 5\nanswer = { schema = \"team.json\" }"),
    );
    package.write("models/policies/triage.toml", "schema = 1\n");
    let messages = messages(&package.client_with("\"models/cascade.toml\"", "struct Llm;"));
    assert!(
        messages.iter().any(|message| message.contains("there is no schema `team.json`")),
        "{messages:#?}"
    );
    assert!(!messages.iter().any(|message| message.contains("has no policy")), "{messages:#?}");
    package.write("models/team.json", "{\"type\":\"object\"}");
    let messages = messages_of(&package);
    assert!(!messages.iter().any(|message| message.contains("team.json")), "{messages:#?}");
}

fn messages_of(package: &Package) -> Vec<String> {
    messages(&package.client_with("\"models/cascade.toml\"", "struct Llm;"))
}
