use cascade_sdk::client;

#[client("cascade.tml")]
pub struct Llm;

fn main() {}
