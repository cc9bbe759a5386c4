use cascade_sdk::{Error, client, route};

#[client("good.toml", crat = cascade_sdk)]
pub struct Llm;

#[client]
pub struct NoPath;

#[route(Llm::triage, clinet = llm, retries = 3)]
async fn unknown(llm: &Llm) -> Result<String, Error> {
    "prompt"
}

#[route("triage")]
async fn text(llm: &Llm) -> Result<String, Error> {
    "prompt"
}

fn main() {}
