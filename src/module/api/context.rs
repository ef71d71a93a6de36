//! Contexts: flags, time, versions, random numbers, current command.

crate::api! {}
