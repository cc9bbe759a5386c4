//! Runs the built `cascade` the way people do.

mod collect;
mod command_line;
mod project;
mod server;
