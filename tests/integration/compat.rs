//! Files that earlier releases wrote are read by this one. They stay as they are: see `compat/README.md`.

use cascade_sdk_core::config;
use cascade_sdk_core::diag::{Source, Style, render_all};
use cascade_sdk_core::log::{LogFiles, ReadOptions};
use cascade_sdk_core::policy::{self, Policy};
use std::fs;
use std::path::{Path, PathBuf};

/// Files of a format, in order.
fn files(format: &str, extension: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("compat").join(format);
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|e| e == extension)).collect();
    paths.sort();
    paths
}

fn stem(path: &Path) -> &str {
    path.file_stem().unwrap().to_str().unwrap()
}

fn read(path: &Path, text: &str) -> Policy {
    policy::read(&Source::new(path.display().to_string(), text))
        .map_err(|findings| render_all(&findings, Style::Plain))
        .unwrap()
}

#[test]
fn policies_of_schema_1() {
    let paths = files("policy-v1", "toml");
    assert!(paths.len() >= 5, "{paths:?}");
    for path in paths {
        let mut policy = read(&path, &fs::read_to_string(&path).unwrap());
        if stem(&path) == "certified" {
            assert_eq!(policy.certificate.as_ref().map(|certificate| certificate.attempt), Some(1));
        } else {
            assert_eq!(policy.family.name(), stem(&path));
        }
        if let Some(router) = &mut policy.rules.router
            && let Some(file) = router.awaits.clone()
        {
            router.complete(&fs::read(path.with_file_name(file)).unwrap()).unwrap();
        }
        // Nothing of what it says is lost on this release.
        let again = read(&path, &policy::write(&policy));
        assert_eq!(again.rules.plans, policy.rules.plans, "{}", path.display());
        assert_eq!(again.fitted, policy.fitted, "{}", path.display());
    }
}

#[test]
fn configurations_of_schema_1() {
    let paths = files("config-v1", "toml");
    assert!(paths.len() >= 2, "{paths:?}");
    for path in paths {
        let (config, findings) = config::read(&Source::new(stem(&path), fs::read_to_string(&path).unwrap()));
        assert!(config.is_some(), "{}", render_all(&findings, Style::Plain));
    }
}

#[test]
fn logs_of_version_1() {
    let paths = [files("log-v1", "jsonl"), files("log-v1", "csv")].concat();
    assert!(paths.len() >= 2, "{paths:?}");
    for path in paths {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let log = LogFiles::find(path.parent().unwrap(), &[name]).read(&ReadOptions::default()).unwrap().log;
        assert_eq!((log.rows.len(), log.tiers.len()), (2, 2), "{}", path.display());
    }
}
