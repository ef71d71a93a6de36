//! Directives that only Backplane has. Patterns of `CONFIG GET` do not list them: tools that read and set back every
//! directive know Redis' ones only.

use super::{int, switch, Row, HIDDEN, IMMUTABLE};

pub(super) const ROWS: &[Row] = &[
    // Zero stands for "as many as cores": `Config::new` puts the number in.
    int("server-threads", 1, 128, 0).flags(IMMUTABLE | HIDDEN),
    switch("module-strict", false).flags(IMMUTABLE | HIDDEN),
    switch("module-exclusive", false).flags(HIDDEN),
];
