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

#[test]
fn help_of_every_command_fits_on_a_terminal() {
    let project = Project::new();
    let names = project.command_names();
    for command in std::iter::once("").chain(names.iter().map(String::as_str)) {
        let arguments: Vec<&str> = [command, "--help"].into_iter().filter(|text| !text.is_empty()).collect();
        let ran = project.run(&arguments).expect_code(0);
        let widest = ran.stdout.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{command}: {widest:?}");
        insta::assert_snapshot!(format!("help_{command}"), ran.stdout);
    }
}

#[test]
fn the_schema_is_json_and_the_completions_name_the_commands() {
    let project = Project::new();
    let schema = project.run(&["schema"]).expect_code(0).json();
    assert_eq!(schema["title"], "cascade.toml");
    for shell in ["bash", "zsh", "fish"] {
        assert!(project.run(&["completions", shell]).expect_code(0).stdout.contains("collect"), "{shell}");
    }
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let project = Project::new();
    let mut child = project.command(&["schema"]).spawn().unwrap();
    drop(child.stdout.take());
    let ran = child.wait_with_output().unwrap();
    assert_eq!((ran.status.code(), ran.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn codes_have_pages_that_messages_point_to() {
    let project = Project::new();
    let ran = project.run(&["fit", "r"]).expect_code(2);
    assert!(
        ran.stderr.ends_with("\nmore about this error: cascade explain cli::no-config\n"),
        "{}",
        ran.stderr
    );
    let page = project.run(&["explain", "config::unknown-key"]).expect_code(0);
    insta::assert_snapshot!(page.stdout);
    let json = project.run(&["explain", "config::unknown-key", "--format", "json"]).expect_code(0).json();
    assert_eq!(json["code"], "config::unknown-key");
    let codes = project.run(&["explain", "--codes"]).expect_code(0).stdout;
    assert!(codes.lines().any(|line| line == "policy::conflict"), "{codes}");
    let ran = project.run(&["explain", "config::unknown-kye"]).expect_code(2);
    assert!(ran.stderr.contains("did you mean `config::unknown-key`?"), "{}", ran.stderr);
    let ran = project.run(&["explain", "triage"]).expect_code(2);
    assert!(ran.stderr.contains("give its text, or --row ID"), "{}", ran.stderr);
}
