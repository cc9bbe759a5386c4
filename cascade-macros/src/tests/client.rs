use super::{Package, TWO_TIERS, messages};

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
        &TWO_TIERS.replace(
            "[routes.triage.objective]",
            "request = { answer = { schema = \"team.json\" } }\n[routes.triage.objective]",
        ),
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
