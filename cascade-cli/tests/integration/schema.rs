//! `cascade schema`: committed copies are current, and real files follow them.

use crate::project::Project;
use crate::server::Server;
use crate::{collect, fit};
use cascade_sdk::AnswerSchema;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::{DeTable, DeValue};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn printed(of: &str) -> String {
    Project::new().run(&["schema", of]).expect_code(0).stdout
}

/// A checker for whole documents: answers are checked against the same keywords.
fn checker(schema: &str) -> AnswerSchema {
    AnswerSchema::from_json(schema).unwrap()
}

fn json_of(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(number) => {
            Value::from(i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).unwrap())
        }
        DeValue::Float(number) => Value::from(number.as_str().replace('_', "").parse::<f64>().unwrap()),
        DeValue::Boolean(flag) => Value::from(*flag),
        DeValue::Datetime(time) => Value::from(time.to_string()),
        DeValue::Array(items) => items.iter().map(|item| json_of(item.get_ref())).collect(),
        DeValue::Table(table) => table_of(table),
    }
}

fn table_of(table: &DeTable<'_>) -> Value {
    table.iter().map(|(key, value)| (key.get_ref().to_string(), json_of(value.get_ref()))).collect()
}

fn policy_as_json(text: &str) -> Value {
    table_of(DeTable::parse(text).unwrap().get_ref())
}

#[test]
fn committed_schemas_are_what_the_tool_prints() {
    for (of, file) in [
        ("config", "cascade.schema.json"),
        ("policy", "cascade.policy.schema.json"),
        ("log", "cascade.log.schema.json"),
    ] {
        let (path, text) = (root().join(file), printed(of));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert!(std::fs::read_to_string(&path).unwrap_or_default() == text, "{file} is not current: BLESS=1");
    }
}

#[test]
fn policies_follow_their_schema() {
    let schema = checker(&printed("policy"));
    let core = root().join("cascade-sdk/core/tests/policy");
    let mut seen = 0;
    let examples = [
        core.join("ok/pair.toml"),
        core.join("ok/routed_cascade.toml"),
        root().join("examples/quickstart/policies/answer.toml"),
    ];
    for path in examples {
        let text = std::fs::read_to_string(&path).unwrap();
        let json = policy_as_json(&text);
        assert!(schema.read(&json.to_string()).is_ok(), "{}", path.display());
        seen += 1;
        // A key that no policy has is refused at every level.
        for place in ["", "/fitted", "/expected/quality", "/plans/0", "/plans/0/stages/0"] {
            let mut wrong = json.clone();
            wrong.pointer_mut(place).unwrap()["nonsense"] = Value::from(1);
            assert!(schema.read(&wrong.to_string()).is_err(), "{} {place}", path.display());
        }
    }
    assert_eq!(seen, 3);
}

#[test]
fn rows_follow_their_schema() {
    let schema = checker(&printed("log"));
    let server = Server::start(Duration::ZERO);
    let project = collect::project(&server, &["", "reject", "refuse"]);
    project.run(&[&collect::COLLECT[..], &["--keep-logprobs"]].concat()).expect_code(0);
    let log = project.read("log.jsonl") + &fit::log(-0.6);
    assert!(log.lines().count() > 100);
    for line in log.lines() {
        assert!(schema.read(line).is_ok(), "{line}");
    }
    for bad in [
        r#"{"id":"a"}"#,
        r#"{"id":"a","results":{"small":{"quality":2}}}"#,
        r#"{"id":"a","split":"dev","results":{}}"#,
    ] {
        assert!(schema.read(bad).is_err(), "{bad}");
    }
}
