//! A key goes to its server and nowhere else, whatever the server makes of it.

use crate::server::{Act, Server, completion, http};
use crate::setup::{Tier, baked, route};
use serde_json::json;
use std::error::Error as _;
use std::fmt::{Debug, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Everything that is traced on this thread, at every level.
#[derive(Clone, Default)]
pub(crate) struct Traced(pub(crate) Arc<Mutex<String>>);

impl Visit for Traced {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        writeln!(self.0.lock().unwrap(), "{field} = {value:?}").unwrap();
    }
}

impl Subscriber for Traced {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        attributes.record(&mut self.clone());
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut self.clone());
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// What servers make of a request, some of them with its key in their words.
fn acts(key: &str) -> Vec<Act> {
    let error =
        json!({"error": {"message": format!("bad key {key}"), "type": key, "code": key, "status": key}});
    let error = error.to_string();
    let mut acts: Vec<Act> = [400, 401, 403, 404, 413, 429, 500, 503]
        .map(|status| http(status, &format!("retry-after-ms: 1\r\nwww-authenticate: {key}\r\n"), &error))
        .into();
    acts.extend([
        http(200, "content-type: application/json\r\n", &error),
        http(200, "", key),
        http(307, &format!("location: http://127.0.0.1:1/?key={key}\r\n"), ""),
        completion("sure", -0.1),
        Act::Close,
    ]);
    acts
}

#[tokio::test]
async fn a_key_shows_nowhere_whatever_the_server_makes_of_it() {
    // A variable that every process has stands for a key.
    let key = std::env::var("PATH").unwrap();
    for api in ["openai", "anthropic", "gemini"] {
        for (index, act) in acts(&key).into_iter().enumerate() {
            let what = format!("{api}, act {index}");
            let server = Server::start([act]).await;
            let address = server.base_url.trim_end_matches("/v1");
            let config = format!(
                "schema = 1\n[providers.p]\napi = \"{api}\"\nbase_url = \"{address}\"\napi_key_env = \"PATH\"\n\
                 [tiers.small]\nprovider = \"p\"\nmodel = \"m\"\nprice = {{ input = 1.0, output = 2.0 }}\n\
                 max_output_tokens = 50\n[routes.one]\ntiers = [\"small\"]\n"
            );
            let directory = tempfile::tempdir().unwrap();
            let log = directory.path().join("decisions.jsonl");
            let traced = Traced::default();
            let guard = tracing::subscriber::set_default(traced.clone());
            let builder =
                baked(Path::new("."), &config, vec![route("one")]).decision_log(&log).max_retries(1);
            let mut shown = format!("{builder:?}");
            let client = builder.build().unwrap();
            let result = client.call::<Tier>(0, "hello").await;
            client.flush_decision_log().await;
            drop(guard);
            write!(shown, "{client:?} {result:?} {result:#?}").unwrap();
            if let Err(error) = &result {
                write!(shown, "{error}").unwrap();
                let mut cause = error.source();
                while let Some(next) = cause {
                    write!(shown, "{next} {next:?}").unwrap();
                    cause = next.source();
                }
                for failure in error.path().iter().flat_map(|step| step.retries.iter().chain(&step.failure)) {
                    write!(shown, "{failure} {failure:?}").unwrap();
                }
            }
            let (traced, log) = (traced.0.lock().unwrap(), std::fs::read_to_string(&log).unwrap());
            // It was sent, and there is something to look through.
            assert!(server.requests().iter().all(|request| request.contains(&key)), "{what}");
            assert!(traced.contains("gen_ai.") && log.contains("\"decision\""), "{what}: {traced} {log}");
            for text in [&shown, &*traced, &log] {
                assert!(!text.contains(&key), "{what}: {text}");
            }
        }
    }
}
