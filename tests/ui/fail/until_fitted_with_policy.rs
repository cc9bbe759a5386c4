use cascade_sdk::{TierName, client};

#[client("fitted.toml")]
pub struct Llm;

// One mistake gives one error: what could be made out is still there.
fn items(llm: &Llm) {
    let _ = llm.fitted("prompt");
    let _ = <FittedTier as TierName>::ALL;
}

fn main() {
    let _ = Llm::from_env().map(|llm| items(&llm));
}
