//! The Rust in the documents, compiled as documentation tests. `integration` looks at the rest of them.

pub mod markdown;

#[cfg(doctest)]
mod documents {
    include!(concat!(env!("OUT_DIR"), "/documents.rs"));
}
