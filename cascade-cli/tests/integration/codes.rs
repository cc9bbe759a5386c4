//! Mistakes as people make them: each is told by its code, and says what to do.

use crate::fit::{CONFIG, log, project};
use crate::project::{Project, Ran};
use serde_json::json;

/// Runs the command and looks for a finding of that code with a remedy.
#[track_caller]
pub(crate) fn tells(code: &str, project: &Project, arguments: &[&str]) {
    tells_ran(code, &project.run(arguments));
}

/// Looks for a finding of that code with a remedy.
#[track_caller]
pub(crate) fn tells_ran(code: &str, ran: &Ran) {
    let said = format!("{}\n{}", ran.stderr, ran.stdout);
    let start = said.find(&format!("[{code}]")).unwrap_or_else(|| panic!("no {code}:\n{said}"));
    let finding = &said[start..];
    let end = ["\nerror[", "\nwarning["].iter().filter_map(|next| finding.find(next)).min();
    let finding = &finding[..end.unwrap_or(finding.len())];
    assert!(finding.contains("= help"), "{code} names no remedy:\n{finding}");
}

/// A project whose log is this.
fn with_log(text: &str) -> Project {
    let project = project();
    project.write("evals/a.jsonl", text);
    project
}

/// A project with a policy, and another log `new.jsonl` beside it.
fn fitted(new: &str) -> Project {
    let project = project();
    project.run(&["fit", "triage"]).expect_code(0);
    project.write("new.jsonl", new);
    project
}

const ROW: &str = r#"{"id":"x","input":"q","results":{"small":{"quality":1,"cost_usd":0.0001,"signals":{"mean_logprob":-0.1}},"large":{"quality":1,"cost_usd":0.001}}}"#;

#[test]
fn rows_of_a_log() {
    let double = ROW.replacen(r#""input":"q","#, r#""input":"q","input":"p","#, 1);
    tells("log::duplicate-key", &with_log(&double), &["check"]);
    let empty = format!("{ROW}\n{}", r#"{"id":"y","input":"q","results":{}}"#);
    tells("log::no-results", &with_log(&empty), &["check"]);
    let other =
        ROW.replacen(r#""small":{"#, &format!(r#""small":{{"request_hash":"{}","#, "0".repeat(64)), 1);
    tells("log::other-requests", &with_log(&other), &["check"]);
    tells("log::not-repriced", &with_log(&log(-0.6)), &["fit", "triage", "--reprice"]);
    let leaking: String = (0..20)
        .map(|row| {
            let split = if row % 2 == 0 { "calibration" } else { "test" };
            let head = format!(r#"{{"id":"x{row}","group":"g","split":"{split}","#);
            ROW.replacen(r#"{"id":"x","#, &head, 1) + "\n"
        })
        .collect();
    tells("log::leak", &with_log(&leaking), &["check"]);
    let alike: String = (0..200)
        .map(|row| {
            let text = format!("please sort this letter of a customer about a late parcel number {row}");
            ROW.replacen(r#"{"id":"x","input":"q""#, &format!(r#"{{"id":"x{row}","input":"{text}""#), 1)
                + "\n"
        })
        .chain((0..1_800).map(|row| {
            let words: Vec<String> = (0..12).map(|word| format!("w{}", row * 12 + word)).collect();
            let head = format!(r#"{{"id":"y{row}","input":"{}""#, words.join(" "));
            ROW.replacen(r#"{"id":"x","input":"q""#, &head, 1) + "\n"
        }))
        .collect();
    tells("log::near-duplicates", &with_log(&alike), &["check"]);
}

#[test]
fn rows_of_a_table() {
    let table = |text: &str| {
        let project = project();
        project.write("cascade.toml", &CONFIG.replace("evals/*.jsonl", "evals/a.csv"));
        project.write("evals/a.csv", text);
        project
    };
    tells("log::csv-header", &table("identity,tier\nx,small\n"), &["check"]);
    let half = "id,split,tier,quality,cost_usd\nx,dev,small,1,0.1\nx,dev,large,1,0.1\n";
    tells("log::value", &table(half), &["check"]);
    let twice = "id,input,tier,quality,cost_usd\nx,one,small,1,0.1\nx,two,large,1,0.1\n";
    tells("log::csv-contradiction", &table(twice), &["check"]);
}

#[test]
fn evaluations_that_cannot_say_much() {
    let ungraded: String = (0..50)
        .map(|row| {
            format!(r#"{{"id":"n{row}","input":"q {row}","results":{{"small":{{"cost_usd":0.0001,"signals":{{"mean_logprob":-0.1}}}}}}}}"#)
                + "\n"
        })
        .collect();
    let eval = ["eval", "triage", "--on", "new.jsonl"];
    tells("eval::ungraded", &fitted(&ungraded), &eval);
    let large = r#","large":{"quality":1,"cost_usd":0.001}}"#;
    let in_part = ungraded
        .replacen(r#""cost_usd":0.0001,"#, r#""quality":0,"cost_usd":0.0001,"#, 1)
        .replacen("}}}", &format!("}}}}{large}"), 1);
    tells("eval::graded-in-part", &fitted(&in_part), &eval);
    let project = fitted(&ungraded);
    project.write("evals/a.jsonl", &log(-0.5));
    tells("eval::log-changed", &project, &eval);
    let project = fitted(&ungraded);
    std::fs::remove_file(project.path("evals/a.jsonl")).unwrap();
    tells("eval::no-reference", &project, &eval);
    // What was not tested is not alike.
    project.run(&eval).expect_code(2);
    project.run(&["eval", "triage", "--on", "new.jsonl", "--no-drift"]).expect_code(0);
    let project = fitted("");
    let only = log(-0.6).replace(r#"{"id":"#, r#"{"split":"calibration","id":"#);
    project.write("evals/a.jsonl", &only);
    tells("eval::no-rows", &project, &["eval", "triage", "--split", "test"]);
    let project = fitted("");
    project.write("evals/a.jsonl", &log(-0.6).replace(r#""small""#, r#""tiny""#));
    tells("eval::tiers", &project, &["eval", "triage"]);
}

#[test]
fn fits_that_cannot_begin() {
    let project = project();
    project.write("cascade.toml", &CONFIG.replace(r#"tiers = ["small", "large"]"#, r#"tiers = ["small"]"#));
    tells("fit::one-tier", &project, &["fit", "triage"]);
    let three = CONFIG
        .replace("[routes.triage]\n", "[tiers.best]\nprovider = \"local\"\nmodel = \"b\"\nprice = { input = 20.0, output = 40.0 }\n\n[routes.triage]\n")
        .replace(r#"["small", "large"]"#, r#"["small", "large", "best"]"#)
        .replace("max_cost_usd = 0.0009", "max_quality_loss = { versus = \"best\", by = 0.05 }");
    let project =
        with_log(&log(-0.6).replacen(r#""small":"#, r#""best":{"quality":1,"cost_usd":0.002},"small":"#, 3));
    project.write("cascade.toml", &three);
    tells("fit::reference-left-out", &project, &["fit", "triage"]);
    let project = crate::fit::project();
    project.write("traffic.jsonl", "\n");
    tells("fit::traffic-empty", &project, &["fit", "triage", "--traffic", "traffic.jsonl"]);
}

/// What a request costs is an amount of at most 9.2 million dollars; here two calls of one cost more.
#[test]
fn fits_whose_policy_cannot_be_run() {
    let rows = (0..400).map(|row| {
        let signal = -f64::from((row * 37) % 100) / 100.0;
        let (small, large) = match (row % 100, signal > -0.6) {
            (99, _) => (5e6, 5e6),
            (_, true) => (0.0001, 8e6),
            (_, false) => (0.0001, 0.001),
        };
        json!({"id": format!("r{row}"), "input": format!("question {row}"), "results": {
            "small": {"quality": u8::from(signal > -0.6), "cost_usd": small, "signals": {"mean_logprob": signal}},
            "large": {"quality": 1, "cost_usd": large, "signals": {}}}})
        .to_string()
    });
    let project = with_log(&rows.collect::<Vec<_>>().join("\n"));
    project.write("cascade.toml", &CONFIG.replace("max_cost_usd = 0.0009", "min_quality = 0.9"));
    tells("fit::replay", &project, &["fit", "triage"]);
}

#[test]
fn questions_that_cannot_be_explained() {
    tells("explain::no-code", &Project::new(), &["explain", "log::nothing"]);
    tells("explain::no-row", &fitted(""), &["explain", "triage", "--row", "nobody"]);
}

#[test]
fn policies_of_another_program() {
    let project = fitted("");
    let policy = project.read("policies/triage.toml");
    project.write("policies/triage.toml", &policy.replace("algorithm = 1", "algorithm = 999"));
    tells("policy::other-algorithm", &project, &["check"]);
}

#[test]
fn prices_that_are_in_doubt() {
    let project = project();
    tells("price::undated", &project, &["check", "--max-price-age", "30"]);
    let dated = CONFIG.replacen("model = \"s\"", "model = \"s\"\nprice_as_of = \"2999-01-01\"", 1);
    project.write("cascade.toml", &dated);
    tells("price::future", &project, &["check"]);
    let served: String = (0..40)
        .map(|row| {
            let result = format!(r#""small":{{"served_model":"s-{}","#, row % 2);
            let row = format!(r#"{{"id":"x{row}","#);
            ROW.replacen(r#"{"id":"x","#, &row, 1).replacen(r#""small":{"#, &result, 1) + "\n"
        })
        .collect();
    tells("price::alias", &with_log(&served.replace("s-1", "s-0")), &["check"]);
    tells("price::served-model", &with_log(&served), &["check"]);
}

#[test]
fn prompts_that_cannot_be_sent() {
    let asked = |text: &[u8]| {
        let project = project();
        std::fs::write(project.path("p.jsonl"), text).unwrap();
        project
    };
    let collect = ["collect", "triage", "--prompts", "p.jsonl", "--out", "new.jsonl", "--dry-run"];
    let good = br#"{"id":"a","input":"q","reference":"r","grader":"exact"}"#;
    tells("prompts::empty", &asked(b"\n"), &collect);
    tells("prompts::line", &asked(b"{"), &collect);
    tells("prompts::utf8", &asked(b"{\"id\":\"\xff\"}"), &collect);
    tells("prompts::duplicate-id", &asked(&[&good[..], b"\n", &good[..]].concat()), &collect);
    let many = (0..60).map(|row| format!(r#"{{"id":"{row}","key {row}":1}}"#)).collect::<Vec<_>>().join("\n");
    tells("prompts::more", &asked(many.as_bytes()), &collect);
}

#[test]
fn schemas_that_cannot_be_read() {
    let project = project();
    let typed = CONFIG.replace("top_logprobs = 2", "top_logprobs = 2\nanswer = { schema = \"team.json\" }");
    project.write("cascade.toml", &typed);
    tells("request::schema-missing", &project, &["check"]);
    let ran = project.run(&["fit", "triage"]).expect_code(2);
    assert!(ran.stderr.contains("--> cascade.toml:33:"), "the line that names it: {}", ran.stderr);
    std::fs::create_dir(project.path("team.json")).unwrap();
    tells("request::schema-unreadable", &project, &["check"]);
    std::fs::remove_dir(project.path("team.json")).unwrap();
    project.write("team.json", "{");
    tells("config::schema", &project, &["check"]);
}

#[test]
fn files_that_are_not_what_they_should_be() {
    tells("init::exists", &project(), &["init", "--yes"]);
    let project = project();
    std::fs::create_dir(project.path("folder")).unwrap();
    tells("cli::io", &project, &["fit", "triage", "--traffic", "folder"]);
}

/// A router that reads the tag `kind`, without which a prompt does not say which tier it needs.
fn routed() -> Project {
    let project = Project::new();
    project.write("cascade.toml", &CONFIG.replace("\"pair\"", "\"router\""));
    let row = |row: usize| {
        let kind = ["easy", "hard"][row % 2];
        let head = format!(r#"{{"id":"x{row}","tags":{{"kind":"{kind}"}},"input":"question {row}","#);
        ROW.replacen(r#"{"id":"x","input":"q","#, &head, 1).replacen(
            r#""quality":1"#,
            &format!(r#""quality":{}"#, 1 - row % 2),
            1,
        ) + "\n"
    };
    project.write("evals/a.jsonl", &(0..400).map(row).collect::<String>());
    project.run(&["fit", "triage"]).expect_code(0);
    project
}

#[test]
fn requests_without_what_a_router_reads() {
    let project = routed();
    tells("explain::missing-input", &project, &["explain", "triage", "q"]);
    project.write("new.jsonl", &ROW.replacen("\"x\"", "\"y\"", 1));
    tells("eval::replay", &project, &["eval", "triage", "--on", "new.jsonl", "--no-drift"]);
    let log = project.read("evals/a.jsonl") + ROW;
    project.write("evals/a.jsonl", &log);
    tells("explain::replay", &project, &["explain", "triage", "--row", "x"]);
}

#[test]
fn weights_that_are_lost() {
    let project = crate::documents::quickstart();
    for entry in std::fs::read_dir(project.path("policies")).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.extension().is_some_and(|ending| ending == "weights") {
            std::fs::remove_file(entry).unwrap();
        }
    }
    tells("policy::weights", &project, &["check"]);
    tells("policy::weights", &project, &["eval", "answer"]);
}

#[test]
fn policies_of_another_route() {
    let project = fitted("");
    let policy = project.read("policies/triage.toml");
    project.write("policies/triage.toml", &policy.replacen("route = \"triage\"", "route = \"other\"", 1));
    tells("policy::foreign", &project, &["check"]);
}

#[test]
fn promises_on_another_log() {
    let certified = CONFIG.replace("max_cost_usd = 0.0009", "min_quality = 0.8\nconfidence = 0.9");
    let project = project();
    project.write("cascade.toml", &certified);
    project.run(&["fit", "triage"]).expect_code(0);
    assert!(project.read("policies/triage.toml").contains("[certificate]"));
    project.write("evals/a.jsonl", &(log(-0.6) + "\n" + ROW));
    tells("check::certificate", &project, &["check"]);
}

#[test]
fn revisions_without_git() {
    let project = fitted("");
    let mut command = project.command(&["diff", "triage", "HEAD"]);
    tells_ran("diff::git", &command.env("PATH", "").output().unwrap().into());
}

#[test]
fn arguments_that_are_no_use() {
    tells("cli::usage", &project(), &["collect", "triage", "--prompts", "p.jsonl", "--max-spend", "much"]);
}

#[test]
fn files_that_cannot_be_imported() {
    let project = Project::new();
    project.write("a.jsonl", "{}\n");
    project.write("a.json", "{}");
    project.write("a.csv", "id,model,score\nx,small\n");
    project.write("b.csv", "id,model,score\nx,small,1\n");
    project.write("a.parquet", "PAR1");
    let import = |from: &str, more: &[&'static str]| {
        [&["import", from, "--out", "log.jsonl"], more]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let tells = |code: &str, from: &str, more: &[&'static str]| {
        let arguments = import(from, more);
        tells(code, &project, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    };
    tells("import::format", "promptfoo", &["a.json"]);
    tells("import::format", "lm-eval", &["--tier", "small=a.jsonl"]);
    tells("import::format", "decisions", &["a.jsonl"]);
    tells("import::format", "table", &["a.jsonl", "--map", "id=id"]);
    tells("import::format", "table", &["a.csv", "--map", "id=id"]);
    tells("import::format", "table", &["a.parquet", "--map", "id=id"]);
    tells("import::format", "routerbench", &["b.csv"]);
    tells("import::name", "table", &["b.csv", "--map", "id=identity"]);
    tells("import::name", "table", &["b.csv", "--map", "colour=model"]);
    tells("import::name", "table", &["b.csv", "--map", "id=id"]);
}
