//! Not an error, but a warning that cannot be overlooked.
#![deny(deprecated)]

use cascade_sdk::client;

#[client("not_fitted.toml")]
pub struct Llm;

fn main() {}
