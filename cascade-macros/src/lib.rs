//! Implementation detail of `cascade-sdk`: the attributes `#[client]` and `#[route]`, documented where the SDK
//! re-exports them.
//!
//! An attribute is parsed (`args`, `item`), what it names is read (`load`) and judged (`check`), and only then
//! tokens are made (`expand`). After a mistake the public items are still there (`fallback`), so that one mistake
//! gives one error.

mod args;
mod check;
mod errors;
mod expand;
mod fallback;
mod item;
mod load;
mod paths;
mod plan;
#[cfg(test)]
mod tests;

use proc_macro::TokenStream;

/// See `cascade_sdk::client`.
#[proc_macro_attribute]
pub fn client(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::client(args.into(), &item.into(), &load::Project::from_env()).into()
}

/// See `cascade_sdk::route`.
#[proc_macro_attribute]
pub fn route(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::route(args.into(), &item.into()).into()
}
