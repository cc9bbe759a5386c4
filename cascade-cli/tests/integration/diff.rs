//! `cascade diff`: two files, revisions, and as git calls it.

use crate::fit::{CONFIG, project};
use crate::project::{Project, Ran};
use std::process::Command;

const NEW_CONFIG: fn() -> String = || CONFIG.replace("0.0009", "0.0005");

/// A project whose policy `old.toml` was fitted for a budget of 0.0009 dollars, the current one for 0.0005.
fn two_policies() -> Project {
    let project = project();
    project.run(&["fit", "triage"]).expect_code(0);
    project.write("old.toml", &project.read("policies/triage.toml"));
    project.write("cascade.toml", &NEW_CONFIG());
    project.run(&["fit", "triage"]).expect_code(0);
    project
}

/// Git without the settings of whoever runs the tests.
#[track_caller]
fn git(project: &Project, arguments: &[&str]) -> String {
    let tool = project.command(&[]);
    let output = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "core.autocrlf=false"])
        .args(["-c", &format!("diff.cascade.command={} diff", tool.get_program().to_str().unwrap())])
        .args(arguments)
        .current_dir(project.path(""))
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A repository with a commit of the old policy and the new one in the working tree.
fn repository() -> Project {
    let project = project();
    project.run(&["fit", "triage"]).expect_code(0);
    project.write(".gitattributes", "policies/*.toml diff=cascade\n");
    git(&project, &["init", "--quiet"]);
    git(&project, &["add", "."]);
    git(&project, &["commit", "--quiet", "-m", "old"]);
    project.write("cascade.toml", &NEW_CONFIG());
    project.run(&["fit", "triage"]).expect_code(0);
    project
}

#[test]
fn two_files_for_people() {
    let project = two_policies();
    let ran = project.run(&["diff", "old.toml", "policies/triage.toml"]).expect_code(0);
    insta::assert_snapshot!(ran.stdout);
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80));
    assert!(!ran.stdout.contains("question"), "prompts are not shown");
    let same = project.run(&["diff", "old.toml", "old.toml", "--exit-code"]).expect_code(0);
    assert!(same.stdout.contains("no difference"), "{}", same.stdout);
    project.run(&["diff", "old.toml", "policies/triage.toml", "--exit-code"]).expect_code(1);
}

#[test]
fn two_files_for_tools() {
    let project = two_policies();
    let arguments = ["diff", "old.toml", "policies/triage.toml", "--format", "json"];
    let json = project.run(&arguments).expect_code(0).json();
    let policy = &json["policies"][0];
    assert_eq!((&policy["route"], &policy["differ"]), (&"triage".into(), &true.into()));
    let cost = &policy["expected"][1];
    assert!(cost["new"]["value"].as_f64() < cost["old"]["value"].as_f64(), "{cost}");
    let changed = policy["rows"]["changed"].as_array().unwrap();
    assert!(!changed.is_empty());
    // A smaller budget escalates fewer rows; each of them is named.
    assert!(changed.iter().all(|row| row["from"] == "large" && row["to"] == "small"), "{changed:?}");
    assert!(policy["rows"]["held_out"]["cost_change"].as_f64().unwrap() < 0.0);
    let small = policy["share"].as_array().unwrap().iter().find(|share| share["of"] == "small").unwrap();
    assert!(small["new"]["value"].as_f64() > small["old"]["value"].as_f64());
}

#[test]
fn without_the_log_the_rows_are_said_to_be_missing() {
    let project = two_policies();
    std::fs::remove_file(project.path("evals/a.jsonl")).unwrap();
    let ran = project.run(&["diff", "old.toml", "policies/triage.toml"]).expect_code(0);
    assert!(ran.stdout.contains("rows: not compared, the log of the route is not here"), "{}", ran.stdout);
    std::fs::remove_file(project.path("cascade.toml")).unwrap();
    let ran = project.run(&["diff", "old.toml", "policies/triage.toml"]).expect_code(0);
    assert!(ran.stdout.contains("no cascade.toml is found"), "{}", ran.stdout);
}

#[test]
fn revisions_come_from_git() {
    let project = repository();
    let to_now = project.run(&["diff", "--", "triage"]).expect_code(0);
    assert!(
        to_now.stdout.starts_with("triage: HEAD:policies/triage.toml -> policies/triage.toml"),
        "{}",
        to_now.stdout
    );
    assert!(to_now.stdout.contains("the objective is now"), "{}", to_now.stdout);
    git(&project, &["add", "."]);
    git(&project, &["commit", "--quiet", "-m", "new"]);
    let named = project.run(&["diff", "HEAD~1", "HEAD", "--", "triage"]).expect_code(0);
    let rest = |ran: &Ran| ran.stdout.split_once("\n\n").unwrap().1.to_owned();
    assert_eq!(rest(&named), rest(&to_now));
    assert_eq!(rest(&project.run(&["diff", "HEAD~1..HEAD"]).expect_code(0)), rest(&to_now));
    assert!(project.run(&["diff"]).expect_code(0).stdout.contains("no difference"));

    let ran = project.run(&["diff", "HEAD~9", "--", "triage"]).expect_code(2);
    assert!(ran.stderr.contains("git knows no revision `HEAD~9`"), "{}", ran.stderr);
    let ran = project.run(&["diff", "HEAD", "--", "triaje"]).expect_code(2);
    assert!(ran.stderr.contains("did you mean `triage`?"), "{}", ran.stderr);
    git(&project, &["rm", "--quiet", "policies/triage.toml"]);
    let ran = project.run(&["diff", "--", "triage"]).expect_code(0);
    assert!(ran.stdout.contains("the policy is gone"), "{}", ran.stdout);
}

#[test]
fn git_calls_it_for_policies() {
    let project = repository();
    let shown = git(&project, &["--no-pager", "diff", "--", "policies"]);
    assert!(shown.starts_with("cascade diff of policies/triage.toml\ntriage: before -> after\n"), "{shown}");
    assert!(shown.contains("rows of the log change tier"), "{shown}");
    // What is no policy must not stop git.
    project.write("policies/triage.toml", "no policy\n");
    let shown = git(&project, &["--no-pager", "diff", "--", "policies"]);
    assert!(shown.contains("error[policy::"), "{shown}");

    project.write("policies/triage.toml", &project.read("policies/triage.toml"));
    let words = project.run(&["diff", "--textconv", "policies/triage.toml"]).expect_code(0);
    assert_eq!(words.stdout, "no policy\n");
}

#[test]
fn textconv_says_one_thing_a_line() {
    let project = two_policies();
    let words = project.run(&["diff", "--textconv", "old.toml"]).expect_code(0);
    let hashes = |line: &&str| !line.starts_with("log: ") && !line.starts_with("configuration: ");
    insta::assert_snapshot!(words.stdout.lines().filter(hashes).collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_conflict_is_mended_by_fitting_again() {
    let project = two_policies();
    let wanted = project.read("policies/triage.toml");
    let conflict = format!("<<<<<<< HEAD\n{}=======\n{wanted}>>>>>>> topic\n", project.read("old.toml"));
    project.write("policies/triage.toml", &conflict);
    for arguments in [&["check"][..], &["eval", "triage"], &["diff", "old.toml", "policies/triage.toml"]] {
        let ran = project.run(arguments);
        assert_ne!(ran.code, Some(0));
        assert!(ran.stderr.contains("policy::conflict"), "{}", ran.stderr);
        assert!(ran.stderr.contains("run `cascade fit triage`"), "{}", ran.stderr);
    }
    project.run(&["fit", "triage"]).expect_code(0);
    assert_eq!(project.read("policies/triage.toml"), wanted);
}

#[test]
fn versions_that_cannot_be_compared_are_refused() {
    let project = two_policies();
    project.write("other.toml", &project.read("old.toml").replace("route = \"triage\"", "route = \"other\""));
    let ran = project.run(&["diff", "old.toml", "other.toml"]).expect_code(2);
    assert!(ran.stderr.contains("diff::routes"), "{}", ran.stderr);
    let ran = project.run(&["diff", "old.toml"]).expect_code(2);
    assert!(ran.stderr.contains("nothing to compare"), "{}", ran.stderr);
    let ran = project.run(&["diff", "old.toml", "missing.toml"]).expect_code(2);
    assert!(ran.stderr.contains("missing.toml"), "{}", ran.stderr);
    let ran = project.run(&["diff", "a", "b", "c"]).expect_code(2);
    assert!(ran.stderr.contains("more than two versions"), "{}", ran.stderr);
}
