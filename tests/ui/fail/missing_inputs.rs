use cascade_sdk::{Error, client, route};

#[client("subjects.toml")]
pub struct Llm;

#[route(Llm::by_subject)]
async fn neither(llm: &Llm, text: &str) -> Result<String, Error> {
    text
}

#[route(Llm::by_subject)]
async fn no_tag(llm: &Llm, #[feature] length: u32, subject: &str) -> Result<String, Error> {
    subject
}

fn main() {}
