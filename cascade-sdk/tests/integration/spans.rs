//! What is traced of a call has the names of OpenTelemetry's conventions for generative AI.

use crate::secrets::Traced;
use crate::server::{Server, http};
use crate::setup::{Tier, baked, route};
use cascade_sdk::{Request, Session};
use std::path::Path;

fn traced(api: &str, body: &str) -> impl Future<Output = String> {
    let body = http(200, "content-type: application/json\r\n", body);
    let api = api.to_owned();
    async move {
        let server = Server::start([body, http(503, "", "{}")]).await;
        let address = server.base_url.trim_end_matches("/v1");
        let config = format!(
            "schema = 1\n[providers.mine]\napi = \"{api}\"\nbase_url = \"{address}\"\n\
             [tiers.small]\nprovider = \"mine\"\nmodel = \"m\"\nprice = {{ input = 1.0, output = 2.0 }}\n\
             max_output_tokens = 50\n[routes.one]\ntiers = [\"small\"]\nrequest = {{ temperature = 0.5 }}\n"
        );
        let traced = Traced::default();
        let guard = tracing::subscriber::set_default(traced.clone());
        let client = baked(Path::new("."), &config, vec![route("one")]).max_retries(0).build().unwrap();
        let request = || Request::new("hello").with_session(Session::new("chat-17"));
        client.call::<Tier>(0, request()).await.unwrap();
        assert!(client.call::<Tier>(0, request()).await.is_err());
        drop(guard);
        traced.0.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn spans_have_the_fields_of_the_conventions() {
    let openai = r#"{"model":"served","choices":[{"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":30,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":5}}}"#;
    let anthropic = r#"{"model":"served","role":"assistant","content":[{"type":"text","text":"a"}],"stop_reason":"end_turn","usage":{"input_tokens":25,"cache_read_input_tokens":5,"output_tokens":4}}"#;
    let gemini = r#"{"modelVersion":"served","candidates":[{"content":{"role":"model","parts":[{"text":"a"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":30,"cachedContentTokenCount":5,"candidatesTokenCount":4}}"#;
    for (api, name, body) in [
        ("openai", "openai", openai),
        ("anthropic", "anthropic", anthropic),
        ("gemini", "gcp.gemini", gemini),
    ] {
        let traced = traced(api, body).await;
        let (first, second) = traced.split_at(traced.rfind("otel.name").unwrap());
        for line in [
            "otel.name = chat m",
            "otel.kind = \"client\"",
            "gen_ai.operation.name = \"chat\"",
            &format!("gen_ai.provider.name = \"{name}\""),
            "gen_ai.conversation.id = \"chat-17\"",
            "gen_ai.output.type = \"text\"",
            "gen_ai.request.model = \"m\"",
            "gen_ai.request.max_tokens = 50",
            "gen_ai.request.temperature = 0.5",
            "gen_ai.response.model = \"served\"",
            "gen_ai.usage.input_tokens = 30",
            "gen_ai.usage.cache_read.input_tokens = 5",
            "gen_ai.usage.output_tokens = 4",
            "cascade.provider = \"mine\"",
            "cascade.cost_usd = 0.000038",
        ] {
            // The cached tokens have no price of their own.
            assert!(first.lines().any(|traced| traced == line), "{api}: {line} in {first}");
        }
        assert!(!first.contains("error.type") && !first.contains("cache_creation"), "{first}");
        for line in ["error.type = \"status\"", "otel.status_code = \"ERROR\""] {
            assert!(second.lines().any(|traced| traced == line), "{api}: {line} in {second}");
        }
    }
}
