//! `cascade schema`.

use crate::cli::{Schema, SchemaOf};
use crate::failure::Answer;
use crate::terminal::Terminal;
use cascade_sdk_core::{config, log, policy};

/// Prints a JSON Schema, whatever the format: it is JSON.
pub(crate) fn run(args: &Schema, terminal: Terminal) -> Answer {
    match args.of {
        SchemaOf::Config => terminal.print(&config::json_schema()),
        SchemaOf::Policy => terminal.print(&policy::json_schema()),
        SchemaOf::Log => terminal.print(&log::json_schema()),
    }
    Answer::Yes
}
