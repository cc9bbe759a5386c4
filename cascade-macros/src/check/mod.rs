//! Every rule, and no tokens: what `#[client]` names must be there, valid and fresh; what `#[route]` stands on must be a
//! function that asks a route.

mod client;
mod route;

pub(crate) use client::client;
pub(crate) use route::route;
