//! Plain tables of at most 80 columns, readable without colour and by screen readers.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};

/// Widest line that is printed.
pub(crate) const WIDTH: u16 = 80;

/// A table with these column names; every column but the first is aligned to the right.
pub(crate) fn new<const N: usize>(header: [&str; N]) -> Table {
    with_header(header.map(str::to_owned).to_vec())
}

/// As [`new`], with names that are made at run time.
pub(crate) fn with_header(header: Vec<String>) -> Table {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(header);
    for (place, column) in table.column_iter_mut().enumerate() {
        // Two spaces between columns, none before the first.
        column.set_padding((if place == 0 { 0 } else { 2 }, 0));
        if place > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Its lines, without the spaces at their ends.
pub(crate) fn lines(table: &Table) -> Vec<String> {
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}
