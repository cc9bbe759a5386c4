//! `cascade.toml`: what people declare.
//!
//! [`read`] turns its text into a [`Config`], the valid configuration, or into every finding at once. Only a [`Config`]
//! can be fitted or expanded. [`keys`] is the one list of what may be written:
//!
//! ```toml
#![doc = include_str!("reference.toml")]
//! ```

mod api;
pub mod codes;
mod date;
mod embedding_settings;
mod fingerprint;
pub mod keys;
mod model;
mod places;
mod read;
mod reference;
mod runtime_settings;
mod schema;
mod schema_file;
mod secrets;
mod section;
mod signal_settings;
mod url;
mod window;

pub use api::{Api, EFFORTS};
pub use date::Date;
pub use embedding_settings::*;
pub use fingerprint::{fingerprint, request_fingerprint, signal_fingerprint};
pub use model::*;
pub use places::Places;
pub(crate) use read::ObjectiveTable;
pub use read::{RESERVED_METHODS, policy_stem, read};
pub use reference::reference;
pub use runtime_settings::*;
pub use schema::json_schema;
pub use schema_file::{schema_invalid, schema_missing, schema_unreadable};
pub(crate) use section::Section;
pub use signal_settings::*;
pub use url::{UrlError, check_base_url};
