//! `cascade import`: logs of other tools as they write them.

use crate::project::Project;
use serde_json::{Value, json};

fn rows(project: &Project, name: &str) -> Vec<Value> {
    project.read(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn wide_tables_of_routerbench() {
    let project = Project::new();
    project.write(
        "bench.csv",
        "sample_id,prompt,eval_name,a/small,a/small|model_response,a/small|total_cost,b/large,b/large|model_response,b/large|total_cost,oracle_model_to_route_to,split\n\
         m.1,\"['What is 1+1?\\nAnswer:']\",math,True,2,0.00001,1.0,two,0.002,a/small,x\n\
         m.2,\"['What?']\",math,0.25,x,0.00002,,y,0.001,b/large,x\n",
    );
    let arguments = [
        "import",
        "routerbench",
        "bench.csv",
        "--out",
        "log.jsonl",
        "--tier",
        "small=a/small",
        "--tier",
        "large=b/large",
    ];
    let ran = project.run(&arguments).expect_code(0);
    insta::assert_snapshot!(ran.stdout);
    let rows = rows(&project, "log.jsonl");
    assert_eq!(
        (&rows[0]["input"], &rows[0]["tags"]["eval_name"]),
        (&json!("What is 1+1?\nAnswer:"), &json!("math"))
    );
    let small = &rows[0]["results"]["small"];
    assert_eq!(
        (&small["quality"], &small["cost_usd"], &small["output"]),
        (&json!(1.0), &json!(0.00001), &json!("2"))
    );
    assert_eq!(rows[1]["results"]["small"]["quality"], 0.25);
    assert!(rows[1]["results"]["large"].is_null());

    let again = project.run(&arguments).expect_code(2);
    assert!(again.stderr.contains("--overwrite"), "{}", again.stderr);
    let ran = project
        .run(&["import", "routerbench", "bench.csv", "--out", "b.jsonl", "--tier", "x=c/none"])
        .expect_code(2);
    assert!(ran.stderr.contains("its models are `a/small`, `b/large`"), "{}", ran.stderr);
    project.write("other.csv", "id,text\n1,x\n");
    let ran = project.run(&["import", "routerbench", "other.csv", "--out", "b.jsonl"]).expect_code(2);
    assert!(ran.stderr.contains("is no table of RouterBench"), "{}", ran.stderr);
}

#[test]
fn sample_logs_of_lm_evaluation_harness() {
    let project = Project::new();
    let choice = |doc: u32, acc: f64, first: &str, second: &str| {
        json!({"doc_id": doc, "doc": {"question": "q"}, "target": 0, "filter": "none", "metrics": ["acc"], "acc": acc,
            "arguments": {"gen_args_0": {"arg_0": "Q: sky?", "arg_1": " blue"}, "gen_args_1": {"arg_0": "Q: sky?", "arg_1": " red"}},
            "resps": [[[first, "False"]], [[second, "False"]]], "filtered_resps": [[first, "False"], [second, "False"]]})
        .to_string()
    };
    let small = [choice(0, 1.0, "-1.0", "-3.0"), choice(1, 0.0, "-2.0", "-1.5")].join("\n");
    let large = [choice(0, 1.0, "-0.1", "-9.0"), choice(1, 1.0, "-0.2", "-5.0")].join("\n");
    project.write("small/samples_sky_2026-01-31T23-59-59.1.jsonl", &small);
    project.write("large/samples_sky_2026-01-31T23-59-59.1.jsonl", &large);
    let tier = |name: &str| format!("{name}={name}/samples_sky_2026-01-31T23-59-59.1.jsonl");
    let (small, large) = (tier("small"), tier("large"));
    let arguments = ["import", "lm-eval", "--tier", &small, "--tier", &large, "--out", "log.jsonl"];
    let ran = project.run(&arguments).expect_code(1);
    assert!(ran.stdout.contains("--bytes-per-token"), "{}", ran.stdout);
    project.run(&[&arguments[..], &["--overwrite", "--bytes-per-token", "4"]].concat()).expect_code(0);
    let found = rows(&project, "log.jsonl");
    assert_eq!(
        (&found[0]["id"], &found[0]["tags"]["task"], &found[0]["input"]),
        (&json!("sky/0"), &json!("sky"), &json!("Q: sky?"))
    );
    let result = &found[1]["results"]["small"];
    assert_eq!(
        (&result["quality"], &result["output"], &result["graded_by"]),
        (&json!(0.0), &json!("red"), &json!("lm-eval acc"))
    );
    assert!(result["signals"]["choice_margin"].as_f64().unwrap() > 0.2);
    assert_eq!((&result["input_tokens"], &result["output_tokens"]), (&json!(2), &json!(1)));

    let text = |filter: &str, good: f64| {
        json!({"doc_id": 7, "target": "5", "filter": filter, "metrics": ["exact_match"], "exact_match": good,
            "arguments": {"gen_args_0": {"arg_0": "[{\"role\":\"user\",\"content\":\"2+3?\"}]", "arg_1": {"until": []}}},
            "resps": [["It is 5."]], "filtered_resps": ["5"]})
        .to_string()
    };
    project.write("samples_sums.jsonl", &[text("strict", 0.0), text("flexible", 1.0)].join("\n"));
    let arguments = [
        "import",
        "lm-eval",
        "--tier",
        "small=samples_sums.jsonl",
        "--filter",
        "flexible",
        "--out",
        "sums.jsonl",
        "--bytes-per-token",
        "4",
    ];
    let ran = project.run(&arguments).expect_code(0);
    assert!(ran.stdout.contains("samples of the filter `strict`, left out: 1"), "{}", ran.stdout);
    let found = rows(&project, "sums.jsonl");
    assert_eq!(found[0]["messages"][0]["content"], "2+3?");
    assert_eq!(
        (&found[0]["results"]["small"]["quality"], &found[0]["results"]["small"]["output"]),
        (&json!(1.0), &json!("It is 5."))
    );
}

#[test]
fn half_characters_are_read_and_told_and_other_faults_of_syntax_are_named() {
    let project = Project::new();
    let half = |text: &str| text.replace("HALF", "\\ud83d");
    project.write(
        "a.jsonl",
        &half(r#"{"doc_id":1,"doc":{"q":"HALF"},"arguments":[["HALF?"]],"resps":[["x"]],"filtered_resps":["x"],"acc":1.0}"#),
    );
    project.write(
        "a.json",
        &half(r#"{"results":[{"provider":{"id":"p"},"prompt":{"raw":"HALF?"},"response":{"output":"x"},"success":true,"score":1}]}"#),
    );
    let lm_eval = ["import", "lm-eval", "--tier", "small=a.jsonl", "--out", "log.jsonl"];
    let promptfoo = ["import", "promptfoo", "a.json", "--tier", "small=p", "--out", "other.jsonl"];
    for arguments in [lm_eval.as_slice(), promptfoo.as_slice()] {
        // No, since the rows have no costs.
        let ran = project.run(arguments).expect_code(1);
        assert!(
            ran.stderr.contains("half a character") || ran.stdout.contains("half a character"),
            "{}",
            ran.stderr
        );
    }
    assert!(project.read("log.jsonl").contains('\u{fffd}'));
    project.write("a.jsonl", r#"{"doc_id":1,"#);
    project.write("a.json", r#"{"results":[}"#);
    for arguments in [lm_eval.as_slice(), promptfoo.as_slice()] {
        let ran = project.run(&[arguments, &["--overwrite"]].concat()).expect_code(2);
        assert!(ran.stderr.contains("no valid JSON"), "{}", ran.stderr);
    }
}

#[test]
fn results_of_promptfoo() {
    let project = Project::new();
    let result = |test: u32, provider: &str, score: f64| {
        json!({"testIdx": test, "promptIdx": 0, "provider": {"id": provider, "label": ""}, "prompt": {"raw": format!("Say {test}"), "label": "p"},
            "vars": {"n": test}, "success": score > 0.5, "score": score, "gradingResult": {"pass": score > 0.5, "score": score},
            "latencyMs": 120, "cost": 0.0001, "response": {"output": "ok", "tokenUsage": {"total": 12, "prompt": 10, "completion": 2}}})
    };
    let mut failed = result(1, "openai:large", 0.0);
    failed["error"] = json!("timeout");
    failed["response"] = json!({});
    let file = json!({"evalId": "e", "results": {"version": 3, "results":
        [result(0, "openai:small", 1.0), result(0, "openai:large", 0.5), result(1, "openai:small", 0.0), failed]}});
    project.write("results.json", &file.to_string());
    let arguments = [
        "import",
        "promptfoo",
        "results.json",
        "--out",
        "log.jsonl",
        "--tier",
        "small=openai:small",
        "--tier",
        "large=openai:large",
        "--format",
        "json",
    ];
    let summary = project.run(&arguments).expect_code(0).json();
    assert_eq!(
        (&summary["rows"], &summary["tiers"]),
        (&json!(2), &json!({"large": 2, "small": 2})),
        "{summary}"
    );
    let rows = rows(&project, "log.jsonl");
    assert_eq!((&rows[0]["id"], &rows[0]["input"]), (&json!("test-0"), &json!("Say 0")));
    let large = &rows[0]["results"]["large"];
    assert_eq!(
        (&large["quality"], &large["input_tokens"], &large["latency_ms"]),
        (&json!(0.5), &json!(10), &json!(120.0))
    );
    assert_eq!(rows[1]["results"]["large"]["error"], "provider");
    project.write("broken.json", "{");
    let ran = project.run(&["import", "promptfoo", "broken.json", "--out", "x.jsonl"]).expect_code(2);
    assert!(ran.stderr.contains("no valid JSON"), "{}", ran.stderr);
}

#[test]
fn any_table_with_a_map() {
    let project = Project::new();
    project.write("wide.csv", "qid,question,s_small,c_small,conf,s_large,c_large,note\n1,Why?,0.5,0.001,-0.2,1,0.01,x\n2,How?,oops,0.001,-0.3,1,0.01,\n");
    let map = [
        "id=qid",
        "input=question",
        "small:quality=s_small",
        "small:cost_usd=c_small",
        "small:signal.confidence=conf",
        "large:quality=s_large",
        "large:cost_usd=c_large",
    ];
    let mut arguments = vec!["import", "table", "wide.csv", "--out", "wide.jsonl"];
    arguments.extend(map.iter().flat_map(|entry| ["--map", *entry]));
    let ran = project.run(&arguments).expect_code(0);
    assert!(ran.stdout.contains("columns that the map does not name: `note`"), "{}", ran.stdout);
    assert!(ran.stdout.contains("quality is no number from 0 to 1, left out: 1"), "{}", ran.stdout);
    let found = rows(&project, "wide.jsonl");
    assert_eq!(found[0]["results"]["small"]["signals"]["confidence"], -0.2);
    assert_eq!(found[0]["results"]["large"]["cost_usd"], 0.01);

    project.write("long.csv", "id,model,quality,cost_usd,tag.kind\n1,small,1,0.001,a\n1,large,1,0.01,a\n");
    project
        .run(&["import", "table", "long.csv", "--map", "tier=model", "--out", "long.jsonl"])
        .expect_code(0);
    let found = rows(&project, "long.jsonl");
    assert_eq!((found.len(), &found[0]["tags"]["kind"]), (1, &json!("a")));
    let ran = project.run(&["import", "table", "long.csv", "--out", "x.jsonl"]).expect_code(2);
    assert!(ran.stderr.contains("nothing says which column is `tier`"), "{}", ran.stderr);
    let ran = project
        .run(&["import", "table", "long.csv", "--map", "tier=modle", "--out", "x.jsonl"])
        .expect_code(2);
    assert!(ran.stderr.contains("has no column `modle`"), "{}", ran.stderr);
}

#[test]
fn explored_requests_with_an_outage_are_no_evidence() {
    let project = Project::new();
    let answered = json!({"cost_usd": 0.0001, "latency_ms": 9.0, "signals": {}});
    // As clients wrote it that did not mark such rows themselves.
    let row = |id: &str, error: &str, retries: &[&str]| {
        let failed =
            json!({"cost_usd": 0.0, "latency_ms": 9.0, "signals": {}, "error": error, "retries": retries});
        let exploration = json!({"schema": 1, "kind": "exploration", "time": "2026-01-01T10:00:01.000Z", "id": id,
            "route": "triage", "probability": 0.5, "answered_by": "small", "on_path": ["small"], "input": "a ticket",
            "results": {"small": answered, "large": failed}});
        let feedback = json!({"schema": 1, "kind": "feedback", "time": "2026-01-02T08:00:00.000Z", "id": id, "score": 1.0});
        format!("{exploration}\n{feedback}\n")
    };
    let outages = [("a", "circuit_open", &[][..]), ("b", "connection", &[]), ("c", "status", &["status"])];
    let own = [("d", "timeout", &[][..]), ("e", "status", &[])];
    let lines: String =
        outages.iter().chain(&own).map(|(id, error, retries)| row(id, error, retries)).collect();
    project.write("decisions.jsonl", &lines);
    let ran = project.run(&["import", "decisions", "decisions.jsonl", "--out", "log.jsonl"]).expect_code(0);
    assert!(ran.stdout.contains("failed by an outage"), "{}", ran.stdout);
    let rows = rows(&project, "log.jsonl");
    let results: Vec<_> = rows.iter().map(|row| (&row["id"], &row["results"]["large"]["quality"])).collect();
    assert_eq!(results, [(&json!("d"), &json!(0.0)), (&json!("e"), &json!(0.0))]);
}

#[test]
fn decision_logs_give_evidence_where_all_tiers_ran() {
    let project = Project::new();
    let result = |cost: f64| json!({"cost_usd": cost, "input_tokens": 10, "output_tokens": 1, "latency_ms": 9.0, "signals": {"mean_logprob": -0.5}});
    let decision = |id: &str, day: u32| {
        json!({"schema": 1, "kind": "decision", "time": format!("2026-01-0{day}T10:00:00.000Z"), "id": id, "route": "triage",
            "path": [], "outcome": "answered", "answered_by": "small", "cost_usd": 0.0001}).to_string()
    };
    let exploration = |id: &str| {
        json!({"schema": 1, "kind": "exploration", "time": "2026-01-01T10:00:01.000Z", "id": id, "route": "triage", "probability": 0.5,
            "answered_by": "small", "on_path": ["small"], "input": "a ticket", "tags": {"language": "en"},
            "results": {"small": result(0.0001), "large": result(0.001)}})
    };
    let feedback = |id: &str, tier: Option<&str>, score: f64| {
        json!({"schema": 1, "kind": "feedback", "time": "2026-01-02T08:00:00.000Z", "id": id, "tier": tier, "score": score}).to_string()
    };
    let mut cut = exploration("c");
    cut["incomplete"] = json!("budget");
    let lines = [
        decision("a", 1),
        exploration("a").to_string(),
        decision("b", 1),
        exploration("b").to_string(),
        decision("c", 2),
        cut.to_string(),
        decision("d", 2),
        feedback("a", None, 0.0),
        feedback("a", None, 1.0),
        feedback("a", Some("large"), 0.5),
        feedback("d", None, 1.0),
    ];
    project.write("decisions.jsonl", &lines.join("\n"));
    let ran = project.run(&["import", "decisions", "decisions.jsonl", "--out", "log.jsonl"]).expect_code(0);
    insta::assert_snapshot!(ran.stdout);
    let rows = rows(&project, "log.jsonl");
    assert_eq!(rows.len(), 1);
    assert_eq!((&rows[0]["id"], &rows[0]["sampling_probability"]), (&json!("a"), &json!(0.5)));
    let results = &rows[0]["results"];
    assert_eq!((&results["small"]["quality"], &results["large"]["quality"]), (&json!(1.0), &json!(0.5)));
    let json = project
        .run(&["import", "decisions", "decisions.jsonl", "--out", "b.jsonl", "--format", "json"])
        .expect_code(0)
        .json();
    assert_eq!(json["traffic"]["calls_per_day"], 2.0);
    let ran = project
        .run(&["import", "decisions", "decisions.jsonl", "--route", "other", "--out", "c.jsonl"])
        .expect_code(1);
    assert!(ran.stdout.contains("nothing was written"), "{}", ran.stdout);
}
