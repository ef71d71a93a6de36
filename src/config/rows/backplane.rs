//! Directives that only Backplane has.

use super::{int, switch, Row, IMMUTABLE};

pub(super) const ROWS: &[Row] = &[
    // Zero stands for "as many as cores": `Config::new` puts the number in.
    int("server-threads", 1, 128, 0).flags(IMMUTABLE),
    switch("module-strict", false).flags(IMMUTABLE),
];
