//! What people see who make a mistake: each file in `ui/fail` has its messages beside it.
//!
//! `TRYBUILD=overwrite cargo test -p cascade-tests ui` writes the messages anew; read the difference.

use cascade_tests::policies;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// trybuild compiles from a directory of its own, so that `CARGO_MANIFEST_DIR` leads nowhere. The macro looks here first.
const MANIFEST_DIR: &str = "CASCADE_MANIFEST_DIR";

/// Runs [`compile_errors`] with the variable set: it can only be set for another process.
#[test]
fn mistakes_are_explained() {
    let project = project();
    let test = format!("{}::compile_errors", module_path!().split_once("::").unwrap().1);
    let status = Command::new(env::current_exe().unwrap())
        .args([test.as_str(), "--exact", "--ignored", "--nocapture"])
        .env(MANIFEST_DIR, &project)
        .env_remove("CASCADE_POLICY_DIR")
        .status()
        .unwrap();
    assert!(status.success(), "see above");
}

#[test]
#[ignore = "run by `mistakes_are_explained`, which says where the configurations are"]
fn compile_errors() {
    assert!(env::var_os(MANIFEST_DIR).is_some(), "run `mistakes_are_explained`");
    trybuild::TestCases::new().compile_fail("ui/fail/*.rs");
}

/// Configurations of `ui/fail/config`, with policies for the routes that are to have one.
fn project() -> PathBuf {
    let project = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ui");
    let _ = fs::remove_dir_all(&project);
    fs::create_dir_all(project.join("policies")).unwrap();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("ui/fail/config")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(project.join(path.file_name().unwrap()), &text).unwrap();
        write_policies(&project, &text);
    }
    project
}

/// Routes named `unfitted…` get none, those named `stale…` one of another configuration.
fn write_policies(project: &Path, config: &str) {
    let source = cascade_sdk_core::diag::Source::new("cascade.toml", config);
    let (Some(config), _) = cascade_sdk_core::config::read(&source) else { return };
    for route in config.routes.iter().filter(|route| route.tiers.len() > 1) {
        if route.name.starts_with("unfitted") {
            continue;
        }
        let mut policy = policies::policy(&config, route, None);
        if route.name.starts_with("stale") {
            policy.fitted.config_hash = "0".repeat(64);
        }
        policies::write(&project.join(&route.policy), &policy).unwrap();
    }
}
