use cascade_sdk::{Error, Routed, client, route};

#[client("good.toml")]
pub struct Llm;

#[route(Llm::triage)]
async fn returns_early(llm: &Llm, ticket: &str) -> Result<String, Error> {
    if ticket.is_empty() {
        return Ok(String::new());
    }
    ticket
}

#[route(Llm::triage)]
async fn no_result(llm: &Llm, ticket: &str) -> String {
    ticket
}

#[route(Llm::triage)]
async fn no_answer(llm: &Llm, ticket: &str) -> Result<Routed, Error> {
    ticket
}

#[route(Llm::triage)]
async fn no_client() -> Result<String, Error> {
    "prompt"
}

#[route(Llm::triage)]
async fn no_request(llm: &Llm, ticket: &str) -> Result<String, Error> {
    println!("{ticket}");
}

struct App;

impl App {
    #[route(Llm::triage)]
    async fn no_client(&self) -> Result<String, Error> {
        "prompt"
    }
}

fn main() {}
