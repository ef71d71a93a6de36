//! `CreateCommand`, subcommands, `SetCommandInfo`, key positions.

crate::api! {}
