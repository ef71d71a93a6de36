//! Directives that only Backplane has. Patterns of `CONFIG GET` do not list them: tools that read and set back every
//! directive know Redis' ones only.

use super::{choice, int, special, switch, Row, Special, HIDDEN, IMMUTABLE, MULTI_ARG};
use crate::config::enums::{
    event_loop, module_attend, module_load, EVENT_LOOP, MODULE_ATTEND, MODULE_LOAD,
};

pub(super) const ROWS: &[Row] = &[
    // Zero stands for "as many as cores": `Config::new` puts the number in.
    int("server-threads", 1, 128, 0).flags(IMMUTABLE | HIDDEN),
    // What serving threads wait with for their sockets.
    choice("event-loop", EVENT_LOOP, event_loop::AUTO).flags(IMMUTABLE | HIDDEN),
    switch("module-strict", false).flags(IMMUTABLE | HIDDEN),
    switch("module-exclusive", false).flags(HIDDEN),
    // Which connections the module thread attends to itself.
    choice("module-attend", MODULE_ATTEND, module_attend::AUTO).flags(HIDDEN),
    // For hunting races: one of so many calls of modules gives the processor away.
    int("module-yield", 0, 1_000_000, 0).flags(IMMUTABLE | HIDDEN),
    // Can be closed at run time, and not be opened again.
    choice("module-load", MODULE_LOAD, module_load::OPEN).flags(HIDDEN),
    // Holds for modules that are loaded afterwards.
    special("module-persona", Special::ModulePersona).flags(MULTI_ARG | HIDDEN),
    special("module-allow-sha256", Special::ModuleAllowSha256)
        .flags(MULTI_ARG | HIDDEN | IMMUTABLE),
];
