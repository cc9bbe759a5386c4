use cascade_sdk::client;

// The policies of both routes read `mean_logprob` of the first tier.
#[client("unheard.toml")]
pub struct Llm;

fn main() {
    let _ = Llm::from_env();
}
