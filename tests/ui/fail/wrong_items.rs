use cascade_sdk::{Error, client, route};

#[client("good.toml")]
pub enum Choice {}

#[client("good.toml")]
pub struct WithFields(u8);

mod derived {
    #[cascade_sdk::client("good.toml")]
    #[derive(Clone)]
    pub struct Llm;
}

#[route(derived::Llm::triage)]
struct NotAFunction;

#[route(derived::Llm::triage)]
fn not_async(llm: &derived::Llm) -> Result<String, Error> {
    "prompt"
}

fn main() {}
