//! The verifier as a program, for `cascade collect --verifier stands_in_message=…`: one JSON object on standard input, a
//! number on standard output.
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use cascade_sdk::signal::{Candidate, Verifier as _};
use extraction::StandsInMessage;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let written = std::io::read_to_string(std::io::stdin())?;
    println!("{}", StandsInMessage.verify(&Candidate::from_json(&written)?).await?);
    Ok(())
}
