//! Exit codes, formats and messages that all commands share.

use crate::project::Project;

#[test]
fn exit_codes_of_the_command_line_itself() {
    let project = Project::new();
    assert_eq!(project.run(&["--version"]).code, Some(0));
    assert_eq!(project.run(&["--help"]).code, Some(0));
    assert_eq!(project.run(&[]).code, Some(2));
    assert_eq!(project.run(&["collcet"]).code, Some(2));
}

#[test]
fn a_missing_configuration_is_named_with_its_remedy() {
    let project = Project::new();
    let ran = project.run(&["collect", "r", "--prompts", "p.jsonl"]).expect_code(2);
    assert!(ran.stderr.contains("there is no `cascade.toml` here"), "{}", ran.stderr);
    assert!(ran.stderr.contains("cascade init"), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
}

#[test]
fn errors_are_json_where_asked() {
    let project = Project::new();
    let ran = project.run(&["collect", "r", "--prompts", "p.jsonl", "--format", "json"]).expect_code(2);
    let errors: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(errors[0]["code"], "cli::no-config");
}

#[test]
fn no_colour_reaches_a_pipe() {
    let project = Project::new();
    let mut command = project.command(&["collect", "r", "--prompts", "p.jsonl"]);
    let output = command.env_remove("NO_COLOR").output().unwrap();
    assert!(!output.stderr.contains(&0x1b), "{}", String::from_utf8_lossy(&output.stderr));
}
