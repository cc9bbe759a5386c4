//! The table of keys, and what is made from it.

use cascade_sdk_core::config::keys::{Kind, Need, all, children};
use cascade_sdk_core::config::{self, Api, Config, Family, LengthKey, SignalKind};
use cascade_sdk_core::diag::{Source, Style, render_all};
use cascade_sdk_core::policy;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

const REFERENCE: &str = include_str!("../../src/config/reference.toml");

fn read(text: &str) -> Config {
    let (config, findings) = config::read(&Source::new("cascade.toml", text));
    config.unwrap_or_else(|| panic!("{}", render_all(&findings, Style::Plain)))
}

/// Paths of every key in a document, names replaced by `*`.
fn written(value: &toml::de::DeTable<'_>, path: &str, out: &mut BTreeSet<String>) {
    for (key, value) in value {
        let named = all().any(|known| known.path == path && known.kind == Kind::Named);
        let key = if named { "*" } else { key.get_ref() };
        let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        out.insert(path.clone());
        let open = all().any(|known| known.path == path && matches!(known.kind, Kind::Table | Kind::Named));
        if let Some(table) = value.get_ref().as_table().filter(|_| open || key == "*") {
            written(table, &path, out);
        }
    }
}

#[test]
fn the_reference_file_has_every_key_and_no_finding() {
    let (_, findings) = config::read(&Source::new("reference.toml", REFERENCE));
    assert_eq!(render_all(&findings, Style::Plain), "");
    let mut found = BTreeSet::new();
    written(toml::de::DeTable::parse(REFERENCE).unwrap().get_ref(), "", &mut found);
    let known: BTreeSet<_> = all().map(|key| key.path.to_owned()).collect();
    assert_eq!(found, known);
}

#[test]
fn the_reference_file_shows_no_default() {
    for key in all() {
        let Need::Default(default) = key.need else { continue };
        let name = key.path.rsplit('.').next().unwrap();
        let line = format!("\n{name} = {default}\n");
        assert!(!REFERENCE.contains(&line), "{line} is the default");
    }
}

#[test]
fn defaults_in_the_table_are_those_of_the_reader() {
    let minimal = |fit: &str,
                   budget: &str,
                   provider: &str,
                   tier: &str,
                   price: &str,
                   request: &str,
                   circuit: &str,
                   runtime: &str| {
        read(&format!(
            "schema = 1\n[providers.p]\napi = 'openai'\nbase_url = 'http://localhost'\n{provider}\n\
             [tiers.t]\nprovider = 'p'\nmodel = 'm'\nmax_output_tokens = 9\n{tier}\nprice = {{ input = 1, output = 2{price} }}\n\
             [tiers.t.circuit]\n{circuit}\n\
             [budgets.b]\nlimit_usd = 1\nwindow = '1d'\n{budget}\n\
             [routes.r]\ntiers = ['t']\nbudget = 'b'\n[routes.r.fit]\n{fit}\n[routes.r.request]\n{request}\n[routes.r.runtime]\n{runtime}\n"
        ))
    };
    let defaults = |path: &str| {
        children(path)
            .filter_map(|(name, key)| match key.need {
                Need::Default(default) => Some(format!("{name} = {default}")),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    let lines = |path: &str| defaults(path).join("\n");
    let price = format!(", {}", defaults("tiers.*.price").join(", "));
    let written = minimal(
        &lines("routes.*.fit"),
        &lines("budgets.*"),
        &lines("providers.*"),
        &lines("tiers.*"),
        &price,
        &lines("routes.*.request"),
        &lines("tiers.*.circuit"),
        &lines("routes.*.runtime"),
    );
    let silent = minimal("", "", "", "", "", "", "", "");
    assert_eq!(
        (written.providers, written.tiers, written.budgets, written.routes),
        (silent.providers, silent.tiers, silent.budgets, silent.routes)
    );
}

#[test]
fn defaults_of_signals_are_those_of_the_table() {
    let signals = |agreement: &str, verifier: &str| {
        let text = format!(
            "schema = 1\n[providers.p]\napi = 'openai'\nbase_url = 'http://localhost'\n\
             [tiers.t]\nprovider = 'p'\nmodel = 'm'\nprice = {{ input = 1, output = 2 }}\n[routes.r]\ntiers = ['t']\n\
             [routes.r.signals.a]\nkind = 'self_consistency'\nsamples = 2\ntemperature = 1.0\n{agreement}\n\
             [routes.r.signals.v]\nkind = 'verifier'\n{verifier}\n"
        );
        read(&text).routes.remove(0).signals
    };
    let defaults: Vec<String> = children("routes.*.signals.*")
        .filter_map(|(name, key)| match key.need {
            Need::Default(default) => Some(format!("{name} = {default}")),
            _ => None,
        })
        .collect();
    assert_eq!(signals(&defaults[0], &defaults[1]), signals("", ""), "{defaults:?}");
}

#[test]
fn words_in_the_table_are_those_of_the_types() {
    for key in all() {
        let (Kind::Choice(words) | Kind::Choices(words)) = key.kind else { continue };
        match key.path {
            "providers.*.api" => assert_eq!(words, Api::ALL.map(Api::name)),
            "routes.*.fit.families" => assert_eq!(words, Family::ALL.map(Family::name)),
            "providers.*.length_key" => {
                assert!(
                    words.iter().all(|word| LengthKey::parse(word).is_some_and(|key| key.name() == *word))
                );
            }
            "tiers.*.reasoning_effort" => {
                let known = Api::ALL.iter().flat_map(|api| api.reasoning_efforts());
                assert!(known.copied().all(|word| words.contains(&word)));
            }
            "budgets.*.on_exceeded" => assert_eq!(words, ["reject", "cheapest"]),
            "budgets.*.per" => assert_eq!(words, ["all", "route", "tenant"]),
            "routes.*.signals.*.kind" => {
                let (tier, rubric) = (String::new(), String::new());
                let kinds = [
                    SignalKind::SelfConsistency { samples: 2, temperature: 1.0, concurrency: 1 },
                    SignalKind::Judge { tier, rubric },
                    SignalKind::SchemaValid { schema: None },
                    SignalKind::Verifier { timeout: Duration::ZERO },
                ];
                assert!(kinds.iter().map(SignalKind::name).eq(words.iter().copied()));
            }
            "routes.*.runtime.sticky" => assert_eq!(words, ["up", "entry"]),
            "routes.*.runtime.mode" => assert_eq!(words, ["policy", "shadow"]),
            path => panic!("{path} is not compared with a type"),
        }
    }
}

#[test]
fn the_schema_is_json_and_has_every_key() {
    let schema: serde_json::Value = serde_json::from_str(&config::json_schema()).unwrap();
    for key in all() {
        let mut place = &schema;
        for part in key.path.split('.') {
            let step = if part == "*" { "additionalProperties" } else { "properties" };
            place = &place[step];
            if part != "*" {
                place = &place[part];
            }
        }
        assert!(place.is_object(), "{} is not in the schema", key.path);
        if let (Need::Default(default), Some(found)) = (key.need, place.get("default")) {
            assert_eq!(&serde_json::from_str::<serde_json::Value>(default).unwrap(), found, "{}", key.path);
        }
    }
}

/// Every code of a finding and what it means, in Markdown.
fn codes() -> String {
    let mut out = String::from("# Codes of messages\n\n| code | meaning |\n|---|---|\n");
    for (code, meaning) in config::codes::ALL.iter().chain(policy::codes::ALL) {
        writeln!(out, "| `{code}` | {} |", meaning.trim()).unwrap();
    }
    out
}

/// What each wire format can carry, in Markdown.
fn wire_formats() -> String {
    let mut out = String::from(
        "# Wire formats\n\nValues of `api` in `[providers.NAME]`, and what each can carry. A server behind it may still leave \
         parts out; a policy\nthat needs what a tier cannot give is refused, never silently replaced.\n\n\
         | `api` | default address | log-probabilities | JSON schema | seed | streaming | tools | images |\n|---|---|---|---|---|---|---|---|\n",
    );
    let word = |yes: bool| if yes { "yes" } else { "no" };
    for api in Api::ALL {
        let url =
            api.default_base_url().map_or("none: answers from an eval log".into(), |url| format!("`{url}`"));
        writeln!(
            out,
            "| `{}` | {url} | {} | {} | {} | {} | {} | {} |",
            api.name(),
            word(api.gives_log_probabilities()),
            word(api.takes_json_schema()),
            word(api.takes_seed()),
            word(api.streams()),
            word(api.takes_tools()),
            word(api.takes_images())
        )
        .unwrap();
    }
    let efforts = Api::ALL.into_iter().filter(|api| api.uses_network()).fold(String::new(), |rows, api| {
        let words: Vec<_> = api.reasoning_efforts().iter().map(|word| format!("`{word}`")).collect();
        format!("{rows}| `{}` | {} |\n", api.name(), words.join(", "))
    });
    out.push_str(&include_str!("wire-formats.md").replace("EFFORTS", &efforts));
    out
}

/// Written out so that a change of the table shows in a review; `BLESS=1` writes them anew.
#[test]
fn generated_files_are_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (path, text) in [
        ("cascade.schema.json", config::json_schema()),
        ("docs/reference/cascade-toml.md", config::reference()),
        ("docs/reference/findings.md", codes()),
        ("docs/reference/wire-formats.md", wire_formats()),
    ] {
        let path = root.join(path);
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == text, "{} is not current: run the tests with BLESS=1", path.display());
    }
}
