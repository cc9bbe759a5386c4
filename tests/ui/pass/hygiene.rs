//! Generated code stands on its own: no prelude, and types of the application with the names of standard ones.
#![no_implicit_prelude]
#![deny(warnings)]

pub(super) struct Result;
pub(super) struct Option;
pub(super) struct String;
pub(super) struct Some;
pub(super) struct Client;
pub(super) struct Error;
pub(super) trait Clone {}
pub(super) trait From {}

impl Clone for Result {}
impl From for Result {}

fn uses<T: Clone + From>(_: T) {}

/// A client.
#[::cascade_sdk::client("ui/pass/cascade.toml")]
#[allow(deprecated, reason = "one route is not fitted yet")]
pub(crate) struct Llm;

/// A function whose arguments are named like what the macro makes.
#[::cascade_sdk::route(Llm::reply)]
pub(crate) async fn request(
    client: &Llm,
    call: &str,
    routed: &str,
    error: &str,
) -> ::std::result::Result<::std::string::String, ::cascade_sdk::Error> {
    let request = call;
    ::std::format!("{request}{routed}{error}")
}

/// A body of one expression: its braces are those of the function.
#[::cascade_sdk::route(Llm::reply)]
pub(crate) async fn plain(
    llm: &Llm,
    text: &str,
) -> ::std::result::Result<::cascade_sdk::Routed<::std::string::String, ReplyTier>, ::cascade_sdk::Error> {
    text
}

#[::core::prelude::v1::test]
fn these_compile() {
    let _ = |llm: Llm| {
        ::std::mem::drop(request(&llm, "", "", ""));
        ::std::mem::drop(plain(&llm, ""));
    };
    uses(Result);
    let _ = (Option, String, Some, Client, Error);
}
