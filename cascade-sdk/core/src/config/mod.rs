//! `cascade.toml`: what people declare. [`model`] holds the valid configuration; only that can be fitted or expanded.

mod model;

pub use model::*;
