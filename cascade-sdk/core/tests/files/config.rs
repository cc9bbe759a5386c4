use crate::expect;
use cascade_sdk_core::config::{self, Config, codes};
use cascade_sdk_core::diag::{Diagnostic, Source, Style, render_all};
use std::collections::BTreeSet;
use std::path::Path;

fn read(path: &Path) -> (Option<Config>, Vec<Diagnostic>) {
    config::read(&Source::new("cascade.toml", expect::input(path)))
}

#[test]
fn every_mistake_is_reported_as_written() {
    for path in expect::files("config/bad") {
        let (config, findings) = read(&path);
        let code = format!("config::{}", expect::name(&path).split('.').next().unwrap());
        assert!(findings.iter().any(|finding| finding.code == code), "{} lacks {code}", path.display());
        assert_eq!(config.is_none(), findings.iter().any(Diagnostic::is_error), "{}", path.display());
        expect::check(&path, &render_all(&findings, Style::Plain));
    }
}

#[test]
fn every_code_has_a_file() {
    let slugs: BTreeSet<_> = expect::files("config/bad")
        .iter()
        .map(|path| format!("config::{}", expect::name(path).split('.').next().unwrap()))
        .collect();
    let codes: BTreeSet<_> = codes::ALL.iter().map(|(code, _)| (*code).to_owned()).collect();
    assert_eq!(slugs, codes);
}

#[test]
fn valid_files_are_read_without_findings() {
    for path in expect::files("config/ok") {
        let (config, findings) = read(&path);
        assert_eq!(findings, [], "{}", path.display());
        let Config { providers, tiers, budgets, routes, .. } = config.unwrap();
        expect::check(&path, &format!("{providers:#?}\n{tiers:#?}\n{budgets:#?}\n{routes:#?}"));
    }
}

#[test]
fn secrets_never_reach_a_finding() {
    for path in expect::files("config/bad").iter().filter(|path| expect::name(path).contains("secret")) {
        let (_, findings) = read(path);
        for style in [Style::Plain, Style::Colour { width: 80 }, Style::Json] {
            let text = render_all(&findings, style);
            for secret in [
                "THISWOULDBEAKEY",
                "hunter2",
                "hunter3",
                "hunter 4",
                "not a variable",
                "abcdefghij0123456789",
            ] {
                assert!(!text.contains(secret), "{secret} in {text}");
            }
        }
        assert!(!format!("{findings:?}").contains("THISWOULDBEAKEY"));
    }
}
