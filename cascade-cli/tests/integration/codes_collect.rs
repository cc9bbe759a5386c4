//! Mistakes while collecting, as people make them: each is told by its code, and says what to do.

use crate::codes::{tells, tells_ran};
use crate::collect::{COLLECT, config, project, prompts};
use crate::project::Project;
use crate::server::Server;
use std::time::Duration;

/// A project that never gets as far as asking anybody.
fn quiet(more: &str) -> Project {
    let project = Project::new();
    project.write("cascade.toml", &(config("http://127.0.0.1:9/v1") + more));
    project.write("prompts.jsonl", &prompts(&[""]));
    project
}

#[test]
fn prompts_that_say_something_wrong() {
    let asked = |name: &str, text: &str| {
        let project = quiet("");
        project.write(name, text);
        tells("prompts::value", &project, &["collect", "sums", "--prompts", name, "--dry-run"]);
    };
    asked("p.jsonl", r#"{"id":" ","input":"q","reference":"r","grader":"exact"}"#);
    asked("p.jsonl", r#"{"id":"a","reference":"r","grader":"exact"}"#);
    let turns = |roles: [&str; 2]| {
        let turns = roles.map(|role| format!(r#"{{"role":"{role}","content":"c"}}"#)).join(",");
        format!(r#"{{"id":"a","messages":[{turns}],"reference":"r","grader":"exact"}}"#)
    };
    asked("p.jsonl", &turns(["user", "robot"]));
    asked("p.jsonl", &turns(["user", "system"]));
    asked("p.jsonl", r#"{"id":"a","input":"q","grader":"exact"}"#);
    asked("p.csv", "id,input,reference,grader,weight\na,q,r,exact,heavy\n");
    asked("p.csv", "id,input,reference,grader\na,q,r,taste\n");
}

#[test]
fn graders_and_verifiers_that_are_not_here() {
    let project = quiet("");
    project.write("prompts.jsonl", &prompts(&[""]).replace("numeric", "command"));
    tells("collect::grader", &project, &COLLECT);
    project.write("prompts.jsonl", &prompts(&[""]).replace("numeric", "judge"));
    tells("collect::grader", &project, &COLLECT);
    tells("collect::verifier", &quiet("\n[routes.sums.signals.short]\nkind = \"verifier\"\n"), &COLLECT);
}

#[test]
fn keys_that_are_missing() {
    let project = quiet("");
    let config = project.read("cascade.toml");
    project.write("cascade.toml", &config.replace("api =", "api_key_env = \"NO_SUCH_KEY_IS_SET\"\napi ="));
    tells("collect::provider", &project, &COLLECT);
}

#[test]
fn journals_of_something_else() {
    let project = quiet("");
    project.write("log.jsonl.journal", "no journal\n");
    tells("collect::journal", &project, &COLLECT);
    project.write("log.jsonl.journal", "{\"job\":{\"version\":1,\"route\":\"others\"}}\n");
    tells("collect::journal", &project, &COLLECT);
    project.write("log.jsonl.journal", "{\"job\":{\"version\":99,\"route\":\"sums\"}}\n");
    tells("collect::journal", &project, &COLLECT);
    project.write(
        "log.jsonl.journal",
        "{\"job\":{\"version\":1,\"route\":\"sums\"}}\n{\"replace\":{\"tier\":\"small\"}}\n",
    );
    tells("collect::unfinished", &project, &[&COLLECT[..], &["--regrade"]].concat());
}

#[test]
fn costs_beyond_all_bounds() {
    let project = quiet("");
    let config = project.read("cascade.toml");
    let dear = config.replace("input = 1.0", "input = 900000000000.0");
    project.write("cascade.toml", &dear);
    tells("collect::price", &project, &[&COLLECT[..], &["--dry-run"]].concat());
}

#[test]
fn signals_that_cannot_be_computed() {
    let server = Server::start(Duration::ZERO);
    let project = quiet("");
    let verifier = "\n[routes.sums.signals.short]\nkind = \"verifier\"\n";
    project.write("cascade.toml", &(config(&server.url) + verifier));
    tells("collect::signal", &project, &[&COLLECT[..], &["--verifier", "short=./no-such-program"]].concat());
}

#[test]
fn questions_that_changed() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &[""]);
    project.run(&COLLECT).expect_code(0);
    project.write("prompts.jsonl", &prompts(&["wrong"]));
    tells("collect::prompt-changed", &project, &COLLECT);
    project.write("prompts.jsonl", &prompts(&[""]));
    project.write("cascade.toml", &config(&server.url).replace("Add.", "Sum."));
    tells("collect::request-changed", &project, &COLLECT);
}

#[test]
fn two_jobs_on_one_log() {
    let server = Server::start(Duration::from_millis(100));
    let project = project(&server, &[""; 20]);
    let child = project.command(&[&COLLECT[..], &["--concurrency", "1"]].concat()).spawn().unwrap();
    while server.calls() < 2 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let other = project.read("log.jsonl.journal") + "{\"spent\":{\"pico_usd\":0}}\n";
    project.write("log.jsonl.journal", &other);
    tells_ran("collect::two-jobs", &child.wait_with_output().unwrap().into());
}
