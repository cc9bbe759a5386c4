//! `cascade schema`.

use crate::cli::{Schema, SchemaOf};
use crate::failure::Answer;
use crate::terminal::Terminal;
use cascade_sdk_core::config;

/// Prints a JSON Schema, whatever the format: it is JSON.
pub(crate) fn run(args: &Schema, terminal: Terminal) -> Answer {
    match args.of {
        SchemaOf::Config => terminal.print(&config::json_schema()),
    }
    Answer::Yes
}
