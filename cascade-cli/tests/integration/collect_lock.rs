//! Two `cascade collect` on one log: the second one is refused at once, and the first one loses nothing.

use crate::collect::{CALL_USD, COLLECT, project, rows};
use crate::project::{Project, Ran, unwrapped};
use crate::server::Server;
use serde_json::json;
use std::process::Child;
use std::time::Duration;

/// Starts a job and waits until it asks.
fn at_work(project: &Project, server: &Server, arguments: &[&str]) -> Child {
    let before = server.calls();
    let child = project.command(arguments).spawn().unwrap();
    while server.calls() == before {
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn end(child: Child) -> Ran {
    child.wait_with_output().unwrap().into()
}

#[track_caller]
fn refused(ran: &Ran, child: &Child) {
    let process = format!("process {},", child.id());
    for part in ["collect::two-jobs", &process, "`log.jsonl`", "wait until it has ended"] {
        assert!(unwrapped(&ran.stderr).contains(part), "{part}: {}", ran.stderr);
    }
}

#[test]
fn a_job_for_another_tier_waits_for_the_first() {
    let server = Server::start(Duration::from_secs(2));
    let project = project(&server, &[""; 4]);
    let of = |tier: &'static str| [&COLLECT[..], &["--tiers", tier, "--format", "json"]].concat();
    let first = at_work(&project, &server, &of("small"));
    let second = project.run(&of("large")).expect_code(2);
    refused(&second, &first);
    // Neither may grades be given anew meanwhile: the whole log would be written.
    refused(&project.run(&[&COLLECT[..], &["--regrade"]].concat()).expect_code(2), &first);
    // Looking costs nothing and disturbs nobody.
    project.run(&[&COLLECT[..], &["--dry-run"]].concat()).expect_code(0);
    let summary = end(first).expect_code(0).json();
    assert_eq!((&summary["complete"], &summary["recorded"]), (&json!(true), &json!(4)), "{summary}");
    assert!(server.seen().calls.keys().all(|(model, _)| model == "s"), "the second job asked something");

    project.run(&of("large")).expect_code(0);
    assert!(rows(&project).iter().all(|row| row["results"].as_object().unwrap().len() == 2));
    assert_eq!(server.calls(), 8);
    assert!(!project.exists("log.jsonl.journal"));
    assert!(!project.exists("log.jsonl.lock") || cfg!(not(unix)));
}

#[cfg(unix)]
#[test]
fn the_same_command_after_an_interrupt_waits_for_the_calls_in_flight() {
    let server = Server::start(Duration::from_secs(2));
    let project = project(&server, &[""; 6]);
    let arguments = [&COLLECT[..], &["--format", "json"]].concat();
    let first = at_work(&project, &server, &arguments);
    let sent = std::process::Command::new("kill").args(["-INT", &first.id().to_string()]).status().unwrap();
    assert!(sent.success());
    refused(&project.run(&arguments).expect_code(2), &first);
    let summary = end(first).expect_code(1).json();
    assert_eq!((&summary["interrupted"], &summary["recorded"]), (&json!(true), &json!(server.calls())));
    let rest = project.run(&arguments).expect_code(0).json();
    assert_eq!(
        (server.calls(), &rest["may_have_been_charged"]),
        (12, &json!([])),
        "nothing was paid for twice"
    );
    assert!((rest["spent_usd"].as_f64().unwrap() - 12.0 * CALL_USD).abs() < 1e-12, "{rest}");
}

#[test]
fn a_killed_job_holds_nobody_up() {
    let server = Server::start(Duration::from_secs(2));
    let project = project(&server, &[""; 4]);
    let mut first = at_work(&project, &server, &COLLECT);
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(project.exists("log.jsonl.lock"));
    project.run(&COLLECT).expect_code(0);
    assert_eq!(rows(&project).len(), 4);
}
