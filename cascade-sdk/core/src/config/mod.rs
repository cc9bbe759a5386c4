//! `cascade.toml`: what people declare.
//!
//! [`read`] turns its text into a [`Config`], the valid configuration, or into every finding at once. Only a [`Config`]
//! can be fitted or expanded. [`keys`] is the one list of what may be written.

mod api;
pub mod codes;
pub mod keys;
mod model;
mod places;
mod read;
mod secrets;
mod section;
mod url;
mod window;

pub use api::Api;
pub use model::*;
pub use places::Places;
pub use read::{RESERVED_METHODS, policy_stem, read};
