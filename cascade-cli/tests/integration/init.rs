//! `cascade init`.

use crate::project::{Project, unwrapped};

#[test]
fn what_it_writes_passes_check_and_is_ready_to_collect() {
    let project = Project::new();
    let ran = project.run(&["init", "--yes"]).expect_code(0);
    insta::assert_snapshot!(ran.stdout);
    let config = project.read("cascade.toml");
    insta::assert_snapshot!(config);
    assert!(config.starts_with("#:schema "));
    project.run(&["check", "--strict"]).expect_code(0);
    let prompts = "evals/answer-prompts.jsonl";
    project.run(&["collect", "answer", "--prompts", prompts, "--dry-run"]).expect_code(0);
    assert!(project.exists(".gitattributes") && project.exists(".github/workflows/cascade.yml"));
}

#[test]
fn nothing_is_overwritten() {
    let project = Project::new();
    project.write("cascade.toml", "mine");
    let ran = project.run(&["init", "--yes"]).expect_code(2);
    assert!(ran.stderr.contains("already there"), "{}", ran.stderr);
    assert_eq!(project.read("cascade.toml"), "mine");
    assert!(!project.exists("evals"));
}

#[test]
fn lines_for_an_existing_gitattributes_are_shown() {
    let project = Project::new();
    project.write(".gitattributes", "* text=auto\n");
    let ran = project.run(&["init", "--yes"]).expect_code(0);
    assert!(ran.stdout.contains("  policies/*.toml diff=cascade"), "{}", ran.stdout);
    assert_eq!(project.read(".gitattributes"), "* text=auto\n");
}

#[test]
fn addresses_are_checked_and_not_repeated() {
    let project = Project::new();
    for (address, why) in [
        ("http://models.example/v1", "plain http to another machine"),
        ("https://me:hunter2@models.example", "holds a user name or password"),
        ("localhost:8080", "is not a URL"),
    ] {
        let ran = project.run(&["init", "--yes", "--base-url", address]).expect_code(2);
        assert!(unwrapped(&ran.stderr).contains(why), "{address}: {}", ran.stderr);
        assert!(!ran.stderr.contains("hunter2") && !ran.stderr.contains("cascade.toml"), "{}", ran.stderr);
        assert!(!project.exists("cascade.toml"));
    }
    project.run(&["init", "--yes", "--base-url", "http://127.0.0.1:8080/v1"]).expect_code(0);
}

#[cfg(unix)]
#[test]
fn git_shows_changes_of_prompts_and_not_of_logs() {
    let project = Project::new();
    project.run(&["init", "--yes"]).expect_code(0);
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git").args(arguments).current_dir(project.path("")).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    git(&["init", "-q"]);
    let files = ["evals/answer-prompts.jsonl", "evals/answer.jsonl", "policies/answer.toml"];
    let found = git(&[&["check-attr", "diff", "--"], &files[..]].concat());
    let values: Vec<&str> = found.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(values, ["set", "unset", "cascade"]);
}

#[test]
fn flags_take_the_place_of_answers() {
    let project = Project::new();
    let arguments = [
        "init",
        "app",
        "--route",
        "sort tickets",
        "--api",
        "anthropic",
        "--tier",
        "a=m@1/5",
        "--tier",
        "b=n@3/15",
        "--tier",
        "c=o@15/75",
        "--format",
        "json",
    ];
    let found = project.run(&arguments).expect_code(0).json();
    assert_eq!(found["routes"][0]["route"], "sort tickets");
    assert_eq!(found["routes"][0]["tiers"].as_array().unwrap().len(), 3);
    let config = project.path("app/cascade.toml").display().to_string();
    project.run(&["check", "--strict", "--config", &config]).expect_code(0);
    let ran = project.run(&["init", "other", "--yes", "--tier", "a=m"]).expect_code(2);
    assert!(ran.stderr.contains("NAME=MODEL@INPUT/OUTPUT"), "{}", ran.stderr);
    assert!(!project.exists("other"));
}
