use cascade_sdk::client;

#[client("unreadable.toml")]
pub struct Llm;

fn main() {}
