//! Mistakes as people make them: each is told by its code, and says what to do.

use crate::fit::{CONFIG, log, project};
use crate::project::Project;

/// Runs the command and looks for a finding of that code with a remedy.
#[track_caller]
fn tells(code: &str, project: &Project, arguments: &[&str]) {
    let ran = project.run(arguments);
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
    let project = fitted(&ungraded);
    project.write("evals/a.jsonl", &log(-0.5));
    tells("eval::log-changed", &project, &eval);
    let project = fitted(&ungraded);
    std::fs::remove_file(project.path("evals/a.jsonl")).unwrap();
    tells("eval::no-reference", &project, &eval);
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
    tells("prompts::more", &asked(&b"{\n".repeat(60)), &collect);
}

#[test]
fn schemas_that_cannot_be_read() {
    let project = project();
    let typed = CONFIG.replace("top_logprobs = 2", "top_logprobs = 2\nanswer = { schema = \"team.json\" }");
    project.write("cascade.toml", &typed);
    tells("cli::io", &project, &["check"]);
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
