//! Sets.
use crate::dispatch::table::Row;

/// The family's commands.
pub static ROWS: &[Row] = &[];
