//! Embeddings in a log: read into one flat vector where the route declares them, passed over where it does not, refused where they
//! are of another kind.

use super::{good, read_files, read_lines, show_all};
use cascade_sdk_core::config::EmbeddingSettings;
use cascade_sdk_core::log::{LogReading, LogSource, ReadOptions, records, write_row};
use cascade_sdk_core::money::Usd;
use std::time::Duration;

fn options() -> ReadOptions {
    let embedding = EmbeddingSettings {
        model: "tiny".into(),
        dimensions: 3,
        cost: Usd::from_pico(7),
        timeout: Duration::from_secs(1),
        on_failure: None,
        served: None,
        file: None,
    };
    ReadOptions { embedding: Some(embedding), ..ReadOptions::default() }
}

fn row(id: &str, more: &str) -> String {
    format!(r#"{{"id":"{id}","input":"secret"{more},"results":{{"small":{{"quality":1,"cost_usd":1e-5}}}}}}"#)
}

fn reading(text: &str) -> LogReading {
    read_files(&[("log.jsonl", text.as_bytes())], &options()).unwrap()
}

#[test]
fn vectors_are_those_of_their_rows_whatever_the_order_of_lines() {
    let lines = [
        row("b", r#","embedding":[0.5,-1,2e-3],"embedding_model":"tiny","embedding_cost_usd":1e-12"#),
        row("c", ""),
        row("a", r#","embedding":[1,2,3]"#),
        row("d", r#","embedding":null"#),
    ];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0]] {
        let text = order.map(|at| lines[at].clone()).join("\n");
        let reading = reading(&text);
        assert_eq!(show_all(&reading.diagnostics), "");
        let embeddings = reading.log.embeddings.unwrap();
        assert_eq!((embeddings.model.as_str(), embeddings.dimensions, embeddings.missing()), ("tiny", 3, 2));
        assert_eq!(embeddings.get(0), Some(&[1.0, 2.0, 3.0][..]));
        assert_eq!(embeddings.get(1), Some(&[0.5, -1.0, 0.002][..]));
        assert_eq!((embeddings.get(2), embeddings.get(3), embeddings.get(4)), (None, None, None));
        assert_eq!(embeddings.cost.iter().map(|cost| cost.pico()).collect::<Vec<_>>(), [7, 1, 0, 0]);
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_line() {
    for (bad, expected) in [
        (
            r#""embedding":[1,2]"#,
            "log::embedding: row `bad`: `embedding` has 2 numbers, but the route's have 3",
        ),
        (
            r#""embedding":[1,2,3],"embedding_model":"huge""#,
            "`embedding_model` is `huge`, but the route reads",
        ),
        (r#""embedding":[1,"x",3]"#, "log::type: row `bad`: `embedding` has entry 1 that is no number"),
        (r#""embedding":[1,2,1e39]"#, "`embedding` has entry 2 that is too large"),
        (r#""embedding":{"a":1}"#, "`embedding` should be an array of numbers"),
        (
            r#""embedding":[1,2,3],"embedding_cost_usd":-1"#,
            "log::negative: row `bad`: `embedding_cost_usd` is -1",
        ),
        (r#""embedding":[1,2,3],"embedding":[1,2,3]"#, "log::duplicate-key"),
    ] {
        let text = format!("{}\n{}\n{}\n", good("a"), row("bad", &format!(",{bad}")), good("z"));
        let reading = reading(&text);
        let shown = show_all(&reading.diagnostics);
        assert!(shown.starts_with("log.jsonl:2: ") && shown.contains(expected), "{bad}\n{shown}");
        assert!(!shown.contains("secret"), "{shown}");
        assert_eq!((reading.log.rows.len(), reading.skipped), (2, 1), "{bad}");
    }
}

#[test]
fn a_route_that_declares_none_passes_over_them_and_is_told() {
    let text = row("a", r#","embedding":[1,2]"#);
    let log = read_lines(&text).unwrap();
    assert!(log.log.embeddings.is_none() && log.diagnostics.is_empty());
    let tiers = Some(["small".to_owned()].into());
    let of_route = ReadOptions { tiers, ..ReadOptions::default() };
    let reading = read_files(&[("log.jsonl", text.as_bytes())], &of_route).unwrap();
    assert!(show_all(&reading.diagnostics).contains("log::embedding-unused"));
    assert!(reading.log.embeddings.is_none() && reading.log.rows.len() == 1);
}

#[test]
fn rewriting_a_log_loses_nothing_and_csv_says_the_same() {
    let text =
        row("a", r#","embedding":[0.10000000149,-2,3],"embedding_model":"tiny","embedding_cost_usd":2e-9"#);
    let source = || LogSource::new("log.jsonl", text.as_bytes());
    let rows = records([source()], &options()).unwrap().rows;
    let mut written = Vec::new();
    write_row(&mut written, &rows[0]).unwrap();
    let written = String::from_utf8(written).unwrap();
    assert!(written.contains("[0.10000000149,-2,3]"), "{written}");
    let again = reading(&written).log;
    assert_eq!(again.embeddings, reading(&text).log.embeddings);
    let csv = "id,tier,quality,cost_usd,embedding,embedding_model,embedding_cost_usd\n\
               a,small,1,0.00001,\"[0.10000000149, -2, 3]\",tiny,0.000000002\n\
               a,large,1,0.0001,\"[0.10000000149, -2, 3]\",tiny,0.000000002\n";
    let of_csv = read_files(&[("log.csv", csv.as_bytes())], &options()).unwrap();
    assert_eq!(show_all(&of_csv.diagnostics), "");
    assert_eq!(of_csv.log.embeddings, again.embeddings);
    let broken = csv.replacen("[0.10000000149", "0.1", 1);
    assert!(
        show_all(&read_files(&[("log.csv", broken.as_bytes())], &options()).unwrap_err())
            .contains("log::type")
    );
}
