//! TOML documents: an accumulating reader over `toml`'s spanned tree and a canonical writer.
//!
//! serde is not used here: it stops at the first mistake and loses spans behind `flatten` and tagged enums.

pub(crate) mod json;
pub(crate) mod read;
pub(crate) mod write;
