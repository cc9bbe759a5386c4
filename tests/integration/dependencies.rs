//! What is compiled before an application's own code.

use std::collections::BTreeSet;
use std::process::Command;

/// Names of all packages in a tree of normal dependencies.
fn tree(arguments: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none"])
        .args(arguments)
        .current_dir(super::workspace())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn a_build_of_the_macros_has_no_network_no_runtime_and_no_serde() {
    let tree = tree(&["--package", "cascade-macros"]);
    assert!(tree.contains("cascade-sdk-core") && tree.contains("syn"), "{tree:?}");
    for absent in ["reqwest", "hyper", "rustls", "tokio", "serde", "serde_json", "serde_derive", "csv"] {
        assert!(!tree.contains(absent), "cascade-macros depends on {absent}");
    }
}

#[test]
fn a_build_script_has_no_network_and_no_runtime() {
    let tree = tree(&["--package", "cascade-sdk", "--no-default-features", "--features", "build"]);
    assert!(tree.contains("cascade-sdk-core"), "{tree:?}");
    for absent in ["reqwest", "hyper", "rustls", "tokio"] {
        assert!(!tree.contains(absent), "the build feature of cascade-sdk depends on {absent}");
    }
}
