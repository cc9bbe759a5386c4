//! Mistakes that rustc finds: its errors point at what the person wrote.
use cascade_sdk::{Error, client, route};

#[client("good.toml")]
pub struct Llm;

#[route(Llm::triagee)]
async fn unknown_route(llm: &Llm, ticket: &str) -> Result<String, Error> {
    ticket
}

#[route(Llm::triage)]
async fn no_request(llm: &Llm, ticket: &str) -> Result<String, Error> {
    ticket.len()
}

#[route(Llm::triage)]
async fn no_client(llm: &str, ticket: &str) -> Result<String, Error> {
    ticket
}

pub struct Failed;

#[route(Llm::triage)]
async fn other_error(llm: &Llm, ticket: &str) -> Result<String, Failed> {
    ticket
}

pub struct Words;

#[route(Llm::triage)]
async fn not_a_number(llm: &Llm, #[feature] words: Words) -> Result<String, Error> {
    "prompt"
}

fn main() {}
