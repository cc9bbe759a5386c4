//! `cascade collect`: prompts as CSV, samples, and answers that somebody outside grades.

use crate::collect::{CALL_USD, COLLECT, project, rows, timeless};
use crate::project::{Project, unwrapped};
use crate::server::Server;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn quality(project: &Project, row: usize, tier: &str) -> f64 {
    rows(project)[row]["results"][tier]["quality"].as_f64().unwrap()
}

/// The prompts of a project, with another grader and without references where the grader needs none.
fn grade_by(project: &Project, grader: &str) {
    let text = project.read("prompts.jsonl").replace("\"numeric\"", &format!("\"{grader}\""));
    project.write("prompts.jsonl", &text);
}

#[cfg(unix)]
fn script(project: &Project, name: &str, text: &str) -> String {
    project.write(name, text);
    format!("sh {}", project.path(name).display())
}

fn close(value: f64, expected: f64) -> bool {
    (value - expected).abs() < 1e-12
}

#[test]
fn a_table_of_prompts_gives_the_log_that_lines_of_json_give() {
    let server = Server::start(Duration::ZERO);
    let lines = project(&server, &["", "wrong"]);
    lines.run(&COLLECT).expect_code(0);
    let table = project(&server, &[]);
    table.write("prompts.csv", "id,input,reference,tag.word\nq0,\" 0+1\",1,\nq1,wrong 1+1,2,wrong\n");
    let arguments = ["collect", "sums", "--prompts", "prompts.csv", "--grader", "numeric"];
    table.run(&arguments).expect_code(0);
    let mut expected = timeless(&lines);
    // JSON has the empty tag that a table leaves out.
    expected[0].as_object_mut().unwrap().remove("tags");
    assert_eq!(timeless(&table), expected);
    table.write("prompts.csv", "id,input,reference\nq0,\"0+1\",1\n");
    let ran = table.run(&arguments[..4]).expect_code(2);
    assert!(ran.stderr.contains("there is no `grader`"), "{}", ran.stderr);
}

#[test]
fn samples_become_rows_of_one_group() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &[""]);
    project.run(&COLLECT).expect_code(0);
    let ran = project.run(&[&COLLECT[..], &["--samples", "3"]].concat()).expect_code(0);
    assert!(ran.stderr.contains("will be alike"), "{}", ran.stderr);
    // The first sample was there already.
    assert_eq!(server.calls(), 6);
    let rows = rows(&project);
    assert_eq!(
        rows.iter().map(|row| row["id"].as_str().unwrap()).collect::<Vec<_>>(),
        ["q0", "q0#2", "q0#3"]
    );
    assert!(rows[1..].iter().all(|row| row["group"] == "q0"), "{rows:?}");
}

#[test]
fn calls_keep_the_providers_pace() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &["", ""]);
    let config = project
        .read("cascade.toml")
        .replace("api = \"openai\"", "api = \"openai\"\nrequests_per_minute = 1200");
    project.write("cascade.toml", &config);
    let started = Instant::now();
    project.run(&COLLECT).expect_code(0);
    // Four calls of two tiers, spaced by 50 ms: a lower bound, so that a slow machine does not matter.
    assert!(started.elapsed() >= Duration::from_millis(150));
}

#[cfg(unix)]
#[test]
fn a_program_grades_and_what_it_cannot_grade_is_kept_for_later() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &["", "wrong"]);
    grade_by(&project, "command");
    let ran = project.run(&COLLECT).expect_code(2);
    assert!(ran.stderr.contains("--grader-command"), "{}", ran.stderr);
    assert_eq!(server.calls(), 0);

    let broken = script(&project, "broken.sh", "exit 3\n");
    let with = |command: &str| {
        [&COLLECT[..], &["--format", "json", "--grader-command"]]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .chain([command.to_owned()])
            .collect::<Vec<_>>()
    };
    let run = |command: &str, more: &[&str]| {
        let arguments = with(command);
        let all: Vec<&str> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
        project.run(&all)
    };
    let ran = run(&broken, &[]).expect_code(1);
    assert_eq!((&ran.json()["ungraded"], &ran.json()["complete"]), (&json!(4), &json!(false)));
    assert!(
        ran.stderr.contains("collect::grader") && ran.stderr.contains("exit status: 3"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("It is"), "answers are not shown");
    assert!(!project.exists("log.jsonl"), "an answer without a grade must not reach the log");

    let slow = script(&project, "slow.sh", "sleep 30; echo 1\n");
    let ran = run(&slow, &["--grader-timeout-s", "0.2"]).expect_code(1);
    assert!(ran.stderr.contains("longer than 0.2 s"), "{}", ran.stderr);
    let greedy = script(&project, "greedy.sh", "x=$(head -c 200000000 /dev/zero | tr '\\0' a); echo 1\n");
    let ran = run(&greedy, &["--grader-memory-mb", "50"]).expect_code(1);
    assert!(ran.stderr.contains("collect::grader"), "{}", ran.stderr);

    // Asked again is nothing.
    let good =
        script(&project, "good.sh", "if grep -q 'wrong'; then echo 0.25; else echo '{\"score\": 1}'; fi\n");
    assert_eq!(run(&good, &[]).expect_code(0).json()["ungraded"], 0);
    assert_eq!(server.calls(), 4);
    assert!(close(quality(&project, 0, "small"), 1.0) && close(quality(&project, 1, "large"), 0.25));
    assert_eq!(rows(&project)[0]["results"]["small"]["graded_by"], "command");
    assert!(!project.exists("log.jsonl.journal"));
    let other = script(&project, "other.sh", "echo 0.5\n");
    assert_eq!(run(&other, &["--regrade"]).expect_code(0).json()["changed"], 4);
    assert!(close(quality(&project, 0, "small"), 0.5));
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_the_programs_that_grade() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &[""]);
    grade_by(&project, "command");
    // What the program starts must end with it.
    let endless = script(&project, "endless.sh", "sleep 600 & echo $! >> started; wait\n");
    let arguments = [&COLLECT[..], &["--format", "json", "--grader-command", &endless]].concat();
    let child = project.command(&arguments).spawn().unwrap();
    let started = || -> Vec<String> {
        let text = std::fs::read_to_string(project.path("started")).unwrap_or_default();
        text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
    };
    while started().len() < 2 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let kill = |arguments: &[&str]| {
        let mut kill = std::process::Command::new("kill");
        kill.args(arguments).stderr(std::process::Stdio::null()).status().unwrap().success()
    };
    assert!(kill(&["-INT", &child.id().to_string()]));
    let summary = crate::project::Ran::from(child.wait_with_output().unwrap()).expect_code(1).json();
    assert_eq!((&summary["interrupted"], &summary["ungraded"]), (&json!(true), &json!(2)), "{summary}");
    // Whoever inherits an ended process may take a moment to bury it.
    let runs = |process: &String| {
        let state = std::process::Command::new("ps").args(["-o", "stat=", "-p", process]).output().unwrap();
        let state = String::from_utf8(state.stdout).unwrap();
        !state.trim().is_empty() && !state.trim().starts_with('Z')
    };
    assert!(!started().iter().any(runs), "programs outlive the interrupt");
    let good = script(&project, "good.sh", "echo 1\n");
    project.run(&[&COLLECT[..], &["--grader-command", &good]].concat()).expect_code(0);
    assert_eq!(server.calls(), 2);
}

#[test]
fn a_judge_grades_by_a_rubric_and_its_cost_is_told() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &["", "wrong"]);
    grade_by(&project, "judge");
    project.write("rubric.md", "A good answer is the sum.\n");
    let judge = [&COLLECT[..], &["--judge", "large", "--rubric", "rubric.md", "--format", "json"]].concat();
    let dry = project.run(&[&judge[..], &["--dry-run"]].concat()).expect_code(0).json();
    assert_eq!((&dry["judging"]["calls"], &dry["judging"]["tier"]), (&json!(4), &json!("large")));
    let summary = project.run(&judge).expect_code(0).json();
    assert_eq!((&summary["recorded"], &summary["ungraded"]), (&json!(4), &json!(0)), "{summary}");
    assert!(close(summary["judging_usd"].as_f64().unwrap(), 4.0 * CALL_USD), "{summary}");
    assert!(close(summary["spent_usd"].as_f64().unwrap(), 8.0 * CALL_USD), "{summary}");
    assert!(close(quality(&project, 0, "small"), 0.9) && close(quality(&project, 1, "small"), 0.2));
    let small = &rows(&project)[0]["results"]["small"];
    assert_eq!(small["graded_by"], "judge large: A good answer is the sum.");
    // The judge's cost is no cost of the tier.
    assert_eq!(small["cost_usd"], json!(CALL_USD));
    assert_eq!(rows(&project)[0]["results"].as_object().unwrap().len(), 2);
    assert_eq!(server.calls(), 8);
    project.run(&judge).expect_code(0);
    assert_eq!(server.calls(), 8, "what is graded is not judged again");
    project.write("rubric.md", "Grade strictly.\n");
    let regraded = project.run(&[&judge[..], &["--regrade"]].concat()).expect_code(0).json();
    assert_eq!(regraded["changed"], 2, "{regraded}");
    assert!(close(quality(&project, 0, "small"), 0.7));
}

#[test]
fn a_pairwise_judge_is_asked_in_both_orders() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &[""]);
    grade_by(&project, "judge_pairwise");
    project.write("rubric.md", "Shorter is better.");
    let judge = [&COLLECT[..], &["--judge", "large", "--rubric", "rubric.md"]].concat();
    let ran = project.run(&judge).expect_code(0);
    assert!(ran.stdout.contains("of it for judging"), "{}", ran.stdout);
    // This judge prefers whatever it sees first, which says nothing.
    assert!(close(quality(&project, 0, "small"), 0.5));
    assert_eq!(server.calls(), 6);
}

#[test]
fn the_cap_holds_for_the_judge_and_answers_wait_for_more_money() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &["", "", ""]);
    grade_by(&project, "judge");
    project.write("rubric.md", "The sum.");
    let run = |more: &[&str]| {
        project.run(
            &[&COLLECT[..], &["--judge", "large", "--rubric", "rubric.md", "--format", "json"], more]
                .concat(),
        )
    };
    let dry = run(&["--dry-run"]).expect_code(0).json();
    // Room for all answers and the first verdicts: what a verdict may cost is reserved before it is asked for.
    let verdict = dry["judging"]["most_usd"].as_f64().unwrap() / 6.0;
    let cap = 6.0 * CALL_USD + verdict + 0.000_02;
    let first = run(&["--max-spend", &format!("{cap:.9}")]).expect_code(1).json();
    assert!(first["spent_usd"].as_f64().unwrap() <= cap, "{first}");
    assert!(first["ungraded"].as_u64().unwrap() > 0, "{first}");
    assert_eq!(first["recorded"], 6);
    let rest = run(&["--max-spend", "1"]).expect_code(0).json();
    assert_eq!(rest["recorded"], 0, "{rest}");
    assert_eq!(server.calls(), 12, "no answer and no verdict was asked for twice");
    assert_eq!(rows(&project).len(), 3);
}

#[test]
fn a_changed_tier_is_replaced_as_a_whole() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &["", ""]);
    project.run(&COLLECT).expect_code(0);
    let before = rows(&project);
    project.write("cascade.toml", &project.read("cascade.toml").replace("model = \"s\"", "model = \"s2\""));
    let ran = project.run(&COLLECT).expect_code(2);
    assert!(unwrapped(&ran.stderr).contains("--replace-tier small"), "{}", ran.stderr);
    let replace = [&COLLECT[..], &["--replace-tier", "small"]].concat();
    // Money for one call: the log keeps the old answers until all new ones are there.
    project.run(&[&replace[..], &["--max-spend", "0.000120"]].concat()).expect_code(1);
    assert_eq!(rows(&project), before);
    let calls = server.calls();
    assert!(calls > 4);
    project.run(&[&replace[..], &["--max-spend", "1"]].concat()).expect_code(0);
    assert_eq!(server.calls(), 6, "what the interrupted job asked is not asked again");
    let after = rows(&project);
    for (old, new) in before.iter().zip(&after) {
        assert_eq!(new["results"]["small"]["served_model"], "s2-2026");
        assert_eq!(new["results"]["large"], old["results"]["large"]);
    }
    let first: &Value = &after[0];
    assert_eq!(first["results"]["small"]["quality"], 1.0);
}

#[test]
fn a_grader_that_does_not_fit_the_answers_shows_at_the_end() {
    let server = Server::start(Duration::ZERO);
    let project = project(&server, &["fence", "fence", "reject"]);
    let text = project.read("prompts.jsonl");
    let lines = text.lines().map(|line| {
        let mut prompt: Value = serde_json::from_str(line).unwrap();
        prompt["grader"] = json!("json_schema");
        prompt["reference"] = json!({"type": "object", "required": ["sum"]});
        prompt.to_string()
    });
    project.write("prompts.jsonl", &lines.collect::<Vec<_>>().join("\n"));
    let ran = project.run(&[&COLLECT[..], &["--tiers", "small"]].concat()).expect_code(0);
    let row = ran.stdout.lines().find(|line| line.starts_with("small"));
    assert_eq!(row, Some("small  json_schema        3  0.0 %       1         0"), "{}", ran.stdout);
    let text = crate::project::unwrapped(&ran.stdout);
    assert!(text.contains("2 answers of `small`: a code fence (```) stands around the JSON"), "{text}");
    assert!(text.contains("in [routes.sums.request]") && !text.contains("\"sum\""), "{text}");
}
