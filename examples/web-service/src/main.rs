//! A web service that answers questions within a budget, traces what it decided and counts what that cost.
//!
//! Offline by default: answers come from the quickstart's log. With `CASCADE_BASE_URL` set, the server there is asked.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use cascade_sdk::{Error, Request, Routed, TierName, client, route};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use tracing_subscriber::fmt::format::FmtSpan;

/// Everything this service asks of language models.
#[client("cascade.toml")]
pub struct Llm;

/// Answers a question. The kind is what the router needs to know besides the text.
#[route(Llm::answer)]
async fn answer(llm: &Llm, #[tag] kind: &str, text: &str) -> Result<Routed<String, AnswerTier>, Error> {
    Request::new(text)
}

/// What clients send.
#[derive(Debug, Deserialize)]
struct Question {
    kind: String,
    text: String,
}

/// What they get.
#[derive(Debug, Serialize)]
struct Reply {
    answer: String,
    tier: &'static str,
    /// In US dollars, as text: JSON numbers are not exact.
    cost_usd: String,
}

async fn ask(State(llm): State<Llm>, Json(question): Json<Question>) -> Result<Json<Reply>, Problem> {
    let routed = answer(&llm, &question.kind, &question.text).await?;
    tracing::info!(
        id = routed.request_id,
        tier = routed.tier.name(),
        calls = routed.path.len(),
        cost_usd = %routed.cost(),
        kept_for_budget = routed.kept_for_budget,
        "answered"
    );
    Ok(Json(Reply { tier: routed.tier.name(), cost_usd: routed.cost().to_string(), answer: routed.answer }))
}

/// Why there is no answer, as HTTP says it. What is wrong inside stays inside.
struct Problem(Error);

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let error = self.0;
        tracing::warn!(id = error.request_id(), spent_usd = %error.spent(), %error, "no answer");
        let status = if error.is_budget() {
            StatusCode::TOO_MANY_REQUESTS
        } else if error.is_timeout() {
            StatusCode::GATEWAY_TIMEOUT
        } else if error.is_config() {
            StatusCode::INTERNAL_SERVER_ERROR
        } else {
            StatusCode::BAD_GATEWAY
        };
        let mut response = status.into_response();
        if let Some(wait) = error.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
        }
        response
    }
}

fn service(llm: Llm, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/answers", post(ask))
        .with_state(llm)
        .route("/metrics", get(move || async move { metrics.render() }))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Each call of a model is a span: closed, it is written with its tokens and its cost.
    tracing_subscriber::fmt().with_span_events(FmtSpan::CLOSE).init();
    let metrics = PrometheusBuilder::new().install_recorder()?;
    let online = std::env::var_os("CASCADE_BASE_URL").is_some();
    let llm = if online { Llm::from_env()? } else { Llm::builder().replay_own_logs().build()? };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    axum::serve(listener, service(llm, metrics)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cascade_sdk::provider::{Reply as Scripted, Scripted as Script};

    fn question() -> Json<Question> {
        Json(Question {
            kind: "arithmetic".into(),
            text: "What is 7 + 5? Answer with the number only.".into(),
        })
    }

    #[tokio::test]
    async fn an_answer_of_the_log() {
        let metrics = PrometheusBuilder::new().install_recorder().unwrap();
        let llm = Llm::builder().replay_own_logs().build().unwrap();
        let Json(reply) = ask(State(llm), question()).await.ok().unwrap();
        assert_eq!((reply.answer.as_str(), reply.tier), ("12", "qwen-1.5b"));
        let counted = metrics.render();
        for name in ["cascade_requests", "gen_ai_client_token_usage", "gen_ai_client_operation_duration"] {
            assert!(counted.contains(name), "{name} in {counted}");
        }
    }

    #[tokio::test]
    async fn a_spent_budget_is_too_many_requests() {
        let script = ["smollm", "qwen-0.5b", "qwen-1.5b"]
            .into_iter()
            .fold(Script::new(), |script, tier| script.reply_always(tier, Scripted::text("12")));
        let llm = ["tiny-server", "small-server", "large-server"]
            .into_iter()
            .fold(Llm::builder(), |builder, name| builder.provider(name, script.clone()))
            .build()
            .unwrap();
        let mut answers = 0;
        let problem = loop {
            match ask(State(llm.clone()), question()).await {
                Ok(_) => answers += 1,
                Err(problem) => break problem,
            }
            assert!(answers < 100_000, "the budget never ends");
        };
        assert!(answers > 0);
        let response = problem.into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(response.headers().contains_key(header::RETRY_AFTER));
    }
}
