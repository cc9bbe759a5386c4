//! Walks `config/` and `policy/`: every kind of mistake has a file that makes it, with the text that a person sees in its
//! trailing comments. `BLESS=1 cargo test` writes the texts anew.

mod config;
mod expect;
